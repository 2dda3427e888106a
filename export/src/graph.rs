//! The compiler's graph: what an ONNX model means, with every shape known and constants in place.
//!
//! Two dialects share these types.
//!
//! * **ONNX dialect**: made by [`crate::onnx`]. Layout is ONNX's (`N, C, spatial…`; weights `M, C/g, kH, kW`),
//!   all values between `Dequantize` and `Quantize` nodes are `F32`.
//! * **Quantised dialect**: made by [`crate::passes::lower_qdq`] or [`crate::quantize`]. Same layout, but a node whose
//!   inputs and output are `I8` values *is* its integer form: its meaning is the literal
//!   `DequantizeLinear → op → QuantizeLinear` chain with the values' [`Quantization`]s.
//!
//! Every node has exactly one output. Batch is an ordinary leading dimension, fixed at import.

use serde::Serialize;

/// Index of a [`Value`] in [`Graph::values`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize)]
pub struct ValueId(pub usize);

/// Element type of a value.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DType {
    /// IEEE-754 single.
    F32,
    /// Signed byte; the only type of quantised activations inside the compiler.
    I8,
    /// Unsigned byte; only at the graph's border and in constants.
    U8,
    /// Biases.
    I32,
    /// Shapes and indices; constants only.
    I64,
}

/// Contents of a constant, row-major.
#[derive(Clone, PartialEq, Debug)]
pub enum Data {
    /// Single-precision values.
    F32(Vec<f32>),
    /// Signed bytes.
    I8(Vec<i8>),
    /// Unsigned bytes.
    U8(Vec<u8>),
    /// 32-bit integers.
    I32(Vec<i32>),
    /// 64-bit integers.
    I64(Vec<i64>),
}

impl Data {
    /// The element type.
    pub fn dtype(&self) -> DType {
        match self {
            Data::F32(_) => DType::F32,
            Data::I8(_) => DType::I8,
            Data::U8(_) => DType::U8,
            Data::I32(_) => DType::I32,
            Data::I64(_) => DType::I64,
        }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            Data::F32(v) => v.len(),
            Data::I8(v) => v.len(),
            Data::U8(v) => v.len(),
            Data::I32(v) => v.len(),
            Data::I64(v) => v.len(),
        }
    }

    /// The elements as they are stored; integers beyond 2⁵³ are rounded.
    pub fn reals(&self) -> Vec<f64> {
        match self {
            Data::F32(v) => v.iter().map(|&x| x.into()).collect(),
            Data::I8(v) => v.iter().map(|&x| x.into()).collect(),
            Data::U8(v) => v.iter().map(|&x| x.into()).collect(),
            Data::I32(v) => v.iter().map(|&x| x.into()).collect(),
            Data::I64(v) => v.iter().map(|&x| x as f64).collect(),
        }
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements in `range`; `None` when it is out of bounds.
    pub fn slice(&self, range: std::ops::Range<usize>) -> Option<Data> {
        Some(match self {
            Data::F32(v) => Data::F32(v.get(range)?.to_vec()),
            Data::I8(v) => Data::I8(v.get(range)?.to_vec()),
            Data::U8(v) => Data::U8(v.get(range)?.to_vec()),
            Data::I32(v) => Data::I32(v.get(range)?.to_vec()),
            Data::I64(v) => Data::I64(v.get(range)?.to_vec()),
        })
    }
}

/// Affine quantisation: `real = scale · (q − zero_point)`.
///
/// One scale for the whole tensor, or one for each index along `axis` (weights and biases only; zero points are then 0).
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Quantization {
    /// Positive and finite; one entry, or `shape[axis]` entries.
    pub scales: Vec<f32>,
    /// In the value's own integer type; 0 for weights and biases.
    pub zero_point: i32,
    /// `None` for per-tensor.
    pub axis: Option<usize>,
}

impl Quantization {
    /// Per-tensor quantisation.
    pub fn per_tensor(scale: f32, zero_point: i32) -> Self {
        Quantization {
            scales: vec![scale],
            zero_point,
            axis: None,
        }
    }
}

/// One tensor: an input, an output, a constant or an intermediate result.
#[derive(Clone, Debug)]
pub struct Value {
    /// Name in the ONNX file (or derived from it); unique in the graph.
    pub name: String,
    /// Dimensions, all known.
    pub shape: Vec<usize>,
    /// Element type.
    pub dtype: DType,
    /// How integers map to reals; `None` for floats and plain integers.
    pub quantization: Option<Quantization>,
    /// Contents, for constants.
    pub data: Option<Data>,
}

