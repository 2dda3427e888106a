//! The walk over the operators: tensors to ONNX names, one call an operator.

use super::TfliteError;
use super::schema::{Model, Operator, Quantization, Tensor, Type};
use super::table::{OPERATORS, hint, needed};
use std::collections::{HashMap, HashSet};
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    TensorShapeProto, TypeProto, ValueInfoProto, attribute_proto::AttributeType,
    tensor_proto::DataType, tensor_shape_proto::Dimension,
    tensor_shape_proto::dimension::Value as Dim, type_proto, type_proto::Value as ProtoType,
};

/// Operator set of the ONNX model.
const OPSET: i64 = 17;

/// State of one conversion.
pub(super) struct Converter<'a> {
    model: &'a Model<'a>,
    nodes: Vec<NodeProto>,
    pub(super) initializers: Vec<TensorProto>,
    /// ONNX name of every tensor.
    names: Vec<String>,
    /// ONNX names of tensors' reals, and of constants as they are.
    reals: HashMap<usize, String>,
    plain: HashSet<usize>,
    /// Names of nodes.
    labels: HashSet<String>,
    /// Results of dequantising constant halves, and those constants.
    widened: HashMap<usize, usize>,
    pub(super) constant_bytes: usize,
}

/// Converts a model that has been read.
pub(super) fn convert(model: &Model<'_>) -> Result<ModelProto, TfliteError> {
    let mut converter = Converter {
        names: names(model),
        model,
        nodes: Vec::new(),
        initializers: Vec::new(),
        reals: HashMap::new(),
        plain: HashSet::new(),
        labels: HashSet::new(),
        widened: HashMap::new(),
        constant_bytes: 0,
    };
    let needed = needed(model)?;
    for (op, _) in model.operators.iter().zip(needed).filter(|(_, n)| *n) {
        match OPERATORS.iter().find(|(name, _)| **name == *op.name) {
            Some((_, convert)) => convert(&mut converter, op)?,
            None => {
                let hint = hint(&op.name);
                return Err(op.refused(format!("this operator does not run; {hint}")));
            }
        }
    }
    let info = |ends: &[usize]| -> Result<Vec<ValueInfoProto>, TfliteError> {
        ends.iter().map(|&t| converter.value_info(t)).collect()
    };
    let (input, output) = (info(&model.inputs)?, info(&model.outputs)?);
    Ok(ModelProto {
        ir_version: 8,
        opset_import: vec![OperatorSetIdProto {
            domain: String::new(),
            version: OPSET,
        }],
        producer_name: "tflite".into(),
        graph: Some(GraphProto {
            name: "model".into(),
            node: converter.nodes,
            initializer: converter.initializers,
            input,
            output,
            ..GraphProto::default()
        }),
        ..ModelProto::default()
    })
}

/// A name for every tensor, no two alike.
fn names(model: &Model<'_>) -> Vec<String> {
    let mut taken = HashSet::new();
    let name = |(i, tensor): (usize, &Tensor<'_>)| {
        let mut name = tensor.name.to_string();
        while name.is_empty() || !taken.insert(name.clone()) {
            name = format!("{name}#{i}");
        }
        name
    };
    model.tensors.iter().enumerate().map(name).collect()
}

pub(super) fn ints(name: &str, values: Vec<i64>) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: AttributeType::Ints as i32,
        ints: values,
        ..AttributeProto::default()
    }
}

pub(super) fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: AttributeType::Int as i32,
        i: value,
        ..AttributeProto::default()
    }
}

pub(super) fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: AttributeType::Float as i32,
        f: value,
        ..AttributeProto::default()
    }
}

pub(super) fn text(name: &str, value: &str) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: AttributeType::String as i32,
        s: value.into(),
        ..AttributeProto::default()
    }
}

/// Sizes as ONNX has them.
pub(super) fn dims(shape: &[usize]) -> Vec<i64> {
    shape.iter().map(|&d| d as i64).collect()
}

impl<'a> Converter<'a> {
    pub(super) fn tensor(&self, t: usize) -> &'a Tensor<'a> {
        &self.model.tensors[t]
    }

    /// Tensor of operand `i`, if it is given. What is dequantised from constant halves is that constant.
    pub(super) fn optional(&self, op: &Operator<'_>, i: usize) -> Option<usize> {
        let t = op.inputs.get(i).copied().flatten()?;
        Some(self.widened.get(&t).copied().unwrap_or(t))
    }

