//! A chain of layers: forward, backward, and out as a [`Graph`].

use super::conv::Conv2d;
use super::linear::Linear;
use super::tensor::{Parameter, Real, Tensor};
use super::{pool, relu};
use crate::graph::{Clamp, DType, Data, Graph, Node, Op, Pool, Unary, Value, ValueId, Window};
use rand::Rng;

/// One step of a [`Network`].
#[derive(Clone, PartialEq, Debug)]
pub enum Layer<T> {
    /// Convolution with bias.
    Conv2d(Conv2d<T>),
    /// Fully connected, on flattened samples.
    Linear(Linear<T>),
    /// `max(0, x)`.
    Relu,
    /// Mean of square windows of this size, that far apart.
    AveragePool(usize),
}

impl<T: Real> Layer<T> {
    /// A dense or grouped convolution; weights are He-uniform, biases zero.
    pub fn conv2d(
        [in_channels, out_channels]: [usize; 2],
        kernel: usize,
        stride: usize,
        groups: usize,
        rng: &mut impl Rng,
    ) -> Self {
        let fan_in = in_channels / groups * kernel * kernel;
        Layer::Conv2d(Conv2d {
            in_channels,
            out_channels,
            kernel,
            stride,
            pad: kernel / 2,
            groups,
            weight: he_uniform(out_channels * fan_in, fan_in, rng),
            bias: Parameter::new(vec![T::zero(); out_channels]),
        })
    }

    /// A fully connected layer; weights are He-uniform, biases zero.
    pub fn linear(inputs: usize, outputs: usize, rng: &mut impl Rng) -> Self {
        Layer::Linear(Linear {
            inputs,
            outputs,
            weight: he_uniform(inputs * outputs, inputs, rng),
            bias: Parameter::new(vec![T::zero(); outputs]),
        })
    }

    /// The layer's result.
    pub fn forward(&self, x: &Tensor<T>) -> Tensor<T> {
        match self {
            Layer::Conv2d(layer) => layer.forward(x),
            Layer::Linear(layer) => layer.forward(x),
            Layer::Relu => relu::forward(x),
            Layer::AveragePool(size) => pool::forward(x, *size),
        }
    }

    /// Adds the parameters' gradients and returns the input's, given the input and the output's gradient.
    pub fn backward(&mut self, x: &Tensor<T>, dy: &Tensor<T>) -> Tensor<T> {
        match self {
            Layer::Conv2d(layer) => layer.backward(x, dy),
            Layer::Linear(layer) => layer.backward(x, dy),
            Layer::Relu => relu::backward(x, dy),
            Layer::AveragePool(size) => pool::backward(x, dy, *size),
        }
    }

    /// Trainable tensors: weight, then bias.
    pub fn parameters_mut(&mut self) -> Vec<&mut Parameter<T>> {
        match self {
            Layer::Conv2d(layer) => vec![&mut layer.weight, &mut layer.bias],
            Layer::Linear(layer) => vec![&mut layer.weight, &mut layer.bias],
            Layer::Relu | Layer::AveragePool(_) => Vec::new(),
        }
    }
}

fn he_uniform<T: Real>(n: usize, fan_in: usize, rng: &mut impl Rng) -> Parameter<T> {
    let bound = (6.0 / fan_in as f64).sqrt();
    Parameter::new(
        (0..n)
            .map(|_| T::of(rng.random_range(-bound..bound)))
            .collect(),
    )
}

/// Layers applied one after the other to samples of a fixed shape.
#[derive(Clone, PartialEq, Debug)]
pub struct Network<T = f32> {
    /// Name of the model.
    pub name: String,
    /// Channels, height and width of a sample.
    pub input: [usize; 3],
    /// In order of execution.
    pub layers: Vec<Layer<T>>,
}

impl<T: Real> Network<T> {
    /// The last layer's result.
    pub fn forward(&self, x: &Tensor<T>) -> Tensor<T> {
        self.layers
            .iter()
            .fold(x.clone(), |x, layer| layer.forward(&x))
    }

    /// The inputs of every layer, and the last layer's result.
    pub fn trace(&self, x: Tensor<T>) -> Vec<Tensor<T>> {
        let mut values = vec![x];
        for layer in &self.layers {
            values.push(layer.forward(&values[values.len() - 1]));
        }
        values
    }

    /// Adds every parameter's gradient, given what [`Network::trace`] returned and the gradient of the result.
    pub fn backward(&mut self, trace: &[Tensor<T>], gradient: Tensor<T>) {
        self.layers
            .iter_mut()
            .zip(trace)
            .rev()
            .fold(gradient, |dy, (layer, x)| layer.backward(x, &dy));
    }

    /// Trainable tensors in order.
    pub fn parameters_mut(&mut self) -> Vec<&mut Parameter<T>> {
        self.layers
            .iter_mut()
            .flat_map(Layer::parameters_mut)
            .collect()
    }
}

