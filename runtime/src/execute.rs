//! Running one step: from its record to its kernel.

mod coded;
mod general;
mod octet;
mod tflite;

use crate::arena::{copy, io_and_scratch, part, part_mut, parts};
use crate::format::{self, OpCode, Operand, Span, Window};
use crate::kernels::helium::{self, Helium};
use crate::kernels::panel;
use crate::kernels::patch::{Packed, Residual};
use crate::kernels::quad::Quad;
use crate::kernels::sparse::Sparse;
use crate::kernels::split::Split;
use crate::kernels::wide::Wide;
use crate::kernels::{self, Arithmetic, Average, DepthwiseLanes, Float, Geometry, Int8, Io};
use crate::requantize::Output;
use crate::step::Step;
use core::num::NonZeroUsize;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bytes as elements; `None` when length or alignment do not fit.
#[inline(always)]
fn typed<T: FromBytes + Immutable + KnownLayout>(bytes: &[u8]) -> Option<&[T]> {
    <[T]>::ref_from_bytes(bytes).ok()
}

#[inline(always)]
fn typed_mut<T: FromBytes + IntoBytes + KnownLayout>(bytes: &mut [u8]) -> Option<&mut [T]> {
    <[T]>::mut_from_bytes(bytes).ok()
}

/// Runs one step. The match arms of operators outside `OPS` vanish, and their kernels with them.
pub(crate) fn execute<const OPS: u128>(
    step: &Step<'_>,
    data: &[u8],
    arena: &mut [u8],
) -> Option<()> {
    use OpCode as O;
    let linked = |op: OpCode| OPS & op.bit() != 0;
    match step.code {
        O::ConvI8 if linked(O::ConvI8) => conv_i8(step, data, arena),
        O::ConvI8Split if linked(O::ConvI8Split) => {
            let p = step.parameters::<format::ConvI8>()?;
            // One instance serves both operators.
            if linked(O::ConvAddI8Split) {
                conv_split::<true>(step, p, None, data, arena)
            } else {
                conv_split::<false>(step, p, None, data, arena)
            }
        }
        O::ConvI8Quad if linked(O::ConvI8Quad) => {
            let p = step.parameters::<format::ConvI8>()?;
            conv_quad(step, p, None, data, arena)
        }
        O::ConvAddI8 if linked(O::ConvAddI8) => {
            let p = step.parameters::<format::ConvAddI8>()?;
            conv_plain(step, &p.conv, Some(&p.residual), data, arena)
        }
        O::ConvAddI8Split if linked(O::ConvAddI8Split) => {
            let p = step.parameters::<format::ConvAddI8>()?;
            conv_split::<true>(step, &p.conv, Some(&p.residual), data, arena)
        }
        O::ConvAddI8Quad if linked(O::ConvAddI8Quad) => {
            let p = step.parameters::<format::ConvAddI8>()?;
            conv_quad(step, &p.conv, Some(&p.residual), data, arena)
        }
        O::ConvI8Helium if linked(O::ConvI8Helium) => {
            let p = step.parameters::<format::ConvI8>()?;
            conv_helium(step, p, None, data, arena)
        }
        O::ConvAddI8Helium if linked(O::ConvAddI8Helium) => {
            let p = step.parameters::<format::ConvAddI8>()?;
            conv_helium(step, &p.conv, Some(&p.residual), data, arena)
        }
        O::DepthwiseI8Helium if linked(O::DepthwiseI8Helium) => depthwise_helium(step, data, arena),
        O::FullyConnectedI8Helium if linked(O::FullyConnectedI8Helium) => {
            dense_helium(step, data, arena)
        }
        O::ConvI8Wide if linked(O::ConvI8Wide) => {
            let p = step.parameters::<format::ConvI8>()?;
            if linked(O::ConvAddI8Wide) {
                conv_wide::<true>(step, p, None, data, arena)
            } else {
                conv_wide::<false>(step, p, None, data, arena)
            }
        }
        O::ConvAddI8Wide if linked(O::ConvAddI8Wide) => {
            let p = step.parameters::<format::ConvAddI8>()?;
            conv_wide::<true>(step, &p.conv, Some(&p.residual), data, arena)
        }
        O::FullyConnectedI8Wide if linked(O::FullyConnectedI8Wide) => {
            let p = step.parameters::<format::FullyConnectedI8>()?;
            dense_packed(
                step,
                p,
                &wide(data, p.weights, p.bias, p.multipliers)?,
                arena,
            )
        }
        O::ConvI8Sparse if linked(O::ConvI8Sparse) => {
            let p = step.parameters::<format::ConvI8>()?;
            conv_sparse(step, p, None, data, arena)
        }
        O::ConvAddI8Sparse if linked(O::ConvAddI8Sparse) => {
            let p = step.parameters::<format::ConvAddI8>()?;
            conv_sparse(step, &p.conv, Some(&p.residual), data, arena)
        }
        O::FullyConnectedI8Sparse if linked(O::FullyConnectedI8Sparse) => {
            dense_sparse(step, data, arena)
        }
        O::ConvI8Octet if linked(O::ConvI8Octet) => octet::conv(step, data, arena),
        O::ConvAddI8Octet if linked(O::ConvAddI8Octet) => octet::conv_add(step, data, arena),
        O::DepthwiseI8Octet if linked(O::DepthwiseI8Octet) => octet::depthwise(step, data, arena),
        O::FullyConnectedI8Octet if linked(O::FullyConnectedI8Octet) => {
            octet::dense(step, data, arena)
        }
        O::ConvI8W16 if linked(O::ConvI8W16) => conv_reference::<i16>(step, data, arena, false),
        O::ConvF32 if linked(O::ConvF32) => conv_f32(step, data, arena, false),
        O::ConvF32Panel if linked(O::ConvF32Panel) => conv_panel(step, data, arena),
        O::DepthwiseI8 if linked(O::DepthwiseI8) => conv_reference::<i8>(step, data, arena, true),
        O::DepthwiseI8Planes if linked(O::DepthwiseI8Planes) => {
            depthwise_planes::<false>(step, data, arena)
        }
        O::DepthwiseI8Small if linked(O::DepthwiseI8Small) => {
            depthwise_planes::<true>(step, data, arena)
        }
        O::DepthwiseI8W16 if linked(O::DepthwiseI8W16) => {
            conv_reference::<i16>(step, data, arena, true)
        }
        O::DepthwiseF32 if linked(O::DepthwiseF32) => conv_f32(step, data, arena, true),
        O::FullyConnectedI8 if linked(O::FullyConnectedI8) => dense_i8::<i8>(step, data, arena),
        O::FullyConnectedI8W16 if linked(O::FullyConnectedI8W16) => {
            dense_i8::<i16>(step, data, arena)
        }
        O::FullyConnectedI8Split if linked(O::FullyConnectedI8Split) => {
            let p = step.parameters::<format::FullyConnectedI8>()?;
            dense_split(step, p, data, arena)
        }
        O::FullyConnectedI8Quad if linked(O::FullyConnectedI8Quad) => dense_quad(step, data, arena),
        O::FullyConnectedF32 if linked(O::FullyConnectedF32) => dense_f32(step, data, arena),
        O::FullyConnectedF32Panel if linked(O::FullyConnectedF32Panel) => {
            dense_panel(step, data, arena)
        }
        O::AddI8 if linked(O::AddI8) => add_i8(step, data, arena),
        O::MulI8 if linked(O::MulI8) => mul_i8(step, data, arena),
        O::AddF32 if linked(O::AddF32) => binary_f32(step, data, arena, |a, b| a + b),
        O::SubF32 if linked(O::SubF32) => binary_f32(step, data, arena, |a, b| a - b),
        O::MulF32 if linked(O::MulF32) => binary_f32(step, data, arena, |a, b| a * b),
        O::DivF32 if linked(O::DivF32) => binary_f32(step, data, arena, |a, b| a / b),
        O::AveragePoolI8 if linked(O::AveragePoolI8) => average_pool_i8(step, arena),
        O::AveragePoolF32 if linked(O::AveragePoolF32) => average_pool_f32(step, arena),
        O::MaxPoolI8 if linked(O::MaxPoolI8) => max_pool_i8(step, arena),
        O::MaxPoolF32 if linked(O::MaxPoolF32) => max_pool_f32(step, arena),
        O::LookupI8 if linked(O::LookupI8) => lookup_i8(step, data, arena),
        O::ClampF32 if linked(O::ClampF32) => unary_f32(step, arena, kernels::clamp),
        O::SigmoidF32 if linked(O::SigmoidF32) => {
            unary_f32(step, arena, |x, _, _| kernels::sigmoid(x))
        }
        O::TanhF32 if linked(O::TanhF32) => unary_f32(step, arena, |x, _, _| libm::tanhf(x)),
        O::LeakyReluF32 if linked(O::LeakyReluF32) => {
            unary_f32(step, arena, |x, a, _| kernels::leaky_relu(x, a))
        }
        O::HardSigmoidF32 if linked(O::HardSigmoidF32) => {
            unary_f32(step, arena, kernels::hard_sigmoid)
        }
        O::HardSwishF32 if linked(O::HardSwishF32) => {
            unary_f32(step, arena, |x, _, _| kernels::hard_swish(x))
        }
        O::SoftmaxI8 if linked(O::SoftmaxI8) => softmax_i8(step, data, arena),
        O::SoftmaxF32 if linked(O::SoftmaxF32) => softmax_f32(step, arena),
        O::TransposeI8 if linked(O::TransposeI8) => {
            let (x, y) = parts(arena, step.input, step.output)?;
            transpose(step, x, y)
        }
        O::TransposeF32 if linked(O::TransposeF32) => {
            let (x, y) = parts(arena, step.input, step.output)?;
            transpose::<u32>(step, typed(x)?, typed_mut(y)?)
        }
        O::PadI8 if linked(O::PadI8) => {
            let (x, y) = parts(arena, step.input, step.output)?;
            pad(step, x, y, |[value, ..]| value)
        }
        O::PadF32 if linked(O::PadF32) => {
            let (x, y) = parts(arena, step.input, step.output)?;
            pad(step, typed(x)?, typed_mut(y)?, u32::from_le_bytes)
        }
        O::Place if linked(O::Place) => blocks(step, arena, kernels::place),
        O::Take if linked(O::Take) => blocks(step, arena, kernels::take),
        O::Quantize if linked(O::Quantize) => quantize(step, arena),
        O::Dequantize if linked(O::Dequantize) => dequantize(step, arena),
        O::Copy if linked(O::Copy) => copy(arena, step.input, step.output),
        O::Coded if linked(O::Coded) => coded::entropy_coded::<OPS>(step, data, arena),
        O::Codebook if linked(O::Codebook) => coded::codebook::<OPS>(step, data, arena),
        _ if OPS & format::TFLITE_OPS & step.code.bit() != 0 => {
            tflite::execute::<OPS>(step, data, arena)
        }
        _ if OPS & general::OPERATORS != 0 => general::execute::<OPS>(step, data, arena),
        _ => None,
    }
}

