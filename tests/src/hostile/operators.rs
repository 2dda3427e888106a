//! Models of one or two nodes, as seeds of damage.

use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    ValueInfoProto, type_proto,
};

/// Operator (and one behind it), inputs, initialisers, attributes.
type Case = (
    &'static str,
    Vec<&'static str>,
    Vec<TensorProto>,
    Vec<AttributeProto>,
);

/// One model for each operator whose result is as large as its operands say.
pub fn operators() -> impl Iterator<Item = ModelProto> {
    let ints = |name: &str, values: &[i64]| TensorProto {
        name: name.into(),
        dims: vec![values.len() as i64],
        data_type: 7,
        int64_data: values.to_vec(),
        ..Default::default()
    };
    let reals = |name: &str, values: &[f32]| TensorProto {
        name: name.into(),
        dims: vec![values.len() as i64],
        data_type: 1,
        float_data: values.to_vec(),
        ..Default::default()
    };
    let attribute = |name: &str, i: i64, text: &str, ints: &[i64]| AttributeProto {
        name: name.into(),
        i,
        s: text.as_bytes().to_vec(),
        ints: ints.to_vec(),
        ..Default::default()
    };
    let number = move |name: &str, i: i64| attribute(name, i, "", &[]);
    let list = move |name: &str, v: &[i64]| attribute(name, 0, "", v);
    let text = move |name: &str, s: &str| attribute(name, 0, s, &[]);
    let scalar = |mut t: TensorProto| {
        t.dims.clear();
        t
    };
    let all: Vec<Case> = vec![
        (
            "Expand",
            vec!["x", "a"],
            vec![ints("a", &[3, 2, 4, 4])],
            vec![],
        ),
        (
            "Tile",
            vec!["x", "a"],
            vec![ints("a", &[1, 2, 1, 2])],
            vec![],
        ),
        (
            "Pad",
            vec!["x", "a"],
            vec![ints("a", &[0, 0, 1, 1, 0, 0, 1, 2])],
            vec![text("mode", "reflect")],
        ),
        (
            "Pad",
            vec!["x", "a"],
            vec![ints("a", &[0, 0, 1, -1, 0, 0, 1, 2])],
            vec![],
        ),
        (
            "Resize",
            vec!["x", "", "", "a"],
            vec![ints("a", &[1, 2, 8, 6])],
            vec![text("mode", "linear")],
        ),
        (
            "Resize",
            vec!["x", "", "a"],
            vec![reals("a", &[1.0, 1.0, 1.5, 2.0])],
            vec![text("mode", "cubic")],
        ),
        (
            "Slice",
            vec!["x", "a", "b", "c", "d"],
            vec![
                ints("a", &[3]),
                ints("b", &[-9]),
                ints("c", &[2]),
                ints("d", &[-2]),
            ],
            vec![],
        ),
        (
            "Gather",
            vec!["x", "a"],
            vec![ints("a", &[1, -1, 0])],
            vec![number("axis", 2)],
        ),
        (
            "Split",
            vec!["x"],
            vec![],
            vec![number("axis", 1), number("num_outputs", 1)],
        ),
        (
            "DepthToSpace",
            vec!["t"],
            vec![],
            vec![number("blocksize", 2)],
        ),
        (
            "SpaceToDepth",
            vec!["x"],
            vec![],
            vec![number("blocksize", 2)],
        ),
        ("Trilu", vec!["x"], vec![], vec![number("upper", 1)]),
        (
            "Transpose",
            vec!["x"],
            vec![],
            vec![list("perm", &[0, 3, 1, 2])],
        ),
        (
            "ReduceSum",
            vec!["x", "a"],
            vec![ints("a", &[1, -1])],
            vec![],
        ),
        ("ArgMax", vec!["x"], vec![], vec![number("axis", 3)]),
        (
            "AveragePool",
            vec!["x"],
            vec![],
            vec![
                list("kernel_shape", &[2, 3]),
                list("pads", &[1, 1, 0, 0]),
                list("strides", &[1, 2]),
            ],
        ),
        (
            "MaxPool",
            vec!["x"],
            vec![],
            vec![list("kernel_shape", &[2, 2]), number("ceil_mode", 1)],
        ),
        (
            "Conv",
            vec!["x", "w"],
            vec![weights("w", &[2, 2, 3, 3])],
            vec![list("dilations", &[1, 1]), text("auto_pad", "SAME_UPPER")],
        ),
        (
            "ConvTranspose",
            vec!["x", "w"],
            vec![weights("w", &[2, 2, 3, 3])],
            vec![list("strides", &[2, 2]), list("output_padding", &[1, 0])],
        ),
        (
            "LayerNormalization",
            vec!["x", "w"],
            vec![weights("w", &[4])],
            vec![number("axis", -1)],
        ),
        (
            "GroupNormalization",
            vec!["x", "w", "w"],
            vec![weights("w", &[2])],
            vec![number("num_groups", 2)],
        ),
        ("Softmax", vec!["x"], vec![], vec![number("axis", 1)]),
        (
            "Unsqueeze",
            vec!["x", "a"],
            vec![ints("a", &[0, 3])],
            vec![],
        ),
        (
            "Reshape",
            vec!["x", "a"],
            vec![ints("a", &[0, -1, 4])],
            vec![],
        ),
        ("Concat", vec!["x", "x"], vec![], vec![number("axis", 1)]),
        (
            "Where",
            vec!["b", "x", "w"],
            vec![
                weights("w", &[2, 1, 1]),
                scalar(TensorProto {
                    name: "b".into(),
                    data_type: 9,
                    dims: vec![1],
                    raw_data: vec![1],
                    ..Default::default()
                }),
            ],
            vec![],
        ),
        (
            "LSTM",
            vec!["s", "w", "r"],
            vec![weights("w", &[1, 8, 3]), weights("r", &[1, 8, 2])],
            vec![number("hidden_size", 2)],
        ),
        (
            "GRU",
            vec!["s", "w", "r"],
            vec![weights("w", &[1, 6, 3]), weights("r", &[1, 6, 2])],
            vec![number("hidden_size", 2), number("linear_before_reset", 1)],
        ),
        // Constants that are computed while the model is read.
        (
            "ConstantOfShape+Add",
            vec!["a"],
            vec![ints("a", &[1, 2, 4, 4])],
            vec![],
        ),
        (
            "Range+Add",
            vec!["a", "b", "c"],
            vec![
                scalar(reals("a", &[0.0])),
                scalar(reals("b", &[4.0])),
                scalar(reals("c", &[1.0])),
            ],
            vec![],
        ),
        (
            "Expand+Add",
            vec!["w", "a"],
            vec![weights("w", &[2, 1, 1]), ints("a", &[1, 2, 4, 4])],
            vec![],
        ),
        (
            "Tile+Add",
            vec!["w", "a"],
            vec![weights("w", &[2, 1, 1]), ints("a", &[1, 4, 4])],
            vec![],
        ),
    ];
    all.into_iter().map(move |(op, inputs, initializer, attribute)| {
        let input = |name: &str, dims: &[i64]| ValueInfoProto {
            name: name.into(),
            r#type: Some(tract_onnx::pb::TypeProto {
                denotation: String::new(),
                value: Some(type_proto::Value::TensorType(type_proto::Tensor {
                    elem_type: 1,
                    shape: Some(tract_onnx::pb::TensorShapeProto {
                        dim: dims
                            .iter()
                            .map(|&d| tract_onnx::pb::tensor_shape_proto::Dimension {
                                denotation: String::new(),
                                value: Some(
                                    tract_onnx::pb::tensor_shape_proto::dimension::Value::DimValue(d),
                                ),
                            })
                            .collect(),
                    }),
                })),
            }),
            ..Default::default()
        };
        let (first, second) = op.split_once('+').map_or((op, None), |(a, b)| (a, Some(b)));
        let recurrent = matches!(first, "LSTM" | "GRU");
        let mut nodes = vec![NodeProto {
            op_type: first.into(),
            name: "node".into(),
            input: inputs.iter().map(|&i| i.to_owned()).collect(),
            output: vec![if second.is_some() { "made" } else { "y" }.into()],
            attribute,
            ..Default::default()
        }];
        if let Some(second) = second {
            nodes.push(NodeProto {
                op_type: second.into(),
                input: vec!["x".into(), "made".into()],
                output: vec!["y".into()],
                ..Default::default()
            });
        }
        let x = match (recurrent, first) {
            (true, _) => input("s", &[3, 1, 3]),
            (_, "DepthToSpace") => input("t", &[1, 4, 2, 2]),
            _ => input("x", &[1, 2, 4, 4]),
        };
        let y = ValueInfoProto {
            name: "y".into(),
            ..Default::default()
        };
        ModelProto {
            ir_version: 8,
            opset_import: vec![OperatorSetIdProto {
                domain: String::new(),
                version: 18,
            }],
            graph: Some(GraphProto {
                name: "one".into(),
                node: nodes,
                initializer,
                input: vec![x],
                output: vec![y],
                ..Default::default()
            }),
            ..Default::default()
        }
    })
}

fn weights(name: &str, dims: &[i64]) -> TensorProto {
    let len: i64 = dims.iter().product();
    TensorProto {
        name: name.into(),
        dims: dims.to_vec(),
        data_type: 1,
        float_data: (0..len).map(|i| (i % 7) as f32 - 3.0).collect(),
        ..Default::default()
    }
}
