//! Which graphs are tried: the generators of this crate, with their weights changed and further operators behind them.

use super::operators;
use super::{Case, Input};
use crate::formats::{in_format, many_valued, thinned};
use crate::random::Random;
use crate::random_network::{chain, deep_network, network, sample, unsigned};
use crate::split_network::split_network;
use crate::wide_network::wide_network;
use kinglet_export::compress::formats::WeightFormat;
use kinglet_export::files::Tensor;
use kinglet_export::graph::{DType, Data, Graph, Op, ValueId};
use kinglet_export::onnx::write;
use kinglet_export::samples::decode;
use tract_onnx::pb::{AttributeProto, ModelProto, NodeProto, ValueInfoProto};

/// The graph of a seed, with an input for it. The same for ever: a seed is a name.
pub fn case(seed: u64) -> Case {
    let mut random = Random::new(seed ^ 0x6772_6170_6873);
    let inner = random.bits();
    let (kind, graph) = match random.below(12) {
        0 | 1 => ("float", network(inner, false)),
        2 => ("float chain", chain(inner, false)),
        3 | 4 => ("float, further operators", network(inner, false)),
        5 => ("int8 chain", quantized(chain(inner, true), &mut random)),
        6 => ("int8, deep", quantized(deep_network(inner), &mut random)),
        7 => ("int8, wide", quantized(wide_network(inner), &mut random)),
        8 => (
            "int8, low rank",
            quantized(split_network(inner), &mut random),
        ),
        9 => ("mixed", quantized(network(inner, true), &mut random)),
        _ => ("int8", quantized(network(inner, true), &mut random)),
    };
    let mut model = write::to_model_proto(&graph);
    if let Some(&output) = graph.outputs.first() {
        let shape = graph[output].shape.clone();
        match kind {
            "mixed" => {
                real_output(&mut model);
                operators::extend(&mut model, &shape, random.bits());
            }
            "float, further operators" => operators::extend(&mut model, &shape, random.bits()),
            _ => {}
        }
    }
    let inputs = inputs(&graph, &mut random);
    Case {
        kind,
        model,
        inputs,
    }
}

/// The network with its weights as other quantisers make them.
fn quantized(graph: Graph, random: &mut Random) -> Graph {
    match random.below(10) {
        0 => unsigned(graph),
        1 => in_format(graph, WeightFormat::Rf8),
        2 => as_integers(many_valued(graph)),
        3 => thinned(graph, random.bits()),
        4 | 5 => per_tensor(graph, 0),
        6 => per_tensor(unsigned(graph), 0),
        7 => {
            let zero_point = random.between(0, 60) as i32 - 30;
            per_tensor(graph, zero_point)
        }
        _ => graph,
    }
}

/// The network with the type of its weights as ONNX has it, where they are wider than a byte.
fn as_integers(mut graph: Graph) -> Graph {
    for value in &mut graph.values {
        if let Some(Data::I32(_)) = value.data {
            value.dtype = DType::I32;
        }
    }
    graph
}

/// The network with one scale for all channels of a layer; with a `zero_point` the weights are asymmetric.
fn per_tensor(mut graph: Graph, zero_point: i32) -> Graph {
    let layers = graph.nodes.iter();
    let layers = layers.filter(|n| matches!(n.op, Op::Conv2d { .. } | Op::FullyConnected { .. }));
    let operands: Vec<Vec<ValueId>> = layers.map(|n| n.inputs.clone()).collect();
    for operands in operands {
        let mut scale = 1.0;
        for (index, &id) in operands.iter().enumerate() {
            let Some(q) = &mut graph[id].quantization else {
                continue;
            };
            match index {
                0 => scale = q.scales[0],
                _ => {
                    q.axis = None;
                    q.scales.truncate(1);
                    // The bias has the product's scale.
                    if index == 1 {
                        q.zero_point = zero_point;
                        scale *= q.scales[0];
                    } else {
                        q.scales[0] = scale;
                    }
                }
            }
        }
    }
    graph
}

/// Puts a DequantizeLinear behind the first output, with the parameters of the QuantizeLinear that writes it.
fn real_output(model: &mut ModelProto) {
    let Some(graph) = &mut model.graph else {
        return;
    };
    let name = graph.output[0].name.clone();
    let producer = graph.node.iter().find(|n| n.output.contains(&name));
    let Some(quantize) = producer.filter(|n| n.op_type == "QuantizeLinear") else {
        return;
    };
    let mut input = quantize.input.clone();
    input[0].clone_from(&name);
    let real = format!("{name}_as_real");
    graph.node.push(NodeProto {
        op_type: "DequantizeLinear".into(),
        name: format!("{real}_node"),
        input,
        output: vec![real.clone()],
        ..NodeProto::default()
    });
    graph.output[0] = ValueInfoProto {
        name: real,
        ..ValueInfoProto::default()
    };
}

/// Random inputs; all least or all greatest values now and then.
fn inputs(graph: &Graph, random: &mut Random) -> Vec<Input> {
    let mut bytes = sample(graph, random);
    if random.one_in(16) {
        let extreme = random.pick(&[0x80u8, 0x7f]);
        let mut at = 0;
        for &id in &graph.inputs {
            let value = &graph[id];
            let size = if value.dtype == DType::F32 { 4 } else { 1 };
            if size == 1 {
                bytes[at..at + value.len()].fill(extreme);
            }
            at += size * value.len();
        }
    }
    let mut rest = bytes.as_slice();
    let one = |&id: &ValueId| {
        let value = &graph[id];
        let (dtype, size) = match value.dtype {
            DType::F32 => (kinglet::format::DType::F32, 4),
            DType::U8 => (kinglet::format::DType::U8, 1),
            _ => (kinglet::format::DType::I8, 1),
        };
        let (own, tail) = rest.split_at(size * value.len());
        rest = tail;
        Input {
            name: value.name.clone(),
            tensor: Tensor {
                shape: value.shape.clone(),
                data: decode(dtype, own),
            },
        }
    };
    graph.inputs.iter().map(one).collect()
}

/// An attribute of a node, by its name.
pub(super) fn attribute<'n>(node: &'n mut NodeProto, name: &str) -> Option<&'n mut AttributeProto> {
    node.attribute.iter_mut().find(|a| a.name == name)
}

/// The bytes of a tensor as a plan takes them.
pub(super) fn bytes(data: &Data) -> Vec<u8> {
    match data {
        Data::F32(v) => v.iter().flat_map(|v| v.to_le_bytes()).collect(),
        Data::I8(v) => v.iter().map(|&v| v as u8).collect(),
        Data::U8(v) => v.clone(),
        Data::I32(v) => v.iter().flat_map(|v| v.to_le_bytes()).collect(),
        Data::I64(v) => v.iter().flat_map(|&v| (v as i32).to_le_bytes()).collect(),
    }
}