fn conv_i8(step: &Step<'_>, data: &[u8], arena: &mut [u8]) -> Option<()> {
    let p = step.parameters::<format::ConvI8>()?;
    if p.scratch.len.get() == 0 {
        conv_reference::<i8>(step, data, arena, false)
    } else {
        conv_plain(step, p, None, data, arena)
    }
}

fn depthwise_planes<const SMALL: bool>(
    step: &Step<'_>,
    data: &[u8],
    arena: &mut [u8],
) -> Option<()> {
    let p = step.parameters::<format::ConvI8>()?;
    let layer = int8::<i8>(data, &p.int8, p.weights, p.bias, p.multipliers)?;
    let (mut io, scratch) = io_and_scratch(arena, step.input, step.output, p.scratch)?;
    let g = Geometry::new(&p.window)?;
    kernels::planes::depthwise_planes::<DepthwiseLanes, SMALL>(&g, &layer, &mut io, scratch)
}

fn conv_plain(
    step: &Step<'_>,
    p: &format::ConvI8,
    residual: Option<&format::Residual>,
    data: &[u8],
    arena: &mut [u8],
) -> Option<()> {
    let weights = int8::<i8>(data, &p.int8, p.weights, p.bias, p.multipliers)?;
    conv_packed(step, p, &weights, residual, arena)
}

