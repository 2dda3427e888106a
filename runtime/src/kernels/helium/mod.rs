//! Helium weights, for cores whose vectors multiply sixteen bytes at a time and add up the products (`VMLAVA`).
//!
//! Output channels come in blocks of four, taps in groups of sixteen, both filled up with zero weights. A block is one run of
//! memory with everything that its four results take, in the order in which a kernel takes it:
//!
//! ```text
//! bias           4 × i32
//! weights        [groups][4][16] × i8
//! multipliers    4 × f32
//! ```
//!
//! A convolution's taps are in the order `[kw][kh][in_c]`: the windows of a row of pixels then overlap in memory, once the
//! columns of the input are laid side by side (see [`Source`]).
//!
//! The last block comes first. Results are stored by fours, and what is stored behind a pixel's last channel is where the next
//! pixel's first block goes, which is stored later.
//!
//! Depthwise weights are for 3×3 kernels: four zero bytes, then for each channel `[3 columns][4 rows]`, the fourth row zero,
//! and four zero bytes. A vector that begins at a channel's weights is the kernel in the upper left of a 4×4 window; one
//! that begins four bytes earlier is the kernel one column to the right.

mod portable;

pub use portable::{conv_helium, dense_helium, depthwise_helium};

use super::Geometry;
use crate::format;
use core::num::NonZeroUsize;

/// Output channels of a block.
pub const CHANNELS: usize = 4;
/// Taps of a group.
pub const TAPS: usize = 16;

/// Bytes of a block with `taps` taps.
pub fn block_len(taps: usize) -> Option<usize> {
    let weights = taps.div_ceil(TAPS).checked_mul(CHANNELS * TAPS)?;
    weights.checked_add(2 * CHANNELS * 4)
}

/// Bytes of a layer's weights, biases and multipliers.
pub fn layer_len(taps: usize, channels: usize) -> Option<usize> {
    block_len(taps)?.checked_mul(channels.div_ceil(CHANNELS))
}

/// Bytes of a depthwise layer's weights.
pub fn depthwise_len(channels: usize) -> Option<usize> {
    channels.checked_mul(TAPS)?.checked_add(4)
}

/// Where a convolution's kernel reads the windows of its pixels, and how many pixels it computes at a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// Each output pixel is made of the input pixel at its place: from the input, or from a copy of the run.
    Pixels,
    /// From the columns of the input that a row of outputs needs, laid side by side, padding included:
    /// `[columns][kernel height][input channels]`. A run is a row of outputs.
    Columns,
    /// From a copy of each window, since dilation has the window's columns lie apart. A run is two pixels.
    Windows,
}

/// Input bytes that a run of [`Source::Pixels`] copies at most, unless a single pixel is larger.
const RUN_BYTES: usize = 512;

impl Source {
    /// The source that a convolution reads.
    pub fn of(g: &Geometry) -> Source {
        if g.pointwise() {
            Source::Pixels
        } else if g.dilation[1].get() == 1 || g.kernel[1].get() == 1 {
            Source::Columns
        } else {
            Source::Windows
        }
    }

    /// Output pixels of a run.
    pub fn run(self, g: &Geometry) -> usize {
        match self {
            Source::Pixels => (RUN_BYTES / g.input[2]).max(2),
            Source::Columns => g.output[1].get(),
            Source::Windows => 2,
        }
    }

    /// Bytes from the window of an output pixel to that of the next one.
    pub fn step(self, g: &Geometry) -> Option<usize> {
        let [kernel_h, kernel_w] = g.kernel;
        let column = kernel_h.checked_mul(g.input[2])?;
        let columns = match self {
            Source::Pixels => return Some(g.input[2].get()),
            Source::Columns => g.stride[1],
            Source::Windows => kernel_w,
        };
        Some(column.checked_mul(columns)?.get())
    }

    /// Bytes of a run's windows; reading whole groups of taps may go on behind them by less than a group.
    pub fn len(self, g: &Geometry) -> Option<usize> {
        let window = g.kernel[0]
            .checked_mul(g.kernel[1])?
            .checked_mul(g.input[2])?;
        let steps = (self.run(g) - 1).checked_mul(self.step(g)?)?;
        steps.checked_add(window.get())
    }
}

