//! Small graphs by hand: what goes, what stays, and why. Random ones are in the end-to-end tests.

use super::{Elimination, Kept, LayerReport, Reason, eliminate};
use crate::graph::{Binary, Clamp, Data, Graph, Op, Pool, Quantization, ValueId};
use crate::passes::testing::{GraphBuilder, ops, window};

const ZERO_POINT: i32 = -3;

/// A convolution in which one accumulator is one output step: weights `[outputs, inputs / groups, kernel, kernel]`.
fn conv(
    b: &mut GraphBuilder,
    x: ValueId,
    groups: usize,
    kernel: usize,
    pad: usize,
    rows: &[&[i8]],
    bias: &[i32],
) -> ValueId {
    let [n, c, h, w] = b.graph[x].shape[..] else {
        panic!("a plane")
    };
    let q = Some(Quantization::per_tensor(1.0, 0));
    let weights = rows.concat();
    let weights = b.constant(
        &[rows.len(), c / groups, kernel, kernel],
        Data::I8(weights),
        q.clone(),
    );
    let bias = b.constant(&[rows.len()], Data::I32(bias.to_vec()), q);
    let op = Op::Conv2d {
        window: window(kernel, pad),
        groups,
        clamp: Clamp::NONE,
    };
    let name = format!("conv{}", b.graph.nodes.len());
    let size = |size: usize| size + 2 * pad + 1 - kernel;
    b.node(
        &name,
        op,
        &[x, weights, bias],
        &[n, rows.len(), size(h), size(w)],
    )
}

fn input(b: &mut GraphBuilder, channels: usize) -> ValueId {
    b.quantized_input(&[1, channels, 4, 4], 1.0, ZERO_POINT)
}

fn layer<'e>(found: &'e Elimination, name: &str) -> &'e LayerReport {
    let layer = found.report.layers.iter().find(|l| l.node == name);
    layer.expect("a layer of that name")
}

