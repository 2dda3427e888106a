//! Which slices of which values stand or fall together.
//!
//! A slice is one index along one axis of a value. An element-wise step couples the slices of its operands with those of
//! its result, a depthwise convolution its input's channels with its output's, a flatten a channel with all its columns.
//! What may never go is pinned: the graph's inputs and outputs, and the axes that a step computes along.

use super::Layers;
use crate::graph::{Graph, Node, Op, ValueId};
use std::ops::Range;

/// One index along one axis of a value.
pub(super) type Slice = (ValueId, usize, usize);

/// All slices of a graph's values in classes of coupled ones.
pub(super) struct Slices {
    /// Number of the first slice of each axis of each value.
    first: Vec<Vec<usize>>,
    slices: Vec<Slice>,
    /// Union–find.
    parents: Vec<usize>,
    pinned: Vec<usize>,
}

impl Slices {
    /// Couples the slices of `graph`.
    pub(super) fn new(graph: &Graph, layers: &Layers) -> Slices {
        let mut slices = Vec::new();
        let mut first = Vec::new();
        for (v, value) in graph.values.iter().enumerate() {
            let axes = value.shape.iter().enumerate().map(|(axis, &dim)| {
                let start = slices.len();
                slices.extend((0..dim).map(|i| (ValueId(v), axis, i)));
                start
            });
            first.push(axes.collect());
        }
        let mut all = Slices {
            first,
            parents: (0..slices.len()).collect(),
            slices,
            pinned: Vec::new(),
        };
        for &id in graph.inputs.iter().chain(&graph.outputs) {
            all.pin(graph, id);
        }
        for (t, node) in graph.nodes.iter().enumerate() {
            all.node(graph, layers, t, node);
        }
        all
    }

    /// The class of a slice.
    pub(super) fn class(&self, (value, axis, index): Slice) -> usize {
        self.root(self.first[value.0][axis] + index)
    }

    /// The slices of each class.
    pub(super) fn members(&self) -> Vec<Vec<Slice>> {
        let mut members = vec![Vec::new(); self.slices.len()];
        for (i, &slice) in self.slices.iter().enumerate() {
            members[self.root(i)].push(slice);
        }
        members
    }

    /// The classes that may not go.
    pub(super) fn pinned(&self) -> Vec<usize> {
        self.pinned.iter().map(|&i| self.root(i)).collect()
    }

    fn root(&self, mut i: usize) -> usize {
        while self.parents[i] != i {
            i = self.parents[i];
        }
        i
    }

    fn couple(&mut self, (a, a_axis, i): Slice, (b, b_axis, j): Slice) {
        let (a, b) = (self.first[a.0][a_axis] + i, self.first[b.0][b_axis] + j);
        let (a_root, b_root) = (self.root(a), self.root(b));
        let root = a_root.min(b_root);
        for start in [a, b] {
            // Shortens the way for the next one.
            let mut i = start;
            while self.parents[i] != i {
                i = std::mem::replace(&mut self.parents[i], root);
            }
            self.parents[i] = root;
        }
    }

    /// Couples index `i` with index `i + offset` for each `i` of `range`.
    fn couple_axes(
        &mut self,
        (x, x_axis): (ValueId, usize),
        (y, y_axis): (ValueId, usize),
        range: Range<usize>,
        offset: usize,
    ) {
        for i in range {
            self.couple((x, x_axis, i), (y, y_axis, i + offset));
        }
    }

    fn pin_axis(&mut self, graph: &Graph, id: ValueId, axis: usize) {
        let start = self.first[id.0][axis];
        self.pinned.extend(start..start + graph[id].shape[axis]);
    }

    fn pin(&mut self, graph: &Graph, id: ValueId) {
        for axis in 0..graph[id].shape.len() {
            self.pin_axis(graph, id, axis);
        }
    }

