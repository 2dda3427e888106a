//! The graph without the slices that go.

use super::Layers;
use super::intervals::Analysis;
use super::layer::Layer;
use super::liveness::Liveness;
use super::slices::Slices;
use crate::graph::{Data, Graph, Node, Op, Quantization, ValueId};
use std::collections::HashMap;

/// The indices that stay along each axis of a value from which something goes.
pub(super) type Cut = Vec<Vec<usize>>;

/// Cuts every value, constant and layer; what stays of each value that lost something, and those that are gone.
pub(super) fn rewrite(
    graph: &Graph,
    layers: &Layers,
    analysis: &Analysis,
    slices: &Slices,
    live: &Liveness,
) -> (Graph, HashMap<ValueId, Cut>) {
    let mut cuts = HashMap::new();
    let touched = graph
        .nodes
        .iter()
        .flat_map(|n| n.inputs.iter().chain([&n.output]));
    for &id in touched {
        let shape = &graph[id].shape;
        let cut: Cut = (0..shape.len())
            .map(|axis| live.kept(graph, slices, id, axis))
            .collect();
        if cut.iter().zip(shape).any(|(kept, &dim)| kept.len() < dim) {
            cuts.insert(id, cut);
        }
    }
    let mut result = graph.clone();
    for (&id, cut) in &cuts {
        let value = &mut result[id];
        if let Some(data) = &value.data {
            value.data = Some(gather(data, &graph[id].shape, cut));
        }
        value.shape = cut.iter().map(Vec::len).collect();
    }
    for (t, node) in graph.nodes.iter().enumerate() {
        let Some(layer) = layers.get(&t) else {
            result.nodes[t].op = cut_op(graph, node, &cuts);
            continue;
        };
        if !cuts.contains_key(&layer.x) && !cuts.contains_key(&layer.y) {
            continue;
        }
        let cutter = LayerCutter {
            layer,
            analysis,
            outputs: live.kept(graph, slices, layer.y, 1),
            inputs: live.kept(graph, slices, layer.x, 1),
        };
        if !cutter.outputs.is_empty() {
            cutter.cut(graph, &mut result, t);
        }
    }
    let empty = |g: &Graph, id: &ValueId| g[*id].is_empty();
    let mut nodes = std::mem::take(&mut result.nodes);
    nodes.retain(|node| !empty(&result, &node.output));
    for node in &mut nodes {
        if matches!(node.op, Op::Concat { .. }) {
            node.inputs.retain(|id| !empty(&result, id));
        }
    }
    result.nodes = nodes;
    (result, cuts)
}

/// The elements of `data` at the indices that stay.
pub(super) fn gather(data: &Data, shape: &[usize], cut: &[Vec<usize>]) -> Data {
    fn pick<T: Copy>(data: &[T], shape: &[usize], cut: &[Vec<usize>]) -> Vec<T> {
        let (Some((&dim, inner)), Some((kept, rest))) = (shape.split_first(), cut.split_first())
        else {
            return data.to_vec();
        };
        let block = data.len() / dim.max(1);
        let blocks = kept.iter().map(|&i| &data[i * block..(i + 1) * block]);
        blocks.flat_map(|part| pick(part, inner, rest)).collect()
    }
    match data {
        Data::F32(v) => Data::F32(pick(v, shape, cut)),
        Data::I8(v) => Data::I8(pick(v, shape, cut)),
        Data::U8(v) => Data::U8(pick(v, shape, cut)),
        Data::I32(v) => Data::I32(pick(v, shape, cut)),
        Data::I64(v) => Data::I64(pick(v, shape, cut)),
    }
}

