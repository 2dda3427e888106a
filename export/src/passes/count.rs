//! Multiply-accumulates and parameters.

use crate::graph::{Graph, Node, Op, ValueId};
use crate::limits;
use std::collections::BTreeSet;

/// Multiply-accumulates of one inference of a convolution or fully connected layer, padding taps counted; 0 for others.
pub fn macs(graph: &Graph, node: &Node) -> u64 {
    let size = |id: ValueId| graph[id].shape.iter().map(|&d| d as u64).product::<u64>();
    let per_output = |weights: ValueId| {
        graph[weights].shape[1..]
            .iter()
            .map(|&d| d as u64)
            .product::<u64>()
    };
    match node.op {
        Op::Conv2d { .. } | Op::FullyConnected { .. } => {
            size(node.output) * per_output(node.inputs[1])
        }
        Op::MatMul => size(node.output) * graph[node.inputs[0]].shape[2] as u64,
        Op::Recurrent { .. } => {
            let shape = &graph[node.inputs[0]].shape;
            shape[..2].iter().map(|&d| d as u64).product::<u64>() * size(node.inputs[1])
        }
        Op::Resample { taps, .. } => size(node.output) * taps as u64,
        _ => 0,
    }
}

/// At least the elements that a node reads for all its results: multiply-accumulates, taps of windows, elements moved.
pub(crate) fn work(graph: &Graph, node: &Node) -> u64 {
    let outputs = limits::elements(&graph[node.output].shape);
    let each = match &node.op {
        Op::Conv2d { .. } | Op::FullyConnected { .. } => {
            limits::elements(graph[node.inputs[1]].shape.get(1..).unwrap_or_default())
        }
        Op::MatMul => graph[node.inputs[0]].shape.last().map_or(1, |&k| k as u64),
        Op::Recurrent { .. } => {
            let hidden = graph[node.inputs[1]].shape.last();
            hidden.map_or(1, |&h| 4 * h as u64)
        }
        Op::Resample { taps, .. } => *taps as u64,
        Op::Pool { window, .. } => limits::elements(&window.kernel),
        _ => 1,
    };
    outputs.saturating_mul(each)
}

/// Multiply-accumulates of the whole graph.
pub fn total_macs(graph: &Graph) -> u64 {
    graph.nodes.iter().map(|n| macs(graph, n)).sum()
}

/// Constants among a node's operands that were trained: weights, biases, batch-norm statistics, added or multiplied
/// tensors. Dequantised constants count as themselves; scalars of element-wise operators do not count.
fn trained(graph: &Graph, node: &Node) -> Vec<ValueId> {
    let operands = match node.op {
        Op::Conv2d { .. }
        | Op::FullyConnected { .. }
        | Op::BatchNorm { .. }
        | Op::Recurrent { .. } => &node.inputs[1..],
        Op::Gather { .. } | Op::MatMul => &node.inputs[..],
        Op::Binary { .. } => &node.inputs[..],
        _ => &[],
    };
    let behind = |id: ValueId| match graph.producer(id).map(|i| &graph.nodes[i]) {
        Some(n) if n.op == Op::Dequantize => n.inputs[0],
        _ => id,
    };
    operands
        .iter()
        .map(|&id| behind(id))
        .filter(|&id| graph[id].data.is_some())
        .filter(|&id| !(matches!(node.op, Op::Binary { .. }) && graph[id].shape.is_empty()))
        .collect()
}

/// Trained elements of one node.
pub fn parameters(graph: &Graph, node: &Node) -> u64 {
    trained(graph, node)
        .iter()
        .map(|&id| graph[id].len() as u64)
        .sum()
}

/// Trained elements of the whole graph; a shared tensor counts once.
pub fn total_parameters(graph: &Graph) -> u64 {
    let ids: BTreeSet<ValueId> = graph.nodes.iter().flat_map(|n| trained(graph, n)).collect();
    ids.iter().map(|&id| graph[id].len() as u64).sum()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{GraphBuilder, window};
    use super::*;
    use crate::graph::Clamp;

    #[test]
    fn padding_taps_count_and_groups_divide() {
        let mut b = GraphBuilder::new();
        let x = b.input(&[1, 4, 5, 5]);
        let w = b.floats("w", &[8, 2, 3, 3], 0.5);
        let bias = b.floats("b", &[8], 0.5);
        let op = Op::Conv2d {
            window: window(3, 1),
            groups: 2,
            clamp: Clamp::NONE,
        };
        let y = b.node("conv", op, &[x, w, bias], &[1, 8, 5, 5]);
        let g = b.finish(&[y]);
        assert_eq!(total_macs(&g), 8 * 25 * 2 * 9);
        assert_eq!(
            (parameters(&g, &g.nodes[0]), total_parameters(&g)),
            (8 * 18 + 8, 8 * 18 + 8)
        );
    }
}