    /// Tensor of operand `i`, which must be there.
    pub(super) fn operand(&self, op: &Operator<'_>, i: usize) -> Result<usize, TfliteError> {
        let missing = || op.refused(format!("operand {i} is missing"));
        self.optional(op, i).ok_or_else(missing)
    }

    /// The tensor itself is refused.
    pub(super) fn tensor_error(&self, t: usize, message: impl Into<String>) -> TfliteError {
        TfliteError::Tensor {
            index: t,
            name: self.tensor(t).name.to_string(),
            message: message.into(),
        }
    }

    pub(super) fn data_type(&self, t: usize) -> Result<DataType, TfliteError> {
        Ok(match self.tensor(t).dtype {
            Type::F32 => DataType::Float,
            Type::F16 => DataType::Float16,
            Type::I32 => DataType::Int32,
            Type::U8 => DataType::Uint8,
            Type::I64 => DataType::Int64,
            Type::Bool => DataType::Bool,
            Type::I8 => DataType::Int8,
            Type::Other(name) => {
                let message = format!(
                    "its type {name} does not run; tensors are float32, float16, int8, uint8, int32, int64 or bool \
                     (16-bit activations and 4-bit weights: convert with int8 instead)"
                );
                return Err(self.tensor_error(t, message));
            }
        })
    }

