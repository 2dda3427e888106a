//! Relu, Relu6 and Clip become the clamp of the node before them.

use super::{absorb, private_producer};
use crate::graph::{Graph, Op, Unary};

/// Fuses clamps into convolutions, fully connected layers and binary operators whose result nobody else reads.
pub fn fuse_activation(graph: &mut Graph) {
    let mut i = 0;
    while i < graph.nodes.len() {
        let x = graph.nodes[i].inputs.first().copied();
        if let (Op::Unary(Unary::Clamp(next)), Some(x)) = (graph.nodes[i].op.clone(), x)
            && let Some(producer) = private_producer(graph, x)
            && let Op::Conv2d { clamp, .. }
            | Op::FullyConnected { clamp }
            | Op::Binary { clamp, .. } = &mut graph.nodes[producer].op
        {
            *clamp = clamp.then(next);
            absorb(graph, i, x);
        } else {
            i += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{GraphBuilder, ops};
    use super::*;
    use crate::graph::{Binary, Clamp};

    fn graph(shared: bool) -> Graph {
        let mut b = GraphBuilder::new();
        let (x, y) = (b.input(&[1, 4]), b.input(&[1, 4]));
        let op = Op::Binary {
            op: Binary::Add,
            clamp: Clamp::NONE,
        };
        let sum = b.node("add", op, &[x, y], &[1, 4]);
        let flat = b.node("flat", Op::Reshape, &[sum], &[4]);
        let relu = b.node("relu", Op::Unary(Unary::Clamp(Clamp::RELU)), &[flat], &[4]);
        let six = Clamp {
            min: -1.0,
            max: 6.0,
        };
        let clip = b.node("clip", Op::Unary(Unary::Clamp(six)), &[relu], &[4]);
        if shared {
            b.finish(&[clip, sum])
        } else {
            b.finish(&[clip])
        }
    }

    #[test]
    fn clamps_combine_through_a_reshape() {
        let mut g = graph(false);
        let output = g.outputs[0];
        let sum = g.nodes[0].output;
        let unclamped = g[sum].name.clone();
        fuse_activation(&mut g);
        assert_ne!(g[sum].name, unclamped, "it is not what the model calls so");
        assert_eq!(ops(&g), ["Add", "Reshape"]);
        let clamp = Clamp { min: 0.0, max: 6.0 };
        assert_eq!(
            g.nodes[0].op,
            Op::Binary {
                op: Binary::Add,
                clamp
            }
        );
        assert_eq!(g.nodes[1].output, output);
    }

    #[test]
    fn a_result_that_is_also_an_output_is_left_alone() {
        let mut g = graph(true);
        fuse_activation(&mut g);
        assert_eq!(ops(&g), ["Add", "Reshape", "Clip", "Clip"]);
    }
}