/// Weights and bias of a node.
fn numbers(graph: &Graph, name: &str) -> (Vec<i8>, Vec<i32>) {
    let node = graph.nodes.iter().find(|n| n.name == name);
    let node = node.expect("a node of that name");
    match (&graph[node.inputs[1]].data, &graph[node.inputs[2]].data) {
        (Some(Data::I8(w)), Some(Data::I32(b))) => (w.clone(), b.clone()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_constant_channel_moves_into_the_bias_behind_it() {
    let mut b = GraphBuilder::new();
    let x = input(&mut b, 1);
    let x = conv(&mut b, x, 1, 1, 0, &[&[1], &[0]], &[0, 20]);
    let y = conv(&mut b, x, 1, 1, 0, &[&[3, 5]], &[1]);
    let graph = b.finish(&[y]);
    let found = eliminate(&graph);
    // Its byte is 20 steps above the zero point.
    assert_eq!(numbers(&found.graph, "conv1"), (vec![3], vec![1 + 5 * 20]));
    assert_eq!(numbers(&found.graph, "conv0"), (vec![1], vec![0]));
    let reason = Reason::Constant {
        value: ZERO_POINT + 20,
        into: vec!["conv1".into()],
    };
    let removed = &layer(&found, "conv0").removed;
    assert_eq!((removed.len(), removed[0].channel), (1, 1));
    assert_eq!(removed[0].reason, reason);
    let kept = Kept {
        shape: vec![1, 2, 4, 4],
        indices: vec![vec![0], vec![0], (0..4).collect(), (0..4).collect()],
    };
    assert_eq!(found.kept.get("conv0_out"), Some(&kept));
    assert_eq!(found.report.macs, [16 * 2 + 16 * 2, 16 + 16]);
    assert_eq!(found.report.weights, [4, 2]);
}

/// A constant channel, `bias` above the zero point, read by a padded 3×3 convolution with these taps for it.
fn behind_padding(bias: i32, taps: [i8; 9]) -> Elimination {
    let mut b = GraphBuilder::new();
    let x = input(&mut b, 1);
    let x = conv(&mut b, x, 1, 1, 0, &[&[1], &[0]], &[0, bias]);
    let row = [[1; 9], taps].concat();
    let y = conv(&mut b, x, 1, 3, 1, &[&row], &[1]);
    eliminate(&b.finish(&[y]))
}

#[test]
fn where_padding_would_see_another_value_the_channel_stays() {
    let stays = behind_padding(20, [1; 9]);
    assert!(stays.report.is_empty() && stays.kept.is_empty());
    // Padding is the zero point.
    let goes = behind_padding(0, [1; 9]);
    assert_eq!(numbers(&goes.graph, "conv1"), (vec![1; 9], vec![1]));
    // The tap in the middle never meets the padding.
    let goes = behind_padding(20, [0, 0, 0, 0, 2, 0, 0, 0, 0]);
    assert_eq!(numbers(&goes.graph, "conv1"), (vec![1; 9], vec![1 + 40]));
}

#[test]
fn a_channel_with_zero_weights_in_every_reader_goes() {
    let mut b = GraphBuilder::new();
    let x = input(&mut b, 1);
    let x = conv(&mut b, x, 1, 1, 0, &[&[1], &[2]], &[0, 0]);
    let y = conv(&mut b, x, 1, 1, 0, &[&[3, 0], &[4, 0]], &[1, 2]);
    let found = eliminate(&b.finish(&[y]));
    assert_eq!(
        layer(&found, "conv0").removed[0].reason,
        Reason::Unread {
            by: vec!["conv1".into()]
        }
    );
    assert_eq!(numbers(&found.graph, "conv1"), (vec![3, 4], vec![1, 2]));
}

#[test]
fn what_only_feeds_a_constant_channel_goes() {
    let mut b = GraphBuilder::new();
    let x = input(&mut b, 1);
    let x = conv(&mut b, x, 1, 1, 0, &[&[1], &[2]], &[0, 0]);
    let x = conv(&mut b, x, 2, 3, 1, &[&[1; 9], &[0; 9]], &[0, 7]);
    let y = conv(&mut b, x, 1, 1, 0, &[&[3, 5]], &[0]);
    let found = eliminate(&b.finish(&[y]));
    assert_eq!(
        layer(&found, "conv0").removed[0].reason,
        Reason::FeedsConstant {
            tensor: "conv1_out".into()
        }
    );
    assert_eq!(
        layer(&found, "conv1").removed[0].reason,
        Reason::Constant {
            value: ZERO_POINT + 7,
            into: vec!["conv2".into()]
        }
    );
    assert_eq!(numbers(&found.graph, "conv2"), (vec![3], vec![35]));
    assert!(matches!(
        found.graph.nodes[1].op,
        Op::Conv2d { groups: 1, .. }
    ));
}

#[test]
fn a_sum_s_operands_keep_a_channel_that_one_of_them_needs() {
    let mut b = GraphBuilder::new();
    let x = input(&mut b, 1);
    let x = conv(&mut b, x, 1, 1, 0, &[&[1], &[2]], &[0, 0]);
    let z = conv(&mut b, x, 1, 1, 0, &[&[1, 2], &[3, 4]], &[0, 0]);
    let op = Op::Binary {
        op: Binary::Add,
        clamp: Clamp::NONE,
    };
    let sum = b.node("add", op, &[x, z], &[1, 2, 4, 4]);
    // Nobody reads the sum's second channel, but the inner layer reads that of `x`.
    let y = conv(&mut b, sum, 1, 1, 0, &[&[1, 0]], &[0]);
    let found = eliminate(&b.finish(&[y]));
    assert!(found.report.is_empty() && found.kept.is_empty());
}

#[test]
fn both_operands_of_a_sum_lose_a_channel_that_nobody_reads() {
    let mut b = GraphBuilder::new();
    let x = input(&mut b, 1);
    let left = conv(&mut b, x, 1, 1, 0, &[&[1], &[2]], &[0, 0]);
    let right = conv(&mut b, x, 1, 1, 0, &[&[3], &[4]], &[0, 0]);
    let op = Op::Binary {
        op: Binary::Add,
        clamp: Clamp::NONE,
    };
    let sum = b.node("add", op, &[left, right], &[1, 2, 4, 4]);
    let y = conv(&mut b, sum, 1, 1, 0, &[&[0, 1]], &[0]);
    let found = eliminate(&b.finish(&[y]));
    assert_eq!(numbers(&found.graph, "conv0").0, [2]);
    assert_eq!(numbers(&found.graph, "conv1").0, [4]);
    assert_eq!(found.kept["add_out"].indices[1], [1]);
}

#[test]
fn columns_of_a_flatten_go_with_their_channel() {
    let mut b = GraphBuilder::new();
    let x = input(&mut b, 1);
    let x = conv(&mut b, x, 1, 1, 0, &[&[1], &[0], &[2]], &[0, 20, 0]);
    let pool = Pool::Average {
        count_include_pad: false,
    };
    let mut halves = window(2, 0);
    halves.strides = [2, 2];
    let op = Op::Pool {
        pool,
        window: halves,
    };
    let x = b.node("pool", op, &[x], &[1, 3, 2, 2]);
    let x = b.node("flat", Op::Reshape, &[x], &[1, 12]);
    let q = Some(Quantization::per_tensor(1.0, 0));
    let w = b.constant(&[1, 12], Data::I8((1..=12).collect()), q);
    let op = Op::FullyConnected { clamp: Clamp::NONE };
    let y = b.node("fc", op, &[x, w], &[1, 1]);
    let found = eliminate(&b.finish(&[y]));
    let weights: Vec<i8> = (1..=4).chain(9..=12).collect();
    assert_eq!(
        numbers(&found.graph, "fc"),
        (weights, vec![20 * (5 + 6 + 7 + 8)])
    );
    assert_eq!(found.graph[found.graph.nodes[2].output].shape, [1, 8]);
}

#[test]
fn a_whole_operand_of_a_concatenation_may_go() {
    let mut b = GraphBuilder::new();
    let x = input(&mut b, 1);
    let left = conv(&mut b, x, 1, 1, 0, &[&[0], &[0]], &[0, 5]);
    let right = conv(&mut b, x, 1, 1, 0, &[&[3], &[4]], &[0, 0]);
    let all = b.node(
        "concat",
        Op::Concat { axis: 1 },
        &[left, right],
        &[1, 4, 4, 4],
    );
    let y = conv(&mut b, all, 1, 1, 0, &[&[1, 2, 3, 4]], &[0]);
    let found = eliminate(&b.finish(&[y]));
    assert_eq!(ops(&found.graph), ["Conv", "Concat", "Conv"]);
    assert_eq!(found.graph.nodes[1].inputs, [right]);
    assert_eq!(numbers(&found.graph, "conv3"), (vec![3, 4], vec![10]));
}

#[test]
fn a_layer_whose_inputs_are_all_constant_keeps_one() {
    let mut b = GraphBuilder::new();
    let x = input(&mut b, 2);
    let x = conv(&mut b, x, 1, 1, 0, &[&[0, 0], &[0, 0]], &[3, 5]);
    let y = conv(&mut b, x, 1, 1, 0, &[&[1, 2]], &[0]);
    let graph = b.finish(&[y]);
    let found = eliminate(&graph);
    assert_eq!(numbers(&found.graph, "conv1"), (vec![1], vec![10]));
    assert_eq!(found.graph[found.graph.outputs[0]].shape, [1, 1, 4, 4]);
}

#[test]
fn a_saturated_channel_needs_no_inputs() {
    let mut b = GraphBuilder::new();
    let x = input(&mut b, 1);
    let x = conv(&mut b, x, 1, 1, 0, &[&[1], &[2]], &[0, 0]);
    // The second channel is an output, so it stays; it is 127 whatever it reads.
    let y = conv(&mut b, x, 1, 1, 0, &[&[3, 0], &[0, 1]], &[0, 1000]);
    let found = eliminate(&b.finish(&[y]));
    assert_eq!(numbers(&found.graph, "conv0").0, [1]);
    let (weights, bias) = numbers(&found.graph, "conv1");
    assert_eq!(weights, [3, 0]);
    assert!(bias[1] >= 127 - ZERO_POINT, "{bias:?}");
}

#[test]
fn inputs_outputs_and_float_layers_stay() {
    let mut b = GraphBuilder::new();
    let x = b.input(&[1, 2, 4, 4]);
    let w = b.floats("w", &[2, 2, 1, 1], 0.0);
    let op = Op::Conv2d {
        window: window(1, 0),
        groups: 1,
        clamp: Clamp::NONE,
    };
    let y = b.node("float", op, &[x, w], &[1, 2, 4, 4]);
    let found = eliminate(&b.finish(&[y]));
    assert!(found.report.layers.is_empty() && found.kept.is_empty());

    let mut b = GraphBuilder::new();
    let x = input(&mut b, 2);
    let y = conv(&mut b, x, 1, 1, 0, &[&[0, 0], &[0, 1]], &[3, 5]);
    let found = eliminate(&b.finish(&[y]));
    assert!(found.kept.is_empty());
}
