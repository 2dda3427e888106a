//! Building blocks of operators that become several nodes.

use super::OnnxError;
use super::attributes::OnnxNode;
use super::elementwise::broadcast;
use super::import::Importer;
use crate::graph::{Binary, Clamp, DType, Data, Op, Reduction, Unary, ValueId};

/// What the floats of a value stand for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Themselves.
    Real,
    /// Integers; exact up to 2²⁴.
    Integer,
    /// 1 and 0.
    Truth,
}

impl Importer<'_> {
    /// A constant of rank 0.
    pub(super) fn scalar(&mut self, value: f32) -> ValueId {
        self.add_constant(
            &format!("constant_{value}"),
            vec![],
            Data::F32(vec![value]),
            None,
        )
    }

    /// What a value stands for.
    pub(super) fn kind(&self, id: ValueId) -> Kind {
        let integer = matches!(self.graph[id].data, Some(Data::I32(_) | Data::I64(_)));
        match self.kinds.get(&id) {
            Some(&kind) => kind,
            None if integer => Kind::Integer,
            None => Kind::Real,
        }
    }

    /// Operand `i` as floats; integer constants are converted.
    pub(super) fn number(&mut self, node: &OnnxNode, i: usize) -> Result<ValueId, OnnxError> {
        let id = self.operand(node, i)?;
        self.as_floats(node, id)
    }

    fn as_floats(&mut self, node: &OnnxNode, id: ValueId) -> Result<ValueId, OnnxError> {
        let value = &self.graph[id];
        let (shape, name) = (value.shape.clone(), format!("{}_float", value.name));
        let floats: Vec<f32> = match &value.data {
            Some(Data::I64(v)) => v.iter().map(|&v| v as f32).collect(),
            Some(Data::I32(v)) => v.iter().map(|&v| v as f32).collect(),
            Some(Data::U8(v)) => v.iter().map(|&v| v.into()).collect(),
            Some(Data::I8(v)) => v.iter().map(|&v| v.into()).collect(),
            // Bytes without a scale are numbers where a Cast says so; their own arithmetic would wrap around.
            None if value.dtype == DType::U8
                && value.quantization.is_none()
                && node.op() == "Cast" =>
            {
                return Ok(self.emit(&name, Op::Convert, vec![id], &name, shape, DType::F32));
            }
            _ if value.dtype == DType::F32 => return Ok(id),
            _ => {
                let message = format!(
                    "`{}` is {:?}; arithmetic is on floats: put DequantizeLinear before it",
                    value.name, value.dtype
                );
                return Err(node.invalid(message));
            }
        };
        let kind = self.kind(id);
        let constant = self.add_constant(&name, shape, Data::F32(floats), None);
        if kind != Kind::Real {
            self.kinds.insert(constant, kind);
        }
        Ok(constant)
    }

    /// A node with a float result under a name made from the ONNX node's.
    pub(super) fn step(
        &mut self,
        node: &OnnxNode,
        what: &str,
        op: Op,
        inputs: Vec<ValueId>,
        shape: Vec<usize>,
    ) -> Result<ValueId, OnnxError> {
        let name = format!("{}_{what}", node.output()?);
        Ok(self.emit(&name, op, inputs, &name, shape, DType::F32))
    }

    /// A function of one value.
    pub(super) fn apply(
        &mut self,
        node: &OnnxNode,
        function: Unary,
        x: ValueId,
    ) -> Result<ValueId, OnnxError> {
        let (op, shape) = (Op::Unary(function), self.shape(x));
        let what = crate::passes::op_name(&op).to_lowercase();
        self.step(node, &what, op, vec![x], shape)
    }

    /// A function of two values, broadcast.
    pub(super) fn combine(
        &mut self,
        node: &OnnxNode,
        op: Binary,
        a: ValueId,
        b: ValueId,
    ) -> Result<ValueId, OnnxError> {
        let (from, with) = (self.shape(a), self.shape(b));
        let shape = broadcast(&from, &with)
            .ok_or_else(|| node.invalid(format!("{from:?} and {with:?} do not broadcast")))?;
        let clamp = Clamp::NONE;
        let op = Op::Binary { op, clamp };
        let what = crate::passes::op_name(&op).to_lowercase();
        self.step(node, &what, op, vec![a, b], shape)
    }

    /// A function of a value and a number.
    pub(super) fn with(
        &mut self,
        node: &OnnxNode,
        op: Binary,
        a: ValueId,
        b: f32,
    ) -> Result<ValueId, OnnxError> {
        let b = self.scalar(b);
        self.combine(node, op, a, b)
    }

    /// `condition ≠ 0 ? a : b`, broadcast.
    pub(super) fn choose(
        &mut self,
        node: &OnnxNode,
        condition: ValueId,
        a: ValueId,
        b: ValueId,
    ) -> Result<ValueId, OnnxError> {
        let shapes = [condition, a, b].map(|id| self.shape(id));
        let shape = broadcast(&shapes[0], &shapes[1]).and_then(|s| broadcast(&s, &shapes[2]));
        let shape = shape.ok_or_else(|| node.invalid(format!("{shapes:?} do not broadcast")))?;
        self.step(node, "where", Op::Select, vec![condition, a, b], shape)
    }

    /// Reduces `axes` (sorted), which become 1.
    pub(super) fn reduced(
        &mut self,
        node: &OnnxNode,
        reduction: Reduction,
        mut x: ValueId,
        axes: &[usize],
    ) -> Result<ValueId, OnnxError> {
        // Innermost first; axes that are side by side go together.
        let mut rest = axes.to_vec();
        while let Some(last) = rest.pop() {
            let mut run = vec![last];
            while let Some(&before) = rest.last()
                && before + 1 == run[0]
            {
                run.insert(0, before);
                rest.pop();
            }
            let mut shape = self.shape(x);
            for &axis in &run {
                shape[axis] = 1;
            }
            let axes = run;
            x = self.step(
                node,
                "reduced",
                Op::Reduce { reduction, axes },
                vec![x],
                shape,
            )?;
        }
        Ok(x)
    }

    /// The mean over `axes`, which become 1.
    pub(super) fn mean(
        &mut self,
        node: &OnnxNode,
        x: ValueId,
        axes: &[usize],
    ) -> Result<ValueId, OnnxError> {
        let count: usize = axes.iter().map(|&a| self.shape(x)[a]).product();
        let sum = self.reduced(node, Reduction::Sum, x, axes)?;
        self.with(node, Binary::Div, sum, count as f32)
    }

    /// Towards zero.
    pub(super) fn truncated(&mut self, node: &OnnxNode, x: ValueId) -> Result<ValueId, OnnxError> {
        let (sign, size) = (
            self.apply(node, Unary::Sign, x)?,
            self.apply(node, Unary::Abs, x)?,
        );
        let size = self.apply(node, Unary::Floor, size)?;
        self.combine(node, Binary::Mul, sign, size)
    }

    /// `x ≠ 0` as 1 or 0.
    pub(super) fn truth(&mut self, node: &OnnxNode, x: ValueId) -> Result<ValueId, OnnxError> {
        let zero = self.with(node, Binary::Equal, x, 0.0)?;
        self.negated(node, zero)
    }

    /// `1 − x`.
    pub(super) fn negated(&mut self, node: &OnnxNode, x: ValueId) -> Result<ValueId, OnnxError> {
        let minus = self.with(node, Binary::Mul, x, -1.0)?;
        self.with(node, Binary::Add, minus, 1.0)
    }

    /// `x` broadcast to `shape`.
    pub(super) fn expanded(
        &mut self,
        node: &OnnxNode,
        x: ValueId,
        shape: &[usize],
    ) -> Result<ValueId, OnnxError> {
        let from = self.shape(x);
        if from == shape {
            return Ok(x);
        }
        let missing = shape.len().saturating_sub(from.len());
        let strides = (0..shape.len()).map(|axis| match axis.checked_sub(missing) {
            Some(own) if from[own] == shape[axis] => {
                from[own + 1..].iter().product::<usize>() as isize
            }
            _ => 0,
        });
        let strides = strides.collect();
        self.moved(node, x, strides, 0, shape.to_vec())
    }

    /// Strided movement of any type.
    pub(super) fn moved(
        &mut self,
        node: &OnnxNode,
        x: ValueId,
        strides: Vec<isize>,
        offset: usize,
        shape: Vec<usize>,
    ) -> Result<ValueId, OnnxError> {
        let op = Op::Strided { strides, offset };
        self.movement(node, "moved", op, vec![x], shape)
    }

    /// A node that moves elements of any type; constants are loaded, since movement reads the arena.
    pub(super) fn movement(
        &mut self,
        node: &OnnxNode,
        what: &str,
        op: Op,
        inputs: Vec<ValueId>,
        shape: Vec<usize>,
    ) -> Result<ValueId, OnnxError> {
        if shape.len() > kinglet::format::MAX_RANK {
            return Err(node.unsupported(
                "rank",
                shape.len(),
                format!("tensors have at most {} axes", kinglet::format::MAX_RANK),
            ));
        }
        let x = inputs[0];
        let (dtype, quantization) = (self.graph[x].dtype, self.graph[x].quantization.clone());
        let name = format!("{}_{what}", node.output()?);
        let id = self.emit(&name, op, inputs, &name, shape, dtype);
        self.graph[id].quantization = quantization;
        Ok(id)
    }
}
