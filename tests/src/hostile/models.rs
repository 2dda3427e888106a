//! ONNX files: decoding, importing, every pass, and compiling what is accepted, within small limits.

use super::mutate::EXTREMES;
use crate::networks;
use crate::random::Random;
use kinglet_export::compile::{self, CompileOptions, StoredWeights, Target};
use kinglet_export::limits::Limits;
use kinglet_export::onnx::{self, LoadOptions};
use kinglet_export::passes;
use prost::Message;
use tract_onnx::pb::{AttributeProto, ModelProto, TensorProto};

/// Limits under which a case takes milliseconds. `Default` has the ones for users.
pub fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.decoded_bytes = 4 << 20;
    limits.nodes = 200;
    limits.elements = 1 << 16;
    limits.total_elements = 1 << 18;
    limits.macs = 1 << 22;
    limits
}

/// Imports, prepares and compiles, for the host or with stored weights for a Cortex-M4F.
pub fn compile(file: &[u8]) -> bool {
    let limits = limits();
    let Ok(proto) = onnx::decode(file, &limits) else {
        return false;
    };
    let mut options = LoadOptions::default();
    options.limits = limits;
    let Ok(mut graph) = onnx::load_model(&proto, &options) else {
        return false;
    };
    passes::prepare(&mut graph);
    let mut options = CompileOptions::default();
    if file.len() % 2 == 1 {
        options.target = Target::CortexM4f;
        options.weights = StoredWeights::Auto;
    }
    match compile::compile(&graph, &options) {
        Ok(compiled) => {
            kinglet::Plan::parse(kinglet_export::host::AlignedBytes::from(compiled.core()).bytes())
                .expect("the compiler makes valid plans");
            true
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            false
        }
    }
}

/// Small models: those that are committed, and networks with most operators.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = vec![
        include_bytes!("../../models/digits.onnx").to_vec(),
        include_bytes!("../../models/digits_int8.onnx").to_vec(),
    ];
    let graphs = [
        networks::classifier(false),
        networks::classifier(true),
        networks::two_inputs(false),
        networks::two_inputs(true),
        crate::general_network::general(),
    ];
    seeds.extend(graphs.iter().map(|g| onnx::write::to_model_proto(g).encode_to_vec()));
    seeds.extend(operators().map(|m| m.encode_to_vec()));
    seeds
}

