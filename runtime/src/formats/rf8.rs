//! RF8, the residual floating-point format (arXiv 2506.00486 v1–v3): a weight is the sum of two powers of two.
//!
//! ```text
//! bit 7     S   sign
//! bits 6-3  E   exponent, 0 … 15
//! bit 2     s   sign of the residual: 0 minus, 1 plus
//! bits 1-0  d   distance of the residual, less one
//!
//! value = (−1)^S · 2^(E − 15 + b) · (1 ± 2^−(d+1)),      b: a signed integer, one a tensor or a channel
//! ```
//!
//! 0x00 and 0x80 are 0; there is neither infinity nor NaN. The rounding rule is the authors' ([`reference()`]); the layout of
//! the bits is ours, since the paper's is not known to us.

use super::{Format, Table, ceil_log2, power_of_two};

/// Largest distance between the two powers of two.
pub const DISTANCES: u32 = 4;

/// Terms that [`dot_top`] can sum without overflow.
pub const TOP_TERMS: usize = 1024;

/// The format at `b = 0`: values up to 1.5.
#[derive(Clone, Copy, Debug)]
pub struct Rf8;

impl Format for Rf8 {
    const NAME: &'static str = "RF8";
    const MAX: f32 = 1.5;
    const TABLE: &'static Table = &const {
        let mut table = [0.0; 256];
        let mut code = 0;
        while code < 256 {
            table[code] = value(code as u8);
            code += 1;
        }
        table
    };
    const ORDER: &'static [u8] = &const { canonical() };

    /// `2^b`; see [`top_exponent`].
    fn scale(amax: f32) -> f32 {
        power_of_two(top_exponent(amax).into())
    }
}

const fn value(code: u8) -> f32 {
    if code & 0x7F == 0 {
        return 0.0;
    }
    let exponent = ((code >> 3) & 15) as i32 - 15;
    let distance = (code & 3) as i32 + 1;
    let residual = power_of_two(exponent - distance);
    let magnitude = if code & 4 == 0 {
        power_of_two(exponent) - residual
    } else {
        power_of_two(exponent) + residual
    };
    if code < 128 { magnitude } else { -magnitude }
}

/// Zero and the 112 positive values. `1.5·2^k` has two codes, `(E, +, d = 0)` and `(E + 1, −, d = 1)`: the former counts.
const fn canonical() -> [u8; 113] {
    let mut order = [0u8; 113];
    let mut len = 1;
    while len < 113 {
        let last = value(order[len - 1]);
        let mut best = 0;
        let mut code = 1;
        while code < 128u8 {
            let v = value(code);
            // The smaller exponent comes first in `code`, so the first code of a value is the canonical one.
            if v > last && (best == 0 || v < value(best)) {
                best = code;
            }
            code += 1;
        }
        order[len] = best;
        len += 1;
    }
    order
}

/// The smallest `b` with `amax ≤ 1.5·2^b`, as the byte that is stored; 0 where there is nothing to represent.
#[must_use]
pub fn top_exponent(amax: f32) -> i8 {
    let Some(above) = ceil_log2(amax) else {
        return if amax == f32::INFINITY { i8::MAX } else { 0 };
    };
    let b = if f64::from(amax) <= 0.75 * f64::from(power_of_two(above)) || above == 128 {
        above - 1
    } else {
        above
    };
    b.clamp(i8::MIN.into(), i8::MAX.into()) as i8
}

/// The authors' quantiser: the nearest power of two in the logarithm, then that of the residual unless it is more than
/// `2^distance` smaller. The exponent has no bounds; [`DISTANCES`] is the format's `distance`.
///
/// ```text
/// e1 = round(log2|w|),  r = w − ±2^e1,  e2 = round(log2|r|),  w_q = ±2^e1 (±2^e2 if e1 − e2 ≤ distance)
/// ```
#[must_use]
pub fn reference(w: f32, distance: u32) -> f32 {
    let w = f64::from(w);
    let Some((first, e1)) = nearest_power(w) else {
        return if w.is_nan() { f32::NAN } else { w as f32 };
    };
    let value = match nearest_power(w - first) {
        Some((second, e2)) if e1 - e2 <= distance as i32 => first + second,
        _ => first,
    };
    value as f32
}

