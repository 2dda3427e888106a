//! Channels with the same producers and normalisations are a group.

use super::axes::{Axis, Channel};
use crate::graph::{Data, Graph, Op, ValueId};
use std::collections::{BTreeMap, HashMap};

/// A layer or normalisation that writes into a group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// The node's result, which identifies it.
    pub output: ValueId,
    /// For each channel of the group the indices among the node's outputs: one, or several behind a depthwise convolution
    /// with a multiplier.
    pub indices: Vec<Vec<usize>>,
}

/// Channels that are decided on together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Group {
    /// The channels.
    pub channels: Vec<Channel>,
    /// Convolutions and fully connected layers that compute them.
    pub producers: Vec<Member>,
    /// Batch normalisations over them.
    pub norms: Vec<Member>,
    /// Why they cannot be cut; `None` if they can.
    pub pinned: Option<String>,
}

impl Group {
    /// Whether several layers write into one stream.
    pub fn is_residual(&self) -> bool {
        self.producers.len() > 1
    }

    /// γ of each normalisation for each channel; of several the one of largest magnitude.
    pub fn gammas(&self, graph: &Graph) -> Vec<Vec<f32>> {
        let largest = |gamma: &[f32], indices: &[usize]| {
            indices
                .iter()
                .map(|&i| gamma[i])
                .fold(0.0f32, |m, g| if g.abs() > m.abs() { g } else { m })
        };
        let of = |member: &Member| {
            let gamma = gamma(graph, member.output).map_or(&[][..], |(_, g)| g);
            member.indices.iter().map(|i| largest(gamma, i)).collect()
        };
        self.norms.iter().map(of).collect()
    }
}

/// The γ of the batch normalisation with this result.
pub(super) fn gamma(graph: &Graph, output: ValueId) -> Option<(ValueId, &[f32])> {
    let node = &graph.nodes[graph.producer(output)?];
    let id = *node.inputs.get(1)?;
    match (&node.op, &graph[id].data) {
        (Op::BatchNorm { .. }, Some(Data::F32(gamma))) => Some((id, gamma)),
        _ => None,
    }
}

/// Nodes of a channel in the graph's order (normalisation or not), and why it cannot go.
type Signature = (Vec<(usize, bool)>, Option<String>);

pub(super) fn collect(
    graph: &Graph,
    axes: &HashMap<ValueId, Axis>,
    pins: &[Option<String>],
) -> Vec<Group> {
    // For each channel: where it is made and normalised.
    let mut places: BTreeMap<Channel, BTreeMap<usize, Vec<usize>>> = BTreeMap::new();
    for (position, node) in graph.nodes.iter().enumerate() {
        let makes = match node.op {
            Op::Conv2d { groups, .. } => groups == 1,
            Op::FullyConnected { .. } | Op::BatchNorm { .. } => true,
            _ => false,
        };
        if let Some(axis) = axes.get(&node.output)
            && makes
        {
            for (index, &channel) in axis.channels.iter().enumerate() {
                places
                    .entry(channel)
                    .or_default()
                    .entry(position)
                    .or_default()
                    .push(index);
            }
        }
    }
    let is_norm = |position: usize| matches!(graph.nodes[position].op, Op::BatchNorm { .. });
    let mut groups: BTreeMap<Signature, Vec<Channel>> = BTreeMap::new();
    for (&channel, at) in &places {
        let nodes: Vec<(usize, bool)> = at.keys().map(|&p| (p, is_norm(p))).collect();
        if nodes.iter().any(|(_, norm)| !norm) {
            groups
                .entry((nodes, pins[channel].clone()))
                .or_default()
                .push(channel);
        }
    }
    let group = |((nodes, pinned), channels): (Signature, Vec<Channel>)| {
        let members = |norm: bool| {
            let of = |&(position, _): &(usize, bool)| Member {
                output: graph.nodes[position].output,
                indices: channels
                    .iter()
                    .map(|c| places[c][&position].clone())
                    .collect(),
            };
            nodes.iter().filter(|n| n.1 == norm).map(of).collect()
        };
        Group {
            producers: members(false),
            norms: members(true),
            pinned,
            channels: channels.clone(),
        }
    };
    groups.into_iter().map(group).collect()
}
