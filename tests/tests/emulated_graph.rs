//! Small networks, made here with random weights, give the same bytes on the host and on the emulated board.

use kinglet::Observer;
use kinglet_export::compile::{CompileOptions, compile};
use kinglet_export::emulate::{Emulation, Mode, Request, board, emulate};
use kinglet_export::graph::{
    Binary, Clamp, DType, Data, Graph, Node, Op, Pool, Quantization, Value, ValueId, Window,
};
use kinglet_export::host::Runner;

const SAMPLES: usize = 3;

/// Marsaglia's xorshift64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn byte(&mut self) -> i8 {
        (self.next() >> 56) as i8
    }

    /// In `-1 .. 1`.
    fn real(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}

/// Builds a network in one of the two dialects.
struct Builder {
    graph: Graph,
    random: Random,
    quantized: bool,
}

impl Builder {
    fn activation(&mut self, shape: &[usize], scale: f32, zero_point: i32) -> ValueId {
        let name = format!("v{}", self.graph.values.len());
        let dtype = if self.quantized {
            DType::I8
        } else {
            DType::F32
        };
        let quantization = self
            .quantized
            .then(|| Quantization::per_tensor(scale, zero_point));
        self.graph.add_value(Value {
            name,
            shape: shape.to_vec(),
            dtype,
            quantization,
            data: None,
        })
    }

    fn weights(&mut self, shape: &[usize]) -> ValueId {
        let name = format!("w{}", self.graph.values.len());
        let len = shape.iter().product();
        if self.quantized {
            let data = Data::I8((0..len).map(|_| self.random.byte().max(-127)).collect());
            let scales = (0..shape[0]).map(|i| 0.004 + 0.0005 * i as f32).collect();
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

    fn bias(&mut self, len: usize, input: ValueId, weights: ValueId) -> ValueId {
        let name = format!("b{}", self.graph.values.len());
        if self.quantized {
            let data = Data::I32(
                (0..len)
                    .map(|_| i32::from(self.random.byte()) * 10)
                    .collect(),
            );
            let of_input = self.graph[input].quantization.as_ref().unwrap().scales[0];
            let of_weights = &self.graph[weights].quantization.as_ref().unwrap().scales;
            let scales = of_weights.iter().map(|scale| scale * of_input).collect();
            let quantization = Quantization {
                scales,
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

    fn node(&mut self, op: Op, inputs: &[ValueId], output: ValueId) -> ValueId {
        let name = format!("n{}", self.graph.nodes.len());
        self.graph.nodes.push(Node {
            name,
            op,
            inputs: inputs.to_vec(),
            output,
        });
        output
    }

    fn conv(&mut self, x: ValueId, groups: usize, stride: usize, output: [usize; 4]) -> ValueId {
        let channels = self.graph[x].shape[1];
        let w = self.weights(&[output[1], channels / groups, 3, 3]);
        let b = self.bias(output[1], x, w);
        let y = self.activation(&output, 0.05, -4);
        let window = Window {
            kernel: [3, 3],
            strides: [stride, stride],
            dilations: [1, 1],
            pads: [1; 4],
        };
        self.node(
            Op::Conv2d {
                window,
                groups,
                clamp: Clamp::RELU,
            },
            &[x, w, b],
            y,
        )
    }
}

/// Convolution, depthwise convolution, residual sum, global average, fully connected, softmax.
fn network(quantized: bool) -> Graph {
    let mut b = Builder {
        graph: Graph::default(),
        random: Random(0x5eed),
        quantized,
    };
    let x = b.activation(&[1, 3, 9, 11], 0.02, 3);
    b.graph.inputs.push(x);
    let first = b.conv(x, 1, 2, [1, 8, 5, 6]);
    let second = b.conv(first, 8, 1, [1, 8, 5, 6]);
    let sum = b.activation(&[1, 8, 5, 6], 0.07, -20);
    let sum = b.node(
        Op::Binary {
            op: Binary::Add,
            clamp: Clamp::NONE,
        },
        &[first, second],
        sum,
    );
    let mean = b.activation(&[1, 8, 1, 1], 0.07, -20);
    let window = Window {
        kernel: [5, 6],
        strides: [1, 1],
        dilations: [1, 1],
        pads: [0; 4],
    };
    let pool = Pool::Average {
        count_include_pad: false,
    };
    let mean = b.node(Op::Pool { pool, window }, &[sum], mean);
    let flat = b.activation(&[1, 8], 0.07, -20);
    let flat = b.node(Op::Reshape, &[mean], flat);
    let w = b.weights(&[5, 8]);
    let bias = b.bias(5, flat, w);
    let logits = b.activation(&[1, 5], 0.03, 10);
    let logits = b.node(
        Op::FullyConnected { clamp: Clamp::NONE },
        &[flat, w, bias],
        logits,
    );
    let scores = b.activation(&[1, 5], 1.0 / 256.0, -128);
    let scores = b.node(Op::Softmax { axis: 1 }, &[logits], scores);
    b.graph.outputs.push(scores);
    b.graph
}

/// The output of every step on the host.
#[derive(Default)]
struct Outputs(Vec<Vec<u8>>);

impl Observer for Outputs {
    fn after(&mut self, _: usize, output: &mut [u8]) {
        self.0.push(output.to_vec());
    }
}

fn device_equals_host(quantized: bool, loaded: bool) -> Emulation {
    let compiled = compile(&network(quantized), &CompileOptions::default()).unwrap();
    let mut random = Random(0xfeed);
    let element = |random: &mut Random| match quantized {
        true => vec![random.byte() as u8],
        false => random.real().to_le_bytes().to_vec(),
    };
    let samples: Vec<Vec<u8>> = (0..SAMPLES)
        .map(|_| (0..3 * 9 * 11).flat_map(|_| element(&mut random)).collect())
        .collect();

    let board = board("mps2-an386").unwrap();
    let request = Request {
        board,
        plan: &compiled.file,
        samples: &samples,
        mode: Mode::Steps,
        loaded,
    };
    let device = emulate(&request, &|_| {}).unwrap();
    let mut host = Runner::new(&compiled.file).unwrap();
    for (index, sample) in samples.iter().enumerate() {
        let mut steps = Outputs::default();
        let outputs = host.run(sample, &mut steps).unwrap().concat();
        assert_eq!(
            steps.0, device.step_outputs[index],
            "steps of sample {index}"
        );
        assert_eq!(outputs, device.outputs[index], "sample {index}");
        assert_eq!(compiled.steps.len(), device.step_instructions[index].len());
    }
    assert!(
        device.outputs.windows(2).any(|pair| pair[0] != pair[1]),
        "the samples differ"
    );
    device
}

#[test]
fn an_int8_network_gives_the_hosts_bytes_in_every_step() {
    device_equals_host(true, false);
}

#[test]
fn a_float_network_gives_the_hosts_bytes_in_every_step() {
    device_equals_host(false, false);
}

#[test]
fn a_loaded_plan_gives_the_hosts_bytes_in_every_step() {
    device_equals_host(true, true);
}

#[test]
fn the_steps_add_up_to_the_whole() {
    let device = device_equals_host(true, false);
    for (steps, whole) in device.step_instructions.iter().zip(&device.instructions) {
        let steps: u64 = steps.iter().sum();
        assert!(
            steps < *whole && *whole - steps < *whole / 10,
            "{steps} of {whole}"
        );
    }
}
