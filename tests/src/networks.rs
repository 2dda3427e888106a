//! Small networks with random weights, in either dialect of the compiler's graph.

use crate::random::Random;
use kinglet_export::graph::{
    Binary, Clamp, DType, Data, Graph, Node, Op, Pool, Quantization, Unary, Value, ValueId, Window,
};

/// Builds a network in one of the two dialects.
pub struct Builder {
    /// The network so far.
    pub graph: Graph,
    /// Where weights come from.
    pub random: Random,
    /// Whether activations are int8.
    pub quantized: bool,
}

impl Builder {
    /// An empty network.
    pub fn new(seed: u64, quantized: bool) -> Self {
        Builder {
            graph: Graph::default(),
            random: Random::new(seed),
            quantized,
        }
    }

    /// Shape of a value.
    pub fn shape(&self, id: ValueId) -> Vec<usize> {
        self.graph[id].shape.clone()
    }

    /// Scale and zero point of a value; 1 and 0 for floats.
    pub fn scale(&self, id: ValueId) -> (f32, i32) {
        let quantization = self.graph[id].quantization.as_ref();
        quantization.map_or((1.0, 0), |q| (q.scales[0], q.zero_point))
    }

    /// A graph input.
    pub fn input(&mut self, name: &str, shape: &[usize], scale: f32, zero_point: i32) -> ValueId {
        let id = self.activation(shape, scale, zero_point);
        self.graph[id].name = name.into();
        self.graph.inputs.push(id);
        id
    }

    /// A value that a node will write; scale and zero point count in the quantised dialect only.
    pub fn activation(&mut self, shape: &[usize], scale: f32, zero_point: i32) -> ValueId {
        let quantization = self
            .quantized
            .then(|| Quantization::per_tensor(scale, zero_point));
        self.graph.add_value(Value {
            name: format!("v{}", self.graph.values.len()),
            shape: shape.to_vec(),
            dtype: if self.quantized {
                DType::I8
            } else {
                DType::F32
            },
            quantization,
            data: None,
        })
    }

    /// A value in the quantisation of `like`.
    pub fn activation_like(&mut self, like: ValueId, shape: &[usize]) -> ValueId {
        let (scale, zero_point) = self.scale(like);
        self.activation(shape, scale, zero_point)
    }

    /// Weights `[outputs, …]`, per-channel in the quantised dialect.
    pub fn weights(&mut self, shape: &[usize]) -> ValueId {
        let name = format!("w{}", self.graph.values.len());
        let len = shape.iter().product();
        if self.quantized {
            let data = Data::I8((0..len).map(|_| self.random.byte().max(-127)).collect());
            let scales = (0..shape[0])
                .map(|i| 0.004 + 0.0005 * (i % 8) as f32)
                .collect();
            let quantization = Quantization {
                scales,
                zero_point: 0,
                axis: Some(0),
            };
            self.graph
                .add_constant(name, shape.to_vec(), data, Some(quantization))
        } else {
            let data = Data::F32((0..len).map(|_| self.random.real() * 0.3).collect());
            self.graph.add_constant(name, shape.to_vec(), data, None)
        }
    }

    /// A bias for `weights` applied to `input`.
    pub fn bias(&mut self, len: usize, input: ValueId, weights: ValueId) -> ValueId {
        let name = format!("b{}", self.graph.values.len());
        if self.quantized {
            let data = Data::I32(
                (0..len)
                    .map(|_| i32::from(self.random.byte()) * 10)
                    .collect(),
            );
            let of_input = self.scale(input).0;
            let of_weights = self.graph[weights].quantization.as_ref();
            let of_weights = of_weights.map_or(&[][..], |q| &q.scales);
            let quantization = Quantization {
                scales: of_weights.iter().map(|scale| scale * of_input).collect(),
                zero_point: 0,
                axis: Some(0),
            };
            self.graph
                .add_constant(name, vec![len], data, Some(quantization))
        } else {
            let data = Data::F32((0..len).map(|_| self.random.real() * 0.1).collect());
            self.graph.add_constant(name, vec![len], data, None)
        }
    }

    /// Adds a node that writes `output`, and returns `output`.
    pub fn node(&mut self, op: Op, inputs: &[ValueId], output: ValueId) -> ValueId {
        let name = format!("n{}", self.graph.nodes.len());
        let inputs = inputs.to_vec();
        self.graph.nodes.push(Node {
            name,
            op,
            inputs,
            output,
        });
        output
    }

