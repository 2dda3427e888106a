//! Batch normalisations for models whose exporter has folded them: without γ there is nothing to penalise.

use crate::graph::{Clamp, DType, Data, Graph, Node, Op, Unary, Value, ValueId};

/// ε of inserted normalisations.
const EPSILON: f32 = 1e-5;

/// Puts a batch normalisation behind every convolution with constant float weights that has none, and returns their results.
/// The network computes the same: γ = 1, mean 0, variance 1 − ε; a bias becomes β, a fused activation its own node. Call
/// [`restate`] with measured statistics before training.
///
/// Layers whose result is an output of the network, or which `keep` says no to, stay as they are.
pub fn insert_norms(graph: &mut Graph, mut keep: impl FnMut(&Node) -> bool) -> Vec<ValueId> {
    let mut inserted = Vec::new();
    let mut i = 0;
    while i < graph.nodes.len() {
        let node = graph.nodes[i].clone();
        i += 1;
        let Op::Conv2d { clamp, .. } = node.op else {
            continue;
        };
        let constant = |id: &ValueId| matches!(graph[*id].data, Some(Data::F32(_)));
        let normalised = graph
            .consumers(node.output)
            .iter()
            .any(|&c| matches!(graph.nodes[c].op, Op::BatchNorm { .. }));
        if normalised
            || graph.is_output(node.output)
            || !node.inputs[1..].iter().all(constant)
            || !keep(&node)
        {
            continue;
        }
        let nodes = behind(graph, &node, clamp);
        inserted.push(nodes[0].output);
        if let Op::Conv2d { clamp, .. } = &mut graph.nodes[i - 1].op {
            *clamp = Clamp::NONE;
        }
        graph.nodes[i - 1].inputs.truncate(2);
        let count = nodes.len();
        graph.nodes.splice(i..i, nodes);
        i += count;
    }
    inserted
}

/// The normalisation behind `node`, and its activation if it has one; what read `node` reads the last of them.
fn behind(graph: &mut Graph, node: &Node, clamp: Clamp) -> Vec<Node> {
    let channels = graph[node.output].shape[1];
    let beta = match node.inputs.get(2).map(|&b| &graph[b].data) {
        Some(Some(Data::F32(bias))) => bias.clone(),
        _ => vec![0.0; channels],
    };
    let stem = graph[node.output].name.clone();
    let constant = |graph: &mut Graph, what: &str, data: Vec<f32>| {
        let name = graph.unique_name(&format!("{stem}_{what}"));
        graph.add_constant(name, vec![channels], Data::F32(data), None)
    };
    let gamma = constant(graph, "gamma", vec![1.0; channels]);
    let beta = constant(graph, "beta", beta);
    let mean = constant(graph, "mean", vec![0.0; channels]);
    let variance = constant(graph, "variance", vec![1.0 - EPSILON; channels]);
    let result = |graph: &mut Graph, what: &str| {
        let value = Value {
            name: graph.unique_name(&format!("{stem}_{what}")),
            shape: graph[node.output].shape.clone(),
            dtype: DType::F32,
            quantization: None,
            data: None,
        };
        graph.add_value(value)
    };
    let normalised = result(graph, "normalised");
    let mut nodes = vec![Node {
        name: format!("{}_norm", node.name),
        op: Op::BatchNorm { epsilon: EPSILON },
        inputs: vec![node.output, gamma, beta, mean, variance],
        output: normalised,
    }];
    let last = if clamp.is_none() {
        normalised
    } else {
        let activated = result(graph, "activated");
        nodes.push(Node {
            name: format!("{}_activation", node.name),
            op: Op::Unary(Unary::Clamp(clamp)),
            inputs: vec![normalised],
            output: activated,
        });
        activated
    };
    graph.replace_uses(node.output, last);
    nodes
}

/// Gives the normalisation with the result `norm` other statistics of its input, and moves γ and β so that it computes the
/// same. Afterwards γ is on the scale of a trained normalisation. Returns whether there was one, with so many channels.
pub fn restate(graph: &mut Graph, norm: ValueId, mean: &[f32], variance: &[f32]) -> bool {
    let Some(node) = graph.producer(norm).map(|i| graph.nodes[i].clone()) else {
        return false;
    };
    let Op::BatchNorm { epsilon } = node.op else {
        return false;
    };
    let read = |i: usize| match node.inputs.get(i).map(|&id| &graph[id].data) {
        Some(Some(Data::F32(v))) if v.len() == mean.len() && v.len() == variance.len() => {
            Some(v.iter().map(|&x| f64::from(x)).collect::<Vec<_>>())
        }
        _ => None,
    };
    let (Some(gamma), Some(beta), Some(old_mean), Some(old_variance)) =
        (read(1), read(2), read(3), read(4))
    else {
        return false;
    };
    let deviation = |v: f64| (v + f64::from(epsilon)).sqrt();
    let (mut new_gamma, mut new_beta) = (Vec::new(), Vec::new());
    for c in 0..mean.len() {
        let slope = gamma[c] / deviation(old_variance[c]);
        new_gamma.push((slope * deviation(variance[c].into())) as f32);
        new_beta.push((beta[c] + slope * (f64::from(mean[c]) - old_mean[c])) as f32);
    }
    let values = [new_gamma, new_beta, mean.to_vec(), variance.to_vec()];
    for (&id, data) in node.inputs[1..].iter().zip(values) {
        graph[id].data = Some(Data::F32(data));
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compress::mask::Channels;
    use crate::compress::testing::{Net, distance, run, window};

    #[test]
    fn inserted_and_restated_normalisations_change_nothing() {
        let mut net = Net::new(4, &[1, 3, 7, 7]);
        let x = net.input();
        let y = net.conv_window(x, 6, window(3, 1), 1, true);
        let y = net.relu(y);
        let y = net.conv_bn_relu(y, 4, 3, 2);
        let y = net.depthwise(y, 3, 1);
        let y = net.global_pool(y);
        let y = net.dense(y, 3);
        let mut graph = net.finish(y);
        // As importers and passes leave it: the activation in the convolution.
        if let Op::Conv2d { clamp, .. } = &mut graph.nodes[0].op {
            *clamp = Clamp {
                min: -0.5,
                max: 0.7,
            };
        }
        let x = net.random_input();
        let expected = run(&graph, &x);
        let mut normalised = graph.clone();
        let norms = insert_norms(&mut normalised, |_| true);
        assert_eq!(norms.len(), 2, "one convolution has its own");
        assert!(distance(&run(&normalised, &x), &expected) < 1e-5);
        assert!(restate(&mut normalised, norms[0], &[0.3; 6], &[4.0; 6]));
        assert!(restate(&mut normalised, norms[1], &[-0.1; 4], &[0.01; 4]));
        assert!(distance(&run(&normalised, &x), &expected) < 1e-5);
        assert!(!restate(&mut normalised, norms[0], &[0.3; 5], &[4.0; 5]));
        let channels = Channels::analyse(&normalised);
        let free = channels.groups().iter().filter(|g| g.pinned.is_none());
        assert!(free.into_iter().all(|g| !g.norms.is_empty()));
        assert!(insert_norms(&mut normalised, |_| true).is_empty());
        assert!(insert_norms(&mut graph, |_| false).is_empty());
    }
}
