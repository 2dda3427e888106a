//! The literal `Dequantize → op → Quantize` becomes one node of the quantised dialect.
//!
//! First data movement is pulled out from between: it commutes with both ends. Then every `Quantize` looks at what
//! computes its operand. What cannot be lowered stays in float between its ends, with a [`Warning`].

use super::{Warning, is_private, op_name};
use crate::compress::formats::{Layer, recognise};
use crate::graph::{Binary, DType, Data, Graph, Node, Op, Pool, Quantization, Value, ValueId};

/// A bias scale this near to `s_x·s_w` is that product, rounded by the exporter.
const BIAS_SCALE_TOLERANCE: f64 = 1e-6;

/// Rewrites the graph into the quantised dialect as far as possible.
pub fn lower_qdq(graph: &mut Graph) -> Vec<Warning> {
    if !graph
        .nodes
        .iter()
        .any(|n| matches!(n.op, Op::Quantize | Op::Dequantize))
    {
        return Vec::new();
    }
    merge_equal_quantizes(graph);
    sink_dequantizes(graph);
    raise_quantizes(graph);
    let mut reasons: Vec<(ValueId, String)> = Vec::new();
    let mut rounded = Vec::new();
    let mut i = 0;
    while i < graph.nodes.len() {
        if graph.nodes[i].op == Op::Quantize {
            match lower(graph, i, &mut rounded) {
                // Nodes may have been inserted or removed before this one; look again from the start of the change.
                Ok(true) => {
                    i = 0;
                    continue;
                }
                Ok(false) => {}
                Err(reason) => {
                    let x = graph.nodes[i].inputs[0];
                    if !reasons.iter().any(|(id, _)| *id == x) {
                        reasons.push((x, reason));
                    }
                }
            }
        }
        i += 1;
    }
    graph.remove_dead_nodes();
    rounded.extend(warnings(graph, &reasons));
    rounded
}

fn warnings(graph: &Graph, reasons: &[(ValueId, String)]) -> Vec<Warning> {
    let mut warnings = Vec::new();
    for node in &graph.nodes {
        if matches!(node.op, Op::Quantize | Op::Dequantize | Op::Requantize)
            || graph[node.output].dtype != DType::F32
        {
            continue;
        }
        let why = match reasons.iter().find(|(id, _)| *id == node.output) {
            Some((_, reason)) => reason.clone(),
            None => "its result is not quantised".to_owned(),
        };
        warnings.push(Warning {
            node: node.name.clone(),
            op: op_name(&node.op).to_owned(),
            message: format!("runs in float: {why}"),
        });
    }
    warnings
}

/// Two Quantize nodes that do the same to the same value become one.
fn merge_equal_quantizes(graph: &mut Graph) {
    let mut i = 0;
    while i < graph.nodes.len() {
        let twin = (0..i).find(|&j| {
            let (a, b) = (&graph.nodes[j], &graph.nodes[i]);
            let (x, y) = (&graph[a.output], &graph[b.output]);
            a.op == Op::Quantize
                && b.op == Op::Quantize
                && a.inputs == b.inputs
                && x.dtype == y.dtype
                && x.quantization == y.quantization
        });
        let output = graph.nodes[i].output;
        match twin {
            Some(j) if !graph.is_output(output) => {
                let kept = graph.nodes[j].output;
                graph.nodes.remove(i);
                graph.replace_uses(output, kept);
            }
            _ => i += 1,
        }
    }
}

/// The value that a Dequantize of an activation reads, if `id` is its result.
fn dequantized(graph: &Graph, id: ValueId) -> Option<ValueId> {
    let node = &graph.nodes[graph.producer(id)?];
    (node.op == Op::Dequantize).then(|| node.inputs[0])
}

fn quantization(graph: &Graph, id: ValueId) -> Option<&Quantization> {
    graph[id].quantization.as_ref()
}

