//! Backward: which slices the graph's outputs need.
//!
//! A slice that is kept is kept exactly, also where only its coupling keeps it: every element of the rewritten graph
//! equals the same element before.

use super::Layers;
use super::intervals::Analysis;
use super::layer::Layer;
use super::slices::Slices;
use crate::graph::{Graph, Op, ValueId};
use std::collections::HashMap;

/// For each output channel of a dense layer, the input channels that it cannot do without: those whose contribution is
/// not the same for every pixel and every input. A channel whose result is constant needs none.
fn needed(layer: &Layer, analysis: &Analysis) -> Vec<Vec<usize>> {
    let inputs: Vec<_> = (0..layer.inputs)
        .map(|i| analysis.constant(layer.x, i))
        .collect();
    let of = |o: usize| match analysis.constant(layer.y, o) {
        Some(_) => Vec::new(),
        None => (0..layer.inputs)
            .filter(|&i| layer.contribution(o, i, inputs[i]).is_none())
            .collect(),
    };
    (0..layer.outputs).map(of).collect()
}

/// Which slices stay.
pub(super) struct Liveness {
    kept: Vec<bool>,
}

impl Liveness {
    /// Follows need from the pinned slices back through the layers.
    pub(super) fn new(
        graph: &Graph,
        layers: &Layers,
        analysis: &Analysis,
        slices: &Slices,
    ) -> Liveness {
        let members = slices.members();
        let mut live = Liveness {
            kept: vec![false; members.len()],
        };
        // Groups stay or go as a whole, coupled.
        let dense = layers.values().filter(|layer| layer.groups == 1);
        let dense: HashMap<ValueId, (ValueId, Vec<Vec<usize>>)> = dense
            .map(|layer| (layer.y, (layer.x, needed(layer, analysis))))
            .collect();
        let mut pending = slices.pinned();
        loop {
            while let Some(class) = pending.pop() {
                if std::mem::replace(&mut live.kept[class], true) {
                    continue;
                }
                for &(value, axis, index) in &members[class] {
                    if let Some((x, needed)) = dense.get(&value).filter(|_| axis == 1) {
                        let inputs = needed[index].iter();
                        pending.extend(inputs.map(|&i| slices.class((*x, 1, i))));
                    }
                }
            }
            match live.emptied(graph, slices) {
                Some(class) => pending.push(class),
                None => return live,
            }
        }
    }

    /// The indices that stay along an axis.
    pub(super) fn kept(
        &self,
        graph: &Graph,
        slices: &Slices,
        id: ValueId,
        axis: usize,
    ) -> Vec<usize> {
        let stays = |&i: &usize| self.kept[slices.class((id, axis, i))];
        (0..graph[id].shape[axis]).filter(stays).collect()
    }

    /// Whether anything of a value stays.
    pub(super) fn exists(&self, graph: &Graph, slices: &Slices, id: ValueId) -> bool {
        let mut axes = 0..graph[id].shape.len();
        axes.all(|axis| !self.kept(graph, slices, id, axis).is_empty())
    }

    /// A class to keep because a step that stays would read nothing: kernels take at least one channel.
    fn emptied(&self, graph: &Graph, slices: &Slices) -> Option<usize> {
        let reads_slices = |op: &Op| {
            matches!(
                op,
                Op::Conv2d { .. } | Op::FullyConnected { .. } | Op::Pad { .. }
            )
        };
        let nodes = graph.nodes.iter().filter(|node| reads_slices(&node.op));
        nodes
            .filter(|node| self.exists(graph, slices, node.output))
            .find_map(|node| {
                let x = node.inputs[0];
                let mut axes = 0..graph[x].shape.len();
                let empty = axes.find(|&axis| self.kept(graph, slices, x, axis).is_empty())?;
                Some(slices.class((x, empty, 0)))
            })
    }
}
