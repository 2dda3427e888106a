//! Numbers of TensorFlow Lite's rounding, as its interpreter prepares them: multipliers, bounds, tables.
//!
//! Everything that an interpreter computes before its kernels run is computed here, in the same precision, so that the device only
//! rescales sums: see [`kinglet::requantize::tflite`].

use super::CompileError;
use super::weights::{Affine, function, integer};
use crate::graph::{Clamp, Unary};
use kinglet::format;
use kinglet::requantize::tflite::{
    LEAST_SHIFT, MOST_SHIFT, Rescale, divide_by_power, high_product,
};
use zerocopy::little_endian::F64;

/// A multiplier: 31 bits of its mantissa, and its exponent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Fixed {
    pub(super) multiplier: i32,
    pub(super) shift: i32,
}

impl Fixed {
    /// The nearest one to `real`; zero where that is below 2⁻³². `None` for negative, infinite and huge numbers.
    pub(super) fn new(real: f64) -> Option<Fixed> {
        const ZERO: Fixed = Fixed {
            multiplier: 0,
            shift: 0,
        };
        if real == 0.0 {
            return Some(ZERO);
        }
        if !(real > 0.0 && real.is_finite()) {
            return None;
        }
        let nearest = Fixed::nearest(real);
        match nearest.shift {
            ..LEAST_SHIFT => Some(ZERO),
            LEAST_SHIFT..=MOST_SHIFT => Some(nearest),
            _ => None,
        }
    }

    /// The nearest one to a positive number, whatever its shift.
    fn nearest(real: f64) -> Fixed {
        let (mantissa, shift) = libm::frexp(real);
        let multiplier = (mantissa * 2f64.powi(31)).round() as i64;
        match multiplier == 1 << 31 {
            true => Fixed {
                multiplier: 1 << 30,
                shift: shift + 1,
            },
            false => Fixed {
                multiplier: multiplier as i32,
                shift,
            },
        }
    }

    /// `new`, with an error that names the node.
    pub(super) fn of(node: &str, operator: &'static str, real: f64) -> Result<Fixed, CompileError> {
        Fixed::new(real).ok_or_else(|| CompileError::Unsupported {
            node: node.into(),
            operator,
            reason: format!("TensorFlow Lite has no fixed-point multiplier for {real:e}"),
        })
    }

    /// This one divided by a number of elements, as a mean takes it.
    pub(super) fn divided(self, count: usize) -> Fixed {
        let count = (count as u64).max(1);
        let shift = (count.ilog2() as i32).min(32).min(31 + self.shift);
        Fixed {
            multiplier: ((i64::from(self.multiplier) << shift) / count as i64) as i32,
            shift: self.shift - shift,
        }
    }

    pub(super) fn record(self) -> format::Rescale {
        format::Rescale {
            multiplier: self.multiplier.into(),
            shift: self.shift.into(),
        }
    }

    fn apply(self, x: i32) -> i32 {
        Rescale::new(self.multiplier, self.shift).apply(x)
    }
}

/// `s_x·s_w/s_y` for each output channel.
pub(super) fn layer_scales(x: f32, w: &[f32], y: f32, channels: usize) -> Vec<f64> {
    let one = |w: &f32| f64::from(x) * f64::from(*w) / f64::from(y);
    match w {
        [w] => vec![one(w); channels],
        _ => w.iter().map(one).collect(),
    }
}

/// A layer's multipliers, one an output channel.
#[derive(Clone)]
pub(super) enum Scales {
    /// Of convolutions.
    Fixed(Vec<format::Rescale>),
    /// Of fully connected layers.
    Double(Vec<F64>),
}

/// Multipliers of a sum: of both operands and of the result.
pub(super) fn sum_scales(a: f32, b: f32, y: f32) -> [f64; 3] {
    let twice = 2.0 * f64::from(a.max(b));
    let shifted = f64::from((1i32 << kinglet::kernels::SUM_SHIFT) as f32 * y);
    [f64::from(a) / twice, f64::from(b) / twice, twice / shifted]
}