fn conv_split<const ADDS: bool>(
    step: &Step<'_>,
    p: &format::ConvI8,
    residual: Option<&format::Residual>,
    data: &[u8],
    arena: &mut [u8],
) -> Option<()> {
    let weights = split(data, p.weights, p.bias, p.multipliers)?;
    let (mut io, scratch) = io_and_scratch(arena, step.input, step.output, p.scratch)?;
    let residual = residual.map(Residual::from);
    kernels::conv_split::<ADDS>(
        &Geometry::new(&p.window)?,
        &weights,
        p.int8.input_zero_point.get() as i8,
        Output::from(&p.int8),
        &mut io,
        scratch,
        residual.as_ref(),
    )
}

fn dense_split(
    step: &Step<'_>,
    p: &format::FullyConnectedI8,
    data: &[u8],
    arena: &mut [u8],
) -> Option<()> {
    let weights = split(data, p.weights, p.bias, p.multipliers)?;
    let (mut io, scratch) = io_and_scratch(arena, step.input, step.output, p.scratch)?;
    let Io::Apart { x, y } = &mut io else {
        return None;
    };
    let [_, inputs, outputs] = p.shape.map(|d| d.get() as usize);
    kernels::dense_split(
        inputs,
        outputs,
        &weights,
        Output::from(&p.int8),
        x,
        y,
        scratch,
    )
}

