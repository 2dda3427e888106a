//! `TensorProto` → [`Data`], with every length checked.

use super::OnnxError;
use crate::graph::Data;
use crate::limits::{self, Limits, at_most};
use tract_onnx::pb::{TensorProto, tensor_proto::DataType};

fn fail(tensor: &TensorProto, message: impl Into<String>) -> OnnxError {
    let tensor = if tensor.name.is_empty() {
        "(unnamed)".to_owned()
    } else {
        tensor.name.clone()
    };
    OnnxError::Tensor {
        tensor,
        message: message.into(),
    }
}

/// Dimensions of a tensor. Their product may not fit; [`check`] compares it with the contents.
fn shape(tensor: &TensorProto) -> Result<Vec<usize>, OnnxError> {
    let dims = tensor.dims.iter().map(|&dim| {
        usize::try_from(dim).map_err(|_| fail(tensor, format!("dimension {dim} is negative")))
    });
    dims.collect()
}

/// [`check`], and that the tensor is within the limits.
pub(super) fn check_within(tensor: &TensorProto, limits: &Limits) -> Result<(), OnnxError> {
    let what = || format!("tensor `{}`", tensor.name);
    at_most(what, tensor.dims.len() as u64, "dimensions", limits.rank)?;
    let elements = limits::elements(&shape(tensor)?);
    at_most(what, elements, "elements", limits.elements)?;
    check(tensor)
}

/// Checks what can be checked without decoding: storage, and that the contents have the length that the shape needs.
pub(super) fn check(tensor: &TensorProto) -> Result<(), OnnxError> {
    if tensor.data_location == Some(1) || !tensor.external_data.is_empty() {
        return Err(fail(
            tensor,
            "its data is in an external file; store the model in one file \
             (onnx.save_model(model, path, save_as_external_data=False))",
        ));
    }
    if tensor.segment.is_some() {
        return Err(fail(
            tensor,
            "segmented tensors are not supported; store it whole",
        ));
    }
    let elements = limits::elements(&shape(tensor)?);
    let dtype = DataType::try_from(tensor.data_type).map_err(|_| {
        fail(
            tensor,
            format!("data type {} is not known to ONNX IR 10", tensor.data_type),
        )
    })?;
    let width = match dtype {
        DataType::Float | DataType::Int32 | DataType::Uint32 => 4,
        DataType::Int8 | DataType::Uint8 | DataType::Bool => 1,
        DataType::Int16 | DataType::Uint16 | DataType::Float16 | DataType::Bfloat16 => 2,
        DataType::Double | DataType::Int64 | DataType::Uint64 => 8,
        _ => {
            return Err(fail(
                tensor,
                format!("data type {} is not supported", dtype.as_str_name()),
            ));
        }
    };
    let (found, needed, unit) = if tensor.raw_data.is_empty() {
        let found = match dtype {
            DataType::Float => tensor.float_data.len(),
            DataType::Double => tensor.double_data.len(),
            DataType::Int64 => tensor.int64_data.len(),
            DataType::Uint32 | DataType::Uint64 => tensor.uint64_data.len(),
            _ => tensor.int32_data.len(),
        };
        (found, elements, "elements")
    } else {
        (
            tensor.raw_data.len(),
            elements.saturating_mul(width),
            "bytes",
        )
    };
    if found as u64 != needed {
        return Err(fail(
            tensor,
            format!(
                "shape {:?} needs {needed} {unit}, the file holds {found}: the file is damaged",
                tensor.dims
            ),
        ));
    }
    Ok(())
}

