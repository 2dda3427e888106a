//! Int8 layers whose weights are stored otherwise than their kernels read them, and decoded, tile by tile, when they run:
//! entropy-coded bytes, where that is wanted, and 16-bit weights with a codebook, wherever 256 values are enough.
//!
//! It is decided last, when everything else is: where the arena has room beside what a layer reads and writes anyway, its
//! tile (the output channels that are decoded at a time) may be large.

mod cost;
mod encode;

pub use cost::STACK;

use super::emit;
use super::facts::{Facts, Result};
use super::layers::Layer;
use super::memory;
use super::planned::Planned;
use super::{CompileError, CompileOptions};
use crate::graph::{Node, ValueId};
use cost::Costs;
use encode::{Shape, Source};
use kinglet::format::{self, OpCode, Span};
use kinglet::kernels::coded::Memory;
use kinglet::kernels::scratch::Form;
use serde::Serialize;
use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::rc::Rc;

/// How the weights of int8 layers are stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum StoredWeights {
    /// A byte a weight, packed as the kernels read them; 16-bit weights of no more than 256 values take a byte and a codebook.
    #[default]
    Plain,
    /// Entropy-coded, in every layer whose codes take fewer bytes.
    Coded,
    /// Entropy-coded in the layers that save most for their instructions, as long as all together cost no more than a share of the
    /// plan's instructions (`--decoding`) and 25 % more arena. None where decoding was not measured.
    Auto,
}

/// Share of a plan's instructions that [`StoredWeights::Auto`] may add if nothing else is said.
pub const AUTO_SHARE: f64 = 0.35;

/// Share of a plan's arena that [`StoredWeights::Auto`] may add, and within which tiles are as large as they can be.
pub const ARENA_SHARE: f64 = 0.25;

/// Values that a codebook has room for.
const CODES: usize = 256;

/// A code of weights.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Code {
    /// exp-Golomb codes of this order.
    Golomb(u32),
    /// Places in a table of at most [`CODES`] values, ascending.
    Codebook(Rc<Vec<i16>>),
}

impl Code {
    fn name(&self) -> CodeName {
        match self {
            Code::Golomb(order) => CodeName::ExpGolomb { order: *order },
            Code::Codebook(_) => CodeName::Codebook,
        }
    }
}

/// How weights are coded.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(tag = "code", rename_all = "kebab-case")]
pub enum CodeName {
    /// In as few bits as they need.
    ExpGolomb {
        /// Order of the codes.
        order: u32,
    },
    /// A byte each, which is looked up in a table of 16-bit numbers.
    Codebook,
}

/// How a layer's weights are coded.
#[derive(Clone, Debug)]
pub(super) struct Coding {
    code: Code,
    tile: usize,
    instructions: Option<u64>,
}

impl Coding {
    /// The record, and the operator that it is for. `table` puts a codebook into the plan.
    pub(super) fn record(
        &self,
        layer: OpCode,
        table: impl FnOnce(&[i16]) -> Span,
    ) -> (OpCode, format::Coding) {
        let (operator, order, table) = match &self.code {
            Code::Golomb(order) => (OpCode::Coded, *order, Span::new(0, 0)),
            Code::Codebook(values) => {
                let mut all = values.to_vec();
                all.resize(CODES, 0);
                (OpCode::Codebook, 0, table(&all))
            }
        };
        let coding = format::Coding {
            layer: (layer as u16).into(),
            order: (order as u16).into(),
            tile: (self.tile as u32).into(),
            table,
        };
        (operator, coding)
    }

    pub(super) fn step(&self) -> CodedStep {
        CodedStep {
            code: self.code.name(),
            tile: self.tile,
            instructions: self.instructions,
        }
    }
}

/// A step that decodes its weights.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct CodedStep {
    /// How.
    #[serde(flatten)]
    pub code: CodeName,
    /// Output channels that are decoded at a time.
    pub tile: usize,
    /// Instructions, decoding included; `None` where the target was not measured.
    pub instructions: Option<u64>,
}

/// Both forms of a plan's weights.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Layers with weights of at most eight bits, except depthwise and grouped ones, in the order of execution.
    pub layers: Vec<LayerReport>,
    /// Bytes of arena if all weights were plain.
    pub plain_arena_len: usize,
}

/// Both forms of a layer's weights.
#[derive(Clone, Debug, Serialize)]
pub struct LayerReport {
    /// ONNX node.
    pub node: String,
    /// Output channels.
    pub channels: usize,
    /// Number of weights.
    pub weights: u64,
    /// Bytes of plain weights, packed for the target.
    pub plain_bytes: u64,
    /// Bytes of coded weights.
    pub coded_bytes: u64,
    /// Bits of a coded weight.
    pub bits_per_weight: f64,
    /// How the coded ones are coded.
    #[serde(flatten)]
    pub code: CodeName,
    /// Output channels that are decoded at a time.
    pub tile: usize,
    /// Whether the plan has them coded.
    pub coded: bool,
    /// Predicted instructions of an inference with plain weights.
    pub plain_instructions: Option<u64>,
    /// Predicted instructions of an inference with coded weights.
    pub coded_instructions: Option<u64>,
}