impl Value {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Bounds applied to a node's real-valued result before it is stored (fused Relu, Relu6, Clip).
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Clamp {
    /// Lower bound; `-inf` for none.
    pub min: f32,
    /// Upper bound; `inf` for none.
    pub max: f32,
}

impl Clamp {
    /// No bounds.
    pub const NONE: Clamp = Clamp {
        min: f32::NEG_INFINITY,
        max: f32::INFINITY,
    };
    /// `max(0, x)`.
    pub const RELU: Clamp = Clamp {
        min: 0.0,
        max: f32::INFINITY,
    };

    /// Whether the clamp changes nothing.
    pub fn is_none(&self) -> bool {
        *self == Clamp::NONE
    }

    /// `self` applied first, then `next`.
    pub fn then(self, next: Clamp) -> Clamp {
        let bound = |x: f32| x.max(next.min).min(next.max);
        Clamp {
            min: bound(self.min),
            max: bound(self.max),
        }
    }
}

/// Spatial window of a 2-D convolution or pooling, in ONNX's terms. One-dimensional operators use height 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Window {
    /// Kernel height and width.
    pub kernel: [usize; 2],
    /// Strides, height and width.
    pub strides: [usize; 2],
    /// Dilations, height and width.
    pub dilations: [usize; 2],
    /// Padding: top, left, bottom, right. `auto_pad` and `ceil_mode` are resolved to explicit pads.
    pub pads: [usize; 4],
}

/// Pooling functions.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub enum Pool {
    /// Maximum; padding never wins.
    Max,
    /// Mean; with `count_include_pad` the divisor is always the whole kernel.
    Average {
        /// Whether padding counts in the divisor.
        count_include_pad: bool,
    },
}

/// Element-wise functions of one variable.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub enum Unary {
    /// Relu, Relu6, Clip.
    Clamp(Clamp),
    /// Logistic function.
    Sigmoid,
    /// Hyperbolic tangent.
    Tanh,
    /// `x < 0 ? alpha·x : x`.
    LeakyRelu {
        /// Slope below zero.
        alpha: f32,
    },
    /// `clamp(alpha·x + beta, 0, 1)`.
    HardSigmoid {
        /// Slope.
        alpha: f32,
        /// Offset.
        beta: f32,
    },
    /// `x · clamp(x/6 + 1/2, 0, 1)`.
    HardSwish,
    /// `√x`.
    Sqrt,
    /// `e^x`.
    Exp,
    /// Natural logarithm.
    Log,
    /// `|x|`.
    Abs,
    /// Error function.
    Erf,
    /// Greatest integer up to `x`.
    Floor,
    /// Least integer from `x` on.
    Ceil,
    /// Nearest integer, the even one of two.
    Round,
    /// −1, 0 or 1.
    Sign,
    /// Sine.
    Sin,
    /// Cosine.
    Cos,
}

/// Element-wise functions of two variables.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub enum Binary {
    /// `a + b`.
    Add,
    /// `a − b`.
    Sub,
    /// `a · b`.
    Mul,
    /// `a / b`; float only, as all that follow.
    Div,
    /// The lesser.
    Min,
    /// The greater.
    Max,
    /// `a ^ b`.
    Pow,
    /// `a = b`: 1 or 0.
    Equal,
    /// `a < b`: 1 or 0.
    Less,
    /// `a ≤ b`: 1 or 0.
    LessOrEqual,
}

impl Binary {
    /// Whether the operands may change places.
    pub fn commutes(self) -> bool {
        matches!(
            self,
            Binary::Add | Binary::Mul | Binary::Min | Binary::Max | Binary::Equal
        )
    }
}

/// What several elements become.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub enum Reduction {
    /// The sum.
    Sum,
    /// The product.
    Product,
    /// The least.
    Min,
    /// The greatest.
    Max,
    /// Index of the first of the least, as a float.
    ArgMin,
    /// Index of the first of the greatest, as a float.
    ArgMax,
}

/// Recurrent layers, with ONNX's default activations and order of gates.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub enum Cell {
    /// Gates i, o, f, c.
    Lstm,
    /// Gates z, r, h.
    Gru,
    /// One gate: tanh.
    Plain,
}

impl Cell {
    /// Number of gates.
    pub fn gates(self) -> usize {
        match self {
            Cell::Lstm => 4,
            Cell::Gru => 3,
            Cell::Plain => 1,
        }
    }
}

