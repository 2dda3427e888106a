//! Octet weights: eight output channels by four taps, for vector units of phones and desktops.
//!
//! A layer's weights are blocks of eight output channels. In a block, the taps of a window come run by run, a run being what
//! lies together in memory, and each run in groups of four, filled up with zero weights:
//!
//! ```text
//! [blocks][runs of a window][groups of a run][8 channels][4 taps] × i8
//! ```
//!
//! Instructions that multiply four bytes at a time (`SDOT`, `VPDPBUSD`) take a group as it is, 128, 256 or 512 bits at a time.
//! Those that multiply pairs of 16-bit numbers (`VPMADDWD`) take it sign-extended. Biases and multipliers are filled up to
//! whole blocks; there are biases for unsigned activations, too, since `VPDPBUSD` takes no others.
//!
//! Nothing is copied out to a matrix: the rows that a row of outputs needs are copied once, with their padding, to working
//! memory (a ring: each next row of outputs replaces the oldest ones), and windows are read from there, where they overlap.
//!
//! Depthwise weights are pairs of vertical taps for `VPMADDWD` and the like. Rows are interleaved by pairs, an even one with
//! the odd one below it, once for all rows of outputs. A window that begins with an odd row has its own weights, with a zero
//! row in front:
//!
//! ```text
//! [blocks][window begins with an even row, with an odd one][pairs of rows][columns][8 channels][2 rows] × i8
//! ```

pub mod arm;
mod conv;
mod depthwise;
mod portable;
#[cfg(test)]
mod tests;

pub use portable::Portable;

use super::patch::Residual;
use super::{Geometry, Io};
use crate::requantize::Output;
use core::num::NonZeroUsize;

/// Output channels of a block.
pub const CHANNELS: usize = 8;
/// Taps of a group.
pub const TAPS: usize = 4;

/// Most runs that a window may have.
pub const MOST_RUNS: usize = 64;

/// Working memory that a run of pixels or rows takes at most, unless one alone takes more.
const RUN_BYTES: usize = 8192;
/// Working memory that a depthwise convolution's rows take at most, unless sixteen channels take more.
const RING_BYTES: usize = 20_480;
/// Most channels that a depthwise convolution interleaves at a time.
const MOST_CHANNELS: usize = 64;

/// Weights, biases and multipliers of a layer.
#[derive(Clone, Copy, Debug)]
pub struct Octet<'d> {
    /// As the module says.
    pub weights: &'d [i8],
    /// `[blocks][8]`; but for depthwise convolutions, the same again for rows that have 128 added: less 128 times the sum of the
    /// channel's weights, wrapping around.
    pub bias: &'d [i32],
    /// `[blocks][8]`.
    pub multipliers: &'d [f32],
    /// What padding means.
    pub zero_point: i8,
    /// Zero point and bounds of the output.
    pub output: Output,
}

/// How the taps of a window lie in working memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Runs {
    /// Rows of the kernel, runs of a row.
    pub count: [usize; 2],
    /// Taps of a run.
    pub taps: usize,
}

impl Runs {
    /// Those of a convolution's window; `None` when there are more than [`MOST_RUNS`].
    pub fn of(g: &Geometry) -> Option<Runs> {
        let [height, width] = g.kernel;
        let depth = g.input[2].get();
        // A row of the kernel is one run where nothing lies between its columns.
        let one = g.dilation[1].get() == 1 || width.get() == 1;
        let (runs, taps) = match one {
            true => (1, width.get().checked_mul(depth)?),
            false => (width.get(), depth),
        };
        let few = height.get().checked_mul(runs)? <= MOST_RUNS;
        few.then_some(Runs {
            count: [height.get(), runs],
            taps,
        })
    }

    /// That of a fully connected layer.
    pub fn row(inputs: usize) -> Runs {
        Runs {
            count: [1, 1],
            taps: inputs,
        }
    }

    /// Bytes of a block's weights.
    pub fn block_len(&self) -> Option<usize> {
        let [rows, runs] = self.count;
        let taps = self.taps.checked_next_multiple_of(TAPS)?;
        taps.checked_mul(CHANNELS)?
            .checked_mul(rows.checked_mul(runs)?)
    }

    /// Bytes of a layer's weights.
    pub fn layer_len(&self, channels: usize) -> Option<usize> {
        self.block_len()?.checked_mul(channels.div_ceil(CHANNELS))
    }
}

/// Pairs of rows that a window of so many rows touches, whether it begins with an even or an odd one.
pub fn pairs(kernel_height: usize) -> usize {
    kernel_height / 2 + 1
}

/// Bytes of a block's depthwise weights.
pub fn depthwise_block_len(g: &Geometry) -> Option<usize> {
    let [height, width] = g.kernel.map(NonZeroUsize::get);
    width
        .checked_mul(pairs(height))?
        .checked_mul(2 * 2 * CHANNELS)
}

/// Bytes of a depthwise layer's weights.
pub fn depthwise_len(g: &Geometry) -> Option<usize> {
    depthwise_block_len(g)?.checked_mul(g.input[2].get().div_ceil(CHANNELS))
}

/// Whether a depthwise convolution has octet weights: one output channel each, no dilation, no more than [`MOST_RUNS`].
pub fn is_depthwise(g: &Geometry) -> bool {
    let runs = pairs(g.kernel[0].get()).checked_mul(g.kernel[1].get());
    g.input[2] == g.output[2]
        && g.dilation == [NonZeroUsize::MIN; 2]
        && runs.is_some_and(|runs| runs <= MOST_RUNS)
}

