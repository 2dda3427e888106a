//! What an instruction set has to offer to run layers with octet weights.

use crate::kernels::patch::Residual;
use crate::requantize::Output;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The windows of consecutive output pixels, in working memory.
#[derive(Clone, Copy, Debug)]
pub struct Windows<'a, T> {
    /// Working memory.
    pub rows: &'a [T],
    /// Where in it each run of the first pixel's window begins.
    pub runs: &'a [usize],
    /// Elements of a run, a multiple of four; of a depthwise convolution, a column's pairs of all channels.
    pub len: usize,
    /// Elements from a pixel's window to the next one's.
    pub step: usize,
    /// Number of pixels.
    pub pixels: usize,
}

/// The constants of a layer.
#[derive(Clone, Copy, Debug)]
pub struct Layer<'a> {
    /// Weights of each block in the order in which [`Windows`] are read.
    pub weights: &'a [i8],
    /// Bytes from a block's weights to the next one's.
    pub block: usize,
    /// Where the sums begin.
    pub bias: &'a [[i32; 8]],
    /// Where they begin if each element of the rows has 128 added: less 128 times the sum of the weights. Empty for a depthwise
    /// convolution.
    pub unsigned: &'a [[i32; 8]],
    /// From sums to results.
    pub multipliers: &'a [[f32; 8]],
    /// Zero point and bounds of the results.
    pub output: Output,
}

/// Where the results go.
#[derive(Debug)]
pub struct Results<'y, 'r> {
    /// From the first pixel's first channel on.
    pub y: &'y mut [i8],
    /// Bytes from a pixel to the next one.
    pub step: usize,
    /// Number of channels.
    pub channels: usize,
    /// What is added, to what is there already.
    pub residual: Option<&'r Residual>,
}

impl<T> Windows<'_, T> {
    /// Whether a kernel stays within all slices, and there is something to do. It takes `weights` weights for a run.
    fn fit(&self, layer: &Layer<'_>, results: &Results<'_, '_>, weights: usize) -> bool {
        let blocks = results.channels.div_ceil(8);
        let last = |count: usize, step: usize| count.checked_sub(1)?.checked_mul(step);
        let rows = || {
            let run = self.runs.iter().max()?;
            last(self.pixels, self.step)?
                .checked_add(*run)?
                .checked_add(self.len)
        };
        let weights = || {
            let window = self.runs.len().checked_mul(weights)?;
            last(blocks, layer.block)?.checked_add(window)
        };
        let y = || last(self.pixels, results.step)?.checked_add(results.channels);
        let within = |end: Option<usize>, len: usize| end.is_some_and(|end| end <= len);
        within(rows(), self.rows.len())
            && within(weights(), layer.weights.len())
            && within(y(), results.y.len())
            && blocks <= layer.bias.len()
            && blocks <= layer.multipliers.len()
    }

    /// Whether everything fits for a convolution.
    pub fn convolve(&self, layer: &Layer<'_>, results: &Results<'_, '_>) -> bool {
        let weights = self.len.checked_mul(8);
        self.len.is_multiple_of(4) && weights.is_some_and(|w| self.fit(layer, results, w))
    }

    /// Whether everything fits for a depthwise convolution.
    pub fn depthwise(&self, layer: &Layer<'_>, results: &Results<'_, '_>) -> bool {
        let columns = results.channels.div_ceil(8).checked_mul(16);
        columns.is_some_and(|len| len <= self.len)
            && results.residual.is_none()
            && self.fit(layer, results, 16)
    }
}

/// An element of working memory.
pub trait Tap: Copy + FromBytes + IntoBytes + Immutable + KnownLayout {}

impl Tap for i8 {}
impl Tap for i16 {}

/// An instruction set. A value proves that the processor has it.
pub trait Arm: Copy {
    /// What convolutions keep their rows as.
    type Tap: Tap;

    /// Padding.
    fn tap(self, x: i8) -> Self::Tap;

    /// Brings `x` to working memory.
    fn expand(self, x: &[i8], y: &mut [Self::Tap]);

    /// The results of consecutive pixels; `None` when something does not fit.
    fn convolve(
        self,
        windows: &Windows<'_, Self::Tap>,
        layer: &Layer<'_>,
        results: &mut Results<'_, '_>,
    ) -> Option<()>;

    /// Brings two rows to working memory, interleaved: `count` pieces of `len` elements each, which are `steps` elements apart in
    /// the first row and in the second one, and pairs in `y`.
    fn interleave(
        self,
        rows: [&[i8]; 2],
        y: &mut [i16],
        count: usize,
        len: usize,
        steps: [usize; 3],
    ) -> Option<()>;

    /// As [`Arm::convolve`], each channel by itself: a run holds all channels' pairs of rows.
    fn depthwise(
        self,
        windows: &Windows<'_, i16>,
        layer: &Layer<'_>,
        results: &mut Results<'_, '_>,
    ) -> Option<()>;
}
