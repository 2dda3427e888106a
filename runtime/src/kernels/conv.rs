//! Convolution, depthwise convolution and fully connected layers, int8 and f32 from the same loops.

use super::Geometry;
use super::parts::{parts, parts_mut};
use crate::requantize::Output;
use core::num::NonZeroUsize;

/// What differs between int8 and float: how products accumulate and how a result is stored.
pub trait Arithmetic {
    /// Type of activations.
    type Element: Copy;
    /// Type of weights.
    type Weight: Copy;
    /// Type of sums.
    type Accumulator: Copy;

    /// All weights, in the kernel's own order.
    fn weights(&self) -> &[Self::Weight];
    /// The sum that output channel `channel` starts from.
    fn start(&self, channel: usize) -> Option<Self::Accumulator>;
    /// Adds one product.
    fn product(
        &self,
        sum: Self::Accumulator,
        x: Self::Element,
        w: Self::Weight,
    ) -> Self::Accumulator;
    /// Adds the product of a weight with padding.
    fn padding(&self, sum: Self::Accumulator, w: Self::Weight) -> Self::Accumulator;
    /// The output for a finished sum.
    fn finish(&self, channel: usize, sum: Self::Accumulator) -> Option<Self::Element>;
    /// `sum` and the products of `x` and `w`.
    #[inline(always)]
    fn dot(
        &self,
        sum: Self::Accumulator,
        x: &[Self::Element],
        w: &[Self::Weight],
    ) -> Self::Accumulator {
        let products = x.iter().zip(w);
        products.fold(sum, |sum, (x, w)| self.product(sum, *x, *w))
    }
    /// Any value, to fill an array.
    const ZERO: Self::Accumulator;
}

/// Int8 arithmetic with the rounding contract of [`crate::requantize`].
///
/// The bias contains `−input_zero_point · Σ w`, so products need no zero point; padding then counts as the zero point.
#[derive(Clone, Copy, Debug)]
pub struct Int8<'a, W> {
    /// `i8`, or `i16` for weights that are asymmetric or too wide.
    pub weights: &'a [W],
    /// What padding means.
    pub input_zero_point: i32,
    /// One per output channel.
    pub bias: &'a [i32],
    /// `s_x·s_w/s_y`, one per output channel.
    pub multipliers: &'a [f32],
    /// Zero point and bounds.
    pub output: Output,
}

impl<W: Copy + Into<i32>> Arithmetic for Int8<'_, W> {
    type Element = i8;
    type Weight = W;
    type Accumulator = i32;
    const ZERO: i32 = 0;

    #[inline(always)]
    fn weights(&self) -> &[W] {
        self.weights
    }

    #[inline(always)]
    fn start(&self, channel: usize) -> Option<i32> {
        self.bias.get(channel).copied()
    }

    #[inline(always)]
    fn product(&self, sum: i32, x: i8, w: W) -> i32 {
        sum.wrapping_add(i32::from(x).wrapping_mul(w.into()))
    }

    #[inline(always)]
    fn padding(&self, sum: i32, w: W) -> i32 {
        sum.wrapping_add(self.input_zero_point.wrapping_mul(w.into()))
    }

    #[inline(always)]
    fn finish(&self, channel: usize, sum: i32) -> Option<i8> {
        Some(self.output.requantize(sum, *self.multipliers.get(channel)?))
    }
}

/// Single-precision arithmetic; sums in memory order, so that every target rounds alike.
#[derive(Clone, Copy, Debug)]
pub struct Float<'a> {
    /// The weights.
    pub weights: &'a [f32],
    /// One per output channel.
    pub bias: &'a [f32],
    /// Lower bound of the output.
    pub min: f32,
    /// Upper bound of the output.
    pub max: f32,
}

impl Arithmetic for Float<'_> {
    type Element = f32;
    type Weight = f32;
    type Accumulator = f32;
    const ZERO: f32 = 0.0;

    #[inline(always)]
    fn weights(&self) -> &[f32] {
        self.weights
    }

    #[inline(always)]
    fn start(&self, channel: usize) -> Option<f32> {
        self.bias.get(channel).copied()
    }

    #[inline(always)]
    fn product(&self, sum: f32, x: f32, w: f32) -> f32 {
        sum + x * w
    }

    #[inline(always)]
    fn padding(&self, sum: f32, _: f32) -> f32 {
        sum
    }

    #[inline(always)]
    fn finish(&self, _: usize, sum: f32) -> Option<f32> {
        Some(super::clamp(sum, self.min, self.max))
    }
}