/// What a node computes. Input order is given with each operator.
#[derive(Clone, PartialEq, Debug)]
pub enum Op {
    /// `x [N,C,H,W]`, `w [M,C/g,kH,kW]`, optional `b [M]` → `[N,M,oH,oW]`.
    Conv2d {
        /// Kernel, strides, dilations, pads.
        window: Window,
        /// Groups; `g = C` is depthwise.
        groups: usize,
        /// Fused activation.
        clamp: Clamp,
    },
    /// `x [rows, K]`, `w [M, K]`, optional `b [M]` → `[rows, M]`: Gemm or MatMul with constant weights.
    FullyConnected {
        /// Fused activation.
        clamp: Clamp,
    },
    /// `a`, `b`, with ONNX's (numpy's) broadcasting.
    Binary {
        /// The function.
        op: Binary,
        /// Fused activation.
        clamp: Clamp,
    },
    /// `x [N,C,H,W]` → `[N,C,oH,oW]`. Global pooling is a window of the whole plane.
    Pool {
        /// Which.
        pool: Pool,
        /// Kernel, strides, dilations, pads.
        window: Window,
    },
    /// `x`, element-wise.
    Unary(Unary),
    /// Along one axis (opset < 13 semantics are resolved to this at import).
    Softmax {
        /// Axis, non-negative.
        axis: usize,
    },
    /// Same elements, new shape (Reshape, Flatten, Squeeze, Unsqueeze): the output value's shape.
    Reshape,
    /// Permutes axes: output axis `i` is input axis `perm[i]`.
    Transpose {
        /// The permutation.
        perm: Vec<usize>,
    },
    /// Constant padding, per axis.
    Pad {
        /// Elements added before, per axis.
        before: Vec<usize>,
        /// Elements added after, per axis.
        after: Vec<usize>,
        /// The real value of the padding.
        value: f32,
    },
    /// All inputs, along one axis.
    Concat {
        /// Axis, non-negative.
        axis: usize,
    },
    /// The elements from `start` on along one axis, as many as the output has.
    Slice {
        /// Axis, non-negative.
        axis: usize,
        /// Index of the first element.
        start: usize,
    },
    /// `F32` → `I8`/`U8` by the output's quantisation.
    Quantize,
    /// `I8`/`U8`/`I32` → `F32` by the input's quantisation.
    Dequantize,
    /// Per-channel `scale·(x − mean)/√(variance + ε) + bias` along axis 1. Inputs: `x, scale, bias, mean, variance`.
    BatchNorm {
        /// ε.
        epsilon: f32,
    },
    /// `condition, a, b`, broadcast: `a` where the condition is not 0, else `b`.
    Select,
    /// `output[i0, i1, …] = x[offset + Σ i_k·strides[k]]`: broadcasting, steps, reversal.
    Strided {
        /// Distance in elements for each axis of the output.
        strides: Vec<isize>,
        /// Element of `x` that the output begins with.
        offset: usize,
    },
    /// These indices of one axis.
    Pick {
        /// Axis, non-negative.
        axis: usize,
        /// Within the axis.
        indices: Vec<u32>,
    },
    /// `indices` (floats), `x`: those indices of one axis of `x`; the output's shape has the indices' in the axis' place.
    Gather {
        /// Axis of `x`, non-negative.
        axis: usize,
    },
    /// Along one axis, each result is a weighted sum of `taps` elements: interpolation.
    Resample {
        /// Axis, non-negative.
        axis: usize,
        /// Elements that each result takes.
        taps: usize,
        /// Where they are, result by result.
        indices: Vec<u32>,
        /// What they are multiplied with.
        weights: Vec<f32>,
    },
    /// Over these axes, which become 1.
    Reduce {
        /// Which.
        reduction: Reduction,
        /// Axes, sorted.
        axes: Vec<usize>,
    },
    /// `a [batch, rows, k]`, `b [batch or 1, k, columns]` → `[batch, rows, columns]`.
    MatMul,
    /// `x [steps, batch, gates·hidden]` (sums of inputs and biases), constant `r [gates·hidden, hidden]`, initial state
    /// `[1, batch, hidden]` (of an LSTM 2: hidden and cell), and for a GRU that resets behind the product a bias `[hidden]` →
    /// `[steps + 1, batch, hidden]`: hidden states and, of an LSTM, the last cell state.
    Recurrent {
        /// Which.
        cell: Cell,
        /// From the last step to the first.
        reverse: bool,
    },
    /// A constant in the arena, for those that read no other.
    Load,
    /// The same number in another type: plain integers and `F32`.
    Convert,
    /// Same real values in another quantisation (`I8`/`U8` → `I8`/`U8`).
    Requantize,
}

