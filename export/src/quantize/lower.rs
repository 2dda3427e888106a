//! The rewriting itself: float graph → quantised dialect.

use super::{Options, QuantizeError, Ranges, constants};
use crate::compress::formats::{Layer, WeightFormat};
use crate::files::first_non_finite;
use crate::graph::{
    Binary, Clamp, DType, Data, Graph, Node, Op, Pool, Quantization, Unary, Value, ValueId,
};
use std::collections::{HashMap, HashSet};

/// Where the quantisation of a node's output comes from.
enum Source {
    /// It is the first input's.
    Input,
    /// The operator fixes it.
    Fixed(Quantization),
    /// The calibrated range, cut to the clamp.
    Range(Clamp),
}

fn source(op: &Op) -> Source {
    match op {
        Op::Reshape
        | Op::Transpose { .. }
        | Op::Pad { .. }
        | Op::Slice { .. }
        | Op::Pool {
            pool: Pool::Max, ..
        } => Source::Input,
        Op::Softmax { .. } | Op::Unary(Unary::Sigmoid) => {
            Source::Fixed(Quantization::per_tensor(1.0 / 256.0, -128))
        }
        Op::Unary(Unary::Tanh) => Source::Fixed(Quantization::per_tensor(1.0 / 128.0, 0)),
        Op::Conv2d { clamp, .. } | Op::FullyConnected { clamp } | Op::Binary { clamp, .. } => {
            Source::Range(*clamp)
        }
        Op::Unary(Unary::Clamp(clamp)) => Source::Range(*clamp),
        _ => Source::Range(Clamp::NONE),
    }
}

/// Values whose range quantisation needs, in order: inputs that are used, and every result that is neither moved data
/// nor of an operator with a fixed range.
pub(super) fn ranged_values(graph: &Graph) -> Vec<ValueId> {
    let used: HashSet<ValueId> = graph
        .nodes
        .iter()
        .flat_map(|n| &n.inputs)
        .copied()
        .collect();
    let inputs = graph.inputs.iter().copied().filter(|id| used.contains(id));
    let results = graph
        .nodes
        .iter()
        .filter(|n| matches!(source(&n.op), Source::Range(_)))
        .map(|n| n.output);
    inputs.chain(results).collect()
}

/// Quantises a float graph that [`crate::passes::prepare`] has been over.
///
/// The result is in the quantised dialect. Values keep their names, except that the int8 form of a float input or
/// output is called `NAME_quantized`.
///
/// # Errors
/// See [`QuantizeError`]; each names the node or the tensor.
pub fn quantize(graph: &Graph, ranges: &Ranges, options: &Options) -> Result<Graph, QuantizeError> {
    check(graph)?;
    let mut lowering = Lowering {
        source: graph,
        ranges,
        options: *options,
        widened: widened(graph),
        out: Graph {
            name: graph.name.clone(),
            states: graph.states.clone(),
            ..Graph::default()
        },
        names: graph.values.iter().map(|v| v.name.clone()).collect(),
        mapped: HashMap::new(),
    };
    for &id in &graph.inputs {
        lowering.input(id, options.int8_io)?;
    }
    for node in &graph.nodes {
        lowering.node(node, options.int8_io)?;
    }
    for &id in &graph.outputs {
        lowering.output(id, options.int8_io)?;
    }
    Ok(lowering.out)
}

