//! One convolution becomes two in the graph.

use super::budget::{Cost, allocate};
use super::{LayerSvd, Scheme, TrpError};
use crate::graph::{Clamp, DType, Data, Graph, Node, Op, Value, ValueId, Window};
use crate::passes::macs;
use serde::Serialize;
use std::collections::HashSet;
use std::num::NonZeroUsize;

/// A convolution that can be decomposed: one group, a kernel above 1 × 1, constant float weights.
#[derive(Clone, PartialEq, Debug)]
pub struct Candidate {
    /// Node name.
    pub name: String,
    /// Its result; identifies the node while others are added.
    pub output: ValueId,
    /// Its weight, the parameter that training projects.
    pub weight: ValueId,
    /// `[N, C, kH, kW]`.
    pub shape: [usize; 4],
    /// Multiply-accumulates.
    pub macs: u64,
    /// Multiply-accumulates of both convolutions that replace it, for each rank.
    pub macs_per_rank: u64,
}

/// What happened to a candidate.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct SplitLayer {
    /// Node name.
    pub name: String,
    /// The chosen rank.
    pub rank: usize,
    /// Singular values of its weight, descending.
    pub sigma: Vec<f64>,
    /// Multiply-accumulates before.
    pub macs_before: u64,
    /// Multiply-accumulates now.
    pub macs_after: u64,
    /// Whether it was split: only where that saves multiply-accumulates.
    pub split: bool,
}

/// The convolutions to decompose, in order. The stem (a convolution with no layer before it) is left out, as in the paper,
/// unless `stem` is set.
pub fn candidates(graph: &Graph, scheme: Scheme, stem: bool) -> Vec<Candidate> {
    let mut behind: HashSet<ValueId> = HashSet::new();
    let mut found = Vec::new();
    for node in &graph.nodes {
        let layer = matches!(node.op, Op::Conv2d { .. } | Op::FullyConnected { .. });
        let after = node.inputs.iter().any(|id| behind.contains(id));
        if layer || after {
            behind.insert(node.output);
        }
        if let Some(candidate) = candidate(graph, node, scheme)
            && (after || stem)
        {
            found.push(candidate);
        }
    }
    found
}

fn candidate(graph: &Graph, node: &Node, scheme: Scheme) -> Option<Candidate> {
    let Op::Conv2d {
        window, groups: 1, ..
    } = &node.op
    else {
        return None;
    };
    let weight = *node.inputs.get(1)?;
    let value = &graph[weight];
    let shape = <[usize; 4]>::try_from(value.shape.as_slice()).ok()?;
    if window.kernel == [1, 1] || !matches!(value.data, Some(Data::F32(_))) {
        return None;
    }
    let [n, c, kh, kw] = shape.map(|d| d as u64);
    let [batch, _, height, width] = plane(graph, *node.inputs.first()?)?;
    let [_, _, out_height, out_width] = plane(graph, node.output)?;
    let out = out_height * out_width;
    let per_rank = match scheme {
        Scheme::Channel => c * kh * kw * out + n * out,
        Scheme::Spatial => c * kh * out_height * width + n * kw * out,
        Scheme::Decoupled => n * c * height * width + n * kh * kw * out,
    };
    Some(Candidate {
        name: node.name.clone(),
        output: node.output,
        weight,
        shape,
        macs: macs(graph, node),
        macs_per_rank: batch * per_rank,
    })
}

fn plane(graph: &Graph, id: ValueId) -> Option<[u64; 4]> {
    let shape = <[usize; 4]>::try_from(graph[id].shape.as_slice()).ok()?;
    Some(shape.map(|d| d as u64))
}

/// Decomposes the weight of a candidate.
///
/// # Errors
/// The weight is no longer a constant that fits its shape, or not finite.
pub fn decompose(
    graph: &Graph,
    candidate: &Candidate,
    scheme: Scheme,
) -> Result<LayerSvd, TrpError> {
    match &graph[candidate.weight].data {
        Some(Data::F32(weight)) => LayerSvd::new(weight, candidate.shape, scheme),
        _ => Err(TrpError::NoCandidate(graph[candidate.weight].name.clone())),
    }
}

/// Ranks of `candidates`, in their order, so that the whole graph has at most `budget` multiply-accumulates; those without
/// one stay whole, the others are multiples of `multiple` or full. `decomposed` are the candidates' weights.
///
/// # Errors
/// The budget is out of reach.
pub fn ranks_for_budget(
    graph: &Graph,
    candidates: &[Candidate],
    decomposed: &[LayerSvd],
    budget: u64,
    multiple: NonZeroUsize,
) -> Result<Vec<Option<usize>>, TrpError> {
    let cost = |(c, svd): (&Candidate, &LayerSvd)| Cost {
        sigma: svd.sigma(),
        macs: c.macs,
        macs_per_rank: c.macs_per_rank,
        multiple,
    };
    let costs: Vec<Cost> = candidates.iter().zip(decomposed).map(cost).collect();
    let others = crate::passes::total_macs(graph) - candidates.iter().map(|c| c.macs).sum::<u64>();
    let unreachable = |least| TrpError::Budget { budget, least };
    let left = budget.checked_sub(others).ok_or_else(|| {
        let least = costs
            .iter()
            .map(|c| (c.macs_per_rank * multiple.get() as u64).min(c.macs))
            .sum::<u64>();
        unreachable(others + least)
    })?;
    match allocate(&costs, left) {
        Ok(allocation) => Ok(allocation.ranks),
        Err(TrpError::Budget { least, .. }) => Err(unreachable(others + least)),
        Err(other) => Err(other),
    }
}

