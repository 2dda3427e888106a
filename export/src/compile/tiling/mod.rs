//! Execution by bands of rows: a chain of steps makes a few rows of its result at a time, so that what lies between them
//! never exists as a whole.
//!
//! Activations are stored `[batch, height, width, channels]`, so a band of rows is one run of memory, and a step over a
//! band is an ordinary step over a smaller tensor: tiling rewrites the graph and nothing else changes. Rows that the next
//! band needs again are copied to the start of its buffer, so that nothing is computed twice. And since the rows of the
//! chain's input die as the rows of its result are made, the planner lets one grow into the place of the other.

mod bands;
mod policy;
mod rows;
mod search;

pub(super) use bands::Bands;
pub use policy::Tiling;
pub(super) use search::{Choice, Untiled, choices, cost};

use super::layout::Arranged;
use super::storage::element_size;
use crate::graph::{Graph, Node, Op, Value, ValueId};
use rows::{Reach, height, reach};
use std::collections::HashMap;
use std::ops::Range;

/// Nodes `first ..= last`, executed in bands of `height` rows of the last one's result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Segment {
    pub(super) first: usize,
    pub(super) last: usize,
    pub(super) height: usize,
}

/// A graph with bands.
pub(super) struct Tiled {
    pub(super) arranged: Arranged,
    /// The node of the untiled graph that each node is a band of; `None` for copies of rows.
    pub(super) origins: Vec<Option<usize>>,
}

/// Whether nodes `first ..= last` can run by bands: row by row, one image, and nobody else sees what lies between them.
pub(super) fn tileable(graph: &Graph, first: usize, last: usize) -> bool {
    let inside = |id: ValueId| {
        let nodes = graph.nodes[first..=last].iter();
        nodes.clone().any(|n| n.output == id)
    };
    (first..=last).all(|t| {
        let node = &graph.nodes[t];
        let by_rows = (0..node.inputs.len()).all(|i| match reach(graph, node, i) {
            None => false,
            // What is broadcast over all rows has to be there before the first band.
            Some(Reach::All) => !inside(node.inputs[i]),
            Some(_) => true,
        });
        let hidden = t == last
            || (!graph.is_output(node.output)
                && graph
                    .consumers(node.output)
                    .iter()
                    .all(|c| (first..=last).contains(c)));
        height(graph, node.output).is_some() && by_rows && hidden
    })
}

/// Rewrites the graph so that each segment runs by bands. Segments are tileable, in order, and do not overlap.
pub(super) fn tile(arranged: &Arranged, segments: &[Segment]) -> Tiled {
    let source = &arranged.graph;
    let mut tiler = Tiler {
        graph: Graph {
            nodes: Vec::new(),
            ..source.clone()
        },
        bands: Bands::default(),
        origins: Vec::new(),
    };
    // In bands, what is concatenated is copied.
    let tiled = |t: usize| segments.iter().any(|s| (s.first..=s.last).contains(&t));
    let whole = |id| source.producer(id).is_none_or(|t| !tiled(t));
    let views = arranged
        .bands
        .views
        .iter()
        .filter(|(_, part)| whole(part.0));
    tiler
        .bands
        .views
        .extend(views.map(|(&id, &part)| (id, part)));
    let mut t = 0;
    for segment in segments {
        tiler.keep(source, t..segment.first);
        tiler.segment(source, segment);
        t = segment.last + 1;
    }
    tiler.keep(source, t..source.nodes.len());
    Tiled {
        arranged: Arranged {
            graph: tiler.graph,
            bands: tiler.bands,
            permutations: arranged.permutations.clone(),
            reordered: arranged.reordered.clone(),
        },
        origins: tiler.origins,
    }
}

/// The rows that one node of a segment makes and holds, for each band.
struct Plan {
    /// Rows computed in this band; may be none.
    new: Vec<Range<usize>>,
    /// Rows that somebody reads in this band or later, of those computed up to this band.
    held: Vec<Range<usize>>,
}

/// What the nodes of a segment do in each band.
fn plan(graph: &Graph, segment: &Segment) -> Vec<Plan> {
    let Segment {
        first,
        last,
        height: step,
    } = *segment;
    let rows = height(graph, graph.nodes[last].output).unwrap_or(0);
    let bands: Vec<Range<usize>> = (0..rows.div_ceil(step))
        .map(|k| k * step..rows.min((k + 1) * step))
        .collect();
    let mut plans: Vec<Plan> = vec![Plan {
        new: bands.clone(),
        held: bands,
    }];
    // From the result back to the input; `plans` is in reverse order meanwhile.
    for t in (first..last).rev() {
        let output = graph.nodes[t].output;
        let of = height(graph, output).unwrap_or(0);
        let count = plans[0].new.len();
        let mut wanted: Vec<Option<Range<usize>>> = vec![None; count];
        for (reader, plan) in (t + 1..=last).rev().zip(&plans) {
            let node = &graph.nodes[reader];
            for (i, _) in node
                .inputs
                .iter()
                .enumerate()
                .filter(|(_, id)| **id == output)
            {
                let Some(reach) = reach(graph, node, i) else {
                    continue;
                };
                for (wanted, new) in wanted.iter_mut().zip(&plan.new) {
                    if new.is_empty() {
                        continue;
                    }
                    let (rows, _) = reach.read(new, of);
                    *wanted = Some(match wanted.take() {
                        None => rows,
                        Some(w) => w.start.min(rows.start)..w.end.max(rows.end),
                    });
                }
            }
        }
        let mut starts = vec![of; count];
        let mut start = of;
        for (k, wanted) in wanted.iter().enumerate().rev() {
            start = wanted.as_ref().map_or(start, |w| start.min(w.start));
            starts[k] = start;
        }
        let (mut new, mut held, mut end) = (Vec::new(), Vec::new(), 0);
        for (wanted, start) in wanted.iter().zip(starts) {
            let until = wanted.as_ref().map_or(end, |w| end.max(w.end));
            let from = end.max(start).min(until);
            new.push(from..until);
            held.push(start.min(until)..until);
            end = until;
        }
        plans.push(Plan { new, held });
    }
    plans.reverse();
    plans
}