fn conv_quad(
    step: &Step<'_>,
    p: &format::ConvI8,
    residual: Option<&format::Residual>,
    data: &[u8],
    arena: &mut [u8],
) -> Option<()> {
    let (mut io, scratch) = io_and_scratch(arena, step.input, step.output, p.scratch)?;
    kernels::quad::conv_quad(
        &Geometry::new(&p.window)?,
        &quad(data, p.weights, p.bias, p.multipliers)?,
        p.int8.input_zero_point.get() as i8,
        Output::from(&p.int8),
        &mut io,
        scratch,
        residual.map(Residual::from).as_ref(),
    )
}

fn dense_quad(step: &Step<'_>, data: &[u8], arena: &mut [u8]) -> Option<()> {
    let p = step.parameters::<format::FullyConnectedI8>()?;
    let (x, y) = parts(arena, step.input, step.output)?;
    let [_, inputs, outputs] = p.shape.map(|d| d.get() as usize);
    kernels::quad::dense_quad(
        inputs,
        outputs,
        &quad(data, p.weights, p.bias, p.multipliers)?,
        Output::from(&p.int8),
        typed(x)?,
        typed_mut(y)?,
    )
}

fn split<'d>(data: &'d [u8], weights: Span, bias: Span, multipliers: Span) -> Option<Split<'d>> {
    Some(Split {
        weights: typed(part(data, weights)?)?,
        bias: typed(part(data, bias)?)?,
        multipliers: typed(part(data, multipliers)?)?,
    })
}

fn quad<'d>(data: &'d [u8], weights: Span, bias: Span, multipliers: Span) -> Option<Quad<'d>> {
    Some(Quad {
        weights: typed(part(data, weights)?)?,
        bias: typed(part(data, bias)?)?,
        multipliers: typed(part(data, multipliers)?)?,
    })
}

fn conv_wide<const ADDS: bool>(
    step: &Step<'_>,
    p: &format::ConvI8,
    residual: Option<&format::Residual>,
    data: &[u8],
    arena: &mut [u8],
) -> Option<()> {
    let (mut io, scratch) = io_and_scratch(arena, step.input, step.output, p.scratch)?;
    kernels::conv_wide::<ADDS>(
        &Geometry::new(&p.window)?,
        &wide(data, p.weights, p.bias, p.multipliers)?,
        p.int8.input_zero_point.get() as i8,
        Output::from(&p.int8),
        &mut io,
        scratch,
        residual.map(Residual::from).as_ref(),
    )
}

fn dense_packed(
    step: &Step<'_>,
    p: &format::FullyConnectedI8,
    weights: &impl Packed,
    arena: &mut [u8],
) -> Option<()> {
    let (x, y) = parts(arena, step.input, step.output)?;
    let (x, y) = (typed(x)?, typed_mut(y)?);
    let [_, inputs, outputs] = p.shape.map(|d| d.get() as usize);
    kernels::patch::dense_packed(inputs, outputs, weights, Output::from(&p.int8), x, y)
}

fn wide<'d>(data: &'d [u8], weights: Span, bias: Span, multipliers: Span) -> Option<Wide<'d>> {
    Some(Wide {
        weights: typed(part(data, weights)?)?,
        bias: typed(part(data, bias)?)?,
        multipliers: typed(part(data, multipliers)?)?,
    })
}

