//! Convolution, two pixels at a time.

use super::Quad;
use super::tile::{self, Layer, Pairs, Scales};
use crate::kernels::gather::gather;
use crate::kernels::patch::Residual;
use crate::kernels::runs::{Pixel, Runs, Shape};
use crate::kernels::{Geometry, Io};
use crate::requantize::Output;
use crate::requantize::fixed::{Block, Scale};
use core::num::NonZeroUsize;
use core::ops::Range;
use zerocopy::{FromBytes, IntoBytes};

/// Shorter runs are gathered: the loop over them takes sixteen instructions a run and block.
const SHORT: usize = 8;

/// Convolution of one group, in place if it is pointwise. `scratch` has the bytes that [`crate::kernels::scratch::conv`] says: a
/// [`Block`] for each four channels, two patches, and two pixels' results if there is a residual.
#[inline(never)]
pub fn conv_quad(
    g: &Geometry,
    quad: &Quad<'_>,
    zero_point: i8,
    output: Output,
    io: &mut Io<'_>,
    scratch: &mut [i8],
    residual: Option<&Residual>,
) -> Option<()> {
    let taps = g.window_len()?.get();
    let channels = g.output[2].get();
    let blocks = channels.div_ceil(4).checked_mul(size_of::<Block>())?;
    let (scales, rest) = scratch.split_at_mut_checked(blocks)?;
    let scales = <[Block]>::mut_from_bytes(scales.as_mut_bytes()).ok()?;
    let padded = taps.checked_next_multiple_of(4)?;
    let (patches, results) = rest.split_at_mut_checked(padded.checked_mul(2)?)?;
    let constants = quad
        .bias
        .as_chunks()
        .0
        .iter()
        .zip(quad.multipliers.as_chunks().0);
    for (scale, (bias, multipliers)) in scales.iter_mut().zip(constants) {
        *scale = Block::new(multipliers, bias, taps, &output);
    }
    let layer = Layer {
        quad,
        scales: Scales::Each(scales),
        output: &output,
        channels,
    };
    let mut conv = Conv {
        g,
        layer,
        runs: Runs::new(g),
        zero_point,
        taps,
        channels,
        patches,
        results,
        residual: residual.map(|r| (r, Scale::new(r.multiplier))),
        waiting: None,
    };
    match io {
        Io::InPlace(both) => conv.in_place(both),
        Io::Apart { x, y } if g.pointwise() => conv.pointwise(x, y),
        Io::Apart { x, y } => conv.apart(x, y),
    }
}

/// A convolution that is being made.
struct Conv<'a> {
    g: &'a Geometry,
    layer: Layer<'a>,
    runs: Runs,
    zero_point: i8,
    taps: usize,
    channels: usize,
    /// Room for the taps of two pixels.
    patches: &'a mut [i8],
    /// Room for the results of two pixels, if there is a residual.
    results: &'a mut [i8],
    residual: Option<(&'a Residual, Scale)>,
    /// A pixel whose taps are in the first patch, by its number.
    waiting: Option<usize>,
}