impl Report {
    /// Number of weights of all its layers.
    pub fn weights(&self) -> u64 {
        self.layers.iter().map(|l| l.weights).sum()
    }

    /// Bytes of all plain weights, and of all weights as they are in the plan.
    pub fn bytes(&self) -> [u64; 2] {
        let stored = |l: &LayerReport| {
            if l.coded {
                l.coded_bytes
            } else {
                l.plain_bytes
            }
        };
        [
            self.layers.iter().map(|l| l.plain_bytes).sum(),
            self.layers.iter().map(stored).sum(),
        ]
    }

    /// Instructions of all these layers with plain weights, and as they are in the plan.
    pub fn instructions(&self) -> Option<[u64; 2]> {
        let sum = |coded: bool| -> Option<u64> {
            let of = |l: &LayerReport| match coded && l.coded {
                true => l.coded_instructions,
                false => l.plain_instructions,
            };
            self.layers.iter().map(of).sum()
        };
        Some([sum(false)?, sum(true)?])
    }
}

/// A layer that could be coded, with all the nodes that have its weights: the bands of a convolution share them.
struct Candidate {
    nodes: Vec<usize>,
    source: Source,
    code: Code,
    tile: usize,
    /// Most working memory that a node of it takes.
    memory: usize,
    /// Bytes of codes.
    bytes: usize,
    instructions: Vec<Option<[u64; 2]>>,
    chosen: bool,
}

impl Candidate {
    /// Instructions of all its nodes with plain weights and with coded ones.
    fn total(&self) -> Option<[u64; 2]> {
        let mut sum = [0, 0];
        for node in &self.instructions {
            let [plain, coded] = (*node)?;
            sum = [sum[0] + plain, sum[1] + coded];
        }
        Some(sum)
    }

    /// Bytes of weights that coding saves.
    fn saved(&self) -> usize {
        self.source.plain_bytes().saturating_sub(self.bytes)
    }

    /// Bytes of the plan that coding saves at least: constants are aligned, and each node's record gets longer.
    fn saved_in_plan(&self) -> usize {
        let stored = |bytes: usize| bytes.next_multiple_of(format::ALIGNMENT);
        let records = self.nodes.len() * size_of::<format::Coding>();
        let coded = stored(self.bytes) + stored(records);
        stored(self.source.plain_bytes()).saturating_sub(coded)
    }
}

/// Codes the weights of the layers that `options` want coded.
pub(super) fn code(
    mut planned: Planned,
    options: &CompileOptions,
) -> Result<(Planned, Option<Report>)> {
    let plain_arena_len = planned.placement.arena_len;
    let arena = Arena::of(&planned, options);
    let mut candidates = candidates(&planned, options, &arena)?;
    if candidates.is_empty() && options.weights == StoredWeights::Plain {
        return Ok((planned, None));
    }
    for candidate in &mut candidates {
        candidate.chosen = match candidate.code {
            Code::Codebook(_) => true,
            Code::Golomb(_) => options.weights == StoredWeights::Coded && candidate.saved() > 0,
        };
    }
    if options.weights == StoredWeights::Auto {
        let steps = emit::emit(planned.clone())?.steps;
        let plain = super::cost::costs(options.target).and_then(|c| c.inference(&steps));
        let share = options.decoding_share.unwrap_or(AUTO_SHARE);
        let budget = plain.unwrap_or(0) as f64 * share;
        choose(&mut candidates, budget as u64, &planned, &arena);
    }
    let plain_layers = std::mem::take(&mut planned.layers.layers);
    loop {
        planned.layers.layers = plain_layers.clone();
        for candidate in candidates.iter().filter(|c| c.chosen) {
            for (&t, instructions) in candidate.nodes.iter().zip(&candidate.instructions) {
                if let Some(layer) = planned.layers.layers.get_mut(&t) {
                    let coding = Coding {
                        code: candidate.code.clone(),
                        tile: candidate.tile,
                        instructions: instructions.map(|[_, coded]| coded),
                    };
                    apply(&planned.arranged.graph.nodes[t], layer, candidate, coding)?;
                }
            }
        }
        planned.place();
        let arena_len = planned.placement.arena_len;
        if options.weights != StoredWeights::Auto || arena_len <= arena.limit {
            break;
        }
        // What was a step in place may be in the way now: the layer that takes most goes back.
        let coded = |c: &&mut Candidate| c.chosen && matches!(c.code, Code::Golomb(_));
        let chosen = candidates.iter_mut().filter(coded);
        match chosen.max_by_key(|c| c.memory) {
            Some(candidate) => candidate.chosen = false,
            None => break,
        }
    }
    if let Some(limit) = options.arena_limit
        && planned.placement.arena_len > limit
    {
        return Err(CompileError::ArenaLimit {
            limit,
            smallest: planned.placement.arena_len,
            node: planned.peak_node(),
        });
    }
    let report = Report {
        layers: candidates.iter().map(|c| report(&planned, c)).collect(),
        plain_arena_len,
    };
    Ok((planned, Some(report)))
}