fn sparse<'d>(data: &'d [u8], weights: Span, bias: Span, multipliers: Span) -> Option<Sparse<'d>> {
    Some(Sparse {
        entries: typed(part(data, weights)?)?,
        bias: typed(part(data, bias)?)?,
        multipliers: typed(part(data, multipliers)?)?,
    })
}

#[inline(never)]
fn conv_sparse(
    step: &Step<'_>,
    p: &format::ConvI8,
    residual: Option<&format::Residual>,
    data: &[u8],
    arena: &mut [u8],
) -> Option<()> {
    let (mut io, scratch) = io_and_scratch(arena, step.input, step.output, p.scratch)?;
    kernels::conv_sparse(
        &Geometry::new(&p.window)?,
        &sparse(data, p.weights, p.bias, p.multipliers)?,
        p.int8.input_zero_point.get() as i8,
        Output::from(&p.int8),
        &mut io,
        scratch,
        residual.map(Residual::from).as_ref(),
    )
}

#[inline(never)]
fn dense_sparse(step: &Step<'_>, data: &[u8], arena: &mut [u8]) -> Option<()> {
    let p = step.parameters::<format::FullyConnectedI8>()?;
    let (x, y) = parts(arena, step.input, step.output)?;
    let weights = sparse(data, p.weights, p.bias, p.multipliers)?;
    let [_, inputs, outputs] = p.shape.map(|d| d.get() as usize);
    let (x, y) = (typed(x)?, typed_mut(y)?);
    kernels::dense_sparse(inputs, outputs, &weights, Output::from(&p.int8), x, y)
}

fn conv_helium(
    step: &Step<'_>,
    p: &format::ConvI8,
    residual: Option<&format::Residual>,
    data: &[u8],
    arena: &mut [u8],
) -> Option<()> {
    let g = Geometry::new(&p.window)?;
    let [kernel_h, kernel_w] = g.kernel;
    let weights = Helium {
        blocks: part(data, p.weights)?,
        window: [kernel_h, kernel_w, g.input[2]],
    };
    let (mut io, scratch) = io_and_scratch(arena, step.input, step.output, p.scratch)?;
    kernels::conv_helium(&g, &weights, &p.int8, residual, &mut io, scratch)
}

fn depthwise_helium(step: &Step<'_>, data: &[u8], arena: &mut [u8]) -> Option<()> {
    let p = step.parameters::<format::ConvI8>()?;
    let weights = helium::Depthwise {
        weights: typed(part(data, p.weights)?)?,
        bias: typed(part(data, p.bias)?)?,
        multipliers: typed(part(data, p.multipliers)?)?,
        int8: &p.int8,
    };
    let (mut io, scratch) = io_and_scratch(arena, step.input, step.output, p.scratch)?;
    let g = Geometry::new(&p.window)?;
    kernels::depthwise_helium(&g, &weights, &mut io, scratch)
}

fn dense_helium(step: &Step<'_>, data: &[u8], arena: &mut [u8]) -> Option<()> {
    let p = step.parameters::<format::FullyConnectedI8>()?;
    let [_, inputs, outputs] = p.shape.map(|d| d.get() as usize);
    let weights = Helium {
        blocks: part(data, p.weights)?,
        window: [
            NonZeroUsize::MIN,
            NonZeroUsize::MIN,
            NonZeroUsize::new(inputs)?,
        ],
    };
    let (io, scratch) = io_and_scratch(arena, step.input, step.output, p.scratch)?;
    let Io::Apart { x, y } = io else {
        return None;
    };
    kernels::dense_helium([inputs, outputs], &weights, &p.int8, x, y, scratch)
}

#[inline(always)]
fn conv_packed(
    step: &Step<'_>,
    p: &format::ConvI8,
    weights: &impl Packed,
    residual: Option<&format::Residual>,
    arena: &mut [u8],
) -> Option<()> {
    let (mut io, scratch) = io_and_scratch(arena, step.input, step.output, p.scratch)?;
    let residual = residual.map(Residual::from);
    kernels::patch::conv_packed(
        &Geometry::new(&p.window)?,
        weights,
        p.int8.input_zero_point.get() as i8,
        Output::from(&p.int8),
        &mut io,
        scratch,
        residual.as_ref(),
    )
}

