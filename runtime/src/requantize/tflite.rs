//! TensorFlow Lite's rounding: fixed-point multipliers, rounded twice, as its reference kernels have them.
//!
//! ```text
//! y = saturate(round_half_away(round_half_up(acc·2^left × m / 2³¹) / 2^right) + zero_point)
//! ```
//!
//! `m` is the real multiplier's mantissa as a 31-bit number and `left − right` its exponent: TensorFlow Lite's
//! `MultiplyByQuantizedMultiplier` as it is built by default, without `TFLITE_SINGLE_ROUNDING`. Only fully connected layers round once:
//! the accumulator times a multiplier in double precision, ties away from zero. Plans of this rounding have operators of
//! their own ([`crate::OpCode::ConvI8Tflite`] and those behind it), so that others do not know of it.

use crate::format;

/// Left shifts of a multiplier that a plan may hold.
pub const MOST_SHIFT: i32 = 30;
/// Right shifts of a multiplier that a plan may hold.
pub const LEAST_SHIFT: i32 = -31;

/// `a·b / 2³¹`, rounded to nearest, ties up. Not both are −2³¹: that product has no place in 32 bits.
#[inline(always)]
pub fn high_product(a: i32, b: i32) -> i32 {
    let product = i64::from(a).wrapping_mul(b.into());
    (product.wrapping_add(1 << 30) >> 31) as i32
}

/// `x / 2^exponent`, rounded to nearest, ties away from zero; `exponent` is below 32.
#[inline(always)]
pub fn divide_by_power(x: i32, exponent: u32) -> i32 {
    let mask = 1i32.wrapping_shl(exponent).wrapping_sub(1);
    let threshold = ((mask as u32) >> 1).wrapping_add(u32::from(x < 0));
    let up = (x & mask) as u32 > threshold;
    x.wrapping_shr(exponent).wrapping_add(i32::from(up))
}

/// A multiplier in fixed point.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rescale {
    multiplier: i32,
    left: u32,
    right: u32,
}

impl Rescale {
    /// `multiplier / 2³¹ · 2^shift`.
    #[inline(always)]
    pub fn new(multiplier: i32, shift: i32) -> Self {
        let (left, right) = if shift > 0 { (shift, 0) } else { (0, shift) };
        Rescale {
            multiplier,
            left: left as u32,
            right: right.wrapping_neg() as u32,
        }
    }

    /// `x` times the multiplier. What leaves 32 bits on the way wraps, as it does there.
    #[inline(always)]
    pub fn apply(&self, x: i32) -> i32 {
        let product = high_product(x.wrapping_shl(self.left), self.multiplier);
        divide_by_power(product, self.right)
    }
}

impl From<&format::Rescale> for Rescale {
    #[inline(always)]
    fn from(record: &format::Rescale) -> Self {
        Rescale::new(record.multiplier.get(), record.shift.get())
    }
}

/// `x` rounded to the nearest integer, ties away from zero, and bounded by ±2³⁰. NaN becomes −2³⁰.
#[inline(always)]
pub fn round_half_away(x: f64) -> i32 {
    const MOST: f64 = (1 << 30) as f64;
    let x = if x > -MOST { x } else { -MOST };
    let x = if x < MOST { x } else { MOST };
    let towards_zero = x as i32;
    // Exact: both are near each other.
    let rest = x - f64::from(towards_zero);
    let up = i32::from(rest >= 0.5).wrapping_sub(i32::from(rest <= -0.5));
    towards_zero.wrapping_add(up)
}

/// Zero point and bounds of an output.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    zero_point: i32,
    min: i32,
    max: i32,
}

impl Bounds {
    /// For outputs in `min ..= max` around `zero_point`; all three are int8 values.
    pub fn new(zero_point: i32, min: i32, max: i32) -> Self {
        Bounds {
            zero_point,
            min,
            max,
        }
    }

    /// Adds the zero point and applies the bounds.
    #[inline(always)]
    pub fn saturate(&self, rescaled: i32) -> i8 {
        self.clamp(rescaled.wrapping_add(self.zero_point))
    }

    /// Applies the bounds.
    #[inline(always)]
    pub fn clamp(&self, y: i32) -> i8 {
        let y = if y > self.min { y } else { self.min };
        (if y < self.max { y } else { self.max }) as i8
    }
}

