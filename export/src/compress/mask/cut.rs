//! Removes channels from a graph.

use super::axes::Channels;
use super::constants::{Constants, floats};
use super::select::Selection;
use crate::graph::{Data, Graph, Node, Op, ValueId};
use crate::passes::{macs, total_macs, total_parameters};
use serde::Serialize;

/// What a cut did.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Cut {
    /// Channels that went; one of a residual stream counts once.
    pub channels: usize,
    /// Multiply-accumulates before and after.
    pub macs: [u64; 2],
    /// Parameters before and after.
    pub parameters: [u64; 2],
    /// Nodes at whose zero-padded border a removed channel's constant was not the constant that has moved into the bias.
    pub inexact: Vec<String>,
}

/// Why a selection cannot be cut.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CutError {
    /// A selected channel must stay.
    #[error("these channels cannot be cut: {0}")]
    Pinned(String),
    /// Nothing would be left of a value.
    #[error("node `{0}` would have no channels left")]
    Empty(String),
}

/// The network that a cut equals: γ = 0 in the normalisations of removed channels, weights 0 in their producers.
pub fn masked(graph: &Graph, channels: &Channels, selection: &Selection) -> Graph {
    let mut masked = graph.clone();
    for node in &graph.nodes {
        let operand = match node.op {
            Op::Conv2d { groups: 1, .. } | Op::FullyConnected { .. } | Op::BatchNorm { .. } => 1,
            _ => continue,
        };
        let Some(axis) = channels.axis(node.output) else {
            continue;
        };
        let removed = selection.removed(axis);
        if removed.contains(&true) {
            let mut data = floats(&masked, node.inputs[operand]).to_vec();
            let row = data.len() / removed.len();
            for (row, _) in data
                .chunks_mut(row.max(1))
                .zip(&removed)
                .filter(|(_, r)| **r)
            {
                row.fill(0.0);
            }
            replace(&mut masked, node.output, operand, None, data);
        }
    }
    masked
}

/// Multiply-accumulates that are left when `selection` is cut out.
pub(super) fn macs_without(graph: &Graph, channels: &Channels, selection: &Selection) -> u64 {
    let left = |id: ValueId| match channels.axis(id) {
        Some(axis) => axis
            .channels
            .iter()
            .filter(|&&c| !selection.removes(c))
            .count() as u64,
        None => 1,
    };
    let all = |id: ValueId| {
        channels
            .axis(id)
            .map_or(1, |a| a.channels.len() as u64)
            .max(1)
    };
    let one = |node: &Node| {
        let whole = macs(graph, node);
        match node.op {
            Op::Conv2d { groups: 1, .. } | Op::FullyConnected { .. } => {
                let x = node.inputs[0];
                whole * left(x) / all(x) * left(node.output) / all(node.output)
            }
            Op::Conv2d { .. } => whole / all(node.output) * left(node.output),
            _ => whole,
        }
    };
    graph.nodes.iter().map(one).sum()
}

/// Cuts the selected channels out of every layer. Parameters keep their [`ValueId`]s unless several nodes shared them.
///
/// What a removed channel still emitted (β behind its normalisation, through the activation) moves into the running mean of
/// the next normalisation, or the next layer's bias: exact, but for zero-padded borders ([`Cut::inexact`]).
///
/// # Errors
/// A channel must stay, or a value would have none. The graph is unchanged then.
pub fn cut(graph: &mut Graph, channels: &Channels, selection: &Selection) -> Result<Cut, CutError> {
    let constants = Constants::follow(graph, channels, selection);
    cut_with(graph, channels, selection, constants)
}

/// Cuts channels that a gate behind their activation holds at zero: nothing of them is left to move.
///
/// # Errors
/// As [`cut()`].
pub fn cut_gated(
    graph: &mut Graph,
    channels: &Channels,
    selection: &Selection,
) -> Result<Cut, CutError> {
    cut_with(graph, channels, selection, Constants::default())
}