/// Bytes of working memory of a convolution: the run's windows, filled up to whole groups; then the run's results where
/// they cannot go to the output at once.
pub(super) fn conv_scratch(g: &Geometry, adds: bool) -> Option<usize> {
    let source = Source::of(g);
    let results = if adds || !g.output[2].get().is_multiple_of(CHANNELS) {
        let channels = g.output[2].get();
        source.run(g).checked_mul(channels)?.checked_add(CHANNELS)?
    } else {
        0
    };
    source_len(g)?
        .checked_add(results)?
        .checked_next_multiple_of(4)
}

/// The part of [`conv_scratch`] for the windows.
pub(super) fn source_len(g: &Geometry) -> Option<usize> {
    Source::of(g)
        .len(g)?
        .checked_add(TAPS)?
        .checked_next_multiple_of(4)
}

/// Bytes of working memory of a fully connected layer: a row of inputs, filled up to whole groups, and a row of outputs, to
/// whole blocks, where they are not whole by themselves.
pub(super) fn dense_scratch(inputs: usize, outputs: usize) -> Option<usize> {
    let filled = |n: usize, unit| match n.is_multiple_of(unit) {
        true => Some(0),
        false => n.checked_next_multiple_of(unit),
    };
    filled(inputs, TAPS)?.checked_add(filled(outputs, CHANNELS)?)
}

/// Depthwise: channels that are computed together.
pub const LANES: usize = 16;
/// Depthwise: bytes of a column of [`LANES`] channels: `[channel][4 rows]` from the upper rows, the same from two rows further
/// down, then the row that the following strip needs above its own.
pub const COLUMN: usize = 2 * 4 * LANES + LANES;

/// Whether a depthwise convolution has Helium weights: one output channel each, 3×3, stride 1 or 2.
pub fn is_depthwise(g: &Geometry) -> bool {
    let all = |a: [NonZeroUsize; 2], n| a.map(NonZeroUsize::get) == [n; 2];
    let reach = g.output[1]
        .get()
        .checked_mul(3)
        .and_then(|n| n.checked_add(1));
    let reach = reach.and_then(|n| n.checked_mul(g.output[2].get()));
    g.input[2] == g.output[2]
        && all(g.kernel, 3)
        && all(g.dilation, 1)
        && (all(g.stride, 1) || all(g.stride, 2))
        && g.pad.iter().all(|&pad| pad <= 2)
        // Results are stored with 16-bit offsets.
        && reach.is_some_and(|n| n <= 1 << 16)
}

/// Columns of a depthwise convolution's working memory.
pub fn depthwise_columns(g: &Geometry) -> Option<usize> {
    let width = g.output[1].get();
    let columns = match g.stride[1].get() {
        1 => width.checked_next_multiple_of(2)?,
        _ => width.checked_next_multiple_of(4)?.checked_mul(2)?,
    };
    columns.checked_add(2)
}

/// Bytes of working memory of a depthwise convolution.
pub(super) fn depthwise_scratch(g: &Geometry) -> Option<usize> {
    if !is_depthwise(g) {
        return None;
    }
    depthwise_columns(g)?.checked_mul(COLUMN)
}

/// Whether a depthwise convolution may write where it reads.
pub(super) fn depthwise_in_place(g: &Geometry) -> bool {
    is_depthwise(g) && g.stride[0].get() == 1 && g.pad == [1, 1] && g.input == g.output
}

/// Weights, biases and multipliers of a convolution or fully connected layer.
#[derive(Clone, Copy, Debug)]
pub struct Helium<'d> {
    /// All blocks.
    pub blocks: &'d [u8],
    /// `[kernel height, kernel width, input channels]`; `[1, 1, inputs]` for a fully connected layer.
    pub window: [NonZeroUsize; 3],
}

/// Weights of a depthwise convolution.
#[derive(Clone, Copy, Debug)]
pub struct Depthwise<'d> {
    /// `[4]` zeros, then `[channels][4 columns][4 rows]`, the last column and row zero.
    pub weights: &'d [i8],
    /// `[channels]`.
    pub bias: &'d [i32],
    /// `[channels]`.
    pub multipliers: &'d [f32],
    /// Zero points and bounds.
    pub int8: &'d format::Int8,
}
