//! Whole imports of small models.

use super::testing::{Attr, ModelBuilder};
use super::{LoadOptions, load_model};
use crate::graph::{Clamp, DType, Data, Graph, Op, Pool, Quantization, Unary, Window};
use crate::passes;
use tract_onnx::pb::{
    ModelProto, tensor_proto::DataType, tensor_shape_proto::dimension::Value as Dim,
    type_proto::Value as Type,
};

fn load(model: &ModelProto) -> Graph {
    load_model(model, &LoadOptions::default()).unwrap_or_else(|e| panic!("{e}"))
}

fn error(model: &ModelProto) -> String {
    load_model(model, &LoadOptions::default())
        .unwrap_err()
        .to_string()
}

fn ops(graph: &Graph) -> Vec<&'static str> {
    graph.nodes.iter().map(|n| passes::op_name(&n.op)).collect()
}

/// A model of one input `x` and one node.
fn single(
    opset: i64,
    dims: &[i64],
    op: &str,
    extra: &[&str],
    attrs: &[(&str, Attr)],
) -> ModelBuilder {
    let dims: Vec<Option<i64>> = dims.iter().map(|&d| Some(d)).collect();
    let inputs: Vec<&str> = [&["x"], extra].concat();
    ModelBuilder::new(opset)
        .input("x", &dims, DataType::Float)
        .node(op, &inputs, "y", attrs)
}

#[test]
fn an_unsupported_operator_is_named_with_its_node_opset_and_a_rewrite() {
    let text = error(&single(13, &[1, 4], "QLinearConv", &[], &[]).model(&["y"]));
    for part in ["y_node", "QLinearConv", "ai.onnx", "13", "QDQ"] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
}

#[test]
fn an_unsupported_attribute_is_named_with_its_value() {
    let model = single(
        10,
        &[1, 4],
        "ArgMax",
        &[],
        &[("select_last_index", Attr::Int(1)), ("axis", Attr::Int(1))],
    );
    let text = error(&model.model(&["y"]));
    assert!(
        text.contains("select_last_index = 1") && text.contains("y_node") && text.contains("10"),
        "{text}"
    );
}

#[test]
fn reflecting_pads_pick_by_index_and_negative_ones_crop() {
    let attrs = [
        ("mode", Attr::Text("reflect")),
        ("pads", Attr::Ints(&[0, 2, 0, 1])),
    ];
    let g = load(&single(10, &[1, 4], "Pad", &[], &attrs).model(&["y"]));
    let indices = vec![2, 1, 0, 1, 2, 3, 2];
    assert_eq!(g.nodes[0].op, Op::Pick { axis: 1, indices });
    let attrs = [("pads", Attr::Ints(&[0, -1, 0, 2]))];
    let g = load(&single(10, &[1, 4], "Pad", &[], &attrs).model(&["y"]));
    assert_eq!(ops(&g), ["Slice", "Pad"]);
    assert_eq!(g[g.outputs[0]].shape, [1, 5]);
}

#[test]
fn integers_and_truth_values_are_converted_at_the_border() {
    let model = ModelBuilder::new(13)
        .input("x", &[Some(1), Some(3)], DataType::Int64)
        .i64("two", &[2])
        .node("Equal", &["x", "two"], "same", &[])
        .node("ArgMax", &["x"], "y", &[("axis", Attr::Int(1))])
        .model(&["same", "y"]);
    let g = load(&model);
    assert_eq!(ops(&g), ["Cast", "Equal", "Cast", "ArgMax", "Cast"]);
    let dtypes: Vec<DType> = g
        .inputs
        .iter()
        .chain(&g.outputs)
        .map(|&id| g[id].dtype)
        .collect();
    assert_eq!(dtypes, [DType::I32, DType::U8, DType::I32]);
}

