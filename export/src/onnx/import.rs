//! The walk over the nodes: names to values, one call an operator.

use super::attributes::OnnxNode;
use super::facts::{self, Facts};
use super::lookup::{self, Constant};
use super::steps::Kind;
use super::{LoadOptions, OnnxError, check, inputs, tensor};
use crate::graph::{DType, Data, Graph, Node, Op, Quantization, Value, ValueId};
use crate::limits::{self, LimitError, Limits, at_most};
use std::collections::{HashMap, HashSet};
use tract_onnx::pb::{GraphProto, ModelProto, NodeProto, TensorProto, tensor_proto::DataType};

/// Interprets a checked model.
pub(super) fn import(
    proto: &ModelProto,
    opset: i64,
    options: &LoadOptions,
) -> Result<Graph, OnnxError> {
    let graph = check::graph(proto)?;
    let initializers: HashMap<&str, &TensorProto> = graph
        .initializer
        .iter()
        .map(|t| (t.name.as_str(), t))
        .collect();
    let inputs = inputs::inputs(graph, |name| initializers.contains_key(name), options)?;

    let shapes: Vec<(String, Vec<usize>)> = inputs
        .iter()
        .map(|(n, s, _)| (n.clone(), s.clone()))
        .collect();
    let produced: HashSet<&str> = graph
        .node
        .iter()
        .flat_map(|n| n.output.iter())
        .map(String::as_str)
        .collect();
    let facts = facts::analyse(proto, &shapes, |name| produced.contains(name));

    let outputs: HashSet<&str> = graph.output.iter().map(|o| o.name.as_str()).collect();
    let mut importer = Importer {
        opset,
        graph: Graph {
            name: graph.name.clone(),
            ..Graph::default()
        },
        initializers,
        outputs,
        facts,
        values: HashMap::new(),
        taken: HashSet::new(),
        raw_pads: Vec::new(),
        kinds: HashMap::new(),
        borders: HashMap::new(),
        limits: &options.limits,
        elements: 0,
        exceeded: None,
    };
    for (name, shape, (dtype, kind)) in inputs {
        let id = importer.add_value(&name, shape.clone(), dtype);
        importer.graph.inputs.push(id);
        let id = match kind {
            Kind::Real => id,
            _ => {
                let float = format!("{name}_float");
                let id = importer.emit(&float, Op::Convert, vec![id], &float, shape, DType::F32);
                importer.kinds.insert(id, kind);
                id
            }
        };
        importer.values.insert(name, id);
    }
    for node in &graph.node {
        let result = importer.node(node);
        // First, since what comes after a tensor that is too large may be a consequence.
        if let Some(mut error) = importer.exceeded.take() {
            let name = super::attributes::node_name(node);
            error.what = format!("{} of node `{name}` ({})", error.what, node.op_type);
            return Err(error.into());
        }
        result?;
    }
    importer.finish(graph)
}

/// Refuses a tensor that is too large.
pub(super) fn within(name: &str, shape: &[usize], limits: &Limits) -> Result<(), LimitError> {
    let what = || format!("tensor `{name}`");
    at_most(what, shape.len() as u64, "dimensions", limits.rank)?;
    at_most(what, limits::elements(shape), "elements", limits.elements)
}

/// State of one import.
pub(super) struct Importer<'a> {
    pub(super) opset: i64,
    pub(super) graph: Graph,
    initializers: HashMap<&'a str, &'a TensorProto>,
    outputs: HashSet<&'a str>,
    facts: Facts,
    /// ONNX name → value.
    values: HashMap<String, ValueId>,
    /// Value names in use; ours must not collide.
    taken: HashSet<String>,
    /// Pad nodes on integers, whose value is still an integer.
    pub(super) raw_pads: Vec<ValueId>,
    /// Floats that stand for something else.
    pub(super) kinds: HashMap<ValueId, Kind>,
    /// Graph outputs in their own type, by name, where the graph goes on with floats.
    borders: HashMap<String, ValueId>,
    limits: &'a Limits,
    /// Of all tensors so far.
    elements: u64,
    /// The first tensor beyond the limits. The node that makes it ends in this error, whatever it goes on to make of it.
    exceeded: Option<LimitError>,
}

