//! Layout: from ONNX's `N, C, H, W` to the runtime's `N, H, W, C`.
//!
//! Convolutions and poolings want channels last. Instead of transposing around each, every value is known as a
//! permutation of a *stored* one; permutations pass through element-wise operators, cancel where they meet, move into
//! the weights of a fully connected layer behind a flatten, and become real transpositions only where nothing else helps.

use super::tiling::Bands;
use crate::graph::{Data, Graph, Node, Op, Reduction, Value, ValueId};
use std::collections::{HashMap, HashSet};

const TO_CHANNELS_LAST: [usize; 4] = [0, 2, 3, 1];
const FROM_CHANNELS_LAST: [usize; 4] = [0, 3, 1, 2];

/// A graph whose convolutions and poolings read and write channels last.
#[derive(Clone)]
pub(super) struct Arranged {
    /// The rewritten graph. Weights keep ONNX's layout.
    pub(super) graph: Graph,
    /// For stored values that differ from the ONNX value of the same name: `onnx = transpose(stored, perm)`.
    pub(super) permutations: HashMap<ValueId, Vec<usize>>,
    /// Stored values whose columns are in an order that only the fully connected layers behind them know.
    pub(super) reordered: HashSet<ValueId>,
    /// How its bands hang together, if it is tiled.
    pub(super) bands: Bands,
}

/// How an ONNX value is stored.
#[derive(Clone)]
enum Stored {
    /// As `transpose(value, perm)`.
    Permuted(ValueId, Vec<usize>),
    /// A matrix `[rows, columns]` whose column `j` is column `order[j]` of the stored one.
    Columns(ValueId, Vec<usize>),
}

struct Arranger<'g> {
    source: &'g Graph,
    graph: Graph,
    stored: HashMap<ValueId, Stored>,
    /// Transpositions already made: (stored value, perm) → result.
    made: HashMap<(ValueId, Vec<usize>), ValueId>,
    permutations: HashMap<ValueId, Vec<usize>>,
}

/// Rewrites `graph` for channels-last execution.
pub(super) fn arrange(graph: &Graph) -> Arranged {
    let mut arranger = Arranger {
        source: graph,
        graph: Graph {
            nodes: Vec::new(),
            ..graph.clone()
        },
        stored: HashMap::new(),
        made: HashMap::new(),
        permutations: HashMap::new(),
    };
    for node in &graph.nodes {
        arranger.node(node);
    }
    for output in graph.outputs.clone() {
        arranger.plain(output);
    }
    arranger.graph.remove_dead_nodes();
    let columns = arranger.stored.values().filter_map(|stored| match stored {
        Stored::Columns(id, _) => Some(*id),
        Stored::Permuted(..) => None,
    });
    let reordered = columns.collect();
    Arranged {
        graph: arranger.graph,
        permutations: arranger.permutations,
        reordered,
        bands: Bands::default(),
    }
}

/// `perm` after `first`: `transpose(transpose(x, first), perm)`.
fn compose(first: &[usize], perm: &[usize]) -> Vec<usize> {
    perm.iter().map(|&i| first[i]).collect()
}

fn inverse(perm: &[usize]) -> Vec<usize> {
    let mut result = vec![0; perm.len()];
    for (i, &p) in perm.iter().enumerate() {
        result[p] = i;
    }
    result
}

fn permute<T: Copy>(items: &[T], perm: &[usize]) -> Vec<T> {
    perm.iter().map(|&i| items[i]).collect()
}

fn is_identity(perm: &[usize]) -> bool {
    perm.iter().enumerate().all(|(i, &p)| i == p)
}

/// Whether transposing moves no element: the axes longer than 1 keep their order.
fn moves_nothing(shape: &[usize], perm: &[usize]) -> bool {
    let long: Vec<usize> = perm.iter().copied().filter(|&p| shape[p] > 1).collect();
    long.is_sorted()
}

