//! Batch normalisation disappears into the layer before it, or becomes a multiplication and an addition.

use super::{absorb, private_producer};
use crate::graph::{Binary, Clamp, DType, Data, Graph, Node, Op, Value, ValueId};

fn floats(graph: &Graph, id: ValueId) -> Option<&[f32]> {
    match &graph[id].data {
        Some(Data::F32(v)) => Some(v),
        _ => None,
    }
}

/// `scale·x + shift` per channel, in f64.
fn affine(graph: &Graph, node: &Node) -> Option<(Vec<f64>, Vec<f64>)> {
    let Op::BatchNorm { epsilon } = node.op else {
        return None;
    };
    let [scale, bias, mean, variance] = [1, 2, 3, 4].map(|i| floats(graph, *node.inputs.get(i)?));
    let (scale, bias, mean, variance) = (scale?, bias?, mean?, variance?);
    let factors: Vec<f64> = scale
        .iter()
        .zip(variance)
        .map(|(&s, &v)| f64::from(s) / (f64::from(v) + f64::from(epsilon)).sqrt())
        .collect();
    let shifts = factors.iter().zip(bias.iter().zip(mean));
    let shifts = shifts
        .map(|(f, (&b, &m))| f64::from(b) - f * f64::from(m))
        .collect();
    Some((factors, shifts))
}

/// The layer whose output channels are exactly those of the batch-norm's input, with float weights of its own.
fn layer_before(graph: &Graph, node: &Node) -> Option<usize> {
    let x = node.inputs[0];
    let i = private_producer(graph, x)?;
    let layer = &graph.nodes[i];
    let clamp = match layer.op {
        Op::Conv2d { clamp, .. } | Op::FullyConnected { clamp } => clamp,
        _ => return None,
    };
    let same_channels = graph[layer.output].shape.get(..2) == graph[x].shape.get(..2);
    let foldable = layer.inputs[1..]
        .iter()
        .all(|&id| floats(graph, id).is_some());
    (clamp.is_none() && same_channels && foldable).then_some(i)
}

/// Folds every batch normalisation; afterwards there is none.
pub fn fold_batch_norm(graph: &mut Graph) {
    let mut i = 0;
    while i < graph.nodes.len() {
        let node = graph.nodes[i].clone();
        let Some((factors, shifts)) = affine(graph, &node) else {
            i += 1;
            continue;
        };
        match layer_before(graph, &node) {
            Some(layer) => {
                fold(graph, layer, &factors, &shifts);
                absorb(graph, i, node.inputs[0]);
            }
            None => {
                expand(graph, i, &node, &factors, &shifts);
                i += 2;
            }
        }
    }
}

fn fold(graph: &mut Graph, layer: usize, factors: &[f64], shifts: &[f64]) {
    let inputs = graph.nodes[layer].inputs.clone();
    let weights = floats(graph, inputs[1]).unwrap_or_default();
    let per_channel = (weights.len() / factors.len().max(1)).max(1);
    let folded: Vec<f32> = weights
        .iter()
        .enumerate()
        .map(|(i, &w)| (f64::from(w) * factors[i / per_channel]) as f32)
        .collect();
    let old_bias = inputs.get(2).and_then(|&b| floats(graph, b));
    let bias: Vec<f32> = (0..factors.len())
        .map(|c| (old_bias.map_or(0.0, |b| f64::from(b[c])) * factors[c] + shifts[c]) as f32)
        .collect();
    let name = graph[inputs[1]].name.clone();
    let shape = graph[inputs[1]].shape.clone();
    let weights_name = graph.unique_name(&format!("{name}_folded"));
    let weights = graph.add_constant(weights_name, shape, Data::F32(folded), None);
    let bias_name = graph.unique_name(&format!("{name}_bias"));
    let bias = graph.add_constant(bias_name, vec![bias.len()], Data::F32(bias), None);
    graph.nodes[layer].inputs = vec![inputs[0], weights, bias];
}

