//! A tiny builder of ONNX models for tests.

use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    TensorShapeProto, TypeProto, ValueInfoProto, tensor_proto::DataType,
    tensor_shape_proto::Dimension, tensor_shape_proto::dimension::Value as Dim, type_proto::Tensor,
    type_proto::Value as Type,
};

pub(super) struct ModelBuilder {
    opset: i64,
    graph: GraphProto,
}

/// An attribute's value.
#[derive(Clone, Copy)]
pub(super) enum Attr<'a> {
    Int(i64),
    Ints(&'a [i64]),
    Float(f32),
    Text(&'a str),
}

fn info(name: &str, dims: &[Option<i64>], dtype: DataType) -> ValueInfoProto {
    let dim = |d: &Option<i64>| Dimension {
        value: Some(d.map_or_else(|| Dim::DimParam("N".into()), Dim::DimValue)),
        ..Default::default()
    };
    let shape = TensorShapeProto {
        dim: dims.iter().map(dim).collect(),
    };
    ValueInfoProto {
        name: name.into(),
        r#type: Some(TypeProto {
            value: Some(Type::TensorType(Tensor {
                elem_type: dtype as i32,
                shape: Some(shape),
            })),
            ..Default::default()
        }),
        ..Default::default()
    }
}

impl ModelBuilder {
    pub(super) fn new(opset: i64) -> Self {
        ModelBuilder {
            opset,
            graph: GraphProto {
                name: "test".into(),
                ..Default::default()
            },
        }
    }

    pub(super) fn input(mut self, name: &str, dims: &[Option<i64>], dtype: DataType) -> Self {
        self.graph.input.push(info(name, dims, dtype));
        self
    }

    pub(super) fn f32(mut self, name: &str, dims: &[i64], data: &[f32]) -> Self {
        self.graph.initializer.push(TensorProto {
            name: name.into(),
            dims: dims.to_vec(),
            data_type: DataType::Float as i32,
            float_data: data.to_vec(),
            ..Default::default()
        });
        self
    }

    pub(super) fn i64(mut self, name: &str, data: &[i64]) -> Self {
        self.graph.initializer.push(TensorProto {
            name: name.into(),
            dims: vec![data.len() as i64],
            data_type: DataType::Int64 as i32,
            int64_data: data.to_vec(),
            ..Default::default()
        });
        self
    }

    /// An int8, uint8 or int32 tensor.
    pub(super) fn integers(
        mut self,
        name: &str,
        dims: &[i64],
        data: &[i32],
        dtype: DataType,
    ) -> Self {
        self.graph.initializer.push(TensorProto {
            name: name.into(),
            dims: dims.to_vec(),
            data_type: dtype as i32,
            int32_data: data.to_vec(),
            ..Default::default()
        });
        self
    }

    /// A node named after its output.
    pub(super) fn node(
        self,
        op: &str,
        inputs: &[&str],
        output: &str,
        attrs: &[(&str, Attr)],
    ) -> Self {
        self.outputs(op, inputs, &[output], attrs)
    }

    /// A node named after its first output.
    pub(super) fn outputs(
        mut self,
        op: &str,
        inputs: &[&str],
        outputs: &[&str],
        attrs: &[(&str, Attr)],
    ) -> Self {
        let attribute = |(name, value): &(&str, Attr)| {
            let mut a = AttributeProto {
                name: (*name).into(),
                ..Default::default()
            };
            match value {
                Attr::Int(v) => (a.i, a.r#type) = (*v, 2),
                Attr::Ints(v) => (a.ints, a.r#type) = (v.to_vec(), 7),
                Attr::Float(v) => (a.f, a.r#type) = (*v, 1),
                Attr::Text(v) => (a.s, a.r#type) = (v.as_bytes().to_vec(), 3),
            }
            a
        };
        self.graph.node.push(NodeProto {
            name: format!("{}_node", outputs.first().unwrap_or(&op)),
            op_type: op.into(),
            input: inputs.iter().map(|s| (*s).to_owned()).collect(),
            output: outputs.iter().map(|s| (*s).to_owned()).collect(),
            attribute: attrs.iter().map(attribute).collect(),
            ..Default::default()
        });
        self
    }

    pub(super) fn model(mut self, outputs: &[&str]) -> ModelProto {
        self.graph.output = outputs
            .iter()
            .map(|o| info(o, &[], DataType::Float))
            .collect();
        for output in &mut self.graph.output {
            if let Some(Type::TensorType(t)) = output.r#type.as_mut().and_then(|t| t.value.as_mut())
            {
                t.shape = None;
            }
        }
        ModelProto {
            ir_version: 8,
            opset_import: vec![OperatorSetIdProto {
                domain: String::new(),
                version: self.opset,
            }],
            graph: Some(self.graph),
            ..Default::default()
        }
    }
}
