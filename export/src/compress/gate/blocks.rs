//! Residual blocks that can be gated, and their removal.

use crate::graph::{Binary, Clamp, Graph, Node, Op, Unary, ValueId};
use crate::passes::macs;
use std::collections::BTreeSet;

/// The residual branch `F` of `y = shortcut + F(x)`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Block {
    /// Name of the addition.
    pub name: String,
    /// The addition's result.
    pub sum: ValueId,
    /// Result of the branch: what the gate multiplies.
    pub branch: ValueId,
    /// The other operand.
    pub shortcut: ValueId,
    /// What the branch reads: what the gate module looks at.
    pub input: ValueId,
    /// Whether the shortcut is the branch's input itself, so that the whole block can vanish; in a down-sampling block only
    /// the branch can.
    pub identity: bool,
    /// Multiply-accumulates of the branch.
    pub macs: u64,
}

/// Why blocks cannot be removed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GateError {
    /// The graph has changed since the block was found.
    #[error("there is no block `{0}` (any more)")]
    NoBlock(String),
    /// A gate is left in the exported graph.
    #[error("nodes of gates are left in the graph: {0:?}")]
    Left(Vec<String>),
}

/// All residual blocks, in order.
pub fn blocks(graph: &Graph) -> Vec<Block> {
    graph
        .nodes
        .iter()
        .filter_map(|node| block(graph, node))
        .collect()
}

fn block(graph: &Graph, node: &Node) -> Option<Block> {
    let (
        Op::Binary {
            op: Binary::Add, ..
        },
        [a, b],
    ) = (&node.op, node.inputs.as_slice())
    else {
        return None;
    };
    let activation = |id: ValueId| graph[id].data.is_none();
    if a == b || !activation(*a) || !activation(*b) || graph[*a].shape != graph[*b].shape {
        return None;
    }
    let made = |branch, shortcut, input, identity, cone: &BTreeSet<usize>| Block {
        name: node.name.clone(),
        sum: node.output,
        branch,
        shortcut,
        input,
        identity,
        macs: cone.iter().map(|&i| macs(graph, &graph.nodes[i])).sum(),
    };
    for (shortcut, branch) in [(*a, *b), (*b, *a)] {
        let (cone, reads) = private_cone(graph, branch, node.output);
        if reads.len() == 1 && reads.contains(&shortcut) && !cone.is_empty() {
            return Some(made(branch, shortcut, shortcut, true, &cone));
        }
    }
    let ((cone_a, reads_a), (cone_b, reads_b)) = (
        private_cone(graph, *a, node.output),
        private_cone(graph, *b, node.output),
    );
    let input = *reads_a.first()?;
    if reads_a != reads_b || reads_a.len() != 1 || cone_a.is_empty() || cone_b.is_empty() {
        return None;
    }
    let (left, right) = (
        made(*a, *b, input, false, &cone_a),
        made(*b, *a, input, false, &cone_b),
    );
    Some(if left.macs > right.macs { left } else { right })
}

/// The nodes that only `branch` needs, and the activations that they read from outside. `branch` is read by `sum` alone.
fn private_cone(
    graph: &Graph,
    branch: ValueId,
    sum: ValueId,
) -> (BTreeSet<usize>, BTreeSet<ValueId>) {
    let (mut cone, mut reads) = (BTreeSet::new(), BTreeSet::from([branch]));
    loop {
        let private = |id: &ValueId| {
            let outside =
                |i: usize| !cone.contains(&i) && (*id != branch || graph.nodes[i].output != sum);
            !graph.is_output(*id) && !graph.consumers(*id).into_iter().any(outside)
        };
        let next = reads
            .iter()
            .copied()
            .filter(private)
            .find_map(|id| Some((id, graph.producer(id)?)));
        let Some((id, producer)) = next else {
            return (cone, reads);
        };
        reads.remove(&id);
        cone.insert(producer);
        let operands = graph.nodes[producer].inputs.iter().copied();
        reads.extend(operands.filter(|&id| graph[id].data.is_none()));
    }
}