    /// A 3×3 convolution with bias and Relu, padded by 1.
    pub fn conv(
        &mut self,
        x: ValueId,
        groups: usize,
        stride: usize,
        output: [usize; 4],
    ) -> ValueId {
        let channels = self.graph[x].shape[1];
        let w = self.weights(&[output[1], channels / groups, 3, 3]);
        let b = self.bias(output[1], x, w);
        let y = self.activation(&output, 0.05, -4);
        let window = Window {
            strides: [stride, stride],
            pads: [1; 4],
            ..window([3, 3])
        };
        let clamp = Clamp::RELU;
        self.node(
            Op::Conv2d {
                window,
                groups,
                clamp,
            },
            &[x, w, b],
            y,
        )
    }
}

/// A window without stride, dilation and padding.
pub fn window(kernel: [usize; 2]) -> Window {
    Window {
        kernel,
        strides: [1, 1],
        dilations: [1, 1],
        pads: [0; 4],
    }
}

/// The sum without an activation.
pub const ADD: Op = Op::Binary {
    op: Binary::Add,
    clamp: Clamp::NONE,
};

/// Convolution, depthwise convolution, residual sum, global average, fully connected, softmax.
pub fn classifier(quantized: bool) -> Graph {
    let mut b = Builder::new(0x5eed, quantized);
    let x = b.input("image", &[1, 3, 9, 11], 0.02, 3);
    let first = b.conv(x, 1, 2, [1, 8, 5, 6]);
    let second = b.conv(first, 8, 1, [1, 8, 5, 6]);
    let sum = b.activation(&[1, 8, 5, 6], 0.07, -20);
    let sum = b.node(ADD, &[first, second], sum);
    let mean = b.activation(&[1, 8, 1, 1], 0.07, -20);
    let pool = Pool::Average {
        count_include_pad: false,
    };
    let window = window([5, 6]);
    let mean = b.node(Op::Pool { pool, window }, &[sum], mean);
    let flat = b.activation_like(mean, &[1, 8]);
    let flat = b.node(Op::Reshape, &[mean], flat);
    let w = b.weights(&[5, 8]);
    let bias = b.bias(5, flat, w);
    let logits = b.activation(&[1, 5], 0.03, 10);
    let clamp = Clamp::NONE;
    let logits = b.node(Op::FullyConnected { clamp }, &[flat, w, bias], logits);
    let scores = b.activation(&[1, 5], 1.0 / 256.0, -128);
    let scores = b.node(Op::Softmax { axis: 1 }, &[logits], scores);
    b.graph[scores].name = "scores".into();
    b.graph.outputs.push(scores);
    b.graph
}

/// Inputs `a` and `b`, outputs `sum` and `product`.
pub fn two_inputs(quantized: bool) -> Graph {
    let mut b = Builder::new(2, quantized);
    let x = b.input("a", &[1, 2, 3], 0.02, 3);
    let y = b.input("b", &[1, 2, 3], 0.03, -5);
    let op = Binary::Mul;
    let clamp = Clamp::NONE;
    for (name, scale, op) in [
        ("sum", 0.04, ADD),
        ("product", 0.08, Op::Binary { op, clamp }),
    ] {
        let out = b.activation(&[1, 2, 3], scale, 1);
        let out = b.node(op, &[x, y], out);
        b.graph[out].name = name.into();
        b.graph.outputs.push(out);
    }
    b.graph
}

/// One step over `len` elements: `max(0, x)`.
pub fn relu(len: usize, quantized: bool) -> Graph {
    let mut b = Builder::new(3, quantized);
    let x = b.input("x", &[1, len], 0.02, 3);
    let y = b.activation(&[1, len], 0.01, -128);
    let y = b.node(Op::Unary(Unary::Clamp(Clamp::RELU)), &[x], y);
    b.graph[y].name = "y".into();
    b.graph.outputs.push(y);
    b.graph
}