/// `sum` and the products of `x` and `w`.
#[inline(always)]
pub(super) fn dot<A: Arithmetic>(
    a: &A,
    sum: A::Accumulator,
    x: &[A::Element],
    w: &[A::Weight],
) -> A::Accumulator {
    a.dot(sum, x, w)
}

#[inline(always)]
fn pad_all<A: Arithmetic>(a: &A, sum: A::Accumulator, w: &[A::Weight]) -> A::Accumulator {
    w.iter().fold(sum, |sum, w| a.padding(sum, *w))
}

/// Convolution, dense or grouped. Weights are `[out_c][kh][kw][in_c/groups]`.
#[inline(never)]
pub fn conv<A: Arithmetic>(
    g: &Geometry,
    groups: usize,
    a: &A,
    x: &[A::Element],
    y: &mut [A::Element],
) -> Option<()> {
    let groups = NonZeroUsize::new(groups)?;
    let [_, in_w, in_c] = g.input.map(NonZeroUsize::get);
    let [out_h, out_w, out_c] = g.output;
    let [kernel_h, kernel_w] = g.kernel;
    let depth = NonZeroUsize::new(in_c / groups)?;
    let channels_per_group = NonZeroUsize::new(out_c.get() / groups)?;
    let line = kernel_w.checked_mul(depth)?;
    let filter = line.checked_mul(kernel_h)?;
    let mut pixels = y.chunks_exact_mut(out_c.get());
    for image in x
        .chunks_exact(NonZeroUsize::new(g.image_len())?.get())
        .take(g.batch)
    {
        for oy in 0..out_h.get() {
            let rows = g.vertical(oy);
            for ox in 0..out_w.get() {
                let columns = g.horizontal(ox);
                let pixel = pixels.next()?;
                // A whole kernel line is one run of memory when nothing lies between its taps.
                let run = (groups.get() == 1 && g.dilation[1].get() == 1) || kernel_w.get() == 1;
                for (channel, (y, w)) in
                    pixel.iter_mut().zip(parts(a.weights(), filter)).enumerate()
                {
                    let first = channel / channels_per_group * depth.get();
                    let mut sum = a.start(channel)?;
                    for (ky, w) in w.chunks_exact(line.get()).enumerate() {
                        if !rows.range().contains(&ky) || columns.is_empty() {
                            sum = pad_all(a, sum, w);
                            continue;
                        }
                        let iy = rows.position + (ky - rows.start) * g.dilation[0].get();
                        let start = (iy * in_w + columns.position) * in_c + first;
                        if run {
                            let (before, rest) = w.split_at_checked(columns.start * depth.get())?;
                            let (inside, after) =
                                rest.split_at_checked(columns.len() * depth.get())?;
                            sum = pad_all(a, sum, before);
                            sum = dot(a, sum, image.get(start..)?.get(..inside.len())?, inside);
                            sum = pad_all(a, sum, after);
                        } else {
                            let step = g.dilation[1].get() * in_c;
                            for (kx, w) in w.chunks_exact(depth.get()).enumerate() {
                                sum = if columns.range().contains(&kx) {
                                    let at = start + (kx - columns.start) * step;
                                    dot(a, sum, image.get(at..)?.get(..depth.get())?, w)
                                } else {
                                    pad_all(a, sum, w)
                                };
                            }
                        }
                    }
                    *y = a.finish(channel, sum)?;
                }
            }
        }
    }
    Some(())
}

/// Channels whose sums are kept at once.
const BLOCK: usize = 16;