/// Columns of a row in working memory: what its row of outputs reads.
fn columns(g: &Geometry) -> Option<usize> {
    let reach = (g.kernel[1].get() - 1).checked_mul(g.dilation[1].get())?;
    (g.output[1].get() - 1)
        .checked_mul(g.stride[1].get())?
        .checked_add(reach)?
        .checked_add(1)
}

/// Rows that the windows of a row of outputs span.
fn ring(g: &Geometry) -> Option<usize> {
    (g.kernel[0].get() - 1)
        .checked_mul(g.dilation[0].get())?
        .checked_add(1)
}

/// Rows of `taps` 16-bit numbers that fit a run, of `most` at most.
fn run(taps: usize, most: usize) -> usize {
    (RUN_BYTES / 2)
        .checked_div(taps)
        .unwrap_or(1)
        .clamp(1, most.max(1))
}

/// Bytes of working memory of a convolution: its ring of rows, or a run of pixels, as 16-bit numbers. Reading a run's last
/// group goes on behind it by less than a group.
pub(super) fn conv_scratch(g: &Geometry) -> Option<usize> {
    Runs::of(g)?;
    let elements = if g.pointwise() {
        let (pixels, depth) = (g.as_row()?.output[1].get(), g.input[2].get());
        run(depth, pixels).checked_mul(depth)?
    } else {
        columns(g)?
            .checked_mul(g.input[2].get())?
            .checked_mul(ring(g)?)?
    };
    scratch_of(elements.checked_add(TAPS)?)
}

/// Bytes of working memory of a fully connected layer: a row.
pub(super) fn dense_scratch(inputs: usize) -> Option<usize> {
    scratch_of(inputs.checked_add(TAPS)?)
}

/// Channels that a depthwise convolution interleaves at a time, a multiple of eight.
fn depthwise_channels(g: &Geometry) -> Option<usize> {
    let channel = columns(g)?.checked_mul(pairs(g.kernel[0].get()) * 4)?;
    let fit = RING_BYTES.checked_div(channel)? / 16 * 16;
    let all = g.input[2].get().checked_next_multiple_of(CHANNELS)?;
    Some(fit.clamp(16, MOST_CHANNELS).min(all))
}

/// Bytes of working memory of a depthwise convolution: its ring of pairs of rows; `None` where it has no octet weights.
pub(super) fn depthwise_scratch(g: &Geometry) -> Option<usize> {
    if !is_depthwise(g) {
        return None;
    }
    let pair = columns(g)?.checked_mul(depthwise_channels(g)?)?;
    scratch_of(pair.checked_mul(pairs(g.kernel[0].get()) * 2)?)
}

fn scratch_of(elements: usize) -> Option<usize> {
    elements.checked_mul(2)?.checked_next_multiple_of(4)
}

/// Calls `$function` with the fastest arm of this machine first.
macro_rules! dispatch {
    ($function:path, $($argument:expr),*) => {{
        #[cfg(target_arch = "x86_64")]
        if let Some(arm) = super::x86::Vnni::detect() {
            return $function(arm, $($argument),*);
        }
        #[cfg(target_arch = "x86_64")]
        if let Some(arm) = super::x86::Avx2::detect() {
            return $function(arm, $($argument),*);
        }
        #[cfg(target_arch = "aarch64")]
        if let Some(arm) = super::neon::I8mm::detect() {
            return $function(arm, $($argument),*);
        }
        #[cfg(target_arch = "aarch64")]
        if let Some(arm) = super::neon::Dotprod::detect() {
            return $function(arm, $($argument),*);
        }
        #[cfg(target_arch = "aarch64")]
        if let Some(arm) = super::neon::Neon::detect() {
            return $function(arm, $($argument),*);
        }
        $function(Portable, $($argument),*)
    }};
}

/// Convolution of one group; `residual` is added if there is one. `scratch` has the bytes that
/// [`super::scratch::conv`] says.
#[inline(never)]
pub fn conv_octet(
    g: &Geometry,
    layer: &Octet<'_>,
    io: &mut Io<'_>,
    scratch: &mut [i8],
    residual: Option<&Residual>,
) -> Option<()> {
    let Io::Apart { x, y } = io else { return None };
    dispatch!(conv::conv, g, layer, x, y, scratch, residual)
}

/// Fully connected layer over rows of `inputs` elements. `scratch` has the bytes that [`super::scratch::dense`] says.
#[inline(never)]
pub fn dense_octet(
    shape: [usize; 2],
    layer: &Octet<'_>,
    x: &[i8],
    y: &mut [i8],
    scratch: &mut [i8],
) -> Option<()> {
    dispatch!(conv::dense, shape, layer, x, y, scratch)
}

/// Depthwise convolution. `scratch` has the bytes that [`super::scratch::depthwise`] says.
#[inline(never)]
pub fn depthwise_octet(
    g: &Geometry,
    layer: &Octet<'_>,
    io: &mut Io<'_>,
    scratch: &mut [i8],
) -> Option<()> {
    let Io::Apart { x, y } = io else { return None };
    dispatch!(depthwise::depthwise, g, layer, x, y, scratch)
}
