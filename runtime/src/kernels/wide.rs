//! Wide weights: 16-bit numbers, for cores that multiply pairs of those (`SMLAD`).
//!
//! Channels come in blocks of four, `c0 … c3`, taps in groups of four, `k0 … k3`, both filled up with zero weights. For each block
//! and group there are eight words (low half first):
//!
//! ```text
//! w[c0][k0], w[c0][k2]    w[c1][k0], w[c1][k2]    w[c2][k0], w[c2][k2]    w[c3][k0], w[c3][k2]
//! w[c0][k1], w[c0][k3]    w[c1][k1], w[c1][k3]    w[c2][k1], w[c2][k3]    w[c3][k1], w[c3][k3]
//! ```
//!
//! The order of taps is the one in which `SXTB16` takes bytes out of a word. Biases and multipliers are filled up, too. The
//! compiler proves that no sum leaves 32 bits.

use super::patch::{self, Packed, Residual};
use super::{Geometry, Io};
use crate::requantize::Output;

/// Weights, biases and multipliers in this form.
#[derive(Clone, Copy, Debug)]
pub struct Wide<'d> {
    /// `[blocks][groups of taps][2][4 channels][2]`.
    pub weights: &'d [i16],
    /// `[blocks][4]`.
    pub bias: &'d [i32],
    /// `[blocks][4]`.
    pub multipliers: &'d [f32],
}

/// Convolution of one group: see [`patch::conv_packed`]. `ADDS` says whether there may be a residual.
pub fn conv_wide<const ADDS: bool>(
    g: &Geometry,
    wide: &Wide<'_>,
    zero_point: i8,
    output: Output,
    io: &mut Io<'_>,
    scratch: &mut [i8],
    residual: Option<&Residual>,
) -> Option<()> {
    patch::conv_packed(g, wide, zero_point, output, io, scratch, residual)
}

impl Packed for Wide<'_> {
    fn block(&self, block: usize, patch: &[i8]) -> Option<[(i32, f32); 4]> {
        let groups = patch.len().div_ceil(4);
        let mut sums: [i32; 4] = *self.bias.as_chunks().0.get(block)?;
        let &[m0, m1, m2, m3] = self.multipliers.as_chunks().0.get(block)?;
        let weights = self.weights.as_chunks::<8>().0;
        let weights = weights.get(block.checked_mul(groups)?.checked_mul(2)?..)?;
        for (x, [even, odd]) in patch.chunks(4).zip(weights.as_chunks().0) {
            let tap = |i: usize| i32::from(x.get(i).copied().unwrap_or(0));
            for (w, [a, b]) in [(even, [tap(0), tap(2)]), (odd, [tap(1), tap(3)])] {
                for (sum, [wa, wb]) in sums.iter_mut().zip(w.as_chunks().0) {
                    *sum = sum.wrapping_add(i32::from(*wa).wrapping_mul(a));
                    *sum = sum.wrapping_add(i32::from(*wb).wrapping_mul(b));
                }
            }
        }
        let [s0, s1, s2, s3] = sums;
        Some([(s0, m0), (s1, m1), (s2, m2), (s3, m3)])
    }
}