/// Depthwise convolution: each input channel makes `out_c/in_c` output channels. Weights are `[kh][kw][out_c]`.
#[inline(never)]
pub fn depthwise<A: Arithmetic>(
    g: &Geometry,
    a: &A,
    x: &[A::Element],
    y: &mut [A::Element],
) -> Option<()> {
    let [_, in_w, in_c] = g.input.map(NonZeroUsize::get);
    let [out_h, out_w, out_c] = g.output;
    let [kernel_h, kernel_w] = g.kernel;
    let multiplier = NonZeroUsize::new(out_c.get().checked_div(in_c)?)?;
    let line = kernel_w.checked_mul(out_c)?;
    let mut pixels = y.chunks_exact_mut(out_c.get());
    for image in x
        .chunks_exact(NonZeroUsize::new(g.image_len())?.get())
        .take(g.batch)
    {
        for oy in 0..out_h.get() {
            let rows = g.vertical(oy);
            for ox in 0..out_w.get() {
                let columns = g.horizontal(ox);
                for (block, y) in pixels.next()?.chunks_mut(BLOCK).enumerate() {
                    let first = block * BLOCK;
                    let mut sums = [A::ZERO; BLOCK];
                    for (i, sum) in sums.iter_mut().take(y.len()).enumerate() {
                        *sum = a.start(first + i)?;
                    }
                    for (ky, w) in a
                        .weights()
                        .chunks_exact(line.get())
                        .take(kernel_h.get())
                        .enumerate()
                    {
                        for (kx, w) in w.chunks_exact(out_c.get()).enumerate() {
                            let w = w.get(first..)?.get(..y.len())?;
                            if !rows.range().contains(&ky) || !columns.range().contains(&kx) {
                                for (sum, w) in sums.iter_mut().zip(w) {
                                    *sum = a.padding(*sum, *w);
                                }
                                continue;
                            }
                            let iy = rows.position + (ky - rows.start) * g.dilation[0].get();
                            let ix = columns.position + (kx - columns.start) * g.dilation[1].get();
                            let x = image.get((iy * in_w + ix) * in_c..)?.get(..in_c)?;
                            if multiplier.get() == 1 {
                                for ((sum, x), w) in sums.iter_mut().zip(x.get(first..)?).zip(w) {
                                    *sum = a.product(*sum, *x, *w);
                                }
                            } else {
                                for (i, (sum, w)) in sums.iter_mut().zip(w).enumerate() {
                                    *sum = a.product(*sum, *x.get((first + i) / multiplier)?, *w);
                                }
                            }
                        }
                    }
                    for (i, (y, sum)) in y.iter_mut().zip(sums).enumerate() {
                        *y = a.finish(first + i, sum)?;
                    }
                }
            }
        }
    }
    Some(())
}

