//! The rounding contract in integers, for cores without floating point: the same bits from one 32×32 → 64-bit
//! multiplication.
//!
//! # Why it is exact
//!
//! Let `a` be an accumulator, `m` the multiplier, `p` the float product of the contract and `u = 2⁻²⁴`. `f32(a)` and the
//! product each have a relative error of at most `u`, so `|p − a·m| ≤ |a·m|·(2u + u²)`. In fixed point we have
//! `q = a·factor·2⁻⁽³²⁺ˢʰⁱᶠᵗ⁾` with `q ≈ a·m`. Consider the distance of `q` from the nearest tie, an integer and a half, in
//! units of 2⁻³² (the fraction is a `u32`).
//!
//! * Where `|a·m| ≤ 257`, `p` lies within `257·(2u + u²)·2³² < 131,585` units of `a·m`. If `q`'s distance from the tie
//!   is greater than that plus `q`'s own error, then `p` and `q` lie strictly between the same two ties and round to the
//!   same integer.
//! * Where `|a·m| > 257`, `p` is at least 256 in magnitude. So is `q`, whose own error is at most a half. Both saturate,
//!   since zero points lie within a byte.
//!
//! Otherwise, which happens about once in ten thousand times, the float expression itself decides, out of line. So
//! does it for multipliers that have no factor: negative ones, those from ½, and what is no number.

use super::Output;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// How far from a tie, in units of 2⁻³², the roundings of the contract may reach: see the module's proof.
const ROUNDINGS: u32 = 131_585;

/// A fraction this near to a tie, on either side, is not decided in integers. All fractions are nearer than this.
const UNDECIDED: u32 = u32::MAX;

/// Doubles a window; one that is too wide for a comparison means all.
#[inline(always)]
fn both_sides(window: u32) -> u32 {
    if window < 1 << 30 {
        window * 2
    } else {
        UNDECIDED
    }
}

/// The mantissa of a multiplier below ½ as a 31-bit integer, and the shift with which `m = mantissa·2⁻⁽³²⁺ˢʰⁱᶠᵗ⁾`.
#[inline(always)]
fn parts(multiplier: f32) -> (u32, u32) {
    let bits = multiplier.to_bits();
    // 125 is the exponent of numbers from ¼ to ½. Greater and negative ones wrap around to a large shift.
    let shift = 125u32.wrapping_sub(bits >> 23);
    ((bits << 7 | 1 << 30) & 0x7fff_ff80, shift)
}

/// A multiplier for many accumulators of any size: every bit of it is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Scale {
    factor: i32,
    shift: u32,
    window: u32,
}

impl Scale {
    /// No multiplier: nothing is decided.
    pub(crate) const UNDECIDED: Scale = Scale {
        factor: 0,
        shift: 0,
        window: UNDECIDED,
    };

    /// The multiplier in fixed point.
    #[inline(always)]
    pub fn new(multiplier: f32) -> Self {
        // One more unit, since what lies below the fraction is cut off.
        Scale::within(multiplier, ROUNDINGS + 1)
    }

    /// As [`Scale::new`], but undecided within `window` units of a tie.
    #[inline(always)]
    pub(crate) fn within(multiplier: f32, window: u32) -> Self {
        let (factor, shift) = parts(multiplier);
        if shift < 32 {
            Scale {
                factor: factor as i32,
                shift,
                window: both_sides(window),
            }
        } else if shift <= 125 {
            // Below 2⁻³³, zero included: no accumulator gets to a half.
            Scale {
                factor: 0,
                shift: 0,
                window: 0,
            }
        } else {
            Scale::UNDECIDED
        }
    }

    /// The integer nearest to `accumulator × multiplier`; `None` too near to a tie. What is beyond ±257 is only known to be
    /// beyond ±256.
    #[inline(always)]
    pub(crate) fn round(&self, accumulator: i32) -> Option<i32> {
        let product = i64::from(accumulator).wrapping_mul(self.factor.into());
        let (low, high) = (product as u32, (product >> 32) as i32);
        // `product >> shift`, in halves: the compiler does not see that the shift is below 32.
        let fraction =
            (low >> (self.shift & 31)) | ((high as u32) << 1) << (31 - (self.shift & 31));
        nearest(high >> (self.shift & 31), fraction, self.window)
    }

