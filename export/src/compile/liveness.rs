//! Which bytes of which value each node reads and writes.

use super::residual::Residuals;
use super::storage::{bytes, element_size};
use super::tiling::Bands;
use super::views::{self, Views};
use crate::graph::{Graph, Op, ValueId};
use std::collections::HashMap;
use std::ops::Range;

/// Bytes of a value that a node touches.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Access {
    pub(super) bytes: Range<usize>,
    pub(super) node: usize,
    /// Whether the node may write its result over what it reads here, element on element.
    pub(super) element_wise: bool,
}

/// What one value that has memory of its own goes through.
#[derive(Clone, Default, Debug)]
pub(super) struct Life {
    pub(super) writes: Vec<Access>,
    pub(super) reads: Vec<Access>,
}

/// The lives of all values. Reshapes, bands and other views are parts of other values and have no life of their own.
pub(super) struct Liveness {
    /// For each value that is no constant: the value in which it lives, and its first byte there.
    parts: HashMap<ValueId, (ValueId, usize)>,
    lives: HashMap<ValueId, Life>,
}

fn meet(a: &Range<usize>, b: &Range<usize>) -> bool {
    a.start < b.end && b.start < a.end
}

impl Liveness {
    /// Graph inputs are written by node 0, graph outputs read behind the last node. A convolution that adds a residual
    /// does what the addition would have done, in its own place.
    pub(super) fn new(graph: &Graph, bands: &Bands, residuals: &Residuals) -> Self {
        let mut this = Liveness {
            parts: HashMap::new(),
            lives: HashMap::new(),
        };
        let views = views::find(graph, bands);
        for &id in &graph.inputs {
            this.resolve(graph, &views, id);
            this.write(graph, id, 0);
        }
        let view = |t: usize| views::moves_nothing(graph, &views, t);
        for (t, node) in graph.nodes.iter().enumerate() {
            for &id in &node.inputs {
                this.resolve(graph, &views, id);
            }
            match this.parts.get(&node.inputs[0]) {
                Some(&part) if node.op == Op::Reshape && view(t) => {
                    this.parts.insert(node.output, part);
                }
                _ => this.resolve(graph, &views, node.output),
            }
        }
        let adds: Vec<usize> = residuals.values().copied().collect();
        for (t, node) in graph.nodes.iter().enumerate() {
            if view(t) || adds.contains(&t) {
                continue;
            }
            let element_wise = matches!(
                node.op,
                Op::Unary(_) | Op::Requantize | Op::Binary { .. } | Op::Reshape
            );
            for &id in &node.inputs {
                this.read(graph, id, t, element_wise);
            }
            let add = residuals.get(&t).map(|&add| &graph.nodes[add]);
            for &id in add.iter().flat_map(|add| &add.inputs) {
                if id != node.output {
                    this.read(graph, id, t, true);
                }
            }
            this.write(graph, add.unwrap_or(node).output, t);
        }
        // A state stays where it is: its next value is written there behind the last node.
        let states = graph.carried().map(|(input, _)| input);
        for id in graph.outputs.iter().copied().chain(states) {
            this.read(graph, id, graph.nodes.len(), false);
        }
        this
    }

    fn resolve(&mut self, graph: &Graph, views: &Views, id: ValueId) {
        if self.parts.contains_key(&id) || graph[id].data.is_some() {
            return;
        }
        let part = match views.get(&id) {
            None => (id, 0),
            Some(&(whole, start)) => {
                self.resolve(graph, views, whole);
                let (root, offset) = self.parts.get(&whole).copied().unwrap_or((whole, 0));
                (root, offset + start * element_size(&graph[id]))
            }
        };
        self.parts.insert(id, part);
    }

    fn read(&mut self, graph: &Graph, id: ValueId, node: usize, element_wise: bool) {
        if let Some((root, bytes)) = self.bytes(graph, id) {
            self.lives.entry(root).or_default().reads.push(Access {
                bytes,
                node,
                element_wise,
            });
        }
    }

    fn write(&mut self, graph: &Graph, id: ValueId, node: usize) {
        if let Some((root, bytes)) = self.bytes(graph, id) {
            self.lives.entry(root).or_default().writes.push(Access {
                bytes,
                node,
                element_wise: false,
            });
        }
    }

    /// The value in which `id` lives, and its first byte there; `None` for constants.
    pub(super) fn part(&self, id: ValueId) -> Option<(ValueId, usize)> {
        self.parts.get(&id).copied()
    }

    /// The value in which `id` lives, and its bytes there; `None` for constants.
    pub(super) fn bytes(&self, graph: &Graph, id: ValueId) -> Option<(ValueId, Range<usize>)> {
        let (root, start) = self.part(id)?;
        Some((root, start..start + bytes(&graph[id])))
    }

    /// All values that are parts of others or have memory of their own, with their places there.
    pub(super) fn parts(&self) -> impl Iterator<Item = (ValueId, (ValueId, usize))> + '_ {
        self.parts.iter().map(|(&id, &part)| (id, part))
    }

    /// The life of a value that has memory of its own; `None` when nothing touches it.
    pub(super) fn life(&self, root: ValueId) -> Option<&Life> {
        self.lives.get(&root)
    }

    /// The last node that reads any of these bytes; `None` when nobody does.
    pub(super) fn last_read(&self, root: ValueId, bytes: &Range<usize>) -> Option<usize> {
        let reads = self.lives.get(&root)?.reads.iter();
        reads
            .filter(|r| meet(&r.bytes, bytes))
            .map(|r| r.node)
            .max()
    }

    /// The last node that writes any of these bytes; `None` when nobody does.
    pub(super) fn last_write(&self, root: ValueId, bytes: &Range<usize>) -> Option<usize> {
        let writes = self.lives.get(&root)?.writes.iter();
        writes
            .filter(|w| meet(&w.bytes, bytes))
            .map(|w| w.node)
            .max()
    }

    /// Whether `new` may live where `old` lives, byte on byte: whoever writes `new` overwrites what is complete and what
    /// nobody reads afterwards.
    pub(super) fn may_replace(&self, new: ValueId, old: ValueId) -> bool {
        let (Some(new), Some(old)) = (self.lives.get(&new), self.lives.get(&old)) else {
            return false;
        };
        let first = new.writes.iter().map(|w| w.node).min().unwrap_or(0);
        let read_before = |w: &Access, r: &Access| {
            r.node < w.node || (r.node == w.node && r.element_wise && r.bytes == w.bytes)
        };
        old.writes.iter().all(|w| w.node < first || w.node == 0)
            && new.writes.iter().all(|w| {
                let mut reads = old.reads.iter().filter(|r| meet(&r.bytes, &w.bytes));
                reads.all(|r| read_before(w, r))
            })
    }
}