/// Fully connected layer over `y.len() / outputs` rows. Weights are `[outputs][inputs]`.
#[inline(never)]
pub fn dense<A: Arithmetic>(
    inputs: usize,
    outputs: usize,
    a: &A,
    x: &[A::Element],
    y: &mut [A::Element],
) -> Option<()> {
    let (inputs, outputs) = (NonZeroUsize::new(inputs)?, NonZeroUsize::new(outputs)?);
    for (x, y) in parts(x, inputs).zip(parts_mut(y, outputs)) {
        for (channel, (y, w)) in y.iter_mut().zip(parts(a.weights(), inputs)).enumerate() {
            *y = a.finish(channel, dot(a, a.start(channel)?, x, w))?;
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::kernels::testing::{Case, bytes, cases};
    use proptest::prelude::*;
    use std::vec;
    use std::vec::Vec;

    /// The definition: every tap of every output, padding as the input's zero point.
    fn by_definition(case: &Case, x: &[i8], w: &[i8], bias: &[i32], zero: i32) -> Vec<i64> {
        let g = &case.geometry();
        let [in_h, in_w, in_c] = g.input.map(|d| d.get() as isize);
        let [out_h, out_w, out_c] = g.output.map(NonZeroUsize::get);
        let [kh, kw] = g.kernel.map(NonZeroUsize::get);
        let depth = in_c as usize / case.groups;
        let mut sums = Vec::new();
        for b in 0..g.batch as isize {
            for oy in 0..out_h {
                for ox in 0..out_w {
                    for oc in 0..out_c {
                        let mut sum = i64::from(bias[oc]);
                        for ky in 0..kh {
                            for kx in 0..kw {
                                for d in 0..depth {
                                    let iy = (oy * g.stride[0].get() + ky * g.dilation[0].get())
                                        as isize
                                        - g.pad[0] as isize;
                                    let ix = (ox * g.stride[1].get() + kx * g.dilation[1].get())
                                        as isize
                                        - g.pad[1] as isize;
                                    let ic = oc / (out_c / case.groups) * depth + d;
                                    let inside = (0..in_h).contains(&iy) && (0..in_w).contains(&ix);
                                    let at = (((b * in_h + iy) * in_w + ix) * in_c) as usize + ic;
                                    let x = if inside {
                                        i64::from(x[at])
                                    } else {
                                        i64::from(zero)
                                    };
                                    sum += x * i64::from(w[((oc * kh + ky) * kw + kx) * depth + d]);
                                }
                            }
                        }
                        sums.push(sum);
                    }
                }
            }
        }
        sums
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn convolutions_equal_the_definition(case in cases(), seed: u64, zero in -128i32..=127) {
            let x = bytes(seed, case.input_len());
            let w = bytes(seed ^ 1, case.weight_len());
            let bias: Vec<i32> = bytes(seed ^ 2, case.out_c).iter().map(|&b| i32::from(b) * 40).collect();
            let multipliers: Vec<f32> = (0..case.out_c).map(|c| 0.002 + 0.0007 * c as f32).collect();
            let output = Output::new(zero / 2, -120, 115);
            let a = Int8 { weights: &w, input_zero_point: zero, bias: &bias, multipliers: &multipliers, output };
            let sums = by_definition(&case, &x, &w, &bias, zero);
            let want: Vec<i8> = sums.iter().enumerate()
                .map(|(i, &sum)| output.requantize(sum as i32, multipliers[i % case.out_c])).collect();
            let mut y = vec![0; case.output_len()];
            prop_assert!(conv(&case.geometry(), case.groups, &a, &x, &mut y).is_some());
            prop_assert_eq!(&y, &want);
            let wide: Vec<i16> = w.iter().map(|&w| w.into()).collect();
            let a16 = Int8 { weights: &wide, input_zero_point: zero, bias: &bias, multipliers: &multipliers, output };
            let mut y = vec![0; case.output_len()];
            prop_assert!(conv(&case.geometry(), case.groups, &a16, &x, &mut y).is_some());
            prop_assert_eq!(&y, &want);
            if case.groups == case.in_c {
                let packed: Vec<i8> = (0..w.len()).map(|i| {
                    let (tap, channel) = (i / case.out_c, i % case.out_c);
                    w[channel * (w.len() / case.out_c) + tap]
                }).collect();
                let mut y = vec![0; case.output_len()];
                let a = Int8 { weights: &packed[..], ..a };
                prop_assert!(depthwise(&case.geometry(), &a, &x, &mut y).is_some());
                prop_assert_eq!(&y, &want);
            }
        }

        #[test]
        fn float_and_int8_convolutions_agree_on_small_integers(case in cases(), seed: u64) {
            let x = bytes(seed, case.input_len());
            let w = bytes(seed ^ 1, case.weight_len());
            let sums = by_definition(&case, &x, &w, &vec![0; case.out_c], 0);
            let float = |v: &[i8]| v.iter().map(|&v| f32::from(v)).collect::<Vec<_>>();
            let a = Float { weights: &float(&w), bias: &vec![0.0; case.out_c], min: f32::NEG_INFINITY, max: f32::INFINITY };
            let mut y = vec![0.0; case.output_len()];
            prop_assert!(conv(&case.geometry(), case.groups, &a, &float(&x), &mut y).is_some());
            // Sums below 2²⁴ are exact in single precision.
            prop_assert_eq!(y, sums.iter().map(|&s| s as f32).collect::<Vec<_>>());
        }

        #[test]
        fn dense_equals_a_pointwise_convolution(rows in 1usize..4, inputs in 1usize..20, outputs in 1usize..9, seed: u64) {
            let (x, w) = (bytes(seed, rows * inputs), bytes(seed ^ 1, inputs * outputs));
            let bias = vec![7; outputs];
            let multipliers = vec![0.003; outputs];
            let output = Output::saturating(-3);
            let a = Int8 { weights: &w, input_zero_point: 0, bias: &bias, multipliers: &multipliers, output };
            let mut y = vec![0; rows * outputs];
            prop_assert!(dense(inputs, outputs, &a, &x, &mut y).is_some());
            let pointwise = Case { in_c: inputs, out_c: outputs, in_size: [rows, 1], ..Case::POINT };
            let mut z = vec![0; rows * outputs];
            prop_assert!(conv(&pointwise.geometry(), 1, &a, &x, &mut z).is_some());
            prop_assert_eq!(y, z);
        }
    }
}