    fn node(&mut self, graph: &Graph, layers: &Layers, t: usize, node: &Node) {
        let (Some(&x), y) = (node.inputs.first(), node.output) else {
            return self.pin(graph, node.output);
        };
        let shape = &graph[x].shape;
        match &node.op {
            Op::Conv2d { .. } | Op::FullyConnected { .. } => {
                for &constant in &node.inputs[1..] {
                    self.pin(graph, constant);
                }
                let Some(layer) = layers.get(&t) else {
                    self.pin(graph, x);
                    return self.pin(graph, y);
                };
                self.couple_axes((x, 0), (y, 0), 0..shape[0], 0);
                for id in [x, y] {
                    for axis in 2..shape.len() {
                        self.pin_axis(graph, id, axis);
                    }
                }
                if layer.groups > 1 {
                    let outputs = layer.outputs / layer.groups;
                    for group in 0..layer.groups {
                        let head = (x, 1, group * layer.inputs);
                        for i in 1..layer.inputs {
                            self.couple(head, (x, 1, group * layer.inputs + i));
                        }
                        for o in 0..outputs {
                            self.couple(head, (y, 1, group * outputs + o));
                        }
                    }
                }
            }
            Op::Unary(_) | Op::Quantize | Op::Dequantize | Op::Requantize => {
                self.alike(graph, x, y, |_| true);
            }
            Op::Binary { .. } | Op::Select => {
                for &operand in &node.inputs {
                    self.broadcast(graph, operand, y);
                }
            }
            Op::Pool { .. } => self.alike(graph, x, y, |axis| axis < 2),
            Op::Softmax { axis } => self.alike(graph, x, y, |a| a != *axis),
            Op::Transpose { perm } => {
                for (axis, &from) in perm.iter().enumerate() {
                    self.couple_axes((x, from), (y, axis), 0..shape[from], 0);
                }
            }
            Op::Pad { before, .. } => {
                for (axis, &before) in before.iter().enumerate() {
                    self.couple_axes((x, axis), (y, axis), 0..shape[axis], before);
                }
            }
            Op::Concat { axis } => {
                let mut offset = 0;
                for &id in &node.inputs {
                    for (a, &dim) in graph[id].shape.iter().enumerate() {
                        let offset = if a == *axis { offset } else { 0 };
                        self.couple_axes((id, a), (y, a), 0..dim, offset);
                    }
                    offset += graph[id].shape[*axis];
                }
            }
            Op::Slice { axis, start } => {
                for (a, &dim) in graph[y].shape.iter().enumerate() {
                    let start = if a == *axis { *start } else { 0 };
                    self.couple_axes((y, a), (x, a), 0..dim, start);
                }
            }
            Op::Reshape => self.reshape(graph, x, y),
            Op::BatchNorm { .. }
            | Op::Strided { .. }
            | Op::Pick { .. }
            | Op::Gather { .. }
            | Op::Resample { .. }
            | Op::Reduce { .. }
            | Op::MatMul
            | Op::Recurrent { .. }
            | Op::Load
            | Op::Convert => {
                for &id in node.inputs.iter().chain([&y]) {
                    self.pin(graph, id);
                }
            }
        }
    }

    /// The axes that `coupled` names go together, the others stay.
    fn alike(&mut self, graph: &Graph, x: ValueId, y: ValueId, coupled: impl Fn(usize) -> bool) {
        for (axis, &dim) in graph[x].shape.iter().enumerate() {
            if coupled(axis) {
                self.couple_axes((x, axis), (y, axis), 0..dim, 0);
            } else {
                self.pin_axis(graph, x, axis);
                self.pin_axis(graph, y, axis);
            }
        }
    }

    fn broadcast(&mut self, graph: &Graph, operand: ValueId, y: ValueId) {
        let (shape, whole) = (&graph[operand].shape, &graph[y].shape);
        let missing = whole.len() - shape.len();
        for (axis, &dim) in shape.iter().enumerate() {
            if dim == whole[missing + axis] {
                self.couple_axes((operand, axis), (y, missing + axis), 0..dim, 0);
            } else {
                self.pin_axis(graph, operand, axis);
            }
        }
    }

