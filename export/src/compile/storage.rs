//! Which values share memory: reshapes and bands are views, element-wise steps and layers that can run in place.

use super::liveness::{Life, Liveness};
use super::memory::{Buffer, Piece};
use super::residual::Residuals;
use super::tiling::Bands;
use crate::graph::{DType, Graph, Node, Op, Value, ValueId};
use std::collections::HashMap;
use std::ops::Range;

/// Bytes of one element.
pub(super) fn element_size(value: &Value) -> usize {
    if matches!(value.dtype, DType::F32 | DType::I32) {
        4
    } else {
        1
    }
}

/// Bytes that a value takes.
pub(super) fn bytes(value: &Value) -> usize {
    value.len() * element_size(value)
}

/// What a layer wants of the memory.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Needs {
    /// Bytes of working memory.
    pub(super) scratch: usize,
    /// Whether the result may begin where the input begins.
    pub(super) in_place: bool,
}

/// Where a value lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place {
    pub(super) buffer: usize,
    /// First byte within the buffer.
    pub(super) offset: usize,
}

/// Which buffer each value lives in.
#[derive(Clone)]
pub(super) struct Storage {
    /// All buffers.
    pub(super) buffers: Vec<Buffer>,
    /// The place of each value that is no constant.
    pub(super) places: HashMap<ValueId, Place>,
    /// The buffer of each node's working memory.
    pub(super) scratch_of: HashMap<usize, usize>,
}

struct Planner<'g> {
    graph: &'g Graph,
    bands: &'g Bands,
    liveness: Liveness,
    /// Places of the values that have memory of their own.
    places: HashMap<ValueId, Place>,
    buffers: Vec<Buffer>,
}

impl Storage {
    /// Reshapes and bands share memory with what they are a part of; element-wise steps, and the layers that can, overwrite
    /// an operand that nobody needs afterwards.
    pub(super) fn plan(
        graph: &Graph,
        bands: &Bands,
        needs: &HashMap<usize, Needs>,
        residuals: &Residuals,
    ) -> Storage {
        let mut planner = Planner {
            graph,
            bands,
            liveness: Liveness::new(graph, bands, residuals),
            places: HashMap::new(),
            buffers: Vec::new(),
        };
        for &id in &graph.inputs {
            planner.allocate(id);
        }
        let adds: Vec<usize> = residuals.values().copied().collect();
        let mut scratch_of = HashMap::new();
        for (t, node) in graph.nodes.iter().enumerate() {
            if adds.contains(&t) {
                continue;
            }
            let needs = needs.get(&t).copied().unwrap_or_default();
            match residuals.get(&t) {
                Some(&add) => planner.residual(node, &graph.nodes[add]),
                None => planner.node(t, node, needs.in_place),
            }
            if needs.scratch > 0 {
                scratch_of.insert(t, planner.buffers.len());
                planner.buffers.push(Buffer::whole(needs.scratch, t, t));
            }
        }
        planner.finish(scratch_of)
    }

    /// What is needed of each value that has memory of its own: its buffer, and a piece of that.
    pub(super) fn lives(
        &self,
        graph: &Graph,
        bands: &Bands,
        residuals: &Residuals,
    ) -> Vec<(ValueId, usize, Piece)> {
        let liveness = Liveness::new(graph, bands, residuals);
        let mut lives = Vec::new();
        for (&id, place) in &self.places {
            let all = 0..bytes(&graph[id]);
            if let Some(life) = liveness.life(id) {
                let pieces = pieces(life, &all, place.offset);
                lives.extend(pieces.into_iter().map(|piece| (id, place.buffer, piece)));
            }
        }
        lives.sort_by_key(|(id, ..)| *id);
        lives
    }
}

