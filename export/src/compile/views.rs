//! Slices and concatenations that move nothing: a slice that is one run of its operand's memory is a part of it, and an
//! operand that is one run of a concatenation's memory is made there by whoever makes it.

use super::tiling::Bands;
use crate::graph::{Binary, DType, Graph, Node, Op, ValueId};
use std::collections::HashMap;

/// Values that are a part of another one's memory: of which, from which element on.
pub(super) type Views = HashMap<ValueId, (ValueId, usize)>;

/// Whether `len` indices of an axis are one run of memory.
pub(super) fn is_run(shape: &[usize], axis: usize, len: usize) -> bool {
    len == shape[axis] || shape[..axis].iter().all(|&dim| dim == 1)
}

/// The views of `graph`, those of its bands among them.
pub(super) fn find(graph: &Graph, bands: &Bands) -> Views {
    let mut finder = Finder {
        graph,
        views: bands.views.clone(),
        shared: HashMap::new(),
    };
    for node in &graph.nodes {
        match node.op {
            Op::Reshape if !bands.views.contains_key(&node.output) => {
                finder.shared.insert(node.output, node.inputs[0]);
            }
            Op::Slice { axis, start } => finder.slice(node, axis, start),
            Op::Concat { axis } => finder.concatenation(node, axis),
            _ => {}
        }
    }
    finder.views
}

struct Finder<'g> {
    graph: &'g Graph,
    views: Views,
    /// Reshapes: all of another value's memory.
    shared: HashMap<ValueId, ValueId>,
}

impl Finder<'_> {
    fn slice(&mut self, node: &Node, axis: usize, start: usize) {
        let x = node.inputs[0];
        let shape = &self.graph[x].shape;
        if self.graph[x].data.is_none() && is_run(shape, axis, self.graph[node.output].shape[axis])
        {
            let inner: usize = shape[axis + 1..].iter().product();
            self.views.insert(node.output, (x, start * inner));
        }
    }

    fn concatenation(&mut self, node: &Node, axis: usize) {
        let shape = &self.graph[node.output].shape;
        let inner: usize = shape[axis + 1..].iter().product();
        let roots: Vec<ValueId> = node.inputs.iter().map(|&id| self.root(id)).collect();
        let mut start = 0;
        for &id in &node.inputs {
            let len = self.graph[id].shape[axis];
            let whole = self.whole(id);
            // What shares memory with another operand would be copied over itself.
            let once = roots.iter().filter(|&&root| root == self.root(id)).count() == 1;
            if is_run(shape, axis, len) && once && self.may_move(whole) {
                self.views.insert(whole, (node.output, start * inner));
            }
            start += len;
        }
    }

    /// What `id` is a reshape of.
    fn whole(&self, mut id: ValueId) -> ValueId {
        while let Some(&of) = self.shared.get(&id) {
            id = of;
        }
        id
    }

    /// The value in whose memory `id` lies.
    fn root(&self, id: ValueId) -> ValueId {
        let mut id = self.whole(id);
        while let Some(&(of, _)) = self.views.get(&id) {
            id = self.whole(of);
        }
        id
    }

    /// Whether a value may lie in another one's memory. A sum may not: it might be made over its residual, which saves more
    /// than a copy.
    fn may_move(&self, id: ValueId) -> bool {
        let sum = |node: &Node| {
            let op = Binary::Add;
            matches!(node.op, Op::Binary { op: o, .. } if o == op)
                && self.graph[id].dtype == DType::I8
        };
        let producer = self.graph.producer(id).map(|t| &self.graph.nodes[t]);
        self.graph[id].data.is_none()
            && !self.graph.inputs.contains(&id)
            && !self.views.contains_key(&id)
            && !producer.is_some_and(sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Clamp, Unary};
    use crate::passes::testing::GraphBuilder;

    fn tanh(b: &mut GraphBuilder, x: ValueId, shape: &[usize]) -> ValueId {
        let name = format!("n{}", b.graph.nodes.len());
        b.node(&name, Op::Unary(Unary::Tanh), &[x], shape)
    }

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
    fn operands_are_made_in_the_concatenation() {
        let mut b = GraphBuilder::new();
        let x = b.input(&[1, 2]);
        let left = tanh(&mut b, x, &[1, 2]);
        let right = tanh(&mut b, left, &[2, 1]);
        let flat = b.node("flat", Op::Reshape, &[right], &[1, 2]);
        let op = Op::Concat { axis: 1 };
        let all = b.node("all", op, &[left, x, flat], &[1, 6]);
        let graph = b.finish(&[all]);
        // An input stays where it is.
        assert_eq!(
            views(&graph),
            Views::from([(left, (all, 0)), (right, (all, 4))])
        );
    }

    #[test]
    fn what_overlaps_another_operand_stays_where_it_is() {
        let mut b = GraphBuilder::new();
        let x = b.input(&[1, 4]);
        let y = tanh(&mut b, x, &[1, 4]);
        let op = Op::Slice { axis: 1, start: 2 };
        let half = b.node("half", op, &[y], &[1, 2]);
        let op = Op::Concat { axis: 1 };
        let all = b.node("all", op, &[y, half], &[1, 6]);
        let twice = b.node("twice", Op::Concat { axis: 1 }, &[y, y], &[1, 8]);
        let graph = b.finish(&[all, twice]);
        assert_eq!(views(&graph), Views::from([(half, (y, 2))]));
    }

    #[test]
    fn an_int8_sum_is_left_to_its_residual() {
        let mut b = GraphBuilder::new();
        let x = b.quantized_input(&[1, 4], 1.0, 0);
        let y = tanh(&mut b, x, &[1, 4]);
        let op = Op::Binary {
            op: Binary::Add,
            clamp: Clamp::NONE,
        };
        let sum = b.node("sum", op, &[x, y], &[1, 4]);
        let op = Op::Concat { axis: 1 };
        let all = b.node("all", op, &[sum, y], &[1, 8]);
        let graph = b.finish(&[all]);
        assert_eq!(views(&graph), Views::from([(y, (all, 4))]));
    }
}
