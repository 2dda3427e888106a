//! What removed channels still emit: constants, followed forward.
//!
//! A removed channel means: γ = 0 in all its normalisations, weights 0 in its producers. Behind a normalisation it is β,
//! behind a producer its bias.

use super::axes::{Channels, reshaped};
use super::select::Selection;
use crate::graph::{Binary, Clamp, Data, Graph, Node, Op, Pool, Unary, ValueId};
use std::collections::{BTreeSet, HashMap};

/// Constants of the removed channels of each value, by index along its channel axis; 0 elsewhere.
#[derive(Default)]
pub(super) struct Constants {
    values: HashMap<ValueId, Vec<f64>>,
    /// Nodes where zero padding meets a constant other than zero: there it is not constant at the border.
    pub(super) inexact: BTreeSet<String>,
}

pub(super) fn floats(graph: &Graph, id: ValueId) -> &[f32] {
    match &graph[id].data {
        Some(Data::F32(v)) => v,
        _ => &[],
    }
}

fn clamped(x: f64, clamp: Clamp) -> f64 {
    x.max(clamp.min.into()).min(clamp.max.into())
}

fn unary(unary: Unary, x: f64) -> f64 {
    let linear = |alpha: f32, beta: f32| (f64::from(alpha) * x + f64::from(beta)).clamp(0.0, 1.0);
    match unary {
        Unary::Clamp(clamp) => clamped(x, clamp),
        Unary::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Unary::Tanh => x.tanh(),
        Unary::LeakyRelu { alpha } => {
            if x < 0.0 {
                f64::from(alpha) * x
            } else {
                x
            }
        }
        Unary::HardSigmoid { alpha, beta } => linear(alpha, beta),
        Unary::HardSwish => x * (x / 6.0 + 0.5).clamp(0.0, 1.0),
        Unary::Sqrt => x.sqrt(),
        Unary::Exp => x.exp(),
        Unary::Log => x.ln(),
        Unary::Abs => x.abs(),
        Unary::Erf => libm::erf(x),
        Unary::Floor => x.floor(),
        Unary::Ceil => x.ceil(),
        Unary::Round => x.round_ties_even(),
        Unary::Sign if x == 0.0 => x,
        Unary::Sign => x.signum(),
        Unary::Sin => x.sin(),
        Unary::Cos => x.cos(),
    }
}

fn binary(op: Binary, a: f64, b: f64) -> f64 {
    match op {
        Binary::Add => a + b,
        Binary::Sub => a - b,
        Binary::Mul => a * b,
        Binary::Div => a / b,
        Binary::Min => a.min(b),
        Binary::Max => a.max(b),
        Binary::Pow => a.powf(b),
        Binary::Equal => f64::from(u8::from(a == b)),
        Binary::Less => f64::from(u8::from(a < b)),
        Binary::LessOrEqual => f64::from(u8::from(a <= b)),
    }
}

impl Constants {
    pub(super) fn follow(graph: &Graph, channels: &Channels, selection: &Selection) -> Constants {
        let mut constants = Constants::default();
        for node in &graph.nodes {
            let Some(axis) = channels.axis(node.output) else {
                continue;
            };
            let removed = selection.removed(axis);
            if removed.contains(&true) {
                let of = |o: usize| {
                    if removed[o] {
                        constants.of(graph, channels, node, o)
                    } else {
                        0.0
                    }
                };
                let values: Vec<f64> = (0..removed.len()).map(of).collect();
                if constants.meets_border(node, &values) {
                    constants.inexact.insert(node.name.clone());
                }
                constants.values.insert(node.output, values);
            }
        }
        constants
    }

    /// The constants of a value, one an index of its channel axis; `None` where nothing is removed.
    pub(super) fn get(&self, id: ValueId) -> Option<&[f64]> {
        self.values.get(&id).map(Vec::as_slice)
    }

    fn at(&self, id: ValueId, index: usize) -> f64 {
        self.get(id)
            .and_then(|v| v.get(index).copied())
            .unwrap_or(0.0)
    }

