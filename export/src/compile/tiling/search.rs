//! Which chains to tile, and in bands of how many rows.
//!
//! Memory is a matter of each place in the graph by itself: what is alive while a node, or a tiled chain, runs. So the
//! cheapest way through the graph under a limit is a shortest path over the places where one chain may end and another
//! begin. Lowering the limit step by step gives every trade of arena against cost that is worth considering; for those
//! the arena is laid out for real.

use super::{Segment, Tiled, tile, tileable};
use crate::compile::layout::Arranged;
use crate::compile::memory::{self, Buffer, Piece};
use crate::compile::residual::{self, Residuals};
use crate::compile::storage::{Needs, Storage, bytes};
use std::collections::HashMap;

/// Most nodes of a chain.
const LONGEST: usize = 16;
/// How many bands are tried.
const BANDS: [usize; 14] = [2, 3, 4, 5, 6, 8, 10, 12, 16, 24, 32, 48, 64, 112];
/// Most steps that tiling may add: each costs flash, and a profile counts a limited number.
const MOST_STEPS: u64 = 700;

/// What a graph's layers want, before any tiling.
pub(in crate::compile) struct Untiled<'a> {
    pub(in crate::compile) arranged: &'a Arranged,
    pub(in crate::compile) needs: &'a HashMap<usize, Needs>,
    pub(in crate::compile) residuals: &'a Residuals,
    /// Whether a node's kernel can add a residual to its results.
    pub(in crate::compile) can_add: &'a dyn Fn(usize) -> bool,
}

/// One way to run a graph.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::compile) struct Choice {
    /// What runs by bands; nothing for the first choice.
    pub(in crate::compile) segments: Vec<Segment>,
    /// Bytes of arena, as estimated from the untiled graph's layers.
    pub(in crate::compile) arena_len: usize,
    /// Steps more than without tiling.
    pub(in crate::compile) extra_steps: u64,
    /// Bytes that are copied from band to band.
    pub(in crate::compile) copied: u64,
}

/// All choices worth considering, from no tiling to the smallest arena.
pub(in crate::compile) fn choices(untiled: &Untiled<'_>) -> Vec<Choice> {
    let search = Search::new(untiled);
    let mut limit = usize::MAX;
    let mut choices: Vec<Choice> = Vec::new();
    let candidates = search.candidates();
    while let Some((segments, most)) = search.cheapest(&candidates, limit) {
        let choice = search.choice(segments);
        let smaller = choices
            .last()
            .is_none_or(|c| choice.arena_len < c.arena_len);
        if choice.extra_steps <= MOST_STEPS && smaller {
            choices.push(choice);
        }
        if most == 0 {
            break;
        }
        limit = most - 1;
    }
    choices
}

struct Search<'a> {
    /// The graph without its constants' contents, so that copies are cheap.
    skeleton: Arranged,
    untiled: &'a Untiled<'a>,
    /// Bytes alive at each node, without tiling.
    live: Vec<usize>,
}

/// A chain that could be tiled.
struct Candidate {
    segment: Segment,
    /// Bytes of arena that it takes, with everything else that is alive meanwhile.
    arena_len: usize,
    cost: u64,
}

impl<'a> Search<'a> {
    fn new(untiled: &'a Untiled<'a>) -> Self {
        let arranged = untiled.arranged;
        let mut graph = arranged.graph.clone();
        for data in graph.values.iter_mut().filter_map(|v| v.data.as_mut()) {
            if let Some(empty) = data.slice(0..0) {
                *data = empty;
            }
        }
        let storage = Storage::plan(
            &arranged.graph,
            &arranged.bands,
            untiled.needs,
            untiled.residuals,
        );
        Search {
            live: memory::live(&storage.buffers, graph.nodes.len()),
            skeleton: Arranged {
                graph,
                permutations: arranged.permutations.clone(),
                reordered: arranged.reordered.clone(),
                bands: arranged.bands.clone(),
            },
            untiled,
        }
    }

    /// Storage of a tiled graph, from what the untiled graph's layers want.
    fn storage(&self, tiled: &Tiled) -> Storage {
        let origin = |t: usize| tiled.origins[t];
        let graph = &tiled.arranged.graph;
        let can_add = |t: usize| origin(t).is_some_and(self.untiled.can_add);
        let residuals = residual::find(graph, &tiled.arranged.bands, can_add);
        let needs = (0..graph.nodes.len()).filter_map(|t| {
            let needs = self.untiled.needs.get(&origin(t)?)?;
            Some((t, *needs))
        });
        Storage::plan(graph, &tiled.arranged.bands, &needs.collect(), &residuals)
    }

    fn choice(&self, segments: Vec<Segment>) -> Choice {
        let tiled = tile(&self.skeleton, &segments);
        let (extra_steps, copied) = self.extra(&tiled);
        Choice {
            arena_len: memory::place_quickly(&self.storage(&tiled).buffers).arena_len,
            extra_steps,
            copied,
            segments,
        }
    }

    /// Steps and copied bytes that tiling adds.
    fn extra(&self, tiled: &Tiled) -> (u64, u64) {
        let graph = &tiled.arranged.graph;
        let steps = graph.nodes.len() - self.skeleton.graph.nodes.len();
        let copies = graph.nodes.iter().zip(&tiled.origins);
        let copied = copies
            .filter(|(_, origin)| origin.is_none())
            .map(|(n, _)| bytes(&graph[n.output]) as u64);
        (steps as u64, copied.sum())
    }