/// `data` of `shape`, transposed: axis `i` of the result is axis `perm[i]` of `data`.
///
/// # Panics
/// `data` has fewer elements than `shape` says.
pub fn transpose_data<T: Copy>(data: &[T], shape: &[usize], perm: &[usize]) -> Vec<T> {
    let mut strides = vec![1; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i] * shape[i];
    }
    let dims = permute(shape, perm);
    let strides = permute(&strides, perm);
    let mut index = vec![0; dims.len()];
    let mut result = Vec::with_capacity(data.len());
    for _ in 0..data.len() {
        result.push(
            data[index
                .iter()
                .zip(&strides)
                .map(|(i, s)| i * s)
                .sum::<usize>()],
        );
        for axis in (0..dims.len()).rev() {
            index[axis] += 1;
            if index[axis] < dims[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
    result
}

impl Arranger<'_> {
    fn node(&mut self, node: &Node) {
        match &node.op {
            Op::Conv2d { .. } | Op::Pool { .. } => self.channels_last(node),
            Op::Transpose { perm } => {
                let (base, first) = match self.stored.get(&node.inputs[0]) {
                    Some(Stored::Permuted(base, first)) => (*base, compose(first, perm)),
                    _ => (self.plain(node.inputs[0]), perm.clone()),
                };
                self.stored
                    .insert(node.output, Stored::Permuted(base, first));
            }
            Op::Unary(_) | Op::Quantize | Op::Dequantize | Op::Requantize => {
                match self.stored.get(&node.inputs[0]).cloned() {
                    Some(Stored::Permuted(base, perm)) => {
                        self.permuted(node, vec![base], perm, node.op.clone())
                    }
                    Some(Stored::Columns(base, order)) => {
                        let output = self.like(node.output, self.source[node.output].shape.clone());
                        self.push(node, vec![base], output, node.op.clone());
                        self.stored
                            .insert(node.output, Stored::Columns(output, order));
                    }
                    None => self.keep(node),
                }
            }
            Op::Binary { .. }
            | Op::Select
            | Op::Concat { .. }
            | Op::Pad { .. }
            | Op::Slice { .. } => {
                self.all_alike(node);
            }
            Op::Softmax { axis } => self.softmax(node, *axis),
            Op::Reshape => self.reshape(node),
            Op::FullyConnected { .. } => self.fully_connected(node),
            Op::Reduce { reduction, axes } => self.reduce(node, *reduction, axes),
            Op::BatchNorm { .. }
            | Op::Strided { .. }
            | Op::Pick { .. }
            | Op::Gather { .. }
            | Op::Resample { .. }
            | Op::MatMul
            | Op::Recurrent { .. }
            | Op::Load
            | Op::Convert => self.keep(node),
        }
    }

    /// The node as it is, on plain values.
    fn keep(&mut self, node: &Node) {
        let inputs = node.inputs.iter().map(|&id| self.plain(id)).collect();
        self.push(node, inputs, node.output, node.op.clone());
    }

    fn push(&mut self, node: &Node, inputs: Vec<ValueId>, output: ValueId, op: Op) {
        self.graph.nodes.push(Node {
            name: node.name.clone(),
            op,
            inputs,
            output,
        });
    }

    /// A new value that stores `id`, which may itself be a new one, in another shape.
    fn like(&mut self, id: ValueId, shape: Vec<usize>) -> ValueId {
        let value = self.graph[id].clone();
        self.graph.add_value(Value {
            shape,
            data: None,
            ..value
        })
    }

    /// The node's result computed on stored operands: `output = transpose(stored output, perm)`.
    fn permuted(&mut self, node: &Node, inputs: Vec<ValueId>, perm: Vec<usize>, op: Op) {
        let shape = permute(&self.source[node.output].shape, &inverse(&perm));
        let output = self.like(node.output, shape);
        self.push(node, inputs, output, op);
        self.permutations.insert(output, perm.clone());
        self.stored
            .insert(node.output, Stored::Permuted(output, perm));
    }

    /// The ONNX value itself, transposed for real if it is stored otherwise.
    fn plain(&mut self, id: ValueId) -> ValueId {
        match self.stored.get(&id).cloned() {
            None => id,
            Some(Stored::Permuted(base, perm)) => {
                self.stored.remove(&id);
                self.emit_transpose(base, &perm, id);
                id
            }
            // Columns are only made for values that fully connected layers alone read.
            Some(Stored::Columns(base, _)) => base,
        }
    }

    /// `transpose(id, wanted)` as a stored value; `id` is an ONNX value or a stored one.
    fn transposed(&mut self, id: ValueId, wanted: &[usize]) -> ValueId {
        if let Some(data) = &self.source.values.get(id.0).and_then(|v| v.data.clone()) {
            return self.transposed_constant(id, data, wanted);
        }
        let (base, perm) = match self.stored.get(&id) {
            Some(Stored::Permuted(base, first)) => (*base, compose(first, wanted)),
            _ => (self.plain(id), wanted.to_vec()),
        };
        if is_identity(&perm) {
            return base;
        }
        if let Some(&made) = self.made.get(&(base, perm.clone())) {
            return made;
        }
        let shape = permute(&self.graph[base].shape, &perm);
        let output = self.like(id, shape);
        self.emit_transpose(base, &perm, output);
        self.made.insert((base, perm), output);
        let back = inverse(wanted);
        let onnx = self
            .permutations
            .get(&id)
            .map_or(back.clone(), |onnx| compose(&back, onnx));
        self.permutations.insert(output, onnx);
        output
    }

    fn transposed_constant(&mut self, id: ValueId, data: &Data, perm: &[usize]) -> ValueId {
        let value = self.source[id].clone();
        // A broadcast operand may have fewer axes: leading ones are 1.
        let mut shape = vec![1; perm.len().saturating_sub(value.shape.len())];
        shape.extend(&value.shape);
        let data = match data {
            Data::F32(v) => Data::F32(transpose_data(v, &shape, perm)),
            Data::I8(v) => Data::I8(transpose_data(v, &shape, perm)),
            Data::U8(v) => Data::U8(transpose_data(v, &shape, perm)),
            Data::I32(v) => Data::I32(transpose_data(v, &shape, perm)),
            Data::I64(v) => Data::I64(transpose_data(v, &shape, perm)),
        };
        self.graph
            .add_constant(value.name, permute(&shape, perm), data, value.quantization)
    }

    fn emit_transpose(&mut self, base: ValueId, perm: &[usize], output: ValueId) {
        let op = if moves_nothing(&self.graph[base].shape, perm) {
            Op::Reshape
        } else {
            Op::Transpose {
                perm: perm.to_vec(),
            }
        };
        let name = format!("{} (layout)", self.graph[base].name);
        self.graph.nodes.push(Node {
            name,
            op,
            inputs: vec![base],
            output,
        });
    }

    fn channels_last(&mut self, node: &Node) {
        let mut inputs = node.inputs.clone();
        inputs[0] = self.transposed(inputs[0], &TO_CHANNELS_LAST);
        self.permuted(node, inputs, FROM_CHANNELS_LAST.to_vec(), node.op.clone());
    }

    /// Operators over several operands: all take the permutation that the first permuted operand has.
    fn all_alike(&mut self, node: &Node) {
        let rank = self.source[node.output].shape.len();
        let found = node.inputs.iter().find_map(|id| match self.stored.get(id) {
            Some(Stored::Permuted(_, perm)) if perm.len() == rank => Some(perm.clone()),
            _ => None,
        });
        let Some(perm) = found else {
            return self.keep(node);
        };
        let back = inverse(&perm);
        let fits =
            |id: &ValueId| self.source[*id].shape.len() == rank || self.source[*id].data.is_some();
        if !node.inputs.iter().all(fits) {
            return self.keep(node);
        }
        let inputs = node
            .inputs
            .iter()
            .map(|&id| self.transposed(id, &back))
            .collect();
        let op = match &node.op {
            Op::Concat { axis } => Op::Concat { axis: perm[*axis] },
            Op::Slice { axis, start } => Op::Slice {
                axis: perm[*axis],
                start: *start,
            },
            Op::Pad {
                before,
                after,
                value,
            } => Op::Pad {
                before: permute(before, &back),
                after: permute(after, &back),
                value: *value,
            },
            other => other.clone(),
        };
        self.permuted(node, inputs, perm, op);
    }

    /// Softmax wants its axis innermost.
    fn softmax(&mut self, node: &Node, axis: usize) {
        let rank = self.source[node.output].shape.len();
        let (base, perm) = match self.stored.get(&node.inputs[0]).cloned() {
            Some(Stored::Permuted(base, perm)) => (base, perm),
            _ => (self.plain(node.inputs[0]), (0..rank).collect()),
        };
        let stored_axis = perm[axis];
        let shape = self.graph[base].shape.clone();
        if shape[stored_axis + 1..].iter().all(|&d| d == 1) {
            return self.permuted(node, vec![base], perm, Op::Softmax { axis: stored_axis });
        }
        let mut last: Vec<usize> = (0..rank).filter(|&i| i != stored_axis).collect();
        last.push(stored_axis);
        let moved = self.transposed(base, &last);
        self.permuted(
            node,
            vec![moved],
            compose(&inverse(&last), &perm),
            Op::Softmax { axis: rank - 1 },
        );
    }

    /// A reduction takes its operand as it is stored if the axes are side by side there.
    fn reduce(&mut self, node: &Node, reduction: Reduction, axes: &[usize]) {
        let Some(Stored::Permuted(base, perm)) = self.stored.get(&node.inputs[0]).cloned() else {
            return self.keep(node);
        };
        let mut stored: Vec<usize> = axes.iter().map(|&axis| perm[axis]).collect();
        stored.sort_unstable();
        if super::expand::adjacent(&self.graph[base].shape, &stored).is_none() {
            return self.keep(node);
        }
        let op = Op::Reduce {
            reduction,
            axes: stored,
        };
        self.permuted(node, vec![base], perm, op);
    }

    fn reshape(&mut self, node: &Node) {
        let input = node.inputs[0];
        let shape = self.source[node.output].shape.clone();
        if let Some(Stored::Permuted(base, perm)) = self.stored.get(&input).cloned() {
            let stored_shape = self.graph[base].shape.clone();
            if moves_nothing(&stored_shape, &perm) {
                return self.push(node, vec![base], node.output, Op::Reshape);
            }
            let flattens =
                shape.len() == 2 && shape[0] == self.source[input].shape[0] && perm[0] == 0;
            if flattens && self.only_feeds_fully_connected(node.output) {
                let output = self.like(node.output, shape.clone());
                self.push(node, vec![base], output, Op::Reshape);
                let stored_index: Vec<usize> = (0..shape[1]).collect();
                let rest: Vec<usize> = perm[1..].iter().map(|p| p - 1).collect();
                let order = transpose_data(&stored_index, &stored_shape[1..], &rest);
                self.stored
                    .insert(node.output, Stored::Columns(output, order));
                return;
            }
        }
        self.keep(node);
    }

    /// Whether every use of `id`, through element-wise functions, is a fully connected layer's first operand.
    fn only_feeds_fully_connected(&self, id: ValueId) -> bool {
        let consumers = self.source.consumers(id);
        !self.source.is_output(id)
            && !consumers.is_empty()
            && consumers.iter().all(|&i| {
                let node = &self.source.nodes[i];
                match node.op {
                    Op::FullyConnected { .. } => node.inputs[0] == id,
                    Op::Unary(_) | Op::Quantize | Op::Dequantize | Op::Requantize => {
                        self.only_feeds_fully_connected(node.output)
                    }
                    _ => false,
                }
            })
    }

    fn fully_connected(&mut self, node: &Node) {
        let Some(Stored::Columns(base, order)) = self.stored.get(&node.inputs[0]).cloned() else {
            return self.keep(node);
        };
        let mut inputs = node.inputs.clone();
        inputs[0] = base;
        let weights = self.source[inputs[1]].clone();
        // Column `order[j]` of the stored matrix is column `j` of ONNX's.
        let reorder = |row: &[usize]| {
            let mut result = vec![0; row.len()];
            for (j, &to) in order.iter().enumerate() {
                result[to] = row[j];
            }
            result
        };
        let index: Vec<usize> = (0..weights.len()).collect();
        let index: Vec<usize> = index.chunks(order.len()).flat_map(reorder).collect();
        let data = match weights.data {
            Some(Data::F32(v)) => Data::F32(permute(&v, &index)),
            Some(Data::I8(v)) => Data::I8(permute(&v, &index)),
            Some(Data::I32(v)) => Data::I32(permute(&v, &index)),
            _ => return self.keep(node),
        };
        inputs[1] =
            self.graph
                .add_constant(weights.name, weights.shape, data, weights.quantization);
        self.push(node, inputs, node.output, node.op.clone());
    }
}
