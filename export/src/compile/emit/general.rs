//! Steps of larger models: choice, strided movement, indices, interpolation, reductions, products, recurrent layers.

use super::{Emitter, Result};
use crate::compile::expand::adjacent;
use crate::compile::storage::{bytes, element_size};
use crate::graph::{Cell, DType, Data, Node, Reduction, ValueId};
use kinglet::format::{self, OpCode, Span};
use zerocopy::little_endian::U32;

impl Emitter<'_> {
    pub(super) fn select(&mut self, node: &Node) -> Result<()> {
        let whole = self.facts.value(node.output).shape.clone();
        let parameters = format::SelectF32 {
            a: self.operand(node, node.inputs[1], &whole)?,
            b: self.operand(node, node.inputs[2], &whole)?,
        };
        self.push(node, OpCode::SelectF32, &parameters)
    }

    pub(super) fn load(&mut self, node: &Node) -> Result<()> {
        let data = match self.facts.value(node.inputs[0]).data.clone() {
            Some(Data::F32(v)) => self.image.data(&v),
            Some(Data::I8(v)) => self.image.data(&v),
            Some(Data::I32(v)) => self.image.data(&v),
            _ => return Err(self.facts.unsupported(node, "only f32 and int8 are loaded")),
        };
        let output = self.span(node, node.output)?;
        self.push_from(node, output, OpCode::Load, &format::Load { data }, true)
    }

    pub(super) fn strided(&mut self, node: &Node, strides: &[isize], offset: usize) -> Result<()> {
        let output = self.facts.value(node.output);
        let mut record = [0i32.into(); format::MAX_RANK];
        let dims = self.dims(node, &output.shape, 1)?;
        let missing = record.len() - output.shape.len();
        for (to, &stride) in record[missing..].iter_mut().zip(strides) {
            let stride = i32::try_from(stride);
            let too_large = |_| self.facts.unsupported(node, "a stride exceeds 31 bits");
            *to = stride.map_err(too_large)?.into();
        }
        let parameters = format::Strided {
            dims,
            strides: record,
            offset: self.facts.u32(node, offset)?,
        };
        let code = match element_size(output) {
            4 => OpCode::StridedF32,
            _ => OpCode::StridedI8,
        };
        self.push(node, code, &parameters)
    }

    pub(super) fn pick(&mut self, node: &Node, axis: usize, indices: &[u32]) -> Result<()> {
        let input = self.facts.value(node.inputs[0]);
        let inner: usize = input.shape[axis + 1..].iter().product();
        let parameters = format::Pick {
            block: self.facts.u32(node, inner * element_size(input))?,
            length: self.facts.u32(node, input.shape[axis])?,
            indices: self.image.data(indices),
        };
        self.push(node, OpCode::Pick, &parameters)
    }

    pub(super) fn gather(&mut self, node: &Node, axis: usize) -> Result<()> {
        let table = self.facts.value(node.inputs[1]);
        self.facts.require(node, DType::F32, node.inputs[1])?;
        let product = |dims: &[usize]| self.facts.u32(node, dims.iter().product());
        let (outer, inner) = (
            product(&table.shape[..axis])?,
            product(&table.shape[axis + 1..])?,
        );
        let length = self.facts.u32(node, table.shape[axis])?;
        let (constant, span) = self.either(node, node.inputs[1])?;
        let parameters = format::GatherF32 {
            constant,
            table: span,
            outer,
            length,
            inner,
        };
        self.push(node, OpCode::GatherF32, &parameters)
    }

    /// An operand that is in the arena or in the data section.
    fn either(&mut self, node: &Node, id: ValueId) -> Result<(U32, Span)> {
        match &self.facts.value(id).data {
            Some(Data::F32(data)) => Ok((1.into(), self.image.data(data))),
            Some(_) => Err(self
                .facts
                .unsupported(node, "a constant operand must be f32")),
            None => Ok((0.into(), self.span(node, id)?)),
        }
    }

    pub(super) fn resample(
        &mut self,
        node: &Node,
        axis: usize,
        taps: usize,
        (indices, weights): (&[u32], &[f32]),
    ) -> Result<()> {
        let input = self.facts.value(node.inputs[0]);
        self.facts.require(node, DType::F32, node.inputs[0])?;
        let parameters = format::ResampleF32 {
            length: self.facts.u32(node, input.shape[axis])?,
            inner: self
                .facts
                .u32(node, input.shape[axis + 1..].iter().product())?,
            taps: self.facts.u32(node, taps)?,
            indices: self.image.data(indices),
            weights: self.image.data(weights),
        };
        self.push(node, OpCode::ResampleF32, &parameters)
    }

    pub(super) fn reduce(
        &mut self,
        node: &Node,
        reduction: Reduction,
        axes: &[usize],
    ) -> Result<()> {
        self.facts.require(node, DType::F32, node.inputs[0])?;
        let shape = &self.facts.value(node.inputs[0]).shape;
        let apart = || {
            self.facts
                .unsupported(node, format!("axes {axes:?} of {shape:?} are not adjacent"))
        };
        let (length, inner) = adjacent(shape, axes).ok_or_else(apart)?;
        let parameters = format::Reduce {
            length: self.facts.u32(node, length)?,
            inner: self.facts.u32(node, inner)?,
        };
        let code = match reduction {
            Reduction::Sum => OpCode::SumF32,
            Reduction::Product => OpCode::ProductF32,
            Reduction::Min => OpCode::LeastF32,
            Reduction::Max => OpCode::GreatestF32,
            Reduction::ArgMin => OpCode::IndexOfLeastF32,
            Reduction::ArgMax => OpCode::IndexOfGreatestF32,
        };
        self.push(node, code, &parameters)
    }

    pub(super) fn matmul(&mut self, node: &Node) -> Result<()> {
        let shape = |i: usize| self.facts.value(node.inputs[i]).shape.clone();
        let (&[batch, rows, inner], &[matrices, _, columns]) = (&shape(0)[..], &shape(1)[..])
        else {
            return Err(self.facts.unsupported(node, "operands of rank 3 expected"));
        };
        let (constant, b) = self.either(node, node.inputs[1])?;
        let dim = |d| self.facts.u32(node, d);
        let parameters = format::MatMulF32 {
            shape: [dim(batch)?, dim(rows)?, dim(inner)?, dim(columns)?],
            matrices: dim(matrices)?,
            constant,
            b,
        };
        self.push(node, OpCode::MatMulF32, &parameters)
    }

    pub(super) fn recurrent(&mut self, node: &Node, cell: Cell, reverse: bool) -> Result<()> {
        let shape = self.facts.value(node.inputs[0]).shape.clone();
        let dim = |d| self.facts.u32(node, d);
        let sizes = [
            dim(shape[0])?,
            dim(shape[1])?,
            dim(shape[2] / cell.gates())?,
        ];
        let floats = |i: usize| {
            let id = node.inputs.get(i)?;
            match &self.facts.value(*id).data {
                Some(Data::F32(data)) => Some(data),
                _ => None,
            }
        };
        let weights = floats(1).ok_or_else(|| {
            self.facts
                .unsupported(node, "its weights must be constant floats")
        })?;
        let weights = self.image.data(weights);
        let bias = floats(3).map_or(Span::new(0, 0), |bias| self.image.data(bias));
        let (constant, initial) = self.either(node, node.inputs[2])?;
        let parameters = format::RecurrentF32 {
            shape: sizes,
            reverse: u32::from(reverse).into(),
            weights,
            bias,
            constant,
            initial,
        };
        let code = match cell {
            Cell::Lstm => OpCode::LstmF32,
            Cell::Gru => OpCode::GruF32,
            Cell::Plain => OpCode::RnnF32,
        };
        self.push(node, code, &parameters)
    }

    pub(super) fn convert(&mut self, node: &Node) -> Result<()> {
        let dtype = |id| self.facts.value(id).dtype;
        let code = match (dtype(node.inputs[0]), dtype(node.output)) {
            (DType::I32, DType::F32) => OpCode::IntegersToF32,
            (DType::F32, DType::I32) => OpCode::F32ToIntegers,
            (DType::U8, DType::F32) => OpCode::BytesToF32,
            (DType::F32, DType::U8) => OpCode::F32ToBytes,
            (from, to) => {
                let reason = format!("no conversion from {from:?} to {to:?}");
                return Err(self.facts.unsupported(node, reason));
            }
        };
        self.push(node, code, &format::Nothing {})
    }

    /// The last step: an output's value goes to the input that holds it for the next run.
    pub(super) fn carry(&mut self, input: ValueId, output: ValueId) -> Result<()> {
        let name = format!("{} (state)", self.facts.value(input).name);
        debug_assert_eq!(
            bytes(self.facts.value(input)),
            bytes(self.facts.value(output))
        );
        let node = Node {
            name,
            op: crate::graph::Op::Reshape,
            inputs: vec![output],
            output: input,
        };
        self.copy(&node)
    }
}