/// An input of these dimensions, numbers or names, with a Relu.
fn open_input(dims: &[&str]) -> ModelProto {
    let known: Vec<Option<i64>> = dims.iter().map(|d| d.parse().ok()).collect();
    let mut model = ModelBuilder::new(13)
        .input("image", &known, DataType::Float)
        .node("Relu", &["image"], "y", &[])
        .model(&["y"]);
    let input = &mut model.graph.as_mut().unwrap().input[0];
    let Some(Type::TensorType(tensor)) = input.r#type.as_mut().and_then(|t| t.value.as_mut())
    else {
        panic!("a tensor")
    };
    for (dim, name) in tensor.shape.as_mut().unwrap().dim.iter_mut().zip(dims) {
        if let Some(Dim::DimParam(symbol)) = &mut dim.value {
            *symbol = name.to_string();
        }
    }
    model
}

#[test]
fn open_dimensions_are_listed_with_the_option_that_fixes_them() {
    let model = open_input(&["N", "3", "height", ""]);
    let text = error(&model);
    for part in [
        "image",
        "dimension 2 (`height`) and dimension 3 are left open",
        "--shape image=1x3x<height>x<size>",
    ] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
}

#[test]
fn a_symbolic_dimension_is_given_by_its_name_or_with_the_whole_shape() {
    let model = open_input(&["N", "3", "side", "side"]);
    let shape = |given: &[(&str, &[usize])]| {
        let given = given.iter().map(|(n, s)| (n.to_string(), s.to_vec()));
        let options = LoadOptions {
            input_shapes: given.collect(),
            ..LoadOptions::default()
        };
        match load_model(&model, &options) {
            Ok(graph) => Ok(graph[graph.inputs[0]].shape.clone()),
            Err(error) => Err(error.to_string()),
        }
    };
    assert_eq!(shape(&[("side", &[8])]), Ok(vec![1, 3, 8, 8]));
    assert_eq!(shape(&[("side", &[8]), ("N", &[2])]), Ok(vec![2, 3, 8, 8]));
    assert_eq!(shape(&[("image", &[1, 3, 8, 4])]), Ok(vec![1, 3, 8, 4]));
    let text = shape(&[("image", &[3, 8, 4])]).unwrap_err();
    assert!(text.contains("it has 4 dimensions"), "{text}");
    let text = shape(&[("width", &[8])]).unwrap_err();
    assert!(text.contains("[\"N\", \"side\"]"), "{text}");
}

#[test]
fn opsets_outside_the_range_are_refused() {
    for opset in [0, 6, 29] {
        assert!(error(&single(opset, &[1, 4], "Relu", &[], &[]).model(&["y"])).contains("7 to 28"));
    }
    for opset in [7, 28] {
        load(&single(opset, &[1, 4], "Relu", &[], &[]).model(&["y"]));
    }
}

#[test]
fn a_symbolic_batch_is_one_and_other_unknown_dimensions_need_a_shape() {
    let model = |dims: &[Option<i64>]| {
        ModelBuilder::new(13)
            .input("x", dims, DataType::Float)
            .node("Relu", &["x"], "y", &[])
            .model(&["y"])
    };
    assert_eq!(load(&model(&[None, Some(3)])).values[0].shape, [1, 3]);
    let open = model(&[Some(1), None]);
    assert!(error(&open).contains("`N`"));
    let options = LoadOptions {
        input_shapes: vec![("x".into(), vec![2, 5])],
        ..LoadOptions::default()
    };
    assert_eq!(load_model(&open, &options).unwrap().values[0].shape, [2, 5]);
    let options = LoadOptions {
        input_shapes: vec![("z".into(), vec![2, 5])],
        ..LoadOptions::default()
    };
    assert!(
        load_model(&open, &options)
            .unwrap_err()
            .to_string()
            .contains("`z`")
    );
}

