//! Additions that the convolution before them does in its epilogue, over the other operand in place.

use super::liveness::Liveness;
use super::tiling::Bands;
use crate::graph::{Binary, DType, Graph, Op, ValueId};
use std::collections::HashMap;

/// For each convolution that also adds: the addition's node.
pub(super) type Residuals = HashMap<usize, usize>;

/// Finds the int8 additions `conv + other` where nobody else wants the convolution's result and nobody wants `other`
/// afterwards. `fits` says which convolutions can add.
pub(super) fn find(graph: &Graph, bands: &Bands, fits: impl Fn(usize) -> bool) -> Residuals {
    let mut residuals = Residuals::new();
    let finder = Finder {
        graph,
        bands,
        liveness: Liveness::new(graph, bands, &Residuals::new()),
    };
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
            let conv = graph.producer(sum)?;
            (finder.adds(conv, t, sum, other)? && fits(conv)).then_some(conv)
        });
        if let Some(conv) = candidates.max()
            && !residuals.contains_key(&conv)
        {
            residuals.insert(conv, t);
        }
    }
    residuals
}

struct Finder<'g> {
    graph: &'g Graph,
    bands: &'g Bands,
    liveness: Liveness,
}

impl Finder<'_> {
    /// Whether node `conv` may add `other` to its result `sum`, as node `add` would. `None` for constants.
    fn adds(&self, conv: usize, add: usize, sum: ValueId, other: ValueId) -> Option<bool> {
        let (graph, liveness) = (self.graph, &self.liveness);
        let output = graph.nodes[add].output;
        let (own, _) = liveness.part(sum)?;
        let (old, bytes) = liveness.bytes(graph, other)?;
        let (new, written) = liveness.bytes(graph, output)?;
        let alone = own == sum
            && liveness.life(sum)?.reads.iter().all(|r| r.node == add)
            && graph.consumers(sum) == [add];
        let int8 = [sum, other, output]
            .iter()
            .all(|&id| graph[id].dtype == DType::I8);
        let alike = graph[sum].shape == graph[other].shape;
        let life = liveness.life(old)?;
        let ready = graph.inputs.contains(&old) || life.writes.iter().all(|w| w.node < conv);
        let last = life
            .reads
            .iter()
            .filter(|r| r.bytes.start < bytes.end && bytes.start < r.bytes.end)
            .all(|r| r.node < conv || r.node == add);
        // The sum takes the place of the residual: as a whole, or band by band where both tensors may share their memory.
        let whole = old == other && new == output && !self.bands.in_place.contains_key(&new);
        let wanted = self
            .bands
            .in_place
            .get(&new)
            .and_then(|&w| liveness.part(w));
        let band = wanted == Some((old, 0)) && written == bytes && liveness.may_replace(new, old);
        Some(alone && int8 && alike && ready && last && sum != other && (whole || band))
    }
}
