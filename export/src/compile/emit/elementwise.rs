//! Functions of one tensor: pooling, element-wise functions, softmax.

use super::{Emitter, Result};
use crate::compile::Rounding;
use crate::compile::weights::{Affine, exponentials, function, table};
use crate::graph::{Clamp, DType, Node, Pool, Unary, Window};
use kinglet::format::{self, OpCode};

impl Emitter<'_> {
    pub(super) fn pool(&mut self, node: &Node, pool: Pool, window: &Window) -> Result<()> {
        let float = self.facts.value(node.inputs[0]).dtype == DType::F32;
        let divisor = match pool {
            Pool::Average {
                count_include_pad: true,
            } => window.kernel[0] * window.kernel[1],
            _ => 0,
        };
        let none = Affine {
            scale: 1.0,
            zero_point: 0,
        };
        let (x, y) = if float {
            (none, none)
        } else {
            (
                self.facts.affine(node, node.inputs[0])?,
                self.facts.affine(node, node.output)?,
            )
        };
        if self.rounding == Rounding::Tflite && !float && pool != Pool::Max {
            return self.average_tflite(node, window, divisor, [x, y]);
        }
        let code = match (pool, float) {
            (Pool::Average { .. }, true) => OpCode::AveragePoolF32,
            (Pool::Average { .. }, false) => OpCode::AveragePoolI8,
            (Pool::Max, true) => OpCode::MaxPoolF32,
            (Pool::Max, false) if x == y => OpCode::MaxPoolI8,
            (Pool::Max, false) => {
                return Err(self
                    .facts
                    .unsupported(node, "input and output quantisation differ"));
            }
        };
        let parameters = format::Pool {
            window: self.facts.window(node, window)?,
            divisor: self.facts.u32(node, divisor)?,
            input_scale: x.scale.into(),
            output_scale: y.scale.into(),
            int8: self.facts.int8(node, x, y, Clamp::NONE)?,
        };
        self.push(node, code, &parameters)
    }

    pub(super) fn unary(&mut self, node: &Node, unary: Unary) -> Result<()> {
        if self.facts.value(node.inputs[0]).dtype != DType::F32 {
            if self.rounding == Rounding::Tflite {
                return self.function_tflite(node, unary);
            }
            return self.lookup(node, function(unary));
        }
        let (code, alpha, beta) = match unary {
            Unary::Clamp(c) => (OpCode::ClampF32, c.min, c.max),
            Unary::Sigmoid => (OpCode::SigmoidF32, 0.0, 0.0),
            Unary::Tanh => (OpCode::TanhF32, 0.0, 0.0),
            Unary::LeakyRelu { alpha } => (OpCode::LeakyReluF32, alpha, 0.0),
            Unary::HardSigmoid { alpha, beta } => (OpCode::HardSigmoidF32, alpha, beta),
            Unary::HardSwish => (OpCode::HardSwishF32, 0.0, 0.0),
            Unary::Sqrt => (OpCode::SqrtF32, 0.0, 0.0),
            Unary::Exp => (OpCode::ExpF32, 0.0, 0.0),
            Unary::Log => (OpCode::LogF32, 0.0, 0.0),
            Unary::Abs => (OpCode::AbsF32, 0.0, 0.0),
            Unary::Erf => (OpCode::ErfF32, 0.0, 0.0),
            Unary::Floor => (OpCode::FloorF32, 0.0, 0.0),
            Unary::Ceil => (OpCode::CeilF32, 0.0, 0.0),
            Unary::Round => (OpCode::RoundF32, 0.0, 0.0),
            Unary::Sign => (OpCode::SignF32, 0.0, 0.0),
            Unary::Sin => (OpCode::SinF32, 0.0, 0.0),
            Unary::Cos => (OpCode::CosF32, 0.0, 0.0),
        };
        self.push(
            node,
            code,
            &format::UnaryF32 {
                alpha: alpha.into(),
                beta: beta.into(),
            },
        )
    }

    pub(super) fn lookup(&mut self, node: &Node, f: impl Fn(f32) -> f32) -> Result<()> {
        let (x, y) = (
            self.facts.affine(node, node.inputs[0])?,
            self.facts.affine(node, node.output)?,
        );
        let signed = |id| self.facts.value(id).dtype == DType::I8;
        let bytes = table(x, signed(node.inputs[0]), y, signed(node.output), f);
        let table = self.image.data(&bytes);
        self.push(node, OpCode::LookupI8, &format::LookupI8 { table })
    }

    pub(super) fn softmax(&mut self, node: &Node, axis: usize) -> Result<()> {
        let value = self.facts.value(node.inputs[0]);
        let row = self.facts.u32(node, value.shape[axis])?;
        if value.dtype == DType::F32 {
            return self.push(node, OpCode::SoftmaxF32, &format::SoftmaxF32 { row });
        }
        let (x, y) = (
            self.facts.affine(node, node.inputs[0])?,
            self.facts.affine(node, node.output)?,
        );
        if self.rounding == Rounding::Tflite {
            return self.softmax_tflite(node, row, [x, y]);
        }
        let table = self.image.data(&exponentials(x.scale));
        let parameters = format::SoftmaxI8 {
            row,
            table,
            output_scale: y.scale.into(),
            output_zero_point: y.zero_point.into(),
        };
        self.push(node, OpCode::SoftmaxI8, &parameters)
    }
}