/// Whether a real value is exactly one of the integers' reals.
fn is_representable(value: f32, q: &Quantization) -> bool {
    let steps = value / q.scales[0];
    steps.fract() == 0.0 && (-128.0..=127.0).contains(&(steps + q.zero_point as f32))
}

fn new_value(
    graph: &mut Graph,
    name: &str,
    like: ValueId,
    dtype: DType,
    q: Option<Quantization>,
) -> ValueId {
    let name = graph.unique_name(name);
    let shape = graph[like].shape.clone();
    graph.add_value(Value {
        name,
        shape,
        dtype,
        quantization: q,
        data: None,
    })
}

/// `move(Dequantize(x))` → `Dequantize(move(x))` for everything that only moves or selects elements.
fn sink_dequantizes(graph: &mut Graph) {
    let mut i = 0;
    while i < graph.nodes.len() {
        if let Some((sources, q)) = sinkable(graph, i) {
            let output = graph.nodes[i].output;
            let name = format!("{}_q", graph[output].name);
            let moved = new_value(graph, &name, output, DType::I8, Some(q));
            graph.nodes[i].inputs = sources;
            graph.nodes[i].output = moved;
            let name = graph.unique_name(&format!("{}_dequantize", graph.nodes[i].name));
            graph.nodes.insert(
                i + 1,
                Node {
                    name,
                    op: Op::Dequantize,
                    inputs: vec![moved],
                    output,
                },
            );
        }
        i += 1;
    }
}

/// The integer operands and their common quantisation, if the node commutes with dequantising.
fn sinkable(graph: &Graph, i: usize) -> Option<(Vec<ValueId>, Quantization)> {
    let node = &graph.nodes[i];
    let sources: Vec<ValueId> = node
        .inputs
        .iter()
        .map(|&x| dequantized(graph, x))
        .collect::<Option<_>>()?;
    let q = quantization(graph, *sources.first()?)?.clone();
    let all_equal = sources
        .iter()
        .all(|&s| graph[s].dtype == DType::I8 && quantization(graph, s) == Some(&q));
    let commutes = match &node.op {
        Op::Reshape
        | Op::Transpose { .. }
        | Op::Concat { .. }
        | Op::Slice { .. }
        | Op::Pool {
            pool: Pool::Max, ..
        } => true,
        Op::Pad { value, .. } => is_representable(*value, &q),
        _ => false,
    };
    (commutes && all_equal && q.axis.is_none()).then_some((sources, q))
}

/// `Quantize(move(y))` → `move(Quantize(y))` where nobody else reads the moved floats.
fn raise_quantizes(graph: &mut Graph) {
    let mut i = 0;
    while i < graph.nodes.len() {
        let q = &graph.nodes[i];
        let moved = q.inputs.first().copied();
        if q.op == Op::Quantize
            && let Some(x) = moved
            && is_private(graph, x)
            && let Some(m) = graph.producer(x)
            && matches!(graph.nodes[m].op, Op::Reshape | Op::Transpose { .. })
        {
            let source = graph.nodes[m].inputs[0];
            let output = graph.nodes[i].output;
            let (dtype, quantization) = (graph[output].dtype, graph[output].quantization.clone());
            let name = format!("{}_q", graph[source].name);
            let quantized = new_value(graph, &name, source, dtype, quantization);
            let quantize = Node {
                name: graph.nodes[i].name.clone(),
                op: Op::Quantize,
                inputs: vec![source],
                output: quantized,
            };
            let mover = Node {
                inputs: vec![quantized],
                output,
                ..graph.nodes[m].clone()
            };
            graph.nodes[i] = mover;
            graph.nodes[m] = quantize;
            // The new Quantize may itself be raised further.
            i = m;
        } else {
            i += 1;
        }
    }
}

