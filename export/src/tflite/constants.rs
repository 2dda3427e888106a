//! Constants: weights with their axes in ONNX's order, biases in units of the accumulator, scales and zero points.

use super::TfliteError;
use super::convert::{Converter, dims};
use super::schema::{Operator, Quantization, Type};
use tract_onnx::pb::{TensorProto, tensor_proto::DataType};

/// Constants are written once a use; together no honest model's take more than this.
const MAX_CONSTANT_BYTES: usize = 2 << 30;

impl Converter<'_> {
    /// Adds a constant and returns its name.
    pub(super) fn constant(
        &mut self,
        dtype: DataType,
        shape: &[usize],
        bytes: Vec<u8>,
    ) -> Result<String, TfliteError> {
        let (dtype, bytes) = match dtype {
            // Halves are how floats are stored, no more.
            DataType::Float16 => (DataType::Float, widened(&bytes)),
            _ => (dtype, bytes),
        };
        self.constant_bytes = self.constant_bytes.saturating_add(bytes.len());
        if self.constant_bytes > MAX_CONSTANT_BYTES {
            return Err(TfliteError::Limit {
                what: "bytes of constants",
                count: self.constant_bytes,
                limit: MAX_CONSTANT_BYTES,
            });
        }
        let name = format!("constant#{}", self.initializers.len());
        self.initializers.push(TensorProto {
            dims: dims(shape),
            data_type: dtype as i32,
            raw_data: bytes,
            name: name.clone(),
            ..TensorProto::default()
        });
        Ok(name)
    }

    pub(super) fn int_list(&mut self, values: &[i64]) -> Result<String, TfliteError> {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.constant(DataType::Int64, &[values.len()], bytes)
    }

    pub(super) fn scalar(&mut self, value: f32) -> Result<String, TfliteError> {
        self.constant(DataType::Float, &[], value.to_le_bytes().to_vec())
    }

    /// Scales and zero points as constants.
    pub(super) fn parameters(
        &mut self,
        q: &Quantization,
        dtype: DataType,
        t: usize,
    ) -> Result<[String; 2], TfliteError> {
        let shape: &[usize] = if q.scales.len() > 1 {
            &[q.scales.len()]
        } else {
            &[]
        };
        let scales = q.scales.iter().flat_map(|s| s.to_le_bytes()).collect();
        let range = match dtype {
            DataType::Uint8 => 0..=255,
            DataType::Int8 => -128..=127,
            _ => 0..=0,
        };
        if let Some(bad) = q.zero_points.iter().find(|z| !range.contains(*z)) {
            return Err(self.tensor_error(t, format!("its zero point is {bad}")));
        }
        let zero_points = q.zero_points.iter().take(q.scales.len());
        let zero_points: Vec<u8> = match dtype {
            DataType::Int32 => zero_points.flat_map(|_| 0i32.to_le_bytes()).collect(),
            // Two's complement is the same byte.
            _ => zero_points.map(|&z| z as u8).collect(),
        };
        Ok([
            self.constant(DataType::Float, shape, scales)?,
            self.constant(dtype, shape, zero_points)?,
        ])
    }

    /// Reals of constant weights, their axes permuted: result axis `i` is the tensor's axis `perm[i]`.
    pub(super) fn weights(
        &mut self,
        op: &Operator<'_>,
        t: usize,
        shape: &[usize],
        perm: &[usize],
    ) -> Result<String, TfliteError> {
        let tensor = self.tensor(t);
        let (Some(data), dtype) = (tensor.data, self.data_type(t)?) else {
            return Err(op.refused("its weights are computed; they must be constant"));
        };
        let bytes = permuted(data, tensor.dtype.width(), shape, perm);
        let shape: Vec<usize> = perm.iter().map(|&p| shape[p]).collect();
        let plain = self.constant(dtype, &shape, bytes)?;
        Ok(match &tensor.quantization {
            Some(q) => {
                let axis = perm.iter().position(|&p| p == q.axis).unwrap_or(0);
                let q = Quantization { axis, ..q.clone() };
                self.dequantize(op, t, &q, dtype, &plain)?
            }
            None => plain,
        })
    }

    /// A layer's bias. An integer bias means accumulator units, whatever scale the file gives it.
    pub(super) fn bias(
        &mut self,
        op: &Operator<'_>,
        t: usize,
        x: usize,
        w: usize,
    ) -> Result<String, TfliteError> {
        let (bias, x, w) = (self.tensor(t), self.tensor(x), self.tensor(w));
        let (Type::I32, Some(xq), Some(wq)) = (bias.dtype, &x.quantization, &w.quantization) else {
            return self.real(op, t);
        };
        let dtype = self.data_type(t)?;
        let data = bias
            .data
            .ok_or_else(|| op.refused("its bias is computed; it must be constant"))?;
        let plain = self.constant(dtype, &bias.shape, data.to_vec())?;
        let scales: Vec<f32> = wq.scales.iter().map(|s| s * xq.scales[0]).collect();
        let q = Quantization {
            zero_points: vec![0; scales.len()],
            scales,
            axis: 0,
        };
        if let Some(bad) = q.scales.iter().find(|s| !(s.is_finite() && **s > 0.0)) {
            return Err(op.refused(format!("its accumulator has a unit of {bad}")));
        }
        if q.scales.len() > 1 && bias.shape != [q.scales.len()] {
            return Err(op.refused("its bias has another number of channels than its weights"));
        }
        self.dequantize(op, t, &q, dtype, &plain)
    }

    /// Integers of a constant operand: axes, shapes, paddings.
    pub(super) fn ints(&self, op: &Operator<'_>, i: usize) -> Result<Vec<i64>, TfliteError> {
        let t = self.operand(op, i)?;
        let tensor = self.tensor(t);
        let data = tensor.data.ok_or_else(|| {
            op.refused(format!(
                "operand {i} (`{}`) is computed; it must be constant: convert the model with fixed shapes",
                tensor.name
            ))
        })?;
        match tensor.dtype {
            Type::I32 => Ok(data
                .as_chunks()
                .0
                .iter()
                .map(|&w| i32::from_le_bytes(w).into())
                .collect()),
            Type::I64 => Ok(data
                .as_chunks()
                .0
                .iter()
                .map(|&w| i64::from_le_bytes(w))
                .collect()),
            _ => Err(op.refused(format!("operand {i} (`{}`) holds no integers", tensor.name))),
        }
    }
}

