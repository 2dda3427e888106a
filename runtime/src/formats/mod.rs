//! Eight-bit number formats of weights, and the bit reader of entropy-coded ones.
//!
//! A [`Format`] is 256 codes and a value for each, given as a table that is made at compile time. A tensor is stored as
//! codes and a scale (for all of it, or one a channel): `w = scale · TABLE[code]`. [`Rf8`] is the format whose products
//! need no multiplier ([`rf8::dot`]); [`E4M3`], [`E3M4`] and [`Int8`] are what it is compared with.
//!
//! Nothing here panics or allocates, and what a plan does not use is not linked.

pub mod golomb;
mod int8;
pub mod levels;
mod minifloat;
pub mod rf8;

pub use int8::Int8;
pub use minifloat::{E3M4, E4M3};
pub use rf8::Rf8;

/// Values of all codes.
pub type Table = [f32; 256];

/// An eight-bit number format.
pub trait Format {
    /// Short name, as in reports.
    const NAME: &'static str;
    /// Largest finite value.
    const MAX: f32;
    /// The value of each code at scale 1; NaN for codes that have none.
    const TABLE: &'static Table;
    /// Codes of zero and of all positive values, ascending; of several codes of a value only the one that encoders emit.
    const ORDER: &'static [u8];

    /// The scale at which a tensor whose largest magnitude is `amax` just does not saturate; 1 for nothing but zeros.
    fn scale(amax: f32) -> f32 {
        let scale = amax / Self::MAX;
        if scale.is_normal() { scale } else { 1.0 }
    }

    /// The code of `−x` from that of `x ≠ 0`.
    fn negated(code: u8) -> u8 {
        code ^ 0x80
    }

    /// The value of a code at scale 1.
    fn decode(code: u8) -> f32 {
        Self::TABLE[usize::from(code)]
    }

    /// The code whose value is nearest to `x` (which was divided by the scale). A tie goes to the even code, or to the
    /// smaller magnitude if both or neither are even. What lies outside saturates; NaN becomes 0.
    fn encode(x: f32) -> u8 {
        let magnitude = nearest(Self::TABLE, Self::ORDER, x.abs());
        if x < 0.0 && magnitude != 0 {
            Self::negated(magnitude)
        } else {
            magnitude
        }
    }
}

/// The code in `order` whose value is nearest to `x ≥ 0`.
fn nearest(table: &Table, order: &[u8], x: f32) -> u8 {
    let value = |code: u8| table[usize::from(code)];
    let above = order.partition_point(|&code| value(code) <= x);
    let lower = order.get(above.wrapping_sub(1)).copied();
    match (lower, order.get(above).copied()) {
        (Some(low), Some(high)) => {
            // Both differences are exact: neighbours differ by less than a factor of two, or the lower one is small.
            let (below, beyond) = (
                f64::from(x) - f64::from(value(low)),
                f64::from(value(high)) - f64::from(x),
            );
            let even = |code: u8| code.is_multiple_of(2);
            if beyond < below || (beyond == below && even(high) && !even(low)) {
                high
            } else {
                low
            }
        }
        (Some(low), None) => low,
        // NaN compares with nothing, so it comes here.
        (None, _) => 0,
    }
}

/// `2^exponent`, also where it is subnormal; saturates outside.
#[must_use]
pub const fn power_of_two(exponent: i32) -> f32 {
    let bits = match exponent {
        128.. => 0x7F80_0000,
        -126..=127 => ((exponent + 127) as u32) << 23,
        -149..=-127 => 1 << (exponent + 149) as u32,
        _ => 0,
    };
    f32::from_bits(bits)
}

/// The smallest `e` with `x ≤ 2^e` for finite `x > 0`; `None` for anything else.
#[must_use]
pub(crate) fn ceil_log2(x: f32) -> Option<i32> {
    if !(x > 0.0 && x.is_finite()) {
        return None;
    }
    let bits = f64::from(x).to_bits();
    let exponent = (bits >> 52) as i32 - 1023;
    Some(exponent + i32::from(bits << 12 != 0))
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;

    fn codes_are_canonical<F: Format>() {
        assert!(
            F::ORDER
                .windows(2)
                .all(|w| F::decode(w[0]) < F::decode(w[1]))
        );
        assert_eq!((F::ORDER[0], F::decode(0)), (0, 0.0));
        assert_eq!(F::decode(*F::ORDER.last().expect("codes")), F::MAX);
        for code in 0..=255u8 {
            let value = F::decode(code);
            let back = F::encode(value);
            if value.is_nan() {
                assert_eq!(back, 0);
                continue;
            }
            if value.abs() <= F::MAX {
                assert_eq!(F::decode(back), value, "{} {code:#x}", F::NAME);
            }
            assert!(back == 0 || F::decode(F::negated(back)) == -F::decode(back));
            assert_eq!(
                F::encode(F::decode(back)),
                back,
                "canonical codes are stable"
            );
        }
        for x in [f32::INFINITY, f32::MAX, F::MAX * 1.5] {
            assert_eq!(F::decode(F::encode(x)), F::MAX);
            assert_eq!(F::decode(F::encode(-x)), -F::MAX);
        }
        assert_eq!(
            (
                F::encode(-0.0),
                F::encode(f32::MIN_POSITIVE),
                F::encode(f32::NAN)
            ),
            (0, 0, 0)
        );
    }

    #[test]
    fn every_format_has_canonical_codes() {
        codes_are_canonical::<Rf8>();
        codes_are_canonical::<E4M3>();
        codes_are_canonical::<E3M4>();
        codes_are_canonical::<Int8>();
    }

    fn encoding_is_nearest<F: Format>() {
        let values: std::vec::Vec<f32> = (0..=255)
            .map(F::decode)
            .filter(|v| v.abs() <= F::MAX)
            .collect();
        for i in -20_000..=20_000 {
            let x = F::MAX * (i as f32 / 20_000.0).powi(5);
            let best = values
                .iter()
                .map(|v| (v - x).abs())
                .fold(f32::INFINITY, f32::min);
            assert_eq!((F::decode(F::encode(x)) - x).abs(), best, "{} {x}", F::NAME);
        }
    }

    #[test]
    fn no_code_is_nearer_than_the_chosen_one() {
        encoding_is_nearest::<Rf8>();
        encoding_is_nearest::<E4M3>();
        encoding_is_nearest::<E3M4>();
        encoding_is_nearest::<Int8>();
    }

    #[test]
    fn ties_go_to_the_even_code() {
        for i in -127..127 {
            let tie = i as f32 + 0.5;
            assert_eq!(Int8::decode(Int8::encode(tie)), tie.round_ties_even());
        }
        assert_eq!(Rf8::decode(Rf8::encode(1.03125 / 4.0)), 1.0 / 4.0);
        assert_eq!(Rf8::decode(Rf8::encode(1.09375 / 4.0)), 1.125 / 4.0);
    }

    #[test]
    fn powers_and_logarithms_of_two_are_exact() {
        for e in -149..128 {
            let p = power_of_two(e);
            assert_eq!(f64::from(p), 2f64.powi(e));
            assert_eq!(ceil_log2(p), Some(e));
            if e > -126 {
                assert_eq!(ceil_log2(f32::from_bits(p.to_bits() + 1)), Some(e + 1));
            }
        }
        assert_eq!(
            (power_of_two(128), power_of_two(-150)),
            (f32::INFINITY, 0.0)
        );
        for x in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            assert_eq!(ceil_log2(x), None);
        }
    }
}
