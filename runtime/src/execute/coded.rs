//! Layers whose weights are decoded when they run, tile by tile: see [`crate::kernels::coded`].

mod stored;

use super::typed;
use crate::arena::{io_and_scratch, part};
use crate::format::{self, Coding, OpCode, Span};
use crate::kernels::coded::{Memory, codes, of_channels, packed_len};
use crate::kernels::helium::{self, Helium};
use crate::kernels::parts::parts_mut;
use crate::kernels::patch::{Residual, conv_packed, dense_packed};
use crate::kernels::quad::{self, Quad};
use crate::kernels::scratch::Form;
use crate::kernels::split::Split;
use crate::kernels::wide::Wide;
use crate::kernels::{self, Geometry, Int8, Io};
use crate::requantize::Output;
use crate::step::Step;
use core::num::NonZeroUsize;
use stored::{Codebook, EntropyCoded, Stored};
use zerocopy::IntoBytes;

/// Runs a layer with a codebook.
pub(super) fn codebook<const OPS: u128>(
    step: &Step<'_>,
    data: &[u8],
    arena: &mut [u8],
) -> Option<()> {
    use OpCode as O;
    let linked = |op: OpCode| OPS & op.bit() != 0;
    let (coding, layer) = step.coded()?;
    let run = Run::new(coding, &layer, data)?;
    match layer.code {
        // As without a codebook, one instance serves both operators.
        O::ConvI8Wide if linked(O::ConvI8Wide) => match linked(O::ConvAddI8Wide) {
            true => run.conv::<Wides<true>>(arena),
            false => run.conv::<Wides<false>>(arena),
        },
        O::ConvAddI8Wide if linked(O::ConvAddI8Wide) => run.conv_add::<Wides<true>>(arena),
        O::FullyConnectedI8Wide if linked(O::FullyConnectedI8Wide) => {
            run.dense::<Wides<false>>(arena)
        }
        _ => None,
    }
}

/// Runs a layer with entropy-coded weights. The match arms of layers outside `OPS` vanish, as in [`super::execute`].
pub(super) fn entropy_coded<const OPS: u128>(
    step: &Step<'_>,
    data: &[u8],
    arena: &mut [u8],
) -> Option<()> {
    use OpCode as O;
    let linked = |op: OpCode| OPS & op.bit() != 0;
    let (coding, layer) = step.coded()?;
    let run = Run::new(coding, &layer, data)?;
    match layer.code {
        O::ConvI8 if linked(O::ConvI8) => run.conv::<Bytes>(arena),
        O::ConvAddI8 if linked(O::ConvAddI8) => run.conv_add::<Bytes>(arena),
        // As for plain weights, one instance serves both operators.
        O::ConvI8Split if linked(O::ConvI8Split) => match linked(O::ConvAddI8Split) {
            true => run.conv::<Splits<true>>(arena),
            false => run.conv::<Splits<false>>(arena),
        },
        O::ConvAddI8Split if linked(O::ConvAddI8Split) => run.conv_add::<Splits<true>>(arena),
        O::ConvI8Quad if linked(O::ConvI8Quad) => run.conv::<Quads>(arena),
        O::ConvAddI8Quad if linked(O::ConvAddI8Quad) => run.conv_add::<Quads>(arena),
        O::ConvI8Helium if linked(O::ConvI8Helium) => run.conv::<Blocks>(arena),
        O::ConvAddI8Helium if linked(O::ConvAddI8Helium) => run.conv_add::<Blocks>(arena),
        O::FullyConnectedI8 if linked(O::FullyConnectedI8) => run.dense::<Bytes>(arena),
        O::FullyConnectedI8Split if linked(O::FullyConnectedI8Split) => {
            run.dense::<Splits<false>>(arena)
        }
        O::FullyConnectedI8Quad if linked(O::FullyConnectedI8Quad) => run.dense::<Quads>(arena),
        O::FullyConnectedI8Helium if linked(O::FullyConnectedI8Helium) => {
            run.dense::<Blocks>(arena)
        }
        _ => None,
    }
}

/// A tile of a layer, decoded.
struct Tile<'t> {
    weights: &'t [u8],
    /// Biases and multipliers from the tile's first channel on.
    bias: &'t [i32],
    multipliers: &'t [f32],
    int8: &'t format::Int8,
}

/// What runs a tile: the kernels of one form of packed weights.
trait Kernel {
    const FORM: Form;
    /// How weights of this form are stored.
    type Stored<'t>: Stored<'t>;

    /// A convolution by the tile's channels.
    fn conv(
        tile: &Tile<'_>,
        g: &Geometry,
        io: &mut Io<'_>,
        scratch: &mut [i8],
        residual: Option<&format::Residual>,
    ) -> Option<()>;