#[inline(always)]
fn conv_reference<W: Weight>(
    step: &Step<'_>,
    data: &[u8],
    arena: &mut [u8],
    depthwise: bool,
) -> Option<()> {
    let p = step.parameters::<format::ConvI8>()?;
    let arithmetic = int8::<W>(data, &p.int8, p.weights, p.bias, p.multipliers)?;
    convolve(
        step,
        arena,
        &p.window,
        p.groups.get(),
        depthwise,
        &arithmetic,
    )
}

#[inline(always)]
fn conv_f32(step: &Step<'_>, data: &[u8], arena: &mut [u8], depthwise: bool) -> Option<()> {
    let p = step.parameters::<format::ConvF32>()?;
    let arithmetic = float(data, &p.clamp, p.weights, p.bias)?;
    if panel::VECTORS && depthwise {
        let g = Geometry::new(&p.window)?;
        if panel::has_lanes(&g) {
            let (x, y) = parts(arena, step.input, step.output)?;
            return panel::depthwise_lanes(&g, &arithmetic, typed(x)?, typed_mut(y)?);
        }
    }
    convolve(
        step,
        arena,
        &p.window,
        p.groups.get(),
        depthwise,
        &arithmetic,
    )
}

fn conv_panel(step: &Step<'_>, data: &[u8], arena: &mut [u8]) -> Option<()> {
    let p = step.parameters::<format::ConvF32>()?;
    let layer = float(data, &p.clamp, p.weights, p.bias)?;
    let (x, y) = parts(arena, step.input, step.output)?;
    panel::conv_panel(&Geometry::new(&p.window)?, &layer, typed(x)?, typed_mut(y)?)
}

#[inline(always)]
fn convolve<A: Arithmetic<Element: FromBytes + IntoBytes + Immutable + KnownLayout>>(
    step: &Step<'_>,
    arena: &mut [u8],
    window: &Window,
    groups: u32,
    depthwise: bool,
    arithmetic: &A,
) -> Option<()> {
    let (x, y) = parts(arena, step.input, step.output)?;
    let (x, y) = (typed(x)?, typed_mut(y)?);
    let g = Geometry::new(window)?;
    if depthwise {
        kernels::depthwise(&g, arithmetic, x, y)
    } else {
        kernels::conv(&g, groups as usize, arithmetic, x, y)
    }
}

fn dense_i8<W: Weight>(step: &Step<'_>, data: &[u8], arena: &mut [u8]) -> Option<()> {
    let p = step.parameters::<format::FullyConnectedI8>()?;
    let (x, y) = parts(arena, step.input, step.output)?;
    let arithmetic = int8::<W>(data, &p.int8, p.weights, p.bias, p.multipliers)?;
    let [_, inputs, outputs] = p.shape.map(|d| d.get() as usize);
    kernels::dense(inputs, outputs, &arithmetic, typed(x)?, typed_mut(y)?)
}

fn dense_f32(step: &Step<'_>, data: &[u8], arena: &mut [u8]) -> Option<()> {
    let p = step.parameters::<format::FullyConnectedF32>()?;
    let (x, y) = parts(arena, step.input, step.output)?;
    let arithmetic = float(data, &p.clamp, p.weights, p.bias)?;
    let [_, inputs, outputs] = p.shape.map(|d| d.get() as usize);
    kernels::dense(inputs, outputs, &arithmetic, typed(x)?, typed_mut(y)?)
}

fn dense_panel(step: &Step<'_>, data: &[u8], arena: &mut [u8]) -> Option<()> {
    let p = step.parameters::<format::FullyConnectedF32>()?;
    let (x, y) = parts(arena, step.input, step.output)?;
    let layer = float(data, &p.clamp, p.weights, p.bias)?;
    let [_, inputs, outputs] = p.shape.map(|d| d.get() as usize);
    panel::dense_panel([inputs, outputs], &layer, typed(x)?, typed_mut(y)?)
}

/// What an int8 layer's weights may be.
trait Weight: Copy + Into<i32> + FromBytes + Immutable + KnownLayout {}

impl Weight for i8 {}
impl Weight for i16 {}

