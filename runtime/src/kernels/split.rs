//! Split weights: two output channels in one 16-bit number, for cores that multiply pairs of those (`SMLAD`).
//!
//! `W = 256·a + b` holds the weights of two channels for one tap. With `x` a pair of activations,
//! `SMLAD(W, x)` accumulates `256·Σa·x + Σb·x`, and, after one `SXTB16`, `SMLAD(b, x)` accumulates `Σb·x`. Their difference is
//! `256·Σa·x`, exact as long as `|Σa·x| < 2²³`, which the compiler proves for every channel. One load and one sign extension
//! thus serve four multiplications.
//!
//! Channels come in blocks of four, `c0 … c3`, taps in groups of four, `k0 … k3`, both filled up with zero weights. For each block
//! and group there are four words (low half first):
//!
//! ```text
//! 256·w[c0][k0] + w[c1][k0],  256·w[c0][k2] + w[c1][k2]
//! 256·w[c2][k0] + w[c3][k0],  256·w[c2][k2] + w[c3][k2]
//! 256·w[c0][k1] + w[c1][k1],  256·w[c0][k3] + w[c1][k3]
//! 256·w[c2][k1] + w[c3][k1],  256·w[c2][k3] + w[c3][k3]
//! ```
//!
//! The order of taps is the one in which `SXTB16` takes bytes out of a word. A block's bias is four words
//! `256·b[c0] + b[c1], b[c1], 256·b[c2] + b[c3], b[c3]` (wrapping), its multipliers are `m[c0]/256, m[c1], m[c2]/256, m[c3]`: a product with the
//! undivided difference then rounds as the contract wants, since a factor of 256 is exact.

use super::patch::{self, Packed, Residual};
use super::{Geometry, Io};
use crate::requantize::Output;

/// Weights, biases and multipliers in this form.
#[derive(Clone, Copy, Debug)]
pub struct Split<'d> {
    /// `[blocks][groups of taps][4 words][2]`.
    pub weights: &'d [i16],
    /// `[blocks][4]`.
    pub bias: &'d [i32],
    /// `[blocks][4]`, or `[4]` where all channels have the same.
    pub multipliers: &'d [f32],
}

/// Convolution of one group: see [`patch::conv_packed`]. `ADDS` says whether there may be a residual.
pub fn conv_split<const ADDS: bool>(
    g: &Geometry,
    split: &Split<'_>,
    zero_point: i8,
    output: Output,
    io: &mut Io<'_>,
    scratch: &mut [i8],
    residual: Option<&Residual>,
) -> Option<()> {
    patch::conv_packed(g, split, zero_point, output, io, scratch, residual)
}

/// Fully connected layer: see [`patch::dense_packed`].
pub fn dense_split(
    inputs: usize,
    outputs: usize,
    split: &Split<'_>,
    output: Output,
    x: &[i8],
    y: &mut [i8],
    _: &mut [i8],
) -> Option<()> {
    patch::dense_packed(inputs, outputs, split, output, x, y)
}

impl Packed for Split<'_> {
    fn block(&self, block: usize, patch: &[i8]) -> Option<[(i32, f32); 4]> {
        let groups = patch.len().div_ceil(4);
        let &[t01, b1, t23, b3] = self.bias.as_chunks().0.get(block)?;
        let shared = self.multipliers.len() == 4;
        let multipliers = self.multipliers.as_chunks().0;
        let &[m0, m1, m2, m3] = multipliers.get(if shared { 0 } else { block })?;
        let (mut low, mut both) = ([b1, b3], [t01, t23]);
        let weights = self
            .weights
            .as_chunks::<8>()
            .0
            .get(block.checked_mul(groups)?..)?;
        for (x, w) in patch.chunks(4).zip(weights) {
            let tap = |i: usize| i32::from(x.get(i).copied().unwrap_or(0));
            let taps = [
                tap(0),
                tap(2),
                tap(0),
                tap(2),
                tap(1),
                tap(3),
                tap(1),
                tap(3),
            ];
            for (i, (w, x)) in w.iter().zip(taps).enumerate() {
                let pair = usize::from(i & 2 != 0);
                if let (Some(low), Some(both)) = (low.get_mut(pair), both.get_mut(pair)) {
                    *low = low.wrapping_add(i32::from(*w as i8).wrapping_mul(x));
                    *both = both.wrapping_add(i32::from(*w).wrapping_mul(x));
                }
            }
        }
        let [both01, both23] = both;
        let [low1, low3] = low;
        Some([
            (both01.wrapping_sub(low1), m0),
            (low1, m1),
            (both23.wrapping_sub(low3), m2),
            (low3, m3),
        ])
    }
}