impl From<&format::Int8> for Bounds {
    fn from(record: &format::Int8) -> Self {
        Bounds::new(
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

    /// The nearest integer to `n / d`, `d > 0`; of two the one that `tie` takes from the lower.
    fn nearest(n: i128, d: i128, tie: impl Fn(i128) -> i128) -> i128 {
        let (low, twice) = (n.div_euclid(d), 2 * n.rem_euclid(d));
        match twice.cmp(&d) {
            core::cmp::Ordering::Less => low,
            core::cmp::Ordering::Greater => low + 1,
            core::cmp::Ordering::Equal => tie(low),
        }
    }

    fn up(low: i128) -> i128 {
        low + 1
    }

    fn away(low: i128) -> i128 {
        if low < 0 { low } else { low + 1 }
    }

    /// Gemmlowp's own words for [`high_product`]: a nudge, and a division towards zero.
    fn nudged(a: i32, b: i32) -> i128 {
        let product = i128::from(a) * i128::from(b);
        let nudge = if product >= 0 { 1 << 30 } else { 1 - (1 << 30) };
        (product + nudge) / (1 << 31)
    }

    #[test]
    fn ties_go_up_in_the_product_and_away_from_zero_in_the_division() {
        assert_eq!(
            [1, -1, 3, -3].map(|x| high_product(x, 1 << 30)),
            [1, 0, 2, -1]
        );
        assert_eq!(
            [1, -1, 3, -3, 5, -5].map(|x| divide_by_power(x, 1)),
            [1, -1, 2, -2, 3, -3]
        );
        assert_eq!(divide_by_power(i32::MIN, 31), -1);
        assert_eq!(divide_by_power(i32::MAX, 31), 1);
        assert_eq!(divide_by_power(-7, 0), -7);
    }

    #[test]
    fn doubles_round_half_away_from_zero() {
        for x in [
            0.49999999999999994,
            0.5,
            -0.5,
            1.5,
            -2.5,
            7.0,
            -126.49999999999999,
            1e9,
        ] {
            assert_eq!(f64::from(round_half_away(x)), x.round(), "{x}");
        }
        assert_eq!(round_half_away(f64::INFINITY), 1 << 30);
        assert_eq!([f64::NAN, -1e300].map(round_half_away), [-(1 << 30); 2]);
    }

    #[test]
    fn no_record_makes_it_panic() {
        let ends = [
            i32::MIN,
            LEAST_SHIFT,
            -1,
            0,
            1,
            MOST_SHIFT,
            31,
            32,
            i32::MAX,
        ];
        for (multiplier, shift) in ends.into_iter().flat_map(|m| ends.map(|s| (m, s))) {
            for x in ends {
                let y = Rescale::new(multiplier, shift).apply(x);
                let _ = Bounds::new(ends[0], 5, -5).saturate(y);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn products_and_divisions_equal_exact_arithmetic(a: i32, b in 0i32..=i32::MAX, small in -400i32..400, exponent in 0u32..=31) {
            for a in [a, small] {
                let product = i128::from(a) * i128::from(b);
                prop_assert_eq!(i128::from(high_product(a, b)), nearest(product, 1 << 31, up));
                prop_assert_eq!(i128::from(high_product(a, b)), nudged(a, b));
                let quotient = nearest(a.into(), 1 << exponent, away);
                prop_assert_eq!(i128::from(divide_by_power(a, exponent)), quotient);
            }
        }

        #[test]
        fn rescaling_rounds_twice(x in -(1i32 << 24)..1 << 24, multiplier in 1i32 << 30..=i32::MAX, shift in -31i32..=6) {
            let (left, right) = (shift.max(0), (-shift).max(0));
            let shifted = i128::from(x) << left;
            let once = nearest(shifted * i128::from(multiplier), 1 << 31, up);
            let twice = nearest(once, 1 << right, away);
            prop_assert_eq!(i128::from(Rescale::new(multiplier, shift).apply(x)), twice);
            let real = f64::from(x) * f64::from(multiplier) * 2f64.powi(shift - 31);
            prop_assert!((real - twice as f64).abs() < 1.0, "two roundings stay within one");
        }
    }
}