/// `real / scale` as a byte, ties away from zero.
fn quantize(y: Affine, real: f32) -> i32 {
    let steps = f64::from((real / y.scale).round()) + f64::from(y.zero_point);
    steps.clamp(-128.0, 127.0) as i32
}

/// Output bounds that a fused activation means.
pub(super) fn bounds(y: Affine, clamp: Clamp) -> (i32, i32) {
    (quantize(y, clamp.min), quantize(y, clamp.max))
}

/// Output byte for each input byte of a function.
///
/// ReLU's relatives, LeakyReLU and HardSwish are integer arithmetic; the others are tables in single precision there, too.
/// `None` where a multiplier cannot be written.
pub(super) fn table(
    unary: Unary,
    x: Affine,
    input_signed: bool,
    y: Affine,
    output_signed: bool,
) -> Option<[u8; 256]> {
    let result: Box<dyn Fn(i32) -> i32> = match unary {
        Unary::Clamp(clamp) => {
            let scale = Fixed::new((x.scale / y.scale).into())?;
            // Bounds of unsigned bytes are those of signed ones, shifted by 128.
            let center = if output_signed { 0 } else { 128 };
            let signed = Affine {
                zero_point: y.zero_point - center,
                ..y
            };
            let (min, max) = bounds(signed, clamp);
            Box::new(move |q| (scale.apply(q) + y.zero_point).clamp(min + center, max + center))
        }
        Unary::LeakyRelu { alpha } => {
            let below = Fixed::new((x.scale * alpha / y.scale).into())?;
            let above = Fixed::new((x.scale / y.scale).into())?;
            Box::new(move |q| if q >= 0 { above } else { below }.apply(q) + y.zero_point)
        }
        Unary::HardSwish => Box::new(hard_swish(x.scale, y)?),
        other => {
            let (f, inverse) = (precise(other), 1.0 / y.scale);
            Box::new(move |q| {
                let steps = (f(x.scale * q as f32) * inverse).round();
                (f64::from(steps) + f64::from(y.zero_point)).clamp(-256.0, 511.0) as i32
            })
        }
    };
    Some(bytes(x, input_signed, output_signed, result))
}

/// Output byte for each input byte of a change of scale.
pub(super) fn requantize_table(
    x: Affine,
    input_signed: bool,
    y: Affine,
    output_signed: bool,
) -> Option<[u8; 256]> {
    let scale = Fixed::new(f64::from(x.scale) / f64::from(y.scale))?;
    let result = move |q| scale.apply(q) + y.zero_point;
    Some(bytes(x, input_signed, output_signed, result))
}

/// `result` of each byte less its zero point, saturated.
fn bytes(
    x: Affine,
    input_signed: bool,
    output_signed: bool,
    result: impl Fn(i32) -> i32,
) -> [u8; 256] {
    std::array::from_fn(|byte| {
        let q = integer(byte as u8, input_signed);
        let (min, max) = if output_signed { (-128, 127) } else { (0, 255) };
        result(q - x.zero_point).clamp(min, max) as u8
    })
}

/// The function as a C library computes it in single precision: correctly rounded but in rare cases.
fn precise(unary: Unary) -> impl Fn(f32) -> f32 {
    let ours = function(unary);
    move |x| match unary {
        Unary::Sigmoid => 1.0 / (1.0 + libm::exp(-f64::from(x)) as f32),
        Unary::Tanh => libm::tanh(x.into()) as f32,
        Unary::Exp => libm::exp(x.into()) as f32,
        Unary::Log => libm::log(x.into()) as f32,
        _ => ours(x),
    }
}

