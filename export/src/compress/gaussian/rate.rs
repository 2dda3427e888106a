//! Rates: what weights cost when they are quantised and coded.
//!
//! A convolution before a batch normalisation may shrink for free, and its rate at a fixed step falls with nothing gained.
//! Steps are therefore relative to a layer's deviation, or the weights' own int8 codes are counted; always next to the
//! accuracy at that step.

use super::golomb;
use super::shape::Moments;
use crate::graph::{Data, Graph, Op, ValueId};
use serde::Serialize;
use std::collections::{BTreeSet, HashMap};

/// `round(w/step)`, ties away from zero; saturates at 31 bits.
pub fn levels(weights: &[f32], step: f64) -> Vec<i32> {
    let limit = f64::from(i32::MAX);
    weights
        .iter()
        .map(|&w| (f64::from(w) / step).round().clamp(-limit, limit) as i32)
        .collect()
}

/// Entropy of the levels in bits, as they are distributed.
pub fn entropy(levels: &[i32]) -> f64 {
    let mut counts: HashMap<i32, usize> = HashMap::new();
    for &level in levels {
        *counts.entry(level).or_default() += 1;
    }
    let n = levels.len() as f64;
    counts
        .values()
        .map(|&c| c as f64 / n)
        .map(|p| -p * p.log2())
        .sum()
}

/// What one weight tensor costs.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct TensorRate {
    /// Name of the tensor.
    pub name: String,
    /// Number of weights.
    pub weights: usize,
    /// Weights at level 0.
    pub zeros: usize,
    /// Distance of two levels; `None` for tensors that are integers already.
    pub step: Option<f64>,
    /// Bits a weight, lower bound.
    pub entropy: f64,
    /// Best exp-Golomb order.
    pub order: u32,
    /// Bits of all codes, the byte that holds the order included.
    pub coded_bits: u64,
}

impl TensorRate {
    pub(crate) fn of(name: &str, levels: &[i32], step: Option<f64>) -> Self {
        let (order, bits) = golomb::best_order(levels);
        TensorRate {
            name: name.into(),
            weights: levels.len(),
            zeros: levels.iter().filter(|&&q| q == 0).count(),
            step,
            entropy: entropy(levels),
            order,
            coded_bits: bits + 8,
        }
    }
}

/// Rates of the weights of all convolutions and fully connected layers, in order; a shared tensor counts once. Biases and
/// normalisations do not count. Float weights are quantised at `relative_step` deviations of their tensor; int8 weights
/// count as they are.
pub fn weight_rates(graph: &Graph, relative_step: f64) -> Vec<TensorRate> {
    let rate = |id: ValueId| {
        let value = &graph[id];
        match value.data.as_ref()? {
            Data::F32(weights) => {
                let deviation = Moments::of(weights).deviation();
                let step = if deviation > 0.0 {
                    relative_step * deviation
                } else {
                    1.0
                };
                Some(TensorRate::of(
                    &value.name,
                    &levels(weights, step),
                    Some(step),
                ))
            }
            Data::I8(codes) => {
                let levels: Vec<i32> = codes.iter().map(|&q| q.into()).collect();
                Some(TensorRate::of(&value.name, &levels, None))
            }
            _ => None,
        }
    };
    let mut seen = BTreeSet::new();
    weight_tensors(graph)
        .filter(|id| seen.insert(*id))
        .filter_map(rate)
        .collect()
}

/// The weight operand of each convolution and fully connected layer, seen through a Dequantize.
pub(crate) fn weight_tensors(graph: &Graph) -> impl Iterator<Item = ValueId> + '_ {
    let layers = graph
        .nodes
        .iter()
        .filter(|n| matches!(n.op, Op::Conv2d { .. } | Op::FullyConnected { .. }));
    layers.filter_map(|n| n.inputs.get(1)).map(|&id| {
        match graph.producer(id).map(|i| &graph.nodes[i]) {
            Some(n) if n.op == Op::Dequantize => n.inputs[0],
            _ => id,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Clamp, Value};

    #[test]
    fn entropy_is_shannons() {
        assert_eq!(entropy(&[1, 1, 2, 2]), 1.0);
        assert_eq!(entropy(&[5; 7]), 0.0);
        assert_eq!(entropy(&[]), 0.0);
        assert!((entropy(&[0, 0, 0, 1]) - 0.811_278).abs() < 1e-6);
    }

    #[test]
    fn levels_are_rounded_and_saturate() {
        assert_eq!(
            levels(&[0.24, 0.26, -0.75, f32::MAX], 0.5),
            [0, 1, -2, i32::MAX]
        );
    }

    #[test]
    fn float_and_int8_layers_are_rated_once_and_biases_not() {
        let mut g = Graph::default();
        let activation = |g: &mut Graph, name: &str, shape: &[usize]| {
            g.add_value(Value {
                name: name.into(),
                shape: shape.to_vec(),
                dtype: crate::graph::DType::F32,
                quantization: None,
                data: None,
            })
        };
        let x = activation(&mut g, "x", &[1, 2]);
        let (y, z) = (
            activation(&mut g, "y", &[1, 2]),
            activation(&mut g, "z", &[1, 2]),
        );
        let w = g.add_constant("w", vec![2, 2], Data::F32(vec![1.0, -1.0, 1.0, 0.0]), None);
        let b = g.add_constant("b", vec![2], Data::F32(vec![9.0; 2]), None);
        let v = g.add_constant("v", vec![2, 2], Data::I8(vec![0, 0, 1, -1]), None);
        let fc = |inputs, output| crate::graph::Node {
            name: "fc".into(),
            op: Op::FullyConnected { clamp: Clamp::NONE },
            inputs,
            output,
        };
        g.nodes = vec![
            fc(vec![x, w, b], y),
            fc(vec![y, w, b], y),
            fc(vec![y, v], z),
        ];
        let rates = weight_rates(&g, 0.5);
        assert_eq!(
            rates.iter().map(|r| r.name.as_str()).collect::<Vec<_>>(),
            ["w", "v"]
        );
        // Deviation √0.75, so the levels are ±2, 0.
        assert_eq!(
            (rates[0].zeros, rates[0].order, rates[0].coded_bits),
            (1, 1, 8 + 3 * 4 + 2)
        );
        assert_eq!((rates[1].step, rates[1].coded_bits), (None, 8 + 2 + 6));
    }
}