/// Refuses what has no int8 form, before anything is done.
pub(super) fn check(graph: &Graph) -> Result<(), QuantizeError> {
    for node in &graph.nodes {
        let unsupported = |reason: &str| QuantizeError::Unsupported {
            node: node.name.clone(),
            reason: reason.into(),
        };
        let typed =
            |id: &ValueId| graph[*id].dtype != DType::F32 || graph[*id].quantization.is_some();
        let quantized = matches!(node.op, Op::Quantize | Op::Dequantize | Op::Requantize);
        if quantized || node.inputs.iter().chain([&node.output]).any(typed) {
            return Err(QuantizeError::AlreadyQuantized {
                node: node.name.clone(),
            });
        }
        match &node.op {
            Op::BatchNorm { .. } => {
                return Err(unsupported(
                    "BatchNormalization has no int8 form unless it can be folded into a convolution or fully \
                     connected layer before it; place it directly after one",
                ));
            }
            Op::Binary {
                op: Binary::Div, ..
            } => {
                return Err(unsupported(
                    "Div has no int8 form; if the divisor is constant, multiply by its reciprocal instead",
                ));
            }
            Op::Binary {
                op:
                    Binary::Min
                    | Binary::Max
                    | Binary::Pow
                    | Binary::Equal
                    | Binary::Less
                    | Binary::LessOrEqual,
                ..
            }
            | Op::Select
            | Op::Strided { .. }
            | Op::Pick { .. }
            | Op::Gather { .. }
            | Op::Resample { .. }
            | Op::Reduce { .. }
            | Op::MatMul
            | Op::Recurrent { .. }
            | Op::Load
            | Op::Convert => {
                return Err(unsupported(&format!(
                    "{} has no int8 form; compile the float model",
                    crate::passes::op_name(&node.op)
                )));
            }
            Op::Conv2d { .. } | Op::FullyConnected { .. }
                if node.inputs[1..].iter().any(|&id| graph[id].data.is_none()) =>
            {
                return Err(unsupported(
                    "weights and bias must be constants to be quantised",
                ));
            }
            Op::Pad { value, .. } if !value.is_finite() => {
                return Err(unsupported("padding with NaN or infinity has no int8 form"));
            }
            _ => {}
        }
    }
    for value in &graph.values {
        if let Some(Data::F32(data)) = &value.data
            && let Some(index) = first_non_finite(data)
        {
            return Err(QuantizeError::NotFinite {
                value: value.name.clone(),
                index,
                found: data[index],
            });
        }
    }
    Ok(())
}

/// The quantisation of a value by its calibrated range, cut to the clamp and widened to what it is padded with.
fn calibrated(
    graph: &Graph,
    ranges: &Ranges,
    id: ValueId,
    clamp: Clamp,
    (low, high): (f32, f32),
) -> Result<Quantization, QuantizeError> {
    let name = &graph[id].name;
    let not_observed = || QuantizeError::NotObserved {
        value: name.clone(),
    };
    let (min, max) = ranges.get(name).ok_or_else(not_observed)?;
    if let Some(&found) = [min, max].iter().find(|v| !v.is_finite()) {
        return Err(QuantizeError::NotFinite {
            value: name.clone(),
            index: 0,
            found,
        });
    }
    let cut = |v: f32| v.max(clamp.min).min(clamp.max);
    Ok(constants::activation(cut(min).min(low), cut(max).max(high)))
}

/// The quantisation that [`quantize`] gives to each value whose range is calibrated: what training for it must see.
///
/// # Errors
/// As [`quantize`].
pub fn activation_quantizations(
    graph: &Graph,
    ranges: &Ranges,
) -> Result<Vec<(ValueId, Quantization)>, QuantizeError> {
    let padded = widened(graph);
    let of = |id: ValueId| {
        let clamp = match graph.producer(id).map(|i| source(&graph.nodes[i].op)) {
            Some(Source::Range(clamp)) => clamp,
            _ => Clamp::NONE,
        };
        let widened = padded.get(&id).copied().unwrap_or_default();
        Ok((id, calibrated(graph, ranges, id, clamp, widened)?))
    };
    ranged_values(graph).into_iter().map(of).collect()
}

/// Padding values by the value whose quantisation must be able to say them.
fn widened(graph: &Graph) -> HashMap<ValueId, (f32, f32)> {
    let mut root: HashMap<ValueId, ValueId> = HashMap::new();
    let mut widened = HashMap::new();
    for node in &graph.nodes {
        if !matches!(source(&node.op), Source::Input) {
            continue;
        }
        let first = node.inputs[0];
        let from = root.get(&first).copied().unwrap_or(first);
        root.insert(node.output, from);
        if let Op::Pad { value, .. } = node.op {
            let (min, max) = widened.entry(from).or_insert((0.0f32, 0.0f32));
            *min = min.min(value);
            *max = max.max(value);
        }
    }
    widened
}

struct Lowering<'a> {
    source: &'a Graph,
    ranges: &'a Ranges,
    options: Options,
    widened: HashMap<ValueId, (f32, f32)>,
    out: Graph,
    names: HashSet<String>,
    /// int8 form of a value of the source.
    mapped: HashMap<ValueId, ValueId>,
}