#[inline(always)]
fn int8<'d, W: Weight>(
    data: &'d [u8],
    p: &format::Int8,
    weights: Span,
    bias: Span,
    multipliers: Span,
) -> Option<Int8<'d, W>> {
    Some(Int8 {
        weights: typed(part(data, weights)?)?,
        input_zero_point: p.input_zero_point.get(),
        bias: typed(part(data, bias)?)?,
        multipliers: typed(part(data, multipliers)?)?,
        output: Output::from(p),
    })
}

#[inline(always)]
fn float<'d>(
    data: &'d [u8],
    clamp: &format::ClampF32,
    weights: Span,
    bias: Span,
) -> Option<Float<'d>> {
    Some(Float {
        weights: typed(part(data, weights)?)?,
        bias: typed(part(data, bias)?)?,
        min: clamp.min.get(),
        max: clamp.max.get(),
    })
}

/// Brings the first operand to the output's place and returns the output and the second operand.
fn binary<'m>(
    step: &Step<'_>,
    b: &Operand,
    data: &'m [u8],
    arena: &'m mut [u8],
) -> Option<(&'m mut [u8], &'m [u8])> {
    copy(arena, step.input, step.output)?;
    if b.constant.get() != 0 {
        return Some((part_mut(arena, step.output)?, part(data, b.span)?));
    }
    let (b, y) = parts(arena, b.span, step.output)?;
    Some((y, b))
}

fn add_i8(step: &Step<'_>, data: &[u8], arena: &mut [u8]) -> Option<()> {
    let p = step.parameters::<format::AddI8>()?;
    let (y, b) = binary(step, &p.b, data, arena)?;
    let sum = Residual {
        factor: p.factor_b.get(),
        factor_b: p.factor_a.get(),
        offset: p.offset.get(),
        multiplier: p.multiplier.get(),
        output: Output::from(&p.int8),
    };
    let repeat = p.b.repeat.get() as usize;
    kernels::add_i8(typed_mut(y)?, typed(b)?, repeat, &sum)
}

fn mul_i8(step: &Step<'_>, data: &[u8], arena: &mut [u8]) -> Option<()> {
    let p = step.parameters::<format::MulI8>()?;
    let (y, b) = binary(step, &p.b, data, arena)?;
    let zero_points = (p.int8.input_zero_point.get(), p.b_zero_point.get());
    let repeat = p.b.repeat.get() as usize;
    kernels::mul_i8(
        typed_mut(y)?,
        typed(b)?,
        repeat,
        zero_points,
        p.multiplier.get(),
        Output::from(&p.int8),
    )
}

fn binary_f32(
    step: &Step<'_>,
    data: &[u8],
    arena: &mut [u8],
    f: impl Fn(f32, f32) -> f32,
) -> Option<()> {
    let p = step.parameters::<format::BinaryF32>()?;
    let (y, b) = binary(step, &p.b, data, arena)?;
    let bounds = (p.clamp.min.get(), p.clamp.max.get());
    kernels::binary_f32(
        typed_mut(y)?,
        typed(b)?,
        p.b.repeat.get() as usize,
        bounds,
        f,
    )
}

fn average_pool_i8(step: &Step<'_>, arena: &mut [u8]) -> Option<()> {
    let p = step.parameters::<format::Pool>()?;
    let (x, y) = parts(arena, step.input, step.output)?;
    let average = Average {
        divisor: p.divisor.get() as usize,
        input: (p.int8.input_zero_point.get(), p.input_scale.get()),
        output_scale: p.output_scale.get(),
        output: Output::from(&p.int8),
    };
    kernels::average_pool_i8(
        &Geometry::new(&p.window)?,
        &average,
        typed(x)?,
        typed_mut(y)?,
    )
}

fn average_pool_f32(step: &Step<'_>, arena: &mut [u8]) -> Option<()> {
    let p = step.parameters::<format::Pool>()?;
    let (x, y) = parts(arena, step.input, step.output)?;
    kernels::average_pool(
        &Geometry::new(&p.window)?,
        p.divisor.get() as usize,
        typed(x)?,
        typed_mut(y)?,
        |x| x,
        |mean| mean,
    )
}

