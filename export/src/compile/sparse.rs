//! Int8 layers that store and multiply only the weights that are not zero, where the target's measurements say that this takes
//! fewer instructions than all of them.

use super::cost::{self, Work};
use super::facts::{Facts, Result};
use super::layers::{self, Layer, WORTHWHILE};
use super::packing::{Packed, Weights};
use super::planned::Planned;
use super::storage::Needs;
use super::{CompileOptions, StoredWeights, Tiling, coded};
use crate::graph::{Graph, Node, Op, ValueId};
use kinglet::format::OpCode;
use kinglet::kernels::scratch::Form;
use kinglet::kernels::sparse;
use serde::Serialize;

/// Which int8 layers have sparse weights.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Sparse {
    /// Those that take a tenth fewer instructions so, within 25 % more arena. None where the target was not measured.
    #[default]
    Auto,
    /// Every one that can.
    Always,
    /// None.
    Never,
}

/// What zero weights do for a plan.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Layers of which a quarter of the weights are zero at least, in the order of execution.
    pub layers: Vec<LayerReport>,
}

/// Both ways of running a layer.
#[derive(Clone, Debug, Serialize)]
pub struct LayerReport {
    /// ONNX node.
    pub node: String,
    /// Number of weights.
    pub weights: u64,
    /// Share of the weights that are not zero.
    pub density: f64,
    /// The density below which sparse weights take fewer instructions on this target, in this layer; `None` where it was not measured.
    pub break_even: Option<f64>,
    /// Predicted instructions of an inference with all weights.
    pub dense_instructions: Option<u64>,
    /// Predicted instructions of an inference with those that are not zero.
    pub sparse_instructions: Option<u64>,
    /// Whether the plan has them sparse.
    pub sparse: bool,
}

/// A layer that could be sparse, with all the nodes that have its weights: the bands of a convolution.
struct Candidate {
    nodes: Vec<usize>,
    code: OpCode,
    constants: Packed,
    scratch: usize,
    report: LayerReport,
}

/// Share of zero weights from which a layer is looked at.
const ZEROS: f64 = 0.25;

/// Makes the layers sparse that `options` want so.
pub(super) fn sparse(
    mut planned: Planned,
    options: &CompileOptions,
) -> Result<(Planned, Option<Report>)> {
    // Codes of zeros take less flash than entries.
    if options.sparse == Sparse::Never || options.weights == StoredWeights::Coded {
        return Ok((planned, None));
    }
    let mut candidates = candidates(&planned, options)?;
    // With none of them the plan is what it was.
    if candidates.iter().any(|c| c.report.sparse) {
        let limit = match options.sparse {
            Sparse::Always => usize::MAX,
            // Memory is what counts then.
            _ if options.tiling == Tiling::Smallest && options.arena_limit.is_none() => {
                planned.placement.arena_len
            }
            _ => coded::arena_limit(&planned, options),
        };
        apply_within(&mut planned, &mut candidates, limit);
    }
    let looked_at = |c: &Candidate| c.report.sparse || c.report.density <= 1.0 - ZEROS;
    let layers: Vec<LayerReport> = candidates
        .into_iter()
        .filter(looked_at)
        .map(|c| c.report)
        .collect();
    Ok((planned, (!layers.is_empty()).then_some(Report { layers })))
}

/// Makes the chosen layers sparse; while the arena is larger than `limit`, the one that takes most working memory is chosen no more.
fn apply_within(planned: &mut Planned, candidates: &mut [Candidate], limit: usize) {
    let dense = std::mem::take(&mut planned.layers.layers);
    loop {
        planned.layers.layers = dense.clone();
        for candidate in candidates.iter().filter(|c| c.report.sparse) {
            for t in &candidate.nodes {
                if let Some(layer) = planned.layers.layers.get_mut(t) {
                    apply(layer, candidate);
                }
            }
        }
        planned.place();
        if planned.placement.arena_len <= limit {
            break;
        }
        let chosen = candidates.iter_mut().filter(|c| c.report.sparse);
        match chosen.max_by_key(|c| c.scratch) {
            Some(candidate) => candidate.report.sparse = false,
            None => break,
        }
    }
}

fn apply(layer: &mut Layer, candidate: &Candidate) {
    layer.code = candidate.code;
    layer.constants = candidate.constants.clone();
    layer.needs = Needs {
        scratch: candidate.scratch,
        in_place: false,
    };
}

impl Candidate {
    /// With the weights of `node`, which is not among its nodes yet; `None` where they have no sparse form.
    fn new(facts: Facts<'_>, node: &Node, code: OpCode) -> Result<Option<Candidate>> {
        let Some(plain) = layers::plain_constants(facts, node)? else {
            return Ok(None);
        };
        let (Some(constants), Weights::I8(weights)) = (pack(&plain), &plain.weights) else {
            return Ok(None);
        };
        let kept = weights.iter().filter(|w| **w != 0).count();
        Ok(Some(Candidate {
            nodes: Vec::new(),
            code,
            constants,
            scratch: 0,
            report: LayerReport {
                node: node.name.clone(),
                weights: weights.len() as u64,
                density: kept as f64 / weights.len().max(1) as f64,
                break_even: None,
                dense_instructions: Some(0),
                sparse_instructions: Some(0),
                sparse: false,
            },
        }))
    }

    /// Adds node `t`, which takes so much working memory and costs.
    fn add(&mut self, t: usize, scratch: usize, costs: &Costs) {
        let report = &mut self.report;
        if self.nodes.is_empty() {
            report.break_even = costs.break_even;
        }
        self.nodes.push(t);
        self.scratch = self.scratch.max(scratch);
        let add = |a: &mut Option<u64>, b: Option<u64>| *a = a.zip(b).map(|(a, b)| a + b);
        add(&mut report.dense_instructions, costs.dense);
        add(&mut report.sparse_instructions, costs.sparse);
    }
}