/// One operation.
#[derive(Clone, Debug)]
pub struct Node {
    /// Name in the ONNX file, or derived from its output.
    pub name: String,
    /// What it computes.
    pub op: Op,
    /// Operands, in the operator's order.
    pub inputs: Vec<ValueId>,
    /// Result.
    pub output: ValueId,
}

/// A whole model, nodes in execution order.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    /// Model name.
    pub name: String,
    /// All tensors; [`ValueId`] indexes them.
    pub values: Vec<Value>,
    /// Operations in topological order.
    pub nodes: Vec<Node>,
    /// Inputs, in ONNX order (initialisers excluded).
    pub inputs: Vec<ValueId>,
    /// Outputs, in ONNX order.
    pub outputs: Vec<ValueId>,
    /// Inputs that hold an output's value from one run to the next: names of `(input, output)`.
    pub states: Vec<(String, String)>,
}

impl std::ops::Index<ValueId> for Graph {
    type Output = Value;
    fn index(&self, id: ValueId) -> &Value {
        &self.values[id.0]
    }
}

impl std::ops::IndexMut<ValueId> for Graph {
    fn index_mut(&mut self, id: ValueId) -> &mut Value {
        &mut self.values[id.0]
    }
}

impl Graph {
    /// Adds a value and returns its id.
    pub fn add_value(&mut self, value: Value) -> ValueId {
        self.values.push(value);
        ValueId(self.values.len() - 1)
    }

    /// Adds a constant and returns its id.
    pub fn add_constant(
        &mut self,
        name: impl Into<String>,
        shape: Vec<usize>,
        data: Data,
        quantization: Option<Quantization>,
    ) -> ValueId {
        let dtype = data.dtype();
        self.add_value(Value {
            name: name.into(),
            shape,
            dtype,
            quantization,
            data: Some(data),
        })
    }

    /// `base`, or a name like it that no value has.
    pub fn unique_name(&self, base: &str) -> String {
        let mut name = base.to_owned();
        let mut suffix = 1;
        while self.values.iter().any(|v| v.name == name) {
            suffix += 1;
            name = format!("{base}__{suffix}");
        }
        name
    }

    /// Index of the node that produces `id`, if any.
    pub fn producer(&self, id: ValueId) -> Option<usize> {
        self.nodes.iter().position(|n| n.output == id)
    }

    /// Indices of the nodes that read `id`, in order; a node that reads it twice appears once.
    pub fn consumers(&self, id: ValueId) -> Vec<usize> {
        (0..self.nodes.len())
            .filter(|&i| self.nodes[i].inputs.contains(&id))
            .collect()
    }

    /// Inputs and outputs of the states that are carried from run to run.
    pub fn carried(&self) -> impl Iterator<Item = (ValueId, ValueId)> + '_ {
        let named =
            |ids: &[ValueId], name: &str| ids.iter().copied().find(|&id| self[id].name == name);
        self.states
            .iter()
            .filter_map(move |(i, o)| Some((named(&self.inputs, i)?, named(&self.outputs, o)?)))
    }

    /// Whether `id` is one of the graph's outputs.
    pub fn is_output(&self, id: ValueId) -> bool {
        self.outputs.contains(&id)
    }

    /// Rewrites every use of `from` (operands and graph outputs) to `to`.
    pub fn replace_uses(&mut self, from: ValueId, to: ValueId) {
        for node in &mut self.nodes {
            for input in &mut node.inputs {
                if *input == from {
                    *input = to;
                }
            }
        }
        for output in &mut self.outputs {
            if *output == from {
                *output = to;
            }
        }
    }

    /// Removes nodes whose result nobody uses. Values stay (ids are stable).
    pub fn remove_dead_nodes(&mut self) {
        let mut live = vec![false; self.values.len()];
        for id in &self.outputs {
            live[id.0] = true;
        }
        let mut keep = vec![false; self.nodes.len()];
        for (i, node) in self.nodes.iter().enumerate().rev() {
            if live[node.output.0] {
                keep[i] = true;
                for id in &node.inputs {
                    live[id.0] = true;
                }
            }
        }
        let mut it = keep.into_iter();
        self.nodes.retain(|_| it.next().unwrap_or(true));
    }
}
