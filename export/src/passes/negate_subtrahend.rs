//! Float subtractions whose minuend is broadcast or constant, as `1 − x`: a kernel overwrites its first operand, which
//! must therefore be whole. `c − x` is `x·(−1) + c`, exactly.

use super::unique_name;
use crate::graph::{Binary, Clamp, DType, Data, Graph, Node, Op, Value};

/// Rewrites `c − x` where only `x` has the result's shape.
pub fn negate_subtrahend(graph: &mut Graph) {
    let mut i = 0;
    while i < graph.nodes.len() {
        let node = graph.nodes[i].clone();
        i += 1;
        let Op::Binary {
            op: Binary::Sub,
            clamp,
        } = node.op
        else {
            continue;
        };
        let [c, x] = node.inputs[..] else { continue };
        let whole = |id| graph[id].data.is_none() && graph[id].shape == graph[node.output].shape;
        if whole(c) || !whole(x) || graph[x].dtype != DType::F32 {
            continue;
        }
        let name = unique_name(graph, &format!("{}_negated", graph[x].name));
        let like = graph[x].clone();
        let negated = graph.add_value(Value { name, ..like });
        let name = unique_name(graph, "minus_one");
        let minus_one = graph.add_constant(name, vec![1], Data::F32(vec![-1.0]), None);
        graph.nodes[i - 1] = Node {
            op: Op::Binary {
                op: Binary::Add,
                clamp,
            },
            inputs: vec![negated, c],
            ..node.clone()
        };
        let negation = Node {
            name: format!("{} (negation)", node.name),
            op: Op::Binary {
                op: Binary::Mul,
                clamp: Clamp::NONE,
            },
            inputs: vec![x, minus_one],
            output: negated,
        };
        graph.nodes.insert(i - 1, negation);
        i += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::passes::testing::{GraphBuilder, ops};

    #[test]
    fn only_a_broadcast_minuend_is_rewritten() {
        let mut b = GraphBuilder::new();
        let x = b.input(&[1, 4]);
        let c = b.floats("c", &[1], 1.0);
        let sub = Op::Binary {
            op: Binary::Sub,
            clamp: Clamp::RELU,
        };
        let y = b.node("one_minus_x", sub.clone(), &[c, x], &[1, 4]);
        let z = b.node("y_minus_one", sub, &[y, c], &[1, 4]);
        let mut g = b.finish(&[z]);
        negate_subtrahend(&mut g);
        assert_eq!(ops(&g), ["Mul", "Add", "Sub"]);
        assert_eq!(
            g.nodes[1].op,
            Op::Binary {
                op: Binary::Add,
                clamp: Clamp::RELU
            }
        );
    }
}
