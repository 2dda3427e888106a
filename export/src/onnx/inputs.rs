//! Inputs of a model, every dimension fixed: by the file, by the caller, or by being the batch.

use super::import::within;
use super::steps::Kind;
use super::{LoadOptions, OnnxError};
use crate::graph::DType;
use tract_onnx::pb::{
    GraphProto, TensorShapeProto, ValueInfoProto, tensor_proto::DataType,
    tensor_shape_proto::dimension::Value as Dim, type_proto::Tensor, type_proto::Value as Type,
};

/// Name, shape and type of an input.
pub(super) type Input = (String, Vec<usize>, (DType, Kind));

fn refused(input: &ValueInfoProto, message: impl Into<String>) -> OnnxError {
    OnnxError::Input {
        input: input.name.clone(),
        message: message.into(),
    }
}

/// What is known of one dimension.
enum Known<'a> {
    Size(usize),
    Symbol(&'a str),
    Nothing,
}

fn known(dims: &TensorShapeProto) -> Vec<Known<'_>> {
    let known = |dim: &Option<Dim>| match dim {
        Some(Dim::DimValue(v)) if *v > 0 => usize::try_from(*v).ok(),
        _ => None,
    };
    let dims = dims.dim.iter();
    dims.map(|dim| match (known(&dim.value), &dim.value) {
        (Some(size), _) => Known::Size(size),
        (None, Some(Dim::DimParam(symbol))) if !symbol.is_empty() => Known::Symbol(symbol),
        _ => Known::Nothing,
    })
    .collect()
}

/// Inputs that are no initialisers, with fixed shapes.
pub(super) fn inputs(
    graph: &GraphProto,
    is_initializer: impl Fn(&str) -> bool,
    options: &LoadOptions,
) -> Result<Vec<Input>, OnnxError> {
    let real: Vec<&ValueInfoProto> = graph
        .input
        .iter()
        .filter(|i| !is_initializer(&i.name))
        .collect();
    every_shape_has_its_input(&real, options)?;
    let mut result: Vec<Input> = Vec::new();
    for input in real {
        if result.iter().any(|(n, _, _)| *n == input.name) {
            return Err(refused(input, "two inputs have this name"));
        }
        let ty = tensor_type(input)
            .ok_or_else(|| refused(input, "it is not a tensor (or has no type)"))?;
        let shape = shape(input, ty, options)?;
        if shape.contains(&0) {
            return Err(refused(input, format!("shape {shape:?} is empty")));
        }
        within(&input.name, &shape, &options.limits)?;
        result.push((input.name.clone(), shape, dtype(input, ty)?));
    }
    Ok(result)
}

fn tensor_type(input: &ValueInfoProto) -> Option<&Tensor> {
    let Type::TensorType(ty) = input.r#type.as_ref()?.value.as_ref()?;
    Some(ty)
}

/// Refuses shapes for what is neither an input nor a symbolic dimension of one.
fn every_shape_has_its_input(
    inputs: &[&ValueInfoProto],
    options: &LoadOptions,
) -> Result<(), OnnxError> {
    let shapes = inputs.iter().filter_map(|i| tensor_type(i)?.shape.as_ref());
    let dims: Vec<Known<'_>> = shapes.flat_map(known).collect();
    let mut symbols: Vec<&str> = dims
        .iter()
        .filter_map(|d| match d {
            Known::Symbol(s) => Some(*s),
            _ => None,
        })
        .collect();
    symbols.sort_unstable();
    symbols.dedup();
    for (name, shape) in &options.input_shapes {
        let is_symbol = symbols.contains(&name.as_str()) && shape.len() == 1;
        if !is_symbol && !inputs.iter().any(|i| i.name == *name) {
            let names: Vec<&str> = inputs.iter().map(|i| i.name.as_str()).collect();
            let dimensions = match symbols.is_empty() {
                true => String::new(),
                false => format!(", its symbolic dimensions {symbols:?}"),
            };
            return Err(OnnxError::Input {
                input: name.clone(),
                message: format!(
                    "a shape is given for it, but the model's inputs are {names:?}{dimensions}"
                ),
            });
        }
    }
    Ok(())
}

fn dtype(input: &ValueInfoProto, ty: &Tensor) -> Result<(DType, Kind), OnnxError> {
    match DataType::try_from(ty.elem_type) {
        Ok(DataType::Float | DataType::Float16 | DataType::Bfloat16) => {
            Ok((DType::F32, Kind::Real))
        }
        Ok(DataType::Int8) => Ok((DType::I8, Kind::Real)),
        Ok(DataType::Uint8) => Ok((DType::U8, Kind::Real)),
        Ok(DataType::Int32 | DataType::Int64) => Ok((DType::I32, Kind::Integer)),
        Ok(DataType::Bool) => Ok((DType::U8, Kind::Truth)),
        Ok(other) => Err(refused(
            input,
            format!(
                "type {} is not supported; inputs are float32, int8, uint8, int32, int64 or bool",
                other.as_str_name()
            ),
        )),
        Err(_) => Err(refused(
            input,
            format!("unknown data type {}", ty.elem_type),
        )),
    }
}

fn shape(
    input: &ValueInfoProto,
    ty: &Tensor,
    options: &LoadOptions,
) -> Result<Vec<usize>, OnnxError> {
    let given = |name: &str| options.input_shapes.iter().find(|(n, _)| n == name);
    let whole = given(&input.name).map(|(_, shape)| shape);
    let name = &input.name;
    let Some(dims) = ty.shape.as_ref().map(known) else {
        return whole.cloned().ok_or_else(|| {
            let message = format!(
                "the model does not say its shape: give all dimensions, the batch first, as in `--shape {name}=1x3x32x32`"
            );
            refused(input, message)
        });
    };
    if let Some(shape) = whole {
        if shape.len() != dims.len() {
            return Err(refused(
                input,
                format!(
                    "shape {shape:?} is given for it, but it has {} dimensions",
                    dims.len()
                ),
            ));
        }
        return Ok(shape.clone());
    }
    let mut open = Vec::new();
    let sizes: Vec<Option<usize>> = dims
        .iter()
        .enumerate()
        .map(|(axis, dim)| match dim {
            Known::Size(size) => Some(*size),
            Known::Symbol(symbol) if given(symbol).is_some_and(|(_, s)| s.len() == 1) => {
                given(symbol).and_then(|(_, s)| s.first().copied())
            }
            // The batch: one inference at a time.
            _ if axis == 0 => Some(1),
            Known::Symbol(symbol) => {
                open.push(format!("dimension {axis} (`{symbol}`)"));
                None
            }
            Known::Nothing => {
                open.push(format!("dimension {axis}"));
                None
            }
        })
        .collect();
    if let Some(shape) = sizes.iter().copied().collect() {
        return Ok(shape);
    }
    let option: Vec<String> = sizes
        .iter()
        .zip(&dims)
        .map(|(size, dim)| match (size, dim) {
            (Some(size), _) => size.to_string(),
            (None, Known::Symbol(symbol)) => format!("<{symbol}>"),
            (None, _) => "<size>".into(),
        })
        .collect();
    Err(refused(
        input,
        format!(
            "{} {} left open by the model; plans have fixed shapes: give `--shape {name}={}` with numbers in place of <…>",
            open.join(" and "),
            if open.len() == 1 { "is" } else { "are" },
            option.join("x")
        ),
    ))
}
