//! Int8 layers that store and multiply only the weights that are not zero, where the target's measurements say that this takes
//! fewer instructions than all of them.

use super::cost::{self, Work};
use super::facts::{Facts, Result};
use super::layers::{self, Layer, WORTHWHILE};
use super::packing::{Packed, Weights};
use super::planned::Planned;
use super::storage::Needs;
use super::{CompileOptions, StoredWeights, coded};
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
    let before = planned.placement.arena_len;
    let more = (before as f64 * (1.0 + coded::ARENA_SHARE)) as usize;
    let limit = options.arena_limit.map_or(more, |limit| limit.max(before));
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
        if options.sparse == Sparse::Always || planned.placement.arena_len <= limit {
            break;
        }
        let chosen = candidates.iter_mut().filter(|c| c.report.sparse);
        match chosen.max_by_key(|c| c.scratch) {
            Some(candidate) => candidate.report.sparse = false,
            None => break,
        }
    }
    let looked_at = |c: &Candidate| c.report.sparse || c.report.density <= 1.0 - ZEROS;
    let layers: Vec<LayerReport> = candidates
        .into_iter()
        .filter(looked_at)
        .map(|c| c.report)
        .collect();
    Ok((planned, (!layers.is_empty()).then_some(Report { layers })))
}

fn apply(layer: &mut Layer, candidate: &Candidate) {
    layer.code = candidate.code;
    layer.constants = candidate.constants.clone();
    layer.needs = Needs {
        scratch: candidate.scratch,
        in_place: false,
    };
}

fn candidates(planned: &Planned, options: &CompileOptions) -> Result<Vec<Candidate>> {
    let graph = &planned.arranged.graph;
    let facts = Facts { graph };
    let mut found: Vec<(ValueId, Candidate)> = Vec::new();
    for (t, node) in graph.nodes.iter().enumerate() {
        let Some(layer) = planned.layers.layers.get(&t).filter(|l| !l.grouped) else {
            continue;
        };
        let (Some(code), Some(plain)) = (
            code(layer.code, node),
            layers::plain_constants(facts, node)?,
        ) else {
            continue;
        };
        let weights = node.inputs[1];
        let scratch = layer
            .geometry
            .as_ref()
            .and_then(sparse::conv_scratch)
            .unwrap_or(0);
        let costs = costs(
            &Work::of(graph, node),
            options,
            layer.code,
            code,
            entries_of(&plain),
        );
        let same = |(w, c): &&mut (_, Candidate)| *w == weights && c.code == code;
        if let Some((_, candidate)) = found.iter_mut().find(same) {
            candidate.nodes.push(t);
            candidate.scratch = candidate.scratch.max(scratch);
            let add = |a: &mut Option<u64>, b: Option<u64>| *a = a.zip(b).map(|(a, b)| a + b);
            add(&mut candidate.report.dense_instructions, costs.dense);
            add(&mut candidate.report.sparse_instructions, costs.sparse);
            continue;
        }
        let Some(constants) = pack(&plain) else {
            continue;
        };
        let Weights::I8(all) = &plain.weights else {
            continue;
        };
        let kept = all.iter().filter(|w| **w != 0).count();
        found.push((
            weights,
            Candidate {
                nodes: vec![t],
                code,
                constants,
                scratch,
                report: LayerReport {
                    node: node.name.clone(),
                    weights: all.len() as u64,
                    density: kept as f64 / all.len().max(1) as f64,
                    break_even: costs.break_even,
                    dense_instructions: costs.dense,
                    sparse_instructions: costs.sparse,
                    sparse: false,
                },
            },
        ));
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
    entries: [usize; 2],
) -> Costs {
    let costs = cost::costs(options.target);
    let [entries, weights] = entries.map(|n| n.max(1) as u64);
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
    let Weights::I16(entries) = &layer.constants.weights else {
        return None;
    };
    let entries = entries.len().saturating_sub(layer.constants.bias.len()) as u64;
    let weights = graph[node.inputs[1]].len().max(1) as u64;
    (Form::of(layer.code) == Form::Sparse).then_some([entries, weights])
}

/// How many entries the weights take, and how many weights there are.
fn entries_of(plain: &Packed) -> [usize; 2] {
    let entries = pack(plain).map_or(0, |packed| match packed.weights {
        Weights::I16(entries) => entries.len().saturating_sub(plain.bias.len()),
        _ => 0,
    });
    match &plain.weights {
        Weights::I8(weights) => [entries, weights.len()],
        _ => [0, 0],
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