fn candidates(planned: &Planned, options: &CompileOptions) -> Result<Vec<Candidate>> {
    let graph = &planned.arranged.graph;
    let facts = Facts { graph };
    let mut found: Vec<(ValueId, Candidate)> = Vec::new();
    for (t, node) in graph.nodes.iter().enumerate() {
        let Some(layer) = planned.layers.layers.get(&t).filter(|l| !l.grouped) else {
            continue;
        };
        let Some(code) = code(layer.code, node) else {
            continue;
        };
        let weights = node.inputs[1];
        let same = |(w, c): &(_, Candidate)| *w == weights && c.code == code;
        let index = match found.iter().position(same) {
            Some(index) => index,
            None => {
                let Some(candidate) = Candidate::new(facts, node, code)? else {
                    continue;
                };
                found.push((weights, candidate));
                found.len() - 1
            }
        };
        let candidate = &mut found[index].1;
        let scratch = layer.geometry.as_ref().and_then(sparse::conv_scratch);
        let work = Work::of(graph, node);
        let counts = [entry_count(&candidate.constants), candidate.report.weights];
        let costs = costs(&work, options, layer.code, code, counts);
        candidate.add(t, scratch.unwrap_or(0), &costs);
    }
    let mut candidates: Vec<Candidate> = found.into_iter().map(|(_, c)| c).collect();
    for Candidate { report, .. } in &mut candidates {
        report.sparse = match (
            options.sparse,
            report.dense_instructions,
            report.sparse_instructions,
        ) {
            (Sparse::Always, ..) => true,
            (Sparse::Auto, Some(dense), Some(sparse)) => {
                (sparse as f64) < dense as f64 * (1.0 - WORTHWHILE)
            }
            _ => false,
        };
    }
    Ok(candidates)
}

/// The layer's operator with sparse weights; `None` where there is none.
fn code(layer: OpCode, node: &Node) -> Option<OpCode> {
    use OpCode as O;
    match (layer, &node.op) {
        (
            O::ConvI8W16
            | O::ConvI8Wide
            | O::ConvAddI8Wide
            | O::FullyConnectedI8Wide
            | O::FullyConnectedI8W16,
            _,
        ) => None,
        (
            O::ConvAddI8
            | O::ConvAddI8Split
            | O::ConvAddI8Quad
            | O::ConvAddI8Helium
            | O::ConvAddI8Octet,
            _,
        ) => Some(O::ConvAddI8Sparse),
        (_, Op::Conv2d { groups: 1, .. }) => Some(O::ConvI8Sparse),
        (_, Op::FullyConnected { .. }) => Some(O::FullyConnectedI8Sparse),
        _ => None,
    }
}

struct Costs {
    dense: Option<u64>,
    sparse: Option<u64>,
    break_even: Option<f64>,
}

/// Instructions of the layer both ways, if `entries` weights are stored.
fn costs(
    work: &Work,
    options: &CompileOptions,
    dense: OpCode,
    sparse: OpCode,
    entries: [u64; 2],
) -> Costs {
    let costs = cost::costs(options.target);
    let [entries, weights] = entries.map(|n| n.max(1));
    // Multiplications of all weights are those of the layer; entries take their share of them.
    let with = |entries: u64| Work {
        macs: work.macs * entries / weights,
        ..*work
    };
    let of = |code: OpCode, work: &Work| costs.and_then(|c| c.step(code.name(), work));
    let dense = of(dense, work);
    let ends = (of(sparse, &with(0)), of(sparse, &with(weights)));
    let break_even = match (dense, ends) {
        (Some(dense), (Some(none), Some(all))) if all > none => {
            Some(((dense as f64 - none as f64) / (all as f64 - none as f64)).clamp(0.0, 1.0))
        }
        _ => None,
    };
    Costs {
        dense,
        sparse: of(sparse, &with(entries)),
        break_even,
    }
}

/// How many entries a layer with sparse weights has, and how many weights there would be; `None` for all others.
pub(super) fn entries(layer: &Layer, node: &Node, graph: &Graph) -> Option<[u64; 2]> {
    let weights = graph[node.inputs[1]].len().max(1) as u64;
    let sparse = Form::of(layer.code) == Form::Sparse;
    sparse.then(|| [entry_count(&layer.constants), weights])
}

/// How many entries packed weights have; each channel's count is none of them.
fn entry_count(packed: &Packed) -> u64 {
    match &packed.weights {
        Weights::I16(stream) => stream.len().saturating_sub(packed.bias.len()) as u64,
        _ => 0,
    }
}

/// Plain weights as entries, see [`sparse`](kinglet::kernels::sparse); `None` for weights of 16 bits and channels of too many.
fn pack(plain: &Packed) -> Option<Packed> {
    let Weights::I8(weights) = &plain.weights else {
        return None;
    };
    let taps = weights.len().checked_div(plain.bias.len())?.max(1);
    let mut stream = Vec::new();
    for row in weights.chunks(taps) {
        let (start, mut before) = (stream.len(), 0);
        stream.push(0);
        for (tap, &w) in row.iter().enumerate().filter(|(_, w)| **w != 0) {
            while tap - before > usize::from(u8::MAX) {
                stream.push(i16::from(u8::MAX));
                before += usize::from(u8::MAX);
            }
            stream.push(i16::from(w) << 8 | (tap - before) as i16);
            before = tap;
        }
        stream[start] = u16::try_from(stream.len() - start - 1).ok()? as i16;
    }
    Some(Packed {
        weights: Weights::I16(stream),
        bias: plain.bias.clone(),
        multipliers: plain.multipliers.clone(),
    })
}
