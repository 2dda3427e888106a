//! Convolutions and fully connected layers.

use super::{Emitter, Result, clamp_record};
use crate::compile::coded::Coding;
use crate::compile::layers::Layer;
use crate::compile::layout::transpose_data;
use crate::compile::packing::{self, Weights};
use crate::compile::tflite::Scales;
use crate::compile::weights::fixed_sum;
use crate::graph::{Clamp, Data, Node, Op, Window};
use kinglet::format::{self, OpCode, Span};
use kinglet::kernels::{Geometry, panel};

impl<'g> Emitter<'g> {
    /// An int8 layer, step `t`.
    pub(super) fn layer(&mut self, t: usize, node: &Node, layer: Layer) -> Result<()> {
        let input = self.span(node, node.inputs[0])?;
        let weights = match &layer.constants.weights {
            Weights::I8(weights) => self.image.data(weights),
            Weights::I16(weights) => self.image.data(weights),
            Weights::Codes(codes) => self.image.data(codes),
        };
        let nothing = Span::new(0, 0);
        let (mut bias, mut multipliers) = (nothing, nothing);
        // Some forms have them among the weights.
        if !layer.constants.bias.is_empty() {
            bias = self.image.data(&layer.constants.bias);
            multipliers = match &layer.scales {
                None => self.image.data(&layer.constants.multipliers),
                Some(Scales::Fixed(scales)) => self.image.data(scales),
                Some(Scales::Double(scales)) => self.image.data(scales),
            };
        }
        let scratch = self.scratch.get(&t).copied().unwrap_or(nothing);
        let Op::Conv2d { window, groups, .. } = &node.op else {
            let parameters = format::FullyConnectedI8 {
                shape: self.rows(node)?,
                int8: layer.int8,
                weights,
                bias,
                multipliers,
                scratch,
            };
            let Some(coding) = &layer.coding else {
                return self.push_from(node, input, layer.code, &parameters, true);
            };
            let (operator, record) = coding.record(layer.code, |t| self.image.data(t));
            let parameters = format::CodedFullyConnectedI8 {
                coding: record,
                layer: parameters,
            };
            self.push_from(node, input, operator, &parameters, true)?;
            self.is_coded(layer.code, coding);
            return Ok(());
        };
        let conv = format::ConvI8 {
            window: self.facts.window(node, window)?,
            groups: self.facts.u32(node, *groups)?,
            int8: layer.int8,
            weights,
            bias,
            multipliers,
            scratch,
        };
        let code = layer.code;
        match (self.residuals.get(&t), &layer.coding) {
            (None, None) => self.push_from(node, input, code, &conv, true),
            (None, Some(coding)) => {
                let (operator, record) = coding.record(code, |t| self.image.data(t));
                let parameters = format::CodedConvI8 {
                    coding: record,
                    layer: conv,
                };
                self.push_from(node, input, operator, &parameters, true)?;
                self.is_coded(code, coding);
                Ok(())
            }
            (Some(&add), coding) => {
                let add = &self.facts.graph.nodes[add];
                let residual = self.residual(node, add)?;
                let parameters = format::ConvAddI8 { conv, residual };
                let Some(coding) = coding else {
                    return self.push_to(node, input, add.output, code, &parameters, true);
                };
                let (operator, record) = coding.record(code, |t| self.image.data(t));
                let parameters = format::CodedConvAddI8 {
                    coding: record,
                    layer: parameters,
                };
                self.push_to(node, input, add.output, operator, &parameters, true)?;
                self.is_coded(code, coding);
                Ok(())
            }
        }
    }

    /// The step just emitted is a coded layer of operator `code`.
    fn is_coded(&mut self, code: OpCode, coding: &Coding) {
        self.image.uses(code);
        if let Some(step) = self.steps.last_mut() {
            step.operator = code.name();
            step.coded = Some(coding.step());
        }
    }