impl Planner<'_> {
    /// Gives the output of `node` a place.
    fn node(&mut self, t: usize, node: &Node, in_place: bool) {
        let Some((root, _)) = self.liveness.part(node.output) else {
            return;
        };
        if self.places.contains_key(&root) {
            return;
        }
        if let Some(&wanted) = self.bands.in_place.get(&root)
            && let Some((old, 0)) = self.liveness.part(wanted)
            && let Some(&place) = self.places.get(&old)
            && self.liveness.may_replace(root, old)
        {
            self.places.insert(root, place);
            return;
        }
        let shared = (root == node.output)
            .then(|| {
                if in_place {
                    self.free_after(node, 0, t)
                } else {
                    self.overwritten(node, t)
                }
            })
            .flatten();
        match shared {
            Some(place) => {
                self.places.insert(root, place);
            }
            None => self.allocate(root),
        }
    }

    /// Gives the sum of a convolution and a residual the residual's place.
    fn residual(&mut self, conv: &Node, add: &Node) {
        let Some((root, offset)) = self.liveness.part(add.output) else {
            return;
        };
        let mut operands = add.inputs.iter().filter(|&&id| id != conv.output);
        let other = operands.next().and_then(|&id| self.place(id));
        if let Some(place) = other
            && !self.places.contains_key(&root)
        {
            let offset = place.offset.saturating_sub(offset);
            let buffer = place.buffer;
            self.places.insert(root, Place { buffer, offset });
        }
    }

    fn allocate(&mut self, root: ValueId) {
        let (buffer, offset) = (self.buffers.len(), 0);
        self.places.insert(root, Place { buffer, offset });
        self.buffers.push(Buffer {
            len: bytes(&self.graph[root]),
            pieces: Vec::new(),
        });
    }

    fn place(&self, id: ValueId) -> Option<Place> {
        let (root, start) = self.liveness.part(id)?;
        let place = self.places.get(&root)?;
        Some(Place {
            offset: place.offset + start,
            ..*place
        })
    }

    /// The place of an operand that `node` may write its result over.
    fn overwritten(&self, node: &Node, t: usize) -> Option<Place> {
        let candidates: &[usize] = match node.op {
            Op::Unary(_) | Op::Requantize | Op::Softmax { .. } => &[0],
            Op::Binary { op, .. } if op.commutes() => &[0, 1],
            Op::Binary { .. } => &[0],
            _ => return None,
        };
        let graph = self.graph;
        let mut whole = candidates
            .iter()
            .filter(|&&i| bytes(&graph[node.inputs[i]]) == bytes(&graph[node.output]));
        whole.find_map(|&i| self.free_after(node, i, t))
    }

    /// The place of operand `i`, if the result fits and nobody needs what it overwrites after step `t`.
    fn free_after(&self, node: &Node, i: usize, t: usize) -> Option<Place> {
        let id = node.inputs[i];
        let len = bytes(&self.graph[node.output]);
        let (root, operand) = self.liveness.bytes(self.graph, id)?;
        let place = self.place(id)?;
        let target = operand.start..operand.start + len;
        let overlaps = |(j, &id): (usize, &ValueId)| {
            let other = self.liveness.bytes(self.graph, id);
            j != i
                && other.is_some_and(|(_, bytes)| {
                    let at = self.place(id).filter(|p| p.buffer == place.buffer);
                    at.is_some_and(|p| {
                        p.offset < place.offset + len && place.offset < p.offset + bytes.len()
                    })
                })
        };
        let shared = node.inputs.iter().enumerate().any(overlaps);
        let needed_later = self.liveness.last_read(root, &target) > Some(t);
        // Something else will be written here, perhaps before the result is dead.
        let promised = self.bands.in_place.iter().any(|(new, old)| {
            let old = self.liveness.part(*old).map(|(old, _)| old);
            let mut lives = self.liveness.life(*new).into_iter();
            (old == Some(root) || *new == root)
                && lives.any(|life| life.writes.iter().any(|w| w.node >= t))
        });
        let unfinished = self.liveness.last_write(root, &target) >= Some(t) && t > 0;
        (!shared && !needed_later && !promised && !unfinished && operand.len() >= len)
            .then_some(place)
    }

    fn finish(mut self, scratch_of: HashMap<usize, usize>) -> Storage {
        let mut roots: Vec<(ValueId, Place)> = self.places.iter().map(|(&r, &p)| (r, p)).collect();
        roots.sort_unstable_by_key(|(root, _)| *root);
        for (root, place) in roots {
            let all = 0..bytes(&self.graph[root]);
            if let Some(life) = self.liveness.life(root) {
                let pieces = pieces(life, &all, place.offset);
                self.buffers[place.buffer].pieces.extend(pieces);
            }
        }
        let places = self
            .liveness
            .parts()
            .filter_map(|(id, _)| Some((id, self.place(id)?)))
            .collect();
        Storage {
            buffers: self.buffers,
            places,
            scratch_of,
        }
    }
}

/// Runs of bytes with the same lifetime, from the first write to the last read.
fn pieces(life: &Life, all: &Range<usize>, offset: usize) -> Vec<Piece> {
    let accesses = || life.writes.iter().chain(&life.reads);
    let mut cuts: Vec<usize> = accesses()
        .flat_map(|a| [a.bytes.start, a.bytes.end])
        .chain([all.start, all.end])
        .collect();
    cuts.sort_unstable();
    cuts.dedup();
    let mut pieces: Vec<Piece> = Vec::new();
    for cut in cuts.windows(2) {
        let within = || accesses().filter(|a| a.bytes.start <= cut[0] && cut[1] <= a.bytes.end);
        let nodes = || within().map(|a| a.node);
        let (Some(first), Some(last)) = (nodes().min(), nodes().max()) else {
            continue;
        };
        let (start, end) = (offset + cut[0], offset + cut[1]);
        match pieces.last_mut() {
            Some(p) if p.end == start && (p.first, p.last) == (first, last) => p.end = end,
            _ => pieces.push(Piece {
                start,
                end,
                first,
                last,
            }),
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Binary, Clamp, Unary};

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

    fn plan(graph: &Graph) -> Storage {
        Storage::plan(graph, &Bands::default(), &HashMap::new(), &Residuals::new())
    }

    #[test]
    fn a_chain_runs_in_one_buffer() {
        let g = graph(3, [3, 3]);
        // Both operands of the sum are the same value: its result needs a place of its own.
        assert_eq!(plan(&g).buffers.len(), 2);
    }

    #[test]
    fn a_value_that_is_needed_later_is_not_overwritten() {
        let g = graph(2, [0, 2]);
        let storage = plan(&g);
        assert_ne!(
            storage.places[&ValueId(0)].buffer,
            storage.places[&ValueId(1)].buffer
        );
        assert_eq!(storage.buffers.len(), 2);
    }

    #[test]
    fn an_output_is_not_overwritten() {
        let mut g = graph(2, [1, 2]);
        g.outputs.push(ValueId(1));
        let storage = plan(&g);
        assert_ne!(
            storage.places[&ValueId(1)].buffer,
            storage.places[&ValueId(2)].buffer
        );
        assert_ne!(
            storage.places[&ValueId(1)].buffer,
            storage.places[&ValueId(3)].buffer
        );
    }
}
