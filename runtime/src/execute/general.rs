//! Float operators of larger models: functions, movement, reductions, products, recurrent layers.

use super::{binary_f32, typed, typed_mut, unary_f32};
use crate::arena::{copy, part, part_mut, parts};
use crate::format::{self, OpCode, Operand, Span};
use crate::kernels::{self, Cell, Recurrent, maximum, minimum, truth};
use crate::step::Step;
use zerocopy::little_endian::U32;

/// Operators that are run here.
pub(super) const OPERATORS: u128 = (!0 << 64) & !format::TFLITE_OPS;

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
        O::SqrtF32 if linked(O::SqrtF32) => unary_f32(step, arena, |x, _, _| libm::sqrtf(x)),
        O::ExpF32 if linked(O::ExpF32) => unary_f32(step, arena, |x, _, _| libm::expf(x)),
        O::LogF32 if linked(O::LogF32) => unary_f32(step, arena, |x, _, _| libm::logf(x)),
        O::AbsF32 if linked(O::AbsF32) => unary_f32(step, arena, |x, _, _| libm::fabsf(x)),
        O::ErfF32 if linked(O::ErfF32) => unary_f32(step, arena, |x, _, _| libm::erff(x)),
        O::FloorF32 if linked(O::FloorF32) => unary_f32(step, arena, |x, _, _| libm::floorf(x)),
        O::CeilF32 if linked(O::CeilF32) => unary_f32(step, arena, |x, _, _| libm::ceilf(x)),
        O::RoundF32 if linked(O::RoundF32) => unary_f32(step, arena, |x, _, _| libm::rintf(x)),
        O::SignF32 if linked(O::SignF32) => unary_f32(step, arena, |x, _, _| kernels::sign(x)),
        O::SinF32 if linked(O::SinF32) => unary_f32(step, arena, |x, _, _| libm::sinf(x)),
        O::CosF32 if linked(O::CosF32) => unary_f32(step, arena, |x, _, _| libm::cosf(x)),
        O::MinF32 if linked(O::MinF32) => binary_f32(step, data, arena, minimum),
        O::MaxF32 if linked(O::MaxF32) => binary_f32(step, data, arena, maximum),
        O::PowF32 if linked(O::PowF32) => binary_f32(step, data, arena, libm::powf),
        O::PowOfF32 if linked(O::PowOfF32) => {
            binary_f32(step, data, arena, |a, b| libm::powf(b, a))
        }
        O::DivOfF32 if linked(O::DivOfF32) => binary_f32(step, data, arena, |a, b| b / a),
        O::EqualF32 if linked(O::EqualF32) => binary_f32(step, data, arena, |a, b| truth(a == b)),
        O::LessF32 if linked(O::LessF32) => binary_f32(step, data, arena, |a, b| truth(a < b)),
        O::LessOrEqualF32 if linked(O::LessOrEqualF32) => {
            binary_f32(step, data, arena, |a, b| truth(a <= b))
        }
        O::GreaterF32 if linked(O::GreaterF32) => {
            binary_f32(step, data, arena, |a, b| truth(a > b))
        }
        O::GreaterOrEqualF32 if linked(O::GreaterOrEqualF32) => {
            binary_f32(step, data, arena, |a, b| truth(a >= b))
        }
        O::SelectF32 if linked(O::SelectF32) => select(step, data, arena),
        O::Load if linked(O::Load) => {
            let p = step.parameters::<format::Load>()?;
            let y = part_mut(arena, step.output)?;
            for (y, x) in y.iter_mut().zip(part(data, p.data)?) {
                *y = *x;
            }
            Some(())
        }
        O::StridedF32 if linked(O::StridedF32) => {
            let (x, y) = parts(arena, step.input, step.output)?;
            strided::<u32>(step, typed(x)?, typed_mut(y)?)
        }
        O::StridedI8 if linked(O::StridedI8) => {
            let (x, y) = parts(arena, step.input, step.output)?;
            strided(step, x, y)
        }
        O::Pick if linked(O::Pick) => {
            let p = step.parameters::<format::Pick>()?;
            let (x, y) = parts(arena, step.input, step.output)?;
            let [length, block] = [p.length, p.block].map(|v| v.get() as usize);
            kernels::pick(length, block, typed(part(data, p.indices)?)?, x, y)
        }
        O::GatherF32 if linked(O::GatherF32) => gather(step, data, arena),
        O::ResampleF32 if linked(O::ResampleF32) => {
            let p = step.parameters::<format::ResampleF32>()?;
            let (x, y) = parts(arena, step.input, step.output)?;
            let sizes = [p.length, p.inner, p.taps].map(|v| v.get() as usize);
            let indices: &[U32] = typed(part(data, p.indices)?)?;
            let weights = typed(part(data, p.weights)?)?;
            kernels::resample(sizes, indices, weights, typed(x)?, typed_mut(y)?)
        }
        O::SumF32 if linked(O::SumF32) => reduce(step, arena, |a, b| a + b),
        O::ProductF32 if linked(O::ProductF32) => reduce(step, arena, |a, b| a * b),
        O::LeastF32 if linked(O::LeastF32) => reduce(step, arena, minimum),
        O::GreatestF32 if linked(O::GreatestF32) => reduce(step, arena, maximum),
        O::IndexOfLeastF32 if linked(O::IndexOfLeastF32) => index_of(step, arena, |a, b| a < b),
        O::IndexOfGreatestF32 if linked(O::IndexOfGreatestF32) => {
            index_of(step, arena, |a, b| a > b)
        }
        O::MatMulF32 if linked(O::MatMulF32) => matmul(step, data, arena),
        O::LstmF32 if linked(O::LstmF32) => recurrent(step, Cell::Lstm, data, arena),
        O::GruF32 if linked(O::GruF32) => recurrent(step, Cell::Gru, data, arena),
        O::RnnF32 if linked(O::RnnF32) => recurrent(step, Cell::Plain, data, arena),
        O::IntegersToF32 if linked(O::IntegersToF32) => convert(step, arena, |x: i32| x as f32),
        O::F32ToIntegers if linked(O::F32ToIntegers) => convert(step, arena, |x: f32| x as i32),
        O::BytesToF32 if linked(O::BytesToF32) => convert(step, arena, |x: u8| f32::from(x)),
        O::F32ToBytes if linked(O::F32ToBytes) => convert(step, arena, |x: f32| x as u8),
        _ => None,
    }
}