impl Lowering<'_> {
    fn fresh(&mut self, base: &str) -> String {
        let mut name = base.to_owned();
        let mut n = 1;
        while !self.names.insert(name.clone()) {
            n += 1;
            name = format!("{base}_{n}");
        }
        name
    }

    fn add(
        &mut self,
        name: String,
        shape: &[usize],
        quantization: Option<Quantization>,
    ) -> ValueId {
        let dtype = if quantization.is_some() {
            DType::I8
        } else {
            DType::F32
        };
        self.out.add_value(Value {
            name,
            shape: shape.to_vec(),
            dtype,
            quantization,
            data: None,
        })
    }

    fn push(&mut self, name: String, op: Op, inputs: Vec<ValueId>, output: ValueId) {
        self.out.nodes.push(Node {
            name,
            op,
            inputs,
            output,
        });
    }

    fn quantization_of(&self, id: ValueId) -> Quantization {
        // Every id in `mapped` was made with a quantisation.
        self.out[id]
            .quantization
            .clone()
            .unwrap_or_else(|| Quantization::per_tensor(1.0, 0))
    }

    fn calibrated(&self, id: ValueId, clamp: Clamp) -> Result<Quantization, QuantizeError> {
        let widened = self.widened.get(&id).copied().unwrap_or_default();
        calibrated(self.source, self.ranges, id, clamp, widened)
    }

    fn input(&mut self, id: ValueId, int8_io: bool) -> Result<(), QuantizeError> {
        let value = &self.source[id];
        if self.source.consumers(id).is_empty() {
            let unused = self.out.add_value(value.clone());
            self.out.inputs.push(unused);
            return Ok(());
        }
        let q = self.calibrated(id, Clamp::NONE)?;
        let int8 = if int8_io {
            let int8 = self.add(value.name.clone(), &value.shape, Some(q));
            self.out.inputs.push(int8);
            int8
        } else {
            let float = self.add(value.name.clone(), &value.shape, None);
            self.out.inputs.push(float);
            let name = self.fresh(&format!("{}_quantized", value.name));
            let int8 = self.add(name, &value.shape, Some(q));
            self.push(
                format!("{}_quantize", value.name),
                Op::Quantize,
                vec![float],
                int8,
            );
            int8
        };
        self.mapped.insert(id, int8);
        Ok(())
    }

    fn output(&mut self, id: ValueId, int8_io: bool) -> Result<(), QuantizeError> {
        let value = &self.source[id];
        // An input that is an output too, or a repeated output, is there already.
        if let Some(index) = self.out.values.iter().position(|v| v.name == value.name) {
            self.out.outputs.push(ValueId(index));
            return Ok(());
        }
        let int8 = self.operand(id);
        if int8_io {
            self.out.outputs.push(int8);
            return Ok(());
        }
        let float = self.add(value.name.clone(), &value.shape, None);
        self.push(
            format!("{}_dequantize", value.name),
            Op::Dequantize,
            vec![int8],
            float,
        );
        self.out.outputs.push(float);
        Ok(())
    }

    /// The int8 form of an operand; constants are quantised to their own range at first use.
    fn operand(&mut self, id: ValueId) -> ValueId {
        if let Some(&int8) = self.mapped.get(&id) {
            return int8;
        }
        let (low, high) = self.widened.get(&id).copied().unwrap_or_default();
        let values = real_data(self.source, id);
        let (min, max) = values
            .iter()
            .fold((low, high), |(a, b), &v| (a.min(v), b.max(v)));
        let int8 = self.constant(id, constants::activation(min, max));
        self.mapped.insert(id, int8);
        int8
    }

    fn constant(&mut self, id: ValueId, q: Quantization) -> ValueId {
        let data = Data::I8(constants::quantize(real_data(self.source, id), &q));
        let value = &self.source[id];
        let name = self.fresh(&format!("{}_quantized", value.name));
        self.out
            .add_constant(name, value.shape.clone(), data, Some(q))
    }

    fn node(&mut self, node: &Node, int8_io: bool) -> Result<(), QuantizeError> {
        let inputs = match &node.op {
            Op::Conv2d { .. } | Op::FullyConnected { .. } => self.weighted(node),
            _ => Vec::new(),
        };
        let q = match source(&node.op) {
            Source::Input => {
                let x = self.operand(node.inputs[0]);
                self.quantization_of(x)
            }
            Source::Fixed(q) => {
                if self
                    .widened
                    .get(&node.output)
                    .is_some_and(|&(low, high)| !representable(low, high, &q))
                {
                    let reason =
                        "its result is padded with a value that its int8 form cannot hold".into();
                    return Err(QuantizeError::Unsupported {
                        node: node.name.clone(),
                        reason,
                    });
                }
                q
            }
            Source::Range(clamp) => self.calibrated(node.output, clamp)?,
        };
        let inputs = match &node.op {
            Op::Conv2d { .. } | Op::FullyConnected { .. } => inputs,
            Op::Concat { .. } => node
                .inputs
                .iter()
                .map(|&id| self.concat_part(node, id, &q))
                .collect(),
            _ => node.inputs.iter().map(|&id| self.operand(id)).collect(),
        };
        let value = &self.source[node.output];
        let renamed = self.source.is_output(node.output) && !int8_io;
        let name = if renamed {
            self.fresh(&format!("{}_quantized", value.name))
        } else {
            value.name.clone()
        };
        let output = self.add(name, &value.shape, Some(q));
        self.mapped.insert(node.output, output);
        self.push(node.name.clone(), node.op.clone(), inputs, output);
        Ok(())
    }

    /// An operand of a concatenation in the concatenation's own quantisation.
    fn concat_part(&mut self, node: &Node, id: ValueId, q: &Quantization) -> ValueId {
        if self.source[id].data.is_some() {
            return self.constant(id, q.clone());
        }
        let int8 = self.operand(id);
        if self.quantization_of(int8) == *q {
            return int8;
        }
        let name = self.fresh(&format!("{}_requantized", self.source[id].name));
        let part = self.add(name.clone(), &self.source[id].shape, Some(q.clone()));
        self.push(
            format!("{}_{name}", node.name),
            Op::Requantize,
            vec![int8],
            part,
        );
        part
    }

    /// Operands of a convolution or fully connected layer.
    fn weighted(&mut self, node: &Node) -> Vec<ValueId> {
        let x = self.operand(node.inputs[0]);
        let input_scale = self.quantization_of(x).scales[0];
        let (w, b) = (node.inputs[1], node.inputs.get(2).copied());
        let shape = self.source[w].shape.clone();
        let channels = shape.first().copied().unwrap_or(0);
        let bias = b.map(|b| real_data(self.source, b));
        let input = Layer {
            bias: bias.unwrap_or(&[]),
            input_scale,
            input_zero_point: self.quantization_of(x).zero_point,
        };
        let weights = real_data(self.source, w);
        let quantized = match self.options.weights {
            WeightFormat::Int8 => {
                constants::weights(weights, &input, channels, self.options.weight_step)
            }
            format => constants::format_weights(format, weights, &shape, &input),
        };
        let per_channel = |scales| {
            Some(Quantization {
                scales,
                zero_point: 0,
                axis: Some(0),
            })
        };
        let name = self.fresh(&format!("{}_quantized", self.source[w].name));
        let w = self.out.add_constant(
            name,
            shape,
            quantized.weight,
            per_channel(quantized.weight_scales),
        );
        let mut inputs = vec![x, w];
        if let Some(b) = b {
            let bias = quantized.bias;
            let name = self.fresh(&format!("{}_quantized", self.source[b].name));
            let q = per_channel(quantized.bias_scales);
            inputs.push(
                self.out
                    .add_constant(name, vec![channels], Data::I32(bias), q),
            );
        }
        inputs
    }
}