fn max_pool_i8(step: &Step<'_>, arena: &mut [u8]) -> Option<()> {
    let p = step.parameters::<format::Pool>()?;
    let (x, y) = parts(arena, step.input, step.output)?;
    kernels::max_pool(
        &Geometry::new(&p.window)?,
        i8::MIN,
        typed(x)?,
        typed_mut(y)?,
    )
}

fn max_pool_f32(step: &Step<'_>, arena: &mut [u8]) -> Option<()> {
    let p = step.parameters::<format::Pool>()?;
    let (x, y) = parts(arena, step.input, step.output)?;
    kernels::max_pool(
        &Geometry::new(&p.window)?,
        f32::NEG_INFINITY,
        typed(x)?,
        typed_mut(y)?,
    )
}

fn lookup_i8(step: &Step<'_>, data: &[u8], arena: &mut [u8]) -> Option<()> {
    let p = step.parameters::<format::LookupI8>()?;
    copy(arena, step.input, step.output)?;
    kernels::lookup_i8(
        part_mut(arena, step.output)?,
        part(data, p.table)?.try_into().ok()?,
    );
    Some(())
}

fn unary_f32(step: &Step<'_>, arena: &mut [u8], f: impl Fn(f32, f32, f32) -> f32) -> Option<()> {
    let p = step.parameters::<format::UnaryF32>()?;
    let (alpha, beta) = (p.alpha.get(), p.beta.get());
    copy(arena, step.input, step.output)?;
    kernels::unary_f32(typed_mut(part_mut(arena, step.output)?)?, |x| {
        f(x, alpha, beta)
    });
    Some(())
}

fn softmax_i8(step: &Step<'_>, data: &[u8], arena: &mut [u8]) -> Option<()> {
    let p = step.parameters::<format::SoftmaxI8>()?;
    copy(arena, step.input, step.output)?;
    let y = typed_mut(part_mut(arena, step.output)?)?;
    let table = typed(part(data, p.table)?)?.try_into().ok()?;
    let output = Output::saturating(p.output_zero_point.get());
    kernels::softmax_i8(y, p.row.get() as usize, table, p.output_scale.get(), output)
}

fn softmax_f32(step: &Step<'_>, arena: &mut [u8]) -> Option<()> {
    let p = step.parameters::<format::SoftmaxF32>()?;
    copy(arena, step.input, step.output)?;
    kernels::softmax_f32(
        typed_mut(part_mut(arena, step.output)?)?,
        p.row.get() as usize,
    )
}

fn transpose<T: Copy>(step: &Step<'_>, x: &[T], y: &mut [T]) -> Option<()> {
    let p = step.parameters::<format::Transpose>()?;
    kernels::transpose(
        p.dims.map(|d| d.get() as usize),
        p.strides.map(|s| s.get() as usize),
        x,
        y,
    )
}

fn pad<T: Copy>(step: &Step<'_>, x: &[T], y: &mut [T], value: impl Fn([u8; 4]) -> T) -> Option<()> {
    let p = step.parameters::<format::Pad>()?;
    let [dims, before, after] = [p.dims, p.before, p.after].map(|a| a.map(|d| d.get() as usize));
    kernels::pad(dims, before, after, value(p.value), x, y)
}

fn blocks(
    step: &Step<'_>,
    arena: &mut [u8],
    kernel: impl Fn(usize, usize, usize, &[u8], &mut [u8]) -> Option<()>,
) -> Option<()> {
    let p = step.parameters::<format::Blocks>()?;
    let (x, y) = parts(arena, step.input, step.output)?;
    let [block, stride, offset] = [p.block, p.stride, p.offset].map(|v| v.get() as usize);
    kernel(block, stride, offset, x, y)
}

fn quantize(step: &Step<'_>, arena: &mut [u8]) -> Option<()> {
    let p = step.parameters::<format::Affine>()?;
    let (x, y) = parts(arena, step.input, step.output)?;
    kernels::quantize(
        typed(x)?,
        p.scale.get(),
        Output::saturating(p.zero_point.get()),
        typed_mut(y)?,
    );
    Some(())
}

fn dequantize(step: &Step<'_>, arena: &mut [u8]) -> Option<()> {
    let p = step.parameters::<format::Affine>()?;
    let (x, y) = parts(arena, step.input, step.output)?;
    kernels::dequantize(typed(x)?, p.scale.get(), p.zero_point.get(), typed_mut(y)?);
    Some(())
}
