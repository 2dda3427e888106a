//! An addition of one constant per output channel becomes the bias of the layer before it.

use super::{absorb, private_producer};
use crate::graph::{Binary, DType, Data, Graph, Node, Op, Quantization, Value, ValueId};

/// The constant behind `id`: itself, or what a Dequantize reads.
fn constant_behind(graph: &Graph, id: ValueId) -> Option<ValueId> {
    if graph[id].data.is_some() {
        return Some(id);
    }
    let node = &graph.nodes[graph.producer(id)?];
    (node.op == Op::Dequantize && graph[node.inputs[0]].data.is_some()).then(|| node.inputs[0])
}

/// Whether a constant of `shape` varies along `axis` of a tensor of `rank` axes only (or not at all).
fn is_per_channel(shape: &[usize], rank: usize, axis: usize, channels: usize) -> bool {
    let elements: usize = shape.iter().product();
    if elements == 1 {
        return true;
    }
    elements == channels
        && shape.len() <= rank
        && shape.len() + axis >= rank
        && shape[shape.len() + axis - rank] == channels
}

/// Where the channels of the layer's output are in `id`, which is that output or a reshape of it.
fn channel_axis(graph: &Graph, layer: &Node, id: ValueId) -> Option<usize> {
    let (from, to) = (&graph[layer.output].shape, &graph[id].shape);
    match layer.op {
        Op::Conv2d { .. } => (from.get(..2)? == to.get(..2)?).then_some(1),
        _ => (from.last()? == to.last()?).then(|| to.len() - 1),
    }
}

/// Fuses additions of constants into convolutions and fully connected layers without bias.
pub fn fuse_bias(graph: &mut Graph) {
    let mut i = 0;
    while i < graph.nodes.len() {
        if !fuse(graph, i) {
            i += 1;
        }
    }
}

fn fuse(graph: &mut Graph, i: usize) -> bool {
    let node = &graph.nodes[i];
    let Op::Binary {
        op: Binary::Add,
        clamp,
    } = node.op
    else {
        return false;
    };
    for (x, addend) in [
        (node.inputs[0], node.inputs[1]),
        (node.inputs[1], node.inputs[0]),
    ] {
        let Some(source) = constant_behind(graph, addend) else {
            continue;
        };
        let Some(l) = private_producer(graph, x) else {
            continue;
        };
        let layer = &graph.nodes[l];
        let layer_clamp = match layer.op {
            Op::Conv2d { clamp, .. } | Op::FullyConnected { clamp } => clamp,
            _ => continue,
        };
        if layer.inputs.len() != 2
            || !layer_clamp.is_none()
            || graph[x].shape != graph[node.output].shape
        {
            continue;
        }
        let channels = graph[layer.inputs[1]].shape[0];
        let Some(axis) = channel_axis(graph, layer, x) else {
            continue;
        };
        let value = &graph[source];
        if !is_per_channel(&value.shape, graph[x].shape.len(), axis, channels) {
            continue;
        }
        let Some(data) = value.data.as_ref().and_then(|d| spread(d, channels)) else {
            continue;
        };
        let quantization = value.quantization.clone().map(|q| Quantization {
            axis: (q.scales.len() > 1).then_some(0),
            ..q
        });
        if quantization
            .as_ref()
            .is_some_and(|q| q.scales.len() > 1 && q.scales.len() != channels)
        {
            continue;
        }
        let name = graph.unique_name(&format!("{}_bias", graph[source].name));
        let mut bias = graph.add_constant(name, vec![channels], data, quantization);
        if source != addend {
            let dequantized = Value {
                name: graph.unique_name(&format!("{}_bias", graph[addend].name)),
                shape: vec![channels],
                dtype: DType::F32,
                quantization: None,
                data: None,
            };
            let output = graph.add_value(dequantized);
            let name = graph[output].name.clone();
            graph.nodes.insert(
                l,
                Node {
                    name,
                    op: Op::Dequantize,
                    inputs: vec![bias],
                    output,
                },
            );
            bias = output;
        }
        // The inserted node moved both.
        let shift = usize::from(source != addend);
        let layer = &mut graph.nodes[l + shift];
        layer.inputs.push(bias);
        if let Op::Conv2d { clamp: c, .. } | Op::FullyConnected { clamp: c } = &mut layer.op {
            *c = clamp;
        }
        absorb(graph, i + shift, x);
        return true;
    }
    false
}

