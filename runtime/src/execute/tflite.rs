//! Operators in TensorFlow Lite's rounding.

use super::{Weight, binary, convolve, typed, typed_mut};
use crate::arena::{copy, part, part_mut, parts};
use crate::format::{self, OpCode, Span};
use crate::kernels::{self, Geometry, Term, Tflite};
use crate::requantize::tflite::{Bounds, Rescale};
use crate::step::Step;
use zerocopy::little_endian::F64;
use zerocopy::{FromBytes, Immutable, KnownLayout};

/// Runs one step. The match arms of operators outside `OPS` vanish, and their kernels with them.
#[inline(never)]
pub(super) fn execute<const OPS: u128>(
    step: &Step<'_>,
    data: &[u8],
    arena: &mut [u8],
) -> Option<()> {
    use OpCode as O;
    let linked = |op: OpCode| OPS & op.bit() != 0;
    match step.code {
        O::ConvI8Tflite if linked(O::ConvI8Tflite) => conv::<i8>(step, data, arena, false),
        O::ConvI8W16Tflite if linked(O::ConvI8W16Tflite) => conv::<i16>(step, data, arena, false),
        O::DepthwiseI8Tflite if linked(O::DepthwiseI8Tflite) => conv::<i8>(step, data, arena, true),
        O::DepthwiseI8W16Tflite if linked(O::DepthwiseI8W16Tflite) => {
            conv::<i16>(step, data, arena, true)
        }
        O::FullyConnectedI8Tflite if linked(O::FullyConnectedI8Tflite) => {
            dense::<i8>(step, data, arena)
        }
        O::FullyConnectedI8W16Tflite if linked(O::FullyConnectedI8W16Tflite) => {
            dense::<i16>(step, data, arena)
        }
        O::AddI8Tflite if linked(O::AddI8Tflite) => add(step, data, arena),
        O::MulI8Tflite if linked(O::MulI8Tflite) => mul(step, data, arena),
        O::AveragePoolI8Tflite if linked(O::AveragePoolI8Tflite) => average_pool(step, arena),
        O::MeanI8Tflite if linked(O::MeanI8Tflite) => mean(step, arena),
        O::SoftmaxI8Tflite if linked(O::SoftmaxI8Tflite) => softmax(step, data, arena),
        O::QuantizeTflite if linked(O::QuantizeTflite) => quantize(step, arena),
        _ => None,
    }
}

fn layer<'d, W: Weight, S: FromBytes + Immutable + KnownLayout>(
    data: &'d [u8],
    p: &format::Int8,
    [weights, bias, scales]: [Span; 3],
) -> Option<Tflite<'d, W, S>> {
    Some(Tflite {
        weights: typed(part(data, weights)?)?,
        input_zero_point: p.input_zero_point.get(),
        bias: typed(part(data, bias)?)?,
        scales: typed(part(data, scales)?)?,
        output: Bounds::from(p),
    })
}

#[inline(always)]
fn conv<W: Weight>(step: &Step<'_>, data: &[u8], arena: &mut [u8], depthwise: bool) -> Option<()> {
    let p = step.parameters::<format::ConvI8>()?;
    let layer = layer::<W, format::Rescale>(data, &p.int8, [p.weights, p.bias, p.multipliers])?;
    convolve(step, arena, &p.window, p.groups.get(), depthwise, &layer)
}

fn dense<W: Weight>(step: &Step<'_>, data: &[u8], arena: &mut [u8]) -> Option<()> {
    let p = step.parameters::<format::FullyConnectedI8>()?;
    let (x, y) = parts(arena, step.input, step.output)?;
    let layer = layer::<W, F64>(data, &p.int8, [p.weights, p.bias, p.multipliers])?;
    let [_, inputs, outputs] = p.shape.map(|d| d.get() as usize);
    kernels::dense(inputs, outputs, &layer, typed(x)?, typed_mut(y)?)
}

fn add(step: &Step<'_>, data: &[u8], arena: &mut [u8]) -> Option<()> {
    let p = step.parameters::<format::AddI8Tflite>()?;
    let (y, b) = binary(step, &p.b, data, arena)?;
    let ([sign, sign_b], [scale, scale_b]) = (&p.signs, &p.scales);
    let terms = [
        Term {
            zero_point: p.int8.input_zero_point.get(),
            sign: sign.get(),
            scale: Rescale::from(scale),
        },
        Term {
            zero_point: p.b_zero_point.get(),
            sign: sign_b.get(),
            scale: Rescale::from(scale_b),
        },
    ];
    kernels::add_i8_tflite(
        typed_mut(y)?,
        typed(b)?,
        p.b.repeat.get() as usize,
        &terms,
        Rescale::from(&p.rescale),
        Bounds::from(&p.int8),
    )
}

fn mul(step: &Step<'_>, data: &[u8], arena: &mut [u8]) -> Option<()> {
    let p = step.parameters::<format::MulI8Tflite>()?;
    let (y, b) = binary(step, &p.b, data, arena)?;
    let zero_points = (p.int8.input_zero_point.get(), p.b_zero_point.get());
    kernels::mul_i8_tflite(
        typed_mut(y)?,
        typed(b)?,
        p.b.repeat.get() as usize,
        zero_points,
        Rescale::from(&p.rescale),
        Bounds::from(&p.int8),
    )
}

fn average_pool(step: &Step<'_>, arena: &mut [u8]) -> Option<()> {
    let p = step.parameters::<format::Pool>()?;
    let (x, y) = parts(arena, step.input, step.output)?;
    kernels::average_pool_i8_tflite(
        &Geometry::new(&p.window)?,
        p.divisor.get() as usize,
        p.int8.input_zero_point.get(),
        Bounds::from(&p.int8),
        typed(x)?,
        typed_mut(y)?,
    )
}

fn mean(step: &Step<'_>, arena: &mut [u8]) -> Option<()> {
    let p = step.parameters::<format::MeanI8Tflite>()?;
    let (x, y) = parts(arena, step.input, step.output)?;
    kernels::mean_i8_tflite(
        &Geometry::new(&p.window)?,
        p.int8.input_zero_point.get(),
        Rescale::from(&p.rescale),
        Bounds::from(&p.int8),
        typed(x)?,
        typed_mut(y)?,
    )
}

fn softmax(step: &Step<'_>, data: &[u8], arena: &mut [u8]) -> Option<()> {
    let p = step.parameters::<format::SoftmaxI8Tflite>()?;
    copy(arena, step.input, step.output)?;
    let y = typed_mut(part_mut(arena, step.output)?)?;
    let table = typed(part(data, p.table)?)?.try_into().ok()?;
    kernels::softmax_i8_tflite(y, p.row.get() as usize, table)
}

fn quantize(step: &Step<'_>, arena: &mut [u8]) -> Option<()> {
    let p = step.parameters::<format::Affine>()?;
    let (x, y) = parts(arena, step.input, step.output)?;
    let output = Bounds::new(p.zero_point.get(), i8::MIN.into(), i8::MAX.into());
    kernels::quantize_tflite(typed(x)?, p.scale.get(), output, typed_mut(y)?);
    Some(())
}