/// Contents of a float constant; `check` has seen to it that operands are.
fn real_data(graph: &Graph, id: ValueId) -> &[f32] {
    match &graph[id].data {
        Some(Data::F32(values)) => values,
        _ => &[],
    }
}

/// Whether `[low, high]` lies within what `q` can say, to half a step.
fn representable(low: f32, high: f32, q: &Quantization) -> bool {
    let real = |integer: i32| (integer - q.zero_point) as f32 * q.scales[0];
    let half = q.scales[0] / 2.0;
    low >= real(-128) - half && high <= real(127) + half
}

#[cfg(test)]
mod tests {
    use super::super::testing::{conv_relu_graph, push, value};
    use super::*;
    use crate::graph::Window;

    fn ranges(entries: &[(&str, f32, f32)]) -> Ranges {
        let mut ranges = Ranges::default();
        for &(name, min, max) in entries {
            ranges.insert(name, min, max);
        }
        ranges
    }

    fn find<'g>(graph: &'g Graph, name: &str) -> &'g Value {
        graph
            .values
            .iter()
            .find(|v| v.name == name)
            .unwrap_or_else(|| panic!("no value {name}"))
    }

    fn ops(graph: &Graph) -> Vec<&'static str> {
        graph
            .nodes
            .iter()
            .map(|n| crate::passes::op_name(&n.op))
            .collect()
    }

    const FLOAT: Options = Options {
        int8_io: false,
        weight_step: 0.0,
        weights: WeightFormat::Int8,
    };

    #[test]
    fn a_convolution_gets_the_documented_parameters() {
        let graph = conv_relu_graph();
        let out = quantize(
            &graph,
            &ranges(&[("x", -1.0, 1.55), ("y", 0.0, 10.0)]),
            &FLOAT,
        )
        .expect("quantised");
        assert_eq!(ops(&out), ["QuantizeLinear", "Conv", "DequantizeLinear"]);
        let x = find(&out, "x_quantized")
            .quantization
            .clone()
            .expect("quantised");
        assert_eq!(x, Quantization::per_tensor(0.01, -28));
        let w = find(&out, "w_quantized");
        assert_eq!(w.data, Some(Data::I8(vec![127, -127])));
        let w = w.quantization.clone().expect("quantised");
        assert_eq!((w.axis, w.scales), (Some(0), vec![0.02, 0.001]));
        let b = find(&out, "b_quantized");
        assert_eq!(b.data, Some(Data::I32(vec![2500, 100_000])));
        assert_eq!(
            b.quantization.clone().expect("quantised").scales,
            [0.01 * 0.02, 0.01 * 0.001]
        );
        let y = find(&out, "y_quantized")
            .quantization
            .clone()
            .expect("quantised");
        assert_eq!(
            y,
            Quantization::per_tensor(6.0 / 255.0, -128),
            "the range is cut to Relu6's"
        );
        assert_eq!(
            (find(&out, "x").dtype, find(&out, "y").dtype),
            (DType::F32, DType::F32)
        );
    }

    #[test]
    fn int8_borders_keep_the_names_and_have_no_conversions() {
        let ranges = ranges(&[("x", -1.0, 1.0), ("y", 0.0, 6.0)]);
        let out = quantize(
            &conv_relu_graph(),
            &ranges,
            &Options {
                int8_io: true,
                ..FLOAT
            },
        )
        .expect("quantised");
        assert_eq!(ops(&out), ["Conv"]);
        let border =
            [out.inputs[0], out.outputs[0]].map(|id| (out[id].name.as_str(), out[id].dtype));
        assert_eq!(border, [("x", DType::I8), ("y", DType::I8)]);
    }

    #[test]
    fn moved_data_keep_their_quantisation_and_padding_is_representable() {
        let mut g = Graph::default();
        let x = g.add_value(value("x", &[1, 2, 2, 2]));
        let t = push(
            &mut g,
            Op::Transpose {
                perm: vec![0, 2, 3, 1],
            },
            &[x],
            "t",
            &[1, 2, 2, 2],
        );
        let pad = Op::Pad {
            before: vec![0, 1, 0, 0],
            after: vec![0; 4],
            value: -9.0,
        };
        let p = push(&mut g, pad, &[t], "p", &[1, 3, 2, 2]);
        let window = Window {
            kernel: [2, 2],
            strides: [1, 1],
            dilations: [1, 1],
            pads: [0; 4],
        };
        let m = push(
            &mut g,
            Op::Pool {
                pool: Pool::Max,
                window,
            },
            &[p],
            "m",
            &[1, 3, 1, 1],
        );
        let r = push(&mut g, Op::Reshape, &[m], "r", &[1, 3]);
        let s = push(&mut g, Op::Softmax { axis: 1 }, &[r], "s", &[1, 3]);
        (g.inputs, g.outputs) = (vec![x], vec![s]);
        assert_eq!(ranged_values(&g), [x]);
        let out = quantize(&g, &ranges(&[("x", 0.0, 1.0)]), &FLOAT).expect("quantised");
        let q = find(&out, "x_quantized")
            .quantization
            .clone()
            .expect("quantised");
        assert_eq!(
            q,
            constants::activation(-9.0, 1.0),
            "widened for the padding"
        );
        for name in ["t", "p", "m", "r"] {
            assert_eq!(find(&out, name).quantization.as_ref(), Some(&q), "{name}");
        }
        assert_eq!(
            find(&out, "s_quantized").quantization,
            Some(Quantization::per_tensor(1.0 / 256.0, -128))
        );
    }

    #[test]
    fn padding_that_a_fixed_quantisation_cannot_say_is_refused() {
        let mut g = Graph::default();
        let x = g.add_value(value("x", &[2]));
        let s = push(&mut g, Op::Unary(Unary::Sigmoid), &[x], "s", &[2]);
        let p = push(
            &mut g,
            Op::Pad {
                before: vec![1],
                after: vec![0],
                value: -3.0,
            },
            &[s],
            "p",
            &[3],
        );
        (g.inputs, g.outputs) = (vec![x], vec![p]);
        let error = quantize(&g, &ranges(&[("x", 0.0, 1.0)]), &FLOAT)
            .expect_err("refused")
            .to_string();
        assert!(
            error.contains("node_s") && error.contains("padded"),
            "{error}"
        );
    }

    #[test]
    fn parts_of_a_concatenation_are_brought_to_its_quantisation() {
        let mut g = Graph::default();
        let x = g.add_value(value("x", &[1, 2]));
        let y = g.add_value(value("y", &[1, 2]));
        let c = g.add_constant("c", vec![1, 1], Data::F32(vec![2.0]), None);
        let z = push(&mut g, Op::Concat { axis: 1 }, &[x, y, c], "z", &[1, 5]);
        (g.inputs, g.outputs) = (vec![x, y], vec![z]);
        let ranges = ranges(&[("x", 0.0, 1.0), ("y", 0.0, 2.55), ("z", 0.0, 2.55)]);
        let out = quantize(&g, &ranges, &FLOAT).expect("quantised");
        assert_eq!(
            ops(&out),
            [
                "QuantizeLinear",
                "QuantizeLinear",
                "Requantize",
                "Concat",
                "DequantizeLinear"
            ]
        );
        let concat = &out.nodes[3];
        let q = &out[concat.output].quantization;
        assert!(concat.inputs.iter().all(|&id| out[id].quantization == *q));
        assert_eq!(find(&out, "c_quantized").data, Some(Data::I8(vec![72])));
    }

    #[test]
    fn a_constant_operand_is_quantised_to_its_own_range() {
        let mut g = Graph::default();
        let x = g.add_value(value("x", &[1, 2]));
        let c = g.add_constant("c", vec![2], Data::F32(vec![-1.0, 1.55]), None);
        let op = Op::Binary {
            op: Binary::Mul,
            clamp: Clamp::NONE,
        };
        let y = push(&mut g, op, &[x, c], "y", &[1, 2]);
        (g.inputs, g.outputs) = (vec![x], vec![y]);
        let out =
            quantize(&g, &ranges(&[("x", 0.0, 1.0), ("y", -1.0, 1.0)]), &FLOAT).expect("quantised");
        let c = find(&out, "c_quantized");
        assert_eq!(c.data, Some(Data::I8(vec![-128, 127])));
        assert_eq!(c.quantization, Some(Quantization::per_tensor(0.01, -28)));
    }

    #[test]
    fn what_cannot_be_quantised_is_named() {
        let all = ranges(&[("x", -1.0, 1.0), ("y", -1.0, 1.0)]);
        let message =
            |g: &Graph, r: &Ranges| quantize(g, r, &FLOAT).expect_err("refused").to_string();
        let graph = conv_relu_graph();
        assert!(message(&graph, &ranges(&[("x", 0.0, 1.0)])).contains("`y` was never observed"));
        let mut nan = conv_relu_graph();
        nan.values[1].data = Some(Data::F32(vec![1.0, f32::NAN]));
        assert!(message(&nan, &all).contains("tensor `w`: element 1 is NaN"));
        let mut dynamic = conv_relu_graph();
        dynamic.values[1].data = None;
        assert!(
            message(&dynamic, &all).contains("node `node_y`: weights and bias must be constants")
        );
        let quantised = quantize(&graph, &all, &FLOAT).expect("quantised");
        assert!(message(&quantised, &all).contains("already quantised"));
        let mut normalised = conv_relu_graph();
        normalised.nodes[0].op = Op::BatchNorm { epsilon: 1e-5 };
        assert!(message(&normalised, &all).contains("BatchNormalization"));
    }
}
