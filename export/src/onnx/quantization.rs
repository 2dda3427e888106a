//! QuantizeLinear and DequantizeLinear: scales and zero points move from operands to values.

use super::OnnxError;
use super::attributes::OnnxNode;
use super::import::Importer;
use crate::graph::{DType, Data, Op, Quantization, ValueId};

/// Scales and zero points as the node gives them.
struct Parameters {
    scales: Vec<f32>,
    zero_points: Vec<i32>,
    zero_point_dtype: Option<DType>,
    axis: Option<usize>,
}

/// The integers of a constant, widened.
pub(crate) fn integers(data: &Data) -> Option<Vec<i32>> {
    match data {
        Data::I8(v) => Some(v.iter().map(|&x| i32::from(x)).collect()),
        Data::U8(v) => Some(v.iter().map(|&x| i32::from(x)).collect()),
        Data::I32(v) => Some(v.clone()),
        Data::F32(_) | Data::I64(_) => None,
    }
}

/// `saturate(round_half_even(x / scale) + zero_point)`: ONNX's QuantizeLinear.
pub(crate) fn quantize_value(x: f32, scale: f32, zero_point: i32, dtype: DType) -> i32 {
    let (low, high) = if dtype == DType::U8 {
        (0, 255)
    } else {
        (-128, 127)
    };
    // Saturating in f32 first keeps the addition in range; NaN becomes the zero point.
    let rounded = (x / scale).round_ties_even().clamp(-1024.0, 1024.0) as i32;
    (rounded + zero_point).clamp(low, high)
}

/// Subtracts zero points (one, or one per index of `axis`) from integers.
fn center(values: &[i32], shape: &[usize], axis: Option<usize>, zero_points: &[i32]) -> Vec<i32> {
    let inner: usize = axis.map_or(1, |a| shape[a + 1..].iter().product());
    let channels = axis.map_or(1, |a| shape[a]);
    values
        .iter()
        .enumerate()
        .map(|(i, &v)| {
            v.wrapping_sub(zero_points[(i / inner.max(1)) % channels.max(1) % zero_points.len()])
        })
        .collect()
}