/// One element becomes one per channel.
fn spread(data: &Data, channels: usize) -> Option<Data> {
    fn repeat<T: Copy>(v: &[T], n: usize) -> Vec<T> {
        if v.len() == 1 {
            vec![v[0]; n]
        } else {
            v.to_vec()
        }
    }
    match data {
        Data::F32(v) => Some(Data::F32(repeat(v, channels))),
        Data::I8(v) => Some(Data::I8(repeat(v, channels))),
        Data::U8(v) => Some(Data::U8(repeat(v, channels))),
        Data::I32(v) => Some(Data::I32(repeat(v, channels))),
        Data::I64(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{GraphBuilder, ops, window};
    use super::*;
    use crate::graph::Clamp;

    fn add() -> Op {
        Op::Binary {
            op: Binary::Add,
            clamp: Clamp::NONE,
        }
    }

    #[test]
    fn a_constant_per_channel_becomes_the_bias() {
        let mut b = GraphBuilder::new();
        let x = b.input(&[1, 1, 3, 3]);
        let w = b.floats("w", &[2, 1, 1, 1], 1.0);
        let c = b.floats("c", &[2, 1, 1], 0.5);
        let op = Op::Conv2d {
            window: window(1, 0),
            groups: 1,
            clamp: Clamp::NONE,
        };
        let y = b.node("conv", op, &[x, w], &[1, 2, 3, 3]);
        let z = b.node("add", add(), &[c, y], &[1, 2, 3, 3]);
        let mut g = b.finish(&[z]);
        fuse_bias(&mut g);
        assert_eq!(ops(&g), ["Conv"]);
        assert_eq!(
            g[g.nodes[0].inputs[2]].data,
            Some(Data::F32(vec![-0.5, 0.0]))
        );
        assert_eq!(g.nodes[0].output, z);
    }

    #[test]
    fn a_constant_along_another_axis_stays_an_addition() {
        let mut b = GraphBuilder::new();
        let x = b.input(&[1, 1, 3, 2]);
        let w = b.floats("w", &[2, 1, 1, 1], 1.0);
        let c = b.floats("c", &[2], 0.5);
        let op = Op::Conv2d {
            window: window(1, 0),
            groups: 1,
            clamp: Clamp::NONE,
        };
        let y = b.node("conv", op, &[x, w], &[1, 2, 3, 2]);
        let z = b.node("add", add(), &[y, c], &[1, 2, 3, 2]);
        let mut g = b.finish(&[z]);
        fuse_bias(&mut g);
        assert_eq!(ops(&g), ["Conv", "Add"]);
    }

    #[test]
    fn a_dequantised_constant_stays_integers() {
        let mut b = GraphBuilder::new();
        let x = b.input(&[1, 3]);
        let w = b.floats("w", &[2, 3], 1.0);
        let q = Some(Quantization::per_tensor(0.25, 0));
        let c = b.constant(&[1, 2], Data::I32(vec![7, 8]), q.clone());
        let y = b.node(
            "fc",
            Op::FullyConnected { clamp: Clamp::NONE },
            &[x, w],
            &[1, 2],
        );
        let d = b.dequantize(c);
        let z = b.node("add", add(), &[y, d], &[1, 2]);
        let mut g = b.finish(&[z]);
        fuse_bias(&mut g);
        g.remove_dead_nodes();
        assert_eq!(ops(&g), ["DequantizeLinear", "FullyConnected"]);
        let bias = &g[g.nodes[0].inputs[0]];
        assert_eq!(
            (bias.data.clone(), bias.quantization.clone()),
            (Some(Data::I32(vec![7, 8])), q)
        );
        assert_eq!(g.nodes[1].inputs[2], g.nodes[0].output);
    }
}