    /// Axes whose products agree form a group; in each, the outermost axes are coupled where their slices share
    /// elements, and the inner ones stay.
    fn reshape(&mut self, graph: &Graph, x: ValueId, y: ValueId) {
        let long = |id: ValueId| {
            let dims = graph[id].shape.iter().copied().enumerate();
            dims.filter(|&(_, dim)| dim != 1).collect::<Vec<_>>()
        };
        for id in [x, y] {
            for (axis, &dim) in graph[id].shape.iter().enumerate() {
                if dim == 1 {
                    self.pin_axis(graph, id, axis);
                }
            }
        }
        let (xs, ys) = (long(x), long(y));
        let (mut xs, mut ys) = (&xs[..], &ys[..]);
        while !xs.is_empty() && !ys.is_empty() {
            let (mut i, mut j) = (1, 1);
            let product = |axes: &[(usize, usize)]| axes.iter().map(|a| a.1).product::<usize>();
            while product(&xs[..i]) != product(&ys[..j]) {
                if product(&xs[..i]) < product(&ys[..j]) {
                    i += 1;
                } else {
                    j += 1;
                }
            }
            for (id, axes) in [(x, &xs[..i]), (y, &ys[..j])] {
                for &(axis, _) in &axes[1..] {
                    self.pin_axis(graph, id, axis);
                }
            }
            let (inner_x, inner_y) = (product(&xs[1..i]), product(&ys[1..j]));
            for k in 0..xs[0].1 {
                let (start, end) = (k * inner_x, (k + 1) * inner_x);
                for l in start / inner_y..end.div_ceil(inner_y) {
                    self.couple((x, xs[0].0, k), (y, ys[0].0, l));
                }
            }
            (xs, ys) = (&xs[i..], &ys[j..]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::passes::testing::GraphBuilder;

    /// The classes of `from` reshaped to `to`, with neither an input nor an output.
    fn reshaped(from: &[usize], to: &[usize]) -> (Slices, ValueId, ValueId) {
        let mut b = GraphBuilder::new();
        let x = b.quantized_input(from, 1.0, 0);
        let y = b.node("reshape", Op::Reshape, &[x], to);
        let mut graph = b.finish(&[]);
        graph.inputs.clear();
        (Slices::new(&graph, &Layers::new()), x, y)
    }

    #[test]
    fn a_flatten_couples_a_channel_with_its_columns() {
        let (slices, x, y) = reshaped(&[1, 3, 2, 2], &[1, 12]);
        for column in 0..12 {
            let class = slices.class((y, 1, column));
            assert_eq!(class, slices.class((x, 1, column / 4)));
            assert!(!slices.pinned().contains(&class));
        }
        assert!(slices.pinned().contains(&slices.class((x, 2, 0))));
    }

    #[test]
    fn rows_that_straddle_channels_couple_them() {
        let (slices, x, y) = reshaped(&[4, 3], &[2, 6]);
        assert_eq!(slices.class((x, 0, 0)), slices.class((x, 0, 1)));
        assert_eq!(slices.class((x, 0, 0)), slices.class((y, 0, 0)));
        assert_ne!(slices.class((x, 0, 1)), slices.class((x, 0, 2)));
        let (slices, x, y) = reshaped(&[2, 3], &[3, 2]);
        assert_eq!(slices.class((x, 0, 0)), slices.class((x, 0, 1)));
        assert_eq!(slices.class((y, 0, 0)), slices.class((y, 0, 2)));
    }

    #[test]
    fn axes_that_a_reshape_leaves_whole_are_coupled_one_by_one() {
        let (slices, x, y) = reshaped(&[2, 3, 4], &[2, 1, 3, 4]);
        for (axis, to) in [(0, 0), (1, 2), (2, 3)] {
            assert_eq!(slices.class((x, axis, 1)), slices.class((y, to, 1)));
            assert_ne!(slices.class((x, axis, 0)), slices.class((x, axis, 1)));
        }
    }
}
