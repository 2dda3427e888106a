//! Quad weights: four output channels interleaved, for scalar cores that keep several sums in registers.
//!
//! `[blocks][taps][4]` bytes: the weights of channels `4·block … 4·block + 3` for one tap lie side by side. Biases and multipliers are
//! filled up to whole blocks with zeros.

use super::patch::Packed;

/// Weights, biases and multipliers in this form.
#[derive(Clone, Copy, Debug)]
pub struct Quad<'d> {
    /// `[blocks][taps][4]`.
    pub weights: &'d [i8],
    /// `[blocks][4]`.
    pub bias: &'d [i32],
    /// `[blocks][4]`.
    pub multipliers: &'d [f32],
}

impl Packed for Quad<'_> {
    #[inline(always)]
    fn block(&self, block: usize, patch: &[i8]) -> Option<[(i32, f32); 4]> {
        let [mut s0, mut s1, mut s2, mut s3] = *self.bias.as_chunks().0.get(block)?;
        let &[m0, m1, m2, m3] = self.multipliers.as_chunks().0.get(block)?;
        let weights = self
            .weights
            .as_chunks()
            .0
            .get(block.checked_mul(patch.len())?..)?;
        for (&x, &[w0, w1, w2, w3]) in patch.iter().zip(weights) {
            let x = i32::from(x);
            let product = |w: i8| x.wrapping_mul(w.into());
            s0 = s0.wrapping_add(product(w0));
            s1 = s1.wrapping_add(product(w1));
            s2 = s2.wrapping_add(product(w2));
            s3 = s3.wrapping_add(product(w3));
        }
        Some([(s0, m0), (s1, m1), (s2, m2), (s3, m3)])
    }
}