/// Removes the branches of `closed`: each sum is its shortcut, under the sum's own activation.
///
/// # Errors
/// A block is not in the graph. The graph is unchanged then.
pub fn remove_blocks(graph: &mut Graph, closed: &[Block]) -> Result<(), GateError> {
    let mut result = graph.clone();
    for block in closed {
        let missing = || GateError::NoBlock(block.name.clone());
        let index = result.producer(block.sum).ok_or_else(missing)?;
        let Op::Binary {
            op: Binary::Add,
            clamp,
        } = result.nodes[index].op
        else {
            return Err(missing());
        };
        // An earlier block that has gone may have been this one's shortcut.
        let operands = result.nodes[index].inputs.clone();
        let Some(&shortcut) = operands
            .iter()
            .find(|&&id| id != block.branch)
            .filter(|_| operands.contains(&block.branch))
        else {
            return Err(missing());
        };
        if clamp.is_none() && !result.is_output(block.sum) {
            result.nodes.remove(index);
            result.replace_uses(block.sum, shortcut);
        } else {
            let op = if clamp.is_none() {
                Op::Reshape
            } else {
                Op::Unary(Unary::Clamp(clamp))
            };
            result.nodes[index].op = op;
            result.nodes[index].inputs = vec![shortcut];
        }
    }
    result.remove_dead_nodes();
    remove_repeated_clamps(&mut result);
    *graph = result;
    Ok(())
}

/// Removes activations that change nothing, since their operand is within their bounds already.
fn remove_repeated_clamps(graph: &mut Graph) {
    let mut i = 0;
    while i < graph.nodes.len() {
        let (node, output) = (&graph.nodes[i], graph.nodes[i].output);
        let bounds = node.inputs.first().and_then(|&x| bounds(graph, x));
        match (&node.op, bounds) {
            (Op::Unary(Unary::Clamp(clamp)), Some(known))
                if known.min >= clamp.min && known.max <= clamp.max && !graph.is_output(output) =>
            {
                let x = node.inputs[0];
                graph.nodes.remove(i);
                graph.replace_uses(output, x);
            }
            _ => i += 1,
        }
    }
}

fn bounds(graph: &Graph, id: ValueId) -> Option<Clamp> {
    match graph.nodes[graph.producer(id)?].op {
        Op::Unary(Unary::Clamp(clamp)) => Some(clamp),
        Op::Conv2d { clamp, .. } | Op::FullyConnected { clamp } | Op::Binary { clamp, .. } => {
            Some(clamp)
        }
        _ => None,
    }
}

