//! The inner loops: sums of several channels and pixels at once. Armv7-M has them in assembly.

#[cfg(not(kinglet_armv7m))]
pub(super) use super::portable::{add, pairs, vector};
#[cfg(kinglet_armv7m)]
pub(super) use crate::kernels::thumb::{add, pairs, vector};

use super::Quad;
use crate::kernels::runs::Shape;
use crate::requantize::Output;
use crate::requantize::fixed::Block;

/// Pairs of pixels: where their taps lie in `x`, and their results in the output.
#[derive(Clone, Copy, Debug)]
pub(in crate::kernels) struct Pairs<'a> {
    pub(in crate::kernels) x: &'a [i8],
    /// Where the taps of the first pair's pixels begin.
    pub(in crate::kernels) at: [usize; 2],
    pub(in crate::kernels) shape: Shape,
    /// Number of pairs.
    pub(in crate::kernels) count: usize,
    /// Bytes from one pair's taps to the next one's.
    pub(in crate::kernels) step: usize,
    /// Channels; results of one pair lie behind those of the other.
    pub(in crate::kernels) channels: usize,
    /// Bytes from the first pixel's results to the second one's; those of the first pair lie at the output's beginning.
    pub(in crate::kernels) gap: usize,
}

impl Pairs<'_> {
    /// Bytes from one pair's results to the next one's.
    pub(in crate::kernels) fn advance(&self) -> Option<usize> {
        self.channels.checked_mul(2)
    }

    /// Bytes of output that all results lie in.
    pub(in crate::kernels) fn reach(&self) -> Option<usize> {
        let last = self.count.checked_sub(1)?.checked_mul(self.advance()?)?;
        last.checked_add(self.gap)?.checked_add(self.channels)
    }
}

/// A layer's constants, with one [`Block`] for each four channels.
#[derive(Clone, Copy, Debug)]
pub(in crate::kernels) struct Layer<'a> {
    pub(in crate::kernels) quad: &'a Quad<'a>,
    pub(in crate::kernels) scales: Scales<'a>,
    pub(in crate::kernels) output: &'a Output,
    /// Output channels.
    pub(in crate::kernels) channels: usize,
}

/// Multipliers in fixed point.
#[derive(Clone, Copy, Debug)]
pub(in crate::kernels) enum Scales<'a> {
    /// One for each block of channels.
    Each(&'a [Block]),
    /// The same for all of them.
    Shared(&'a [Block; 2]),
}

impl Scales<'_> {
    /// That of a block.
    pub(in crate::kernels) fn get(&self, block: usize) -> Option<&Block> {
        match self {
            Scales::Each(scales) => scales.get(block),
            Scales::Shared([scale, _]) => Some(scale),
        }
    }
}