/// Lowers what Quantize node `i` stores. `Ok(false)`: it is a float that enters the integer part, and stays.
fn lower(graph: &mut Graph, i: usize, rounded: &mut Vec<Warning>) -> Result<bool, String> {
    let (x, output) = (graph.nodes[i].inputs[0], graph.nodes[i].output);
    let Some(p) = graph.producer(x) else {
        return Ok(false);
    };
    let node = graph.nodes[p].clone();
    if node.op == Op::Dequantize {
        graph.nodes[i].op = Op::Requantize;
        graph.nodes[i].inputs = node.inputs;
        return Ok(true);
    }
    if !is_private(graph, x) {
        return Err("its float result is read by several nodes, or is an output".into());
    }
    let target = quantization(graph, output)
        .cloned()
        .ok_or("its result has no quantisation")?;
    let count = graph.nodes.len();
    let lowered = match node.op {
        Op::Conv2d { .. } | Op::FullyConnected { .. } => layer(graph, &node, rounded)?,
        Op::Binary {
            op: Binary::Add | Binary::Sub | Binary::Mul,
            ..
        } => activations(graph, &node, true)?,
        Op::Pool { .. } | Op::Unary(_) | Op::Softmax { .. } => activations(graph, &node, false)?,
        Op::Pad { .. }
        | Op::Concat { .. }
        | Op::Slice { .. }
        | Op::Reshape
        | Op::Transpose { .. } => {
            return rescaled(graph, i, p, &node, &target);
        }
        _ => return Err(format!("{} has no integer form", op_name(&node.op))),
    };
    let inserted = graph.nodes.len() - count;
    graph.nodes[p + inserted] = Node {
        inputs: lowered,
        output,
        ..node
    };
    graph.nodes.remove(i + inserted);
    Ok(true)
}

/// Operand `id` as integers, or why it has none.
fn integer_operand(graph: &Graph, id: ValueId) -> Result<ValueId, String> {
    let name = &graph[id].name;
    let source =
        dequantized(graph, id).ok_or_else(|| format!("its operand `{name}` is not quantised"))?;
    let value = &graph[source];
    match (&value.quantization, value.dtype) {
        (Some(q), DType::I8) if q.axis.is_none() => Ok(source),
        _ => Err(format!("its operand `{name}` is not int8 with one scale")),
    }
}

fn activations(graph: &Graph, node: &Node, constants: bool) -> Result<Vec<ValueId>, String> {
    let operands: Vec<ValueId> = node
        .inputs
        .iter()
        .map(|&id| integer_operand(graph, id))
        .collect::<Result<_, _>>()?;
    if !constants && operands.iter().any(|&id| graph[id].data.is_some()) {
        return Err("its operand is constant".into());
    }
    Ok(operands)
}

/// Operands of a convolution or fully connected layer, the bias in units of `s_x·s_w`.
fn layer(
    graph: &mut Graph,
    node: &Node,
    rounded: &mut Vec<Warning>,
) -> Result<Vec<ValueId>, String> {
    let x = integer_operand(graph, node.inputs[0])?;
    let w = match dequantized(graph, node.inputs[1]) {
        Some(w) => w,
        None => format_weights(graph, node, x, rounded)
            .ok_or("its weights are not quantised, nor are they values of RF8, E4M3 or E3M4")?,
    };
    let weights = &graph[w];
    let channels = weights.shape[0];
    let wq = weights
        .quantization
        .clone()
        .ok_or("its weights have no scale")?;
    if weights.dtype == DType::F32 || weights.data.is_none() || wq.zero_point != 0 {
        return Err("its weights are not constant symmetric int8".into());
    }
    if wq.axis.is_some_and(|a| a != 0) {
        return Err("its weights have one scale for each input channel; one for each output channel is needed".into());
    }
    let bias_at = node.inputs.get(2).copied();
    let mut operands = Vec::new();
    if let Some(b) = bias_at {
        let sx = quantization(graph, x).map_or(1.0, |q| q.scales[0]);
        let units: Vec<f32> = (0..channels)
            .map(|c| sx * wq.scales[if wq.scales.len() > 1 { c } else { 0 }])
            .collect();
        operands.push(bias(graph, b, &units, wq.scales.len() > 1)?);
    }
    operands.splice(0..0, [x, w]);
    Ok(operands)
}

