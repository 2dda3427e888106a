//! Small float networks with random parameters, and their results by the runtime on this machine.

use crate::compile::{CompileOptions, compile};
use crate::data::{Dataset, Elements, Split};
use crate::graph::{
    Binary, Clamp, DType, Data, Graph, Node, Op, Pool, Unary, Value, ValueId, Window,
};
use crate::host::Runner;
use crate::passes::prepare;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The graph's (only) output for this input, NCHW, through the compiler and the host runner.
pub(crate) fn run(graph: &Graph, input: &[f32]) -> Vec<f32> {
    let mut graph = graph.clone();
    prepare(&mut graph);
    let compiled = compile(&graph, &CompileOptions::default()).expect("it compiles");
    let mut runner = Runner::new(compiled.core()).expect("a valid plan");
    let bytes: Vec<u8> = input.iter().flat_map(|v| v.to_le_bytes()).collect();
    let outputs = runner.run(&bytes, &mut ()).expect("it runs");
    let (words, rest) = outputs[0].as_chunks::<4>();
    assert!(rest.is_empty());
    words.iter().map(|&w| f32::from_le_bytes(w)).collect()
}

/// Largest difference relative to the largest magnitude.
pub(crate) fn distance(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let largest = a.iter().chain(b).fold(1e-6f32, |m, v| m.max(v.abs()));
    a.iter()
        .zip(b)
        .fold(0.0f32, |m, (a, b)| m.max((a - b).abs()))
        / largest
}

/// Builds a network in the ONNX dialect.
pub(crate) struct Net {
    pub(crate) graph: Graph,
    pub(crate) random: ChaCha8Rng,
    input: ValueId,
    count: usize,
}

impl Net {
    pub(crate) fn new(seed: u64, input: &[usize]) -> Net {
        let mut graph = Graph::default();
        let input = graph.add_value(Value {
            name: "x".into(),
            shape: input.to_vec(),
            dtype: DType::F32,
            quantization: None,
            data: None,
        });
        graph.inputs = vec![input];
        Net {
            graph,
            random: ChaCha8Rng::seed_from_u64(seed),
            input,
            count: 0,
        }
    }

    pub(crate) fn input(&self) -> ValueId {
        self.input
    }

    pub(crate) fn random_input(&mut self) -> Vec<f32> {
        let len = self.graph[self.input].len();
        (0..len)
            .map(|_| self.random.random_range(-1.0..1.0))
            .collect()
    }

    pub(crate) fn shape(&self, id: ValueId) -> Vec<usize> {
        self.graph[id].shape.clone()
    }

    pub(crate) fn node(
        &mut self,
        kind: &str,
        op: Op,
        inputs: Vec<ValueId>,
        shape: Vec<usize>,
    ) -> ValueId {
        self.count += 1;
        let name = format!("{kind}{}", self.count);
        let output = self.graph.add_value(Value {
            name: format!("{name}_out"),
            shape,
            dtype: DType::F32,
            quantization: None,
            data: None,
        });
        self.graph.nodes.push(Node {
            name,
            op,
            inputs,
            output,
        });
        output
    }

    pub(crate) fn constant(
        &mut self,
        what: &str,
        shape: &[usize],
        range: std::ops::Range<f32>,
    ) -> ValueId {
        let len = shape.iter().product();
        let data = (0..len)
            .map(|_| self.random.random_range(range.clone()))
            .collect();
        let name = format!("{what}{}", self.graph.values.len());
        self.graph
            .add_constant(name, shape.to_vec(), Data::F32(data), None)
    }

    pub(crate) fn conv_window(
        &mut self,
        x: ValueId,
        out: usize,
        window: Window,
        groups: usize,
        bias: bool,
    ) -> ValueId {
        let [n, c, h, w] = self.shape(x)[..] else {
            panic!("a plane")
        };
        let [kh, kw] = window.kernel;
        let bound = 1.5 / ((c / groups * kh * kw) as f32).sqrt();
        let mut inputs = vec![
            x,
            self.constant("weight", &[out, c / groups, kh, kw], -bound..bound),
        ];
        if bias {
            inputs.push(self.constant("bias", &[out], -0.5..0.5));
        }
        let size = |len: usize, axis: usize| {
            let reach = window.dilations[axis] * (window.kernel[axis] - 1) + 1;
            (len + window.pads[axis] + window.pads[axis + 2] - reach) / window.strides[axis] + 1
        };
        let shape = vec![n, out, size(h, 0), size(w, 1)];
        self.node(
            "conv",
            Op::Conv2d {
                window,
                groups,
                clamp: Clamp::NONE,
            },
            inputs,
            shape,
        )
    }

    /// Square kernel, "same" padding.
    pub(crate) fn conv(&mut self, x: ValueId, out: usize, kernel: usize, stride: usize) -> ValueId {
        self.conv_window(x, out, window(kernel, stride), 1, false)
    }

    pub(crate) fn depthwise(&mut self, x: ValueId, kernel: usize, stride: usize) -> ValueId {
        let channels = self.shape(x)[1];
        self.conv_window(x, channels, window(kernel, stride), channels, false)
    }

    pub(crate) fn bn(&mut self, x: ValueId) -> ValueId {
        let c = self.shape(x)[1];
        let inputs = vec![
            x,
            self.constant("gamma", &[c], 0.5..1.5),
            self.constant("beta", &[c], -0.5..0.5),
            self.constant("mean", &[c], -0.2..0.2),
            self.constant("variance", &[c], 0.5..1.5),
        ];
        let shape = self.shape(x);
        self.node("bn", Op::BatchNorm { epsilon: 1e-5 }, inputs, shape)
    }

