//! Unsigned activations become signed ones: the same reals, 128 lower. Only the graph's border stays unsigned.

use crate::graph::{DType, Data, Graph, Node, Op, Quantization, Value, ValueId};

fn lowered(q: Option<&Quantization>) -> Option<Quantization> {
    q.map(|q| Quantization {
        zero_point: q.zero_point - 128,
        ..q.clone()
    })
}

/// A signed twin of a border value, under its name with a suffix.
fn twin(graph: &mut Graph, id: ValueId) -> ValueId {
    let border = &graph[id];
    let mut name = format!("{}_i8", border.name);
    while graph.values.iter().any(|v| v.name == name) {
        name.push('_');
    }
    let value = Value {
        name,
        shape: border.shape.clone(),
        dtype: DType::I8,
        quantization: lowered(border.quantization.as_ref()),
        data: None,
    };
    graph.add_value(value)
}

/// Whether these are unsigned activations. Bytes without a scale are numbers or truth values.
fn is_unsigned(value: &Value) -> bool {
    value.dtype == DType::U8 && value.quantization.is_some()
}

/// Rewrites every unsigned activation to I8, with a `Requantize` at unsigned inputs and outputs.
pub(super) fn make_activations_signed(graph: &mut Graph) {
    for id in graph.outputs.clone() {
        if !is_unsigned(&graph[id]) || graph.inputs.contains(&id) {
            continue;
        }
        let signed = twin(graph, id);
        let name = format!("{}_to_u8", graph[id].name);
        for node in &mut graph.nodes {
            for input in &mut node.inputs {
                if *input == id {
                    *input = signed;
                }
            }
            if node.output == id {
                node.output = signed;
            }
        }
        graph.nodes.push(Node {
            name,
            op: Op::Requantize,
            inputs: vec![signed],
            output: id,
        });
    }
    for id in graph.inputs.clone() {
        if !is_unsigned(&graph[id]) {
            continue;
        }
        let signed = twin(graph, id);
        for node in &mut graph.nodes {
            for input in &mut node.inputs {
                if *input == id {
                    *input = signed;
                }
            }
        }
        let name = format!("{}_from_u8", graph[id].name);
        graph.nodes.insert(
            0,
            Node {
                name,
                op: Op::Requantize,
                inputs: vec![id],
                output: signed,
            },
        );
    }
    let border: Vec<ValueId> = graph.inputs.iter().chain(&graph.outputs).copied().collect();
    for (i, value) in graph.values.iter_mut().enumerate() {
        if !is_unsigned(value) || border.contains(&ValueId(i)) {
            continue;
        }
        value.dtype = DType::I8;
        value.quantization = lowered(value.quantization.as_ref());
        if let Some(Data::U8(bytes)) = &value.data {
            value.data = Some(Data::I8(bytes.iter().map(|&b| (b ^ 0x80) as i8).collect()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_border_keeps_its_type_and_the_inside_is_signed() {
        let mut g = Graph::default();
        let value = |name: &str| Value {
            name: name.into(),
            shape: vec![2],
            dtype: DType::U8,
            quantization: Some(Quantization::per_tensor(0.5, 100)),
            data: None,
        };
        let (x, t, y) = (
            g.add_value(value("x")),
            g.add_value(value("t")),
            g.add_value(value("y")),
        );
        for (input, output) in [(x, t), (t, y)] {
            g.nodes.push(Node {
                name: "r".into(),
                op: Op::Reshape,
                inputs: vec![input],
                output,
            });
        }
        (g.inputs, g.outputs) = (vec![x], vec![y]);
        make_activations_signed(&mut g);
        assert_eq!((g[x].dtype, g[y].dtype), (DType::U8, DType::U8));
        assert_eq!(
            (g[t].dtype, g[t].quantization.clone()),
            (DType::I8, Some(Quantization::per_tensor(0.5, -28)))
        );
        let ops: Vec<bool> = g.nodes.iter().map(|n| n.op == Op::Requantize).collect();
        assert_eq!(ops, [true, false, false, true]);
        assert_eq!(g.nodes[3].output, y);
    }
}