impl<'a> Importer<'a> {
    /// Adds an intermediate value under this name, or one like it.
    pub(super) fn add_value(&mut self, name: &str, mut shape: Vec<usize>, dtype: DType) -> ValueId {
        let name = self.unique(name);
        if let Err(error) = self.count(&name, &shape) {
            self.exceeded.get_or_insert(error);
            shape.fill(1);
        }
        self.graph.add_value(Value {
            name,
            shape,
            dtype,
            quantization: None,
            data: None,
        })
    }

    pub(super) fn add_constant(
        &mut self,
        name: &str,
        shape: Vec<usize>,
        data: Data,
        quantization: Option<Quantization>,
    ) -> ValueId {
        let name = self.unique(name);
        if let Err(error) = self.count(&name, &shape) {
            self.exceeded.get_or_insert(error);
        }
        self.graph.add_constant(name, shape, data, quantization)
    }

    /// Adds a tensor to all others.
    fn count(&mut self, name: &str, shape: &[usize]) -> Result<(), LimitError> {
        within(name, shape, self.limits)?;
        self.elements += limits::elements(shape);
        let what = || "the model".to_owned();
        let limit = self.limits.total_elements;
        at_most(what, self.elements, "elements in all its tensors", limit)
    }

    /// Refuses a list of this many numbers before a node makes it.
    pub(super) fn expect_elements(&self, node: &OnnxNode, count: u64) -> Result<(), LimitError> {
        let what = || format!("the result of node `{}`", node.name());
        at_most(what, count, "elements", self.limits.elements)
    }

    fn unique(&mut self, name: &str) -> String {
        let mut candidate = name.to_owned();
        let mut suffix = 1;
        while self.taken.contains(&candidate)
            || (suffix > 1 && self.outputs.contains(candidate.as_str()))
        {
            suffix += 1;
            candidate = format!("{name}__{suffix}");
        }
        self.taken.insert(candidate.clone());
        candidate
    }

    pub(super) fn shape(&self, id: ValueId) -> Vec<usize> {
        self.graph[id].shape.clone()
    }

    pub(super) fn is_constant(&self, id: ValueId) -> bool {
        self.graph[id].data.is_some()
    }

    /// Adds a node with one new result and returns the result.
    pub(super) fn emit(
        &mut self,
        name: &str,
        op: Op,
        inputs: Vec<ValueId>,
        output: &str,
        shape: Vec<usize>,
        dtype: DType,
    ) -> ValueId {
        let output = self.add_value(output, shape, dtype);
        self.graph.nodes.push(Node {
            name: name.to_owned(),
            op,
            inputs,
            output,
        });
        output
    }

    /// The value of an ONNX name; initialisers are decoded on first use.
    pub(super) fn value(&mut self, node: &OnnxNode, name: &str) -> Result<ValueId, OnnxError> {
        if let Some(&id) = self.values.get(name) {
            return Ok(id);
        }
        let Some(&tensor) = self.initializers.get(name) else {
            return Err(node.invalid(format!(
                "it reads `{name}`, which no input, initialiser or earlier node provides (nodes must be in order)"
            )));
        };
        let (shape, data) = tensor::decode(tensor)?;
        let id = self.add_constant(name, shape, data, None);
        self.values.insert(name.to_owned(), id);
        Ok(id)
    }

    /// Operand `i`, which must be there.
    pub(super) fn operand(&mut self, node: &OnnxNode, i: usize) -> Result<ValueId, OnnxError> {
        let name = node
            .input(i)
            .ok_or_else(|| node.invalid(format!("input {i} is missing")))?;
        self.value(node, name)
    }

    /// Operand `i` if it is given.
    pub(super) fn optional(
        &mut self,
        node: &OnnxNode,
        i: usize,
    ) -> Result<Option<ValueId>, OnnxError> {
        node.input(i).map(|name| self.value(node, name)).transpose()
    }

    /// Operand `i`, which must be a float (or, for data movement, any) activation.
    pub(super) fn float(&mut self, node: &OnnxNode, i: usize) -> Result<ValueId, OnnxError> {
        let id = self.operand(node, i)?;
        if self.graph[id].dtype != DType::F32 {
            let message = format!(
                "input {i} (`{}`) is {:?}; arithmetic is on floats: put DequantizeLinear before it",
                self.graph[id].name, self.graph[id].dtype
            );
            return Err(node.invalid(message));
        }
        Ok(id)
    }