/// Halves as single-precision floats.
fn widened(halves: &[u8]) -> Vec<u8> {
    let halves = halves.as_chunks().0.iter();
    halves
        .flat_map(|&h| half::f16::from_le_bytes(h).to_f32().to_le_bytes())
        .collect()
}

/// Elements of `width` bytes with their axes permuted: result axis `i` is the data's axis `perm[i]`.
fn permuted(data: &[u8], width: usize, shape: &[usize], perm: &[usize]) -> Vec<u8> {
    let mut strides = vec![width; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i] * shape[i];
    }
    let mut starts = vec![0];
    for &p in perm {
        let (len, stride) = (shape[p], strides[p]);
        starts = starts
            .iter()
            .flat_map(|&start| (0..len).map(move |i| start + i * stride))
            .collect::<Vec<usize>>();
    }
    starts
        .iter()
        .flat_map(|&start| &data[start..start + width])
        .copied()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_are_permuted() {
        // [2, 3] of two bytes each, transposed.
        let data: Vec<u8> = (0..12).collect();
        let turned = permuted(&data, 2, &[2, 3], &[1, 0]);
        assert_eq!(turned, [0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11]);
        assert_eq!(permuted(&data, 2, &[1, 2, 3], &[0, 1, 2]), data);
    }

    #[test]
    fn halves_become_floats() {
        let halves = [half::f16::from_f32(1.5), half::f16::MIN_POSITIVE_SUBNORMAL];
        let bytes: Vec<u8> = halves.iter().flat_map(|h| h.to_le_bytes()).collect();
        let floats: Vec<u8> = halves
            .iter()
            .flat_map(|h| h.to_f32().to_le_bytes())
            .collect();
        assert_eq!(widened(&bytes), floats);
    }
}
