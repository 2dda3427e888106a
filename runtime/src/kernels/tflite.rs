//! Int8 kernels in TensorFlow Lite's rounding, byte for byte its reference kernels: see [`crate::requantize::tflite`].

use super::Geometry;
use super::conv::Arithmetic;
use super::elementwise::broadcast;
use super::parts::parts_mut;
use super::pool::pool;
use crate::format;
use crate::requantize::tflite::{Bounds, Rescale, divide_by_power, high_product, round_half_away};
use core::num::NonZeroUsize;
use zerocopy::little_endian::F64;

/// A real multiplier of an output channel.
pub trait Scale {
    /// `sum` times this one, rounded as the kernels with such scales do it.
    fn rescale(&self, sum: i32) -> i32;
}

/// Convolutions: in fixed point, rounded twice.
impl Scale for format::Rescale {
    #[inline(always)]
    fn rescale(&self, sum: i32) -> i32 {
        Rescale::from(self).apply(sum)
    }
}

/// Fully connected layers: rounded once, from double precision.
impl Scale for F64 {
    #[inline(always)]
    fn rescale(&self, sum: i32) -> i32 {
        round_half_away(f64::from(sum) * self.get())
    }
}

/// As [`super::Int8`].
#[derive(Clone, Copy, Debug)]
pub struct Tflite<'a, W, S> {
    /// `i8`, or `i16` for weights that are asymmetric or too wide.
    pub weights: &'a [W],
    /// What padding means.
    pub input_zero_point: i32,
    /// One per output channel.
    pub bias: &'a [i32],
    /// `s_x·s_w/s_y`, one per output channel.
    pub scales: &'a [S],
    /// Zero point and bounds.
    pub output: Bounds,
}

impl<W: Copy + Into<i32>, S: Scale> Arithmetic for Tflite<'_, W, S> {
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
    fn dot(&self, sum: i32, x: &[i8], w: &[W]) -> i32 {
        dot(sum, x, w)
    }

    #[inline(always)]
    fn padding(&self, sum: i32, w: W) -> i32 {
        sum.wrapping_add(self.input_zero_point.wrapping_mul(w.into()))
    }

    #[inline(always)]
    fn finish(&self, channel: usize, sum: i32) -> Option<i8> {
        let scale = self.scales.get(channel)?;
        Some(self.output.saturate(scale.rescale(sum)))
    }
}

/// `sum` and the products of `x` and `w`, eight at a time: there is no faster kernel in this rounding, so that plain loops count.
#[inline(always)]
fn dot<W: Copy + Into<i32>>(sum: i32, x: &[i8], w: &[W]) -> i32 {
    let product = |sum: i32, x: i8, w: W| sum.wrapping_add(i32::from(x).wrapping_mul(w.into()));
    let (xs, x_rest) = x.as_chunks::<8>();
    let (ws, w_rest) = w.as_chunks::<8>();
    let sum = xs.iter().zip(ws).fold(sum, |sum, (x, w)| {
        let (&[a, b, c, d, e, f, g, h], &[p, q, r, s, t, u, v, z]) = (x, w);
        let sum = product(product(product(product(sum, a, p), b, q), c, r), d, s);
        product(product(product(product(sum, e, t), f, u), g, v), h, z)
    });
    let rest = x_rest.iter().zip(w_rest);
    rest.fold(sum, |sum, (x, w)| product(sum, *x, *w))
}

/// Bits by which both operands of a sum are shifted to the left.
pub const SUM_SHIFT: u32 = 20;

/// One operand of a sum.
#[derive(Clone, Copy, Debug)]
pub struct Term {
    /// Its zero point.
    pub zero_point: i32,
    /// 1 or −1.
    pub sign: i32,
    /// To half of the larger operand's scale.
    pub scale: Rescale,
}

impl Term {
    #[inline(always)]
    fn of(&self, x: i8) -> i32 {
        let x = i32::from(x).wrapping_sub(self.zero_point);
        let scaled = self.scale.apply(x.wrapping_shl(SUM_SHIFT));
        scaled.wrapping_mul(self.sign)
    }
}

/// `y ← y + b`, each with its sign.
#[inline(never)]
pub fn add_i8_tflite(
    y: &mut [i8],
    b: &[i8],
    repeat: usize,
    terms: &[Term; 2],
    scale: Rescale,
    output: Bounds,
) -> Option<()> {
    let [first, second] = terms;
    broadcast(y, b, repeat, |a, b| {
        let sum = first.of(a).wrapping_add(second.of(b));
        output.saturate(scale.apply(sum))
    })
}