    /// Why a value that should be constant is not.
    fn not_constant(&self, node: &OnnxNode, what: &str) -> OnnxError {
        let why = match &self.facts.failure {
            Some(failure) => format!(" (constant folding stopped: {failure})"),
            None => String::new(),
        };
        node.unsupported(
            what,
            "a computed value",
            format!("it must be constant: run onnxsim over the model, or export it with fixed shapes{why}"),
        )
    }

    /// Contents of constant operand `i`.
    pub(super) fn constant(
        &mut self,
        node: &OnnxNode,
        i: usize,
        what: &str,
    ) -> Result<&Data, OnnxError> {
        let id = self.operand(node, i)?;
        if self.graph[id].data.is_none() {
            return Err(self.not_constant(node, what));
        }
        match &self.graph.values[id.0].data {
            Some(data) => Ok(data),
            None => Err(node.invalid("constant without contents")),
        }
    }

    /// Contents of constant integer operand `i` (shapes, axes).
    pub(super) fn constant_ints(
        &mut self,
        node: &OnnxNode,
        i: usize,
        what: &str,
    ) -> Result<Vec<i64>, OnnxError> {
        match self.constant(node, i, what)? {
            Data::I64(v) => Ok(v.clone()),
            Data::I32(v) => Ok(v.iter().map(|&x| i64::from(x)).collect()),
            other => {
                let dtype = other.dtype();
                Err(node.invalid(format!("{what} is {dtype:?}, not an integer tensor")))
            }
        }
    }

    /// Contents of constant float operand `i`.
    pub(super) fn constant_floats(
        &mut self,
        node: &OnnxNode,
        i: usize,
        what: &str,
    ) -> Result<Vec<f32>, OnnxError> {
        match self.constant(node, i, what)? {
            Data::F32(v) => Ok(v.clone()),
            other => {
                let dtype = other.dtype();
                Err(node.invalid(format!("{what} is {dtype:?}, not float")))
            }
        }
    }

    /// Binds the node's first output name to a value.
    pub(super) fn bind(&mut self, node: &OnnxNode, id: ValueId) -> Result<(), OnnxError> {
        self.bind_as(node, node.output()?, id)
    }

    /// Binds one of the node's output names to a value.
    pub(super) fn bind_as(
        &mut self,
        node: &OnnxNode,
        name: &str,
        id: ValueId,
    ) -> Result<(), OnnxError> {
        // Graph outputs must be produced under their own name.
        let integer = match self.kind(id) {
            Kind::Real => None,
            Kind::Integer => Some(DType::I32),
            Kind::Truth => Some(DType::U8),
        };
        let border = self.outputs.contains(name) && self.graph[id].dtype == DType::F32;
        if let Some(dtype) = integer.filter(|_| border) {
            // Its readers go on with the floats.
            if self.graph[id].name == name {
                self.graph[id].name = self.unique(&format!("{name}_float"));
                self.taken.remove(name);
            }
            let shape = self.shape(id);
            let output = self.emit(&node.name(), Op::Convert, vec![id], name, shape, dtype);
            self.borders.insert(name.to_owned(), output);
        }
        let id = if self.outputs.contains(name)
            && self.graph[id].name != name
            && !self.borders.contains_key(name)
        {
            let (shape, dtype) = (self.shape(id), self.graph[id].dtype);
            let quantization = self.graph[id].quantization.clone();
            let copy = self.emit(&node.name(), Op::Reshape, vec![id], name, shape, dtype);
            self.graph[copy].quantization = quantization;
            copy
        } else {
            id
        };
        if self.values.insert(name.to_owned(), id).is_some() {
            return Err(node.invalid(format!("`{name}` is produced twice")));
        }
        if let Some(theirs) = self.facts.shape(name) {
            let ours = &self.graph[id].shape;
            if theirs != ours.as_slice() {
                return Err(node.invalid(format!(
                    "`{name}` has shape {ours:?} by ONNX's formula but tract infers {theirs:?}; \
                     this is a bug in one of them, please report the model"
                )));
            }
        }
        Ok(())
    }

