//! [`Graph`] → ONNX: standard operators only, so that any runtime can load the result.
//!
//! Floats are written as the operators they came from, with fused clamps as Relu or Clip nodes after them. Quantised
//! values are written out in full as `DequantizeLinear → op → QuantizeLinear` (QDQ): the file says literally what the
//! integer form means.

mod general;

use crate::compress::formats::{Coded, WeightFormat, recognise};
use crate::files::{FileError, write_atomic};
use crate::graph::{Clamp, DType, Data, Graph, Node, Op, Pool, Unary, Value, ValueId, Window};
use prost::Message;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::Write;
use std::path::Path;
use tract_onnx::pb;

/// Operator set written; 19 is used only where 17 cannot say it (dilated average pooling).
const OPSET: i64 = 17;

/// The graph as an ONNX model. Integer weights that are values of an eight-bit float format are written as their codes.
pub fn to_model_proto(graph: &Graph) -> pb::ModelProto {
    let values = (0..graph.values.len()).map(ValueId);
    let coded = |id| Some((id, format_weights(&graph[id])?));
    to_coded_model_proto(graph, &values.filter_map(coded).collect())
}

/// The graph as an ONNX model in which each coded tensor is a `uint8` initialiser, looked up in a table of 256 floats:
///
/// ```text
/// codes ─ Cast(int32) ─ Gather(table) ─ Mul(scale) ─ the tensor's old name
/// ```
///
/// Constant-foldable: any runtime computes the floats once, and importing gives the graph back.
pub fn to_coded_model_proto(graph: &Graph, coded: &BTreeMap<ValueId, Coded>) -> pb::ModelProto {
    let mut writer = Writer::new(graph, coded);
    for node in &graph.nodes {
        writer.node(node);
    }
    let io = |ids: &[ValueId]| ids.iter().map(|&id| value_info(&graph[id])).collect();
    let newer = graph.nodes.iter().any(|n| {
        matches!(&n.op, Op::Pool { pool: Pool::Average { .. }, window } if window.dilations != [1, 1])
    });
    pb::ModelProto {
        ir_version: if newer { 9 } else { 8 },
        opset_import: vec![pb::OperatorSetIdProto {
            domain: String::new(),
            version: if newer { 19 } else { OPSET },
        }],
        producer_name: "kinglet".into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        graph: Some(pb::GraphProto {
            name: if graph.name.is_empty() {
                "model".into()
            } else {
                graph.name.clone()
            },
            node: writer.nodes,
            initializer: writer.initializers,
            input: io(&graph.inputs),
            output: io(&graph.outputs),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// Writes the graph to an ONNX file, whole or not at all.
pub fn write(graph: &Graph, path: impl AsRef<Path>) -> Result<(), FileError> {
    let bytes = to_model_proto(graph).encode_to_vec();
    write_atomic(path, |file| file.write_all(&bytes))
}

/// Integer weights as values of an eight-bit float format.
fn format_weights(value: &Value) -> Option<Coded> {
    let (Some(Data::I32(integers)), Some(q)) = (&value.data, &value.quantization) else {
        return None;
    };
    if value.shape.len() < 2 || q.axis != Some(0) {
        return None;
    }
    let row = integers.len().checked_div(q.scales.len())?.max(1);
    let real = |(row, &scale): (&[i32], &f32)| -> Vec<f32> {
        row.iter().map(|&w| w as f32 * scale).collect()
    };
    let rows = integers.chunks(row).zip(&q.scales);
    let weights: Vec<f32> = rows.flat_map(real).collect();
    recognise(&weights, &value.shape)
}

struct Writer<'g> {
    graph: &'g Graph,
    coded: &'g BTreeMap<ValueId, Coded>,
    nodes: Vec<pb::NodeProto>,
    initializers: Vec<pb::TensorProto>,
    names: HashSet<String>,
    /// Constants already written.
    written: HashSet<ValueId>,
    /// Float versions of quantised values already written, by value.
    dequantized: HashMap<ValueId, String>,
    /// Scale and zero point initialisers already written, by value.
    parameters: HashMap<ValueId, (String, Option<String>)>,
    /// Tables of eight-bit float formats already written.
    tables: Vec<(WeightFormat, String)>,
}

impl<'g> Writer<'g> {
    fn new(graph: &'g Graph, coded: &'g BTreeMap<ValueId, Coded>) -> Self {
        Writer {
            graph,
            coded,
            nodes: Vec::new(),
            initializers: Vec::new(),
            names: graph.values.iter().map(|v| v.name.clone()).collect(),
            written: HashSet::new(),
            dequantized: HashMap::new(),
            parameters: HashMap::new(),
            tables: Vec::new(),
        }
    }

    /// A name nothing else has.
    fn fresh(&mut self, base: &str) -> String {
        let mut name = base.to_owned();
        let mut n = 1;
        while !self.names.insert(name.clone()) {
            n += 1;
            name = format!("{base}_{n}");
        }
        name
    }

    fn initializer(&mut self, base: &str, shape: &[usize], data: &Data) -> String {
        let name = self.fresh(base);
        self.initializers.push(tensor(&name, shape, data));
        name
    }

    fn push(
        &mut self,
        op: &str,
        name: &str,
        inputs: Vec<String>,
        output: &str,
        attribute: Vec<pb::AttributeProto>,
    ) {
        self.nodes.push(pb::NodeProto {
            input: inputs,
            output: vec![output.to_owned()],
            name: name.to_owned(),
            op_type: op.to_owned(),
            attribute,
            ..Default::default()
        });
    }

    /// The value as it is stored; constants become initialisers at first use.
    fn stored(&mut self, id: ValueId) -> String {
        let (value, coded) = (&self.graph[id], self.coded.get(&id));
        if let Some(data) = &value.data
            && self.written.insert(id)
        {
            match coded {
                Some(coded) => self.looked_up(coded, &value.name),
                None => {
                    let initializer = tensor(&value.name, &value.shape, data);
                    self.initializers.push(initializer);
                }
            }
        }
        value.name.clone()
    }

    /// The value as floats, through one DequantizeLinear a value if it is quantised.
    fn real(&mut self, id: ValueId) -> String {
        let stored = self.stored(id);
        let value = &self.graph[id];
        let float = value.dtype == DType::F32 || self.coded.contains_key(&id);
        if float || value.quantization.is_none() {
            return stored;
        }
        if let Some(name) = self.dequantized.get(&id) {
            return name.clone();
        }
        let name = self.fresh(&format!("{stored}_dequantized"));
        self.dequantize(id, &name);
        self.dequantized.insert(id, name.clone());
        name
    }

    /// A tensor as codes with their table.
    fn looked_up(&mut self, coded: &Coded, output: &str) {
        let table = self.table(coded.format);
        let codes = Data::U8(coded.codes.clone());
        let codes = self.initializer(&format!("{output}_codes"), &coded.shape, &codes);
        let mut scale_shape = vec![1; coded.shape.len()];
        match (coded.scales.len(), scale_shape.first_mut()) {
            (1, _) | (_, None) => scale_shape.clear(),
            (channels, Some(first)) => *first = channels,
        }
        let scales = Data::F32(coded.scales.clone());
        let scales = self.initializer(&format!("{output}_scale"), &scale_shape, &scales);
        let index = self.fresh(&format!("{output}_index"));
        let looked = self.fresh(&format!("{output}_unscaled"));
        let int32 = pb::tensor_proto::DataType::Int32 as usize;
        self.push("Cast", &index, vec![codes], &index, vec![int("to", int32)]);
        let inputs = vec![table, index];
        self.push("Gather", &looked, inputs, &looked, vec![int("axis", 0)]);
        self.push("Mul", output, vec![looked, scales], output, Vec::new());
    }

    /// The initialiser with a format's values.
    fn table(&mut self, format: WeightFormat) -> String {
        if let Some((_, name)) = self.tables.iter().find(|(f, _)| *f == format) {
            return name.clone();
        }
        let finite = |v: &f32| if v.is_nan() { 0.0 } else { *v };
        let values = Data::F32(format.table().iter().map(finite).collect());
        let base = format!("{}_table", format.name().to_lowercase());
        let name = self.initializer(&base, &[256], &values);
        self.tables.push((format, name.clone()));
        name
    }

    fn dequantize(&mut self, id: ValueId, output: &str) {
        let (inputs, attributes) = self.linear(id, self.graph[id].name.clone());
        self.push("DequantizeLinear", output, inputs, output, attributes);
    }

    fn quantize(&mut self, input: String, id: ValueId) {
        let output = &self.graph[id].name;
        let (inputs, attributes) = self.linear(id, input);
        self.push(
            "QuantizeLinear",
            &format!("{output}_quantize"),
            inputs,
            output,
            attributes,
        );
    }

    /// Inputs (`x`, scale, zero point) and attributes of a Quantize- or DequantizeLinear by the value's quantisation.
    fn linear(&mut self, id: ValueId, x: String) -> (Vec<String>, Vec<pb::AttributeProto>) {
        let graph = self.graph;
        let value = &graph[id];
        let Some(q) = &value.quantization else {
            return (vec![x], Vec::new());
        };
        let (scale, zero_point) = match self.parameters.get(&id) {
            Some(names) => names.clone(),
            None => {
                let shape: &[usize] = if q.axis.is_some() {
                    &[q.scales.len()]
                } else {
                    &[]
                };
                let scale = self.initializer(
                    &format!("{}_scale", value.name),
                    shape,
                    &Data::F32(q.scales.clone()),
                );
                let n = q.scales.len();
                let zero_point = match value.dtype {
                    DType::I8 => Some(Data::I8(vec![q.zero_point as i8; n])),
                    DType::U8 => Some(Data::U8(vec![q.zero_point as u8; n])),
                    // int32 has no zero point in ONNX.
                    _ => None,
                };
                let zero_point = zero_point
                    .map(|z| self.initializer(&format!("{}_zero_point", value.name), shape, &z));
                self.parameters
                    .insert(id, (scale.clone(), zero_point.clone()));
                (scale, zero_point)
            }
        };
        let attributes = q.axis.map(|axis| int("axis", axis)).into_iter().collect();
        (
            [Some(x), Some(scale), zero_point]
                .into_iter()
                .flatten()
                .collect(),
            attributes,
        )
    }

    fn node(&mut self, node: &Node) {
        match node.op {
            Op::Quantize => {
                let x = self.stored(node.inputs[0]);
                return self.quantize(x, node.output);
            }
            Op::Dequantize => {
                self.stored(node.inputs[0]);
                let name = self.graph[node.output].name.clone();
                return self.dequantize(node.inputs[0], &name);
            }
            Op::Requantize => {
                let x = self.real(node.inputs[0]);
                return self.quantize(x, node.output);
            }
            _ => {}
        }
        let output = &self.graph[node.output];
        let quantized = output.dtype != DType::F32 && output.quantization.is_some();
        let name = output.name.clone();
        let result = if quantized {
            self.fresh(&format!("{name}_real"))
        } else {
            name
        };
        let inputs = node.inputs.iter().map(|&id| self.real(id)).collect();
        self.operator(node, inputs, &result);
        if quantized {
            self.quantize(result, node.output);
        }
    }

    /// The operator in floats, its clamp included, from `inputs` to `output`.
    fn operator(&mut self, node: &Node, mut inputs: Vec<String>, output: &str) {
        let clamp = match &node.op {
            Op::Conv2d { clamp, .. } | Op::FullyConnected { clamp } | Op::Binary { clamp, .. } => {
                *clamp
            }
            _ => Clamp::NONE,
        };
        let before = if clamp.is_none() {
            output.to_owned()
        } else {
            self.fresh(&format!("{output}_unclamped"))
        };
        let (op, attributes) = match &node.op {
            Op::Conv2d { window, groups, .. } => {
                let mut attributes = window_attributes(window);
                attributes.extend([ints("dilations", &window.dilations), int("group", *groups)]);
                ("Conv", attributes)
            }
            Op::FullyConnected { .. } => ("Gemm", vec![int("transB", 1)]),
            Op::Binary { op, .. } => {
                let (name, truth) = general::binary_name(*op);
                if truth {
                    return self.truth(name, node, inputs, output);
                }
                (name, Vec::new())
            }
            Op::Pool { pool, window } => self.pool(*pool, window, node.inputs[0]),
            Op::Unary(unary) => match *unary {
                Unary::Clamp(clamp) => {
                    return self.clamp(clamp, &node.name, inputs.remove(0), output);
                }
                Unary::Sigmoid => ("Sigmoid", Vec::new()),
                Unary::Tanh => ("Tanh", Vec::new()),
                Unary::LeakyRelu { alpha } => ("LeakyRelu", vec![float("alpha", alpha)]),
                Unary::HardSigmoid { alpha, beta } => (
                    "HardSigmoid",
                    vec![float("alpha", alpha), float("beta", beta)],
                ),
                Unary::HardSwish => ("HardSwish", Vec::new()),
                _ => (crate::passes::op_name(&node.op), Vec::new()),
            },
            Op::Softmax { axis } => ("Softmax", vec![int("axis", *axis)]),
            Op::Reshape => {
                // A zero would mean "copy this dimension"; `allowzero` makes it mean zero.
                let shape = &self.graph[node.output].shape;
                let dims = Data::I64(shape.iter().map(|&d| d as i64).collect());
                inputs.push(self.initializer(&format!("{output}_shape"), &[shape.len()], &dims));
                (
                    "Reshape",
                    if shape.contains(&0) {
                        vec![int("allowzero", 1)]
                    } else {
                        Vec::new()
                    },
                )
            }
            Op::Transpose { perm } => ("Transpose", vec![ints("perm", perm)]),
            Op::Pad {
                before,
                after,
                value,
            } => {
                let pads: Vec<i64> = before.iter().chain(after).map(|&p| p as i64).collect();
                inputs.push(self.initializer(
                    &format!("{output}_pads"),
                    &[pads.len()],
                    &Data::I64(pads),
                ));
                inputs.push(self.initializer(
                    &format!("{output}_pad_value"),
                    &[],
                    &Data::F32(vec![*value]),
                ));
                ("Pad", Vec::new())
            }
            Op::Concat { axis } => ("Concat", vec![int("axis", *axis)]),
            Op::Slice { axis, start } => {
                let end = start + self.graph[node.output].shape[*axis];
                for (what, index) in [("starts", *start), ("ends", end), ("axes", *axis)] {
                    let index = Data::I64(vec![index as i64]);
                    inputs.push(self.initializer(&format!("{output}_{what}"), &[1], &index));
                }
                ("Slice", Vec::new())
            }
            Op::BatchNorm { epsilon } => ("BatchNormalization", vec![float("epsilon", *epsilon)]),
            Op::Select
            | Op::Strided { .. }
            | Op::Pick { .. }
            | Op::Gather { .. }
            | Op::Resample { .. }
            | Op::Reduce { .. }
            | Op::MatMul
            | Op::Recurrent { .. }
            | Op::Load
            | Op::Convert => return self.general(node, inputs, output),
            // Written by `node`.
            Op::Quantize | Op::Dequantize | Op::Requantize => return,
        };
        self.push(op, &node.name, inputs, &before, attributes);
        if !clamp.is_none() {
            self.clamp(clamp, &format!("{}_clamp", node.name), before, output);
        }
    }

    fn pool(
        &self,
        pool: Pool,
        window: &Window,
        x: ValueId,
    ) -> (&'static str, Vec<pb::AttributeProto>) {
        let whole_plane = self.graph[x].shape.get(2..) == Some(&window.kernel[..])
            && window.pads == [0; 4]
            && window.dilations == [1, 1];
        match pool {
            Pool::Max if whole_plane => ("GlobalMaxPool", Vec::new()),
            Pool::Average { .. } if whole_plane => ("GlobalAveragePool", Vec::new()),
            Pool::Max => {
                let mut attributes = window_attributes(window);
                attributes.push(ints("dilations", &window.dilations));
                ("MaxPool", attributes)
            }
            Pool::Average { count_include_pad } => {
                let mut attributes = window_attributes(window);
                attributes.push(int("count_include_pad", usize::from(count_include_pad)));
                if window.dilations != [1, 1] {
                    attributes.push(ints("dilations", &window.dilations));
                }
                ("AveragePool", attributes)
            }
        }
    }

    fn clamp(&mut self, clamp: Clamp, name: &str, input: String, output: &str) {
        if clamp.is_none() || clamp == Clamp::RELU {
            let op = if clamp.is_none() { "Identity" } else { "Relu" };
            return self.push(op, name, vec![input], output, Vec::new());
        }
        let mut bound = |suffix: &str, value: f32| match value.is_finite() {
            true => self.initializer(&format!("{output}_{suffix}"), &[], &Data::F32(vec![value])),
            false => String::new(),
        };
        let mut inputs = vec![input, bound("min", clamp.min), bound("max", clamp.max)];
        if inputs[2].is_empty() {
            inputs.pop();
        }
        self.push("Clip", name, inputs, output, Vec::new());
    }
}

fn window_attributes(window: &Window) -> Vec<pb::AttributeProto> {
    vec![
        ints("kernel_shape", &window.kernel),
        ints("strides", &window.strides),
        ints("pads", &window.pads),
    ]
}

fn attribute(name: &str, kind: pb::attribute_proto::AttributeType) -> pb::AttributeProto {
    pb::AttributeProto {
        name: name.into(),
        r#type: kind as i32,
        ..Default::default()
    }
}

fn int(name: &str, value: usize) -> pb::AttributeProto {
    pb::AttributeProto {
        i: value as i64,
        ..attribute(name, pb::attribute_proto::AttributeType::Int)
    }
}

fn float(name: &str, value: f32) -> pb::AttributeProto {
    pb::AttributeProto {
        f: value,
        ..attribute(name, pb::attribute_proto::AttributeType::Float)
    }
}

fn ints(name: &str, values: &[usize]) -> pb::AttributeProto {
    let ints = values.iter().map(|&v| v as i64).collect();
    pb::AttributeProto {
        ints,
        ..attribute(name, pb::attribute_proto::AttributeType::Ints)
    }
}

fn elem_type(dtype: DType) -> i32 {
    use pb::tensor_proto::DataType;
    let kind = match dtype {
        DType::F32 => DataType::Float,
        DType::I8 => DataType::Int8,
        DType::U8 => DataType::Uint8,
        DType::I32 => DataType::Int32,
        DType::I64 => DataType::Int64,
    };
    kind as i32
}

fn tensor(name: &str, shape: &[usize], data: &Data) -> pb::TensorProto {
    let raw_data = match data {
        Data::F32(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Data::I8(v) => v.iter().map(|&x| x as u8).collect(),
        Data::U8(v) => v.clone(),
        Data::I32(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Data::I64(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
    };
    pb::TensorProto {
        name: name.into(),
        dims: shape.iter().map(|&d| d as i64).collect(),
        data_type: elem_type(data.dtype()),
        raw_data,
        ..Default::default()
    }
}

fn value_info(value: &Value) -> pb::ValueInfoProto {
    let dim = |&d: &usize| pb::tensor_shape_proto::Dimension {
        value: Some(pb::tensor_shape_proto::dimension::Value::DimValue(d as i64)),
        ..Default::default()
    };
    pb::ValueInfoProto {
        name: value.name.clone(),
        r#type: Some(pb::TypeProto {
            value: Some(pb::type_proto::Value::TensorType(pb::type_proto::Tensor {
                elem_type: elem_type(value.dtype),
                shape: Some(pb::TensorShapeProto {
                    dim: value.shape.iter().map(dim).collect(),
                }),
            })),
            ..Default::default()
        }),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Quantization;

    fn value(
        name: &str,
        shape: &[usize],
        dtype: DType,
        quantization: Option<Quantization>,
    ) -> Value {
        Value {
            name: name.into(),
            shape: shape.to_vec(),
            dtype,
            quantization,
            data: None,
        }
    }

    const WINDOW: Window = Window {
        kernel: [3, 3],
        strides: [2, 1],
        dilations: [1, 2],
        pads: [0, 1, 2, 3],
    };

    /// `x → conv (clamped to [0, 6]) → y`, quantised or not.
    fn convolution(quantized: bool) -> Graph {
        let mut g = Graph::default();
        let q = |scale, zero| quantized.then(|| Quantization::per_tensor(scale, zero));
        let dtype = if quantized { DType::I8 } else { DType::F32 };
        let x = g.add_value(value("x", &[1, 1, 5, 5], dtype, q(0.5, 3)));
        let (w, b) = if quantized {
            let axis = |scales| {
                Some(Quantization {
                    scales,
                    zero_point: 0,
                    axis: Some(0),
                })
            };
            (
                g.add_constant(
                    "w",
                    vec![2, 1, 3, 3],
                    Data::I8(vec![1; 18]),
                    axis(vec![0.25, 0.125]),
                ),
                g.add_constant(
                    "b",
                    vec![2],
                    Data::I32(vec![7, 8]),
                    axis(vec![0.125, 0.0625]),
                ),
            )
        } else {
            (
                g.add_constant("w", vec![2, 1, 3, 3], Data::F32(vec![1.0; 18]), None),
                g.add_constant("b", vec![2], Data::F32(vec![7.0, 8.0]), None),
            )
        };
        let y = g.add_value(value("y", &[1, 2, 3, 5], dtype, q(1.0, -4)));
        let op = Op::Conv2d {
            window: WINDOW,
            groups: 1,
            clamp: Clamp { min: 0.0, max: 6.0 },
        };
        g.nodes.push(Node {
            name: "conv".into(),
            op,
            inputs: vec![x, w, b],
            output: y,
        });
        g.inputs = vec![x];
        g.outputs = vec![y];
        g
    }

    fn decoded(graph: &Graph) -> pb::GraphProto {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("m.onnx");
        write(graph, &path).expect("written");
        let bytes = std::fs::read(&path).expect("read");
        let model = pb::ModelProto::decode(&bytes[..]).expect("decoded");
        assert_eq!((model.ir_version, model.opset_import[0].version), (8, 17));
        model.graph.expect("a graph")
    }

    fn ops(graph: &pb::GraphProto) -> Vec<&str> {
        graph.node.iter().map(|n| n.op_type.as_str()).collect()
    }

    /// Every operand is an input, an initialiser or an earlier result, and no name is made twice.
    fn assert_well_formed(graph: &pb::GraphProto) {
        let mut known: HashSet<&str> = HashSet::new();
        let sources = graph
            .input
            .iter()
            .map(|v| &v.name)
            .chain(graph.initializer.iter().map(|t| &t.name));
        for name in sources {
            assert!(known.insert(name), "{name} twice");
        }
        for node in &graph.node {
            for input in node.input.iter().filter(|i| !i.is_empty()) {
                assert!(
                    known.contains(input.as_str()),
                    "{input} is used before it is made"
                );
            }
            assert!(known.insert(&node.output[0]), "{} twice", node.output[0]);
        }
        assert!(graph.output.iter().all(|o| known.contains(o.name.as_str())));
    }

    #[test]
    fn a_fused_clamp_is_written_as_clip() {
        let graph = decoded(&convolution(false));
        assert_well_formed(&graph);
        assert_eq!(ops(&graph), ["Conv", "Clip"]);
        let get = |name: &str| {
            graph.node[0]
                .attribute
                .iter()
                .find(|a| a.name == name)
                .expect("present")
        };
        assert_eq!(get("pads").ints, [0, 1, 2, 3]);
        assert_eq!(get("strides").ints, [2, 1]);
        assert_eq!(get("dilations").ints, [1, 2]);
        assert_eq!(get("group").i, 1);
    }

    #[test]
    fn a_quantised_convolution_is_written_as_its_literal_meaning() {
        let graph = decoded(&convolution(true));
        assert_well_formed(&graph);
        let dq = "DequantizeLinear";
        assert_eq!(ops(&graph), [dq, dq, dq, "Conv", "Clip", "QuantizeLinear"]);
        let initializer = |name: &str| {
            graph
                .initializer
                .iter()
                .find(|t| t.name == name)
                .expect("present")
        };
        assert_eq!(initializer("w_scale").dims, [2]);
        assert_eq!(initializer("w_zero_point").raw_data, [0, 0]);
        assert_eq!(initializer("x_zero_point").dims, [0i64; 0]);
        assert_eq!(initializer("y_zero_point").raw_data, [(-4i8) as u8]);
        assert_eq!(
            graph.node[2].input,
            ["b", "b_scale"],
            "int32 has no zero point"
        );
        assert_eq!(graph.node[1].attribute[0].name, "axis");
        assert_eq!(graph.node[5].output, ["y"]);
    }

    #[test]
    fn names_that_are_taken_are_avoided() {
        let mut graph = convolution(true);
        graph.add_constant("x_scale", vec![], Data::F32(vec![9.0]), None);
        let graph = decoded(&graph);
        assert_well_formed(&graph);
        assert_eq!(graph.node[0].input[1], "x_scale_2");
        assert!(
            graph.initializer.iter().all(|t| t.name != "x_scale"),
            "an unused constant is not written"
        );
    }

    #[test]
    fn a_window_over_the_whole_plane_is_global_pooling() {
        let mut g = Graph::default();
        let x = g.add_value(value("x", &[1, 2, 4, 5], DType::F32, None));
        let y = g.add_value(value("y", &[1, 2, 1, 1], DType::F32, None));
        let window = Window {
            kernel: [4, 5],
            strides: [1, 1],
            dilations: [1, 1],
            pads: [0; 4],
        };
        let op = Op::Pool {
            pool: Pool::Average {
                count_include_pad: false,
            },
            window,
        };
        g.nodes.push(Node {
            name: "pool".into(),
            op,
            inputs: vec![x],
            output: y,
        });
        (g.inputs, g.outputs) = (vec![x], vec![y]);
        assert_eq!(ops(&decoded(&g)), ["GlobalAveragePool"]);
        g[x].shape = vec![1, 2, 8, 5];
        assert_eq!(ops(&decoded(&g)), ["AveragePool"]);
    }
}
