//! Small float graphs.

use crate::graph::{Clamp, DType, Data, Graph, Node, Op, Value, ValueId, Window};

pub(super) fn value(name: &str, shape: &[usize]) -> Value {
    Value {
        name: name.into(),
        shape: shape.to_vec(),
        dtype: DType::F32,
        quantization: None,
        data: None,
    }
}

pub(super) fn push(
    graph: &mut Graph,
    op: Op,
    inputs: &[ValueId],
    name: &str,
    shape: &[usize],
) -> ValueId {
    let output = graph.add_value(value(name, shape));
    graph.nodes.push(Node {
        name: format!("node_{name}"),
        op,
        inputs: inputs.to_vec(),
        output,
    });
    output
}

/// `x [1,1,2,2] → 1 × 1 convolution to two channels with bias, Relu6 → y`.
pub(super) fn conv_relu_graph() -> Graph {
    let mut graph = Graph::default();
    let x = graph.add_value(value("x", &[1, 1, 2, 2]));
    let w = graph.add_constant("w", vec![2, 1, 1, 1], Data::F32(vec![2.54, -0.127]), None);
    let b = graph.add_constant("b", vec![2], Data::F32(vec![0.5, 1.0]), None);
    let window = Window {
        kernel: [1, 1],
        strides: [1, 1],
        dilations: [1, 1],
        pads: [0; 4],
    };
    let op = Op::Conv2d {
        window,
        groups: 1,
        clamp: Clamp { min: 0.0, max: 6.0 },
    };
    let y = push(&mut graph, op, &[x, w, b], "y", &[1, 2, 2, 2]);
    (graph.inputs, graph.outputs) = (vec![x], vec![y]);
    graph
}