/// `x·ReLU6(x + 3)/6` in 16-bit fixed point, of a byte less its zero point.
fn hard_swish(scale: f32, y: Affine) -> Option<impl Fn(i32) -> i32> {
    let half = |fixed: Fixed| {
        let wide = i64::from(fixed.multiplier);
        (((wide + (1 << 15)) >> 16).min(i16::MAX.into())) as i16
    };
    let fine = 1.0f32 / 128.0 * scale;
    let to_output = Fixed::new((fine / y.scale).into())?;
    let to_unit = Fixed::new((fine / (3.0f32 / 32768.0)).into())?;
    let (factor, unit) = (half(to_output), half(to_unit));
    let rounded = |a: i16, b: i16| -> i16 {
        let product = i32::from(a) * i32::from(b);
        let nudge = if product >= 0 { 1 << 14 } else { 1 - (1 << 14) };
        ((product + nudge) / (1 << 15)).min(i16::MAX.into()) as i16
    };
    let left = |x: i16, bits: i32| -> i16 {
        let wide = i64::from(x) << bits.clamp(0, 31);
        wide.clamp(i16::MIN.into(), i16::MAX.into()) as i16
    };
    let right = |x: i16, bits: i32| divide_by_power(x.into(), bits.clamp(0, 31) as u32) as i16;
    Some(move |q: i32| {
        let x = (q * 128) as i16;
        let scaled = rounded(x, factor);
        let mut gate = x;
        if to_unit.shift > 0 {
            gate = left(gate, to_unit.shift - 1);
        }
        gate = rounded(gate, unit);
        if to_unit.shift > 0 {
            gate = left(gate, 1);
        }
        if to_unit.shift < 0 {
            gate = right(gate, -to_unit.shift);
        }
        let gate = ((i32::from(gate) + (1 << 15)) >> 1) as i16;
        // Towards zero, so that the roundings above do not add up to a bias.
        let product = (i32::from(gate) * i32::from(scaled)) / (1 << 15);
        i32::from(right(product as i16, -to_output.shift)) + y.zero_point
    })
}

/// Bits before the point of what an exponential is taken of.
const DIFFERENCE_BITS: i32 = 5;

/// `e^(−i·scale)` with 31 bits behind the point for each distance `i` between two bytes; 0 where the distance is too large for the
/// fixed point. `None` where the scale cannot be written.
pub(super) fn exponentials(scale: f32) -> Option<[i32; 256]> {
    let most = 2f64.powi(31) - 1.0;
    let real = (f64::from(scale) * 2f64.powi(31 - DIFFERENCE_BITS)).min(most);
    if real <= 1.0 {
        return None;
    }
    // It may be as large as 2³¹, where the multiplier is used for a distance of 0 alone.
    let Fixed { multiplier, shift } = Fixed::nearest(real);
    let radius =
        (f64::from((1 << DIFFERENCE_BITS) - 1) * 2f64.powi(31 - DIFFERENCE_BITS - shift)).floor();
    Some(std::array::from_fn(|i| {
        if i as f64 > radius {
            return 0;
        }
        let difference = (-(i as i32)).wrapping_shl(shift as u32);
        exponential(high_product(difference, multiplier))
    }))
}

/// `e^x` for `x ≤ 0` with 26 bits behind the point, to 31 bits behind it: a polynomial for the part of a quarter, times a constant for each
/// bit of the rest, as gemmlowp has it.
fn exponential(x: i32) -> i32 {
    if x == 0 {
        return i32::MAX;
    }
    let quarter = 1i32 << (31 - DIFFERENCE_BITS - 2);
    let part = (x & (quarter - 1)) - quarter;
    let rest = part.wrapping_sub(x);
    let mut result = exponential_within_quarter(part << DIFFERENCE_BITS);
    for (bit, factor) in [
        (24, 1_672_461_947),
        (25, 1_302_514_674),
        (26, 790_015_084),
        (27, 290_630_308),
        (28, 39_332_535),
        (29, 720_401),
        (30, 242),
    ] {
        if rest & (1 << bit) != 0 {
            result = high_product(result, factor);
        }
    }
    result
}