    /// Rows of `inputs` elements by the tile's `outputs` channels.
    fn dense(
        tile: &Tile<'_>,
        lengths: [usize; 2],
        x: &[i8],
        y: &mut [i8],
        scratch: &mut [i8],
    ) -> Option<()>;
}

/// A convolution of one group with weights of form `W`.
type Convolution<W> =
    fn(&Geometry, &W, i8, Output, &mut Io<'_>, &mut [i8], Option<&Residual>) -> Option<()>;

/// A fully connected layer with weights of form `W`: inputs, outputs, weights, `x`, `y`, working memory.
type Dense<W> = fn(usize, usize, &W, Output, &[i8], &mut [i8], &mut [i8]) -> Option<()>;

/// Kernels whose biases and multipliers lie beside the weights.
trait Beside {
    const FORM: Form;
    type Stored<'t>: Stored<'t>;
    type Weights<'t>;

    fn weights<'t>(tile: &Tile<'t>) -> Option<Self::Weights<'t>>;
    fn convolution<'t>() -> Convolution<Self::Weights<'t>>;
    fn fully_connected<'t>() -> Dense<Self::Weights<'t>>;
}

impl<B: Beside> Kernel for B {
    const FORM: Form = B::FORM;
    type Stored<'t> = B::Stored<'t>;

    fn conv(
        tile: &Tile<'_>,
        g: &Geometry,
        io: &mut Io<'_>,
        scratch: &mut [i8],
        residual: Option<&format::Residual>,
    ) -> Option<()> {
        let (weights, output) = (B::weights(tile)?, Output::from(tile.int8));
        let zero_point = tile.int8.input_zero_point.get() as i8;
        let residual = residual.map(Residual::from);
        let residual = residual.as_ref();
        B::convolution()(g, &weights, zero_point, output, io, scratch, residual)
    }

    fn dense(
        tile: &Tile<'_>,
        [inputs, outputs]: [usize; 2],
        x: &[i8],
        y: &mut [i8],
        scratch: &mut [i8],
    ) -> Option<()> {
        let (weights, output) = (B::weights(tile)?, Output::from(tile.int8));
        B::fully_connected()(inputs, outputs, &weights, output, x, y, scratch)
    }
}

/// Plain weights.
struct Bytes;

impl Beside for Bytes {
    const FORM: Form = Form::Plain;
    type Stored<'t> = EntropyCoded<'t>;
    type Weights<'t> = Int8<'t, i8>;

    fn weights<'t>(tile: &Tile<'t>) -> Option<Int8<'t, i8>> {
        Some(Int8 {
            weights: typed(tile.weights)?,
            input_zero_point: tile.int8.input_zero_point.get(),
            bias: tile.bias,
            multipliers: tile.multipliers,
            output: Output::from(tile.int8),
        })
    }

    fn convolution<'t>() -> Convolution<Int8<'t, i8>> {
        conv_packed
    }

    fn fully_connected<'t>() -> Dense<Int8<'t, i8>> {
        |inputs, outputs, weights, output, x, y, _| {
            dense_packed(inputs, outputs, weights, output, x, y)
        }
    }
}

/// Split weights; `ADDS` as for [`kernels::conv_split`].
struct Splits<const ADDS: bool>;

impl<const ADDS: bool> Beside for Splits<ADDS> {
    const FORM: Form = Form::Split;
    type Stored<'t> = EntropyCoded<'t>;
    type Weights<'t> = Split<'t>;

    fn weights<'t>(tile: &Tile<'t>) -> Option<Split<'t>> {
        Some(Split {
            weights: typed(tile.weights)?,
            bias: tile.bias,
            multipliers: tile.multipliers,
        })
    }

    fn convolution<'t>() -> Convolution<Split<'t>> {
        kernels::conv_split::<ADDS>
    }

    fn fully_connected<'t>() -> Dense<Split<'t>> {
        kernels::dense_split
    }
}

/// Quad weights.
struct Quads;

impl Beside for Quads {
    const FORM: Form = Form::Quad;
    type Stored<'t> = EntropyCoded<'t>;
    type Weights<'t> = Quad<'t>;

    fn weights<'t>(tile: &Tile<'t>) -> Option<Quad<'t>> {
        Some(Quad {
            weights: typed(tile.weights)?,
            bias: tile.bias,
            multipliers: tile.multipliers,
        })
    }

    fn convolution<'t>() -> Convolution<Quad<'t>> {
        quad::conv_quad
    }

    fn fully_connected<'t>() -> Dense<Quad<'t>> {
        |inputs, outputs, weights, output, x, y, _| {
            quad::dense_quad(inputs, outputs, weights, output, x, y)
        }
    }
}