    fn node(&mut self, proto: &'a NodeProto) -> Result<(), OnnxError> {
        let node = OnnxNode {
            proto,
            opset: self.opset,
        };
        if !matches!(node.op(), "LSTM" | "GRU" | "RNN") {
            node.output()?;
        }
        if let Some(extra) = proto.output.iter().skip(1).find(|o| !o.is_empty())
            && !matches!(
                node.op(),
                "Dropout"
                    | "BatchNormalization"
                    | "LayerNormalization"
                    | "Split"
                    | "LSTM"
                    | "GRU"
                    | "RNN"
            )
        {
            return Err(node.unsupported("output", extra, "only the first output can be used"));
        }
        if self.fold(&node)? {
            return Ok(());
        }
        if node.op() == "Split" {
            return self.split(&node);
        }
        if matches!(node.op(), "LSTM" | "GRU" | "RNN") {
            return self.recurrent(&node);
        }
        let mut kinds = Vec::new();
        for i in 0..proto.input.len() {
            let id = self.optional(&node, i)?;
            kinds.push(id.map(|id| self.kind(id)));
        }
        let kind = self.kind_of(&node, &kinds);
        let before = self.graph.nodes.len();
        let result = match node.op() {
            "Conv" => self.conv(&node)?,
            "AveragePool" | "MaxPool" => self.pool(&node)?,
            "GlobalAveragePool" | "GlobalMaxPool" => self.global_pool(&node)?,
            "ReduceMean" if kind == Kind::Real => self.reduce_mean(&node)?,
            "Gemm" => self.gemm(&node)?,
            "MatMul" => self.matmul(&node)?,
            "Div" if kind == Kind::Integer => self.integer_division(&node)?,
            "Add" | "Sub" | "Mul" | "Div" | "Sum" => self.binary(&node)?,
            "Relu" | "Clip" | "LeakyRelu" | "Sigmoid" | "Tanh" | "HardSigmoid" | "HardSwish" => {
                self.unary(&node)?
            }
            "Softmax" => self.softmax(&node)?,
            "BatchNormalization" => self.batch_norm(&node)?,
            "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" => self.reshape_like(&node)?,
            "Transpose" => self.transpose_node(&node)?,
            "Pad" => self.pad(&node)?,
            "Concat" => self.concat(&node)?,
            "Slice" => self.slice(&node)?,
            "Identity" => self.operand(&node, 0)?,
            "Dropout" => self.dropout(&node)?,
            "Cast" => self.cast(&node)?,
            "QuantizeLinear" => self.quantize(&node)?,
            "DequantizeLinear" => self.dequantize(&node)?,
            "Sqrt" | "Exp" | "Log" | "Abs" | "Erf" | "Floor" | "Ceil" | "Round" | "Sign"
            | "Sin" | "Cos" | "Tan" | "Neg" | "Reciprocal" | "Not" | "IsNaN" | "Gelu" | "Elu"
            | "Selu" | "Celu" | "ThresholdedRelu" | "Softplus" | "Softsign" | "Mish" | "Swish"
            | "Shrink" => self.function(&node)?,
            "Min" | "Max" | "Mean" | "Pow" | "Equal" | "Less" | "LessOrEqual" | "Greater"
            | "GreaterOrEqual" | "And" | "Or" | "Xor" | "PRelu" | "Mod" => self.relation(&node)?,
            "Where" => self.where_node(&node)?,
            "LogSoftmax" => self.log_softmax(&node)?,
            "ReduceSum" | "ReduceMean" | "ReduceMax" | "ReduceMin" | "ReduceProd" | "ReduceL1"
            | "ReduceL2" | "ReduceSumSquare" | "ReduceLogSum" | "ReduceLogSumExp" => {
                self.reduce(&node)?
            }
            "ArgMax" | "ArgMin" => self.index_of(&node)?,
            "LayerNormalization" | "RMSNormalization" => self.layer_norm(&node)?,
            "InstanceNormalization" | "GroupNormalization" => self.group_norm(&node)?,
            "MeanVarianceNormalization" => self.mean_variance(&node)?,
            "LpNormalization" => self.lp_norm(&node)?,
            "Expand" => self.expand(&node)?,
            "Tile" => self.tile(&node)?,
            "Gather" => self.gather(&node)?,
            "DepthToSpace" | "SpaceToDepth" => self.blocks(&node)?,
            "Trilu" => self.trilu(&node)?,
            "Resize" | "Upsample" => self.resize(&node)?,
            "ConvTranspose" => self.conv_transpose(&node)?,
            _ => return Err(self.unfolded(&node)),
        };
        let result = self.named(&node, result, before)?;
        let result = self.standing_for(&node, result, kind)?;
        self.bind(&node, result)
    }

