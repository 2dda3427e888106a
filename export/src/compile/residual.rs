//! Additions that the convolution before them does in its epilogue, over the other operand in place.

use crate::graph::{Binary, DType, Graph, Op, ValueId};
use std::collections::HashMap;

/// For each convolution that also adds: the addition's node.
pub(super) type Residuals = HashMap<usize, usize>;

/// Finds the int8 additions `conv + other` where nobody else wants the convolution's result and nobody wants `other`
/// afterwards. `fits` says which convolutions can add.
pub(super) fn find(graph: &Graph, fits: impl Fn(usize) -> bool) -> Residuals {
    let mut residuals = Residuals::new();
    for (t, node) in graph.nodes.iter().enumerate() {
        let (
            Op::Binary {
                op: Binary::Add, ..
            },
            &[a, b],
        ) = (&node.op, &node.inputs[..])
        else {
            continue;
        };
        // The later one of two convolutions: the other operand is there when it runs.
        let candidates = [(a, b), (b, a)].into_iter().filter_map(|(sum, other)| {
            let conv = graph.nodes.iter().position(|n| n.output == sum)?;
            let ready = graph.nodes.iter().position(|n| n.output == other);
            let alone = !graph.outputs.contains(&sum) && readers(graph, sum).eq([t]);
            let last = !graph.outputs.contains(&other)
                && readers(graph, other).all(|r| r == t || r < conv);
            let int8 = [sum, other, node.output]
                .iter()
                .all(|&id| graph[id].dtype == DType::I8);
            let alike = graph[sum].shape == graph[other].shape && graph[other].data.is_none();
            let direct = ready.is_none_or(|n| graph.nodes[n].op != Op::Reshape);
            let fits = ready.is_none_or(|ready| ready < conv) && direct && fits(conv);
            (alone && last && int8 && alike && fits && a != b).then_some(conv)
        });
        if let Some(conv) = candidates.max()
            && !residuals.contains_key(&conv)
        {
            residuals.insert(conv, t);
        }
    }
    residuals
}

/// Nodes that read `value`.
fn readers(graph: &Graph, value: ValueId) -> impl Iterator<Item = usize> {
    let nodes = graph.nodes.iter().enumerate();
    nodes.filter_map(move |(t, n)| n.inputs.contains(&value).then_some(t))
}