/// Checks that nothing of the gates is left: no sigmoid and no multiplication that the network had not before.
///
/// # Errors
/// Names the nodes.
pub fn assert_no_gates(before: &Graph, after: &Graph) -> Result<(), GateError> {
    let gate = |node: &&Node| {
        matches!(
            node.op,
            Op::Unary(Unary::Sigmoid)
                | Op::Binary {
                    op: Binary::Mul,
                    ..
                }
        )
    };
    let own: BTreeSet<&str> = before
        .nodes
        .iter()
        .filter(gate)
        .map(|n| n.name.as_str())
        .collect();
    let left: Vec<String> = after
        .nodes
        .iter()
        .filter(gate)
        .filter(|n| !own.contains(n.name.as_str()))
        .map(|n| n.name.clone())
        .collect();
    if left.is_empty() {
        Ok(())
    } else {
        Err(GateError::Left(left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compress::testing::{Net, distance, run};
    use crate::graph::Data;
    use crate::passes::total_macs;

    fn resnet() -> (Net, Graph) {
        let mut net = Net::new(2, &[1, 3, 8, 8]);
        let x = net.input();
        let mut y = net.conv_bn_relu(x, 6, 3, 1);
        for (width, stride) in [(6, 1), (6, 1), (10, 2), (10, 1)] {
            y = net.basic_block(y, width, width, stride);
        }
        let y = net.global_pool(y);
        let y = net.dense(y, 4);
        let graph = net.finish(y);
        (net, graph)
    }

    /// The branch's last normalisation gives zero.
    fn closed(graph: &Graph, block: &Block) -> Graph {
        let mut graph = graph.clone();
        let norm = graph.nodes[graph.producer(block.branch).unwrap()]
            .inputs
            .clone();
        for id in [norm[1], norm[2]] {
            if let Some(Data::F32(v)) = &mut graph[id].data {
                v.fill(0.0);
            }
        }
        graph
    }

    #[test]
    fn blocks_are_found_with_their_shortcuts() {
        let (_, graph) = resnet();
        let found = blocks(&graph);
        assert_eq!(
            found.iter().map(|b| b.identity).collect::<Vec<_>>(),
            [true, true, false, true]
        );
        assert!(
            found
                .iter()
                .filter(|b| b.identity)
                .all(|b| b.input == b.shortcut)
        );
        assert_eq!(found[0].macs, 2 * 6 * 6 * 9 * 64);
        // Of the down-sampling block the 3 × 3 branch, not the 1 × 1 shortcut.
        assert_eq!(found[2].macs, (6 + 10) * 10 * 9 * 16);
        assert_eq!(graph.consumers(found[2].input).len(), 2, "read by both");
    }

    #[test]
    fn a_network_without_closed_blocks_equals_one_with_them_closed() {
        let (mut net, graph) = resnet();
        let all = blocks(&graph);
        for closed_ones in [
            vec![0],
            vec![1],
            vec![2],
            vec![0, 1],
            vec![3, 0],
            vec![0, 1, 2, 3],
        ] {
            let chosen: Vec<Block> = closed_ones.iter().map(|&i| all[i].clone()).collect();
            let zeroed = chosen.iter().fold(graph.clone(), |g, b| closed(&g, b));
            let mut small = graph.clone();
            remove_blocks(&mut small, &chosen).unwrap();
            assert_no_gates(&graph, &small).unwrap();
            let x = net.random_input();
            assert!(
                distance(&run(&zeroed, &x), &run(&small, &x)) < 1e-5,
                "{closed_ones:?}"
            );
            let saved: u64 = chosen.iter().map(|b| b.macs).sum();
            assert_eq!(total_macs(&small), total_macs(&graph) - saved);
            let relus = small
                .nodes
                .iter()
                .filter(|n| matches!(n.op, Op::Unary(_)))
                .count();
            let identities = chosen.iter().filter(|b| b.identity).count();
            // Behind an identity both activations of its block go, behind a shortcut of its own one stays.
            assert_eq!(relus, 9 - identities - chosen.len());
            assert!(remove_blocks(&mut small, &chosen).is_err(), "they are gone");
        }
    }

    #[test]
    fn sums_of_anything_else_are_no_blocks() {
        let mut net = Net::new(3, &[1, 4, 6, 6]);
        let x = net.input();
        let a = net.conv(x, 4, 3, 1);
        let b = net.conv(a, 4, 3, 1);
        // `a` is read by the second sum, too: the branch is not private.
        let first = net.add(x, b);
        let second = net.add(first, a);
        let shift = net.constant("shift", &[1, 4, 6, 6], 0.0..1.0);
        let y = net.add(second, shift);
        let graph = net.finish(y);
        assert!(blocks(&graph).is_empty());
    }

    #[test]
    fn gates_that_are_left_are_named() {
        let (_, graph) = resnet();
        let mut gated = graph.clone();
        let y = graph.outputs[0];
        let value = crate::graph::Value {
            name: "p".into(),
            ..graph[y].clone()
        };
        let output = gated.add_value(value);
        gated.nodes.push(Node {
            name: "gate".into(),
            op: Op::Unary(Unary::Sigmoid),
            inputs: vec![y],
            output,
        });
        assert_eq!(
            assert_no_gates(&graph, &gated),
            Err(GateError::Left(vec!["gate".into()]))
        );
        assert_eq!(assert_no_gates(&gated, &gated), Ok(()));
    }
}