    /// The result under the name that it has in the file, if this node made it.
    fn named(
        &mut self,
        node: &OnnxNode,
        result: ValueId,
        before: usize,
    ) -> Result<ValueId, OnnxError> {
        let name = node.output()?;
        let made = self.graph.nodes[before..]
            .iter()
            .rposition(|n| n.output == result);
        if let Some(made) = made
            && self.graph[result].name != name
            && !self.taken.contains(name)
        {
            let old = std::mem::replace(&mut self.graph[result].name, name.to_owned());
            self.taken.remove(&old);
            self.taken.insert(name.to_owned());
            self.graph.nodes[before + made].name = node.name();
        }
        Ok(result)
    }

    /// Notes what a float result stands for; the same floats as something else are another value.
    fn standing_for(
        &mut self,
        node: &OnnxNode,
        result: ValueId,
        kind: Kind,
    ) -> Result<ValueId, OnnxError> {
        if self.graph[result].dtype != DType::F32 || self.kind(result) == kind {
            return Ok(result);
        }
        let inside = self.graph.nodes.last().is_some_and(|n| n.output == result);
        let result = match inside && !self.values.values().any(|&id| id == result) {
            true => result,
            false => {
                let shape = self.shape(result);
                self.step(node, "as", Op::Reshape, vec![result], shape)?
            }
        };
        self.kinds.insert(result, kind);
        Ok(result)
    }

    fn unfolded(&self, node: &OnnxNode) -> OnnxError {
        let mut error = check::unsupported(node.proto, self.opset);
        if let (OnnxError::UnsupportedOperator { hint, .. }, Some(failure)) =
            (&mut error, &self.facts.failure)
        {
            hint.push_str(&format!(" (constant folding stopped: {failure})"));
        }
        error
    }

    /// Nodes whose result is constant. Quantisation and data movement of constants are folded elsewhere, so that
    /// quantised constants keep their integers.
    fn fold(&mut self, node: &OnnxNode) -> Result<bool, OnnxError> {
        let (shape, data) = match node.op() {
            "Constant" => constant_node(node)?,
            "Shape" => {
                let x = self.operand(node, 0)?;
                let dims: Vec<i64> = self.graph[x].shape.iter().map(|&d| d as i64).collect();
                let rank = dims.len() as i64;
                let clip = |v: i64| {
                    (if v < 0 { v.saturating_add(rank) } else { v }).clamp(0, rank) as usize
                };
                let (start, end) = (clip(node.int("start", 0)), clip(node.int("end", rank)));
                let dims = dims.get(start..end).unwrap_or_default().to_vec();
                (vec![dims.len()], Data::I64(dims))
            }
            "Size" => {
                let x = self.operand(node, 0)?;
                (vec![], Data::I64(vec![self.graph[x].len() as i64]))
            }
            "QuantizeLinear" | "DequantizeLinear" | "Reshape" | "Flatten" | "Squeeze"
            | "Unsqueeze" | "Transpose" | "Identity" | "Split" => return Ok(false),
            _ => {
                for i in 0..node.proto.input.len() {
                    if let Some(id) = self.optional(node, i)?
                        && !self.is_constant(id)
                    {
                        return Ok(false);
                    }
                }
                match self.facts.constant(node.output()?) {
                    Some((shape, data)) if shape.iter().product::<usize>() == data.len() => {
                        (shape.clone(), data.clone())
                    }
                    _ => match self.looked_up(node)? {
                        Some(constant) => constant,
                        None => return Ok(false),
                    },
                }
            }
        };
        let name = node.output()?.to_owned();
        let id = self.add_constant(&name, shape, data, None);
        self.values.insert(name, id);
        Ok(true)
    }

    /// See [`lookup`]. All operands are constants.
    fn looked_up(&mut self, node: &OnnxNode) -> Result<Option<Constant>, OnnxError> {
        let mut operand = |i| -> Result<Option<Constant>, OnnxError> {
            let id = self.optional(node, i)?;
            let value = id.map(|id| &self.graph[id]);
            Ok(value.and_then(|v| Some((v.shape.clone(), v.data.clone()?))))
        };
        let (Some(x), y) = (operand(0)?, operand(1)?) else {
            return Ok(None);
        };
        Ok(match (node.op(), y) {
            ("Cast", None) => lookup::cast(&x, node.int("to", 0)),
            ("Gather", Some(index)) if node.int("axis", 0) == 0 => lookup::gather(&x, &index),
            ("Mul", Some(scale)) => lookup::scaled(&x, &scale),
            _ => None,
        })
    }