    /// The addition of `conv`'s result and the other operand of `add`.
    fn residual(&self, conv: &Node, add: &Node) -> Result<format::Residual> {
        let (Op::Binary { clamp, .. }, &[first, second]) = (&add.op, &add.inputs[..]) else {
            return Err(self.facts.unsupported(add, "two operands expected"));
        };
        let other = if first == conv.output { second } else { first };
        let a = self.facts.affine(add, conv.output)?;
        let b = self.facts.affine(add, other)?;
        let y = self.facts.affine(add, add.output)?;
        let sum = fixed_sum(a, b, y, 1.0);
        Ok(format::Residual {
            factor: sum.factors.0.into(),
            factor_b: sum.factors.1.into(),
            offset: sum.offset.into(),
            multiplier: sum.multiplier.into(),
            int8: self.facts.int8(add, a, y, *clamp)?,
        })
    }

    /// A float convolution.
    pub(super) fn conv(
        &mut self,
        node: &Node,
        window: &Window,
        groups: usize,
        clamp: Clamp,
    ) -> Result<()> {
        let w = self.facts.value(node.inputs[1]);
        let depthwise = groups > 1 && w.shape[1] == 1;
        let window = self.facts.window(node, window)?;
        let in_panels = || Geometry::new(&window).is_some_and(|g| panel::layer_len(&g).is_some());
        let (code, order) = if depthwise {
            (OpCode::DepthwiseF32, [2, 3, 0, 1])
        } else if self.panels && groups == 1 && in_panels() {
            (OpCode::ConvF32Panel, [0, 2, 3, 1])
        } else {
            (OpCode::ConvF32, [0, 2, 3, 1])
        };
        let mut weights = transpose_data(self.float_weights(node)?, &w.shape, &order);
        let mut bias = self.bias_f32(node, w.shape[0])?;
        if code == OpCode::ConvF32Panel {
            (weights, bias) = packing::panels(&weights, bias);
        }
        let parameters = format::ConvF32 {
            window,
            groups: self.facts.u32(node, groups)?,
            clamp: clamp_record(clamp),
            weights: self.image.data(&weights),
            bias: self.image.data(&bias),
        };
        self.push(node, code, &parameters)
    }

    /// A float fully connected layer.
    pub(super) fn fully_connected(&mut self, node: &Node, clamp: Clamp) -> Result<()> {
        let shape = self.rows(node)?;
        let weights = self.float_weights(node)?;
        let bias = self.bias_f32(node, self.facts.value(node.inputs[1]).shape[0])?;
        let (code, weights, bias) = if self.panels {
            let (weights, bias) = packing::panels(weights, bias);
            let code = OpCode::FullyConnectedF32Panel;
            (code, self.image.data(&weights), bias)
        } else {
            (OpCode::FullyConnectedF32, self.image.data(weights), bias)
        };
        let parameters = format::FullyConnectedF32 {
            shape,
            clamp: clamp_record(clamp),
            weights,
            bias: self.image.data(&bias),
        };
        self.push(node, code, &parameters)
    }

    /// Rows, inputs a row, outputs a row.
    fn rows(&self, node: &Node) -> Result<[zerocopy::little_endian::U32; 3]> {
        let [outputs, inputs] = self.facts.value(node.inputs[1]).shape[..] else {
            return Err(self.facts.unsupported(node, "weights must be a matrix"));
        };
        let rows = self.facts.value(node.inputs[0]).len() / inputs.max(1);
        Ok([
            self.facts.u32(node, rows)?,
            self.facts.u32(node, inputs)?,
            self.facts.u32(node, outputs)?,
        ])
    }

    fn float_weights(&self, node: &Node) -> Result<&'g [f32]> {
        match &self.facts.value(node.inputs[1]).data {
            Some(Data::F32(data)) => Ok(data),
            Some(_) => Err(self
                .facts
                .unsupported(node, "weights of a float layer must be f32")),
            None => Err(self.facts.unsupported(node, "weights must be constants")),
        }
    }

    fn bias_f32(&self, node: &Node, channels: usize) -> Result<Vec<f32>> {
        let bias = node.inputs.get(2);
        match bias.map(|&b| self.facts.value(b).data.clone()) {
            None => Ok(vec![0.0; channels]),
            Some(Some(Data::F32(data))) if data.len() == channels => Ok(data),
            _ => Err(self.facts.unsupported(
                node,
                "the bias must be a constant, one number per output channel",
            )),
        }
    }
}