impl Importer<'_> {
    fn parameters(&mut self, node: &OnnxNode, shape: &[usize]) -> Result<Parameters, OnnxError> {
        if node.int("block_size", 0) != 0 {
            return Err(node.unsupported(
                "block_size",
                node.int("block_size", 0),
                "quantise per tensor or per axis",
            ));
        }
        let scales = self.constant_floats(node, 1, "scale")?;
        let (zero_points, zero_point_dtype) = match node.input(2) {
            Some(_) => {
                let data = self.constant(node, 2, "zero_point")?;
                let dtype = data.dtype();
                let zero_points = integers(data).ok_or_else(|| {
                    node.unsupported(
                        "zero_point",
                        format!("of type {dtype:?}"),
                        "quantise to int8 or uint8",
                    )
                })?;
                (zero_points, Some(dtype))
            }
            None => (vec![0; scales.len()], None),
        };
        if scales.is_empty() || zero_points.len() != scales.len() {
            let message = format!("{} scales, {} zero points", scales.len(), zero_points.len());
            return Err(node.invalid(message));
        }
        if let Some(bad) = scales.iter().find(|s| !(s.is_finite() && **s > 0.0)) {
            return Err(node.invalid(format!("scale {bad} is not a positive number")));
        }
        let mut axis = None;
        if scales.len() > 1 {
            let a = node.axis(node.int("axis", 1), shape.len(), false)?;
            if shape[a] != scales.len() {
                let message = format!("{} scales for axis {a} of {shape:?}", scales.len());
                return Err(node.invalid(message));
            }
            axis = Some(a);
        }
        Ok(Parameters {
            scales,
            zero_points,
            zero_point_dtype,
            axis,
        })
    }

    pub(super) fn quantize(&mut self, node: &OnnxNode) -> Result<ValueId, OnnxError> {
        let x = self.float(node, 0)?;
        let shape = self.shape(x);
        let p = self.parameters(node, &shape)?;
        let dtype = match (p.zero_point_dtype, node.int("output_dtype", 0)) {
            (Some(dtype @ (DType::I8 | DType::U8)), _) => dtype,
            (None, 3) => DType::I8,
            (None, 0 | 2) => DType::U8,
            (other, code) => {
                let value = other.map_or_else(|| code.to_string(), |d| format!("{d:?}"));
                return Err(node.unsupported("output type", value, "quantise to int8 or uint8"));
            }
        };
        if let Some(Data::F32(values)) = self.graph[x].data.clone() {
            let inner: usize = p.axis.map_or(1, |a| shape[a + 1..].iter().product());
            let pick = |i: usize| {
                if p.axis.is_some() {
                    (i / inner.max(1)) % p.scales.len()
                } else {
                    0
                }
            };
            let quantized: Vec<i32> = values
                .iter()
                .enumerate()
                .map(|(i, &v)| quantize_value(v, p.scales[pick(i)], p.zero_points[pick(i)], dtype))
                .collect();
            let data = match dtype {
                DType::U8 => Data::U8(quantized.iter().map(|&v| v as u8).collect()),
                _ => Data::I8(quantized.iter().map(|&v| v as i8).collect()),
            };
            return Ok(self.add_constant(node.output()?, shape, data, None));
        }
        if p.axis.is_some() {
            return Err(node.unsupported(
                "axis",
                p.axis.unwrap_or(0),
                "quantise activations per tensor",
            ));
        }
        let id = self.emit(
            &node.name(),
            Op::Quantize,
            vec![x],
            node.output()?,
            shape,
            dtype,
        );
        self.graph[id].quantization = Some(Quantization::per_tensor(p.scales[0], p.zero_points[0]));
        Ok(id)
    }

    pub(super) fn dequantize(&mut self, node: &OnnxNode) -> Result<ValueId, OnnxError> {
        let mut x = self.operand(node, 0)?;
        let shape = self.shape(x);
        let p = self.parameters(node, &shape)?;
        let dtype = self.graph[x].dtype;
        if !matches!(dtype, DType::I8 | DType::U8 | DType::I32) {
            return Err(node.invalid(format!("its input is {dtype:?}")));
        }
        if let Some(data) = self.graph[x].data.clone() {
            let name = self.graph[x].name.clone();
            let values =
                integers(&data).ok_or_else(|| node.invalid("its input holds no integers"))?;
            let (data, quantization) = if p.axis.is_none() && dtype != DType::I32 {
                (
                    data,
                    Quantization::per_tensor(p.scales[0], p.zero_points[0]),
                )
            } else {
                let centered = center(&values, &shape, p.axis, &p.zero_points);
                let data = match dtype {
                    DType::I32 => Data::I32(centered),
                    _ => narrowest(centered),
                };
                (
                    data,
                    Quantization {
                        scales: p.scales,
                        zero_point: 0,
                        axis: p.axis,
                    },
                )
            };
            // Another node may read the same integers with another scale: each gets its own constant.
            if self.graph[x].quantization.as_ref() != Some(&quantization) {
                x = self.add_constant(&name, shape.clone(), data, Some(quantization));
            }
        } else {
            if p.axis.is_some() {
                return Err(node.unsupported(
                    "axis",
                    p.axis.unwrap_or(0),
                    "quantise activations per tensor",
                ));
            }
            let quantization = Quantization::per_tensor(p.scales[0], p.zero_points[0]);
            match &self.graph[x].quantization {
                Some(q) if *q != quantization => {
                    return Err(node.invalid(format!(
                        "`{}` is quantised with scale {} and zero point {}, but dequantised with {} and {}",
                        self.graph[x].name, q.scales[0], q.zero_point, quantization.scales[0], quantization.zero_point
                    )));
                }
                _ => self.graph[x].quantization = Some(quantization),
            }
        }
        Ok(self.emit(
            &node.name(),
            Op::Dequantize,
            vec![x],
            node.output()?,
            shape,
            DType::F32,
        ))
    }

    /// Makes quantised weights signed and symmetric: int8, or int32 where they are too wide for that. Float constants stay.
    pub(super) fn symmetric_weights(
        &mut self,
        node: &OnnxNode,
        weights: ValueId,
    ) -> Result<ValueId, OnnxError> {
        let Some(source) = self.constant_source(weights) else {
            return Err(node.unsupported(
                "weights",
                format!("`{}`, which is computed", self.graph[weights].name),
                "weights must be constant (run onnxsim over the model); products of two activations cannot run",
            ));
        };
        let value = &self.graph[source];
        let (Some(q), Some(data)) = (value.quantization.clone(), value.data.clone()) else {
            return Ok(weights);
        };
        let unsigned = matches!(data, Data::U8(_));
        let values = match integers(&data) {
            Some(values) if q.zero_point != 0 || unsigned => values,
            _ => return Ok(weights),
        };
        let shape = value.shape.clone();
        let data = narrowest(center(&values, &shape, None, &[q.zero_point]));
        let q = Quantization { zero_point: 0, ..q };
        let output = self.graph[weights].name.clone();
        Ok(self.replace_constant(weights, source, &output, shape, data, Some(q)))
    }

    /// Gives every integer activation its quantisation, through data movement in both directions.
    pub(super) fn complete_quantization(&mut self) -> Result<(), OnnxError> {
        let moves = |op: &Op| {
            matches!(
                op,
                Op::Reshape
                    | Op::Transpose { .. }
                    | Op::Concat { .. }
                    | Op::Slice { .. }
                    | Op::Pad { .. }
                    | Op::Pool { .. }
            )
        };
        let count = self.graph.nodes.len();
        for i in (0..count).rev().chain(0..count) {
            let node = &self.graph.nodes[i];
            if !moves(&node.op) || self.graph[node.output].dtype == DType::F32 {
                continue;
            }
            let ids: Vec<ValueId> = node.inputs.iter().copied().chain([node.output]).collect();
            let mut known = ids
                .iter()
                .filter_map(|&id| self.graph[id].quantization.clone());
            let Some(first) = known.next() else { continue };
            if known.any(|q| q != first) {
                return Err(OnnxError::Tensor {
                    tensor: self.graph[node.output].name.clone(),
                    message: format!(
                        "node `{}` moves integers between tensors with different scales or zero points; \
                         put it between DequantizeLinear and QuantizeLinear",
                        node.name
                    ),
                });
            }
            for id in ids {
                self.graph[id].quantization = Some(first.clone());
            }
        }
        // Numbers and truth values at the border are none: they become floats, or were.
        let nodes = &self.graph.nodes;
        let is_number = |id: ValueId| {
            let mut readers = nodes.iter().filter(|n| n.inputs.contains(&id)).peekable();
            readers.peek().is_some() && readers.all(|n| n.op == Op::Convert)
        };
        let inputs = self.graph.inputs.iter().copied();
        let made = nodes.iter().filter(|n| n.op != Op::Convert);
        let activations: Vec<ValueId> = made
            .map(|n| n.output)
            .chain(inputs.filter(|&id| !is_number(id)))
            .collect();
        for id in activations {
            let value = &mut self.graph[id];
            if value.dtype != DType::F32 && value.quantization.is_none() {
                // Nothing says what these integers mean: they mean themselves.
                value.quantization = Some(Quantization::per_tensor(1.0, 0));
            }
        }
        for id in std::mem::take(&mut self.raw_pads) {
            let Some(q) = self.graph[id].quantization.clone() else {
                continue;
            };
            if let Some(i) = self.graph.producer(id)
                && let Op::Pad { value, .. } = &mut self.graph.nodes[i].op
            {
                *value = (*value - q.zero_point as f32) * q.scales[0];
            }
        }
        Ok(())
    }
}

/// Centred weights as int8 if all fit, as int32 otherwise.
fn narrowest(values: Vec<i32>) -> Data {
    let narrow: Result<Vec<i8>, _> = values.iter().map(|&v| i8::try_from(v)).collect();
    narrow.map_or(Data::I32(values), Data::I8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantising_rounds_half_to_even_and_saturates() {
        let q = |x| quantize_value(x, 2.0, 1, DType::I8);
        assert_eq!((q(1.0), q(3.0), q(-1.0)), (1, 3, 1));
        assert_eq!((q(1e30), q(-1e30), q(f32::NAN)), (127, -128, 1));
        assert_eq!(quantize_value(-5.0, 1.0, 3, DType::U8), 0);
    }

    #[test]
    fn zero_points_are_subtracted_per_channel() {
        assert_eq!(
            center(&[5, 5, 5, 5], &[2, 2], Some(1), &[1, 2]),
            [4, 3, 4, 3]
        );
        assert_eq!(
            center(&[5, 5, 5, 5], &[2, 2], Some(0), &[1, 2]),
            [4, 4, 3, 3]
        );
    }
}
