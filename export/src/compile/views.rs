//! Slices and concatenations that move nothing: a slice that is one run of its operand's memory is a part of it, and what is
//! concatenated along such an axis is made where the result has it.

use super::tiling::Bands;
use crate::graph::{Graph, Op, ValueId};
use std::collections::HashMap;

/// Values that are a part of another one's memory: of which, from which element on.
pub(super) type Views = HashMap<ValueId, (ValueId, usize)>;

/// Whether `len` indices of an axis are one run of memory.
pub(super) fn is_run(shape: &[usize], axis: usize, len: usize) -> bool {
    len == shape[axis] || shape[..axis].iter().all(|&dim| dim == 1)
}

/// The views of `graph`, those of its bands among them.
pub(super) fn find(graph: &Graph, bands: &Bands) -> Views {
    let mut views = bands.views.clone();
    for node in &graph.nodes {
        let Op::Slice { axis, start } = node.op else {
            continue;
        };
        let x = node.inputs[0];
        let shape = &graph[x].shape;
        if graph[x].data.is_none() && is_run(shape, axis, graph[node.output].shape[axis]) {
            let inner: usize = shape[axis + 1..].iter().product();
            views.insert(node.output, (x, start * inner));
        }
    }
    views
}

/// The operands of `graph`'s concatenations that can be made in the result's place: all of a concatenation's, or none, so that
/// there is nothing left to copy.
pub(super) fn concatenated(graph: &Graph) -> Views {
    let slices = find(graph, &Bands::default());
    let mut views = Views::new();
    for node in &graph.nodes {
        let Op::Concat { axis } = node.op else {
            continue;
        };
        let shape = &graph[node.output].shape;
        let run = shape[..axis].iter().all(|&dim| dim == 1);
        let own = |&id: &ValueId| {
            let made = graph
                .producer(id)
                .is_some_and(|p| graph.nodes[p].op != Op::Reshape);
            let uses = graph
                .nodes
                .iter()
                .filter(|n| matches!(n.op, Op::Concat { .. }));
            let uses = uses.flat_map(|n| &n.inputs).filter(|&&i| i == id).count();
            made && uses == 1 && !graph.is_output(id) && !slices.contains_key(&id)
        };
        if !run || !node.inputs.iter().all(own) {
            continue;
        }
        let mut start = 0;
        for &id in &node.inputs {
            views.insert(id, (node.output, start));
            start += graph[id].len();
        }
    }
    views
}

/// Whether node `t` moves nothing: it is a view itself, or everything that it would move is one.
pub(super) fn moves_nothing(graph: &Graph, views: &Views, t: usize) -> bool {
    let node = &graph.nodes[t];
    match node.op {
        Op::Reshape => !views.contains_key(&node.output),
        Op::Slice { .. } => views.contains_key(&node.output),
        Op::Concat { .. } => {
            let part = |id| {
                views
                    .get(id)
                    .is_some_and(|&(whole, _)| whole == node.output)
            };
            node.inputs.iter().all(part)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::passes::testing::GraphBuilder;

    fn views(graph: &Graph) -> Views {
        find(graph, &Bands::default())
    }

    #[test]
    fn a_slice_of_rows_is_a_part_and_a_slice_of_channels_is_not() {
        let mut b = GraphBuilder::new();
        let x = b.input(&[1, 4, 3, 2]);
        let op = |axis| Op::Slice { axis, start: 1 };
        let rows = b.node("rows", op(1), &[x], &[1, 2, 3, 2]);
        let part = b.node("part", op(1), &[rows], &[1, 1, 3, 2]);
        let channels = b.node("channels", op(3), &[x], &[1, 4, 3, 1]);
        let graph = b.finish(&[rows, part, channels]);
        assert_eq!(
            views(&graph),
            Views::from([(rows, (x, 6)), (part, (rows, 6))])
        );
    }

    #[test]
    fn operands_are_made_in_a_concatenation_unless_somebody_else_has_them() {
        let mut b = GraphBuilder::new();
        let x = b.input(&[1, 2, 3, 2]);
        let tanh = || Op::Unary(crate::graph::Unary::Tanh);
        let [a, c, d] = ["a", "c", "d"].map(|name| b.node(name, tanh(), &[x], &[1, 2, 3, 2]));
        let concat = |axis| Op::Concat { axis };
        let rows = b.node("rows", concat(1), &[a, c], &[1, 4, 3, 2]);
        // Channels interleave; the graph's input is there already; an output has its own place; nobody is in two places.
        let channels = b.node("channels", concat(3), &[rows, rows], &[1, 4, 3, 4]);
        let input = b.node("input", concat(1), &[x, d], &[1, 4, 3, 2]);
        let e = b.node("e", tanh(), &[x], &[1, 2, 3, 2]);
        let twice = b.node("twice", concat(1), &[e, e], &[1, 4, 3, 2]);
        let graph = b.finish(&[channels, input, twice]);
        let found = concatenated(&graph);
        assert_eq!(found, Views::from([(a, (rows, 0)), (c, (rows, 12))]));
        assert!(moves_nothing(&graph, &found, 3));
        assert!(!moves_nothing(&graph, &found, 4));
    }
}
