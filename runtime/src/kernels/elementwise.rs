//! Element-wise kernels. Those with one result per operand element work in place: the session copies the first operand
//! to the output before, unless the plan already has them in one place.

use super::parts::parts_mut;
use super::patch::Residual;
#[cfg(kinglet_armv7m)]
use crate::requantize::fixed::Scale;
use crate::requantize::{Multiplier, Output};
use core::num::NonZeroUsize;

/// `x` within `min ..= max`; NaN becomes `min`.
#[inline(always)]
pub fn clamp(x: f32, min: f32, max: f32) -> f32 {
    let x = if x > min { x } else { min };
    if x < max { x } else { max }
}

/// Logistic function `1 / (1 + e^−x)`.
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + libm::expf(-x))
}

/// `x < 0 ? alpha·x : x`.
pub fn leaky_relu(x: f32, alpha: f32) -> f32 {
    if x < 0.0 { alpha * x } else { x }
}

/// `clamp(alpha·x + beta, 0, 1)`.
pub fn hard_sigmoid(x: f32, alpha: f32, beta: f32) -> f32 {
    clamp(alpha * x + beta, 0.0, 1.0)
}

/// `x · clamp(x/6 + 1/2, 0, 1)`.
pub fn hard_swish(x: f32) -> f32 {
    x * hard_sigmoid(x, 1.0 / 6.0, 0.5)
}

/// Applies `f` to every element.
#[inline]
pub fn unary_f32(y: &mut [f32], f: impl Fn(f32) -> f32) {
    for y in y {
        *y = f(*y);
    }
}

/// Calls `f(a, b)` for each element of `y` and the element of `b` that it meets: see [`crate::format::Operand`].
#[inline(always)]
pub(super) fn broadcast<T: Copy>(
    y: &mut [T],
    b: &[T],
    repeat: usize,
    f: impl Fn(T, T) -> T,
) -> Option<()> {
    let period = b.len().checked_mul(repeat).filter(|&n| n > 0)?;
    let repeat = NonZeroUsize::new(repeat)?;
    for y in y.chunks_exact_mut(period) {
        if repeat.get() == 1 {
            for (y, b) in y.iter_mut().zip(b) {
                *y = f(*y, *b);
            }
        } else {
            for (y, b) in parts_mut(y, repeat).zip(b) {
                for y in y {
                    *y = f(*y, *b);
                }
            }
        }
    }
    Some(())
}

/// `y ← f(y, b)` within `min ..= max`.
#[inline]
pub fn binary_f32(
    y: &mut [f32],
    b: &[f32],
    repeat: usize,
    (min, max): (f32, f32),
    f: impl Fn(f32, f32) -> f32,
) -> Option<()> {
    broadcast(y, b, repeat, |a, b| clamp(f(a, b), min, max))
}

/// `y ← requantize(b·factor + y·factor_b + offset)`: the sum of two tensors of different scales, in fixed point.
#[inline(never)]
pub fn add_i8(y: &mut [i8], b: &[i8], repeat: usize, sum: &Residual) -> Option<()> {
    // With Helium the loop below is made of vectors.
    #[cfg(all(any(kinglet_dsp, kinglet_armv7m), not(kinglet_mve)))]
    if y.len() == b.len() && repeat == 1 {
        return add_alike(sum, b, y);
    }
    let multiplier = Multiplier::new(sum.multiplier);
    broadcast(y, b, repeat, |a, b| {
        multiplier.requantize(sum.sum(b, a), &sum.output)
    })
}

/// [`add_i8`] element for element, as convolutions add residuals.
#[cfg(all(kinglet_dsp, not(kinglet_mve)))]
#[inline(always)]
fn add_alike(sum: &Residual, b: &[i8], y: &mut [i8]) -> Option<()> {
    super::dsp::add(sum, b, y)
}

/// [`add_i8`] element for element, as convolutions add residuals.
#[cfg(kinglet_armv7m)]
#[inline(always)]
fn add_alike(sum: &Residual, b: &[i8], y: &mut [i8]) -> Option<()> {
    super::thumb::add(sum, &Scale::new(sum.multiplier), b, y)?;
    sum.output.clamp(y);
    Some(())
}

/// `y ← requantize((y − zero_points.0)·(b − zero_points.1))`.
#[inline(never)]
pub fn mul_i8(
    y: &mut [i8],
    b: &[i8],
    repeat: usize,
    zero_points: (i32, i32),
    multiplier: f32,
    output: Output,
) -> Option<()> {
    let multiplier = Multiplier::new(multiplier);
    broadcast(y, b, repeat, |a, b| {
        let a = i32::from(a).wrapping_sub(zero_points.0);
        let b = i32::from(b).wrapping_sub(zero_points.1);
        multiplier.requantize(a.wrapping_mul(b), &output)
    })
}

/// `y ← table[y]`, the byte taken as unsigned.
#[inline(never)]
pub fn lookup_i8(y: &mut [u8], table: &[u8; 256]) {
    for y in y {
        *y = table[usize::from(*y)];
    }
}

/// `y ← saturate(round_half_even(x / scale) + zero_point)`, ONNX's QuantizeLinear.
#[inline(never)]
pub fn quantize(x: &[f32], scale: f32, output: Output, y: &mut [i8]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y = output.quantize(*x / scale);
    }
}

/// `y ← scale · (x − zero_point)`, ONNX's DequantizeLinear.
#[inline(never)]
pub fn dequantize(x: &[i8], scale: f32, zero_point: i32, y: &mut [f32]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y = i32::from(*x).wrapping_sub(zero_point) as f32 * scale;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_operand_repeats_inside_and_outside() {
        // Shape [2, 2, 3] with an operand of shape [2, 1]: each element thrice, the pair twice.
        let mut y = [1.0; 12];
        binary_f32(
            &mut y,
            &[10.0, 20.0],
            3,
            (f32::NEG_INFINITY, f32::INFINITY),
            |a, b| a + b,
        );
        assert_eq!(
            y,
            [
                11.0, 11.0, 11.0, 21.0, 21.0, 21.0, 11.0, 11.0, 11.0, 21.0, 21.0, 21.0
            ]
        );
        assert_eq!(binary_f32(&mut y, &[], 3, (0.0, 1.0), |a, _| a), None);
    }

    #[test]
    fn int8_addition_equals_exact_arithmetic() {
        // Scales 0.5 and 0.25 into 0.5: factors 2²¹ and 2²⁰.
        for a in i8::MIN..=i8::MAX {
            let mut y = [a; 256];
            let b: [i8; 256] = core::array::from_fn(|i| i as u8 as i8);
            let sum = Residual {
                factor: 1 << 20,
                factor_b: 1 << 21,
                offset: -(3 * (1 << 21) - 7 * (1 << 20)),
                multiplier: 1.0 / (1 << 21) as f32,
                output: Output::saturating(2),
            };
            add_i8(&mut y, &b, 1, &sum);
            for (b, y) in b.iter().zip(y) {
                let real = 0.5 * (f32::from(a) - 3.0) + 0.25 * (f32::from(*b) + 7.0);
                assert_eq!(y, Output::saturating(2).quantize(real / 0.5), "{a} + {b}");
            }
        }
    }

    #[test]
    fn quantising_inverts_dequantising() {
        let q: [i8; 256] = core::array::from_fn(|i| i as u8 as i8);
        let (mut reals, mut back) = ([0.0; 256], [0; 256]);
        dequantize(&q, 0.037, -11, &mut reals);
        quantize(&reals, 0.037, Output::saturating(-11), &mut back);
        assert_eq!(back, q);
    }
}
