//! Steps that move elements without computing.

use super::{Emitter, Result};
use crate::compile::storage::bytes;
use crate::compile::views::is_run;
use crate::graph::{DType, Node};
use kinglet::format::{self, MAX_RANK, OpCode};

impl Emitter<'_> {
    /// Dimensions with leading ones, as records hold them.
    pub(super) fn dims(
        &self,
        node: &Node,
        values: &[usize],
        fill: usize,
    ) -> Result<[zerocopy::little_endian::U32; MAX_RANK]> {
        let Some(missing) = MAX_RANK.checked_sub(values.len()) else {
            return Err(self.facts.unsupported(
                node,
                format!("{} dimensions, at most {MAX_RANK}", values.len()),
            ));
        };
        let mut dims = [self.facts.u32(node, fill)?; MAX_RANK];
        for (to, &from) in dims[missing..].iter_mut().zip(values) {
            *to = self.facts.u32(node, from)?;
        }
        Ok(dims)
    }

    pub(super) fn transpose(&mut self, node: &Node, perm: &[usize]) -> Result<()> {
        let shape = self.facts.value(node.inputs[0]).shape.clone();
        let strides: Vec<usize> = perm
            .iter()
            .map(|&p| shape[p + 1..].iter().product())
            .collect();
        let parameters = format::Transpose {
            dims: self.dims(node, &self.facts.value(node.output).shape, 1)?,
            strides: self.dims(node, &strides, 0)?,
        };
        let float = self.facts.value(node.output).dtype == DType::F32;
        self.push(
            node,
            if float {
                OpCode::TransposeF32
            } else {
                OpCode::TransposeI8
            },
            &parameters,
        )
    }

    pub(super) fn pad(
        &mut self,
        node: &Node,
        before: &[usize],
        after: &[usize],
        value: f32,
    ) -> Result<()> {
        let float = self.facts.value(node.output).dtype == DType::F32;
        let fill = if float {
            value.to_le_bytes()
        } else {
            [self.facts.affine(node, node.output)?.quantize(value) as u8; 4]
        };
        let parameters = format::Pad {
            dims: self.dims(node, &self.facts.value(node.inputs[0]).shape, 1)?,
            before: self.dims(node, before, 0)?,
            after: self.dims(node, after, 0)?,
            value: fill,
        };
        self.push(
            node,
            if float { OpCode::PadF32 } else { OpCode::PadI8 },
            &parameters,
        )
    }

    pub(super) fn slice(&mut self, node: &Node, axis: usize, start: usize) -> Result<()> {
        let (input, output) = (
            self.facts.value(node.inputs[0]),
            self.facts.value(node.output),
        );
        let outer = input.shape[..axis].iter().product::<usize>().max(1);
        let run = is_run(&input.shape, axis, output.shape[axis]);
        let inner = bytes(output) / outer / output.shape[axis].max(1);
        let (from, to) = (
            self.span(node, node.inputs[0])?,
            self.span(node, node.output)?,
        );
        if run && to.offset.get() as usize == from.offset.get() as usize + start * inner {
            return Ok(());
        }
        let parameters = format::Blocks {
            block: self.facts.u32(node, bytes(output) / outer)?,
            stride: self.facts.u32(node, bytes(input) / outer)?,
            offset: self.facts.u32(node, start * inner)?,
        };
        self.push(node, OpCode::Take, &parameters)
    }

    pub(super) fn concat(&mut self, node: &Node, axis: usize) -> Result<()> {
        let output = self.facts.value(node.output);
        let outer: usize = output.shape[..axis].iter().product();
        let stride = bytes(output) / outer.max(1);
        let mut at = self.span(node, node.output)?.offset.get() as usize;
        let mut made = true;
        for &id in &node.inputs {
            made &= self.span(node, id)?.offset.get() as usize == at;
            at += bytes(self.facts.value(id));
        }
        if outer == 1 && made {
            return Ok(());
        }
        let mut offset = 0;
        for (i, &id) in node.inputs.iter().enumerate() {
            let input = self.span(node, id)?;
            let block = bytes(self.facts.value(id)) / outer.max(1);
            let parameters = format::Blocks {
                block: self.facts.u32(node, block)?,
                stride: self.facts.u32(node, stride)?,
                offset: self.facts.u32(node, offset)?,
            };
            offset += block;
            self.push_from(
                node,
                input,
                OpCode::Place,
                &parameters,
                i + 1 == node.inputs.len(),
            )?;
        }
        Ok(())
    }
}
