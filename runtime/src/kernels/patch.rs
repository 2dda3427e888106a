//! Convolution by patches: the taps of a pixel are gathered into one run of memory, then meet all output channels.

use super::conv::{Int8, dot};
use super::parts::{parts, parts_mut};
use super::{Geometry, Io};
use crate::format;
use crate::requantize::Output;
use core::num::NonZeroUsize;

/// Packed weights with their biases and multipliers, in blocks of four output channels.
pub trait Packed {
    /// Accumulators of a block's channels, biases included, and the multipliers that belong to them. `patch` holds the taps.
    fn block(&self, block: usize, patch: &[i8]) -> Option<[(i32, f32); 4]>;
}

impl Packed for Int8<'_, i8> {
    fn block(&self, block: usize, patch: &[i8]) -> Option<[(i32, f32); 4]> {
        let first = block.checked_mul(4)?;
        let mut sums = [(0, 0.0); 4];
        let bias = self
            .bias
            .get(first..)?
            .iter()
            .zip(self.multipliers.get(first..)?);
        let rows = self
            .weights
            .get(first.checked_mul(patch.len())?..)?
            .chunks_exact(NonZeroUsize::new(patch.len())?.get());
        for ((sum, (bias, multiplier)), w) in sums.iter_mut().zip(bias).zip(rows) {
            *sum = (dot(self, *bias, patch, w), *multiplier);
        }
        Some(sums)
    }
}

/// The addition behind a convolution: see [`format::Residual`].
#[derive(Clone, Copy, Debug)]
pub struct Residual {
    /// Fixed-point scale of the convolution's results.
    pub factor: i32,
    /// Fixed-point scale of the residual.
    pub factor_b: i32,
    /// Zero-point correction of both.
    pub offset: i32,
    /// From the fixed-point sum to the output's scale.
    pub multiplier: f32,
    /// Zero point and bounds of the sum.
    pub output: Output,
}

impl Residual {
    /// The sum of a result and the residual element `b`.
    #[inline(always)]
    pub fn add(&self, result: i8, b: i8) -> i8 {
        self.output.requantize(self.sum(result, b), self.multiplier)
    }

    /// The sum in fixed point.
    #[inline(always)]
    pub(super) fn sum(&self, result: i8, b: i8) -> i32 {
        let a = i32::from(result).wrapping_mul(self.factor);
        let b = i32::from(b).wrapping_mul(self.factor_b);
        a.wrapping_add(b).wrapping_add(self.offset)
    }
}

impl From<&format::Residual> for Residual {
    fn from(record: &format::Residual) -> Self {
        Residual {
            factor: record.factor.get(),
            factor_b: record.factor_b.get(),
            offset: record.offset.get(),
            multiplier: record.multiplier.get(),
            output: Output::from(&record.int8),
        }
    }
}

/// Copies the taps of output pixel `[oy, ox]` of image `batch` into `patch`, `[kh][kw][in_c]`; padding becomes `zero_point`.
pub fn gather(
    g: &Geometry,
    x: &[i8],
    [batch, oy, ox]: [usize; 3],
    zero_point: i8,
    patch: &mut [i8],
) -> Option<()> {
    let [_, in_w, in_c] = g.input.map(NonZeroUsize::get);
    let [_, kernel_w] = g.kernel;
    let image = x.get(batch.checked_mul(g.image_len())?..)?;
    let (rows, columns) = (g.vertical(oy), g.horizontal(ox));
    let run = g.dilation[1].get() == 1;
    let line = kernel_w.checked_mul(g.input[2])?;
    for (ky, patch) in parts_mut(patch, line).enumerate() {
        if !rows.range().contains(&ky) || columns.is_empty() {
            patch.fill(zero_point);
            continue;
        }
        let iy = rows.position + (ky - rows.start) * g.dilation[0].get();
        let start = (iy * in_w + columns.position) * in_c;
        let (before, rest) = patch.split_at_mut_checked(columns.start * in_c)?;
        let (inside, after) = rest.split_at_mut_checked(columns.len() * in_c)?;
        before.fill(zero_point);
        after.fill(zero_point);
        if run {
            for (to, from) in inside.iter_mut().zip(image.get(start..)?) {
                *to = *from;
            }
        } else {
            let step = g.dilation[1].get() * in_c;
            for (kx, inside) in parts_mut(inside, g.input[2]).enumerate() {
                for (to, from) in inside.iter_mut().zip(image.get(start + kx * step..)?) {
                    *to = *from;
                }
            }
        }
    }
    Some(())
}

/// Convolution of one group, in place if it is pointwise. `scratch` has the bytes that [`super::scratch::conv`] says.
#[inline(never)]
pub fn conv_packed(
    g: &Geometry,
    weights: &impl Packed,
    zero_point: i8,
    output: Output,
    io: &mut Io<'_>,
    scratch: &mut [i8],
    residual: Option<&Residual>,
) -> Option<()> {
    let taps = g.window_len()?.get();
    let [out_h, out_w, out_c] = g.output.map(NonZeroUsize::get);
    let patch = scratch.get_mut(..taps)?;
    for pixel in 0..g.batch.checked_mul(out_h)?.checked_mul(out_w)? {
        let (row, ox) = (pixel / g.output[1], pixel % g.output[1]);
        let at = [row / g.output[0], row % g.output[0], ox];
        gather(g, io.input(), at, zero_point, patch)?;
        let y = io.output().get_mut(pixel * out_c..)?.get_mut(..out_c)?;
        for (block, y) in y.chunks_mut(4).enumerate() {
            let results = weights.block(block, patch)?;
            for (y, (sum, multiplier)) in y.iter_mut().zip(results) {
                let result = output.requantize(sum, multiplier);
                *y = residual.map_or(result, |r| r.add(result, *y));
            }
        }
    }
    Some(())
}

/// Fully connected layer over rows of `inputs` elements.
#[inline(never)]
pub fn dense_packed(
    inputs: usize,
    outputs: usize,
    weights: &impl Packed,
    output: Output,
    x: &[i8],
    y: &mut [i8],
) -> Option<()> {
    let (inputs, outputs) = (NonZeroUsize::new(inputs)?, NonZeroUsize::new(outputs)?);
    for (x, y) in parts(x, inputs).zip(parts_mut(y, outputs)) {
        for (block, y) in y.chunks_mut(4).enumerate() {
            for (y, (sum, multiplier)) in y.iter_mut().zip(weights.block(block, x)?) {
                *y = output.requantize(sum, multiplier);
            }
        }
    }
    Some(())
}