    pub(crate) fn relu(&mut self, x: ValueId) -> ValueId {
        let shape = self.shape(x);
        self.node("relu", Op::Unary(Unary::Clamp(Clamp::RELU)), vec![x], shape)
    }

    pub(crate) fn conv_bn_relu(
        &mut self,
        x: ValueId,
        out: usize,
        kernel: usize,
        stride: usize,
    ) -> ValueId {
        let y = self.conv(x, out, kernel, stride);
        let y = self.bn(y);
        self.relu(y)
    }

    pub(crate) fn add(&mut self, a: ValueId, b: ValueId) -> ValueId {
        let shape = self.shape(a);
        self.node(
            "add",
            Op::Binary {
                op: Binary::Add,
                clamp: Clamp::NONE,
            },
            vec![a, b],
            shape,
        )
    }

    /// A post-activation basic block; a shortcut of its own where the shape changes.
    pub(crate) fn basic_block(
        &mut self,
        x: ValueId,
        inner: usize,
        out: usize,
        stride: usize,
    ) -> ValueId {
        let y = self.conv_bn_relu(x, inner, 3, stride);
        let y = self.conv(y, out, 3, 1);
        let y = self.bn(y);
        let shortcut = if self.shape(y) == self.shape(x) {
            x
        } else {
            let s = self.conv(x, out, 1, stride);
            self.bn(s)
        };
        let sum = self.add(shortcut, y);
        self.relu(sum)
    }

    pub(crate) fn concat(&mut self, parts: &[ValueId]) -> ValueId {
        let mut shape = self.shape(parts[0]);
        shape[1] = parts.iter().map(|&p| self.graph[p].shape[1]).sum();
        self.node("concat", Op::Concat { axis: 1 }, parts.to_vec(), shape)
    }

    pub(crate) fn max_pool(&mut self, x: ValueId) -> ValueId {
        let [n, c, h, w] = self.shape(x)[..] else {
            panic!("a plane")
        };
        let window = Window {
            kernel: [2; 2],
            strides: [2; 2],
            dilations: [1; 2],
            pads: [0; 4],
        };
        self.node(
            "pool",
            Op::Pool {
                pool: Pool::Max,
                window,
            },
            vec![x],
            vec![n, c, h / 2, w / 2],
        )
    }

    pub(crate) fn flatten(&mut self, x: ValueId) -> ValueId {
        let shape = self.shape(x);
        self.node(
            "flatten",
            Op::Reshape,
            vec![x],
            vec![shape[0], shape[1..].iter().product()],
        )
    }

    /// Global average, flattened.
    pub(crate) fn global_pool(&mut self, x: ValueId) -> ValueId {
        let [n, c, h, w] = self.shape(x)[..] else {
            panic!("a plane")
        };
        let window = Window {
            kernel: [h, w],
            strides: [1; 2],
            dilations: [1; 2],
            pads: [0; 4],
        };
        let pool = Pool::Average {
            count_include_pad: false,
        };
        let y = self.node("mean", Op::Pool { pool, window }, vec![x], vec![n, c, 1, 1]);
        self.flatten(y)
    }

    pub(crate) fn dense(&mut self, x: ValueId, out: usize) -> ValueId {
        let [rows, k] = self.shape(x)[..] else {
            panic!("a matrix")
        };
        let inputs = vec![
            x,
            self.constant("weight", &[out, k], -0.5..0.5),
            self.constant("bias", &[out], -0.5..0.5),
        ];
        self.node(
            "dense",
            Op::FullyConnected { clamp: Clamp::NONE },
            inputs,
            vec![rows, out],
        )
    }

    pub(crate) fn finish(&mut self, output: ValueId) -> Graph {
        self.graph.outputs = vec![output];
        self.graph.clone()
    }
}

/// Images whose class is the quarter that is bright.
pub(crate) fn quarters() -> Dataset {
    quarters_of([160, 40], 1000)
}

/// So many to train and to test with; the noise of these is that of others so many images on.
pub(crate) fn quarters_of([train, test]: [usize; 2], apart: usize) -> Dataset {
    let split = |n: usize, first: usize| {
        let image = move |i: usize| {
            let class = i % 4;
            (0..64).map(move |p| {
                let quarter = p / 32 * 2 + p % 8 / 4;
                let noise = ((i + first) * 31 + p * 17) % 50;
                (if quarter == class { 150 } else { 60 } + noise) as u8
            })
        };
        Split {
            elements: Elements::U8((0..n).flat_map(image).collect()),
            labels: (0..n).map(|i| (i % 4) as u16).collect(),
        }
    };
    Dataset {
        name: "quarters".into(),
        shape: vec![1, 8, 8],
        classes: 4,
        train: split(train, 0),
        test: split(test, apart),
    }
}

/// For [`quarters`]: a stem, two residual blocks and a classifier that sees where its features are.
pub(crate) fn quarters_network() -> Graph {
    let mut net = Net::new(3, &[1, 1, 8, 8]);
    let x = net.input();
    let y = net.conv_bn_relu(x, 8, 3, 1);
    let y = net.basic_block(y, 8, 8, 1);
    let y = net.basic_block(y, 12, 16, 2);
    let y = net.max_pool(y);
    let y = net.flatten(y);
    let y = net.dense(y, 4);
    net.finish(y)
}

/// Square, "same" padding.
pub(crate) fn window(kernel: usize, stride: usize) -> Window {
    Window {
        kernel: [kernel; 2],
        strides: [stride; 2],
        dilations: [1; 2],
        pads: [kernel / 2; 4],
    }
}