/// `e^x` for `−1/4 ≤ x < 0`, both with 31 bits behind the point: four terms of the series around −1/8.
fn exponential_within_quarter(x: i32) -> i32 {
    const AT_EIGHTH: i32 = 1_895_147_668;
    const THIRD: i32 = 715_827_883;
    let x = x + (1 << 28);
    let square = high_product(x, x);
    let cube = high_product(square, x);
    let fourth = divide_by_power(high_product(square, square), 2);
    let tail = divide_by_power(high_product(fourth + cube, THIRD) + square, 1);
    AT_EIGHTH + high_product(AT_EIGHTH, x + tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn multipliers_are_mantissa_and_exponent() {
        for (real, multiplier, shift) in [
            (0.5, 1 << 30, 0),
            (1.0, 1 << 30, 1),
            (0.75, 3 << 29, 0),
            (6.0, 3 << 29, 3),
            (2f64.powi(-32), 1 << 30, -31),
            (2f64.powi(-33), 0, 0),
            (0.0, 0, 0),
            // Rounds up to the next power of two.
            (1.0 - 2f64.powi(-40), 1 << 30, 1),
        ] {
            let found = Fixed::new(real).unwrap();
            assert_eq!(
                (found.multiplier, found.shift),
                (multiplier, shift),
                "{real}"
            );
        }
        for wrong in [-1.0, f64::NAN, f64::INFINITY, 1e10] {
            assert_eq!(Fixed::new(wrong), None);
        }
    }

    #[test]
    fn a_mean_divides_its_multiplier() {
        let one = Fixed::new(1.0).unwrap();
        let divided = one.divided(49);
        // 2³⁰·2⁵/49, towards zero.
        assert_eq!((divided.multiplier, divided.shift), (701_219_150, 1 - 5));
        assert_eq!(one.divided(1), one);
    }

    #[test]
    fn exponentials_are_near_the_real_ones() {
        for scale in [1e-4f32, 0.01, 0.1, 0.7, 3.0, 40.0] {
            let table = exponentials(scale).unwrap();
            assert_eq!(table[0], i32::MAX);
            for (i, &y) in table.iter().enumerate() {
                let want = (-f64::from(scale) * i as f64).exp();
                let y = f64::from(y) / 2f64.powi(31);
                assert!((y - want).abs() < 1e-6, "{scale} {i}: {y} {want}");
            }
        }
        assert_eq!(exponentials(1e-10), None);
    }

    #[test]
    fn bounds_round_half_away_from_zero() {
        let y = |scale, zero_point| Affine { scale, zero_point };
        let relu6 = Clamp { min: 0.0, max: 6.0 };
        // 6/4 = 1.5 and 6/2.4 = 2.5.
        assert_eq!(bounds(y(4.0, -128), relu6), (-128, -126));
        assert_eq!(bounds(y(2.4, -128), relu6), (-128, -125));
        assert_eq!(bounds(y(0.1, 5), Clamp::NONE), (-128, 127));
    }

    #[test]
    fn tables_are_near_the_real_functions() {
        let x = Affine {
            scale: 0.04,
            zero_point: -5,
        };
        let y = Affine {
            scale: 0.03,
            zero_point: 7,
        };
        for unary in [
            Unary::Clamp(Clamp { min: 0.0, max: 2.0 }),
            Unary::LeakyRelu { alpha: 0.3 },
            Unary::HardSwish,
            Unary::Sigmoid,
            Unary::Tanh,
        ] {
            let table = table(unary, x, true, y, true).unwrap();
            let f = function(unary);
            for q in -128..=127i32 {
                let want = f64::from(f(x.dequantize(q)) / y.scale) + f64::from(y.zero_point);
                let found = f64::from(table[usize::from(q as i8 as u8)] as i8);
                let off = (found - want.clamp(-128.0, 127.0)).abs();
                assert!(off < 1.1, "{unary:?} {q}: {found} {want}");
            }
        }
    }
}
