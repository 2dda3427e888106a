//! What the compiler asks about nodes and values, with errors that name the node.

use super::CompileError;
use super::weights::Affine;
use crate::graph::{Clamp, DType, Graph, Node, Value, ValueId, Window};
use crate::passes::op_name;
use kinglet::format;

pub(super) type Result<T> = std::result::Result<T, CompileError>;

/// A graph to ask.
#[derive(Clone, Copy)]
pub(super) struct Facts<'g> {
    pub(super) graph: &'g Graph,
}

impl<'g> Facts<'g> {
    pub(super) fn unsupported(&self, node: &Node, reason: impl Into<String>) -> CompileError {
        CompileError::Unsupported {
            node: node.name.clone(),
            operator: op_name(&node.op),
            reason: reason.into(),
        }
    }

    pub(super) fn value(&self, id: ValueId) -> &'g Value {
        &self.graph[id]
    }

    pub(super) fn require(&self, node: &Node, dtype: DType, id: ValueId) -> Result<()> {
        let value = self.value(id);
        if value.dtype == dtype {
            return Ok(());
        }
        Err(self.unsupported(
            node,
            format!(
                "`{}` has element type {:?}, {dtype:?} expected",
                value.name, value.dtype
            ),
        ))
    }

    pub(super) fn affine(&self, node: &Node, id: ValueId) -> Result<Affine> {
        match &self.value(id).quantization {
            Some(q) if q.scales.len() == 1 => Ok(Affine {
                scale: q.scales[0],
                zero_point: q.zero_point,
            }),
            _ => Err(self.unsupported(
                node,
                format!("`{}` has no per-tensor quantisation", self.value(id).name),
            )),
        }
    }

    pub(super) fn int8(
        &self,
        node: &Node,
        x: Affine,
        y: Affine,
        clamp: Clamp,
    ) -> Result<format::Int8> {
        let (min, max) = y.bounds(clamp);
        if i8::try_from(y.zero_point).is_err() || i8::try_from(x.zero_point).is_err() {
            return Err(self.unsupported(node, "a zero point is not an int8"));
        }
        Ok(format::Int8 {
            input_zero_point: x.zero_point.into(),
            output_zero_point: y.zero_point.into(),
            min: min.into(),
            max: max.into(),
        })
    }

    pub(super) fn window(&self, node: &Node, window: &Window) -> Result<format::Window> {
        let (x, y) = (
            &self.value(node.inputs[0]).shape,
            &self.value(node.output).shape,
        );
        let three = |s: &[usize]| -> Result<[zerocopy::little_endian::U32; 3]> {
            Ok([
                self.u32(node, s[1])?,
                self.u32(node, s[2])?,
                self.u32(node, s[3])?,
            ])
        };
        let two = |what, a: [usize; 2]| -> Result<[zerocopy::little_endian::U16; 2]> {
            let fit = |value| {
                let name = node.name.clone();
                u16::try_from(value).map_err(|_| CompileError::TooLarge {
                    node: name,
                    what,
                    value,
                })
            };
            Ok([fit(a[0])?.into(), fit(a[1])?.into()])
        };
        Ok(format::Window {
            batch: self.u32(node, x[0])?,
            input: three(x)?,
            output: three(y)?,
            kernel: two("kernel size", window.kernel)?,
            stride: two("stride", window.strides)?,
            dilation: two("dilation", window.dilations)?,
            pad: two("padding", [window.pads[0], window.pads[1]])?,
        })
    }

    pub(super) fn u32(&self, node: &Node, value: usize) -> Result<zerocopy::little_endian::U32> {
        let too_large = |_| CompileError::TooLarge {
            node: node.name.clone(),
            what: "dimension",
            value,
        };
        Ok(u32::try_from(value).map_err(too_large)?.into())
    }
}