    fn dropout(&mut self, node: &OnnxNode) -> Result<ValueId, OnnxError> {
        let x = self.operand(node, 0)?;
        if let Some(mode) = self.optional(node, 2)?
            && !matches!(&self.graph[mode].data, Some(Data::U8(v)) if v.iter().all(|&b| b == 0))
        {
            return Err(node.unsupported(
                "training_mode",
                "true",
                "export the model for inference (model.eval())",
            ));
        }
        Ok(x)
    }

    fn cast(&mut self, node: &OnnxNode) -> Result<ValueId, OnnxError> {
        let x = self.operand(node, 0)?;
        let to = node.int("to", 0);
        let float = [
            DataType::Float,
            DataType::Float16,
            DataType::Bfloat16,
            DataType::Double,
        ]
        .iter()
        .any(|&t| to == i64::from(t as i32));
        let (kind, quantized) = (self.kind(x), self.graph[x].quantization.is_some());
        if quantized || !matches!(self.graph[x].dtype, DType::F32 | DType::U8) {
            return Err(node.unsupported(
                "to",
                to,
                "use QuantizeLinear and DequantizeLinear for bytes",
            ));
        }
        let x = self.number(node, 0)?;
        match self.cast_kind(node) {
            Kind::Truth if kind != Kind::Truth => self.truth(node, x),
            Kind::Integer if kind == Kind::Real => self.truncated(node, x),
            Kind::Real if !float => {
                Err(node.unsupported("to", to, "cast to float32, int32, int64 or bool"))
            }
            _ => Ok(x),
        }
    }

    /// What a cast makes.
    pub(super) fn cast_kind(&self, node: &OnnxNode) -> Kind {
        let is = |t: DataType| node.int("to", 0) == i64::from(t as i32);
        if is(DataType::Bool) {
            Kind::Truth
        } else if is(DataType::Int32) || is(DataType::Int64) {
            Kind::Integer
        } else {
            Kind::Real
        }
    }

    fn finish(mut self, graph: &GraphProto) -> Result<Graph, OnnxError> {
        for output in &graph.output {
            let fail = |message: &str| OnnxError::Output {
                output: output.name.clone(),
                message: message.to_owned(),
            };
            let id = *self
                .borders
                .get(&output.name)
                .or_else(|| self.values.get(&output.name))
                .ok_or_else(|| fail("no node produces it"))?;
            if self.is_constant(id) {
                return Err(fail("it is constant; remove it from the model"));
            }
            if self.graph.outputs.contains(&id) {
                return Err(fail("it is listed twice"));
            }
            self.graph.outputs.push(id);
        }
        if self.graph.outputs.is_empty() {
            return Err(OnnxError::Model {
                message: "it has no outputs".into(),
            });
        }
        self.graph.remove_dead_nodes();
        let work = self.graph.nodes.iter().fold(0u64, |sum, n| {
            sum.saturating_add(crate::passes::work(&self.graph, n))
        });
        let what = || "an inference".to_owned();
        at_most(what, work, "multiply-accumulates", self.limits.macs)?;
        self.complete_quantization()?;
        Ok(self.graph)
    }
}

fn constant_node(node: &OnnxNode) -> Result<(Vec<usize>, Data), OnnxError> {
    if let Some(t) = node.tensor("value") {
        return tensor::decode(t);
    }
    if let Some(a) = node.attribute("value_float") {
        return Ok((vec![], Data::F32(vec![a.f])));
    }
    if let Some(a) = node.attribute("value_int") {
        return Ok((vec![], Data::I64(vec![a.i])));
    }
    if let Some(a) = node.attribute("value_floats") {
        return Ok((vec![a.floats.len()], Data::F32(a.floats.clone())));
    }
    if let Some(a) = node.attribute("value_ints") {
        return Ok((vec![a.ints.len()], Data::I64(a.ints.clone())));
    }
    let kind = node
        .proto
        .attribute
        .first()
        .map_or("nothing", |a| a.name.as_str());
    Err(node.unsupported("value", kind, "store the constant as a dense tensor"))
}