impl Network<f32> {
    /// The network as a graph in the ONNX dialect, for one sample: `input [1, C, H, W]` → `scores [1, classes]`.
    pub fn to_graph(&self) -> Graph {
        let mut graph = Graph {
            name: self.name.clone(),
            ..Graph::default()
        };
        let [c, h, w] = self.input;
        let mut x = graph.add_value(float("input", vec![1, c, h, w]));
        graph.inputs.push(x);
        let mut counts = [0; 4];
        for (i, layer) in self.layers.iter().enumerate() {
            let mut name = |kind: usize, base: &str| {
                counts[kind] += 1;
                format!("{base}{}", counts[kind])
            };
            let shape = graph[x].shape.clone();
            let last = i + 1 == self.layers.len();
            x = match layer {
                Layer::Conv2d(conv) => {
                    let name = name(0, "conv");
                    let k = conv.kernel;
                    let weight = vec![conv.out_channels, conv.in_channels / conv.groups, k, k];
                    let inputs = parameters(&mut graph, &name, x, weight, &conv.weight, &conv.bias);
                    let window = Window {
                        kernel: [k; 2],
                        strides: [conv.stride; 2],
                        dilations: [1; 2],
                        pads: [conv.pad; 4],
                    };
                    let op = Op::Conv2d {
                        window,
                        groups: conv.groups,
                        clamp: Clamp::NONE,
                    };
                    let shape = conv
                        .output_shape([shape[0], shape[1], shape[2], shape[3]])
                        .to_vec();
                    push(&mut graph, &name, op, inputs, shape, last)
                }
                Layer::Linear(linear) => {
                    let name = name(1, "linear");
                    if shape != [1, linear.inputs] {
                        let flat = format!("{name}_flatten");
                        x = push(
                            &mut graph,
                            &flat,
                            Op::Reshape,
                            vec![x],
                            vec![1, linear.inputs],
                            false,
                        );
                    }
                    let weight = vec![linear.outputs, linear.inputs];
                    let inputs =
                        parameters(&mut graph, &name, x, weight, &linear.weight, &linear.bias);
                    let op = Op::FullyConnected { clamp: Clamp::NONE };
                    push(&mut graph, &name, op, inputs, vec![1, linear.outputs], last)
                }
                Layer::Relu => {
                    let op = Op::Unary(Unary::Clamp(Clamp::RELU));
                    push(&mut graph, &name(2, "relu"), op, vec![x], shape, last)
                }
                Layer::AveragePool(size) => {
                    let window = Window {
                        kernel: [*size; 2],
                        strides: [*size; 2],
                        dilations: [1; 2],
                        pads: [0; 4],
                    };
                    let op = Op::Pool {
                        pool: Pool::Average {
                            count_include_pad: false,
                        },
                        window,
                    };
                    let shape = vec![shape[0], shape[1], shape[2] / size, shape[3] / size];
                    push(&mut graph, &name(3, "pool"), op, vec![x], shape, last)
                }
            };
        }
        graph.outputs.push(x);
        graph
    }
}

fn float(name: &str, shape: Vec<usize>) -> Value {
    Value {
        name: name.into(),
        shape,
        dtype: DType::F32,
        quantization: None,
        data: None,
    }
}

/// A layer's operands: its input and its two parameters as constants.
fn parameters(
    graph: &mut Graph,
    name: &str,
    x: ValueId,
    shape: Vec<usize>,
    weight: &Parameter<f32>,
    bias: &Parameter<f32>,
) -> Vec<ValueId> {
    let w = graph.add_constant(
        format!("{name}.weight"),
        shape,
        Data::F32(weight.value.clone()),
        None,
    );
    let b = graph.add_constant(
        format!("{name}.bias"),
        vec![bias.value.len()],
        Data::F32(bias.value.clone()),
        None,
    );
    vec![x, w, b]
}

fn push(
    graph: &mut Graph,
    name: &str,
    op: Op,
    inputs: Vec<ValueId>,
    shape: Vec<usize>,
    last: bool,
) -> ValueId {
    let output = graph.add_value(float(if last { "scores" } else { name }, shape));
    graph.nodes.push(Node {
        name: name.into(),
        op,
        inputs,
        output,
    });
    output
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn the_graph_has_every_layer_with_its_shape() {
        let rng = &mut ChaCha8Rng::seed_from_u64(1);
        let layers = vec![
            Layer::conv2d([2, 4], 3, 2, 2, rng),
            Layer::Relu,
            Layer::AveragePool(2),
            Layer::linear(16, 3, rng),
        ];
        let graph = Network {
            name: "n".into(),
            input: [2, 8, 8],
            layers,
        }
        .to_graph();
        let shapes: Vec<_> = graph
            .nodes
            .iter()
            .map(|n| (n.name.as_str(), graph[n.output].shape.clone()))
            .collect();
        assert_eq!(
            shapes,
            [
                ("conv1", vec![1, 4, 4, 4]),
                ("relu1", vec![1, 4, 4, 4]),
                ("pool1", vec![1, 4, 2, 2]),
                ("linear1_flatten", vec![1, 16]),
                ("linear1", vec![1, 3]),
            ]
        );
        assert_eq!(graph[graph.nodes[0].inputs[1]].shape, [4, 1, 3, 3]);
        assert_eq!(graph[graph.outputs[0]].name, "scores");
    }
}
