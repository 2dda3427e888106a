//! Slices that move nothing: one that is one run of its operand's memory is a part of it. Concatenations copy: an operand that is
//! made in place leaves calibration without a step to observe, and needs care where a slice reads a part of the whole.

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
}
