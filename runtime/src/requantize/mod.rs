//! The rounding contract: how an accumulator becomes an int8 output, on every target with the same bits.
//!
//! ```text
//! y = saturate(round_half_even(f32(acc) × m) + zero_point),   m = f32(s_x·s_w / s_y)
//! ```
//!
//! `f32(acc)` and the product are each one IEEE-754 single-precision operation, rounded to nearest even. This is what
//! ONNX's `QuantizeLinear` means for a dequantised convolution, so ONNX Runtime is the reference.
//!
//! Cores without floating point give the same bits with integers: see [`fixed`]. Plans that ask for TensorFlow Lite's rounding have
//! that instead: see [`tflite`].

pub mod fixed;
pub mod tflite;

use crate::format;

/// Adding 1.5·2²³ leaves a small number's nearest integer (ties to even) in the low mantissa bits.
const MAGIC: f32 = 12_582_912.0;

/// Rounds to the nearest integer, ties to even. `x` must lie within ±2²² (callers clamp first).
#[inline(always)]
pub fn round_half_even(x: f32) -> i32 {
    ((x + MAGIC).to_bits() as i32).wrapping_sub(MAGIC.to_bits() as i32)
}

/// Zero point and bounds of an int8 output.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Output {
    zero_point: i32,
    min: i32,
    max: i32,
    /// Bounds before the zero point is added; floats, since they are applied before rounding.
    low: f32,
    high: f32,
}

impl Output {
    /// For outputs in `min ..= max` around `zero_point`; all three are int8 values, `min ≤ max`.
    #[inline]
    pub fn new(zero_point: i32, min: i32, max: i32) -> Self {
        Output {
            zero_point,
            min,
            max,
            low: min.wrapping_sub(zero_point) as f32,
            high: max.wrapping_sub(zero_point) as f32,
        }
    }

    /// Output of a step that saturates only.
    #[inline]
    pub fn saturating(zero_point: i32) -> Self {
        Output::new(zero_point, i8::MIN.into(), i8::MAX.into())
    }

    /// The zero point.
    #[inline(always)]
    pub fn zero_point(&self) -> i32 {
        self.zero_point
    }

    /// The lower bound.
    #[cfg(any(target_arch = "aarch64", target_arch = "x86_64"))]
    #[inline(always)]
    pub(crate) fn min(&self) -> i32 {
        self.min
    }

    /// The upper bound before the zero point is added.
    #[cfg(any(target_arch = "aarch64", target_arch = "x86_64"))]
    #[inline(always)]
    pub(crate) fn high(&self) -> f32 {
        self.high
    }

    /// Whether the bounds are those of int8.
    #[inline(always)]
    pub fn saturates(&self) -> bool {
        self.bounds() == [i8::MIN, i8::MAX]
    }

    #[inline(always)]
    fn bounds(&self) -> [i8; 2] {
        [self.min as i8, self.max as i8]
    }

    /// Applies the bounds to results that have saturated to int8 already.
    #[inline(always)]
    pub fn clamp(&self, results: &mut [i8]) {
        if !self.saturates() {
            let [min, max] = self.bounds();
            for y in results {
                *y = (*y).max(min).min(max);
            }
        }
    }

    /// `x` is the real result divided by the output scale. NaN becomes the lower bound.
    #[inline(always)]
    pub fn quantize(&self, x: f32) -> i8 {
        // The bounds are integers, so clamping before rounding gives the same as after.
        let x = if x > self.low { x } else { self.low };
        let x = if x < self.high { x } else { self.high };
        round_half_even(x).wrapping_add(self.zero_point) as i8
    }

    /// The contract: `multiplier` is `f32(s_x·s_w/s_y)`.
    #[inline(always)]
    pub fn requantize(&self, accumulator: i32, multiplier: f32) -> i8 {
        Multiplier::new(multiplier).requantize(accumulator, self)
    }

    /// The contract as it is written, where integers do not decide.
    #[cold]
    #[inline(never)]
    pub(crate) fn exact(&self, accumulator: i32, multiplier: f32) -> i8 {
        self.quantize(accumulator as f32 * multiplier)
    }

    /// The output for a result that is rounded already; `|rounded| ≤ 2³⁰`.
    #[inline(always)]
    pub(crate) fn saturate(&self, rounded: i32) -> i8 {
        let y = rounded.wrapping_add(self.zero_point);
        let y = if y > self.min { y } else { self.min };
        (if y < self.max { y } else { self.max }) as i8
    }
}

/// A multiplier made ready for many accumulators.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Multiplier {
    exact: f32,
    #[cfg(kinglet_soft_float)]
    scale: fixed::Scale,
}

impl Multiplier {
    /// From `f32(s_x·s_w/s_y)`.
    #[inline(always)]
    pub fn new(multiplier: f32) -> Self {
        Multiplier {
            exact: multiplier,
            #[cfg(kinglet_soft_float)]
            scale: fixed::Scale::new(multiplier),
        }
    }

    /// The contract.
    #[inline(always)]
    pub fn requantize(&self, accumulator: i32, output: &Output) -> i8 {
        #[cfg(kinglet_soft_float)]
        return self.scale.requantize(accumulator, self.exact, output);
        #[cfg(not(kinglet_soft_float))]
        output.quantize(accumulator as f32 * self.exact)
    }
}

impl From<&format::Int8> for Output {
    // Once a step, in every kind of step.
    #[inline(never)]
    fn from(record: &format::Int8) -> Self {
        Output::new(
            record.output_zero_point.get(),
            record.min.get(),
            record.max.get(),
        )
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ties_go_to_even() {
        for (x, want) in [
            (0.5, 0),
            (1.5, 2),
            (2.5, 2),
            (-0.5, 0),
            (-1.5, -2),
            (-2.5, -2),
            (3.4999998, 3),
        ] {
            assert_eq!(round_half_even(x), want, "{x}");
        }
    }

    #[test]
    fn nan_and_infinities_saturate() {
        let out = Output::new(3, -100, 90);
        assert_eq!(out.quantize(f32::NAN), -100);
        assert_eq!(out.quantize(f32::NEG_INFINITY), -100);
        assert_eq!(out.quantize(f32::INFINITY), 90);
    }

    proptest! {
        #[test]
        fn equals_the_standard_library_s_rounding(acc: i32, m in 1e-9f32..2.0, zp in -128i32..=127) {
            let real = (acc as f32 * m).round_ties_even();
            let want = (f64::from(real) + f64::from(zp)).clamp(-128.0, 127.0) as i8;
            prop_assert_eq!(Output::saturating(zp).requantize(acc, m), want);
        }
    }
}