/// The arena of the plan with plain weights.
struct Arena {
    /// Bytes for which tiles are made to fit: a quarter more than with plain weights, if nobody wants less.
    limit: usize,
    /// Bytes in use at each node.
    in_use: Vec<usize>,
}

/// Bytes of arena that a choice of weights may take, which was planned without it: a quarter more, or what `options` allow.
pub(super) fn arena_limit(planned: &Planned, options: &CompileOptions) -> usize {
    let arena_len = planned.placement.arena_len;
    let more = (arena_len as f64 * (1.0 + ARENA_SHARE)) as usize;
    let limit = options.arena_limit;
    limit.map_or(more, |limit| limit.max(arena_len))
}

impl Arena {
    fn of(plain: &Planned, options: &CompileOptions) -> Arena {
        Arena {
            limit: arena_limit(plain, options),
            in_use: memory::live(&plain.storage.buffers, plain.arranged.graph.nodes.len()),
        }
    }

    /// Bytes that node `t` may take for its working memory, which is `own` now.
    fn room(&self, t: usize, own: usize) -> usize {
        (self.limit + own).saturating_sub(self.in_use.get(t).copied().unwrap_or(0))
    }
}

/// Gives `layer` its codes instead of its weights.
fn apply(node: &Node, layer: &mut Layer, candidate: &Candidate, coding: Coding) -> Result<()> {
    let memory = memory_of(node, layer, &candidate.source, coding.tile)?;
    layer.constants = candidate.source.encoded(&candidate.code, candidate.tile);
    layer.needs.scratch = memory;
    layer.needs.in_place = false;
    layer.coding = Some(coding);
    Ok(())
}

/// Working memory of a layer that is coded by tiles of so many channels.
fn memory_of(node: &Node, layer: &Layer, source: &Source, tile: usize) -> Result<usize> {
    let Shape { taps, channels } = source.shape;
    let tile = NonZeroUsize::new(tile).unwrap_or(NonZeroUsize::MIN);
    let memory = match &layer.geometry {
        Some(geometry) => Memory::conv(source.form, geometry, source.adds, tile),
        None => Memory::dense(source.form, taps, channels, tile),
    };
    memory
        .and_then(|m| m.bytes())
        .ok_or(CompileError::TooLarge {
            node: node.name.clone(),
            what: "working memory",
            value: usize::MAX,
        })
}

/// All layers that could be coded, each with the largest tile for which the arena has room.
fn candidates(
    planned: &Planned,
    options: &CompileOptions,
    arena: &Arena,
) -> Result<Vec<Candidate>> {
    let graph = &planned.arranged.graph;
    let facts = Facts { graph };
    let costs = Costs::new(options.target);
    let mut found: Vec<(ValueId, OpCode, Candidate)> = Vec::new();
    for (t, node) in graph.nodes.iter().enumerate() {
        let Some(layer) = planned.layers.layers.get(&t) else {
            continue;
        };
        let shape = &facts.value(node.inputs[1]).shape;
        let Some(source) = Source::new(layer, shape) else {
            continue;
        };
        if options.weights == StoredWeights::Plain && source.form != Form::Wide {
            continue;
        }
        let mut room = arena.room(t, layer.needs.scratch);
        if planned.in_place(node) {
            room = room.saturating_sub(facts.value(node.output).len());
        }
        // Fewer channels take less for their weights, but more for their results.
        let blocks = source.shape.channels.div_ceil(4);
        let mut best: Option<(usize, usize)> = None;
        for tiles in 1..=blocks {
            let tile = blocks.div_ceil(tiles) * 4;
            let memory = memory_of(node, layer, &source, tile)?;
            if best.is_none_or(|(_, least)| memory < least) {
                best = Some((tile, memory));
            }
            if memory <= room {
                break;
            }
        }
        let Some((tile, memory)) = best else {
            continue;
        };
        let weights = node.inputs[1];
        let shares =
            |(w, code, _): &&mut (ValueId, OpCode, Candidate)| *w == weights && *code == layer.code;
        match found.iter_mut().find(shares) {
            Some((_, _, candidate)) => {
                candidate.nodes.push(t);
                candidate.tile = candidate.tile.min(tile);
                candidate.memory = candidate.memory.max(memory);
            }
            None => {
                let candidate = Candidate {
                    nodes: vec![t],
                    code: match source.form {
                        Form::Wide => Code::Codebook(Rc::default()),
                        _ => source.best_order(),
                    },
                    source,
                    tile,
                    memory,
                    bytes: 0,
                    instructions: Vec::new(),
                    chosen: false,
                };
                found.push((weights, layer.code, candidate));
            }
        }
    }
    let mut candidates: Vec<Candidate> = found.into_iter().map(|(_, _, c)| c).collect();
    give_codebooks(&mut candidates);
    for candidate in &mut candidates {
        let codes = candidate.source.codes(&candidate.code, candidate.tile);
        candidate.bytes = codes.bytes.len();
        candidate.instructions = candidate
            .nodes
            .iter()
            .map(|&t| {
                let code = planned.layers.layers.get(&t)?.code.name();
                let Candidate { source, tile, .. } = &*candidate;
                costs.as_ref()?.layer(graph, code, t, source, *tile, &codes)
            })
            .collect();
    }
    Ok(candidates)
}

