//! A graph with its kernels chosen and its memory laid out, tiled as far as wanted.

use super::facts::{Facts, Result};
use super::layers::{self, Layers};
use super::layout::Arranged;
use super::memory::{self, Placement};
use super::storage::Storage;
use super::tiling::{self, Choice, Segment, Untiled};
use super::{Chain, CompileError, CompileOptions, Target, Tiled, Tiling, views};
use crate::graph::Node;
use crate::passes::total_macs;

/// Everything that emission needs.
#[derive(Clone)]
pub(super) struct Planned {
    pub(super) arranged: Arranged,
    pub(super) layers: Layers,
    pub(super) storage: Storage,
    pub(super) placement: Placement,
}

impl Planned {
    fn new(arranged: Arranged, options: &CompileOptions) -> Result<Planned> {
        let facts = Facts {
            graph: &arranged.graph,
        };
        let layers = layers::choose(facts, &arranged.bands, options)?;
        let storage = Storage::plan(
            &arranged.graph,
            &arranged.bands,
            &layers.needs(),
            &layers.residuals,
        );
        let placement = memory::place(&storage.buffers);
        Ok(Planned {
            arranged,
            layers,
            storage,
            placement,
        })
    }

    /// Nodes that become steps of their own. Only differences mean something: views and concatenations are not seen.
    fn step_count(&self) -> usize {
        self.arranged.graph.nodes.len() - self.layers.residuals.len()
    }

    /// Lays the memory out anew, after layers have changed.
    pub(super) fn place(&mut self) {
        let (graph, bands) = (&self.arranged.graph, &self.arranged.bands);
        let (needs, residuals) = (self.layers.needs(), &self.layers.residuals);
        self.storage = Storage::plan(graph, bands, &needs, residuals);
        self.placement = memory::place(&self.storage.buffers);
    }

    /// Whether the node writes where it reads.
    pub(super) fn in_place(&self, node: &Node) -> bool {
        let buffer = |id| self.storage.places.get(&id).map(|p| p.buffer);
        let input = node.inputs.first().copied().and_then(buffer);
        input.is_some() && input == buffer(node.output)
    }

    pub(super) fn peak_node(&self) -> String {
        let nodes = &self.arranged.graph.nodes;
        let (peak, _) = memory::peak(&self.storage.buffers, nodes.len());
        nodes.get(peak).map_or_else(String::new, |n| n.name.clone())
    }
}

/// Chooses kernels, places and tilings.
pub(super) fn plan(
    arranged: Arranged,
    options: &CompileOptions,
) -> Result<(Planned, Option<Tiled>)> {
    let mut arranged = arranged;
    // The host shows every tensor in a place of its own: calibration and verification look at them.
    if options.target != Target::Host {
        arranged.bands.views = views::concatenated(&arranged.graph);
    }
    let untiled = Planned::new(arranged, options)?;
    let limit = options.arena_limit.unwrap_or(usize::MAX);
    let fits = |p: &Planned| p.placement.arena_len <= limit;
    let limited = options.arena_limit.is_some();
    let unwanted = options.tiling == Tiling::Off
        || (options.tiling == Tiling::Auto && options.target == Target::Host);
    if (limited && fits(&untiled)) || (!limited && unwanted) {
        return Ok((untiled, None));
    }
    let arranged = &untiled.arranged;
    let facts = Facts {
        graph: &arranged.graph,
    };
    let choices = tiling::choices(&Untiled {
        arranged,
        needs: &untiled.layers.needs(),
        residuals: &untiled.layers.residuals,
        can_add: &|t| layers::can_add(facts, t, options),
    });
    let order: Vec<&Choice> = if limited {
        choices.iter().skip(1).collect()
    } else {
        // A multiplication takes about as many instructions as there are multiplications.
        options.tiling.order(&choices, total_macs(&arranged.graph))
    };
    let mut smallest = (untiled.placement.arena_len, untiled.peak_node());
    for choice in order {
        let tiled = tiling::tile(arranged, &choice.segments).arranged;
        let planned = Planned::new(tiled, options)?;
        let arena_len = planned.placement.arena_len;
        if arena_len < smallest.0 {
            smallest = (arena_len, planned.peak_node());
        }
        if fits(&planned) && arena_len < untiled.placement.arena_len {
            let report = report(&untiled, &planned, choice);
            return Ok((planned, Some(report)));
        }
    }
    if limited {
        let (smallest, node) = smallest;
        return Err(CompileError::ArenaLimit {
            limit,
            smallest,
            node,
        });
    }
    Ok((untiled, None))
}

fn report(untiled: &Planned, tiled: &Planned, choice: &Choice) -> Tiled {
    let graph = &untiled.arranged.graph;
    let chain = |s: &Segment| {
        let rows = graph[graph.nodes[s.last].output].shape[1];
        Chain {
            first: graph.nodes[s.first].name.clone(),
            last: graph.nodes[s.last].name.clone(),
            rows: s.height,
            bands: rows.div_ceil(s.height),
        }
    };
    Tiled {
        chains: choice.segments.iter().map(chain).collect(),
        untiled_arena_len: untiled.placement.arena_len,
        extra_steps: tiled.step_count().saturating_sub(untiled.step_count()) as u64,
        copied_bytes: choice.copied,
    }
}
