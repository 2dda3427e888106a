//! Channels that compute nothing are cut out of int8 layers: constant ones move into the biases behind them, and what
//! nobody reads is not computed. Bit for bit the same outputs, for every input.
//!
//! Forward, `intervals` finds for every element the bytes that it can have; one byte is a constant. `slices` says
//! which channels stand or fall together, and `liveness` which the outputs need, backward from them. `rewrite` makes
//! the smaller graph, and `report` says what went and why.

mod intervals;
mod layer;
mod liveness;
mod report;
mod rewrite;
mod slices;
#[cfg(test)]
mod tests;

pub use report::{LayerReport, Reason, RemovedChannel, Report};

use crate::graph::{Data, Graph, ValueId};
use intervals::Analysis;
use layer::Layer;
use liveness::Liveness;
use serde::Serialize;
use slices::Slices;
use std::collections::{BTreeMap, HashMap};

/// Int8 layers by node.
type Layers = BTreeMap<usize, Layer>;

/// What is left of a tensor of the model.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Kept {
    /// The tensor's shape in the model.
    pub shape: Vec<usize>,
    /// The indices that are left, for each axis.
    pub indices: Vec<Vec<usize>>,
}

impl Kept {
    /// What is left of the tensor's elements; `None` when their number is not that of the shape.
    pub fn pick(&self, tensor: &Data) -> Option<Data> {
        let whole = tensor.len() == self.shape.iter().product::<usize>();
        whole.then(|| rewrite::gather(tensor, &self.shape, &self.indices))
    }
}

/// A graph without the channels that compute nothing.
#[derive(Clone, Debug)]
pub struct Elimination {
    /// The smaller graph. Inputs and outputs keep their shapes, values their names.
    pub graph: Graph,
    /// What is left of each tensor that lost something, by name.
    pub kept: HashMap<String, Kept>,
    /// What went, and why.
    pub report: Report,
}

/// Cuts constant and dead channels out of the int8 layers of a graph in ONNX's layout.
pub fn eliminate(graph: &Graph) -> Elimination {
    let mut current = graph.clone();
    current.remove_dead_nodes();
    let mut kept: HashMap<ValueId, Vec<Vec<usize>>> = HashMap::new();
    let mut report = Report::new(&current);
    loop {
        let layers: Layers = (current.nodes.iter().enumerate())
            .filter_map(|(t, node)| Some((t, Layer::of(&current, node)?)))
            .collect();
        if layers.is_empty() {
            break;
        }
        let analysis = Analysis::new(&current, &layers);
        let slices = Slices::new(&current, &layers);
        let live = Liveness::new(&current, &layers, &analysis, &slices);
        let (mut next, cuts) = rewrite::rewrite(&current, &layers, &analysis, &slices, &live);
        if cuts.is_empty() {
            break;
        }
        report.add(&current, &layers, &analysis, &slices, &live, &kept);
        for (id, cut) in cuts {
            let shape = &current[id].shape;
            let before = kept
                .remove(&id)
                .unwrap_or_else(|| shape.iter().map(|&dim| (0..dim).collect()).collect());
            let pick = |(before, cut): (Vec<usize>, Vec<usize>)| {
                cut.into_iter().map(|i| before[i]).collect()
            };
            kept.insert(id, before.into_iter().zip(cut).map(pick).collect());
        }
        next.remove_dead_nodes();
        current = next;
    }
    report.finish(&current);
    let kept = kept
        .into_iter()
        .filter(|(id, _)| graph[*id].data.is_none())
        .map(|(id, indices)| {
            let (name, shape) = (graph[id].name.clone(), graph[id].shape.clone());
            (name, Kept { shape, indices })
        });
    Elimination {
        kept: kept.collect(),
        graph: current,
        report,
    }
}
