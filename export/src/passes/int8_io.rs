//! Inputs and outputs become the integers that they are on the inside.

use crate::graph::{Graph, Op, ValueId};

/// Takes out the quantisation of every input that nothing reads as reals, and the dequantisation of every output: whoever runs the
/// graph gives and gets integers, with the scale and zero point that the node had. Names stay. Says how many borders changed.
pub fn int8_io(graph: &mut Graph) -> usize {
    let mut changed = 0;
    for index in 0..graph.inputs.len() {
        let input = graph.inputs[index];
        let readers = graph.consumers(input);
        let &[reader] = readers.as_slice() else {
            continue;
        };
        let integers = graph.nodes[reader].output;
        if graph.nodes[reader].op == Op::Quantize && !graph.is_output(input) {
            graph.nodes.remove(reader);
            swap_names(graph, input, integers);
            graph.inputs[index] = integers;
            changed += 1;
        }
    }
    for index in 0..graph.outputs.len() {
        let output = graph.outputs[index];
        let Some(writer) = graph.producer(output) else {
            continue;
        };
        let node = &graph.nodes[writer];
        let integers = node.inputs.first().copied();
        let Some(integers) = integers.filter(|_| node.op == Op::Dequantize) else {
            continue;
        };
        if graph.consumers(output).is_empty()
            && graph.producer(integers).is_some()
            && !graph.is_output(integers)
        {
            graph.nodes.remove(writer);
            swap_names(graph, output, integers);
            graph.outputs[index] = integers;
            changed += 1;
        }
    }
    changed
}

fn swap_names(graph: &mut Graph, a: ValueId, b: ValueId) {
    let name = std::mem::take(&mut graph[a].name);
    let other = std::mem::replace(&mut graph[b].name, name);
    graph[a].name = other;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::DType;
    use crate::passes::testing::{GraphBuilder, ops};

    #[test]
    fn borders_become_integers_and_keep_their_names() {
        let mut b = GraphBuilder::new();
        let x = b.input(&[1, 4]);
        let q = b.quantize(x, 0.5, 3);
        let flat = b.node("flat", Op::Reshape, &[q], &[4]);
        let y = b.dequantize(flat);
        let mut graph = b.finish(&[y]);
        let names = |graph: &Graph| {
            let of = |ids: &[ValueId]| graph[ids[0]].name.clone();
            [of(&graph.inputs), of(&graph.outputs)]
        };
        let before = names(&graph);
        assert_eq!(int8_io(&mut graph), 2);
        assert_eq!(ops(&graph), ["Reshape"]);
        assert_eq!(names(&graph), before);
        let input = &graph[graph.inputs[0]];
        assert_eq!(input.dtype, DType::I8);
        assert_eq!(input.quantization.as_ref().map(|q| q.zero_point), Some(3));
        assert_eq!(int8_io(&mut graph), 0);
    }

    #[test]
    fn an_input_that_is_read_as_reals_stays() {
        let mut b = GraphBuilder::new();
        let x = b.input(&[1, 4]);
        let q = b.quantize(x, 0.5, 3);
        let reals = b.node("reals", Op::Reshape, &[x], &[4]);
        let mut graph = b.finish(&[q, reals]);
        assert_eq!(int8_io(&mut graph), 0);
        assert_eq!(graph[graph.inputs[0]].dtype, DType::F32);
    }
}