/// Splits those of `candidates` for which `choose` gives a rank that saves multiply-accumulates; all others are untouched.
/// What it returns has an entry for every candidate with a rank.
///
/// # Errors
/// A weight cannot be decomposed. The graph is unchanged then.
pub fn split(
    graph: &mut Graph,
    candidates: &[Candidate],
    scheme: Scheme,
    mut choose: impl FnMut(&Candidate, &LayerSvd) -> Option<usize>,
) -> Result<Vec<SplitLayer>, TrpError> {
    let mut result = graph.clone();
    let mut report = Vec::new();
    for candidate in candidates {
        let svd = decompose(&result, candidate, scheme)?;
        let Some(rank) = choose(candidate, &svd) else {
            continue;
        };
        let rank = rank.clamp(1, svd.full_rank());
        let macs_after = rank as u64 * candidate.macs_per_rank;
        let saves = macs_after < candidate.macs;
        if saves {
            replace(&mut result, candidate, scheme, &svd, rank)?;
        }
        report.push(SplitLayer {
            name: candidate.name.clone(),
            rank,
            sigma: svd.sigma(),
            macs_before: candidate.macs,
            macs_after: if saves { macs_after } else { candidate.macs },
            split: saves,
        });
    }
    *graph = result;
    Ok(report)
}

/// [`split()`] by the ranks of a budget: the graph has at most so many multiply-accumulates afterwards.
///
/// # Errors
/// The budget is out of reach, or a weight cannot be decomposed. The graph is unchanged then.
pub fn split_to_budget(
    graph: &mut Graph,
    candidates: &[Candidate],
    scheme: Scheme,
    budget: u64,
    multiple: NonZeroUsize,
) -> Result<Vec<SplitLayer>, TrpError> {
    let decomposed = candidates.iter().map(|c| decompose(graph, c, scheme));
    let decomposed: Vec<LayerSvd> = decomposed.collect::<Result<_, _>>()?;
    let ranks = ranks_for_budget(graph, candidates, &decomposed, budget, multiple)?;
    let mut ranks = ranks.into_iter();
    split(graph, candidates, scheme, |_, _| ranks.next().flatten())
}

fn replace(
    graph: &mut Graph,
    candidate: &Candidate,
    scheme: Scheme,
    svd: &LayerSvd,
    rank: usize,
) -> Result<(), TrpError> {
    let missing = || TrpError::NoCandidate(candidate.name.clone());
    let index = graph.producer(candidate.output).ok_or_else(missing)?;
    let node = graph.nodes[index].clone();
    let Op::Conv2d { window, clamp, .. } = node.op else {
        return Err(missing());
    };
    let factors = svd.factors(rank);
    let (first_window, second_window) = windows(window, scheme);
    let stem = graph[candidate.weight].name.clone();
    let name = graph.unique_name(&format!("{stem}_first"));
    let first_weight = graph.add_constant(
        name,
        factors.first_shape.to_vec(),
        Data::F32(factors.first),
        None,
    );
    let name = graph.unique_name(&format!("{stem}_second"));
    let second_weight = graph.add_constant(
        name,
        factors.second_shape.to_vec(),
        Data::F32(factors.second),
        None,
    );

    let input = graph[node.inputs[0]].shape.clone();
    let output = &graph[node.output].shape;
    let middle_shape = match scheme {
        Scheme::Channel => vec![output[0], factors.first_shape[0], output[2], output[3]],
        Scheme::Spatial => vec![output[0], factors.first_shape[0], output[2], input[3]],
        Scheme::Decoupled => vec![output[0], factors.first_shape[0], input[2], input[3]],
    };
    let name = graph.unique_name(&format!("{}_middle", graph[node.output].name));
    let middle = graph.add_value(Value {
        name,
        shape: middle_shape,
        dtype: DType::F32,
        quantization: None,
        data: None,
    });
    let conv = |window, groups, clamp| Op::Conv2d {
        window,
        groups,
        clamp,
    };
    let first = Node {
        name: format!("{}_first", node.name),
        op: conv(first_window, 1, Clamp::NONE),
        inputs: vec![node.inputs[0], first_weight],
        output: middle,
    };
    let bias = node.inputs.get(2).copied();
    let second = Node {
        name: node.name,
        op: conv(second_window, factors.groups, clamp),
        inputs: [middle, second_weight].into_iter().chain(bias).collect(),
        output: node.output,
    };
    graph.nodes.splice(index..=index, [first, second]);
    Ok(())
}

/// The windows of both convolutions.
fn windows(window: Window, scheme: Scheme) -> (Window, Window) {
    const POINT: Window = Window {
        kernel: [1; 2],
        strides: [1; 2],
        dilations: [1; 2],
        pads: [0; 4],
    };
    let Window {
        kernel: [kh, kw],
        strides: [sh, sw],
        dilations: [dh, dw],
        pads: [t, l, b, r],
    } = window;
    match scheme {
        Scheme::Channel => (window, POINT),
        Scheme::Decoupled => (POINT, window),
        Scheme::Spatial => (
            Window {
                kernel: [kh, 1],
                strides: [sh, 1],
                dilations: [dh, 1],
                pads: [t, 0, b, 0],
            },
            Window {
                kernel: [1, kw],
                strides: [1, sw],
                dilations: [1, dw],
                pads: [0, l, 0, r],
            },
        ),
    }
}

#[cfg(test)]
mod tests;
