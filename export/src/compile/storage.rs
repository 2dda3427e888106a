//! Which values share memory: reshapes are views, element-wise steps run in place.

use super::layers::Layers;
use super::memory::Buffer;
use crate::graph::{Binary, DType, Graph, Node, Op, Value, ValueId};
use std::collections::HashMap;

/// Bytes that a value takes.
pub(super) fn bytes(value: &Value) -> usize {
    value.len()
        * if matches!(value.dtype, DType::F32 | DType::I32) {
            4
        } else {
            1
        }
}

/// Which buffer each value lives in.
pub(super) struct Storage {
    /// All buffers.
    pub(super) buffers: Vec<Buffer>,
    /// The buffer of each value that is no constant.
    pub(super) buffer_of: HashMap<ValueId, usize>,
    /// The buffer of each node's working memory.
    pub(super) scratch_of: HashMap<usize, usize>,
}

impl Storage {
    /// Reshapes share their operand's buffer; element-wise steps, and the layers that can, overwrite an operand that
    /// nobody needs afterwards.
    pub(super) fn plan(graph: &Graph, layers: &Layers) -> Storage {
        let end = graph.nodes.len();
        let mut storage = Storage {
            buffers: Vec::new(),
            buffer_of: HashMap::new(),
            scratch_of: HashMap::new(),
        };
        for &id in &graph.inputs {
            storage.add(graph, id, 0);
        }
        // Last node that reads a value, looking through reshapes.
        let mut last = vec![0; graph.values.len()];
        for &id in &graph.outputs {
            last[id.0] = end;
        }
        for (t, node) in graph.nodes.iter().enumerate().rev() {
            let read = if node.op == Op::Reshape {
                last[node.output.0]
            } else {
                t
            };
            for id in &node.inputs {
                last[id.0] = last[id.0].max(read);
            }
        }
        for id in &graph.inputs {
            storage.buffers[storage.buffer_of[id]].last = last[id.0];
        }
        for (t, node) in graph.nodes.iter().enumerate() {
            if layers.residuals.values().any(|&add| add == t) {
                continue;
            }
            let layer = layers.layers.get(&t);
            let (shared, output) = match layers.residuals.get(&t) {
                Some(&add) => {
                    let add = &graph.nodes[add];
                    let mut operands = add.inputs.iter().filter(|&&id| id != node.output);
                    let other = operands.next().and_then(|id| storage.buffer_of.get(id));
                    (other.copied(), add.output)
                }
                None if node.op == Op::Reshape => {
                    (storage.buffer_of.get(&node.inputs[0]).copied(), node.output)
                }
                None if layer.is_some_and(|l| l.in_place) => {
                    (storage.free_after(graph, node, 0, t), node.output)
                }
                None => (storage.overwritten(graph, node, t), node.output),
            };
            match shared {
                Some(buffer) => {
                    storage.buffer_of.insert(output, buffer);
                }
                None => storage.add(graph, output, t),
            }
            for id in node.inputs.iter().chain([&output]) {
                if let Some(&buffer) = storage.buffer_of.get(id) {
                    let b = &mut storage.buffers[buffer];
                    b.last = b.last.max(last[id.0]).max(t);
                }
            }
            if let Some(layer) = layer.filter(|layer| layer.scratch > 0) {
                storage.scratch_of.insert(t, storage.buffers.len());
                storage.buffers.push(Buffer {
                    len: layer.scratch,
                    first: t,
                    last: t,
                });
            }
        }
        storage
    }

    fn add(&mut self, graph: &Graph, id: ValueId, t: usize) {
        self.buffer_of.insert(id, self.buffers.len());
        self.buffers.push(Buffer {
            len: bytes(&graph[id]),
            first: t,
            last: t,
        });
    }

    /// The buffer of an operand that `node` may write its result into.
    fn overwritten(&self, graph: &Graph, node: &Node, t: usize) -> Option<usize> {
        let candidates: &[usize] = match node.op {
            Op::Unary(_) | Op::Requantize | Op::Softmax { .. } => &[0],
            Op::Binary {
                op: Binary::Add | Binary::Mul,
                ..
            } => &[0, 1],
            Op::Binary { .. } => &[0],
            _ => return None,
        };
        let mut whole = candidates
            .iter()
            .filter(|&&i| bytes(&graph[node.inputs[i]]) == bytes(&graph[node.output]));
        whole.find_map(|&i| self.free_after(graph, node, i, t))
    }

    /// The buffer of operand `i`, if the result fits and nobody needs it after step `t`.
    fn free_after(&self, graph: &Graph, node: &Node, i: usize, t: usize) -> Option<usize> {
        let id = node.inputs[i];
        let &buffer = self.buffer_of.get(&id)?;
        let others = node.inputs.iter().enumerate().filter(|&(j, _)| j != i);
        let shared = others
            .filter_map(|(_, id)| self.buffer_of.get(id))
            .any(|&b| b == buffer);
        let needed_later = self.buffers[buffer].last > t;
        (!shared && !needed_later && bytes(&graph[id]) >= bytes(&graph[node.output]))
            .then_some(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Clamp, Unary};

    /// A chain of unary operators over `[1, 8]`, then a binary one over the values numbered `operands`.
    fn graph(unaries: usize, operands: [usize; 2]) -> Graph {
        let mut g = Graph::default();
        let value = |i: usize| Value {
            name: format!("v{i}"),
            shape: vec![1, 8],
            dtype: DType::F32,
            quantization: None,
            data: None,
        };
        g.inputs = vec![g.add_value(value(0))];
        for i in 0..unaries {
            let output = g.add_value(value(i + 1));
            let op = Op::Unary(Unary::Tanh);
            g.nodes.push(Node {
                name: format!("n{i}"),
                op,
                inputs: vec![ValueId(i)],
                output,
            });
        }
        let output = g.add_value(value(unaries + 1));
        let op = Op::Binary {
            op: Binary::Add,
            clamp: Clamp::NONE,
        };
        let inputs = operands.map(ValueId).to_vec();
        g.nodes.push(Node {
            name: "add".into(),
            op,
            inputs,
            output,
        });
        g.outputs = vec![output];
        g
    }

    #[test]
    fn a_chain_runs_in_one_buffer() {
        let g = graph(3, [3, 3]);
        // Both operands of the sum are the same value: its result needs a place of its own.
        assert_eq!(Storage::plan(&g, &Layers::default()).buffers.len(), 2);
    }

    #[test]
    fn a_value_that_is_needed_later_is_not_overwritten() {
        let g = graph(2, [0, 2]);
        let storage = Storage::plan(&g, &Layers::default());
        assert_ne!(
            storage.buffer_of[&ValueId(0)],
            storage.buffer_of[&ValueId(1)]
        );
        assert_eq!(storage.buffers.len(), 2);
    }

    #[test]
    fn an_output_is_not_overwritten() {
        let mut g = graph(2, [1, 2]);
        g.outputs.push(ValueId(1));
        let storage = Storage::plan(&g, &Layers::default());
        assert_ne!(
            storage.buffer_of[&ValueId(1)],
            storage.buffer_of[&ValueId(2)]
        );
        assert_ne!(
            storage.buffer_of[&ValueId(1)],
            storage.buffer_of[&ValueId(3)]
        );
    }
}
