//! Networks in which every result of a layer is a tie, whatever the pixels of a constant input: the longest way through a
//! requantisation in integers, on every element.

use kinglet_export::graph::{Data, Graph, Op};

/// The network with weights of +4 and −4, taking turns, biases of `bias` and multipliers of ¼: over an input of one value the sums
/// of a layer are `bias` or differ from it by multiples of 4, so that `bias` 2 makes all of them ties, and 0 none.
pub fn with_sums_of(mut graph: Graph, bias: i32) -> Graph {
    for index in 0..graph.nodes.len() {
        let node = &graph.nodes[index];
        if !matches!(node.op, Op::Conv2d { .. } | Op::FullyConnected { .. }) {
            continue;
        }
        let (inputs, output) = (node.inputs.clone(), node.output);
        let scale = |id| graph[id].quantization.as_ref().map(|q| q.scales[0]);
        let (Some(x), Some(y)) = (scale(inputs[0]), scale(output)) else {
            continue;
        };
        let weights = &mut graph[inputs[1]];
        // Along the input channels, so that also the taps inside of a border cancel out.
        let inner: usize = weights.shape[2..].iter().product();
        if let Some(Data::I8(w)) = &mut weights.data {
            for (i, w) in w.iter_mut().enumerate() {
                *w = if (i / inner).is_multiple_of(2) { 4 } else { -4 };
            }
        }
        let mut product = Vec::new();
        if let Some(q) = &mut weights.quantization {
            q.scales.fill(0.25 * y / x);
            product = q.scales.iter().map(|w| w * x).collect();
        }
        if let Some(&b) = inputs.get(2) {
            if let Some(Data::I32(values)) = &mut graph[b].data {
                values.fill(bias);
            }
            if let Some(q) = &mut graph[b].quantization {
                q.scales = product;
            }
        }
    }
    graph
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wide_network::wide_network;
    use kinglet_export::compile::{CompileOptions, Kernels, compile};

    #[test]
    fn the_multipliers_are_a_quarter_and_the_accumulators_may_be_ties() {
        let graph = with_sums_of(wide_network(3), 2);
        let options = CompileOptions {
            kernels: Kernels::Plain,
            keep_dead_channels: true,
            ..CompileOptions::default()
        };
        let compiled = compile(&graph, &options).unwrap();
        let mut layers = 0;
        for step in &compiled.steps {
            for [low, high] in step.accumulators.iter().flatten() {
                assert!(low <= high);
                layers += 1;
            }
        }
        assert!(layers > 3);
    }
}