/// Wide weights; `ADDS` as for [`kernels::conv_wide`].
struct Wides<const ADDS: bool>;

impl<const ADDS: bool> Beside for Wides<ADDS> {
    const FORM: Form = Form::Wide;
    type Stored<'t> = Codebook<'t>;
    type Weights<'t> = Wide<'t>;

    fn weights<'t>(tile: &Tile<'t>) -> Option<Wide<'t>> {
        Some(Wide {
            weights: typed(tile.weights)?,
            bias: tile.bias,
            multipliers: tile.multipliers,
        })
    }

    fn convolution<'t>() -> Convolution<Wide<'t>> {
        kernels::conv_wide::<ADDS>
    }

    fn fully_connected<'t>() -> Dense<Wide<'t>> {
        |inputs, outputs, weights, output, x, y, _| {
            dense_packed(inputs, outputs, weights, output, x, y)
        }
    }
}

/// Helium weights.
struct Blocks;

impl Kernel for Blocks {
    const FORM: Form = Form::Helium;
    type Stored<'t> = EntropyCoded<'t>;

    fn conv(
        tile: &Tile<'_>,
        g: &Geometry,
        io: &mut Io<'_>,
        scratch: &mut [i8],
        residual: Option<&format::Residual>,
    ) -> Option<()> {
        let [kernel_h, kernel_w] = g.kernel;
        let weights = Helium {
            blocks: tile.weights,
            window: [kernel_h, kernel_w, g.input[2]],
        };
        kernels::conv_helium(g, &weights, tile.int8, residual, io, scratch)
    }

    fn dense(
        tile: &Tile<'_>,
        [inputs, outputs]: [usize; 2],
        x: &[i8],
        y: &mut [i8],
        scratch: &mut [i8],
    ) -> Option<()> {
        let one = NonZeroUsize::MIN;
        let weights = Helium {
            blocks: tile.weights,
            window: [one, one, NonZeroUsize::new(inputs)?],
        };
        kernels::dense_helium([inputs, outputs], &weights, tile.int8, x, y, scratch)
    }
}

/// A layer that is to run.
struct Run<'r> {
    layer: &'r Step<'r>,
    coding: &'r Coding,
    tile: NonZeroUsize,
    data: &'r [u8],
}

impl<'r> Run<'r> {
    fn new(coding: &'r Coding, layer: &'r Step<'r>, data: &'r [u8]) -> Option<Self> {
        Some(Run {
            layer,
            coding,
            tile: NonZeroUsize::new(coding.tile.get() as usize)?,
            data,
        })
    }

    fn conv<K: Kernel>(&self, arena: &mut [u8]) -> Option<()> {
        self.convolve::<K>(self.layer.parameters()?, None, arena)
    }

    fn conv_add<K: Kernel>(&self, arena: &mut [u8]) -> Option<()> {
        let p = self.layer.parameters::<format::ConvAddI8>()?;
        self.convolve::<K>(&p.conv, Some(&p.residual), arena)
    }

    #[inline(never)]
    fn convolve<K: Kernel>(
        &self,
        p: &format::ConvI8,
        residual: Option<&format::Residual>,
        arena: &mut [u8],
    ) -> Option<()> {
        let g = Geometry::new(&p.window)?;
        let channels = g.output[2].get();
        let memory = Memory::conv(K::FORM, &g, residual.is_some(), self.tile)?;
        let (io, scratch) = io_and_scratch(arena, self.layer.input, self.layer.output, p.scratch)?;
        let Io::Apart { x, y } = io else {
            return None;
        };
        let taps = g.window_len()?.get();
        let spans = [p.weights, p.bias, p.multipliers];
        let mut tiles = Tiles::<K>::new(self, spans, taps, scratch, &memory)?;
        let mut first = 0;
        while first < channels {
            let count = NonZeroUsize::new(self.tile.get().min(channels - first))?;
            let (tile, kernel, results) = tiles.next(first, count.get(), &p.int8)?;
            let part = of_channels(&g, count);
            if memory.results == 0 {
                K::conv(
                    &tile,
                    &part,
                    &mut Io::Apart { x, y: &mut *y },
                    kernel,
                    residual,
                )?;
            } else {
                let whole = results.len() / self.tile * count.get();
                let results = results.get_mut(..whole)?;
                let bytes = y.as_mut_bytes();
                if residual.is_some() {
                    kernels::take(count.get(), channels, first, bytes, results.as_mut_bytes())?;
                }
                let mut io = Io::Apart {
                    x,
                    y: &mut *results,
                };
                K::conv(&tile, &part, &mut io, kernel, residual)?;
                kernels::place(count.get(), channels, first, results.as_bytes(), bytes)?;
            }
            first += count.get();
        }
        Some(())
    }