#[test]
fn shapes_computed_at_run_time_are_folded() {
    let model = ModelBuilder::new(13)
        .input("x", &[None, Some(2), Some(3)], DataType::Float)
        .i64("zero", &[0])
        .i64("rest", &[-1])
        .node("Shape", &["x"], "shape", &[])
        .node(
            "Gather",
            &["shape", "zero"],
            "batch",
            &[("axis", Attr::Int(0))],
        )
        .node(
            "Concat",
            &["batch", "rest"],
            "target",
            &[("axis", Attr::Int(0))],
        )
        .node("Reshape", &["x", "target"], "y", &[])
        .model(&["y"]);
    let g = load(&model);
    assert_eq!(
        (ops(&g), g[g.outputs[0]].shape.clone()),
        (vec!["Reshape"], vec![1, 6])
    );
}

#[test]
fn one_dimensional_convolutions_become_two_dimensional() {
    let model = single(
        13,
        &[1, 2, 9],
        "Conv",
        &["w"],
        &[("pads", Attr::Ints(&[1, 2])), ("strides", Attr::Ints(&[2]))],
    )
    .f32("w", &[4, 2, 3], &[0.5; 24])
    .node("Relu", &["y"], "z", &[])
    .model(&["z"]);
    let mut g = load(&model);
    assert_eq!(g[g.outputs[0]].shape, [1, 4, 5]);
    assert!(passes::prepare(&mut g).is_empty());
    assert_eq!(ops(&g), ["Reshape", "Conv", "Reshape"]);
    let window = Window {
        kernel: [1, 3],
        strides: [1, 2],
        dilations: [1, 1],
        pads: [0, 1, 0, 2],
    };
    assert_eq!(
        g.nodes[1].op,
        Op::Conv2d {
            window,
            groups: 1,
            clamp: Clamp::RELU
        }
    );
    assert_eq!(g[g.outputs[0]].name, "z");
}

#[test]
fn averages_with_counted_padding_and_ceil_mode_pad_first() {
    let attrs = [
        ("kernel_shape", Attr::Ints(&[2, 2])),
        ("strides", Attr::Ints(&[2, 2])),
        ("pads", Attr::Ints(&[1, 1, 0, 0])),
        ("ceil_mode", Attr::Int(1)),
        ("count_include_pad", Attr::Int(1)),
    ];
    let g = load(&single(11, &[1, 1, 4, 4], "AveragePool", &[], &attrs).model(&["y"]));
    assert_eq!(ops(&g), ["Pad", "AveragePool"]);
    assert_eq!(g[g.outputs[0]].shape, [1, 1, 3, 3]);
    let Op::Pool { pool, window } = &g.nodes[1].op else {
        panic!()
    };
    assert_eq!(
        (*pool, window.pads),
        (
            Pool::Average {
                count_include_pad: false
            },
            [0, 0, 1, 1]
        )
    );
}