/// `y ← (y − zero_points.0)·(b − zero_points.1)`.
#[inline(never)]
pub fn mul_i8_tflite(
    y: &mut [i8],
    b: &[i8],
    repeat: usize,
    zero_points: (i32, i32),
    scale: Rescale,
    output: Bounds,
) -> Option<()> {
    broadcast(y, b, repeat, |a, b| {
        let a = i32::from(a).wrapping_sub(zero_points.0);
        let b = i32::from(b).wrapping_sub(zero_points.1);
        output.saturate(scale.apply(a.wrapping_mul(b)))
    })
}

fn sum(sum: i32, x: i8) -> i32 {
    sum.wrapping_add(x.into())
}

/// Mean of the bytes under the window, ties away from zero. With a `divisor` other than 0, padding counts as `zero_point`.
#[inline(never)]
pub fn average_pool_i8_tflite(
    g: &Geometry,
    divisor: usize,
    zero_point: i32,
    output: Bounds,
    x: &[i8],
    y: &mut [i8],
) -> Option<()> {
    pool(g, x, y, 0, sum, |sum, under, _| {
        let count = under.count();
        let (sum, count) = match divisor {
            0 => (sum, count as i32),
            _ => {
                let padding = divisor.wrapping_sub(count) as i32;
                (
                    sum.wrapping_add(zero_point.wrapping_mul(padding)),
                    divisor as i32,
                )
            }
        };
        let half = count.wrapping_shr(1);
        let towards = if sum > 0 { half } else { half.wrapping_neg() };
        // Nothing under the window has no mean.
        let mean = sum.wrapping_add(towards).checked_div(count);
        Some(output.clamp(mean.unwrap_or(0)))
    })
}

/// Mean under the window: `scale` also divides by the number of elements.
#[inline(never)]
pub fn mean_i8_tflite(
    g: &Geometry,
    zero_point: i32,
    scale: Rescale,
    output: Bounds,
    x: &[i8],
    y: &mut [i8],
) -> Option<()> {
    pool(g, x, y, 0, sum, |sum, under, _| {
        let zero = zero_point.wrapping_mul(under.count() as i32);
        Some(output.saturate(scale.apply(sum.wrapping_sub(zero))))
    })
}

/// `y ← saturate(round(x / scale) + zero_point)`, ties away from zero. NaN becomes the least byte.
#[inline(never)]
pub fn quantize_tflite(x: &[f32], scale: f32, output: Bounds, y: &mut [i8]) {
    for (y, x) in y.iter_mut().zip(x) {
        let x = super::clamp(*x / scale, -512.0, 512.0);
        let towards_zero = x as i32;
        // Exact: both are near each other.
        let rest = x - towards_zero as f32;
        let up = i32::from(rest >= 0.5).wrapping_sub(i32::from(rest <= -0.5));
        *y = output.saturate(towards_zero.wrapping_add(up));
    }
}

/// Integer bits of the sum of a row's exponentials.
const SUM_BITS: u32 = 12;

/// Softmax over rows, in place. `table[i]` is `e^(−i·input scale)` with 31 bits behind the point.
#[inline(never)]
pub fn softmax_i8_tflite(y: &mut [i8], row: usize, table: &[i32; 256]) -> Option<()> {
    for y in parts_mut(y, NonZeroUsize::new(row)?) {
        let max = y
            .iter()
            .fold(i8::MIN, |max, y| if *y > max { *y } else { max });
        let weight = |y: i8| table[usize::from(max.wrapping_sub(y) as u8)];
        let sum = y.iter().fold(0i32, |sum, y| {
            sum.wrapping_add(divide_by_power(weight(*y), SUM_BITS))
        });
        let zeros = sum.leading_zeros();
        // The sum is `(1 + fraction)·2^(SUM_BITS − zeros)`.
        let fraction = (sum as u32).wrapping_shl(zeros).wrapping_sub(1 << 31);
        let scale = reciprocal_of_one_and(fraction as i32);
        let shift = SUM_BITS.wrapping_add(23).wrapping_sub(zeros);
        for y in y.iter_mut() {
            let product = high_product(scale, weight(*y));
            // Beyond 31 bits nothing is left, not even half a step.
            let share = if shift < 32 {
                divide_by_power(product, shift)
            } else {
                0
            };
            *y = Bounds::new(-128, -128, 127).saturate(share);
        }
    }
    Some(())
}