    #[inline(never)]
    fn dense<K: Kernel>(&self, arena: &mut [u8]) -> Option<()> {
        let p = self.layer.parameters::<format::FullyConnectedI8>()?;
        let [_, inputs, outputs] = p.shape.map(|d| d.get() as usize);
        let memory = Memory::dense(K::FORM, inputs, outputs, self.tile)?;
        let (io, scratch) = io_and_scratch(arena, self.layer.input, self.layer.output, p.scratch)?;
        let Io::Apart { x, y } = io else {
            return None;
        };
        let spans = [p.weights, p.bias, p.multipliers];
        let mut tiles = Tiles::<K>::new(self, spans, inputs, scratch, &memory)?;
        let mut first = 0;
        while first < outputs {
            let count = self.tile.get().min(outputs - first);
            let (tile, kernel, _) = tiles.next(first, count, &p.int8)?;
            let rows = kernels::parts::parts(x, NonZeroUsize::new(inputs)?);
            for (x, y) in rows.zip(parts_mut(y, NonZeroUsize::new(outputs)?)) {
                let y = y.get_mut(first..)?.get_mut(..count)?;
                K::dense(&tile, [inputs, count], x, y, kernel)?;
            }
            first += count;
        }
        Some(())
    }
}

/// A layer's weights and constants, and where its tiles are decoded to.
struct Tiles<'t, K: Kernel> {
    stored: K::Stored<'t>,
    taps: usize,
    bias: &'t [i32],
    multipliers: &'t [f32],
    weights: &'t mut [u8],
    kernel: &'t mut [i8],
    results: &'t mut [i8],
}

impl<'t, K: Kernel> Tiles<'t, K> {
    fn new(
        run: &Run<'t>,
        [weights, bias, multipliers]: [Span; 3],
        taps: usize,
        scratch: &'t mut [i8],
        memory: &Memory,
    ) -> Option<Self> {
        let (table, rest) = scratch.split_at_mut_checked(memory.table)?;
        let (tile, rest) = rest.split_at_mut_checked(memory.weights)?;
        let (kernel, results) = rest.split_at_mut_checked(memory.kernel)?;
        let stored = part(run.data, weights)?;
        Some(Tiles {
            stored: Stored::new(run, K::FORM, stored, table.as_mut_bytes())?,
            taps,
            bias: typed(part(run.data, bias)?)?,
            multipliers: typed(part(run.data, multipliers)?)?,
            weights: tile.as_mut_bytes(),
            kernel,
            results,
        })
    }

    /// Decodes the next tile, of `channels` channels from `first` on. Comes with the memory for the kernel and for results.
    fn next<'a>(
        &'a mut self,
        first: usize,
        channels: usize,
        int8: &'a format::Int8,
    ) -> Option<(Tile<'a>, &'a mut [i8], &'a mut [i8])> {
        self.stored.tile()?;
        let bias = self.bias.get(first..)?;
        // Split weights may have the same multipliers for all blocks.
        let shared = K::FORM == Form::Split && self.multipliers.len() == 4;
        let multipliers = self.multipliers.get(if shared { 0 } else { first }..)?;
        let len = packed_len(K::FORM, self.taps, channels)?;
        let packed = self.weights.get_mut(..len)?;
        if K::FORM == Form::Helium {
            let block = NonZeroUsize::new(helium::block_len(self.taps)?)?;
            let constants = bias
                .as_chunks::<4>()
                .0
                .iter()
                .zip(multipliers.as_chunks::<4>().0);
            let constants = constants.take(channels.div_ceil(4));
            // The last block comes first.
            for (packed, (bias, multipliers)) in parts_mut(packed, block).zip(constants.rev()) {
                let (head, rest) = packed.split_first_chunk_mut::<16>()?;
                let (weights, tail) = rest.split_last_chunk_mut::<16>()?;
                *head = zerocopy::transmute!(*bias);
                *tail = zerocopy::transmute!(*multipliers);
                self.stored.decode(weights)?;
            }
        } else {
            let bytes = codes(K::FORM, self.taps, channels)?;
            let len = if K::FORM == Form::Wide { len } else { bytes };
            self.stored.decode(packed.get_mut(..len)?)?;
        }
        let tile = Tile {
            weights: packed,
            bias,
            multipliers,
            int8,
        };
        Some((tile, self.kernel, self.results))
    }
}