/// Gives layers of 16-bit weights their codebooks, which they share as long as 256 values are enough; those that have more values
/// stay as they are.
fn give_codebooks(candidates: &mut Vec<Candidate>) {
    let wide = |c: &Candidate| matches!(c.code, Code::Codebook(_));
    candidates.retain(|c| !wide(c) || c.source.values().len() <= CODES);
    let mut books: Vec<(BTreeSet<i32>, Vec<usize>)> = Vec::new();
    for (index, candidate) in candidates.iter().enumerate().filter(|(_, c)| wide(c)) {
        let values = candidate.source.values();
        let fits =
            |(book, _): &&mut (BTreeSet<i32>, Vec<usize>)| book.union(&values).count() <= CODES;
        match books.iter_mut().find(fits) {
            Some((book, users)) => {
                book.extend(values);
                users.push(index);
            }
            None => books.push((values, vec![index])),
        }
    }
    for (book, users) in books {
        let values = Rc::new(book.into_iter().map(|w| w as i16).collect());
        for index in users {
            candidates[index].code = Code::Codebook(Rc::clone(&values));
        }
    }
}

/// Chooses the candidates that save most for their instructions, within a budget of these and the arena.
fn choose(candidates: &mut [Candidate], mut budget: u64, planned: &Planned, arena: &Arena) {
    let fits = |c: &Candidate| {
        c.nodes.iter().all(|&t| {
            let own = planned.layers.layers.get(&t).map_or(0, |l| l.needs.scratch);
            c.memory <= arena.room(t, own)
        })
    };
    let extra = |c: &Candidate| {
        c.total()
            .map(|[plain, coded]| coded.saturating_sub(plain).max(1))
    };
    let open = |c: &&mut Candidate| !c.chosen && c.saved_in_plan() > 0;
    let mut order: Vec<&mut Candidate> = candidates.iter_mut().filter(open).collect();
    let worth =
        |c: &Candidate| extra(c).map_or(0.0, |extra| c.saved_in_plan() as f64 / extra as f64);
    order.sort_by(|a, b| worth(b).total_cmp(&worth(a)));
    for candidate in order {
        if let Some(extra) = extra(candidate)
            && extra <= budget
            && fits(candidate)
        {
            candidate.chosen = true;
            budget -= extra;
        }
    }
}

fn report(planned: &Planned, candidate: &Candidate) -> LayerReport {
    let weights = candidate.source.shape.weights() as u64;
    let total = candidate.total();
    let node = candidate.nodes.first();
    let node = node.map(|&t| planned.arranged.graph.nodes[t].name.clone());
    LayerReport {
        node: node.unwrap_or_default(),
        channels: candidate.source.shape.channels,
        weights,
        plain_bytes: candidate.source.plain_bytes() as u64,
        coded_bytes: candidate.bytes as u64,
        bits_per_weight: candidate.bytes as f64 * 8.0 / weights as f64,
        code: candidate.code.name(),
        tile: candidate.tile,
        coded: candidate.chosen,
        plain_instructions: total.map(|[plain, _]| plain),
        coded_instructions: total.map(|[_, coded]| coded),
    }
}

/// Whether the layer is a convolution that adds a residual.
fn adds(code: OpCode) -> bool {
    use OpCode as O;
    matches!(
        code,
        O::ConvAddI8 | O::ConvAddI8Split | O::ConvAddI8Quad | O::ConvAddI8Helium | O::ConvAddI8Wide
    )
}