    /// For products of which only the upper half is needed; `None` for multipliers that are too large or too small for that.
    pub(crate) fn high(&self, zero_point: i32) -> Option<High> {
        if !(12..=22).contains(&self.shift) || self.window == UNDECIDED {
            return None;
        }
        // In units of the upper half, and one more for what is cut off.
        let window = ((self.window / 2) >> (32 - self.shift)) + 2;
        Some(High {
            factor: self.factor,
            shift: self.shift,
            start: (zero_point << self.shift) + (1 << (self.shift - 1)) + window as i32,
            window: (2 * window) << (32 - self.shift),
        })
    }

    /// The contract for `multiplier`, which this scale was made from.
    #[inline(always)]
    pub fn requantize(&self, accumulator: i32, multiplier: f32, output: &Output) -> i8 {
        match self.round(accumulator) {
            Some(rounded) => output.saturate(rounded),
            None => output.exact(accumulator, multiplier),
        }
    }
}

/// A [`Scale`] whose products need no more than their upper 32 bits, and the zero point.
///
/// With `h` the upper half of the product with `factor`, plus `start`, the output is `h >> shift`, saturated, unless the lower `shift`
/// bits of `h`, moved to the top of a word, are at most `window`: then the product is too near to a tie.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct High {
    pub(crate) factor: i32,
    pub(crate) shift: u32,
    pub(crate) start: i32,
    pub(crate) window: u32,
}

impl High {
    /// The contract for `multiplier`, which this scale was made from; saturates, but does not apply `output`'s bounds.
    #[inline(always)]
    #[cfg_attr(kinglet_armv7m, allow(dead_code))]
    pub(crate) fn requantize(&self, accumulator: i32, multiplier: f32, output: &Output) -> i8 {
        let product = i64::from(accumulator).wrapping_mul(self.factor.into());
        let high = ((product >> 32) as i32).wrapping_add(self.start);
        if (high as u32) << ((32 - self.shift) & 31) <= self.window {
            return output.exact(accumulator, multiplier);
        }
        (high >> (self.shift & 31)).clamp(i8::MIN.into(), i8::MAX.into()) as i8
    }
}

/// `whole + fraction` rounded to nearest; `None` within half of `window` units around the tie.
#[inline(always)]
fn nearest(whole: i32, fraction: u32, window: u32) -> Option<i32> {
    // The window starts at 0, and what lies above the tie carries.
    let (distance, carry) = fraction.overflowing_add((1 << 31) + window / 2);
    if distance <= window {
        return None;
    }
    Some(whole.wrapping_add(carry.into()))
}

/// The multipliers of four channels for the hot loops: `m ≈ factor·2⁻³²`, with no shift.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Block {
    /// What is added to the fraction: `2³¹ + window/2`.
    pub half: u32,
    /// The sum of fraction and `half` is at most this when the fraction is too near to a tie.
    pub window: u32,
    /// `⌊m·2³²⌋`.
    pub factors: [i32; 4],
}

impl Block {
    /// No multipliers: nothing is decided.
    pub(crate) const NONE: Block = Block {
        half: u32::MAX,
        window: UNDECIDED,
        factors: [0; 4],
    };

    /// For channels with these multipliers, whose sums begin with `bias` and have `taps` products.
    pub fn new(multipliers: &[f32; 4], bias: &[i32; 4], taps: usize, output: &Output) -> Self {
        let mut window = 0;
        let mut factors = [0; 4];
        // No product of two bytes is greater than 2¹⁴.
        let products = u32::try_from(taps)
            .unwrap_or(u32::MAX)
            .saturating_mul(1 << 14);
        for ((factor, multiplier), bias) in factors.iter_mut().zip(multipliers).zip(bias) {
            let (mantissa, shift) = parts(*multiplier);
            let needed = if shift < 32 {
                *factor = (mantissa >> shift) as i32;
                // The factor is less than 1 too small, so `q` is off by less than the accumulator. That is at most 257/m, which
                // is below 257·2³²/factor, or else saturates.
                let saturating = 514u32
                    .checked_shl(shift + 1)
                    .filter(|s| s >> (shift + 1) == 514);
                // What a sum can be where it matters: with this zero point, one that is negative comes out as the zero point,
                // however far off.
                let largest = if output.zero_point == i8::MIN.into() {
                    bias.saturating_add_unsigned(products).max(0).unsigned_abs()
                } else {
                    products.saturating_add(bias.unsigned_abs())
                };
                largest
                    .min(saturating.unwrap_or(u32::MAX))
                    .saturating_add(ROUNDINGS)
            } else if shift <= 125 {
                0
            } else {
                u32::MAX
            };
            window = needed.max(window);
        }
        let window = both_sides(window);
        Block {
            half: (1 << 31) + window / 2,
            window,
            factors,
        }
    }

