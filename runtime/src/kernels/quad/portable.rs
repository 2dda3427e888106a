//! The inner loops in portable Rust.
#![cfg_attr(kinglet_armv7m, allow(dead_code))]

use super::tile::{Layer, Pairs};
use crate::kernels::parts::chunks_of_both;
use crate::kernels::patch::Residual;
#[cfg(kinglet_rv32m)]
use crate::kernels::riscv;
use crate::kernels::runs::Shape;
use crate::requantize::fixed::Scale;

/// Blocks of channels whose sums are kept at once: eight sums for a core with 16 registers, 16 for one with 32.
const BLOCKS: usize = if cfg!(target_arch = "riscv32") { 2 } else { 1 };

/// Results of pairs of pixels, that saturate to int8 but may or may not be within the output's bounds.
#[inline(always)]
pub(super) fn pairs(layer: &Layer<'_>, pairs: &Pairs<'_>, y: &mut [i8]) -> Option<()> {
    let y = y.get_mut(..pairs.reach()?)?;
    let mut from = pairs.at;
    let mut to = 0usize;
    for _ in 0..pairs.count {
        let (y0, y1) = y.get_mut(to..)?.split_at_mut_checked(pairs.gap)?;
        let (y0, y1) = (y0.get_mut(..pairs.channels)?, y1.get_mut(..pairs.channels)?);
        let x = from.map(|at| pairs.x.get(at..));
        let [x0, x1] = x;
        let x = [x0?, x1?];
        let wide = pairs.channels / (4 * BLOCKS) * BLOCKS;
        for (block, (y0, y1)) in chunks_of_both::<_, { 4 * BLOCKS }>(y0, y1).enumerate() {
            let block = block.wrapping_mul(BLOCKS);
            if block < wide {
                blocks::<BLOCKS>(layer, x, pairs.shape, block, y0, y1)?;
            } else {
                for (i, (y0, y1)) in chunks_of_both::<_, 4>(y0, y1).enumerate() {
                    blocks::<1>(layer, x, pairs.shape, block.wrapping_add(i), y0, y1)?;
                }
            }
        }
        from = from.map(|at| at.wrapping_add(pairs.step));
        to = to.checked_add(pairs.advance()?)?;
    }
    Some(())
}

/// Results of two pixels for `N` blocks of channels.
///
/// By itself, and so is [`requantize`]: their sums and constants do not leave registers to those who call them.
#[inline(never)]
fn blocks<const N: usize>(
    layer: &Layer<'_>,
    x: [&[i8]; 2],
    shape: Shape,
    block: usize,
    y0: &mut [i8],
    y1: &mut [i8],
) -> Option<()> {
    let bias: &[[i32; 4]; N] = layer.quad.bias.as_chunks().0.get(block..)?.first_chunk()?;
    let mut sums = [*bias; 2];
    let taps = shape.lines.checked_mul(shape.run)?;
    let all = layer.quad.weights.as_chunks::<4>().0;
    for line in 0..shape.lines {
        let down = line.checked_mul(shape.pitch)?;
        let mut lines: [&[i8]; 2] = [&[]; 2];
        for (line, x) in lines.iter_mut().zip(x) {
            *line = x.get(down..)?.get(..shape.run)?;
        }
        let mut weights: [&[[i8; 4]]; N] = [&[]; N];
        for (weights, block) in weights.iter_mut().zip(block..) {
            let start = block
                .checked_mul(taps)?
                .checked_add(line.checked_mul(shape.run)?)?;
            *weights = all.get(start..)?.get(..shape.run)?;
        }
        multiply(&mut sums, weights, lines);
    }
    let [sums0, sums1] = &sums;
    for (y, sums) in [(y0, sums0), (y1, sums1)] {
        for ((y, sums), block) in y.chunks_mut(4).zip(sums).zip(block..) {
            requantize(layer, block, sums, y)?;
        }
    }
    Some(())
}

/// Adds the products of one line to the sums of `P` pixels, `N` blocks each. All slices are equally long.
#[inline(always)]
fn multiply<const N: usize, const P: usize>(
    sums: &mut [[[i32; 4]; N]; P],
    weights: [&[[i8; 4]]; N],
    x: [&[i8]; P],
) {
    #[cfg(kinglet_rv32m)]
    if riscv::multiply(sums.as_flattened_mut(), &weights, &x) {
        return;
    }
    let Some(length) = x.iter().map(|x| x.len()).min() else {
        return;
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
}

/// Results of a block's sums, for as many channels as `y` holds.
#[inline(never)]
fn requantize(layer: &Layer<'_>, block: usize, sums: &[i32; 4], y: &mut [i8]) -> Option<()> {
    let scale = layer.scales.get(block)?;
    let multipliers = layer.quad.multipliers.as_chunks::<4>().0.get(block)?;
    for (c, (y, (sum, m))) in y.iter_mut().zip(sums.iter().zip(multipliers)).enumerate() {
        *y = scale.requantize(c, *sum, *m, layer.output);
    }
    Some(())
}

/// Results of one vector for as many channels as `y` holds, as [`pairs`] makes them.
#[inline(always)]
pub(super) fn vector(layer: &Layer<'_>, x: &[i8], y: &mut [i8]) -> Option<()> {
    let weights = layer.quad.weights.as_chunks::<4>().0;
    let bias = layer.quad.bias.as_chunks::<4>().0;
    for (pair, y) in y.chunks_mut(8).enumerate() {
        let first = pair.checked_mul(2)?;
        // A last block without a partner is its own.
        let blocks = if y.len() > 4 {
            [first, first + 1]
        } else {
            [first; 2]
        };
        let mut rows: [&[[i8; 4]]; 2] = [&[]; 2];
        let mut sums = [[0; 4]; 2];
        for ((row, sums), block) in rows.iter_mut().zip(&mut sums).zip(blocks) {
            *row = weights.get(block.checked_mul(x.len())?..)?.get(..x.len())?;
            *sums = *bias.get(block)?;
        }
        let mut sums = [sums];
        multiply(&mut sums, rows, [x]);
        let [sums] = sums;
        for ((y, sums), block) in y.chunks_mut(4).zip(&sums).zip(blocks) {
            requantize(layer, block, sums, y)?;
        }
    }
    Some(())
}

/// Adds a residual: each element of `y` becomes the sum of itself and the convolution's result. `scale` is made from the
/// residual's multiplier. Sums saturate to int8, but may or may not be within the output's bounds.
#[inline(always)]
pub(super) fn add(residual: &Residual, scale: &Scale, results: &[i8], y: &mut [i8]) -> Option<()> {
    let (output, exact) = (&residual.output, residual.multiplier);
    let high = scale.high(output.zero_point());
    for (y, result) in y.iter_mut().zip(results) {
        let sum = residual.sum(*result, *y);
        *y = match high {
            Some(high) => high.requantize(sum, exact, output),
            None => scale.requantize(sum, exact, output),
        };
    }
    Some(())
}
