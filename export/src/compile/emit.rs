//! Steps: one record for every operation that does something, with its place in the arena.

use super::image::{Image, Tensor};
use super::layout::{Arranged, transpose_data};
use super::memory;
use super::storage::{Storage, bytes};
use super::weights::{Affine, fixed_sum, fold_zero_point, function, multipliers, table};
use super::{CompileError, StepInfo};
use crate::graph::{
    Binary, Clamp, DType, Data, Graph, Node, Op, Pool, Unary, Value, ValueId, Window,
};
use crate::passes::{macs, op_name};
use kinglet::format::{self, MAX_RANK, OpCode, Span};
use std::collections::{HashMap, HashSet};
use zerocopy::{Immutable, IntoBytes};

/// What emission makes.
pub(super) struct Emitted {
    pub(super) image: Image,
    pub(super) steps: Vec<StepInfo>,
    pub(super) arena_len: usize,
    /// Step with most bytes in use, and the bytes.
    pub(super) peak: (usize, usize),
}

struct Emitter<'g> {
    graph: &'g Graph,
    permutations: &'g HashMap<ValueId, Vec<usize>>,
    reordered: &'g HashSet<ValueId>,
    spans: HashMap<ValueId, Span>,
    image: Image,
    steps: Vec<StepInfo>,
}

type Result<T> = std::result::Result<T, CompileError>;

/// Emits all steps of a channels-last graph.
pub(super) fn emit(arranged: &Arranged) -> Result<Emitted> {
    let graph = &arranged.graph;
    check_border(graph)?;
    let storage = Storage::plan(graph);
    let placement = memory::place(&storage.buffers);
    if u32::try_from(placement.arena_len).is_err() {
        let name = graph.name.clone();
        return Err(CompileError::TooLarge {
            node: name,
            what: "arena",
            value: placement.arena_len,
        });
    }
    let spans = storage.buffer_of.iter().map(|(&id, &buffer)| {
        (
            id,
            Span::new(placement.offsets[buffer] as u32, bytes(&graph[id]) as u32),
        )
    });
    let mut emitter = Emitter {
        graph,
        permutations: &arranged.permutations,
        reordered: &arranged.reordered,
        spans: spans.collect(),
        image: Image::default(),
        steps: Vec::new(),
    };
    let mut first_step = Vec::new();
    for node in &graph.nodes {
        first_step.push(emitter.steps.len());
        emitter.node(node)?;
    }
    for (ids, is_input) in [(&graph.inputs, true), (&graph.outputs, false)] {
        for &id in ids {
            emitter.border(id, is_input)?;
        }
    }
    let (node, peak) = memory::peak(&storage.buffers, graph.nodes.len());
    Ok(Emitted {
        image: emitter.image,
        arena_len: placement.arena_len,
        peak: (first_step.get(node).copied().unwrap_or(0), peak),
        steps: emitter.steps,
    })
}

fn check_border(graph: &Graph) -> Result<()> {
    for (ids, which) in [(&graph.inputs, "input"), (&graph.outputs, "output")] {
        for &id in ids {
            let value = &graph[id];
            let wrong = |reason: String| CompileError::Border {
                which,
                name: value.name.clone(),
                reason,
            };
            if value.data.is_some() {
                return Err(wrong(
                    "is a constant; a model that computes nothing has no plan".into(),
                ));
            }
            if value.shape.len() > MAX_RANK {
                return Err(wrong(format!(
                    "has {} dimensions, at most {MAX_RANK} are supported",
                    value.shape.len()
                )));
            }
            border_type(value)
                .ok_or_else(|| wrong(format!("has element type {:?}", value.dtype)))?;
        }
    }
    Ok(())
}

