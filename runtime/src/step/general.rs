//! Checks of the float operators of larger models.

use super::{Check, Limits, Sharing, Step, elements, length, overlap, product, times};
use crate::error::StepError;
use crate::format::{self, OpCode, Span};
use crate::kernels::Cell;
use zerocopy::FromBytes;
use zerocopy::little_endian::U32;

impl Step<'_> {
    /// As [`Step::check`].
    pub(super) fn general<const OPS: u128>(&self, limits: &Limits<'_>) -> Check {
        use OpCode as O;
        if self.is::<OPS>(&[
            O::SqrtF32,
            O::ExpF32,
            O::LogF32,
            O::AbsF32,
            O::ErfF32,
            O::FloorF32,
            O::CeilF32,
            O::RoundF32,
            O::SignF32,
            O::SinF32,
            O::CosF32,
        ]) {
            self.record::<format::UnaryF32>()?;
            self.operands(limits, 4, 4, Sharing::Whole)?;
            self.same_length()
        } else if self.is::<OPS>(&[
            O::MinF32,
            O::MaxF32,
            O::PowF32,
            O::PowOfF32,
            O::DivOfF32,
            O::EqualF32,
            O::LessF32,
            O::LessOrEqualF32,
            O::GreaterF32,
            O::GreaterOrEqualF32,
        ]) {
            let p = self.record::<format::BinaryF32>()?;
            self.operands(limits, 4, 4, Sharing::Whole)?;
            self.second(limits, &p.b, 4)
        } else if self.is::<OPS>(&[O::SelectF32]) {
            let p = self.record::<format::SelectF32>()?;
            self.operands(limits, 4, 4, Sharing::Whole)?;
            self.second(limits, &p.a, 4)?;
            self.second(limits, &p.b, 4)
        } else if self.is::<OPS>(&[O::Load]) {
            let p = self.record::<format::Load>()?;
            self.operands(limits, 1, 1, Sharing::Whole)?;
            self.same_length()?;
            limits.constant(p.data, self.output.len.get(), 1)
        } else if self.is::<OPS>(&[O::StridedF32]) {
            self.strided(limits, 4)
        } else if self.is::<OPS>(&[O::StridedI8]) {
            self.strided(limits, 1)
        } else if self.is::<OPS>(&[O::Pick]) {
            self.pick(limits)
        } else if self.is::<OPS>(&[O::GatherF32]) {
            let p = self.record::<format::GatherF32>()?;
            self.operands(limits, 4, 4, Sharing::Nothing)?;
            let table = product(&[p.outer, p.length, p.inner])?;
            self.other(limits, p.constant, p.table, table)?;
            let indices = elements(self.input, 4);
            length(
                self.output,
                times(product(&[p.outer, p.inner])?, indices)?,
                4,
            )
        } else if self.is::<OPS>(&[O::ResampleF32]) {
            self.resample(limits)
        } else if self.is::<OPS>(&[
            O::SumF32,
            O::ProductF32,
            O::LeastF32,
            O::GreatestF32,
            O::IndexOfLeastF32,
            O::IndexOfGreatestF32,
        ]) {
            let p = self.record::<format::Reduce>()?;
            self.operands(limits, 4, 4, Sharing::Nothing)?;
            let outer = self.outer(self.input, p.length, p.inner, 4)?;
            length(self.output, times(outer, p.inner.get())?, 4)
        } else if self.is::<OPS>(&[O::MatMulF32]) {
            let p = self.record::<format::MatMulF32>()?;
            self.operands(limits, 4, 4, Sharing::Nothing)?;
            let [batch, rows, inner, columns] = p.shape;
            if p.matrices.get() != 1 && p.matrices != batch {
                return Err(StepError::Parameter);
            }
            length(self.input, product(&[batch, rows, inner])?, 4)?;
            length(self.output, product(&[batch, rows, columns])?, 4)?;
            let b = product(&[p.matrices, inner, columns])?;
            self.other(limits, p.constant, p.b, b)
        } else if self.is::<OPS>(&[O::LstmF32]) {
            self.recurrent(limits, Cell::Lstm)
        } else if self.is::<OPS>(&[O::GruF32]) {
            self.recurrent(limits, Cell::Gru)
        } else if self.is::<OPS>(&[O::RnnF32]) {
            self.recurrent(limits, Cell::Plain)
        } else if self.is::<OPS>(&[O::IntegersToF32, O::F32ToIntegers]) {
            self.record::<format::Nothing>()?;
            self.operands(limits, 4, 4, Sharing::Nothing)?;
            self.same_length()
        } else if self.is::<OPS>(&[O::BytesToF32]) {
            self.record::<format::Nothing>()?;
            self.operands(limits, 1, 4, Sharing::Nothing)?;
            length(self.output, self.input.len.get(), 4)
        } else if self.is::<OPS>(&[O::F32ToBytes]) {
            self.record::<format::Nothing>()?;
            self.operands(limits, 4, 1, Sharing::Nothing)?;
            length(self.input, self.output.len.get(), 4)
        } else {
            Err(StepError::UnknownOperator(self.code as u16))
        }
    }

    /// A further operand of `count` floats, apart from the output.
    fn other(&self, limits: &Limits<'_>, constant: U32, span: Span, count: u32) -> Check {
        match constant.get() {
            0 => {
                limits.arena(span, 4)?;
                if overlap(span, self.output) {
                    return Err(StepError::Overlap);
                }
                length(span, count, 4)
            }
            1 => limits.constant(span, count, 4),
            _ => Err(StepError::Parameter),
        }
    }

    /// How often `[length, inner]` elements of `size` bytes lie in `span`.
    fn outer(&self, span: Span, length: U32, inner: U32, size: u32) -> Result<u32, StepError> {
        let block = times(product(&[length, inner])?, size)?;
        match span.len.get().checked_rem(block) {
            Some(0) => span.len.get().checked_div(block).ok_or(StepError::Length),
            _ => Err(StepError::Length),
        }
    }

    fn strided(&self, limits: &Limits<'_>, size: usize) -> Check {
        let p = self.record::<format::Strided>()?;
        self.operands(limits, size, size, Sharing::Nothing)?;
        length(self.output, product(&p.dims)?, size as u32)?;
        // The first and the last element of memory that is read bound all others.
        let (mut least, mut greatest) = (i64::from(p.offset.get()), i64::from(p.offset.get()));
        for (d, s) in p.dims.iter().zip(&p.strides) {
            let reach = i64::from(d.get() - 1).wrapping_mul(s.get().into());
            let end = if reach < 0 { &mut least } else { &mut greatest };
            *end = i64::checked_add(*end, reach).ok_or(StepError::Parameter)?;
        }
        match least >= 0 && greatest < elements(self.input, size).into() {
            true => Ok(()),
            false => Err(StepError::Length),
        }
    }

    fn pick(&self, limits: &Limits<'_>) -> Check {
        let p = self.record::<format::Pick>()?;
        self.operands(limits, 1, 1, Sharing::Nothing)?;
        let outer = self.outer(self.input, p.length, p.block, 1)?;
        let count = indices(limits, p.indices, p.length)?;
        length(self.output, times(times(outer, count)?, p.block.get())?, 1)
    }

    fn resample(&self, limits: &Limits<'_>) -> Check {
        let p = self.record::<format::ResampleF32>()?;
        self.operands(limits, 4, 4, Sharing::Nothing)?;
        let outer = self.outer(self.input, p.length, p.inner, 4)?;
        let taps = indices(limits, p.indices, p.length)?;
        limits.constant(p.weights, taps, 4)?;
        if taps.checked_rem(p.taps.get()) != Some(0) {
            return Err(StepError::Length);
        }
        let results = taps.checked_div(p.taps.get()).ok_or(StepError::Parameter)?;
        length(
            self.output,
            times(times(outer, results)?, p.inner.get())?,
            4,
        )
    }

    fn recurrent(&self, limits: &Limits<'_>, cell: Cell) -> Check {
        let p = self.record::<format::RecurrentF32>()?;
        self.operands(limits, 4, 4, Sharing::Nothing)?;
        let [steps, batch, hidden] = p.shape;
        let state = product(&[batch, hidden])?;
        let gates = times(cell.gates() as u32, hidden.get())?;
        let sums = times(times(steps.get(), batch.get())?, gates)?;
        length(self.input, sums, 4)?;
        let blocks = super::plus(steps.get(), 1)?;
        length(self.output, times(blocks, state)?, 4)?;
        limits.constant(p.weights, times(gates, hidden.get())?, 4)?;
        if p.bias.len.get() != 0 && cell == Cell::Gru {
            limits.constant(p.bias, hidden.get(), 4)?;
        } else if p.bias != Span::new(0, 0) {
            return Err(StepError::Length);
        }
        if p.reverse.get() > 1 {
            return Err(StepError::Parameter);
        }
        self.other(
            limits,
            p.constant,
            p.initial,
            times(cell.states() as u32, state)?,
        )
    }
}

/// The number of indices in `span`, all of them below `bound`.
fn indices(limits: &Limits<'_>, span: Span, bound: U32) -> Result<u32, StepError> {
    let count = elements(span, 4);
    limits.constant(span, count, 4)?;
    let bytes = span.range().and_then(|range| limits.data.get(range));
    let all = bytes.and_then(|bytes| <[U32]>::ref_from_bytes(bytes).ok());
    match all.is_some_and(|all| all.iter().all(|index| index.get() < bound.get())) {
        true => Ok(count),
        false => Err(StepError::Parameter),
    }
}
