//! The inner loops: sums of several channels and pixels at once. Armv7-M has them in assembly.

#[cfg(kinglet_armv7m)]
pub(super) use crate::kernels::thumb::{eight, pair};
#[cfg(not(kinglet_armv7m))]
pub(super) use portable::{eight, pair};

use super::Quad;
use crate::kernels::runs::Shape;
use crate::requantize::Output;
use crate::requantize::fixed::Block;

/// Two pixels: the beginnings of their taps in `x`.
#[derive(Clone, Copy, Debug)]
pub(in crate::kernels) struct Pair<'a> {
    pub(in crate::kernels) x: &'a [i8],
    pub(in crate::kernels) at: [usize; 2],
    pub(in crate::kernels) shape: Shape,
}

/// A layer's constants, with one [`Block`] for each four channels.
#[derive(Clone, Copy, Debug)]
pub(in crate::kernels) struct Layer<'a> {
    pub(in crate::kernels) quad: &'a Quad<'a>,
    pub(in crate::kernels) scales: &'a [Block],
    pub(in crate::kernels) output: &'a Output,
}

mod portable {
    use super::{Layer, Pair};

    /// Blocks of channels whose sums are kept at once: eight sums for a core with 16 registers, 16 for one with 32.
    const BLOCKS: usize = if cfg!(target_arch = "riscv32") { 2 } else { 1 };

    /// Results of two pixels for `y0.len()` channels, those of whole blocks from block `first` on. They saturate to int8, and may
    /// or may not be within the output's bounds.
    #[cfg_attr(kinglet_armv7m, allow(dead_code))]
    #[inline(always)]
    pub(in crate::kernels) fn pair(
        layer: &Layer<'_>,
        pair: &Pair<'_>,
        first: usize,
        y0: &mut [i8],
        y1: &mut [i8],
    ) -> Option<()> {
        let mut block = first;
        let mut y0 = y0.chunks_exact_mut(BLOCKS * 4);
        let mut y1 = y1.chunks_exact_mut(BLOCKS * 4);
        for (y0, y1) in y0.by_ref().zip(y1.by_ref()) {
            blocks::<BLOCKS>(layer, pair, block, y0, y1)?;
            block = block.wrapping_add(BLOCKS);
        }
        let rest = y0.into_remainder().chunks_exact_mut(4);
        for (y0, y1) in rest.zip(y1.into_remainder().chunks_exact_mut(4)) {
            blocks::<1>(layer, pair, block, y0, y1)?;
            block = block.wrapping_add(1);
        }
        Some(())
    }

    #[inline(always)]
    fn blocks<const N: usize>(
        layer: &Layer<'_>,
        pair: &Pair<'_>,
        block: usize,
        y0: &mut [i8],
        y1: &mut [i8],
    ) -> Option<()> {
        let (quad, shape) = (layer.quad, pair.shape);
        let bias: &[[i32; 4]; N] = quad.bias.as_chunks().0.get(block..)?.first_chunk()?;
        let mut sums = [*bias; 2];
        let taps = shape.lines.checked_mul(shape.run)?;
        let all = quad.weights.as_chunks::<4>().0;
        for line in 0..shape.lines {
            let down = line.checked_mul(shape.pitch)?;
            let x = |at: usize| pair.x.get(at.checked_add(down)?..)?.get(..shape.run);
            let mut weights: [&[[i8; 4]]; N] = [&[]; N];
            for (weights, block) in weights.iter_mut().zip(block..) {
                let start = block
                    .checked_mul(taps)?
                    .checked_add(line.checked_mul(shape.run)?)?;
                *weights = all.get(start..)?.get(..shape.run)?;
            }
            sums = multiply(sums, weights, [x(pair.at[0])?, x(pair.at[1])?]);
        }
        let scales: &[_; N] = layer.scales.get(block..)?.first_chunk()?;
        let multipliers: &[[f32; 4]; N] =
            quad.multipliers.as_chunks().0.get(block..)?.first_chunk()?;
        let [sums0, sums1] = &sums;
        for (y, sums) in [(y0, sums0), (y1, sums1)] {
            let results = sums.iter().zip(scales).zip(multipliers);
            for (y, ((sums, scale), multipliers)) in y.chunks_exact_mut(4).zip(results) {
                for (c, (y, (sum, m))) in y.iter_mut().zip(sums.iter().zip(multipliers)).enumerate()
                {
                    *y = scale.requantize(c, *sum, *m, layer.output);
                }
            }
        }
        Some(())
    }

    /// Sums of `N` blocks and `P` pixels, with the products of one line added. All slices are equally long.
    #[inline(always)]
    fn multiply<const N: usize, const P: usize>(
        mut sums: [[[i32; 4]; N]; P],
        weights: [&[[i8; 4]]; N],
        x: [&[i8]; P],
    ) -> [[[i32; 4]; N]; P] {
        let Some(length) = x.iter().map(|x| x.len()).min() else {
            return sums;
        };
        for tap in 0..length {
            // Zeros never appear: the slices are equally long.
            let x = x.map(|x| i32::from(x.get(tap).copied().unwrap_or(0)));
            let w = weights.map(|w| w.get(tap).copied().unwrap_or([0; 4]));
            for (sums, x) in sums.iter_mut().zip(x) {
                for (sums, w) in sums.iter_mut().zip(w) {
                    for (sum, w) in sums.iter_mut().zip(w) {
                        *sum = sum.wrapping_add(x.wrapping_mul(w.into()));
                    }
                }
            }
        }
        sums
    }

    /// Sums of eight channels for one pixel: `sums` and the products of `x` with the weights of two blocks, which are as long.
    #[cfg_attr(kinglet_armv7m, allow(dead_code))]
    #[inline(always)]
    pub(in crate::kernels) fn eight(
        weights: [&[[i8; 4]]; 2],
        x: &[i8],
        sums: &mut [[i32; 4]; 2],
    ) -> Option<()> {
        if weights.iter().any(|w| w.len() != x.len()) {
            return None;
        }
        let [result] = multiply([*sums], weights, [x]);
        *sums = result;
        Some(())
    }
}