/// Float weights that are values of an eight-bit format, as integers.
fn format_weights(
    graph: &mut Graph,
    node: &Node,
    x: ValueId,
    rounded: &mut Vec<Warning>,
) -> Option<ValueId> {
    let value = &graph[node.inputs[1]];
    let Some(Data::F32(weights)) = &value.data else {
        return None;
    };
    let coded = recognise(weights, &value.shape)?;
    let input = quantization(graph, x)?;
    let bias = node.inputs.get(2).and_then(|&b| match &graph[b].data {
        Some(Data::F32(bias)) => Some(&bias[..]),
        _ => None,
    });
    let integers = coded.integers(&Layer {
        bias: bias.unwrap_or(&[]),
        input_scale: input.scales[0],
        input_zero_point: input.zero_point,
    });
    if integers.rounded > 0 {
        let format = coded.format.name();
        rounded.push(Warning {
            node: node.name.clone(),
            op: op_name(&node.op).to_owned(),
            message: format!(
                "{} of {} {format} weights are so small beside the largest one of their channel that they were rounded \
                 to its 16-bit unit",
                integers.rounded,
                weights.len()
            ),
        });
    }
    let q = Quantization {
        scales: integers.scales,
        zero_point: 0,
        axis: Some(0),
    };
    let (name, shape) = (format!("{}_integers", value.name), value.shape.clone());
    let name = graph.unique_name(&name);
    Some(graph.add_constant(name, shape, Data::I32(integers.values), Some(q)))
}

/// The bias as integers times `units`.
fn bias(
    graph: &mut Graph,
    b: ValueId,
    units: &[f32],
    per_channel: bool,
) -> Result<ValueId, String> {
    let source = dequantized(graph, b).unwrap_or(b);
    let value = &graph[source];
    let scale = |q: &Quantization, c: usize| q.scales[if q.scales.len() > 1 { c } else { 0 }];
    let mut integers = Vec::with_capacity(units.len());
    for (c, &unit) in units.iter().enumerate() {
        let unit = f64::from(unit);
        let (step, steps) = match (&value.data, &value.quantization) {
            (Some(Data::F32(v)), _) => (f64::from(v[c]), 1),
            (Some(Data::I32(v)), Some(q)) => (f64::from(scale(q, c)), v[c] - q.zero_point),
            (Some(Data::I8(v)), Some(q)) => {
                (f64::from(scale(q, c)), i32::from(v[c]) - q.zero_point)
            }
            _ => return Err("its bias is not constant".into()),
        };
        let kept =
            value.quantization.is_some() && (step / unit - 1.0).abs() <= BIAS_SCALE_TOLERANCE;
        let exact = if kept {
            f64::from(steps)
        } else {
            (step * f64::from(steps) / unit).round_ties_even()
        };
        if exact.is_nan() || exact.abs() > f64::from(i32::MAX) {
            return Err(format!(
                "its bias for channel {c} does not fit int32 in units of the accumulator ({unit:e})"
            ));
        }
        integers.push(exact as i32);
    }
    let q = if per_channel {
        Quantization {
            scales: units.to_vec(),
            zero_point: 0,
            axis: Some(0),
        }
    } else {
        Quantization::per_tensor(units.first().copied().unwrap_or(1.0), 0)
    };
    if quantization(graph, source) == Some(&q) && graph[source].dtype == DType::I32 {
        return Ok(source);
    }
    let name = graph.unique_name(&format!("{}_int32", graph[source].name));
    Ok(graph.add_constant(name, vec![integers.len()], Data::I32(integers), Some(q)))
}