    /// The constant at index `o` of the node's result.
    fn of(&self, graph: &Graph, channels: &Channels, node: &Node, o: usize) -> f64 {
        let x = node.inputs[0];
        let bias = |i: usize| {
            node.inputs
                .get(i)
                .and_then(|&b| floats(graph, b).get(o))
                .map_or(0.0, |&b| f64::from(b))
        };
        match &node.op {
            Op::Conv2d {
                groups: 1, clamp, ..
            }
            | Op::FullyConnected { clamp } => clamped(bias(2), *clamp),
            Op::Conv2d { groups, clamp, .. } => {
                let weight = floats(graph, node.inputs[1]);
                let outputs = graph[node.output].shape[1];
                let taps = weight.len() / outputs.max(1);
                let sum: f64 = weight[o * taps..(o + 1) * taps]
                    .iter()
                    .map(|&w| f64::from(w))
                    .sum();
                let input = self.at(x, o / (outputs / groups).max(1));
                clamped(sum * input + bias(2), *clamp)
            }
            Op::BatchNorm { .. } => bias(2),
            Op::Unary(f) => unary(*f, self.at(x, o)),
            Op::Binary { op, clamp } => {
                let operand = |id: ValueId| match channels.axis(id) {
                    Some(_) => self.at(id, o),
                    None => along(graph, id, node.output, channels, o),
                };
                clamped(binary(*op, operand(x), operand(node.inputs[1])), *clamp)
            }
            Op::Reshape => {
                let source = channels.axis(x).and_then(|from| {
                    let roots = &from.channels;
                    reshaped(&graph[x].shape, from.axis, &graph[node.output].shape, |i| {
                        roots[i]
                    })
                });
                source.map_or(0.0, |(_, sources)| self.at(x, sources[o]))
            }
            Op::Slice { axis, start } if channels.axis(x).is_some_and(|a| a.axis == *axis) => {
                self.at(x, start + o)
            }
            Op::Concat { axis } if channels.axis(x).is_some_and(|a| a.axis == *axis) => {
                let mut rest = o;
                for &part in &node.inputs {
                    let len = graph[part].shape[*axis];
                    if rest < len {
                        return self.at(part, rest);
                    }
                    rest -= len;
                }
                0.0
            }
            _ => self.at(x, o),
        }
    }

    /// Whether a border of zeros makes the node's constants vary, which are taken as without one.
    fn meets_border(&self, node: &Node, values: &[f64]) -> bool {
        let differs = |padding: f64| {
            self.get(node.inputs[0])
                .is_some_and(|v| v.iter().zip(values).any(|(&x, _)| x != 0.0 && x != padding))
        };
        match &node.op {
            Op::Conv2d { window, groups, .. } if *groups > 1 => {
                window.pads != [0; 4] && differs(0.0)
            }
            Op::Pool {
                pool: Pool::Average {
                    count_include_pad: true,
                },
                window,
            } => window.pads != [0; 4] && differs(0.0),
            Op::Pad {
                value,
                before,
                after,
            } => {
                let padded = before.iter().chain(after).any(|&p| p > 0);
                // Channels that are 0 are constant only if the padding is 0, too.
                let removed = self.get(node.inputs[0]).is_some();
                padded && (differs((*value).into()) || (*value != 0.0 && removed))
            }
            Op::Concat { axis } if *axis != 1 => {
                // Parts side by side: constant only where all parts agree.
                let first = self.get(node.inputs[0]);
                node.inputs.iter().any(|&part| self.get(part) != first)
            }
            _ => false,
        }
    }
}

/// The element of a constant operand that meets index `o` of the result's channel axis.
fn along(graph: &Graph, id: ValueId, output: ValueId, channels: &Channels, o: usize) -> f64 {
    let (shape, rank) = (&graph[id].shape, graph[output].shape.len());
    let data = floats(graph, id);
    let axis = channels.axis(output).map_or(0, |a| a.axis);
    match (axis + shape.len()).checked_sub(rank) {
        Some(axis) if shape.get(axis).is_some_and(|&d| d > 1) => {
            let inner: usize = shape[axis + 1..].iter().product();
            data.get(o * inner).copied().unwrap_or(0.0).into()
        }
        _ => data.first().copied().unwrap_or(0.0).into(),
    }
}