    /// The contract for channel `channel & 3`, whose multiplier is `multiplier`.
    #[inline(always)]
    pub fn requantize(
        &self,
        channel: usize,
        accumulator: i32,
        multiplier: f32,
        output: &Output,
    ) -> i8 {
        let factor = self.factors[channel & 3];
        let product = i64::from(accumulator).wrapping_mul(factor.into());
        let (distance, carry) = (product as u32).overflowing_add(self.half);
        if distance <= self.window {
            return output.exact(accumulator, multiplier);
        }
        output.saturate(((product >> 32) as i32).wrapping_add(carry.into()))
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn contract(accumulator: i32, multiplier: f32, output: &Output) -> i8 {
        output.quantize(accumulator as f32 * multiplier)
    }

    /// Compares both forms with the contract; whether integers decided.
    fn check(accumulator: i32, multiplier: f32, output: &Output, taps: usize) -> bool {
        let want = contract(accumulator, multiplier, output);
        let scale = Scale::new(multiplier);
        let context = (accumulator, multiplier, multiplier.to_bits());
        assert_eq!(
            scale.requantize(accumulator, multiplier, output),
            want,
            "{context:?}"
        );
        if let Some(high) = scale.high(output.zero_point) {
            let mut got = [high.requantize(accumulator, multiplier, output)];
            output.clamp(&mut got);
            assert_eq!(got, [want], "{context:?} in the upper half");
        }
        // The bias is what the products do not explain.
        let products = 1i32
            .checked_shl(14)
            .and_then(|p| p.checked_mul(taps as i32))
            .unwrap_or(i32::MAX);
        let bias = match accumulator {
            a if a > products => a - products,
            a if a < -products => a + products,
            _ => 0,
        };
        let block = Block::new(
            &[0.25, multiplier, 1e-6, 0.003],
            &[3, bias, -9, 0],
            taps,
            output,
        );
        let got = block.requantize(1, accumulator, multiplier, output);
        assert_eq!(got, want, "{context:?} {block:?}");
        scale.round(accumulator).is_some()
    }

    /// Multipliers of every magnitude, mantissas random or with few bits.
    fn multiplier() -> impl Strategy<Value = f32> {
        let mantissa = prop_oneof![
            0u32..1 << 23,
            (0u32..8).prop_map(|m| m << 20),
            (0u32..8).prop_map(|m| (1 << 23) - 1 - m),
        ];
        (mantissa, 90u32..=127).prop_map(|(m, e)| f32::from_bits(e << 23 | m))
    }

    fn output() -> impl Strategy<Value = Output> {
        let bounds = prop_oneof![Just((-128, 127)), (-128..=127, -128..=127)];
        (-128i32..=127, bounds).prop_map(|(zero, (a, b))| Output::new(zero, a.min(b), a.max(b)))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200_000))]

        #[test]
        fn any_accumulator_gives_the_contract_s_byte(acc: i32, shift in 0u32..32, m in multiplier(), out in output(), taps in 1usize..5000) {
            check(acc >> shift, m, &out, taps);
        }

        #[test]
        fn accumulators_next_to_ties_give_the_contract_s_byte(
            twice in -520i32..520, off in -40i32..=40, m in multiplier(), out in output(), taps in 1usize..5000,
        ) {
            // The accumulators whose product is nearest to a tie (or an integer).
            let acc = (f64::from(twice) / 2.0 / f64::from(m)).round() + f64::from(off);
            if acc.abs() < 2147483648.0 {
                check(acc as i32, m, &out, taps);
            }
        }

        #[test]
        fn any_bits_of_a_multiplier_give_the_contract_s_byte(acc: i32, shift in 0u32..32, bits: u32, out in output()) {
            check(acc >> shift, f32::from_bits(bits), &out, 100);
        }

        #[test]
        fn sums_of_two_bytes_give_the_contract_s_byte(a: i8, b: i8, fa in -(1i32 << 21)..1 << 21, off in -(1i32 << 29)..1 << 29, m in 1f32..8.0, out in output()) {
            let sum = i32::from(a) * (1 << 21) + i32::from(b) * fa + off;
            check(sum, m / (1 << 21) as f32, &out, 1);
        }
    }

    #[test]
    fn all_accumulators_around_saturation_and_every_power_of_two() {
        let out = Output::saturating(-128);
        for exponent in 90..128u32 {
            for mantissa in [0, 1, 0x2a_aaaa, 0x40_0000, 0x55_5555, 0x7f_fffe, 0x7f_ffff] {
                let m = f32::from_bits(exponent << 23 | mantissa);
                for edge in [
                    -257.0, -256.5, -256.0, -0.5, 0.5, 127.5, 128.5, 254.5, 255.5, 256.0, 257.0,
                    258.0,
                ] {
                    let center =
                        f64::from(edge as f32 / m).clamp(-2147483000.0, 2147483000.0) as i32;
                    for acc in center - 64..=center + 64 {
                        check(acc, m, &out, 64);
                    }
                }
                for acc in (0..31)
                    .map(|b| 1i32 << b)
                    .flat_map(|p| [p, -p, p - 1, 1 - p, p + 1])
                {
                    check(acc, m, &out, 64);
                }
                for acc in [i32::MIN, i32::MIN + 1, i32::MAX, i32::MAX - 1] {
                    check(acc, m, &out, 64);
                }
            }
        }
    }

    #[test]
    fn integers_nearly_always_decide() {
        let out = Output::saturating(5);
        let mut slow = Vec::new();
        for exponent in [105, 110, 113, 116, 119, 122] {
            let m = f32::from_bits(exponent << 23 | 0x2c_e4a1);
            let bound = (256.0 / m) as i32;
            let decided = (0..20_000i32)
                .filter(|i| check((i - 10_000) * (bound / 10_000) + 3 * (i % 7), m, &out, 64))
                .count();
            slow.push(20_000 - decided);
        }
        assert!(slow.iter().all(|&n| n < 20), "{slow:?}");
        // In blocks with ordinary multipliers, too.
        let block = Block::new(&[0.002, 0.001, 0.004, 0.0005], &[1000; 4], 576, &out);
        assert!(block.window < 1 << 22, "{block:?}");
        // Nor does one that training has switched off.
        let relu = Output::saturating(-128);
        let block = Block::new(
            &[0.002, 3e-8, 0.0, 0.0005],
            &[1000, -(1 << 30), 7, 0],
            576,
            &relu,
        );
        assert!(block.window < 1 << 24, "{block:?}");
        // A channel of tiny weights does not spoil its neighbours.
        let block = Block::new(
            &[0.002, 1e-11, 0.0, 0.0005],
            &[1000, i32::MAX, 7, 0],
            64,
            &out,
        );
        assert!(block.window < 1 << 22, "{block:?}");
    }

    #[test]
    fn multipliers_without_a_factor_are_left_to_floats() {
        let out = Output::new(3, -100, 90);
        for m in [
            0.5,
            1.0,
            3.0e38,
            f32::INFINITY,
            f32::NAN,
            -0.25,
            -0.0,
            f32::NEG_INFINITY,
        ] {
            assert_eq!(Scale::new(m).round(100), None, "{m}");
            assert_eq!(
                Block::new(&[m; 4], &[0; 4], 9, &out).window,
                u32::MAX,
                "{m}"
            );
        }
        for m in [0.0, 1e-40, 1e-11] {
            assert_eq!(Scale::new(m).round(i32::MIN), Some(0), "{m}");
        }
        for m in [0.5, f32::NAN, -0.25, 0.0, 1e-40] {
            for acc in [-300, -1, 0, 1, 300] {
                check(acc, m, &out, 9);
            }
        }
    }
}