/// `±2^round(log2|x|)` and its exponent; `None` for what has no logarithm. An f32 is never a tie: √2 is irrational.
fn nearest_power(x: f64) -> Option<(f64, i32)> {
    const FRACTION: u64 = (1 << 52) - 1;
    if x == 0.0 || !x.is_finite() {
        return None;
    }
    let bits = x.to_bits();
    let exponent = ((bits >> 52) & 0x7FF) as i32 - 1023;
    let up = f64::from_bits((bits & FRACTION) | 1.0f64.to_bits()) > core::f64::consts::SQRT_2;
    let exponent = exponent + i32::from(up);
    let power = f64::from_bits(((exponent + 1023) as u64) << 52 | (bits & (1 << 63)));
    Some((power, exponent))
}

/// The code of the value that [`reference()`] chooses for `x` (already divided by `2^b`); what the exponent cannot hold
/// saturates, or goes to the nearest code.
#[must_use]
pub fn encode_reference(x: f32) -> u8 {
    Rf8::encode(reference(x, DISTANCES))
}

/// `w·x` in units of `2^(b − 19)`: two shifts and one addition.
#[inline]
#[must_use]
pub fn product(code: u8, x: i8) -> i64 {
    if code & 0x7F == 0 {
        return 0;
    }
    let x = i64::from(x);
    let shift = u32::from((code >> 3) & 15) + 4;
    let (first, residual) = (x << shift, x << (shift - 1 - u32::from(code & 3)));
    combine(code, first, residual)
}

/// `Σ w·x` in units of `2^(b − 19)`, exact.
#[must_use]
pub fn dot(codes: &[u8], x: &[i8]) -> i64 {
    let terms = codes.iter().zip(x).map(|(&c, &x)| product(c, x));
    terms.fold(0, i64::wrapping_add)
}

/// `Σ w·x` in units of `2^(b − 13)`, in 32 bits: the ten upper octaves count, smaller weights are 0. Exact for up to
/// [`TOP_TERMS`] terms, none of which exceeds 128·1.5·2^13.
#[must_use]
pub fn dot_top(codes: &[u8], x: &[i8]) -> i32 {
    let term = |(&code, &x): (&u8, &i8)| {
        let Some(shift) = u32::from((code >> 3) & 15)
            .checked_sub(2)
            .filter(|&a| a >= 4)
        else {
            return 0;
        };
        let x = i32::from(x);
        combine(code, x << shift, x << (shift - 1 - u32::from(code & 3)))
    };
    codes.iter().zip(x).map(term).fold(0, i32::wrapping_add)
}

