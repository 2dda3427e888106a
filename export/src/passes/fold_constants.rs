//! Quantised constants that no integer node took become float constants: weights of layers that run in float.

use crate::graph::{DType, Data, Graph, Op, Quantization, ValueId};

/// Computes every Dequantize of a constant.
pub fn fold_constants(graph: &mut Graph) {
    for i in 0..graph.nodes.len() {
        let (input, output) = (graph.nodes[i].inputs[0], graph.nodes[i].output);
        if graph.nodes[i].op != Op::Dequantize {
            continue;
        }
        if let Some(reals) = dequantized(graph, input) {
            graph[output].data = Some(Data::F32(reals));
            graph[output].dtype = DType::F32;
        }
    }
    let values = &graph.values;
    graph
        .nodes
        .retain(|node| values[node.output.0].data.is_none());
}

fn dequantized(graph: &Graph, id: ValueId) -> Option<Vec<f32>> {
    let value = &graph[id];
    let q = value.quantization.as_ref()?;
    let integers: Vec<i32> = match value.data.as_ref()? {
        Data::I8(v) => v.iter().map(|&v| v.into()).collect(),
        Data::U8(v) => v.iter().map(|&v| v.into()).collect(),
        Data::I32(v) => v.clone(),
        Data::F32(_) | Data::I64(_) => return None,
    };
    let scale = scales(q, &value.shape);
    let reals = integers
        .iter()
        .enumerate()
        .map(|(i, &v)| (v - q.zero_point) as f32 * scale(i));
    Some(reals.collect())
}

/// The scale of element `i`.
fn scales<'a>(q: &'a Quantization, shape: &[usize]) -> impl Fn(usize) -> f32 + 'a {
    let axis = q.axis.unwrap_or(0);
    let inner: usize = shape.get(axis + 1..).unwrap_or_default().iter().product();
    let len = q.scales.len();
    move |i| q.scales[if len == 1 { 0 } else { i / inner % len }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::passes::testing::{GraphBuilder, ops};

    #[test]
    fn every_channel_has_its_scale() {
        let mut b = GraphBuilder::new();
        let x = b.input(&[1, 2]);
        let q = Quantization {
            scales: vec![0.5, 2.0],
            zero_point: 0,
            axis: Some(0),
        };
        let w = b.constant(&[2, 2], Data::I8(vec![1, -2, 3, 4]), Some(q));
        let w = b.dequantize(w);
        let clamp = crate::graph::Clamp::NONE;
        let y = b.node("fc", Op::FullyConnected { clamp }, &[x, w], &[1, 2]);
        let mut g = b.finish(&[y]);
        fold_constants(&mut g);
        assert_eq!(ops(&g), ["FullyConnected"]);
        assert_eq!(g[w].data, Some(Data::F32(vec![0.5, -1.0, 6.0, 8.0])));
    }
}
