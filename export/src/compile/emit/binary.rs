//! Functions of two tensors.

use super::{Emitter, Result, clamp_record};
use crate::compile::Rounding;
use crate::compile::weights::{fixed_sum, multipliers};
use crate::graph::{Binary, Clamp, DType, Data, Node, ValueId};
use kinglet::format::{self, OpCode, Span};

impl Emitter<'_> {
    pub(super) fn binary(&mut self, node: &Node, op: Binary, clamp: Clamp) -> Result<()> {
        let output = self.facts.value(node.output).clone();
        let whole = |e: &Self, id: ValueId| {
            e.spans.contains_key(&id) && e.facts.value(id).len() == output.len()
        };
        let [first, second] = node.inputs[..] else {
            return Err(self.facts.unsupported(node, "two operands expected"));
        };
        let in_place_second = || {
            self.spans.get(&second).map(|s| s.offset)
                == self.spans.get(&node.output).map(|s| s.offset)
        };
        // The first operand is the one that the result may overwrite: whole, and not a constant.
        let swapped = !whole(self, first) || (in_place_second() && whole(self, second));
        let (a, b) = if swapped {
            (second, first)
        } else {
            (first, second)
        };
        if !whole(self, a) {
            return Err(self.facts.unsupported(
                node,
                "both operands would have to be broadcast; expand one of them first",
            ));
        }
        let operand = self.operand(node, b, &output.shape)?;
        let input = self.span(node, a)?;
        if output.dtype == DType::F32 {
            let code = match (op, swapped) {
                (Binary::Add, _) => OpCode::AddF32,
                (Binary::Mul, _) => OpCode::MulF32,
                (Binary::Sub, false) => OpCode::SubF32,
                (Binary::Sub, true) => return self.subtract_from(node, operand, input, clamp),
                (Binary::Div, false) => OpCode::DivF32,
                (Binary::Div, true) => OpCode::DivOfF32,
                (Binary::Min, _) => OpCode::MinF32,
                (Binary::Max, _) => OpCode::MaxF32,
                (Binary::Pow, false) => OpCode::PowF32,
                (Binary::Pow, true) => OpCode::PowOfF32,
                (Binary::Equal, _) => OpCode::EqualF32,
                (Binary::Less, false) => OpCode::LessF32,
                (Binary::Less, true) => OpCode::GreaterF32,
                (Binary::LessOrEqual, false) => OpCode::LessOrEqualF32,
                (Binary::LessOrEqual, true) => OpCode::GreaterOrEqualF32,
            };
            let parameters = format::BinaryF32 {
                b: operand,
                clamp: clamp_record(clamp),
            };
            return self.push_from(node, input, code, &parameters, true);
        }
        let (qa, qb, y) = (
            self.facts.affine(node, a)?,
            self.facts.affine(node, b)?,
            self.facts.affine(node, node.output)?,
        );
        if self.rounding == Rounding::Tflite {
            let op = (op, clamp, swapped);
            return self.binary_tflite(node, op, (input, operand), [qa, qb, y]);
        }
        let int8 = self.facts.int8(node, qa, y, clamp)?;
        match op {
            Binary::Add | Binary::Sub => {
                let mut sum = fixed_sum(qa, qb, y, if op == Binary::Sub { -1.0 } else { 1.0 });
                if op == Binary::Sub && swapped {
                    // b − a: the signs of both change.
                    sum.factors = (-sum.factors.0, -sum.factors.1);
                    sum.offset = -sum.offset;
                }
                let parameters = format::AddI8 {
                    b: operand,
                    factor_a: sum.factors.0.into(),
                    factor_b: sum.factors.1.into(),
                    offset: sum.offset.into(),
                    multiplier: sum.multiplier.into(),
                    int8,
                };
                self.push_from(node, input, OpCode::AddI8, &parameters, true)
            }
            Binary::Mul => {
                let parameters = format::MulI8 {
                    b: operand,
                    b_zero_point: qb.zero_point.into(),
                    multiplier: multipliers(qa.scale, &[qb.scale], y.scale, 1)[0].into(),
                    int8,
                };
                self.push_from(node, input, OpCode::MulI8, &parameters, true)
            }
            _ => Err(self.facts.unsupported(node, "it has no int8 form")),
        }
    }

    /// `first − x` where only `x` has the result's shape: `x · −1 + first`, which rounds alike.
    fn subtract_from(
        &mut self,
        node: &Node,
        first: format::Operand,
        x: Span,
        clamp: Clamp,
    ) -> Result<()> {
        let elements = self.facts.u32(node, self.facts.value(node.output).len())?;
        let minus = format::Operand {
            constant: 1.into(),
            span: self.image.data(&[-1.0f32]),
            repeat: elements,
        };
        let negation = format::BinaryF32 {
            b: minus,
            clamp: clamp_record(Clamp::NONE),
        };
        self.push_from(node, x, OpCode::MulF32, &negation, false)?;
        let sum = format::BinaryF32 {
            b: first,
            clamp: clamp_record(clamp),
        };
        self.push_from(
            node,
            self.span(node, node.output)?,
            OpCode::AddF32,
            &sum,
            true,
        )
    }

    /// How the second operand of shape `b` meets a first operand of shape `whole`.
    pub(super) fn operand(
        &mut self,
        node: &Node,
        id: ValueId,
        whole: &[usize],
    ) -> Result<format::Operand> {
        let value = self.facts.value(id);
        let mut shape = vec![1; whole.len().saturating_sub(value.shape.len())];
        shape.extend(&value.shape);
        // Broadcast axes inside give the repetition; those outside the period; between them all must be whole.
        let inner = shape
            .iter()
            .zip(whole)
            .rev()
            .take_while(|(b, _)| **b == 1)
            .count();
        let outer = shape.iter().take_while(|b| **b == 1).count();
        let middle = outer.min(shape.len())..shape.len() - inner.min(shape.len());
        let one_step = middle.is_empty() || shape[middle.clone()] == whole[middle];
        if shape.len() != whole.len() || (!one_step && value.data.is_none()) {
            let reason = format!(
                "shape {:?} cannot be broadcast to {whole:?} in one step",
                value.shape
            );
            return Err(self.facts.unsupported(node, reason));
        }
        let (data, inner) = match &value.data {
            // Costs flash, but runs.
            Some(data) if !one_step => (Some(expand(data, &shape, whole)), 0),
            data => (data.clone(), inner),
        };
        let repeat: usize = whole[whole.len() - inner..].iter().product();
        let repeat = self.facts.u32(node, repeat)?;
        let (constant, span) = match data {
            Some(Data::F32(data)) => (1, self.image.data(&data)),
            Some(Data::I8(data)) => (1, self.image.data(&data)),
            Some(_) => {
                return Err(self
                    .facts
                    .unsupported(node, "a constant operand must be f32 or int8"));
            }
            None => (0, self.span(node, id)?),
        };
        Ok(format::Operand {
            constant: constant.into(),
            span,
            repeat,
        })
    }
}

/// `data` of `shape`, broadcast to `whole` of the same rank.
fn expand(data: &Data, shape: &[usize], whole: &[usize]) -> Data {
    let source = |at: usize| {
        let (mut rest, mut stride, mut index) = (at, 1, 0);
        for (&from, &to) in shape.iter().zip(whole).rev() {
            index += rest % to % from * stride;
            rest /= to;
            stride *= from;
        }
        index
    };
    let indices = (0..whole.iter().product()).map(source);
    match data {
        Data::F32(v) => Data::F32(indices.map(|i| v[i]).collect()),
        Data::I8(v) => Data::I8(indices.map(|i| v[i]).collect()),
        Data::U8(v) => Data::U8(indices.map(|i| v[i]).collect()),
        Data::I32(v) => Data::I32(indices.map(|i| v[i]).collect()),
        Data::I64(v) => Data::I64(indices.map(|i| v[i]).collect()),
    }
}