    fn value_info(&self, t: usize) -> Result<ValueInfoProto, TfliteError> {
        let dim = |(axis, (&size, &open)): (usize, (&usize, &bool))| Dimension {
            // An open batch is 1, as the file says.
            value: (axis == 0 || !open).then_some(Dim::DimValue(size as i64)),
            ..Dimension::default()
        };
        let dims = self.tensor(t).shape.iter().zip(&self.tensor(t).open);
        let tensor = type_proto::Tensor {
            elem_type: self.data_type(t)? as i32,
            shape: Some(TensorShapeProto {
                dim: dims.enumerate().map(dim).collect(),
            }),
        };
        Ok(ValueInfoProto {
            name: self.names[t].clone(),
            r#type: Some(TypeProto {
                value: Some(ProtoType::TensorType(tensor)),
                ..TypeProto::default()
            }),
            ..ValueInfoProto::default()
        })
    }

    /// A node's name: the operator's, with its number, and what the node is there for.
    fn label(op: &Operator<'_>) -> String {
        format!("{}_{}", op.name.to_lowercase(), op.index)
    }

    /// Adds a node with one result and returns the result's name.
    pub(super) fn node(
        &mut self,
        op: &Operator<'_>,
        op_type: &str,
        inputs: &[&str],
        attributes: Vec<AttributeProto>,
    ) -> String {
        // The number keeps it apart from every tensor's name and every other node's result.
        let output = format!("{}/{op_type}#{}", Self::label(op), self.nodes.len());
        let helper = matches!(
            op_type,
            "Transpose" | "QuantizeLinear" | "DequantizeLinear" | "Reshape" | "Clip"
        );
        let mut name = Self::label(op);
        if helper || self.labels.contains(&name) {
            name = format!("{name}/{}", op_type.to_lowercase());
        }
        while !self.labels.insert(name.clone()) {
            name.push('\'');
        }
        self.nodes.push(NodeProto {
            input: inputs.iter().map(|&i| i.to_owned()).collect(),
            output: vec![output.clone()],
            name,
            op_type: op_type.into(),
            attribute: attributes,
            ..NodeProto::default()
        });
        output
    }

    /// ONNX name of a tensor's values as they are; a constant is written on its first use.
    pub(super) fn plain(&mut self, t: usize) -> Result<String, TfliteError> {
        if let Some(data) = self.tensor(t).data
            && self.plain.insert(t)
        {
            let dtype = self.data_type(t)?;
            self.constant(dtype, &self.tensor(t).shape, data.to_vec())?;
            if let Some(constant) = self.initializers.last_mut() {
                constant.name.clone_from(&self.names[t]);
            }
        }
        Ok(self.names[t].clone())
    }

    /// ONNX name of a tensor's reals (of plain integers: of the tensor).
    pub(super) fn real(&mut self, op: &Operator<'_>, t: usize) -> Result<String, TfliteError> {
        if let Some(name) = self.reals.get(&t) {
            return Ok(name.clone());
        }
        let tensor = self.tensor(t);
        let dtype = self.data_type(t)?;
        let plain = self.plain(t)?;
        let name = match (tensor.dtype, &tensor.quantization) {
            (Type::I8 | Type::U8 | Type::I32, Some(q)) => {
                self.dequantize(op, t, q, dtype, &plain)?
            }
            _ => plain,
        };
        self.reals.insert(t, name.clone());
        Ok(name)
    }

    pub(super) fn dequantize(
        &mut self,
        op: &Operator<'_>,
        t: usize,
        q: &Quantization,
        dtype: DataType,
        plain: &str,
    ) -> Result<String, TfliteError> {
        if q.scales.len() > 1 && self.tensor(t).data.is_none() {
            return Err(self.tensor_error(t, "an activation with several scales does not run"));
        }
        let [scale, zero_point] = self.parameters(q, dtype, t)?;
        let axis = match q.scales.len() {
            1 => Vec::new(),
            _ => vec![int("axis", q.axis as i64)],
        };
        Ok(self.node(op, "DequantizeLinear", &[plain, &scale, &zero_point], axis))
    }

    pub(super) fn dequantized(&mut self, op: &Operator<'_>) -> Result<(), TfliteError> {
        let x = self.operand(op, 0)?;
        let halves = self.tensor(x).dtype == Type::F16 && self.tensor(x).data.is_some();
        match op.outputs.first() {
            Some(&y) if halves && !self.model.outputs.contains(&y) => {
                self.widened.insert(y, x);
                Ok(())
            }
            _ => self.unary(op, "Identity"),
        }
    }

    /// Reals of operand `i`.
    pub(super) fn input(&mut self, op: &Operator<'_>, i: usize) -> Result<String, TfliteError> {
        let t = self.operand(op, i)?;
        self.real(op, t)
    }

    /// An axis of `rank`, counted from the end where it is negative.
    pub(super) fn axis(
        &self,
        op: &Operator<'_>,
        axis: i64,
        rank: usize,
    ) -> Result<usize, TfliteError> {
        let from_start = if axis < 0 { axis + rank as i64 } else { axis };
        let axis = usize::try_from(from_start).ok().filter(|&a| a < rank);
        axis.ok_or_else(|| op.refused(format!("an axis outside of {rank} dimensions")))
    }

    /// The fused activation with this number, applied to `value`.
    pub(super) fn fused(
        &mut self,
        op: &Operator<'_>,
        activation: i8,
        value: String,
    ) -> Result<String, TfliteError> {
        let (low, high) = match activation {
            0 => return Ok(value),
            1 => return Ok(self.node(op, "Relu", &[&value], vec![])),
            2 => (-1.0, 1.0),
            3 => (0.0, 6.0),
            4 => return Ok(self.node(op, "Tanh", &[&value], vec![])),
            other => return Err(op.refused(format!("its fused activation {other} does not run"))),
        };
        let (low, high) = (self.scalar(low)?, self.scalar(high)?);
        Ok(self.node(op, "Clip", &[&value, &low, &high], vec![]))
    }

    /// `value` is the operator's result `i`: named, and quantised where that tensor holds integers.
    pub(super) fn finish(
        &mut self,
        op: &Operator<'_>,
        i: usize,
        value: String,
    ) -> Result<(), TfliteError> {
        let missing = || op.refused(format!("it has no result {i}"));
        let t = op.outputs.get(i).copied().ok_or_else(missing)?;
        let tensor = self.tensor(t);
        if tensor.data.is_some() || self.model.inputs.contains(&t) {
            return Err(op.refused("it writes a constant or an input"));
        }
        let dtype = self.data_type(t)?;
        match (&tensor.quantization, tensor.dtype) {
            (Some(q), Type::I8 | Type::U8) => {
                if q.scales.len() > 1 {
                    return Err(
                        self.tensor_error(t, "an activation with several scales does not run")
                    );
                }
                let [scale, zero_point] = self.parameters(q, dtype, t)?;
                self.node(op, "QuantizeLinear", &[&value, &scale, &zero_point], vec![]);
            }
            _ if self
                .nodes
                .last()
                .is_some_and(|n| n.output.first() == Some(&value)) => {}
            _ => {
                self.node(op, "Identity", &[&value], vec![]);
            }
        }
        if let Some(output) = self.nodes.last_mut().and_then(|n| n.output.first_mut()) {
            output.clone_from(&self.names[t]);
        }
        Ok(())
    }

    /// Names a node's several results at once.
    pub(super) fn results(&mut self, op: &Operator<'_>, count: usize) -> Vec<String> {
        let names: Vec<String> = (0..count)
            .map(|i| format!("{}/part{i}#{}", Self::label(op), self.nodes.len()))
            .collect();
        if let Some(node) = self.nodes.last_mut() {
            node.output.clone_from(&names);
        }
        names
    }
}