#[inline]
fn combine<T>(code: u8, first: T, residual: T) -> T
where
    T: core::ops::Add<Output = T> + core::ops::Sub<Output = T> + core::ops::Neg<Output = T> + Copy,
{
    let sum = if code & 4 == 0 {
        first - residual
    } else {
        first + residual
    };
    if code & 0x80 == 0 { sum } else { -sum }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn there_are_113_magnitudes_and_odd_symmetry() {
        let magnitudes: BTreeSet<u32> = (0..=255).map(|c| Rf8::decode(c).abs().to_bits()).collect();
        assert_eq!(magnitudes.len(), 113);
        for code in 0..128 {
            assert_eq!(Rf8::decode(code | 0x80), -Rf8::decode(code));
        }
        assert_eq!((Rf8::decode(0), Rf8::decode(0x80)), (0.0, 0.0));
        assert_eq!(Rf8::decode(0x7C), 1.5);
        assert_eq!(Rf8::decode(0x01), 0.75 * power_of_two(-15));
        let second = |code: u8| Rf8::decode(Rf8::ORDER[usize::from(code)]);
        assert_eq!((second(1), second(112)), (0.75 * power_of_two(-15), 1.5));
    }

    #[test]
    fn canonical_codes_prefer_the_smaller_exponent() {
        // 1.5·2^k as (E, +, 0), 2^k as (E + 1, −, 0).
        assert_eq!(Rf8::encode(0.375), 13 << 3 | 4);
        assert_eq!(Rf8::encode(0.25), 14 << 3);
        assert_eq!(Rf8::encode(-0.25), 14 << 3 | 0x80);
        // 1.0 at the top cannot be said.
        assert_eq!(Rf8::decode(Rf8::encode(1.0)), 0.9375);
    }

    #[test]
    fn the_top_exponent_just_holds_the_largest_weight() {
        for (amax, b) in [
            (1.5, 0),
            (1.5000001, 1),
            (1.0, 0),
            (0.75, -1),
            (0.0, 0),
            (f32::MAX, 127),
        ] {
            assert_eq!(top_exponent(amax), b, "{amax}");
        }
        assert_eq!(
            (top_exponent(f32::NAN), top_exponent(f32::INFINITY)),
            (0, 127)
        );
        assert_eq!(top_exponent(f32::from_bits(1)), -128);
    }

    /// The rule literally, in f64.
    fn formula(w: f32, distance: f64) -> f32 {
        if w == 0.0 {
            return 0.0;
        }
        let w = f64::from(w);
        let e1 = w.abs().log2().round_ties_even();
        let first = w.signum() * e1.exp2();
        let r = w - first;
        let e2 = r.abs().log2().round_ties_even();
        let value = if r != 0.0 && e1 - e2 <= distance {
            first + r.signum() * e2.exp2()
        } else {
            first
        };
        value as f32
    }

    #[test]
    fn the_reference_equals_its_formula_and_has_seven_mantissas() {
        let mantissas = [1.0, 1.0625, 1.125, 1.25, 1.5, 1.75, 1.875];
        let mut seen = BTreeSet::new();
        let mut state = 1u64;
        for _ in 0..1_000_000 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            // Any sign, exponents −40 … 40, any fraction.
            let bits = (state >> 32) as u32;
            let exponent = 127 - 40 + (bits >> 24) % 81;
            let w = f32::from_bits(
                (bits & 0x007F_FFFF) | exponent << 23 | (state as u32 & 0x8000_0000),
            );
            let q = reference(w, DISTANCES);
            assert_eq!(q, formula(w, 4.0), "{w}");
            let mantissa = f32::from_bits((q.to_bits() & 0x007F_FFFF) | 1.0f32.to_bits());
            assert!(mantissas.contains(&mantissa), "{w} {mantissa}");
            seen.insert(mantissa.to_bits());
        }
        assert_eq!(seen.len(), 7);
        assert_eq!(
            (reference(0.0, 4), reference(-0.0, 4).to_bits()),
            (0.0, (-0.0f32).to_bits())
        );
        assert!(reference(f32::NAN, 4).is_nan());
    }

    #[test]
    fn the_reference_is_encodable_within_the_exponents() {
        for i in 1..4000 {
            let x = 1.4 * (i as f32 / 4000.0).powi(2);
            let q = reference(x, DISTANCES);
            if q > power_of_two(-15) && q != 1.0 {
                assert_eq!(Rf8::decode(encode_reference(x)), q, "{x}");
            }
        }
    }

    proptest! {
        #[test]
        fn shifting_and_adding_is_the_exact_dot_product(
            terms in prop::collection::vec((any::<u8>(), any::<i8>()), 0..1024)
        ) {
            let (codes, x): (std::vec::Vec<u8>, std::vec::Vec<i8>) = terms.into_iter().unzip();
            let exact = |top: bool, unit: i32| -> f64 {
                let weight = |c: u8| if top && (c >> 3) & 15 < 6 { 0.0 } else { f64::from(Rf8::decode(c)) };
                codes.iter().zip(&x).map(|(&c, &x)| weight(c) * f64::from(x) * 2f64.powi(unit)).sum()
            };
            prop_assert_eq!(dot(&codes, &x) as f64, exact(false, 19));
            prop_assert_eq!(f64::from(dot_top(&codes, &x)), exact(true, 13));
        }
    }

    #[test]
    fn the_32_bit_sum_holds_its_worst_case() {
        let (codes, x) = ([0x7C; TOP_TERMS], [-128i8; TOP_TERMS]);
        assert_eq!(
            f64::from(dot_top(&codes, &x)),
            -128.0 * 1.5 * 8192.0 * 1024.0
        );
    }
}
