//! Operands that steps cannot read as they are: expanded where broadcasting takes more than one step can do, and loaded where a
//! constant has to be in the arena.

use crate::graph::{Graph, Node, Op, Value};

/// Inserts what is missing, once the layout is decided.
pub(super) fn expand(graph: &mut Graph) {
    let nodes = std::mem::take(&mut graph.nodes);
    for mut node in nodes {
        let whole = graph[node.output].shape.clone();
        let loaded: &[usize] = match &node.op {
            Op::Binary { .. } => {
                binary(graph, &mut node, &whole);
                &[]
            }
            Op::Select => {
                for i in 0..3 {
                    operand(graph, &mut node, i, &whole, i == 0);
                }
                &[0]
            }
            Op::Concat { .. } => &(0..node.inputs.len()).collect::<Vec<_>>(),
            Op::Gather { .. } | Op::MatMul => &[0],
            _ => &[],
        };
        for &i in loaded {
            load(graph, &mut node, i);
        }
        graph.nodes.push(node);
    }
}

/// One operand is whole and computed, the other one is broadcast in one step.
fn binary(graph: &mut Graph, node: &mut Node, whole: &[usize]) {
    let computed = |graph: &Graph, i: usize| graph[node.inputs[i]].data.is_none();
    let complete =
        |graph: &Graph, i: usize| graph[node.inputs[i]].len() == whole.iter().product::<usize>();
    let count = node.inputs.len();
    let first = (0..count)
        .find(|&i| computed(graph, i) && complete(graph, i))
        .or_else(|| (0..count).find(|&i| computed(graph, i)));
    for i in 0..count {
        operand(graph, node, i, whole, Some(i) == first);
    }
}

/// Whether `shape` repeats outside and inside of what it has in common with `whole`.
fn in_one_step(shape: &[usize], whole: &[usize]) -> bool {
    let missing = whole.len().saturating_sub(shape.len());
    let shape: Vec<usize> = std::iter::repeat_n(1, missing)
        .chain(shape.iter().copied())
        .collect();
    let outer = shape.iter().take_while(|&&d| d == 1).count();
    let inner = shape.iter().rev().take_while(|&&d| d == 1).count();
    let middle = outer..shape.len().saturating_sub(inner);
    middle.is_empty() || shape[middle.clone()] == whole[middle]
}

/// Expands operand `i` where it has to be whole, or cannot be broadcast in one step; constants are expanded by the emission.
fn operand(graph: &mut Graph, node: &mut Node, i: usize, whole: &[usize], must_be_whole: bool) {
    let id = node.inputs[i];
    let value = &graph[id];
    if value.data.is_some() && must_be_whole {
        load(graph, node, i);
    }
    let id = node.inputs[i];
    let value = graph[id].clone();
    let complete = value.len() == whole.iter().product::<usize>();
    if value.data.is_some() || complete || (!must_be_whole && in_one_step(&value.shape, whole)) {
        return;
    }
    let missing = whole.len() - value.shape.len();
    let strides = whole.iter().enumerate().map(|(axis, &dim)| {
        let own = axis.checked_sub(missing);
        match own.map(|axis| (value.shape[axis], &value.shape[axis + 1..])) {
            Some((size, inner)) if size == dim => inner.iter().product::<usize>() as isize,
            _ => 0,
        }
    });
    let strides = strides.collect();
    insert(
        graph,
        node,
        i,
        Op::Strided { strides, offset: 0 },
        whole.to_vec(),
    );
}

fn load(graph: &mut Graph, node: &mut Node, i: usize) {
    let value = &graph[node.inputs[i]];
    if value.data.is_some() {
        let shape = value.shape.clone();
        insert(graph, node, i, Op::Load, shape);
    }
}

/// Puts `op` before operand `i`.
fn insert(graph: &mut Graph, node: &mut Node, i: usize, op: Op, shape: Vec<usize>) {
    let source = graph[node.inputs[i]].clone();
    let name = graph.unique_name(&format!("{}_expanded", source.name));
    let output = graph.add_value(Value {
        name: name.clone(),
        shape,
        data: None,
        ..source
    });
    graph.nodes.push(Node {
        name,
        op,
        inputs: vec![node.inputs[i]],
        output,
    });
    node.inputs[i] = output;
}

/// Elements that are reduced to one, and those inside, where `axes` (sorted) are side by side but for axes of 1.
pub(super) fn adjacent(shape: &[usize], axes: &[usize]) -> Option<(usize, usize)> {
    let (&first, &last) = (axes.first()?, axes.last()?);
    let between = (first..=last).all(|axis| shape[axis] == 1 || axes.contains(&axis));
    let inner = || shape[last + 1..].iter().product();
    between.then(|| (shape[first..=last].iter().product(), inner()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Binary, Clamp, DType, Data};
    use crate::passes::testing::{GraphBuilder, ops};

    #[test]
    fn operands_that_cannot_be_broadcast_in_one_step_are_expanded() {
        let mut b = GraphBuilder::new();
        let x = b.input(&[2, 1, 4]);
        let y = b.input(&[1, 3, 1]);
        let op = Op::Binary {
            op: Binary::Sub,
            clamp: Clamp::NONE,
        };
        let z = b.node("z", op, &[x, y], &[2, 3, 4]);
        let mut graph = b.finish(&[z]);
        expand(&mut graph);
        // The first is whole then; the second repeats inside and outside.
        assert_eq!(ops(&graph), ["Strided", "Sub"]);
        assert_eq!(
            graph.nodes[0].op,
            Op::Strided {
                strides: vec![4, 0, 1],
                offset: 0
            }
        );
    }

    #[test]
    fn constants_are_loaded_where_they_are_concatenated() {
        let mut b = GraphBuilder::new();
        let x = b.input(&[1, 2]);
        let c = b.constant(&[1, 1], Data::F32(vec![1.0]), None);
        let y = b.node("y", Op::Concat { axis: 1 }, &[x, c], &[1, 3]);
        let mut graph = b.finish(&[y]);
        expand(&mut graph);
        assert_eq!(ops(&graph), ["Load", "Concat"]);
        assert_eq!(graph[graph.nodes[0].output].dtype, DType::F32);
    }

    #[test]
    fn axes_of_one_do_not_stand_between() {
        assert_eq!(adjacent(&[2, 3, 1, 4, 5], &[1, 3]), Some((12, 5)));
        assert_eq!(adjacent(&[2, 3, 2, 4, 5], &[1, 3]), None);
    }
}