/// An operand and, apart from it, what is written.
fn operand<'m>(
    constant: U32,
    span: Span,
    output: Span,
    data: &'m [u8],
    arena: &'m mut [u8],
) -> Option<(&'m [f32], &'m mut [f32])> {
    if constant.get() != 0 {
        let y = typed_mut(part_mut(arena, output)?)?;
        return Some((typed(part(data, span)?)?, y));
    }
    let (b, y) = parts(arena, span, output)?;
    Some((typed(b)?, typed_mut(y)?))
}

/// An input, a second operand and, apart from both, what is written.
fn operands<'m>(
    step: &Step<'_>,
    constant: U32,
    span: Span,
    data: &'m [u8],
    arena: &'m mut [u8],
) -> Option<(&'m [f32], &'m [f32], &'m mut [f32])> {
    let output = step.output.range()?;
    // What lies before and behind the output is only read.
    let (before, rest) = arena.split_at_mut_checked(output.start)?;
    let (y, behind) = rest.split_at_mut_checked(output.end.checked_sub(output.start)?)?;
    let (before, behind): (&'m [u8], &'m [u8]) = (before, behind);
    let read = |span: Span| {
        let range = span.range()?;
        match range.end <= output.start {
            true => before.get(range),
            false => {
                let start = range.start.checked_sub(output.end)?;
                behind.get(start..range.end.checked_sub(output.end)?)
            }
        }
    };
    let b = match constant.get() {
        0 => read(span)?,
        _ => part(data, span)?,
    };
    Some((typed(read(step.input)?)?, typed(b)?, typed_mut(y)?))
}