/// `data` of `shape`, broadcast to `whole` of the same rank.
fn expand(data: &Data, shape: &[usize], whole: &[usize]) -> Data {
    let source = |at: usize| {
        let (mut rest, mut stride, mut index) = (at, 1, 0);
        for (&from, &to) in shape.iter().zip(whole).rev() {
            index += rest % to % from * stride;
            rest /= to;
            stride *= from;
        }
        index
    };
    let indices = (0..whole.iter().product()).map(source);
    match data {
        Data::F32(v) => Data::F32(indices.map(|i| v[i]).collect()),
        Data::I8(v) => Data::I8(indices.map(|i| v[i]).collect()),
        Data::U8(v) => Data::U8(indices.map(|i| v[i]).collect()),
        Data::I32(v) => Data::I32(indices.map(|i| v[i]).collect()),
        Data::I64(v) => Data::I64(indices.map(|i| v[i]).collect()),
    }
}

fn border_type(value: &Value) -> Option<format::DType> {
    match value.dtype {
        DType::F32 => Some(format::DType::F32),
        DType::I8 => Some(format::DType::I8),
        DType::U8 => Some(format::DType::U8),
        DType::I32 | DType::I64 => None,
    }
}

impl Emitter<'_> {
    fn node(&mut self, node: &Node) -> Result<()> {
        match &node.op {
            Op::Reshape => Ok(()),
            Op::Conv2d {
                window,
                groups,
                clamp,
            } => self.conv(node, window, *groups, *clamp),
            Op::FullyConnected { clamp } => self.fully_connected(node, *clamp),
            Op::Binary { op, clamp } => self.binary(node, *op, *clamp),
            Op::Pool { pool, window } => self.pool(node, *pool, window),
            Op::Unary(unary) => self.unary(node, *unary),
            Op::Softmax { axis } => self.softmax(node, *axis),
            Op::Transpose { perm } => self.transpose(node, perm),
            Op::Pad {
                before,
                after,
                value,
            } => self.pad(node, before, after, *value),
            Op::Concat { axis } => self.concat(node, *axis),
            Op::Quantize => {
                let y = self.affine(node, node.output)?;
                self.require(node, DType::I8, node.output)?;
                self.push(node, OpCode::Quantize, &affine_record(y))
            }
            Op::Dequantize => {
                let x = self.affine(node, node.inputs[0])?;
                self.require(node, DType::I8, node.inputs[0])?;
                self.push(node, OpCode::Dequantize, &affine_record(x))
            }
            Op::Requantize => self.lookup(node, |x| x),
            Op::BatchNorm { .. } => {
                Err(self.unsupported(node, "batch normalisation was not folded"))
            }
        }
    }

    fn unsupported(&self, node: &Node, reason: impl Into<String>) -> CompileError {
        CompileError::Unsupported {
            node: node.name.clone(),
            operator: op_name(&node.op),
            reason: reason.into(),
        }
    }

    fn value(&self, id: ValueId) -> &Value {
        &self.graph[id]
    }

    fn require(&self, node: &Node, dtype: DType, id: ValueId) -> Result<()> {
        let value = self.value(id);
        if value.dtype == dtype {
            return Ok(());
        }
        Err(self.unsupported(
            node,
            format!(
                "`{}` has element type {:?}, {dtype:?} expected",
                value.name, value.dtype
            ),
        ))
    }

    fn affine(&self, node: &Node, id: ValueId) -> Result<Affine> {
        match &self.value(id).quantization {
            Some(q) if q.scales.len() == 1 => Ok(Affine {
                scale: q.scales[0],
                zero_point: q.zero_point,
            }),
            _ => Err(self.unsupported(
                node,
                format!("`{}` has no per-tensor quantisation", self.value(id).name),
            )),
        }
    }

    fn span(&self, node: &Node, id: ValueId) -> Result<Span> {
        let missing = || {
            self.unsupported(
                node,
                format!("operand `{}` is a constant", self.value(id).name),
            )
        };
        self.spans.get(&id).copied().ok_or_else(missing)
    }

    fn int8(&self, node: &Node, x: Affine, y: Affine, clamp: Clamp) -> Result<format::Int8> {
        let (min, max) = y.bounds(clamp);
        if i8::try_from(y.zero_point).is_err() || i8::try_from(x.zero_point).is_err() {
            return Err(self.unsupported(node, "a zero point is not an int8"));
        }
        Ok(format::Int8 {
            input_zero_point: x.zero_point.into(),
            output_zero_point: y.zero_point.into(),
            min: min.into(),
            max: max.into(),
        })
    }

    /// Emits a step from the node's first operand to its output.
    fn push(
        &mut self,
        node: &Node,
        code: OpCode,
        parameters: &(impl IntoBytes + Immutable),
    ) -> Result<()> {
        let input = self.span(node, node.inputs[0])?;
        self.push_from(node, input, code, parameters, true)
    }

    fn push_from(
        &mut self,
        node: &Node,
        input: Span,
        code: OpCode,
        parameters: &(impl IntoBytes + Immutable),
        complete: bool,
    ) -> Result<()> {
        let output = self.span(node, node.output)?;
        self.image.step(code, input, output, parameters);
        let value = self.value(node.output);
        let dtype = border_type(value)
            .ok_or_else(|| self.unsupported(node, "an integer tensor is computed"))?;
        self.steps.push(StepInfo {
            name: node.name.clone(),
            operator: code.name(),
            output: value.name.clone(),
            shape: value.shape.clone(),
            permutation: self.permutations.get(&node.output).cloned(),
            complete,
            reordered: self.reordered.contains(&node.output),
            dtype,
            quantization: value.quantization.clone(),
            macs: macs(self.graph, node),
        });
        Ok(())
    }

    fn window(&self, node: &Node, window: &Window) -> Result<format::Window> {
        let (x, y) = (
            &self.value(node.inputs[0]).shape,
            &self.value(node.output).shape,
        );
        let three = |s: &[usize]| -> Result<[zerocopy::little_endian::U32; 3]> {
            Ok([
                self.u32(node, s[1])?,
                self.u32(node, s[2])?,
                self.u32(node, s[3])?,
            ])
        };
        let two = |what, a: [usize; 2]| -> Result<[zerocopy::little_endian::U16; 2]> {
            let fit = |value| {
                let name = node.name.clone();
                u16::try_from(value).map_err(|_| CompileError::TooLarge {
                    node: name,
                    what,
                    value,
                })
            };
            Ok([fit(a[0])?.into(), fit(a[1])?.into()])
        };
        Ok(format::Window {
            batch: self.u32(node, x[0])?,
            input: three(x)?,
            output: three(y)?,
            kernel: two("kernel size", window.kernel)?,
            stride: two("stride", window.strides)?,
            dilation: two("dilation", window.dilations)?,
            pad: two("padding", [window.pads[0], window.pads[1]])?,
        })
    }

    fn u32(&self, node: &Node, value: usize) -> Result<zerocopy::little_endian::U32> {
        let too_large = |_| CompileError::TooLarge {
            node: node.name.clone(),
            what: "dimension",
            value,
        };
        Ok(u32::try_from(value).map_err(too_large)?.into())
    }

    fn conv(&mut self, node: &Node, window: &Window, groups: usize, clamp: Clamp) -> Result<()> {
        let (x, w) = (node.inputs[0], node.inputs[1]);
        let shape = self.value(w).shape.clone();
        let channels = shape[0];
        let depthwise = groups > 1 && shape[1] == 1;
        let packing: [usize; 4] = if depthwise {
            [2, 3, 0, 1]
        } else {
            [0, 2, 3, 1]
        };
        let record = self.window(node, window)?;
        let groups = self.u32(node, groups)?;
        let input = self.span(node, x)?;
        match self.value(w).data.clone() {
            Some(Data::F32(data)) => {
                let code = if depthwise {
                    OpCode::DepthwiseF32
                } else {
                    OpCode::ConvF32
                };
                let parameters = format::ConvF32 {
                    window: record,
                    groups,
                    clamp: clamp_record(clamp),
                    weights: self.image.data(&transpose_data(&data, &shape, &packing)),
                    bias: self.bias_f32(node, channels)?,
                };
                self.push_from(node, input, code, &parameters, true)
            }
            Some(data) => {
                let weights = self.integer_weights(node, &data)?;
                let (int8, bias, multipliers) =
                    self.integer_layer(node, &weights, channels, clamp)?;
                let (weights, wide) = self.pack(&transpose_data(&weights, &shape, &packing));
                let code = match (depthwise, wide) {
                    (false, false) => OpCode::ConvI8,
                    (false, true) => OpCode::ConvI8W16,
                    (true, false) => OpCode::DepthwiseI8,
                    (true, true) => OpCode::DepthwiseI8W16,
                };
                let parameters = format::ConvI8 {
                    window: record,
                    groups,
                    int8,
                    weights,
                    bias,
                    multipliers,
                };
                self.push_from(node, input, code, &parameters, true)
            }
            None => Err(self.unsupported(node, "weights must be constants")),
        }
    }

    fn fully_connected(&mut self, node: &Node, clamp: Clamp) -> Result<()> {
        let (x, w) = (node.inputs[0], node.inputs[1]);
        let [outputs, inputs] = self.value(w).shape[..] else {
            return Err(self.unsupported(node, "weights must be a matrix"));
        };
        let rows = self.value(x).len() / inputs.max(1);
        let shape = [
            self.u32(node, rows)?,
            self.u32(node, inputs)?,
            self.u32(node, outputs)?,
        ];
        let input = self.span(node, x)?;
        match self.value(w).data.clone() {
            Some(Data::F32(data)) => {
                let weights = self.image.data(&data);
                let bias = self.bias_f32(node, outputs)?;
                let parameters = format::FullyConnectedF32 {
                    shape,
                    clamp: clamp_record(clamp),
                    weights,
                    bias,
                };
                self.push_from(node, input, OpCode::FullyConnectedF32, &parameters, true)
            }
            Some(data) => {
                let weights = self.integer_weights(node, &data)?;
                let (int8, bias, multipliers) =
                    self.integer_layer(node, &weights, outputs, clamp)?;
                let (weights, wide) = self.pack(&weights);
                let code = if wide {
                    OpCode::FullyConnectedI8W16
                } else {
                    OpCode::FullyConnectedI8
                };
                let parameters = format::FullyConnectedI8 {
                    shape,
                    int8,
                    weights,
                    bias,
                    multipliers,
                };
                self.push_from(node, input, code, &parameters, true)
            }
            None => Err(self.unsupported(node, "weights must be constants")),
        }
    }

    fn bias_f32(&mut self, node: &Node, channels: usize) -> Result<Span> {
        let data = match node.inputs.get(2).map(|&b| self.value(b).data.clone()) {
            None => vec![0.0; channels],
            Some(Some(Data::F32(data))) if data.len() == channels => data,
            _ => {
                return Err(self.unsupported(
                    node,
                    "the bias must be a constant, one number per output channel",
                ));
            }
        };
        Ok(self.image.data(&data))
    }

    /// Symmetric weights; those that were asymmetric may need nine bits.
    fn integer_weights(&self, node: &Node, data: &Data) -> Result<Vec<i16>> {
        let too_wide = |_| {
            self.unsupported(
                node,
                "quantised weights must fit 16 bits around their zero point",
            )
        };
        match data {
            Data::I8(v) => Ok(v.iter().map(|&w| w.into()).collect()),
            Data::I32(v) => v
                .iter()
                .map(|&w| i16::try_from(w).map_err(too_wide))
                .collect(),
            _ => Err(self.unsupported(node, "weights must be f32 or int8")),
        }
    }

    /// Weights in the data section, and whether they take 16 bits.
    fn pack(&mut self, weights: &[i16]) -> (Span, bool) {
        let narrow: std::result::Result<Vec<i8>, _> =
            weights.iter().map(|&w| i8::try_from(w)).collect();
        match narrow {
            Ok(narrow) => (self.image.data(&narrow), false),
            Err(_) => (self.image.data(weights), true),
        }
    }

    /// Zero points and bounds, folded bias and multipliers of an int8 layer with weights `[channels, …]`.
    fn integer_layer(
        &mut self,
        node: &Node,
        weights: &[i16],
        channels: usize,
        clamp: Clamp,
    ) -> Result<(format::Int8, Span, Span)> {
        let (x, y) = (
            self.affine(node, node.inputs[0])?,
            self.affine(node, node.output)?,
        );
        let scales = match &self.value(node.inputs[1]).quantization {
            Some(q) if q.zero_point == 0 && (q.scales.len() == 1 || q.scales.len() == channels) => {
                q.scales.clone()
            }
            _ => {
                return Err(self.unsupported(
                    node,
                    "int8 weights need symmetric per-channel or per-tensor scales",
                ));
            }
        };
        let bias = match node.inputs.get(2).map(|&b| self.value(b).data.clone()) {
            None => vec![0; channels],
            Some(Some(Data::I32(data))) if data.len() == channels => data,
            _ => {
                return Err(self.unsupported(
                    node,
                    "the bias must be a constant int32, one per output channel",
                ));
            }
        };
        let folded = fold_zero_point(&node.name, weights, &bias, x.zero_point)?;
        let int8 = self.int8(node, x, y, clamp)?;
        let bias = self.image.data(&folded);
        let multipliers = self
            .image
            .data(&multipliers(x.scale, &scales, y.scale, channels));
        Ok((int8, bias, multipliers))
    }

    fn binary(&mut self, node: &Node, op: Binary, clamp: Clamp) -> Result<()> {
        let output = self.value(node.output).clone();
        let whole =
            |e: &Self, id: ValueId| e.spans.contains_key(&id) && e.value(id).len() == output.len();
        let [first, second] = node.inputs[..] else {
            return Err(self.unsupported(node, "two operands expected"));
        };
        let in_place_second = || {
            self.spans.get(&second).map(|s| s.offset)
                == self.spans.get(&node.output).map(|s| s.offset)
        };
        // The first operand is the one that the result may overwrite: whole, and not a constant.
        let swapped = !whole(self, first) || (in_place_second() && whole(self, second));
        let (a, b) = if swapped {
            (second, first)
        } else {
            (first, second)
        };
        if !whole(self, a) {
            return Err(self.unsupported(
                node,
                "both operands would have to be broadcast; expand one of them first",
            ));
        }
        let operand = self.operand(node, b, &output.shape)?;
        let input = self.span(node, a)?;
        if output.dtype == DType::F32 {
            let code = match (op, swapped) {
                (Binary::Add, _) => OpCode::AddF32,
                (Binary::Mul, _) => OpCode::MulF32,
                (Binary::Sub, false) => OpCode::SubF32,
                (Binary::Sub, true) => return self.subtract_from(node, operand, input, clamp),
                (Binary::Div, false) => OpCode::DivF32,
                (Binary::Div, true) => {
                    return Err(self.unsupported(
                        node,
                        "the dividend must have the result's shape; expand it first",
                    ));
                }
            };
            let parameters = format::BinaryF32 {
                b: operand,
                clamp: clamp_record(clamp),
            };
            return self.push_from(node, input, code, &parameters, true);
        }
        let (qa, qb, y) = (
            self.affine(node, a)?,
            self.affine(node, b)?,
            self.affine(node, node.output)?,
        );
        let int8 = self.int8(node, qa, y, clamp)?;
        match op {
            Binary::Add | Binary::Sub => {
                let mut sum = fixed_sum(qa, qb, y, if op == Binary::Sub { -1.0 } else { 1.0 });
                if op == Binary::Sub && swapped {
                    // b − a: the signs of both change.
                    sum.factors = (-sum.factors.0, -sum.factors.1);
                    sum.offset = -sum.offset;
                }
                let parameters = format::AddI8 {
                    b: operand,
                    factor_a: sum.factors.0.into(),
                    factor_b: sum.factors.1.into(),
                    offset: sum.offset.into(),
                    multiplier: sum.multiplier.into(),
                    int8,
                };
                self.push_from(node, input, OpCode::AddI8, &parameters, true)
            }
            Binary::Mul => {
                let parameters = format::MulI8 {
                    b: operand,
                    b_zero_point: qb.zero_point.into(),
                    multiplier: multipliers(qa.scale, &[qb.scale], y.scale, 1)[0].into(),
                    int8,
                };
                self.push_from(node, input, OpCode::MulI8, &parameters, true)
            }
            Binary::Div => {
                Err(self.unsupported(node, "int8 division; multiply by the reciprocal instead"))
            }
        }
    }

    /// `first − x` where only `x` has the result's shape: `x · −1 + first`, which rounds alike.
    fn subtract_from(
        &mut self,
        node: &Node,
        first: format::Operand,
        x: Span,
        clamp: Clamp,
    ) -> Result<()> {
        let elements = self.u32(node, self.value(node.output).len())?;
        let minus = format::Operand {
            constant: 1.into(),
            span: self.image.data(&[-1.0f32]),
            repeat: elements,
        };
        let negation = format::BinaryF32 {
            b: minus,
            clamp: clamp_record(Clamp::NONE),
        };
        self.push_from(node, x, OpCode::MulF32, &negation, false)?;
        let sum = format::BinaryF32 {
            b: first,
            clamp: clamp_record(clamp),
        };
        self.push_from(
            node,
            self.span(node, node.output)?,
            OpCode::AddF32,
            &sum,
            true,
        )
    }

    /// How the second operand of shape `b` meets a first operand of shape `whole`.
    fn operand(&mut self, node: &Node, id: ValueId, whole: &[usize]) -> Result<format::Operand> {
        let value = self.value(id);
        let mut shape = vec![1; whole.len().saturating_sub(value.shape.len())];
        shape.extend(&value.shape);
        // Broadcast axes inside give the repetition; those outside the period; between them all must be whole.
        let inner = shape
            .iter()
            .zip(whole)
            .rev()
            .take_while(|(b, _)| **b == 1)
            .count();
        let outer = shape.iter().take_while(|b| **b == 1).count();
        let middle = outer.min(shape.len())..shape.len() - inner.min(shape.len());
        let one_step = middle.is_empty() || shape[middle.clone()] == whole[middle];
        if shape.len() != whole.len() || (!one_step && value.data.is_none()) {
            let reason = format!(
                "shape {:?} cannot be broadcast to {whole:?} in one step",
                value.shape
            );
            return Err(self.unsupported(node, reason));
        }
        let (data, inner) = match &value.data {
            // Costs flash, but runs.
            Some(data) if !one_step => (Some(expand(data, &shape, whole)), 0),
            data => (data.clone(), inner),
        };
        let repeat: usize = whole[whole.len() - inner..].iter().product();
        let repeat = self.u32(node, repeat)?;
        let (constant, span) = match data {
            Some(Data::F32(data)) => (1, self.image.data(&data)),
            Some(Data::I8(data)) => (1, self.image.data(&data)),
            Some(_) => return Err(self.unsupported(node, "a constant operand must be f32 or int8")),
            None => (0, self.span(node, id)?),
        };
        Ok(format::Operand {
            constant: constant.into(),
            span,
            repeat,
        })
    }

    fn pool(&mut self, node: &Node, pool: Pool, window: &Window) -> Result<()> {
        let float = self.value(node.inputs[0]).dtype == DType::F32;
        let divisor = match pool {
            Pool::Average {
                count_include_pad: true,
            } => window.kernel[0] * window.kernel[1],
            _ => 0,
        };
        let none = Affine {
            scale: 1.0,
            zero_point: 0,
        };
        let (x, y) = if float {
            (none, none)
        } else {
            (
                self.affine(node, node.inputs[0])?,
                self.affine(node, node.output)?,
            )
        };
        let code = match (pool, float) {
            (Pool::Average { .. }, true) => OpCode::AveragePoolF32,
            (Pool::Average { .. }, false) => OpCode::AveragePoolI8,
            (Pool::Max, true) => OpCode::MaxPoolF32,
            (Pool::Max, false) if x == y => OpCode::MaxPoolI8,
            (Pool::Max, false) => {
                return Err(self.unsupported(node, "input and output quantisation differ"));
            }
        };
        let parameters = format::Pool {
            window: self.window(node, window)?,
            divisor: self.u32(node, divisor)?,
            input_scale: x.scale.into(),
            output_scale: y.scale.into(),
            int8: self.int8(node, x, y, Clamp::NONE)?,
        };
        self.push(node, code, &parameters)
    }

    fn unary(&mut self, node: &Node, unary: Unary) -> Result<()> {
        if self.value(node.inputs[0]).dtype != DType::F32 {
            return self.lookup(node, function(unary));
        }
        let (code, alpha, beta) = match unary {
            Unary::Clamp(c) => (OpCode::ClampF32, c.min, c.max),
            Unary::Sigmoid => (OpCode::SigmoidF32, 0.0, 0.0),
            Unary::Tanh => (OpCode::TanhF32, 0.0, 0.0),
            Unary::LeakyRelu { alpha } => (OpCode::LeakyReluF32, alpha, 0.0),
            Unary::HardSigmoid { alpha, beta } => (OpCode::HardSigmoidF32, alpha, beta),
            Unary::HardSwish => (OpCode::HardSwishF32, 0.0, 0.0),
        };
        self.push(
            node,
            code,
            &format::UnaryF32 {
                alpha: alpha.into(),
                beta: beta.into(),
            },
        )
    }

    fn lookup(&mut self, node: &Node, f: impl Fn(f32) -> f32) -> Result<()> {
        let (x, y) = (
            self.affine(node, node.inputs[0])?,
            self.affine(node, node.output)?,
        );
        let signed = |id| self.value(id).dtype == DType::I8;
        let bytes = table(x, signed(node.inputs[0]), y, signed(node.output), f);
        let table = self.image.data(&bytes);
        self.push(node, OpCode::LookupI8, &format::LookupI8 { table })
    }

    fn softmax(&mut self, node: &Node, axis: usize) -> Result<()> {
        let value = self.value(node.inputs[0]);
        let row = value.shape[axis];
        let float = value.dtype == DType::F32;
        let none = Affine {
            scale: 1.0,
            zero_point: 0,
        };
        let (x, y) = if float {
            (none, none)
        } else {
            (
                self.affine(node, node.inputs[0])?,
                self.affine(node, node.output)?,
            )
        };
        let parameters = format::Softmax {
            row: self.u32(node, row)?,
            input_scale: x.scale.into(),
            input_zero_point: x.zero_point.into(),
            output_scale: y.scale.into(),
            output_zero_point: y.zero_point.into(),
        };
        self.push(
            node,
            if float {
                OpCode::SoftmaxF32
            } else {
                OpCode::SoftmaxI8
            },
            &parameters,
        )
    }

    /// Dimensions with leading ones, as records hold them.
    fn dims(
        &self,
        node: &Node,
        values: &[usize],
        fill: usize,
    ) -> Result<[zerocopy::little_endian::U32; MAX_RANK]> {
        let Some(missing) = MAX_RANK.checked_sub(values.len()) else {
            return Err(self.unsupported(
                node,
                format!("{} dimensions, at most {MAX_RANK}", values.len()),
            ));
        };
        let mut dims = [self.u32(node, fill)?; MAX_RANK];
        for (to, &from) in dims[missing..].iter_mut().zip(values) {
            *to = self.u32(node, from)?;
        }
        Ok(dims)
    }

    fn transpose(&mut self, node: &Node, perm: &[usize]) -> Result<()> {
        let shape = self.value(node.inputs[0]).shape.clone();
        let strides: Vec<usize> = perm
            .iter()
            .map(|&p| shape[p + 1..].iter().product())
            .collect();
        let parameters = format::Transpose {
            dims: self.dims(node, &self.value(node.output).shape, 1)?,
            strides: self.dims(node, &strides, 0)?,
        };
        let float = self.value(node.output).dtype == DType::F32;
        self.push(
            node,
            if float {
                OpCode::TransposeF32
            } else {
                OpCode::TransposeI8
            },
            &parameters,
        )
    }

    fn pad(&mut self, node: &Node, before: &[usize], after: &[usize], value: f32) -> Result<()> {
        let float = self.value(node.output).dtype == DType::F32;
        let fill = if float {
            value.to_le_bytes()
        } else {
            [self.affine(node, node.output)?.quantize(value) as u8; 4]
        };
        let parameters = format::Pad {
            dims: self.dims(node, &self.value(node.inputs[0]).shape, 1)?,
            before: self.dims(node, before, 0)?,
            after: self.dims(node, after, 0)?,
            value: fill,
        };
        self.push(
            node,
            if float { OpCode::PadF32 } else { OpCode::PadI8 },
            &parameters,
        )
    }

    fn concat(&mut self, node: &Node, axis: usize) -> Result<()> {
        let output = self.value(node.output);
        let outer: usize = output.shape[..axis].iter().product();
        let stride = bytes(output) / outer.max(1);
        let mut offset = 0;
        for (i, &id) in node.inputs.iter().enumerate() {
            let input = self.span(node, id)?;
            let block = bytes(self.value(id)) / outer.max(1);
            let parameters = format::Place {
                block: self.u32(node, block)?,
                stride: self.u32(node, stride)?,
                offset: self.u32(node, offset)?,
            };
            offset += block;
            self.push_from(
                node,
                input,
                OpCode::Place,
                &parameters,
                i + 1 == node.inputs.len(),
            )?;
        }
        Ok(())
    }

    fn border(&mut self, id: ValueId, is_input: bool) -> Result<()> {
        let value = self.value(id).clone();
        let which = if is_input { "input" } else { "output" };
        let wrong = |reason: &str| CompileError::Border {
            which,
            name: value.name.clone(),
            reason: reason.into(),
        };
        let dtype = border_type(&value).ok_or_else(|| wrong("unsupported element type"))?;
        let arena = *self
            .spans
            .get(&id)
            .ok_or_else(|| wrong("is never computed"))?;
        let (scale, zero_point) = match &value.quantization {
            Some(q) if q.scales.len() == 1 => (q.scales[0], q.zero_point),
            _ => (0.0, 0),
        };
        let tensor = Tensor {
            name: &value.name,
            dtype,
            shape: &value.shape,
            arena,
            scale,
            zero_point,
        };
        if is_input {
            self.image.input(&tensor)
        } else {
            self.image.output(&tensor)
        }
        Ok(())
    }
}

fn clamp_record(clamp: Clamp) -> format::ClampF32 {
    format::ClampF32 {
        min: clamp.min.into(),
        max: clamp.max.into(),
    }
}

fn affine_record(q: Affine) -> format::Affine {
    format::Affine {
        scale: q.scale.into(),
        zero_point: q.zero_point.into(),
    }
}