fn cut_with(
    graph: &mut Graph,
    channels: &Channels,
    selection: &Selection,
    mut constants: Constants,
) -> Result<Cut, CutError> {
    for group in channels.groups() {
        if let Some(reason) = &group.pinned
            && group.channels.iter().any(|&c| selection.removes(c))
        {
            return Err(CutError::Pinned(reason.clone()));
        }
    }
    let keeps = |id: ValueId| -> Option<Vec<bool>> {
        let axis = channels.axis(id)?;
        let keep: Vec<bool> = axis
            .channels
            .iter()
            .map(|&c| !selection.removes(c))
            .collect();
        keep.contains(&false).then_some(keep)
    };
    for node in &graph.nodes {
        if keeps(node.output).is_some_and(|k| !k.contains(&true)) {
            return Err(CutError::Empty(node.name.clone()));
        }
    }
    let before = (total_macs(graph), total_parameters(graph));
    let mut result = graph.clone();
    move_constants(graph, &mut result, &mut constants);
    for node in &graph.nodes {
        cut_node(graph, &mut result, node, channels, &keeps);
    }
    for (i, value) in result
        .values
        .iter_mut()
        .enumerate()
        .take(graph.values.len())
    {
        if let (Some(axis), Some(keep)) = (channels.axis(ValueId(i)), keeps(ValueId(i))) {
            value.shape[axis.axis] = keep.iter().filter(|&&k| k).count();
        }
    }
    *graph = result;
    Ok(Cut {
        channels: selection.len(),
        macs: [before.0, total_macs(graph)],
        parameters: [before.1, total_parameters(graph)],
        inexact: constants.inexact.into_iter().collect(),
    })
}

/// Adds to each layer what the removed channels of its operand contribute.
fn move_constants(graph: &Graph, result: &mut Graph, constants: &mut Constants) {
    for node in &graph.nodes {
        let window = match &node.op {
            Op::Conv2d {
                window, groups: 1, ..
            } => Some(window),
            Op::FullyConnected { .. } => None,
            _ => continue,
        };
        let Some(values) = constants
            .get(node.inputs[0])
            .filter(|v| v.iter().any(|&c| c != 0.0))
        else {
            continue;
        };
        let weight = floats(graph, node.inputs[1]);
        let rows = graph[node.inputs[1]].shape[0];
        let taps = weight.len() / (rows * values.len()).max(1);
        let contribution = |row: &[f32]| -> f64 {
            let one =
                |(taps, &c): (&[f32], &f64)| taps.iter().map(|&w| f64::from(w)).sum::<f64>() * c;
            row.chunks(taps.max(1)).zip(values).map(one).sum()
        };
        let deltas: Vec<f64> = weight
            .chunks((weight.len() / rows.max(1)).max(1))
            .map(contribution)
            .collect();
        if window.is_some_and(|w| w.pads != [0; 4]) {
            constants.inexact.insert(node.name.clone());
        }
        add(result, node.output, &deltas);
    }
}

/// Adds `deltas` to the result of a layer: to its bias, or where a normalisation alone reads it, to the running mean.
fn add(graph: &mut Graph, output: ValueId, deltas: &[f64]) {
    let readers = graph.consumers(output);
    if let [reader] = readers[..]
        && !graph.is_output(output)
        && matches!(graph.nodes[reader].op, Op::BatchNorm { .. })
        && matches!(layer_clamp(graph, output), Some(true))
    {
        let node = &graph.nodes[reader];
        let (normalised, mean) = (node.output, floats(graph, node.inputs[3]));
        let mean = mean
            .iter()
            .zip(deltas)
            .map(|(&m, d)| (f64::from(m) - d) as f32)
            .collect();
        return replace(graph, normalised, 3, None, mean);
    }
    let Some(index) = graph.producer(output) else {
        return;
    };
    if let Some(&bias) = graph.nodes[index].inputs.get(2) {
        let bias = floats(graph, bias)
            .iter()
            .zip(deltas)
            .map(|(&b, d)| (f64::from(b) + d) as f32)
            .collect();
        replace(graph, output, 2, None, bias);
    } else {
        let name = graph.unique_name(&format!("{}_bias", graph.nodes[index].name));
        let data = Data::F32(deltas.iter().map(|&d| d as f32).collect());
        let id = graph.add_constant(name, vec![deltas.len()], data, None);
        graph.nodes[index].inputs.push(id);
    }
}