fn expand(graph: &mut Graph, i: usize, node: &Node, factors: &[f64], shifts: &[f64]) {
    let x = node.inputs[0];
    let rank = graph[x].shape.len();
    let mut shape = vec![1; rank.saturating_sub(1).max(1)];
    shape[0] = factors.len();
    let stem = graph[node.output].name.clone();
    let constant = |graph: &mut Graph, what: &str, values: &[f64]| {
        let name = graph.unique_name(&format!("{stem}_{what}"));
        let data = Data::F32(values.iter().map(|&v| v as f32).collect());
        graph.add_constant(name, shape.clone(), data, None)
    };
    let factor = constant(graph, "factor", factors);
    let shift = constant(graph, "shift", shifts);
    let scaled = Value {
        name: graph.unique_name(&format!("{stem}_scaled")),
        shape: graph[x].shape.clone(),
        dtype: DType::F32,
        quantization: None,
        data: None,
    };
    let scaled = graph.add_value(scaled);
    let binary = |op| Op::Binary {
        op,
        clamp: Clamp::NONE,
    };
    graph.nodes[i] = Node {
        name: node.name.clone(),
        op: binary(Binary::Add),
        inputs: vec![scaled, shift],
        output: node.output,
    };
    let multiply = Node {
        name: format!("{}_scale", node.name),
        op: binary(Binary::Mul),
        inputs: vec![x, factor],
        output: scaled,
    };
    graph.nodes.insert(i, multiply);
}

#[cfg(test)]
mod tests {
    use super::super::testing::{GraphBuilder, ops, window};
    use super::*;

    fn statistics(b: &mut GraphBuilder, channels: usize) -> Vec<ValueId> {
        [(1.0, 2.0), (2.0, 1.0), (3.0, 0.5), (4.0, 1.0)]
            .iter()
            .map(|&(base, step)| {
                let data = (0..channels).map(|c| base + c as f32 * step).collect();
                b.constant(&[channels], Data::F32(data), None)
            })
            .collect()
    }

    #[test]
    fn a_batch_norm_after_a_convolution_folds_into_it() {
        let mut b = GraphBuilder::new();
        let x = b.input(&[1, 1, 4, 4]);
        let w = b.floats("w", &[2, 1, 1, 1], 0.5);
        let op = Op::Conv2d {
            window: window(1, 0),
            groups: 1,
            clamp: Clamp::NONE,
        };
        let y = b.node("conv", op, &[x, w], &[1, 2, 4, 4]);
        let s = statistics(&mut b, 2);
        let op = Op::BatchNorm { epsilon: 0.0 };
        let z = b.node("bn", op, &[y, s[0], s[1], s[2], s[3]], &[1, 2, 4, 4]);
        let mut g = b.finish(&[z]);
        fold_batch_norm(&mut g);
        assert_eq!(ops(&g), ["Conv"]);
        assert_eq!(g.nodes[0].output, z);
        // Channel 0: 1/√4 · (−0.5 x − 3) + 2; channel 1: 3/√5 · (0 x − 3.5) + 3.
        let w = floats(&g, g.nodes[0].inputs[1]).unwrap();
        assert_eq!(w, [-0.25, 0.0]);
        let bias = floats(&g, g.nodes[0].inputs[2]).unwrap();
        assert_eq!(bias[0], 0.5);
        assert!((f64::from(bias[1]) - (3.0 - 3.0 / 5f64.sqrt() * 3.5)).abs() < 1e-6);
    }

    #[test]
    fn a_batch_norm_elsewhere_becomes_arithmetic() {
        let mut b = GraphBuilder::new();
        let x = b.input(&[1, 2, 4, 4]);
        let s = statistics(&mut b, 2);
        let op = Op::BatchNorm { epsilon: 0.0 };
        let y = b.node("bn", op, &[x, s[0], s[1], s[2], s[3]], &[1, 2, 4, 4]);
        let mut g = b.finish(&[y]);
        fold_batch_norm(&mut g);
        assert_eq!(ops(&g), ["Mul", "Add"]);
        assert_eq!(g[g.nodes[0].inputs[1]].shape, [2, 1, 1]);
        assert_eq!(
            (g.nodes[1].inputs[0], g.nodes[1].output),
            (g.nodes[0].output, y)
        );
    }
}