/// One model for each operator whose result is as large as its operands say.
fn operators() -> impl Iterator<Item = ModelProto> {
    use tract_onnx::pb::{GraphProto, NodeProto, OperatorSetIdProto, ValueInfoProto, type_proto};
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
    let all: Vec<(&str, Vec<&str>, Vec<TensorProto>, Vec<AttributeProto>)> = vec![
        ("Expand", vec!["x", "a"], vec![ints("a", &[2, 4, 4, 4])], vec![]),
        ("Tile", vec!["x", "a"], vec![ints("a", &[1, 2, 1, 2])], vec![]),
        ("Pad", vec!["x", "a"], vec![ints("a", &[0, 0, 1, 1, 0, 0, 1, 2])], vec![text("mode", "reflect")]),
        ("Pad", vec!["x", "a"], vec![ints("a", &[0, 0, 1, -1, 0, 0, 1, 2])], vec![]),
        ("Resize", vec!["x", "", "", "a"], vec![ints("a", &[1, 2, 8, 6])], vec![text("mode", "linear")]),
        ("Resize", vec!["x", "", "a"], vec![reals("a", &[1.0, 1.0, 1.5, 2.0])], vec![text("mode", "cubic")]),
        ("Slice", vec!["x", "a", "b", "c", "d"],
            vec![ints("a", &[3]), ints("b", &[-9]), ints("c", &[2]), ints("d", &[-2])], vec![]),
        ("Gather", vec!["x", "a"], vec![ints("a", &[1, -1, 0])], vec![number("axis", 2)]),
        ("Split", vec!["x"], vec![], vec![number("axis", 1), number("num_outputs", 1)]),
        ("DepthToSpace", vec!["t"], vec![], vec![number("blocksize", 2)]),
        ("SpaceToDepth", vec!["x"], vec![], vec![number("blocksize", 2)]),
        ("Trilu", vec!["x"], vec![], vec![number("upper", 1)]),
        ("Transpose", vec!["x"], vec![], vec![list("perm", &[0, 3, 1, 2])]),
        ("ReduceSum", vec!["x", "a"], vec![ints("a", &[1, -1])], vec![]),
        ("ArgMax", vec!["x"], vec![], vec![number("axis", 3)]),
        ("AveragePool", vec!["x"], vec![], vec![list("kernel_shape", &[2, 3]), list("pads", &[1, 1, 0, 0]), list("strides", &[1, 2])]),
        ("MaxPool", vec!["x"], vec![], vec![list("kernel_shape", &[2, 2]), number("ceil_mode", 1)]),
        ("Conv", vec!["x", "w"], vec![weights("w", &[2, 2, 3, 3])], vec![list("dilations", &[1, 1]), text("auto_pad", "SAME_UPPER")]),
        ("ConvTranspose", vec!["x", "w"], vec![weights("w", &[2, 2, 3, 3])], vec![list("strides", &[2, 2]), list("output_padding", &[1, 0])]),
        ("LayerNormalization", vec!["x", "w"], vec![weights("w", &[4])], vec![number("axis", -1)]),
        ("GroupNormalization", vec!["x", "w", "w"], vec![weights("w", &[2])], vec![number("num_groups", 2)]),
        ("Softmax", vec!["x"], vec![], vec![number("axis", 1)]),
        ("Unsqueeze", vec!["x", "a"], vec![ints("a", &[0, 3])], vec![]),
        ("Reshape", vec!["x", "a"], vec![ints("a", &[0, -1, 4])], vec![]),
        ("Concat", vec!["x", "x"], vec![], vec![number("axis", 1)]),
        ("Where", vec!["b", "x", "w"], vec![weights("w", &[2, 1, 1]), scalar(TensorProto {
            name: "b".into(), data_type: 9, dims: vec![1], raw_data: vec![1], ..Default::default() })], vec![]),
        ("LSTM", vec!["s", "w", "r"], vec![weights("w", &[1, 8, 3]), weights("r", &[1, 8, 2])], vec![number("hidden_size", 2)]),
        ("GRU", vec!["s", "w", "r"], vec![weights("w", &[1, 6, 3]), weights("r", &[1, 6, 2])], vec![number("hidden_size", 2), number("linear_before_reset", 1)]),
        // Constants that are computed while the model is read.
        ("ConstantOfShape+Add", vec!["a"], vec![ints("a", &[1, 2, 4, 4])], vec![]),
        ("Range+Add", vec!["a", "b", "c"], vec![scalar(reals("a", &[0.0])), scalar(reals("b", &[4.0])), scalar(reals("c", &[1.0]))], vec![]),
        ("Expand+Add", vec!["w", "a"], vec![weights("w", &[2, 1, 1]), ints("a", &[1, 2, 4, 4])], vec![]),
        ("Tile+Add", vec!["w", "a"], vec![weights("w", &[2, 1, 1]), ints("a", &[1, 4, 4])], vec![]),
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

/// A well-formed model that says something else: other numbers, other operators, edges and shapes.
pub fn distort(file: &mut Vec<u8>, random: &mut Random) {
    let Ok(mut model) = ModelProto::decode(file.as_slice()) else {
        return;
    };
    for _ in 0..=random.below(3) {
        distort_once(&mut model, random);
    }
    *file = model.encode_to_vec();
}

fn extreme(random: &mut Random) -> i64 {
    match random.below(3) {
        0 => random.pick(&EXTREMES) as i64,
        1 => -(random.pick(&EXTREMES) as i64).wrapping_abs(),
        _ => random.below(20) as i64 - 3,
    }
}

fn distort_once(model: &mut ModelProto, random: &mut Random) {
    if random.one_in(40)
        && let Some(opset) = model.opset_import.first_mut()
    {
        opset.version = random.between(6, 30) as i64;
        return;
    }
    let Some(graph) = &mut model.graph else {
        return;
    };
    let nodes = graph.node.len();
    match random.below(8) {
        0 | 1 if !graph.initializer.is_empty() => {
            let at = random.below(graph.initializer.len());
            distort_tensor(&mut graph.initializer[at], random);
        }
        2 if !graph.input.is_empty() => {
            use tract_onnx::pb::{tensor_shape_proto::dimension::Value, type_proto};
            let at = random.below(graph.input.len());
            let ty = graph.input[at].r#type.as_mut().and_then(|t| t.value.as_mut());
            if let Some(type_proto::Value::TensorType(tensor)) = ty {
                let dims = tensor.shape.as_mut().map(|s| &mut s.dim);
                match dims {
                    Some(dims) if !dims.is_empty() && !random.one_in(8) => {
                        let at = random.below(dims.len());
                        dims[at].value = Some(Value::DimValue(extreme(random)));
                    }
                    _ => tensor.elem_type = random.below(18) as i32,
                }
            }
        }
        3 if nodes > 1 => {
            // Another edge: often from a later node, or of another shape.
            let names: Vec<String> = graph
                .node
                .iter()
                .flat_map(|n| n.output.iter().chain(&n.input))
                .cloned()
                .collect();
            let node = &mut graph.node[random.below(nodes)];
            if !node.input.is_empty() {
                let at = random.below(node.input.len());
                node.input[at].clone_from(&names[random.below(names.len())]);
            }
        }
        4 if nodes > 0 => {
            let operators: Vec<&str> = onnx::operators().collect();
            graph.node[random.below(nodes)].op_type = random.pick(&operators).to_owned();
        }
        5 if nodes > 0 => {
            let at = random.below(nodes);
            match random.below(3) {
                0 => drop(graph.node.remove(at)),
                1 => graph.node.insert(at, graph.node[at].clone()),
                _ => graph.node.swap(at, random.below(nodes)),
            }
        }
        _ if nodes > 0 => {
            let node = &mut graph.node[random.below(nodes)];
            if node.attribute.is_empty() || random.one_in(10) {
                let name = random.pick(&[
                    "axis", "axes", "pads", "strides", "dilations", "group", "keepdims", "to", "perm",
                ]);
                node.attribute.push(AttributeProto {
                    name: name.into(),
                    i: extreme(random),
                    ints: (0..random.below(5)).map(|_| extreme(random)).collect(),
                    ..Default::default()
                });
                return;
            }
            let at = random.below(node.attribute.len());
            distort_attribute(&mut node.attribute[at], random);
        }
        _ => {}
    }
}

fn distort_attribute(attribute: &mut AttributeProto, random: &mut Random) {
    if let Some(t) = &mut attribute.t {
        return distort_tensor(t, random);
    }
    if attribute.ints.is_empty() || random.one_in(6) {
        attribute.i = extreme(random);
        attribute.f = random.pick(&[0.0, -1.0, 1e-30, 1e30, f32::NAN, f32::INFINITY]);
        return;
    }
    let at = random.below(attribute.ints.len());
    match random.below(6) {
        0 => drop(attribute.ints.remove(at)),
        1 => attribute.ints.push(extreme(random)),
        _ => attribute.ints[at] = extreme(random),
    }
}

fn distort_tensor(tensor: &mut TensorProto, random: &mut Random) {
    let value = extreme(random);
    if !tensor.int64_data.is_empty() && !random.one_in(4) {
        let at = random.below(tensor.int64_data.len());
        tensor.int64_data[at] = value;
    } else if !tensor.raw_data.is_empty() && !random.one_in(4) {
        let at = random.below(tensor.raw_data.len());
        for (byte, new) in tensor.raw_data[at / 8 * 8..].iter_mut().zip(value.to_le_bytes()) {
            *byte = new;
        }
    } else if !tensor.float_data.is_empty() && !random.one_in(4) {
        let at = random.below(tensor.float_data.len());
        tensor.float_data[at] = random.pick(&[0.0, -1.0, 1e30, f32::NAN, f32::INFINITY, 3e9]);
    } else if random.one_in(3) {
        tensor.data_type = random.below(18) as i32;
    } else if random.one_in(2) && tensor.dims.len() > 1 {
        let (a, b) = (random.below(tensor.dims.len()), random.below(tensor.dims.len()));
        tensor.dims.swap(a, b);
    } else if tensor.dims.is_empty() || random.one_in(3) {
        tensor.dims.push(random.pick(&[0, 1, 1, 2, value]));
    } else {
        let at = random.below(tensor.dims.len());
        tensor.dims[at] = value;
    }
}