impl Conv<'_> {
    /// Each pixel's input is read before anything is written that lies there.
    fn in_place(&mut self, both: &mut [i8]) -> Option<()> {
        let pixels = self.pixels()?;
        let shape = Shape::gathered(self.taps);
        for pixel in 0..pixels {
            let patch = next_patch(self.patches, self.waiting, self.taps)?;
            let at = pixel.checked_mul(shape.run)?;
            gather(both, at, shape, patch, shape.run)?;
            self.gathered(pixel, both)?;
        }
        self.last(both)
    }

    /// All pixels are pairs in a row.
    fn pointwise(&mut self, x: &[i8], y: &mut [i8]) -> Option<()> {
        let pixels = self.pixels()?;
        let shape = Shape::gathered(self.taps);
        self.direct(x, y, [0, pixels / 2], [0, self.taps], shape)?;
        if pixels % 2 == 1 {
            let at = (pixels - 1).checked_mul(self.taps)?;
            let x = x.get(at..)?.get(..self.taps)?;
            self.single(x, pixels - 1, y)?;
        }
        Some(())
    }

    /// In each row the pixels whose taps all lie inside are read where they lie; others are gathered.
    fn apart(&mut self, x: &[i8], y: &mut [i8]) -> Option<()> {
        let [height, width, _] = self.g.output.map(NonZeroUsize::get);
        let direct = self.runs.shape.lines == 1 || self.runs.shape.run >= SHORT;
        let step = self.runs.step[1];
        let mut first = 0usize;
        for batch in 0..self.g.batch {
            for row in 0..height {
                let inside = match direct {
                    true => self.runs.columns(row),
                    false => 0..0,
                };
                let pairs = inside.len() / 2;
                let unpaired = inside.start.wrapping_add(pairs.wrapping_mul(2));
                if pairs > 0 {
                    let start = self.runs.start(Pixel {
                        batch,
                        y: row,
                        x: inside.start,
                    })?;
                    let pixel = first.wrapping_add(inside.start);
                    let at = [start, start.wrapping_add(step)];
                    self.direct(x, y, [pixel, pairs], at, self.runs.shape)?;
                }
                let rest: [Range<usize>; 2] = match pairs {
                    0 => [0..width, 0..0],
                    _ => [0..inside.start, unpaired..width],
                };
                for column in rest.into_iter().flatten() {
                    let pixel = Pixel {
                        batch,
                        y: row,
                        x: column,
                    };
                    let patch = next_patch(self.patches, self.waiting, self.taps)?;
                    self.runs.gather(self.g, x, pixel, self.zero_point, patch)?;
                    self.gathered(first.wrapping_add(column), y)?;
                }
                first = first.checked_add(width)?;
            }
        }
        self.last(y)
    }

    fn pixels(&self) -> Option<usize> {
        let [height, width, _] = self.g.output.map(NonZeroUsize::get);
        self.g.batch.checked_mul(height)?.checked_mul(width)
    }

    /// Pixel number `pixel` has its taps in the next patch.
    fn gathered(&mut self, pixel: usize, y: &mut [i8]) -> Option<()> {
        let Some(first) = self.waiting.take() else {
            self.waiting = Some(pixel);
            return Some(());
        };
        let pairs = Pairs {
            x: self.patches,
            at: [0, self.patches.len() / 2],
            shape: Shape::gathered(self.taps),
            count: 1,
            step: 0,
            channels: self.channels,
            gap: pixel.wrapping_sub(first).checked_mul(self.channels)?,
        };
        finish(&self.layer, &pairs, first, self.results, self.residual, y)
    }

    /// The last pixel, if it has no partner.
    fn last(&mut self, y: &mut [i8]) -> Option<()> {
        let Some(pixel) = self.waiting.take() else {
            return Some(());
        };
        let x = self.patches.get(..self.taps)?;
        single(&self.layer, x, pixel, self.results, self.residual, y)
    }

    /// One pixel whose taps are `x`.
    fn single(&mut self, x: &[i8], pixel: usize, y: &mut [i8]) -> Option<()> {
        single(&self.layer, x, pixel, self.results, self.residual, y)
    }

    /// Pairs of neighbours, from pixel number `first` on, whose taps are read where they lie.
    fn direct(
        &mut self,
        x: &[i8],
        y: &mut [i8],
        [first, count]: [usize; 2],
        at: [usize; 2],
        shape: Shape,
    ) -> Option<()> {
        let step = at[1].wrapping_sub(at[0]).checked_mul(2)?;
        let pairs = Pairs {
            x,
            at,
            shape,
            count,
            step,
            channels: self.channels,
            gap: self.channels,
        };
        if count == 0 {
            return Some(());
        }
        if self.residual.is_none() {
            return finish(&self.layer, &pairs, first, self.results, None, y);
        }
        // There is room for the results of one pair only.
        for pair in 0..count {
            let one = Pairs {
                at: at.map(|at| at.wrapping_add(pair.wrapping_mul(step))),
                count: 1,
                ..pairs
            };
            let first = first.wrapping_add(pair.wrapping_mul(2));
            finish(&self.layer, &one, first, self.results, self.residual, y)?;
        }
        Some(())
    }
}

/// The patch that the next pixel's taps go to: the second one, if a pixel is waiting in the first.
fn next_patch(patches: &mut [i8], waiting: Option<usize>, taps: usize) -> Option<&mut [i8]> {
    let (first, second) = patches.split_at_mut_checked(patches.len() / 2)?;
    let patch = if waiting.is_none() { first } else { second };
    patch.get_mut(..taps)
}

/// Results of pairs of pixels, the first of which has number `first`.
#[inline(always)]
fn finish(
    layer: &Layer<'_>,
    pairs: &Pairs<'_>,
    first: usize,
    results: &mut [i8],
    residual: Option<(&Residual, Scale)>,
    y: &mut [i8],
) -> Option<()> {
    let y = y.get_mut(first.checked_mul(pairs.channels)?..)?;
    let Some((residual, scale)) = residual else {
        tile::pairs(layer, pairs, y)?;
        if !layer.output.saturates() {
            for pair in 0..pairs.count {
                let start = pair.checked_mul(pairs.advance()?)?;
                for at in [start, start.checked_add(pairs.gap)?] {
                    layer
                        .output
                        .clamp(y.get_mut(at..)?.get_mut(..pairs.channels)?);
                }
            }
        }
        return Some(());
    };
    let results = results.get_mut(..pairs.advance()?)?;
    let side_by_side = Pairs {
        gap: pairs.channels,
        ..*pairs
    };
    tile::pairs(layer, &side_by_side, results)?;
    layer.output.clamp(results);
    let (r0, r1) = results.split_at_mut_checked(pairs.channels)?;
    for (results, at) in [(r0, 0), (r1, pairs.gap)] {
        let y = y.get_mut(at..)?.get_mut(..pairs.channels)?;
        tile::add(residual, &scale, results, y)?;
        residual.output.clamp(y);
    }
    Some(())
}

#[inline(always)]
fn single(
    layer: &Layer<'_>,
    x: &[i8],
    pixel: usize,
    results: &mut [i8],
    residual: Option<(&Residual, Scale)>,
    y: &mut [i8],
) -> Option<()> {
    let channels = layer.channels;
    let y = y
        .get_mut(pixel.checked_mul(channels)?..)?
        .get_mut(..channels)?;
    let Some((residual, scale)) = residual else {
        tile::vector(layer, x, y)?;
        layer.output.clamp(y);
        return Some(());
    };
    let results = results.get_mut(..channels)?;
    tile::vector(layer, x, results)?;
    layer.output.clamp(results);
    tile::add(residual, &scale, results, y)?;
    residual.output.clamp(y);
    Some(())
}