/// The operator over what stays: padding along a cut axis is kept or not like anything else, and a slice begins behind
/// what stays before it.
fn cut_op(graph: &Graph, node: &Node, cuts: &HashMap<ValueId, Cut>) -> Op {
    if let (Op::Slice { axis, start }, Some(cut)) = (&node.op, cuts.get(&node.inputs[0])) {
        return Op::Slice {
            axis: *axis,
            start: cut[*axis].iter().filter(|i| *i < start).count(),
        };
    }
    let (
        Op::Pad {
            before,
            after,
            value,
        },
        Some(cut),
    ) = (&node.op, cuts.get(&node.output))
    else {
        return node.op.clone();
    };
    let shape = &graph[node.inputs[0]].shape;
    let among = |axis: usize, range: std::ops::Range<usize>| {
        cut[axis].iter().filter(|i| range.contains(i)).count()
    };
    Op::Pad {
        before: (0..shape.len())
            .map(|axis| among(axis, 0..before[axis]))
            .collect(),
        after: (0..shape.len())
            .map(|axis| {
                let start = before[axis] + shape[axis];
                among(axis, start..start + after[axis])
            })
            .collect(),
        value: *value,
    }
}

/// A layer over some of its channels.
struct LayerCutter<'a> {
    layer: &'a Layer,
    analysis: &'a Analysis,
    outputs: Vec<usize>,
    inputs: Vec<usize>,
}

impl LayerCutter<'_> {
    /// Gives node `t` of `result` its new weights, bias and groups.
    fn cut(&self, graph: &Graph, result: &mut Graph, t: usize) {
        let layer = self.layer;
        let (mut weights, mut bias) = (Vec::new(), Vec::new());
        for &o in &self.outputs {
            let (row, b) = self.channel(o);
            weights.extend(row);
            bias.push(b);
        }
        let w = &graph[graph.nodes[t].inputs[1]];
        let inputs = if layer.groups == 1 {
            self.inputs.len()
        } else {
            layer.inputs
        };
        let mut shape = vec![self.outputs.len(), inputs];
        shape.extend(&w.shape[2..]);
        let scales = w.quantization.clone().map(|q| self.of_outputs(q));
        let data = narrowest(weights);
        let weights = result.add_constant(unique(result, &w.name), shape, data, scales.clone());
        let name = match graph.nodes[t].inputs.get(2) {
            Some(&b) => graph[b].name.clone(),
            None => format!("{}_bias", w.name),
        };
        let x_scale = graph[layer.x]
            .quantization
            .as_ref()
            .map_or(1.0, |q| q.scales[0]);
        let units = scales.map(|q| Quantization {
            scales: q.scales.iter().map(|s| s * x_scale).collect(),
            ..q
        });
        let shape = vec![bias.len()];
        let bias = result.add_constant(unique(result, &name), shape, Data::I32(bias), units);
        let node = &mut result.nodes[t];
        node.inputs.truncate(1);
        node.inputs.extend([weights, bias]);
        if let Op::Conv2d { groups, .. } = &mut node.op
            && layer.groups > 1
        {
            *groups = self.inputs.len() / layer.inputs;
        }
    }

    /// Weights and bias of output channel `o`: constant inputs that go are added to the bias.
    fn channel(&self, o: usize) -> (Vec<i32>, i32) {
        let layer = self.layer;
        if layer.groups > 1 {
            let all = (0..layer.inputs).flat_map(|i| layer.weights(o, i));
            return (all.copied().collect(), layer.bias[o]);
        }
        let row = self.inputs.iter().flat_map(|&i| layer.weights(o, i));
        let gone = (0..layer.inputs).filter(|i| self.inputs.binary_search(i).is_err());
        let moved: Option<i32> = gone
            .map(|i| layer.contribution(o, i, self.analysis.constant(layer.x, i)))
            .sum();
        match moved {
            Some(moved) => (row.copied().collect(), layer.bias[o] + moved),
            // The result is constant, so any accumulator that it can come from will do.
            None => {
                let bias = self.analysis.accumulator(layer.y, o);
                (vec![0; row.count()], bias.unwrap_or(layer.bias[o]))
            }
        }
    }

    fn of_outputs(&self, q: Quantization) -> Quantization {
        if q.scales.len() == 1 {
            return q;
        }
        Quantization {
            scales: self.outputs.iter().map(|&o| q.scales[o]).collect(),
            ..q
        }
    }
}

/// As bytes where they fit.
fn narrowest(weights: Vec<i32>) -> Data {
    let bytes: Result<Vec<i8>, _> = weights.iter().map(|&w| i8::try_from(w)).collect();
    bytes.map_or(Data::I32(weights), Data::I8)
}

fn unique(graph: &Graph, name: &str) -> String {
    format!("{name} ({})", graph.values.len())
}