/// A small network with an operator of every kind, float at its border in either dialect.
pub fn everything(quantized: bool) -> Graph {
    let mut b = Builder::new(0xa11, quantized);
    let x = b.input("x", &[1, 3, 7, 6], 0.02, 3);
    let shape = [1, 4, 7, 6];
    let conv = b.conv(x, 1, 1, shape);
    let depthwise = b.conv(conv, 4, 1, shape);
    let sum = b.activation(&shape, 0.07, -20);
    let sum = b.node(ADD, &[conv, depthwise], sum);
    let inner = b.conv(sum, 1, 1, shape);
    let outer = b.conv(inner, 1, 1, shape);
    let total = b.activation(&shape, 0.07, -20);
    let sum = b.node(ADD, &[sum, outer], total);

    let mean = b.activation(&[1, 4, 1, 1], 0.07, -20);
    let average = Pool::Average {
        count_include_pad: false,
    };
    let global = Op::Pool {
        pool: average,
        window: window([7, 6]),
    };
    let mean = b.node(global, &[sum], mean);
    let gate = b.activation(&[1, 4, 1, 1], 1.0 / 256.0, -128);
    let gate = b.node(Op::Unary(Unary::Sigmoid), &[mean], gate);
    let gated = b.activation(&shape, 0.05, -10);
    let (op, clamp) = (Binary::Mul, Clamp::NONE);
    let gated = b.node(Op::Binary { op, clamp }, &[sum, gate], gated);

    let mut halves = Vec::new();
    for pool in [Pool::Max, average] {
        let half = b.activation_like(gated, &[1, 4, 3, 3]);
        let window = Window {
            strides: [2, 2],
            ..window([2, 2])
        };
        halves.push(b.node(Op::Pool { pool, window }, &[gated], half));
    }
    let both = b.activation_like(gated, &[1, 8, 3, 3]);
    let both = b.node(Op::Concat { axis: 1 }, &halves, both);
    let parts = [(0, 5), (5, 3)].map(|(start, channels)| {
        let part = b.activation_like(gated, &[1, channels, 3, 3]);
        b.node(Op::Slice { axis: 1, start }, &[both], part)
    });
    let both = b.activation_like(gated, &[1, 8, 3, 3]);
    let both = b.node(Op::Concat { axis: 1 }, &[parts[1], parts[0]], both);
    let padded = b.activation_like(gated, &[1, 8, 4, 3]);
    let pad = Op::Pad {
        before: vec![0, 0, 1, 0],
        after: vec![0; 4],
        value: 0.0,
    };
    let padded = b.node(pad, &[both], padded);
    let turned = b.activation_like(gated, &[1, 4, 3, 8]);
    let perm = vec![0, 2, 3, 1];
    let turned = b.node(Op::Transpose { perm }, &[padded], turned);
    let flat = b.activation_like(gated, &[12, 8]);
    let flat = b.node(Op::Reshape, &[turned], flat);
    let bent = b.activation(&[12, 8], 1.0 / 128.0, 0);
    let bent = b.node(Op::Unary(Unary::Tanh), &[flat], bent);
    let turned = b.activation_like(bent, &[8, 12]);
    let perm = vec![1, 0];
    let turned = b.node(Op::Transpose { perm }, &[bent], turned);
    let w = b.weights(&[5, 12]);
    let bias = b.bias(5, turned, w);
    let logits = b.activation(&[8, 5], 0.03, 10);
    let clamp = Clamp::NONE;
    let logits = b.node(Op::FullyConnected { clamp }, &[turned, w, bias], logits);
    let mut rest = logits;
    if !quantized {
        for unary in [
            Unary::LeakyRelu { alpha: 0.1 },
            Unary::HardSwish,
            Unary::HardSigmoid {
                alpha: 0.2,
                beta: 0.5,
            },
            Unary::Clamp(Clamp { min: 0.1, max: 0.9 }),
        ] {
            let y = b.activation_like(rest, &[8, 5]);
            rest = b.node(Op::Unary(unary), &[rest], y);
        }
        for op in [Binary::Sub, Binary::Div] {
            let one = b.graph.add_constant(
                format!("c{}", b.graph.values.len()),
                vec![5],
                Data::F32(vec![0.5; 5]),
                None,
            );
            let y = b.activation_like(rest, &[8, 5]);
            rest = b.node(Op::Binary { op, clamp }, &[rest, one], y);
        }
    }
    let scores = b.activation(&[8, 5], 1.0 / 256.0, -128);
    let scores = b.node(Op::Softmax { axis: 1 }, &[rest], scores);
    b.graph.outputs.push(scores);
    if quantized {
        float_border(&mut b.graph);
    }
    b.graph
}

/// Puts a `Quantize` behind the inputs and a `Dequantize` before the outputs.
fn float_border(graph: &mut Graph) {
    let float = |graph: &mut Graph, like: ValueId, name: &str| {
        let shape = graph[like].shape.clone();
        graph.add_value(Value {
            name: name.into(),
            shape,
            dtype: DType::F32,
            quantization: None,
            data: None,
        })
    };
    let (inner, outer) = (graph.inputs[0], graph.outputs[0]);
    graph[inner].name = "x_int8".into();
    let x = float(graph, inner, "x");
    let y = float(graph, outer, "y");
    let node = |op, from, to, name: &str| Node {
        name: name.into(),
        op,
        inputs: vec![from],
        output: to,
    };
    graph
        .nodes
        .insert(0, node(Op::Quantize, x, inner, "quantize"));
    graph
        .nodes
        .push(node(Op::Dequantize, outer, y, "dequantize"));
    graph.inputs = vec![x];
    graph.outputs = vec![y];
}
