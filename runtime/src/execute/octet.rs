//! Layers with octet weights: see [`crate::kernels::octet`].

use super::typed;
use crate::arena::{io_and_scratch, part};
use crate::format::{self, Span};
use crate::kernels::octet::{Octet, conv_octet, dense_octet, depthwise_octet};
use crate::kernels::patch::Residual;
use crate::kernels::{Geometry, Io};
use crate::requantize::Output;
use crate::step::Step;

#[inline(never)]
pub(super) fn conv(step: &Step<'_>, data: &[u8], arena: &mut [u8]) -> Option<()> {
    run(
        step,
        step.parameters::<format::ConvI8>()?,
        None,
        data,
        arena,
    )
}

#[inline(never)]
pub(super) fn conv_add(step: &Step<'_>, data: &[u8], arena: &mut [u8]) -> Option<()> {
    let p = step.parameters::<format::ConvAddI8>()?;
    run(
        step,
        &p.conv,
        Some(Residual::from(&p.residual)),
        data,
        arena,
    )
}

fn run(
    step: &Step<'_>,
    p: &format::ConvI8,
    residual: Option<Residual>,
    data: &[u8],
    arena: &mut [u8],
) -> Option<()> {
    let layer = layer(data, &p.int8, [p.weights, p.bias, p.multipliers])?;
    let (mut io, scratch) = io_and_scratch(arena, step.input, step.output, p.scratch)?;
    let g = Geometry::new(&p.window)?;
    conv_octet(&g, &layer, &mut io, scratch, residual.as_ref())
}

#[inline(never)]
pub(super) fn depthwise(step: &Step<'_>, data: &[u8], arena: &mut [u8]) -> Option<()> {
    let p = step.parameters::<format::ConvI8>()?;
    let layer = layer(data, &p.int8, [p.weights, p.bias, p.multipliers])?;
    let (mut io, scratch) = io_and_scratch(arena, step.input, step.output, p.scratch)?;
    depthwise_octet(&Geometry::new(&p.window)?, &layer, &mut io, scratch)
}

#[inline(never)]
pub(super) fn dense(step: &Step<'_>, data: &[u8], arena: &mut [u8]) -> Option<()> {
    let p = step.parameters::<format::FullyConnectedI8>()?;
    let layer = layer(data, &p.int8, [p.weights, p.bias, p.multipliers])?;
    let (io, scratch) = io_and_scratch(arena, step.input, step.output, p.scratch)?;
    let Io::Apart { x, y } = io else {
        return None;
    };
    let [_, inputs, outputs] = p.shape.map(|d| d.get() as usize);
    dense_octet([inputs, outputs], &layer, x, y, scratch)
}

fn layer<'d>(data: &'d [u8], int8: &format::Int8, spans: [Span; 3]) -> Option<Octet<'d>> {
    let [weights, bias, multipliers] = spans;
    Some(Octet {
        weights: typed(part(data, weights)?)?,
        bias: typed(part(data, bias)?)?,
        multipliers: typed(part(data, multipliers)?)?,
        zero_point: int8.input_zero_point.get() as i8,
        output: Output::from(int8),
    })
}