/// `1 / (1 + x)` for `x` from 0 up to 1, both with 31 bits behind the point: three of Newton's steps from `48/17 − 32/17·d`, where `d`
/// is half the divisor, as gemmlowp has them.
fn reciprocal_of_one_and(x: i32) -> i32 {
    let half = i64::from(x).wrapping_add(i32::MAX.into());
    let sign = if half < 0 { -1 } else { 1 };
    let half = (half.wrapping_add(sign) / 2) as i32;
    let one = 1i32 << 29;
    let mut y = 1_515_870_810i32.wrapping_add(high_product(half, -1_010_580_540));
    for _ in 0..3 {
        let rest = one.wrapping_sub(high_product(half, y));
        y = y.wrapping_add(saturating_shift(high_product(y, rest), 2));
    }
    saturating_shift(y, 1)
}

/// `x·2^bits`, saturated.
fn saturating_shift(x: i32, bits: u32) -> i32 {
    let wide = i64::from(x).wrapping_shl(bits);
    wide.clamp(i32::MIN.into(), i32::MAX.into()) as i32
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::kernels::testing::{Case, bytes, cases};
    use crate::kernels::{conv, depthwise};
    use proptest::prelude::*;
    use std::vec;
    use std::vec::Vec;

    /// Sums whose results differ between this rounding and the contract at most by rounding.
    fn scales(count: usize) -> Vec<format::Rescale> {
        let one = |c: usize| format::Rescale {
            multiplier: ((1 << 30) + (c as i32 % 64) * 12_345_679).into(),
            shift: (-8 + c as i32 % 3).into(),
        };
        (0..count).map(one).collect()
    }

    #[test]
    fn reciprocals_are_exact_to_a_few_units() {
        for x in (0..=1000).map(|i| i64::from(i32::MAX) * i / 1000) {
            let y = f64::from(reciprocal_of_one_and(x as i32)) / 2f64.powi(31);
            let want = 1.0 / (1.0 + x as f64 / 2f64.powi(31));
            assert!((y - want).abs() < 1e-8, "{x}: {y} {want}");
        }
    }

    #[test]
    fn fully_connected_layers_round_once_from_double_precision() {
        // 0.05 in double precision is a little more than a twentieth: 10 and −10 are ties in fixed point, too, 30 is not.
        let scales = [F64::new(0.05); 4];
        let bias = [10, -10, 30, 9];
        let output = Bounds::new(3, -128, 127);
        let layer = Tflite {
            weights: &[0i8; 4][..],
            input_zero_point: 0,
            bias: &bias,
            scales: &scales,
            output,
        };
        let mut y = [0; 4];
        assert!(super::super::dense(1, 4, &layer, &[7], &mut y).is_some());
        let want = bias.map(|sum| (f64::from(sum) * 0.05).round() as i8 + 3);
        assert_eq!(y, want);
        assert_eq!(y, [4, 2, 5, 3]);
    }

    #[test]
    fn floats_become_bytes_with_ties_away_from_zero() {
        let x = [0.49999997, 0.5, -0.5, 1.5, 2.5, -2.5, 1e30, -1e30, f32::NAN];
        let mut y = [0; 9];
        quantize_tflite(&x, 1.0, Bounds::new(1, -128, 127), &mut y);
        assert_eq!(y, [1, 2, 0, 3, 4, -2, 127, -128, -128]);
    }

    #[test]
    fn softmax_is_near_the_real_one() {
        let table: [i32; 256] = core::array::from_fn(|i| {
            let real = libm::exp(-0.11 * i as f64) * 2f64.powi(31);
            real.min(i32::MAX.into()) as i32
        });
        let q = [-128i8, -5, 0, 17, 127, 127];
        let mut y = q;
        assert!(softmax_i8_tflite(&mut y, 6, &table).is_some());
        let weights = q.map(|q| libm::exp(0.11 * f64::from(q)));
        let sum: f64 = weights.iter().sum();
        for (y, weight) in y.iter().zip(weights) {
            let want = (256.0 * weight / sum).round() - 128.0;
            assert!((f64::from(*y) - want).abs() <= 1.0, "{y} {want}");
        }
        assert!(softmax_i8_tflite(&mut y, 0, &table).is_none());
        // A row that is longer than the sum has bits for, and a table that no compiler makes.
        for wrong in [[i32::MAX; 256], [i32::MIN; 256], [0; 256], [-1; 256]] {
            let _ = softmax_i8_tflite(&mut [3; 5000], 5000, &wrong);
        }
    }

    #[test]
    fn sums_and_differences_are_those_of_the_reference_kernel() {
        // Operands of scales 0.5 and 0.25 into 0.5: half of the larger one's double, a quarter, and a sum of 2¹⁹ times that.
        let half = Rescale::new(1 << 30, 0);
        let quarter = Rescale::new(1 << 30, -1);
        let output = Bounds::new(2, -128, 127);
        for sign in [1, -1] {
            for a in i8::MIN..=i8::MAX {
                let mut y = [a; 256];
                let b: [i8; 256] = core::array::from_fn(|i| i as u8 as i8);
                let terms = [
                    Term {
                        zero_point: 3,
                        sign: 1,
                        scale: half,
                    },
                    Term {
                        zero_point: -7,
                        sign,
                        scale: quarter,
                    },
                ];
                let scale = Rescale::new(1 << 30, -18);
                assert!(add_i8_tflite(&mut y, &b, 1, &terms, scale, output).is_some());
                for (b, y) in b.iter().zip(y) {
                    let twice = 2 * (i32::from(a) - 3) + sign * (i32::from(*b) + 7);
                    // Ties away from zero.
                    let rounded = (twice.abs() + 1) / 2 * twice.signum();
                    assert_eq!(i32::from(y), (rounded + 2).clamp(-128, 127), "{a} {b}");
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn convolutions_are_rescaled_sums(case in cases(), seed: u64, zero in -128i32..=127) {
            let g = case.geometry();
            let x = bytes(seed, case.input_len());
            let w = bytes(seed ^ 1, case.weight_len());
            let bias: Vec<i32> = bytes(seed ^ 2, case.out_c).iter().map(|&b| i32::from(b) * 40).collect();
            let scales = scales(case.out_c);
            let output = Bounds::new(zero / 2, -120, 115);
            let a = Tflite { weights: &w[..], input_zero_point: zero, bias: &bias, scales: &scales, output };
            let mut y = vec![0; case.output_len()];
            prop_assert!(conv(&g, case.groups, &a, &x, &mut y).is_some());
            // The sums, by way of the arithmetic that leaves them as they are.
            let mut sums = vec![0.0; case.output_len()];
            let float = |v: &[i8], less: i32| v.iter().map(|&v| (i32::from(v) - less) as f32).collect::<Vec<_>>();
            let (x32, w32) = (float(&x, zero), float(&w, 0));
            let real = super::super::Float { weights: &w32, bias: &vec![0.0; case.out_c], min: f32::NEG_INFINITY, max: f32::INFINITY };
            prop_assert!(conv(&g, case.groups, &real, &x32, &mut sums).is_some());
            let taps = w.len() / case.out_c;
            let folded = |c: usize| bias[c] + zero * w[c * taps..][..taps].iter().map(|&w| i32::from(w)).sum::<i32>();
            for (i, (y, sum)) in y.iter().zip(&sums).enumerate() {
                let c = i % case.out_c;
                let rescaled = Rescale::from(&scales[c]).apply(*sum as i32 + folded(c));
                prop_assert_eq!(i32::from(*y), (rescaled + zero / 2).clamp(-120, 115));
            }
            if case.groups == case.in_c {
                let packed: Vec<i16> = (0..w.len()).map(|i| w[i % case.out_c * taps + i / case.out_c].into()).collect();
                let wide = Tflite { weights: &packed[..], input_zero_point: zero, bias: &bias, scales: &scales, output };
                let mut again = vec![0; case.output_len()];
                prop_assert!(depthwise(&g, &wide, &x, &mut again).is_some());
                prop_assert_eq!(again, y);
            }
        }

        #[test]
        fn averages_round_half_away_from_zero(case in cases(), seed: u64, zero in -128i32..=127, whole: bool) {
            let case = Case { out_c: case.in_c, ..case };
            let g = case.geometry();
            let x = bytes(seed, case.input_len());
            let kernel = case.kernel[0] * case.kernel[1];
            let divisor = if whole { kernel } else { 0 };
            let shifted: Vec<f32> = x.iter().map(|&x| (i32::from(x) - if whole { zero } else { 0 }) as f32).collect();
            let (mut sums, mut counts) = (vec![0.0f32; case.output_len()], vec![0.0f32; case.output_len()]);
            // Divided by 1, a mean is a sum.
            let as_is = |x: f32| x;
            prop_assert!(super::super::average_pool(&g, 1, &shifted, &mut sums, as_is, as_is).is_some());
            prop_assert!(super::super::average_pool(&g, 1, &vec![1.0; x.len()], &mut counts, as_is, as_is).is_some());
            let mut y = vec![0; case.output_len()];
            let done = average_pool_i8_tflite(&g, divisor, zero, Bounds::new(0, -128, 127), &x, &mut y);
            prop_assert!(done.is_some());
            for ((y, sum), count) in y.iter().zip(sums).zip(counts).filter(|(_, n)| whole || *n > 0.0) {
                let (n, zero) = if whole { (kernel as f64, f64::from(zero)) } else { (f64::from(count), 0.0) };
                let want = (f64::from(sum) + zero * n) / n;
                // `round` is away from zero.
                prop_assert_eq!(f64::from(*y), want.round());
            }
        }
    }
}
