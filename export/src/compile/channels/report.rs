//! What was removed, and why.

use super::Layers;
use super::intervals::Analysis;
use super::liveness::Liveness;
use super::slices::{Slice, Slices};
use crate::graph::{DType, Graph, Node, Op, ValueId};
use crate::passes::{macs, op_name};
use serde::Serialize;
use std::collections::{BTreeSet, HashMap};

/// All int8 layers, before and after.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// One entry a layer, in order.
    pub layers: Vec<LayerReport>,
    /// Multiply-accumulates of the whole graph before and after.
    pub macs: [u64; 2],
    /// Weights of the whole graph before and after, biases not counted.
    pub weights: [u64; 2],
}

/// One layer.
#[derive(Clone, Debug, Serialize)]
pub struct LayerReport {
    /// ONNX node.
    pub node: String,
    /// Operator.
    pub operator: &'static str,
    /// The tensor that it computes.
    pub output: String,
    /// Its output channels before and after.
    pub channels: [usize; 2],
    /// Its multiply-accumulates before and after.
    pub macs: [u64; 2],
    /// Its weights before and after, biases not counted.
    pub weights: [u64; 2],
    /// Its output channels that went.
    pub removed: Vec<RemovedChannel>,
    #[serde(skip)]
    value: ValueId,
}

/// A channel that went.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct RemovedChannel {
    /// Its index in the model's tensor.
    pub channel: usize,
    /// Why.
    #[serde(flatten)]
    pub reason: Reason,
}

/// Why a channel went.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case", tag = "reason")]
pub enum Reason {
    /// It has one value, whatever the input is.
    Constant {
        /// The byte.
        value: i32,
        /// The layers into whose biases it was moved; none where it meets zero weights or is the zero point.
        into: Vec<String>,
    },
    /// It only feeds a channel that is constant.
    FeedsConstant {
        /// The tensor in which it is.
        tensor: String,
    },
    /// No layer that is left reads it: all have zero weights for it.
    Unread {
        /// The layers that could.
        by: Vec<String>,
    },
}

impl Report {
    pub(super) fn new(graph: &Graph) -> Report {
        let layers = graph.nodes.iter().filter(|node| is_layer(graph, node));
        let layers = layers.map(|node| LayerReport {
            node: node.name.clone(),
            operator: op_name(&node.op),
            output: graph[node.output].name.clone(),
            channels: [channels(graph, node.output), 0],
            macs: [macs(graph, node), 0],
            weights: [weights(graph, node), 0],
            removed: Vec::new(),
            value: node.output,
        });
        Report {
            layers: layers.collect(),
            macs: [total(graph, macs), 0],
            weights: [total(graph, weights), 0],
        }
    }

    /// Notes what one round removes from `graph`; `kept` says where its channels were at first.
    pub(super) fn add(
        &mut self,
        graph: &Graph,
        layers: &Layers,
        analysis: &Analysis,
        slices: &Slices,
        live: &Liveness,
        kept: &HashMap<ValueId, Vec<Vec<usize>>>,
    ) {
        let members = slices.members();
        for layer in layers.values() {
            let Some(entry) = self.layers.iter_mut().find(|l| l.value == layer.y) else {
                continue;
            };
            let stays = live.kept(graph, slices, layer.y, 1);
            let gone = (0..layer.outputs).filter(|o| stays.binary_search(o).is_err());
            for o in gone {
                let round = Round {
                    graph,
                    layers,
                    analysis,
                    slices,
                    live,
                };
                let reason = round.reason(layer.y, o, &members[slices.class((layer.y, 1, o))]);
                let channel = kept.get(&layer.y).map_or(o, |indices| indices[1][o]);
                entry.removed.push(RemovedChannel { channel, reason });
            }
        }
    }

    /// Notes what is left.
    pub(super) fn finish(&mut self, graph: &Graph) {
        for entry in &mut self.layers {
            let Some(node) = graph.producer(entry.value).map(|t| &graph.nodes[t]) else {
                continue;
            };
            entry.channels[1] = channels(graph, node.output);
            entry.macs[1] = macs(graph, node);
            entry.weights[1] = weights(graph, node);
            entry.removed.sort_by_key(|r| r.channel);
        }
        self.macs[1] = total(graph, macs);
        self.weights[1] = total(graph, weights);
    }

    /// Whether anything went.
    pub fn is_empty(&self) -> bool {
        self.layers.iter().all(|l| l.channels[0] == l.channels[1])
    }
}

/// One round of the search, to ask why.
struct Round<'a> {
    graph: &'a Graph,
    layers: &'a Layers,
    analysis: &'a Analysis,
    slices: &'a Slices,
    live: &'a Liveness,
}

impl Round<'_> {
    /// Why channel `o` of a layer's result `y` went with `class`.
    fn reason(&self, y: ValueId, o: usize, class: &[Slice]) -> Reason {
        let graph = self.graph;
        let dense = |t: &usize| self.layers[t].groups == 1;
        let readers = || {
            let of_class = |&(id, axis, i): &Slice| {
                let readers = graph.consumers(id).into_iter();
                let layers = readers.filter(move |t| axis == 1 && self.layers.contains_key(t));
                layers.map(move |t| (t, i))
            };
            class.iter().flat_map(of_class).filter(|(t, _)| dense(t))
        };
        let names = |of: &mut dyn Iterator<Item = usize>| -> Vec<String> {
            let found: BTreeSet<usize> = of.collect();
            found.iter().map(|&t| graph.nodes[t].name.clone()).collect()
        };
        if let Some(value) = self.analysis.constant(y, o) {
            let into = |&(t, i): &(usize, usize)| {
                let layer = &self.layers[&t];
                let input = self.analysis.constant(layer.x, i);
                let outputs = self.live.kept(graph, self.slices, layer.y, 1);
                let moves = |&o: &usize| layer.contribution(o, i, input).is_some_and(|c| c != 0);
                outputs.iter().any(moves)
            };
            return Reason::Constant {
                value,
                into: names(&mut readers().filter(into).map(|(t, _)| t)),
            };
        }
        let constant = class
            .iter()
            .find(|&&(id, axis, i)| axis == 1 && self.analysis.constant(id, i).is_some());
        match constant {
            Some(&(id, ..)) => Reason::FeedsConstant {
                tensor: graph[id].name.clone(),
            },
            None => Reason::Unread {
                by: names(&mut readers().map(|(t, _)| t)),
            },
        }
    }
}

fn is_layer(graph: &Graph, node: &Node) -> bool {
    matches!(node.op, Op::Conv2d { .. } | Op::FullyConnected { .. })
        && graph[node.output].dtype == DType::I8
}

fn channels(graph: &Graph, id: ValueId) -> usize {
    graph[id].shape.get(1).copied().unwrap_or(0)
}

fn weights(graph: &Graph, node: &Node) -> u64 {
    match node.op {
        Op::Conv2d { .. } | Op::FullyConnected { .. } => graph[node.inputs[1]].len() as u64,
        _ => 0,
    }
}

fn total(graph: &Graph, of: impl Fn(&Graph, &Node) -> u64) -> u64 {
    graph.nodes.iter().map(|node| of(graph, node)).sum()
}
