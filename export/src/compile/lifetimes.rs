//! What lies where in the arena, and while which steps.

use super::layout::Arranged;
use super::planned::Planned;
use super::storage::Storage;
use crate::graph::ValueId;
use serde::Serialize;

/// A run of arena bytes that one tensor needs from one step to another.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Lifetime {
    /// ONNX name of the tensor; of the node for working memory.
    pub tensor: String,
    /// Whether it is a node's working memory.
    pub working: bool,
    /// First byte in the arena.
    pub offset: usize,
    /// Bytes.
    pub len: usize,
    /// First step that needs it.
    pub first: usize,
    /// Last step that needs it.
    pub last: usize,
}

/// All lifetimes of a planned graph, in terms of its nodes; [`in_steps`] makes steps of them.
pub(super) fn lifetimes(planned: &Planned) -> Vec<Lifetime> {
    let Planned {
        arranged,
        layers,
        storage,
        placement,
    } = planned;
    let pieces = storage.lives(&arranged.graph, &arranged.bands, &layers.residuals);
    let tensors = pieces.into_iter().map(|(id, buffer, piece)| Lifetime {
        tensor: name(arranged, id),
        working: false,
        offset: placement.offsets[buffer] + piece.start,
        len: piece.end - piece.start,
        first: piece.first,
        last: piece.last,
    });
    let mut all: Vec<Lifetime> = tensors
        .chain(working(arranged, storage, &placement.offsets))
        .collect();
    all.sort_by_key(|l| (l.first, l.offset));
    all
}

fn name(arranged: &Arranged, id: ValueId) -> String {
    let tensor = arranged
        .bands
        .tensors
        .get(&id)
        .map_or(id, |&(tensor, _)| tensor);
    arranged.graph[tensor].name.clone()
}

fn working<'a>(
    arranged: &'a Arranged,
    storage: &'a Storage,
    offsets: &'a [usize],
) -> impl Iterator<Item = Lifetime> + 'a {
    storage.scratch_of.iter().map(|(&t, &buffer)| Lifetime {
        tensor: arranged.graph.nodes[t].name.clone(),
        working: true,
        offset: offsets[buffer],
        len: storage.buffers[buffer].len,
        first: t,
        last: t,
    })
}

/// The same lifetimes in steps: `first_step[t]` is the first step of node `t`, and there are `steps` steps.
pub(super) fn in_steps(
    mut lifetimes: Vec<Lifetime>,
    first_step: &[usize],
    steps: usize,
) -> Vec<Lifetime> {
    let end = steps.saturating_sub(1);
    let start = |node: usize| first_step.get(node).copied().unwrap_or(steps);
    for life in &mut lifetimes {
        (life.first, life.last) = (
            start(life.first).min(end),
            start(life.last + 1)
                .saturating_sub(1)
                .clamp(start(life.first).min(end), end),
        );
    }
    lifetimes
}

#[cfg(test)]
mod tests {
    use crate::compile::{CompileOptions, Target, Tiling, compile};
    use crate::compress::testing::Net;

    /// Whatever lives at one step has bytes of its own, all within the arena, and the busiest step is the compiler's.
    #[test]
    fn lifetimes_fill_the_arena_without_meeting() {
        let mut net = Net::new(1, &[1, 3, 8, 8]);
        let x = net.input();
        let y = net.conv_bn_relu(x, 8, 3, 1);
        let y = net.conv_bn_relu(y, 8, 3, 1);
        let y = net.global_pool(y);
        let y = net.dense(y, 4);
        let mut graph = net.finish(y);
        crate::passes::prepare(&mut graph);
        for (target, tiling) in [
            (Target::Host, Tiling::Auto),
            (Target::CortexM4f, Tiling::Auto),
            (Target::CortexM4f, Tiling::Smallest),
        ] {
            let options = CompileOptions {
                target,
                tiling,
                ..CompileOptions::default()
            };
            let compiled = compile(&graph, &options).expect("compiles");
            let mut most = 0;
            for step in 0..compiled.steps.len() {
                let mut spans: Vec<(usize, usize)> = compiled
                    .lifetimes
                    .iter()
                    .filter(|l| (l.first..=l.last).contains(&step))
                    .map(|l| (l.offset, l.offset + l.len))
                    .collect();
                spans.sort_unstable();
                assert!(spans.iter().all(|s| s.1 <= compiled.arena_len));
                let mut covered = 0;
                let mut bytes = 0;
                for (start, end) in spans {
                    bytes += end.saturating_sub(start.max(covered));
                    covered = covered.max(end);
                }
                most = most.max(bytes);
            }
            assert_eq!(most, compiled.peak_bytes, "{target:?} {tiling:?}");
        }
    }
}
