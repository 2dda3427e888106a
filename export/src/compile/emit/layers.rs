//! Convolutions and fully connected layers.

use super::{Emitter, Result, clamp_record};
use crate::compile::layout::transpose_data;
use crate::compile::weights::{fold_zero_point, multipliers};
use crate::graph::{Clamp, Data, Node, Window};
use kinglet::format::{self, OpCode, Span};

impl Emitter<'_> {
    pub(super) fn conv(
        &mut self,
        node: &Node,
        window: &Window,
        groups: usize,
        clamp: Clamp,
    ) -> Result<()> {
        let (x, w) = (node.inputs[0], node.inputs[1]);
        let shape = self.value(w).shape.clone();
        let channels = shape[0];
        let depthwise = groups > 1 && shape[1] == 1;
        let packing: [usize; 4] = if depthwise {
            [2, 3, 0, 1]
        } else {
            [0, 2, 3, 1]
        };
        let record = self.window(node, window)?;
        let groups = self.u32(node, groups)?;
        let input = self.span(node, x)?;
        match self.value(w).data.clone() {
            Some(Data::F32(data)) => {
                let code = if depthwise {
                    OpCode::DepthwiseF32
                } else {
                    OpCode::ConvF32
                };
                let parameters = format::ConvF32 {
                    window: record,
                    groups,
                    clamp: clamp_record(clamp),
                    weights: self.image.data(&transpose_data(&data, &shape, &packing)),
                    bias: self.bias_f32(node, channels)?,
                };
                self.push_from(node, input, code, &parameters, true)
            }
            Some(data) => {
                let weights = self.integer_weights(node, &data)?;
                let (int8, bias, multipliers) =
                    self.integer_layer(node, &weights, channels, clamp)?;
                let (weights, wide) = self.pack(&transpose_data(&weights, &shape, &packing));
                let code = match (depthwise, wide) {
                    (false, false) => OpCode::ConvI8,
                    (false, true) => OpCode::ConvI8W16,
                    (true, false) => OpCode::DepthwiseI8,
                    (true, true) => OpCode::DepthwiseI8W16,
                };
                let parameters = format::ConvI8 {
                    window: record,
                    groups,
                    int8,
                    weights,
                    bias,
                    multipliers,
                };
                self.push_from(node, input, code, &parameters, true)
            }
            None => Err(self.unsupported(node, "weights must be constants")),
        }
    }

    pub(super) fn fully_connected(&mut self, node: &Node, clamp: Clamp) -> Result<()> {
        let (x, w) = (node.inputs[0], node.inputs[1]);
        let [outputs, inputs] = self.value(w).shape[..] else {
            return Err(self.unsupported(node, "weights must be a matrix"));
        };
        let rows = self.value(x).len() / inputs.max(1);
        let shape = [
            self.u32(node, rows)?,
            self.u32(node, inputs)?,
            self.u32(node, outputs)?,
        ];
        let input = self.span(node, x)?;
        match self.value(w).data.clone() {
            Some(Data::F32(data)) => {
                let weights = self.image.data(&data);
                let bias = self.bias_f32(node, outputs)?;
                let parameters = format::FullyConnectedF32 {
                    shape,
                    clamp: clamp_record(clamp),
                    weights,
                    bias,
                };
                self.push_from(node, input, OpCode::FullyConnectedF32, &parameters, true)
            }
            Some(data) => {
                let weights = self.integer_weights(node, &data)?;
                let (int8, bias, multipliers) =
                    self.integer_layer(node, &weights, outputs, clamp)?;
                let (weights, wide) = self.pack(&weights);
                let code = if wide {
                    OpCode::FullyConnectedI8W16
                } else {
                    OpCode::FullyConnectedI8
                };
                let parameters = format::FullyConnectedI8 {
                    shape,
                    int8,
                    weights,
                    bias,
                    multipliers,
                };
                self.push_from(node, input, code, &parameters, true)
            }
            None => Err(self.unsupported(node, "weights must be constants")),
        }
    }

    fn bias_f32(&mut self, node: &Node, channels: usize) -> Result<Span> {
        let data = match node.inputs.get(2).map(|&b| self.value(b).data.clone()) {
            None => vec![0.0; channels],
            Some(Some(Data::F32(data))) if data.len() == channels => data,
            _ => {
                return Err(self.unsupported(
                    node,
                    "the bias must be a constant, one number per output channel",
                ));
            }
        };
        Ok(self.image.data(&data))
    }

    /// Symmetric weights; those that were asymmetric may need nine bits.
    fn integer_weights(&self, node: &Node, data: &Data) -> Result<Vec<i16>> {
        let too_wide = |_| {
            self.unsupported(
                node,
                "quantised weights must fit 16 bits around their zero point",
            )
        };
        match data {
            Data::I8(v) => Ok(v.iter().map(|&w| w.into()).collect()),
            Data::I32(v) => v
                .iter()
                .map(|&w| i16::try_from(w).map_err(too_wide))
                .collect(),
            _ => Err(self.unsupported(node, "weights must be f32 or int8")),
        }
    }

    /// Weights in the data section, and whether they take 16 bits.
    fn pack(&mut self, weights: &[i16]) -> (Span, bool) {
        let narrow: std::result::Result<Vec<i8>, _> =
            weights.iter().map(|&w| i8::try_from(w)).collect();
        match narrow {
            Ok(narrow) => (self.image.data(&narrow), false),
            Err(_) => (self.image.data(weights), true),
        }
    }

    /// Zero points and bounds, folded bias and multipliers of an int8 layer with weights `[channels, …]`.
    fn integer_layer(
        &mut self,
        node: &Node,
        weights: &[i16],
        channels: usize,
        clamp: Clamp,
    ) -> Result<(format::Int8, Span, Span)> {
        let (x, y) = (
            self.affine(node, node.inputs[0])?,
            self.affine(node, node.output)?,
        );
        let scales = match &self.value(node.inputs[1]).quantization {
            Some(q) if q.zero_point == 0 && (q.scales.len() == 1 || q.scales.len() == channels) => {
                q.scales.clone()
            }
            _ => {
                return Err(self.unsupported(
                    node,
                    "int8 weights need symmetric per-channel or per-tensor scales",
                ));
            }
        };
        let bias = match node.inputs.get(2).map(|&b| self.value(b).data.clone()) {
            None => vec![0; channels],
            Some(Some(Data::I32(data))) if data.len() == channels => data,
            _ => {
                return Err(self.unsupported(
                    node,
                    "the bias must be a constant int32, one per output channel",
                ));
            }
        };
        let folded = fold_zero_point(&node.name, weights, &bias, x.zero_point)?;
        let int8 = self.int8(node, x, y, clamp)?;
        let bias = self.image.data(&folded);
        let multipliers = self
            .image
            .data(&multipliers(x.scale, &scales, y.scale, channels));
        Ok((int8, bias, multipliers))
    }
}
