//! Numbers of the integer path: multipliers, folded biases, fixed-point factors, tables.

use super::CompileError;
use crate::graph::{Clamp, Unary};
use kinglet::kernels;
use kinglet::requantize::Output;

/// Scale and zero point of a per-tensor quantised value.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Affine {
    pub(super) scale: f32,
    pub(super) zero_point: i32,
}

impl Affine {
    pub(super) fn quantize(&self, real: f32) -> i8 {
        Output::saturating(self.zero_point).quantize(real / self.scale)
    }

    pub(super) fn dequantize(&self, q: i32) -> f32 {
        (q - self.zero_point) as f32 * self.scale
    }

    /// Output bounds that a clamp of the reals means.
    pub(super) fn bounds(&self, clamp: Clamp) -> (i32, i32) {
        // Quantisation is monotonic, so clamping reals and clamping bytes are the same.
        (
            self.quantize(clamp.min).into(),
            self.quantize(clamp.max).into(),
        )
    }
}

/// `f32(s_x·s_w/s_y)` for each output channel.
pub(super) fn multipliers(x: f32, w: &[f32], y: f32, channels: usize) -> Vec<f32> {
    let one = |w: f32| (f64::from(x) * f64::from(w) / f64::from(y)) as f32;
    if w.len() == 1 {
        vec![one(w[0]); channels]
    } else {
        w.iter().map(|&w| one(w)).collect()
    }
}

/// `bias − zero_point·Σ w` for each output channel, after proving that no accumulator can overflow.
pub(super) fn fold_zero_point(
    node: &str,
    weights: &[i16],
    bias: &[i32],
    zero_point: i32,
) -> Result<Vec<i32>, CompileError> {
    let taps = weights.len() / bias.len().max(1);
    let folded = weights
        .chunks(taps.max(1))
        .zip(bias)
        .enumerate()
        .map(|(channel, (w, &b))| {
            let sum: i64 = w.iter().map(|&w| i64::from(w)).sum();
            let folded = i64::from(b) - i64::from(zero_point) * sum;
            // Any partial sum lies within this.
            let bound = folded.abs() + 128 * w.iter().map(|&w| i64::from(w).abs()).sum::<i64>();
            match i32::try_from(bound) {
                Ok(_) => Ok(folded as i32),
                Err(_) => Err(CompileError::AccumulatorOverflow {
                    node: node.into(),
                    channel,
                    bound,
                }),
            }
        });
    folded.collect()
}

/// An int8 sum in fixed point: factors for the two operands, the zero-point correction, and the multiplier to the
/// output's scale. The larger scale gets 2²¹, so that 9-bit differences stay within 31 bits; the rounding of the
/// smaller factor is at most 2⁻²² of the larger scale.
pub(super) struct FixedSum {
    pub(super) factors: (i32, i32),
    pub(super) offset: i32,
    pub(super) multiplier: f32,
}

const FIXED_ONE: f64 = (1 << 21) as f64;

/// `a + sign·b`.
pub(super) fn fixed_sum(a: Affine, b: Affine, y: Affine, sign: f64) -> FixedSum {
    let largest = f64::from(a.scale).max(f64::from(b.scale));
    let factor = |s: f32| (f64::from(s) / largest * FIXED_ONE).round();
    let factors = (factor(a.scale) as i32, (sign * factor(b.scale)) as i32);
    FixedSum {
        factors,
        offset: -(a.zero_point * factors.0 + b.zero_point * factors.1),
        multiplier: (largest / FIXED_ONE / f64::from(y.scale)) as f32,
    }
}

/// The real function behind a unary operator, as the float kernels compute it.
pub(super) fn function(unary: Unary) -> impl Fn(f32) -> f32 {
    move |x| match unary {
        Unary::Clamp(c) => kernels::clamp(x, c.min, c.max),
        Unary::Sigmoid => kernels::sigmoid(x),
        Unary::Tanh => libm::tanhf(x),
        Unary::LeakyRelu { alpha } => kernels::leaky_relu(x, alpha),
        Unary::HardSigmoid { alpha, beta } => kernels::hard_sigmoid(x, alpha, beta),
        Unary::HardSwish => kernels::hard_swish(x),
        Unary::Sqrt => libm::sqrtf(x),
        Unary::Exp => libm::expf(x),
        Unary::Log => libm::logf(x),
        Unary::Abs => libm::fabsf(x),
        Unary::Erf => libm::erff(x),
        Unary::Floor => libm::floorf(x),
        Unary::Ceil => libm::ceilf(x),
        Unary::Round => libm::rintf(x),
        Unary::Sign => kernels::sign(x),
        Unary::Sin => libm::sinf(x),
        Unary::Cos => libm::cosf(x),
    }
}

/// `e^(−i·scale)` for each distance `i` between two int8 values.
pub(super) fn exponentials(scale: f32) -> [f32; 256] {
    std::array::from_fn(|i| (-(i as f64) * f64::from(scale)).exp() as f32)
}

/// What a byte says as an integer.
pub(super) fn integer(byte: u8, signed: bool) -> i32 {
    match signed {
        true => (byte as i8).into(),
        false => byte.into(),
    }
}

/// Output byte for each input byte (indexed as unsigned); `input_signed`/`output_signed` say what the bytes are.
pub(super) fn table(
    x: Affine,
    input_signed: bool,
    y: Affine,
    output_signed: bool,
    f: impl Fn(f32) -> f32,
) -> [u8; 256] {
    std::array::from_fn(|byte| {
        let q = integer(byte as u8, input_signed);
        let real = f(x.dequantize(q));
        if output_signed {
            y.quantize(real) as u8
        } else {
            // An unsigned byte is the signed one with its zero point, shifted by 128.
            Affine {
                zero_point: y.zero_point - 128,
                ..y
            }
            .quantize(real) as u8
                ^ 0x80
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_of_unsigned_bytes_recentres_them() {
        let x = Affine {
            scale: 0.5,
            zero_point: 128,
        };
        let y = Affine {
            scale: 0.5,
            zero_point: 0,
        };
        let t = table(x, false, y, true, |r| r);
        assert_eq!((t[0] as i8, t[128] as i8, t[255] as i8), (-128, 0, 127));
        let back = table(y, true, x, false, |r| r);
        for byte in 0..=255u8 {
            assert_eq!(back[usize::from(t[usize::from(byte)])], byte);
        }
    }

    #[test]
    fn a_weight_sum_beyond_31_bits_is_refused() {
        let weights = vec![127i16; 200_000];
        let error = fold_zero_point("big", &weights, &[0], -128)
            .map(|_| ())
            .expect_err("overflows");
        assert!(error.to_string().contains("`big`"), "{error}");
    }

    #[test]
    fn equal_scales_add_exactly() {
        let s = Affine {
            scale: 0.1,
            zero_point: 3,
        };
        let sum = fixed_sum(s, s, s, -1.0);
        assert_eq!(sum.factors, (1 << 21, -(1 << 21)));
        assert_eq!(sum.offset, 0);
    }
}