/// Whether the layer with this result has no activation of its own.
fn layer_clamp(graph: &Graph, output: ValueId) -> Option<bool> {
    match graph.nodes[graph.producer(output)?].op {
        Op::Conv2d { clamp, .. } | Op::FullyConnected { clamp } => Some(clamp.is_none()),
        _ => None,
    }
}

fn cut_node(
    graph: &Graph,
    result: &mut Graph,
    node: &Node,
    channels: &Channels,
    keeps: &impl Fn(ValueId) -> Option<Vec<bool>>,
) {
    let output = node.output;
    let (outputs, inputs) = (keeps(output), node.inputs.first().and_then(|&x| keeps(x)));
    match &node.op {
        Op::Conv2d { groups, .. } => {
            trim(result, output, 1, 0, outputs.as_deref());
            trim(result, output, 2, 0, outputs.as_deref());
            if *groups == 1 {
                trim(result, output, 1, 1, inputs.as_deref());
            } else if let (Some(keep), Some(i)) = (&inputs, result.producer(output))
                && let Op::Conv2d { groups, .. } = &mut result.nodes[i].op
            {
                *groups = keep.iter().filter(|&&k| k).count();
            }
        }
        Op::FullyConnected { .. } => {
            trim(result, output, 1, 0, outputs.as_deref());
            trim(result, output, 2, 0, outputs.as_deref());
            trim(result, output, 1, 1, inputs.as_deref());
        }
        Op::BatchNorm { .. } => {
            (1..=4).for_each(|i| trim(result, output, i, 0, outputs.as_deref()))
        }
        Op::Binary { .. } => {
            let rank = graph[output].shape.len();
            let axis = channels.axis(output).map_or(0, |a| a.axis);
            for (i, &id) in node.inputs.iter().enumerate() {
                let shape = &graph[id].shape;
                if channels.axis(id).is_none()
                    && let Some(axis) = (axis + shape.len()).checked_sub(rank)
                    && shape.get(axis).is_some_and(|&d| d > 1)
                {
                    trim(result, output, i, axis, outputs.as_deref());
                }
            }
        }
        Op::Slice { axis, start } => {
            if let (Some(keep), Some(x)) = (&inputs, channels.axis(node.inputs[0]))
                && x.axis == *axis
                && let Some(i) = result.producer(output)
                && let Op::Slice { start: now, .. } = &mut result.nodes[i].op
            {
                *now = keep[..*start].iter().filter(|&&k| k).count();
            }
        }
        _ => {}
    }
}

/// Keeps some indices along one axis of a constant operand.
fn trim(graph: &mut Graph, output: ValueId, operand: usize, axis: usize, keep: Option<&[bool]>) {
    let Some(keep) = keep else {
        return;
    };
    let node = graph.producer(output).map(|i| &graph.nodes[i]);
    let Some(id) = node.and_then(|n| n.inputs.get(operand).copied()) else {
        return;
    };
    let mut shape = graph[id].shape.clone();
    let inner: usize = shape[axis + 1..].iter().product();
    let kept = |i: &usize| keep[i / inner.max(1) % keep.len()];
    let data = floats(graph, id);
    let data = (0..data.len()).filter(kept).map(|i| data[i]).collect();
    shape[axis] = keep.iter().filter(|&&k| k).count();
    replace(graph, output, operand, Some(shape), data);
}

/// Replaces a constant operand of the node with this result: in place, or by a new one where others read it.
fn replace(
    graph: &mut Graph,
    output: ValueId,
    operand: usize,
    shape: Option<Vec<usize>>,
    data: Vec<f32>,
) {
    let Some(index) = graph.producer(output) else {
        return;
    };
    let id = graph.nodes[index].inputs[operand];
    let uses = graph
        .nodes
        .iter()
        .flat_map(|n| &n.inputs)
        .filter(|&&i| i == id)
        .count();
    let shape = shape.unwrap_or_else(|| graph[id].shape.clone());
    if uses == 1 {
        graph[id].shape = shape;
        graph[id].data = Some(Data::F32(data));
    } else {
        let name = graph.unique_name(&graph[id].name.clone());
        graph.nodes[index].inputs[operand] = graph.add_constant(name, shape, Data::F32(data), None);
    }
}