    /// Places between nodes where a chain may begin or end: not between a convolution and the addition it also does.
    fn cuts(&self) -> Vec<bool> {
        let mut cuts = vec![true; self.skeleton.graph.nodes.len() + 1];
        for (&conv, &add) in self.untiled.residuals {
            cuts[conv + 1..=add].fill(false);
        }
        cuts
    }

    fn candidates(&self) -> Vec<Candidate> {
        let graph = &self.skeleton.graph;
        let (cuts, count) = (self.cuts(), graph.nodes.len());
        let mut candidates = Vec::new();
        // What can be tiled in no chain is what no chain can make smaller.
        let single = |t: usize| tileable(graph, t, t);
        let floor = (0..count)
            .filter(|&t| !single(t))
            .map(|t| self.live[t])
            .max();
        let floor = floor.unwrap_or(0);
        for first in (0..count).filter(|&t| cuts[t]) {
            for last in first..count.min(first + LONGEST) {
                if !single(last) {
                    break;
                }
                let most = self.live[first..=last].iter().max().copied().unwrap_or(0);
                if cuts[last + 1] && most > floor && tileable(graph, first, last) {
                    self.heights(first, last, most, &mut candidates);
                }
            }
        }
        candidates
    }

    /// Tries the numbers of bands for one chain; keeps those that take less memory than fewer bands.
    fn heights(&self, first: usize, last: usize, most: usize, candidates: &mut Vec<Candidate>) {
        let graph = &self.skeleton.graph;
        let rows = super::height(graph, graph.nodes[last].output).unwrap_or(0);
        let (mut least, mut height_before, mut failures) = (most, rows, 0);
        for bands in BANDS.iter().copied().filter(|&bands| bands <= rows) {
            let height = rows.div_ceil(bands);
            if height == height_before {
                continue;
            }
            height_before = height;
            let segment = Segment {
                first,
                last,
                height,
            };
            let tiled = tile(&self.skeleton, &[segment]);
            let (steps, copied) = self.extra(&tiled);
            if steps > MOST_STEPS {
                break;
            }
            let end = last + steps as usize;
            let buffers = during(&self.storage(&tiled).buffers, first, end);
            let arena_len = memory::place_roughly(&buffers).arena_len;
            if arena_len >= least {
                failures += 1;
                if failures == 2 {
                    break;
                }
                continue;
            }
            least = arena_len;
            candidates.push(Candidate {
                segment,
                arena_len,
                cost: cost(steps, copied),
            });
        }
    }

    /// The cheapest way through the graph that takes at most `limit` bytes anywhere, and what it takes at most.
    fn cheapest(&self, candidates: &[Candidate], limit: usize) -> Option<(Vec<Segment>, usize)> {
        let count = self.live.len();
        // For each place: cost of the way there, most bytes on it, the place before and the chain in between.
        type Way<'c> = (u64, usize, usize, Option<&'c Candidate>);
        let mut best: Vec<Option<Way<'_>>> = vec![None; count + 1];
        best[0] = Some((0, 0, 0, None));
        let better = |old: &Option<Way<'_>>, new: &Way<'_>| match old {
            None => true,
            Some(old) => (new.0, new.1) < (old.0, old.1),
        };
        for at in 0..count {
            let Some((cost, most, ..)) = best[at] else {
                continue;
            };
            if self.live[at] <= limit {
                let way = (cost, most.max(self.live[at]), at, None);
                if better(&best[at + 1], &way) {
                    best[at + 1] = Some(way);
                }
            }
            let chains = candidates.iter().filter(|c| c.segment.first == at);
            for c in chains.filter(|c| c.arena_len <= limit) {
                let way = (cost + c.cost, most.max(c.arena_len), at, Some(c));
                let to = c.segment.last + 1;
                if better(&best[to], &way) {
                    best[to] = Some(way);
                }
            }
        }
        let most = best[count]?.1;
        let (mut at, mut segments) = (count, Vec::new());
        while at > 0 {
            let (_, _, before, chain) = best[at]?;
            segments.extend(chain.map(|c| c.segment));
            at = before;
        }
        segments.reverse();
        Some((segments, most))
    }
}

/// What is alive from node `first` to node `last`.
fn during(buffers: &[Buffer], first: usize, last: usize) -> Vec<Buffer> {
    let part = |p: &Piece| Piece {
        first: p.first.max(first),
        last: p.last.min(last),
        ..p.clone()
    };
    buffers
        .iter()
        .filter_map(|b| {
            let pieces = b
                .pieces
                .iter()
                .filter(|p| p.first <= last && first <= p.last);
            let pieces: Vec<Piece> = pieces.map(part).collect();
            let len = pieces.iter().map(|p| p.end).max()?;
            Some(Buffer { len, pieces })
        })
        .collect()
}

/// Instructions that extra steps and copied bytes cost, roughly: a step over a band sets itself up anew.
pub(in crate::compile) fn cost(steps: u64, copied: u64) -> u64 {
    steps * 2500 + copied
}