/// Shape and contents. Half-precision floats become single, booleans bytes.
pub(super) fn decode(tensor: &TensorProto) -> Result<(Vec<usize>, Data), OnnxError> {
    check(tensor)?;
    let raw = tensor.raw_data.as_slice();
    // Narrow types are stored one to an int32 when they are not stored raw.
    let integers = |low: i32, high: i32| -> Result<&[i32], OnnxError> {
        match tensor
            .int32_data
            .iter()
            .find(|v| !(low..=high).contains(*v))
        {
            Some(v) => Err(fail(tensor, format!("{v} does not fit its data type"))),
            None => Ok(&tensor.int32_data),
        }
    };
    let halves = || -> Result<Vec<u16>, OnnxError> {
        if raw.is_empty() {
            Ok(integers(0, 0xffff)?.iter().map(|&v| v as u16).collect())
        } else {
            Ok(raw
                .chunks_exact(2)
                .map(|b| u16::from_le_bytes([b[0], b[1]]))
                .collect())
        }
    };
    let data = match DataType::try_from(tensor.data_type) {
        Ok(DataType::Float) if raw.is_empty() => Data::F32(tensor.float_data.clone()),
        Ok(DataType::Float) => Data::F32(
            raw.chunks_exact(4)
                .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                .collect(),
        ),
        Ok(DataType::Float16) => Data::F32(
            halves()?
                .into_iter()
                .map(|b| half::f16::from_bits(b).to_f32())
                .collect(),
        ),
        Ok(DataType::Bfloat16) => Data::F32(
            halves()?
                .into_iter()
                .map(|b| half::bf16::from_bits(b).to_f32())
                .collect(),
        ),
        Ok(DataType::Int8) if raw.is_empty() => {
            Data::I8(integers(-128, 127)?.iter().map(|&v| v as i8).collect())
        }
        Ok(DataType::Int8) => Data::I8(raw.iter().map(|&b| b as i8).collect()),
        Ok(DataType::Uint8 | DataType::Bool) if raw.is_empty() => {
            Data::U8(integers(0, 255)?.iter().map(|&v| v as u8).collect())
        }
        Ok(DataType::Uint8 | DataType::Bool) => Data::U8(raw.to_vec()),
        Ok(DataType::Int32) if raw.is_empty() => Data::I32(tensor.int32_data.clone()),
        Ok(DataType::Int32) => Data::I32(
            raw.chunks_exact(4)
                .map(|b| i32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                .collect(),
        ),
        Ok(DataType::Int64) if raw.is_empty() => Data::I64(tensor.int64_data.clone()),
        Ok(DataType::Int64) => Data::I64(
            raw.chunks_exact(8)
                .map(|b| i64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]))
                .collect(),
        ),
        Ok(other) => {
            return Err(fail(
                tensor,
                format!(
                    "data type {} is not supported here; convert the model to float32, or int8 QDQ",
                    other.as_str_name()
                ),
            ));
        }
        Err(_) => {
            return Err(fail(
                tensor,
                format!("unknown data type {}", tensor.data_type),
            ));
        }
    };
    Ok((shape(tensor)?, data))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(dtype: DataType, dims: &[i64], raw: &[u8]) -> TensorProto {
        TensorProto {
            name: "t".into(),
            dims: dims.to_vec(),
            data_type: dtype as i32,
            raw_data: raw.to_vec(),
            ..Default::default()
        }
    }

    #[test]
    fn half_precision_becomes_single() {
        let raw: Vec<u8> = [1.5f32, -2.0]
            .iter()
            .flat_map(|&v| half::f16::from_f32(v).to_bits().to_le_bytes())
            .collect();
        let (shape, data) = decode(&tensor(DataType::Float16, &[2], &raw)).unwrap();
        assert_eq!((shape, data), (vec![2], Data::F32(vec![1.5, -2.0])));
    }

    #[test]
    fn short_contents_are_refused() {
        let error = decode(&tensor(DataType::Float, &[2], &[0; 7]))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("`t`") && error.contains("8 bytes") && error.contains('7'),
            "{error}"
        );
    }

    #[test]
    fn absurd_dimensions_are_refused_without_allocating() {
        assert!(decode(&tensor(DataType::Float, &[i64::MAX, i64::MAX], &[0; 4])).is_err());
        assert!(decode(&tensor(DataType::Float, &[-1], &[0; 4])).is_err());
    }

    #[test]
    fn external_data_is_refused_with_advice() {
        let mut t = tensor(DataType::Float, &[1], &[]);
        t.data_location = Some(1);
        assert!(
            decode(&t)
                .unwrap_err()
                .to_string()
                .contains("save_as_external_data=False")
        );
    }
}