/// Data movement between different quantisations: each operand is requantised first, then moved.
fn rescaled(
    graph: &mut Graph,
    i: usize,
    p: usize,
    node: &Node,
    target: &Quantization,
) -> Result<bool, String> {
    let mut sources = Vec::new();
    for &id in &node.inputs {
        sources.push(integer_operand(graph, id)?);
    }
    let output = graph.nodes[i].output;
    graph.nodes.remove(i);
    let mut inserted = 0;
    for source in &mut sources {
        if quantization(graph, *source) == Some(target) {
            continue;
        }
        let name = format!("{}_requantized", graph[*source].name);
        let value = new_value(graph, &name, *source, DType::I8, Some(target.clone()));
        let name = graph[value].name.clone();
        let requantize = Node {
            name,
            op: Op::Requantize,
            inputs: vec![*source],
            output: value,
        };
        graph.nodes.insert(p + inserted, requantize);
        inserted += 1;
        *source = value;
    }
    graph.nodes[p + inserted] = Node {
        inputs: sources,
        output,
        ..node.clone()
    };
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{GraphBuilder, ops, window};
    use super::*;
    use crate::graph::{Clamp, Unary};

    /// `DQ → Conv(+ float bias) → Q` with weight scales 0.5 and 0.25 and input scale 0.1.
    fn convolution(bias: Data, q: Option<Quantization>) -> Graph {
        let mut b = GraphBuilder::new();
        let x = b.quantized_input(&[1, 1, 3, 3], 0.1, 3);
        let wq = Quantization {
            scales: vec![0.5, 0.25],
            zero_point: 0,
            axis: Some(0),
        };
        let w = b.constant(&[2, 1, 1, 1], Data::I8(vec![1, -2]), Some(wq));
        let quantized = q.is_some();
        let c = b.constant(&[2], bias, q);
        let (x, w) = (b.dequantize(x), b.dequantize(w));
        let c = if quantized { b.dequantize(c) } else { c };
        let op = Op::Conv2d {
            window: window(1, 0),
            groups: 1,
            clamp: Clamp::RELU,
        };
        let y = b.node("conv", op, &[x, w, c], &[1, 2, 3, 3]);
        let y = b.quantize(y, 0.2, -5);
        b.finish(&[y])
    }

    #[test]
    fn a_float_bias_becomes_accumulator_units() {
        let mut g = convolution(Data::F32(vec![0.12, -0.1]), None);
        assert_eq!(lower_qdq(&mut g), []);
        assert_eq!(ops(&g), ["Conv"]);
        let bias = &g[g.nodes[0].inputs[2]];
        assert_eq!(bias.data, Some(Data::I32(vec![2, -4])));
        assert_eq!(
            bias.quantization.as_ref().unwrap().scales,
            [0.1 * 0.5, 0.1 * 0.25]
        );
        assert_eq!(g.nodes[0].output, g.outputs[0]);
        assert_eq!(
            g[g.nodes[0].inputs[0]].quantization,
            Some(Quantization::per_tensor(0.1, 3))
        );
    }

    #[test]
    fn an_integer_bias_at_nearly_the_right_scale_keeps_its_integers() {
        let scales = vec![0.1 * 0.5 * (1.0 + 2e-7), 0.1 * 0.25];
        let q = Quantization {
            scales,
            zero_point: 0,
            axis: Some(0),
        };
        let mut g = convolution(Data::I32(vec![100_000_000, -7]), Some(q));
        assert_eq!(lower_qdq(&mut g), []);
        assert_eq!(
            g[g.nodes[0].inputs[2]].data,
            Some(Data::I32(vec![100_000_000, -7]))
        );
    }

    #[test]
    fn weights_too_wide_for_int8_still_lower() {
        let mut b = GraphBuilder::new();
        let x = b.quantized_input(&[1, 2], 0.1, 3);
        let wide = Data::I32(vec![101, 227, -28, 127]);
        let w = b.constant(
            &[2, 2],
            wide.clone(),
            Some(Quantization::per_tensor(0.5, 0)),
        );
        let (x, w) = (b.dequantize(x), b.dequantize(w));
        let y = b.node(
            "fc",
            Op::FullyConnected { clamp: Clamp::NONE },
            &[x, w],
            &[1, 2],
        );
        let y = b.quantize(y, 0.2, -5);
        let mut g = b.finish(&[y]);
        assert_eq!(lower_qdq(&mut g), []);
        assert_eq!(ops(&g), ["FullyConnected"]);
        assert_eq!(g[g.nodes[0].inputs[1]].data, Some(wide));
    }

    #[test]
    fn a_bias_that_overflows_leaves_the_layer_in_float_with_a_warning() {
        let mut g = convolution(Data::F32(vec![1e9, 0.0]), None);
        let warnings = lower_qdq(&mut g);
        assert_eq!(warnings.len(), 1);
        assert!(
            warnings[0].node == "conv" && warnings[0].message.contains("int32"),
            "{warnings:?}"
        );
        assert!(ops(&g).contains(&"QuantizeLinear"));
    }

    #[test]
    fn movement_between_quantisations_requantises_first() {
        let mut b = GraphBuilder::new();
        let x = b.quantized_input(&[1, 4], 0.1, 3);
        let y = b.quantized_input(&[1, 4], 0.2, 0);
        let (x, y) = (b.dequantize(x), b.dequantize(y));
        let z = b.node("concat", Op::Concat { axis: 1 }, &[x, y], &[1, 8]);
        let z = b.quantize(z, 0.2, 0);
        let mut g = b.finish(&[z]);
        assert_eq!(lower_qdq(&mut g), []);
        assert_eq!(ops(&g), ["Requantize", "Concat"]);
        assert!(
            g.nodes[1]
                .inputs
                .iter()
                .all(|&id| g[id].quantization == Some(Quantization::per_tensor(0.2, 0)))
        );
    }

    #[test]
    fn reshapes_between_the_ends_are_pulled_out() {
        let mut b = GraphBuilder::new();
        let x = b.quantized_input(&[2, 3], 0.1, 3);
        let d = b.dequantize(x);
        let r = b.node("in", Op::Reshape, &[d], &[3, 2]);
        let s = b.node("sigmoid", Op::Unary(Unary::Sigmoid), &[r], &[3, 2]);
        let t = b.node("out", Op::Transpose { perm: vec![1, 0] }, &[s], &[2, 3]);
        let y = b.quantize(t, 1.0 / 256.0, -128);
        let mut g = b.finish(&[y]);
        assert_eq!(lower_qdq(&mut g), []);
        assert_eq!(ops(&g), ["Reshape", "Sigmoid", "Transpose"]);
        assert!(
            g.nodes
                .iter()
                .all(|n| g[n.output].dtype == DType::I8 && g[n.output].quantization.is_some())
        );
        assert_eq!((g.nodes[0].inputs[0], g.nodes[2].output), (x, y));
    }

    #[test]
    fn a_chain_of_functions_stays_in_float_and_says_so() {
        let mut b = GraphBuilder::new();
        let x = b.quantized_input(&[4], 0.1, 3);
        let d = b.dequantize(x);
        let t = b.node("tanh", Op::Unary(Unary::Tanh), &[d], &[4]);
        let s = b.node("sigmoid", Op::Unary(Unary::Sigmoid), &[t], &[4]);
        let y = b.quantize(s, 1.0 / 256.0, -128);
        let mut g = b.finish(&[y]);
        let warnings = lower_qdq(&mut g);
        let names: Vec<&str> = warnings.iter().map(|w| w.node.as_str()).collect();
        assert_eq!(names, ["tanh", "sigmoid"]);
        assert_eq!(
            ops(&g),
            ["DequantizeLinear", "Tanh", "Sigmoid", "QuantizeLinear"]
        );
    }

    #[test]
    fn a_float_graph_is_left_alone() {
        let mut b = GraphBuilder::new();
        let x = b.input(&[4]);
        let y = b.node("tanh", Op::Unary(Unary::Tanh), &[x], &[4]);
        let mut g = b.finish(&[y]);
        assert_eq!(lower_qdq(&mut g), []);
    }
}
