//! Networks with other weights: 16-bit integers, and mostly zeros.

use crate::random::Random;
use kinglet_export::compress::formats::{Granularity, Layer, WeightFormat};
use kinglet_export::graph::{Data, Graph, Op, Value};

/// The network with the weights of its layers in a format, as integers.
pub fn in_format(graph: Graph, format: WeightFormat) -> Graph {
    with_weights(graph, |value, weights| {
        let real: Vec<f32> = weights.iter().map(|&w| w.into()).collect();
        let coded = format.encode(&real, &value.shape, Granularity::Channel);
        let layer = Layer {
            bias: &[],
            input_scale: 1.0,
            input_zero_point: -128,
        };
        let integers = coded.integers(&layer);
        if let Some(q) = &mut value.quantization {
            for (scale, unit) in q.scales.iter_mut().zip(&integers.scales) {
                // A power of two, which RF8 wants, near the scale that it was.
                *scale = unit / 256.0;
            }
        }
        integers.values
    })
}

/// The network with weights of so many different values that no codebook has them all, where a layer is large enough.
pub fn many_valued(graph: Graph) -> Graph {
    with_weights(graph, |value, weights| {
        if let Some(q) = &mut value.quantization {
            q.scales.iter_mut().for_each(|scale| *scale /= 61.0);
        }
        let different = |(i, &w): (usize, &i8)| i32::from(w) * 61 + (i % 61) as i32;
        weights.iter().enumerate().map(different).collect()
    })
}

/// The network with weights of which many are zero, a share of its own in each layer: now and then nearly all, so that gaps are long.
pub fn thinned(graph: Graph, seed: u64) -> Graph {
    with_zeros(graph, seed, &[0, 30, 50, 70, 80, 90, 95, 100])
}

/// The network with so many of a hundred weights zero: each layer draws from `shares`.
pub fn with_zeros(mut graph: Graph, seed: u64, shares: &[usize]) -> Graph {
    let mut random = Random::new(seed);
    for value in &mut graph.values {
        let layer = value
            .quantization
            .as_ref()
            .is_some_and(|q| q.axis == Some(0));
        if let (true, Some(Data::I8(weights))) = (layer, &mut value.data) {
            let zeros = random.pick(shares);
            for w in weights.iter_mut() {
                if random.below(100) < zeros {
                    *w = 0;
                }
            }
        }
    }
    graph
}

fn with_weights(mut graph: Graph, mut of: impl FnMut(&mut Value, &[i8]) -> Vec<i32>) -> Graph {
    for value in &mut graph.values {
        let layer = value
            .quantization
            .as_ref()
            .is_some_and(|q| q.axis == Some(0));
        if let Some(Data::I8(weights)) = value.data.clone()
            && layer
        {
            value.data = Some(Data::I32(of(value, &weights)));
        }
    }
    // Biases keep their integers, in the new units.
    for index in 0..graph.nodes.len() {
        let node = &graph.nodes[index];
        let layer = matches!(node.op, Op::Conv2d { .. } | Op::FullyConnected { .. });
        if let (true, &[x, w, b]) = (layer, &node.inputs[..]) {
            let [x, w] = [x, w].map(|id| graph[id].quantization.clone().expect("quantised"));
            if let Some(bias) = &mut graph[b].quantization {
                bias.scales = w.scales.iter().map(|scale| scale * x.scales[0]).collect();
            }
        }
    }
    graph
}