struct Tiler {
    graph: Graph,
    bands: Bands,
    origins: Vec<Option<usize>>,
}

impl Tiler {
    fn keep(&mut self, source: &Graph, nodes: Range<usize>) {
        self.origins.extend(nodes.clone().map(Some));
        self.graph.nodes.extend_from_slice(&source.nodes[nodes]);
    }

    fn push(&mut self, node: Node, origin: Option<usize>) {
        self.graph.nodes.push(node);
        self.origins.push(origin);
    }

    fn segment(&mut self, source: &Graph, segment: &Segment) {
        let Segment { first, last, .. } = *segment;
        let plans = plan(source, segment);
        let result = source.nodes[last].output;
        self.in_place(source, segment);
        // Where the rows of each value that is made inside are now: in which value, from which row on.
        let mut current: HashMap<ValueId, (ValueId, usize)> = HashMap::new();
        for k in 0..plans[0].new.len() {
            for (t, plan) in (first..=last).zip(&plans) {
                let node = &source.nodes[t];
                let (new, held) = (&plan.new[k], &plan.held[k]);
                if new.is_empty() {
                    continue;
                }
                // The operands of this band are looked up before the band's own rows move.
                let (op, inputs) = self.operands(source, node, new, &current);
                let output = if node.output == result {
                    self.rows(result, 0, result, new)
                } else {
                    let buffer = self.band(node.output, held);
                    let before = current.insert(node.output, (buffer, held.start));
                    if let Some((before, start)) = before.filter(|_| held.start < new.start) {
                        let kept = held.start..new.start;
                        let from = self.rows(before, start, node.output, &kept);
                        let to = self.rows(buffer, held.start, node.output, &kept);
                        let copy = Node {
                            name: node.name.clone(),
                            op: Op::Reshape,
                            inputs: vec![from],
                            output: to,
                        };
                        self.push(copy, None);
                    }
                    self.rows(buffer, held.start, node.output, new)
                };
                let name = node.name.clone();
                self.push(
                    Node {
                        name,
                        op,
                        inputs,
                        output,
                    },
                    Some(t),
                );
            }
        }
    }

    /// What `node` reads for the rows `new` of its result.
    fn operands(
        &mut self,
        source: &Graph,
        node: &Node,
        new: &Range<usize>,
        current: &HashMap<ValueId, (ValueId, usize)>,
    ) -> (Op, Vec<ValueId>) {
        let mut op = node.op.clone();
        let mut inputs = node.inputs.clone();
        for (i, id) in inputs.iter_mut().enumerate() {
            let (Some(reach), None) = (reach(source, node, i), &source[*id].data) else {
                continue;
            };
            let Some(of) = height(source, *id).filter(|_| reach != Reach::All) else {
                continue;
            };
            let (rows, above) = reach.read(new, of);
            if let Op::Conv2d { window, .. } | Op::Pool { window, .. } = &mut op {
                window.pads[0] = above;
            }
            let (whole, start) = current.get(id).copied().unwrap_or((*id, 0));
            *id = self.rows(whole, start, *id, &rows);
        }
        (op, inputs)
    }

    /// A buffer for the rows `held` of `tensor`.
    fn band(&mut self, tensor: ValueId, held: &Range<usize>) -> ValueId {
        let mut value = Value {
            data: None,
            ..self.graph[tensor].clone()
        };
        let row: usize = value.shape[2..].iter().product();
        value.shape[1] = held.len();
        let id = self.graph.add_value(value);
        self.bands.tensors.insert(id, (tensor, held.start * row));
        id
    }

    /// The rows `rows` of `tensor`, out of `whole`, which holds its rows from `start` on.
    fn rows(
        &mut self,
        whole: ValueId,
        start: usize,
        tensor: ValueId,
        rows: &Range<usize>,
    ) -> ValueId {
        if rows.start == start && rows.len() == self.graph[whole].shape[1] {
            return whole;
        }
        let id = self.band(tensor, rows);
        let row: usize = self.graph[id].shape[2..].iter().product();
        self.bands
            .views
            .insert(id, (whole, (rows.start - start) * row));
        id
    }

    /// An element-wise last step may leave its result where an operand from outside was.
    fn in_place(&mut self, source: &Graph, segment: &Segment) {
        let node = &source.nodes[segment.last];
        if !matches!(node.op, Op::Unary(_) | Op::Requantize | Op::Binary { .. }) {
            return;
        }
        let made = |id: &ValueId| {
            let inside = &source.nodes[segment.first..segment.last];
            inside.iter().any(|n| n.output == *id)
        };
        let result = &source[node.output];
        let mut candidates = node.inputs.iter().rev().filter(|id| {
            let value = &source[**id];
            value.data.is_none()
                && !made(id)
                && value.shape == result.shape
                && element_size(value) == element_size(result)
                && node.inputs.iter().filter(|other| other == id).count() == 1
        });
        if let Some(&old) = candidates.next() {
            self.bands.in_place.insert(node.output, old);
        }
    }
}
