//! Steps in TensorFlow Lite's rounding that are no layers.

use super::{Emitter, Result};
use crate::compile::tflite::{self, Fixed};
use crate::compile::weights::Affine;
use crate::graph::{Binary, Clamp, DType, Node, Unary, Window};
use crate::passes::op_name;
use kinglet::format::{self, OpCode, Span};

/// Longest row of a softmax: its sum of exponentials has 12 bits before the point.
const MOST_ROW: usize = 4095;

impl Emitter<'_> {
    fn fixed(&self, node: &Node, real: f64) -> Result<format::Rescale> {
        Fixed::of(&node.name, op_name(&node.op), real).map(Fixed::record)
    }

    fn bounds(&self, node: &Node, x: Affine, y: Affine, clamp: Clamp) -> Result<format::Int8> {
        let (min, max) = tflite::bounds(y, clamp);
        Ok(format::Int8 {
            min: min.into(),
            max: max.into(),
            ..self.facts.int8(node, x, y, Clamp::NONE)?
        })
    }

    /// A sum, difference or product; `swapped` says that the node's second operand comes first.
    pub(super) fn binary_tflite(
        &mut self,
        node: &Node,
        (op, clamp, swapped): (Binary, Clamp, bool),
        (input, b): (Span, format::Operand),
        [qa, qb, y]: [Affine; 3],
    ) -> Result<()> {
        let int8 = self.bounds(node, qa, y, clamp)?;
        match op {
            Binary::Add | Binary::Sub => {
                let [scale_a, scale_b, scale] = tflite::sum_scales(qa.scale, qb.scale, y.scale);
                let signs = match (op, swapped) {
                    (Binary::Sub, false) => [1, -1],
                    (Binary::Sub, true) => [-1, 1],
                    _ => [1, 1],
                };
                let parameters = format::AddI8Tflite {
                    b,
                    b_zero_point: qb.zero_point.into(),
                    signs: signs.map(Into::into),
                    scales: [self.fixed(node, scale_a)?, self.fixed(node, scale_b)?],
                    rescale: self.fixed(node, scale)?,
                    int8,
                };
                self.push_from(node, input, OpCode::AddI8Tflite, &parameters, true)
            }
            Binary::Mul => {
                // In the node's order, and in single precision.
                let (first, second) = if swapped { (qb, qa) } else { (qa, qb) };
                let scale = first.scale * second.scale / y.scale;
                let parameters = format::MulI8Tflite {
                    b,
                    b_zero_point: qb.zero_point.into(),
                    rescale: self.fixed(node, scale.into())?,
                    int8,
                };
                self.push_from(node, input, OpCode::MulI8Tflite, &parameters, true)
            }
            _ => Err(self.facts.unsupported(node, "it has no int8 form")),
        }
    }

    /// An average pool, which keeps its scale, or a mean: over a whole plane in strides of 1, as the importers write it, or with
    /// another scale behind it.
    pub(super) fn average_tflite(
        &mut self,
        node: &Node,
        window: &Window,
        divisor: usize,
        [x, y]: [Affine; 2],
    ) -> Result<()> {
        let shape = &self.facts.value(node.inputs[0]).shape;
        let padded = window.pads != [0; 4];
        let whole = shape[1..3] == window.kernel && !padded && window.strides == [1, 1];
        let int8 = self.facts.int8(node, x, y, Clamp::NONE)?;
        let geometry = self.facts.window(node, window)?;
        if x == y && !whole {
            let parameters = format::Pool {
                window: geometry,
                divisor: self.facts.u32(node, divisor)?,
                input_scale: x.scale.into(),
                output_scale: y.scale.into(),
                int8,
            };
            return self.push(node, OpCode::AveragePoolI8Tflite, &parameters);
        }
        if padded {
            let reason = "TensorFlow Lite's average pooling of padded windows has one scale and zero point for its input and its \
                 result; use `--rounding kinglet`";
            return Err(self.facts.unsupported(node, reason));
        }
        let count = window.kernel[0] * window.kernel[1];
        let scale = f64::from(x.scale) / f64::from(y.scale);
        let fixed = Fixed::of(&node.name, op_name(&node.op), scale)?;
        let parameters = format::MeanI8Tflite {
            window: geometry,
            rescale: fixed.divided(count).record(),
            int8,
        };
        self.push(node, OpCode::MeanI8Tflite, &parameters)
    }

    pub(super) fn function_tflite(&mut self, node: &Node, unary: Unary) -> Result<()> {
        let table = |x, x_signed, y, y_signed| tflite::table(unary, x, x_signed, y, y_signed);
        self.table_tflite(node, table)
    }

    pub(super) fn requantize_tflite(&mut self, node: &Node) -> Result<()> {
        self.table_tflite(node, tflite::requantize_table)
    }

    fn table_tflite(
        &mut self,
        node: &Node,
        table: impl Fn(Affine, bool, Affine, bool) -> Option<[u8; 256]>,
    ) -> Result<()> {
        let x = self.facts.affine(node, node.inputs[0])?;
        let y = self.facts.affine(node, node.output)?;
        let signed = |id| self.facts.value(id).dtype == DType::I8;
        let bytes = table(x, signed(node.inputs[0]), y, signed(node.output));
        let bytes = bytes.ok_or_else(|| {
            let reason = "TensorFlow Lite has no fixed-point multiplier for its scales";
            self.facts.unsupported(node, reason)
        })?;
        let table = self.image.data(&bytes);
        self.push(node, OpCode::LookupI8, &format::LookupI8 { table })
    }

    pub(super) fn softmax_tflite(
        &mut self,
        node: &Node,
        row: zerocopy::little_endian::U32,
        [x, y]: [Affine; 2],
    ) -> Result<()> {
        let wrong = |reason: String| Err(self.facts.unsupported(node, reason));
        if y.zero_point != -128 || (y.scale * 256.0 - 1.0).abs() > 1e-3 {
            return wrong(format!(
                "TensorFlow Lite's softmax has the scale 1/256 and the zero point -128, not {} and {}",
                y.scale, y.zero_point
            ));
        }
        if row.get() as usize > MOST_ROW {
            return wrong(format!(
                "TensorFlow Lite's softmax sums at most {MOST_ROW} elements, not {row}"
            ));
        }
        let Some(table) = tflite::exponentials(x.scale) else {
            return wrong(format!(
                "TensorFlow Lite's softmax has no fixed-point form for a scale of {}",
                x.scale
            ));
        };
        let table = self.image.data(&table);
        let parameters = format::SoftmaxI8Tflite { row, table };
        self.push(node, OpCode::SoftmaxI8Tflite, &parameters)
    }
}
