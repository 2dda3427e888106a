//! Nodes that compute nothing disappear.

use crate::graph::{Graph, Op, Unary};

/// Removes reshapes of reshapes, transposes that cancel or move only axes of size 1 (they become reshapes), empty
/// pads, requantisations to the same quantisation, clamps without bounds, and nodes whose result nobody uses.
/// Graph outputs keep their names.
pub fn remove_identities(graph: &mut Graph) {
    graph.remove_dead_nodes();
    let mut changed = true;
    while changed {
        changed = false;
        let mut i = 0;
        while i < graph.nodes.len() {
            changed |= simplify(graph, i);
            if is_identity(graph, i) && drop_node(graph, i) {
                changed = true;
            } else {
                i += 1;
            }
        }
        graph.remove_dead_nodes();
    }
}

/// Merges a reshape or transpose with the one before it, and turns trivial transposes into reshapes.
fn simplify(graph: &mut Graph, i: usize) -> bool {
    let node = &graph.nodes[i];
    let Some(&x) = node.inputs.first() else {
        return false;
    };
    match &node.op {
        Op::Transpose { perm } => {
            let shape = &graph[x].shape;
            let moved: Vec<usize> = perm.iter().copied().filter(|&p| shape[p] != 1).collect();
            if moved.is_sorted() {
                graph.nodes[i].op = Op::Reshape;
                return true;
            }
            let Some(before) = graph.producer(x) else {
                return false;
            };
            if let Op::Transpose { perm: first } = &graph.nodes[before].op {
                let perm = perm.iter().map(|&p| first[p]).collect();
                let source = graph.nodes[before].inputs[0];
                graph.nodes[i].op = Op::Transpose { perm };
                graph.nodes[i].inputs[0] = source;
                return true;
            }
            false
        }
        Op::Reshape => match graph.producer(x).map(|p| &graph.nodes[p]) {
            Some(before) if before.op == Op::Reshape => {
                let source = before.inputs[0];
                graph.nodes[i].inputs[0] = source;
                true
            }
            _ => false,
        },
        _ => false,
    }
}

fn is_identity(graph: &Graph, i: usize) -> bool {
    let node = &graph.nodes[i];
    let Some(&x) = node.inputs.first() else {
        return false;
    };
    let (from, to) = (&graph[x], &graph[node.output]);
    match &node.op {
        Op::Reshape | Op::Slice { .. } => from.shape == to.shape,
        Op::Pad { before, after, .. } => before.iter().chain(after).all(|&p| p == 0),
        Op::Requantize => from.dtype == to.dtype && from.quantization == to.quantization,
        Op::Unary(Unary::Clamp(clamp)) => clamp.is_none(),
        Op::Concat { .. } => node.inputs.len() == 1,
        _ => false,
    }
}

/// Lets readers of the node's output read its input. The input takes the output's name where it can: passes make up names
/// for values that they insert, and the last of several equal ones is the model's own. A graph output must keep its name;
/// if the input cannot take it (it is an input, a constant or another output) the node stays.
fn drop_node(graph: &mut Graph, i: usize) -> bool {
    let (x, y) = (graph.nodes[i].inputs[0], graph.nodes[i].output);
    let border = graph.is_output(x) || graph.inputs.contains(&x) || graph[x].data.is_some();
    if border && graph.is_output(y) {
        return false;
    }
    if !border && graph[x].shape == graph[y].shape {
        let name = std::mem::take(&mut graph[x].name);
        graph[x].name = std::mem::replace(&mut graph[y].name, name);
    }
    graph.nodes.remove(i);
    graph.replace_uses(y, x);
    true
}

#[cfg(test)]
mod tests {
    use super::super::testing::{GraphBuilder, ops};
    use super::*;

    fn transpose(perm: &[usize]) -> Op {
        Op::Transpose {
            perm: perm.to_vec(),
        }
    }

    #[test]
    fn transposes_cancel_and_the_output_keeps_its_name() {
        let mut b = GraphBuilder::new();
        let x = b.input(&[1, 2, 3, 4]);
        let s = b.node("sigmoid", Op::Unary(Unary::Sigmoid), &[x], &[1, 2, 3, 4]);
        let t = b.node("t", transpose(&[0, 2, 3, 1]), &[s], &[1, 3, 4, 2]);
        let u = b.node("u", transpose(&[0, 3, 1, 2]), &[t], &[1, 2, 3, 4]);
        let mut g = b.finish(&[u]);
        remove_identities(&mut g);
        assert_eq!(ops(&g), ["Sigmoid"]);
        assert_eq!(g[g.outputs[0]].name, "u_out");
        assert_eq!(g.nodes[0].output, g.outputs[0]);
    }

    #[test]
    fn a_transpose_of_unit_axes_is_a_reshape() {
        let mut b = GraphBuilder::new();
        let x = b.input(&[1, 1, 3, 4]);
        let t = b.node("t", transpose(&[0, 2, 3, 1]), &[x], &[1, 3, 4, 1]);
        let r = b.node("r", Op::Reshape, &[t], &[12]);
        let mut g = b.finish(&[r]);
        remove_identities(&mut g);
        assert_eq!(ops(&g), ["Reshape"]);
        assert_eq!(g.nodes[0].inputs, [x]);
    }

    #[test]
    fn an_identity_between_input_and_output_stays() {
        let mut b = GraphBuilder::new();
        let x = b.input(&[4]);
        let r = b.node("r", Op::Reshape, &[x], &[4]);
        let mut g = b.finish(&[r]);
        remove_identities(&mut g);
        assert_eq!(ops(&g), ["Reshape"]);
    }
}