fn select(step: &Step<'_>, data: &[u8], arena: &mut [u8]) -> Option<()> {
    let p = step.parameters::<format::SelectF32>()?;
    copy(arena, step.input, step.output)?;
    let with = |operand: &Operand| {
        (
            operand.constant,
            operand.span,
            operand.repeat.get() as usize,
        )
    };
    let ((constant, a, repeat), (constant_b, b, repeat_b)) = (with(&p.a), with(&p.b));
    let first = Step { input: a, ..*step };
    match (constant.get(), constant_b.get()) {
        (0, _) => {
            let (a, b, y) = operands(&first, constant_b, b, data, arena)?;
            kernels::select_f32(y, (a, repeat), (b, repeat_b))
        }
        _ => {
            let a = typed(part(data, a)?)?;
            let (b, y) = operand(constant_b, b, step.output, data, arena)?;
            kernels::select_f32(y, (a, repeat), (b, repeat_b))
        }
    }
}

fn strided<T: Copy>(step: &Step<'_>, x: &[T], y: &mut [T]) -> Option<()> {
    let p = step.parameters::<format::Strided>()?;
    let dims = p.dims.map(|d| d.get() as usize);
    let strides = p.strides.map(|s| s.get() as isize as usize);
    kernels::strided(dims, strides, p.offset.get() as usize, x, y)
}

fn gather(step: &Step<'_>, data: &[u8], arena: &mut [u8]) -> Option<()> {
    let p = step.parameters::<format::GatherF32>()?;
    let (indices, table, y) = operands(step, p.constant, p.table, data, arena)?;
    let [length, inner] = [p.length, p.inner].map(|v| v.get() as usize);
    kernels::gather(length, inner, indices, table, y)
}

fn reduce(step: &Step<'_>, arena: &mut [u8], next: impl Fn(f32, f32) -> f32) -> Option<()> {
    let p = step.parameters::<format::Reduce>()?;
    let (x, y) = parts(arena, step.input, step.output)?;
    let [length, inner] = [p.length, p.inner].map(|v| v.get() as usize);
    kernels::reduce(length, inner, typed(x)?, typed_mut(y)?, next)
}

fn index_of(step: &Step<'_>, arena: &mut [u8], better: impl Fn(f32, f32) -> bool) -> Option<()> {
    let p = step.parameters::<format::Reduce>()?;
    let (x, y) = parts(arena, step.input, step.output)?;
    let [length, inner] = [p.length, p.inner].map(|v| v.get() as usize);
    kernels::index_of(length, inner, typed(x)?, typed_mut(y)?, better)
}

fn matmul(step: &Step<'_>, data: &[u8], arena: &mut [u8]) -> Option<()> {
    let p = step.parameters::<format::MatMulF32>()?;
    let [_, sizes @ ..] = p.shape.map(|d| d.get() as usize);
    let (a, b, y) = operands(step, p.constant, p.b, data, arena)?;
    kernels::matmul_f32(sizes, p.matrices.get() == 1, a, b, y)
}

fn recurrent(step: &Step<'_>, cell: Cell, data: &[u8], arena: &mut [u8]) -> Option<()> {
    let p = step.parameters::<format::RecurrentF32>()?;
    let (x, initial, y) = operands(step, p.constant, p.initial, data, arena)?;
    let [_, batch, hidden] = p.shape.map(|d| d.get() as usize);
    let layer = Recurrent {
        batch,
        hidden,
        reverse: p.reverse.get() != 0,
        weights: typed(part(data, p.weights)?)?,
        bias: typed(part(data, p.bias)?)?,
    };
    layer.run(cell, x, initial, y)
}

fn convert<X, Y>(step: &Step<'_>, arena: &mut [u8], f: impl Fn(X) -> Y) -> Option<()>
where
    X: Copy + zerocopy::FromBytes + zerocopy::Immutable + zerocopy::KnownLayout,
    Y: zerocopy::FromBytes + zerocopy::IntoBytes + zerocopy::KnownLayout,
{
    let (x, y) = parts(arena, step.input, step.output)?;
    let (x, y): (&[X], &mut [Y]) = (typed(x)?, typed_mut(y)?);
    for (y, x) in y.iter_mut().zip(x) {
        *y = f(*x);
    }
    Some(())
}