#[test]
fn gemm_folds_its_factors_and_transposes() {
    let attrs = [("alpha", Attr::Float(2.0)), ("beta", Attr::Float(3.0))];
    let g = load(
        &single(13, &[1, 2], "Gemm", &["w", "c"], &attrs)
            .f32("w", &[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
            .f32("c", &[1, 3], &[1.0, 2.0, 3.0])
            .model(&["y"]),
    );
    assert_eq!(ops(&g), ["FullyConnected"]);
    let constant = |i: usize| g[g.nodes[0].inputs[i]].clone();
    assert_eq!(
        (constant(1).shape, constant(2).shape),
        (vec![3, 2], vec![3])
    );
    assert_eq!(
        constant(1).data,
        Some(Data::F32(vec![2.0, 8.0, 4.0, 10.0, 6.0, 12.0]))
    );
    assert_eq!(constant(2).data, Some(Data::F32(vec![3.0, 6.0, 9.0])));
}

#[test]
fn softmax_before_opset_13_flattens_where_that_differs() {
    let axis = [("axis", Attr::Int(1))];
    let old = load(&single(11, &[1, 2, 3], "Softmax", &[], &axis).model(&["y"]));
    assert_eq!(ops(&old), ["Reshape", "Softmax", "Reshape"]);
    assert_eq!(old[old.nodes[1].output].shape, [1, 6]);
    let new = load(&single(13, &[1, 2, 3], "Softmax", &[], &axis).model(&["y"]));
    assert_eq!(new.nodes[0].op, Op::Softmax { axis: 1 });
    let equal = load(&single(11, &[1, 6, 1], "Softmax", &[], &axis).model(&["y"]));
    assert_eq!(equal.nodes[0].op, Op::Softmax { axis: 1 });
}

#[test]
fn clip_reads_attributes_then_operands() {
    let bounds = Op::Unary(Unary::Clamp(Clamp { min: 0.0, max: 6.0 }));
    let attrs = [("min", Attr::Float(0.0)), ("max", Attr::Float(6.0))];
    let old = load(&single(10, &[4], "Clip", &[], &attrs).model(&["y"]));
    let new = single(11, &[4], "Clip", &["lo", "hi"], &[])
        .f32("lo", &[], &[0.0])
        .f32("hi", &[], &[6.0]);
    assert_eq!(
        (&old.nodes[0].op, &load(&new.model(&["y"])).nodes[0].op),
        (&bounds, &bounds)
    );
}

#[test]
fn means_over_the_plane_are_pools() {
    let attrs = [("axes", Attr::Ints(&[-2, -1])), ("keepdims", Attr::Int(0))];
    let g = load(&single(13, &[1, 3, 4, 5], "ReduceMean", &[], &attrs).model(&["y"]));
    assert_eq!(
        (ops(&g), g[g.outputs[0]].shape.clone()),
        (vec!["AveragePool", "Reshape"], vec![1, 3])
    );
    let attrs = [("axes", Attr::Ints(&[2])), ("keepdims", Attr::Int(1))];
    let g = load(&single(13, &[2, 3, 4], "ReduceMean", &[], &attrs).model(&["y"]));
    assert_eq!(g[g.outputs[0]].shape, [2, 3, 1]);
    assert!(ops(&g).contains(&"AveragePool"));
}

/// onnxruntime's default: unsigned activations, signed weights, int32 bias.
fn unsigned_qdq() -> ModelBuilder {
    ModelBuilder::new(13)
        .input("x", &[Some(1), Some(2)], DataType::Uint8)
        .f32("sx", &[], &[0.5])
        .integers("zx", &[], &[100], DataType::Uint8)
        .integers("w", &[2, 2], &[1, 2, 3, 4], DataType::Int8)
        .f32("sw", &[2], &[0.25, 0.125])
        .integers("zw", &[2], &[0, 0], DataType::Int8)
        .f32("sy", &[], &[2.0])
        .integers("zy", &[], &[7], DataType::Uint8)
        .node("DequantizeLinear", &["x", "sx", "zx"], "xf", &[])
        .node(
            "DequantizeLinear",
            &["w", "sw", "zw"],
            "wf",
            &[("axis", Attr::Int(1))],
        )
        .node("MatMul", &["xf", "wf"], "yf", &[])
        .node("QuantizeLinear", &["yf", "sy", "zy"], "y", &[])
}

#[test]
fn unsigned_activations_are_signed_inside() {
    let mut g = load(&unsigned_qdq().model(&["y"]));
    assert_eq!(passes::prepare(&mut g), []);
    assert_eq!(ops(&g), ["Requantize", "FullyConnected", "Requantize"]);
    let (x, w, y) = (
        &g[g.nodes[1].inputs[0]],
        &g[g.nodes[1].inputs[1]],
        &g[g.nodes[1].output],
    );
    assert_eq!(
        (x.dtype, x.quantization.clone()),
        (DType::I8, Some(Quantization::per_tensor(0.5, -28)))
    );
    assert_eq!(
        (y.dtype, y.quantization.clone()),
        (DType::I8, Some(Quantization::per_tensor(2.0, -121)))
    );
    assert_eq!(w.data, Some(Data::I8(vec![1, 3, 2, 4])));
    assert_eq!(w.quantization.as_ref().and_then(|q| q.axis), Some(0));
    assert_eq!(
        (g[g.inputs[0]].dtype, g[g.outputs[0]].dtype),
        (DType::U8, DType::U8)
    );
}

#[test]
fn integers_mean_what_the_dequantize_after_a_transpose_says() {
    let model = ModelBuilder::new(13)
        .input("x", &[Some(1), Some(4), Some(4), Some(3)], DataType::Int8)
        .f32("s", &[], &[0.5])
        .integers("z", &[], &[3], DataType::Int8)
        .node(
            "Transpose",
            &["x"],
            "t",
            &[("perm", Attr::Ints(&[0, 3, 1, 2]))],
        )
        .node("DequantizeLinear", &["t", "s", "z"], "y", &[])
        .model(&["y"]);
    let g = load(&model);
    let q = Some(Quantization::per_tensor(0.5, 3));
    assert!(
        g.inputs
            .iter()
            .chain([&g.nodes[0].output])
            .all(|&id| g[id].quantization == q)
    );
}

#[test]
fn weights_too_wide_for_int8_are_centred_in_more_bits() {
    let model = single(
        13,
        &[1, 2, 3, 3],
        "Conv",
        &["wf"],
        &[("group", Attr::Int(2))],
    )
    .integers("w", &[2, 1, 1, 1], &[0, 255], DataType::Uint8)
    .f32("sw", &[], &[0.25])
    .integers("zw", &[], &[100], DataType::Uint8);
    // The Dequantize must come first.
    let mut model = model
        .node("DequantizeLinear", &["w", "sw", "zw"], "wf", &[])
        .model(&["y"]);
    model.graph.as_mut().unwrap().node.reverse();
    let graph = load_model(&model, &LoadOptions::default()).unwrap();
    let centred = Data::I32(vec![-100, 155]);
    assert!(graph.values.iter().any(|v| v.data == Some(centred.clone())));
}

/// Axis, start and shape of every slice.
fn slices(graph: &Graph) -> Vec<(usize, usize, Vec<usize>)> {
    let slice = |n: &crate::graph::Node| match n.op {
        Op::Slice { axis, start } => Some((axis, start, graph[n.output].shape.clone())),
        _ => None,
    };
    graph.nodes.iter().filter_map(slice).collect()
}

#[test]
fn slices_of_old_opsets_have_attributes() {
    let attrs = [
        ("starts", Attr::Ints(&[1, -2])),
        ("ends", Attr::Ints(&[3, i64::MAX])),
        ("axes", Attr::Ints(&[1, -1])),
    ];
    let g = load(&single(9, &[1, 4, 5], "Slice", &[], &attrs).model(&["y"]));
    let expected = [(1, 1, vec![1, 2, 5]), (2, 3, vec![1, 2, 2])];
    assert_eq!(slices(&g), expected);
    assert_eq!(g[g.outputs[0]].name, "y");
}

#[test]
fn slices_of_new_opsets_have_inputs() {
    let sliced = |starts: &[i64], ends: &[i64], axes: Option<&[i64]>, steps: Option<&[i64]>| {
        let mut inputs = vec!["starts", "ends"];
        let mut model = ModelBuilder::new(13)
            .input("x", &[Some(1), Some(4), Some(5)], DataType::Float)
            .i64("starts", starts)
            .i64("ends", ends);
        for (name, values) in [("axes", axes), ("steps", steps)] {
            model = model.i64(name, values.unwrap_or_default());
            inputs.push(if values.is_some() { name } else { "" });
        }
        let inputs: Vec<&str> = [vec!["x"], inputs].concat();
        model.node("Slice", &inputs, "y", &[]).model(&["y"])
    };
    let g = load(&sliced(&[0, 1, -100], &[9, -1, 2], None, Some(&[1, 1, 1])));
    assert_eq!(slices(&g), [(1, 1, vec![1, 2, 5]), (2, 0, vec![1, 2, 2])]);
    let stepped = load(&sliced(&[-1, 0], &[-9, 4], Some(&[2, 1]), Some(&[-2, 2])));
    assert_eq!(ops(&stepped), ["Strided", "Strided"]);
    assert_eq!(stepped[stepped.outputs[0]].shape, [1, 2, 3]);
    assert!(error(&sliced(&[3], &[3], Some(&[2]), None)).contains("empty"));
}

/// The model's `x`, split along axis 1.
fn split(opset: i64, inputs: &[&str], outputs: &[&str], attrs: &[(&str, Attr)]) -> ModelProto {
    let axis: &[(&str, Attr)] = &[("axis", Attr::Int(1))];
    ModelBuilder::new(opset)
        .input("x", &[Some(1), Some(7), Some(2)], DataType::Float)
        .i64("sizes", &[3, 4])
        .outputs("Split", inputs, outputs, &[axis, attrs].concat())
        .model(outputs)
}

#[test]
fn splits_are_slices() {
    let parts = [(1, 0, vec![1, 3, 2]), (1, 3, vec![1, 4, 2])];
    let attribute = [("split", Attr::Ints(&[3, 4]))];
    let by_attribute = load(&split(11, &["x"], &["a", "b"], &attribute));
    assert_eq!(slices(&by_attribute), parts);
    let by_input = load(&split(13, &["x", "sizes"], &["a", "b"], &[]));
    assert_eq!(slices(&by_input), parts);
    let count = [("num_outputs", Attr::Int(2))];
    let by_count = load(&split(18, &["x"], &["a", "b"], &count));
    let parts = [(1, 0, vec![1, 4, 2]), (1, 4, vec![1, 3, 2])];
    assert_eq!(slices(&by_count), parts);
    let names: Vec<&str> = (by_count.outputs.iter())
        .map(|&id| by_count[id].name.as_str())
        .collect();
    assert_eq!(names, ["a", "b"]);
    let text = error(&split(13, &["x"], &["a", "b"], &[]));
    assert!(text.contains("cannot be split"), "{text}");
}

#[test]
fn weights_that_are_split_are_constants() {
    let model = ModelBuilder::new(13)
        .input("x", &[Some(1), Some(2)], DataType::Float)
        .f32("w", &[2, 4], &[0., 1., 2., 3., 4., 5., 6., 7.])
        .outputs(
            "Split",
            &["w"],
            &["left", "right"],
            &[("axis", Attr::Int(1))],
        )
        .node("MatMul", &["x", "right"], "y", &[])
        .model(&["y"]);
    let g = load(&model);
    assert!(slices(&g).is_empty());
    let right = g.values.iter().find(|v| v.name == "right").unwrap();
    assert_eq!(right.data, Some(Data::F32(vec![2., 3., 6., 7.])));
}

#[test]
fn damaged_models_give_errors_and_never_panic() {
    use prost::Message;
    use rand::{Rng, SeedableRng};
    let whole = unsigned_qdq().model(&["y"]).encode_to_vec();
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(7);
    let (mut loaded, mut refused) = (0, 0);
    for _ in 0..2000 {
        let mut bytes = whole.clone();
        for _ in 0..rng.random_range(1..4) {
            let at = rng.random_range(0..bytes.len());
            bytes[at] = rng.random();
        }
        if rng.random_bool(0.1) {
            bytes.truncate(rng.random_range(0..bytes.len()));
        }
        let Ok(model) = ModelProto::decode(bytes.as_slice()) else {
            refused += 1;
            continue;
        };
        match load_model(&model, &LoadOptions::default()) {
            Ok(mut graph) => {
                passes::prepare(&mut graph);
                loaded += 1;
            }
            Err(_) => refused += 1,
        }
    }
    assert!(
        loaded > 0 && refused > 0,
        "{loaded} loaded, {refused} refused"
    );
}
