//! Putting a network together: layers with fresh weights, named as they are called.

use crate::graph::{
    Binary, Clamp, DType, Data, Graph, Node, Op, Pool, Unary, Value, ValueId, Window,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Builds a graph in the ONNX dialect; the batch is 1.
pub struct Builder {
    graph: Graph,
    rng: ChaCha8Rng,
}

/// How windows meet the border of the plane.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Border {
    /// Half the kernel on each side (PyTorch's habit).
    Half,
    /// As much as makes the output `size / stride`, the larger half at the end (TensorFlow's `SAME`).
    Same,
}

impl Builder {
    /// An empty graph; all weights come from `seed`.
    pub fn new(name: &str, seed: u64) -> Self {
        Builder {
            graph: Graph {
                name: name.into(),
                ..Graph::default()
            },
            rng: ChaCha8Rng::seed_from_u64(seed),
        }
    }

    /// The graph, with this output.
    pub fn finish(mut self, output: ValueId) -> Graph {
        self.graph[output].name = "output".into();
        self.graph.outputs.push(output);
        self.graph
    }

    /// Shape of a value.
    pub fn shape(&self, id: ValueId) -> &[usize] {
        &self.graph[id].shape
    }

    /// The input, for samples of this shape.
    pub fn input(&mut self, sample: &[usize]) -> ValueId {
        let shape = [&[1], sample].concat();
        let id = self.value("input", shape);
        self.graph.inputs.push(id);
        id
    }

    fn value(&mut self, name: &str, shape: Vec<usize>) -> ValueId {
        self.graph.add_value(Value {
            name: name.into(),
            shape,
            dtype: DType::F32,
            quantization: None,
            data: None,
        })
    }

    fn node(&mut self, name: &str, op: Op, inputs: Vec<ValueId>, shape: Vec<usize>) -> ValueId {
        let output = self.value(&format!("{name}.out"), shape);
        self.graph.nodes.push(Node {
            name: name.into(),
            op,
            inputs,
            output,
        });
        output
    }

    fn constant(&mut self, name: String, shape: Vec<usize>, value: f32) -> ValueId {
        let data = vec![value; shape.iter().product()];
        self.graph.add_constant(name, shape, Data::F32(data), None)
    }

    /// Normally distributed weights of this variance.
    fn normal(&mut self, name: String, shape: Vec<usize>, variance: f64) -> ValueId {
        let len: usize = shape.iter().product();
        let deviation = variance.sqrt();
        let data = (0..len)
            .map(|_| (deviation * normal(&mut self.rng)) as f32)
            .collect();
        self.graph.add_constant(name, shape, Data::F32(data), None)
    }

    /// A convolution with weights of variance `2 / fan_in` (He et al.).
    #[allow(clippy::too_many_arguments)]
    pub fn conv(
        &mut self,
        name: &str,
        x: ValueId,
        channels: usize,
        kernel: [usize; 2],
        stride: usize,
        border: Border,
        groups: usize,
        bias: bool,
    ) -> ValueId {
        let [c, h, w] = self.plane(x);
        let fan_in = c / groups * kernel[0] * kernel[1];
        let shape = vec![channels, c / groups, kernel[0], kernel[1]];
        let weights = self.normal(format!("{name}.weight"), shape, 2.0 / fan_in as f64);
        let mut inputs = vec![x, weights];
        if bias {
            inputs.push(self.constant(format!("{name}.bias"), vec![channels], 0.0));
        }
        let size = [h, w];
        let total = |i: usize| match border {
            Border::Half => kernel[i] / 2 * 2,
            Border::Same => {
                let covered = (size[i].div_ceil(stride) - 1) * stride + kernel[i];
                covered.saturating_sub(size[i])
            }
        };
        let [ty, tx] = [total(0), total(1)];
        let window = Window {
            kernel,
            strides: [stride; 2],
            dilations: [1; 2],
            pads: [ty / 2, tx / 2, ty - ty / 2, tx - tx / 2],
        };
        let out = |i: usize, total: usize| (size[i] + total - kernel[i]) / stride + 1;
        let shape = vec![1, channels, out(0, ty), out(1, tx)];
        let op = Op::Conv2d {
            window,
            groups,
            clamp: Clamp::NONE,
        };
        self.node(name, op, inputs, shape)
    }

    fn plane(&self, x: ValueId) -> [usize; 3] {
        match *self.shape(x) {
            [_, c, h, w] => [c, h, w],
            _ => [0; 3],
        }
    }

    /// Batch normalisation, the identity to begin with.
    pub fn batch_norm(&mut self, name: &str, x: ValueId) -> ValueId {
        let shape = self.shape(x).to_vec();
        let mut inputs = vec![x];
        for (what, value) in [
            ("weight", 1.0),
            ("bias", 0.0),
            ("running_mean", 0.0),
            ("running_var", 1.0),
        ] {
            inputs.push(self.constant(format!("{name}.{what}"), vec![shape[1]], value));
        }
        self.node(name, Op::BatchNorm { epsilon: 1e-5 }, inputs, shape)
    }

    /// `max(0, x)`.
    pub fn relu(&mut self, name: &str, x: ValueId) -> ValueId {
        let shape = self.shape(x).to_vec();
        self.node(name, Op::Unary(Unary::Clamp(Clamp::RELU)), vec![x], shape)
    }

    /// `max(0, a + b)`.
    pub fn add_relu(&mut self, name: &str, a: ValueId, b: ValueId) -> ValueId {
        let shape = self.shape(a).to_vec();
        let op = Op::Binary {
            op: Binary::Add,
            clamp: Clamp::RELU,
        };
        self.node(name, op, vec![a, b], shape)
    }

    /// The mean of every channel's plane, as `[1, channels]`.
    pub fn global_mean(&mut self, name: &str, x: ValueId) -> ValueId {
        let [c, h, w] = self.plane(x);
        let op = Op::Pool {
            pool: Pool::Average {
                count_include_pad: false,
            },
            window: Window {
                kernel: [h, w],
                strides: [1; 2],
                dilations: [1; 2],
                pads: [0; 4],
            },
        };
        let mean = self.node(name, op, vec![x], vec![1, c, 1, 1]);
        self.flatten(&format!("{name}.flatten"), mean)
    }

    /// `[1, elements]`.
    pub fn flatten(&mut self, name: &str, x: ValueId) -> ValueId {
        let shape = vec![1, self.shape(x).iter().product()];
        self.node(name, Op::Reshape, vec![x], shape)
    }

    /// A fully connected layer with weights of variance `gain / inputs`.
    pub fn linear(&mut self, name: &str, x: ValueId, outputs: usize, gain: f64) -> ValueId {
        let inputs = self.shape(x)[1];
        let weights = self.normal(
            format!("{name}.weight"),
            vec![outputs, inputs],
            gain / inputs as f64,
        );
        let bias = self.constant(format!("{name}.bias"), vec![outputs], 0.0);
        let op = Op::FullyConnected { clamp: Clamp::NONE };
        self.node(name, op, vec![x, weights, bias], vec![1, outputs])
    }
}

/// A standard normal number, by Box and Muller.
fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let (u, v): (f64, f64) = (1.0 - rng.random::<f64>(), rng.random());
    libm::sqrt(-2.0 * libm::log(u)) * libm::cos(std::f64::consts::TAU * v)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_numbers_have_their_mean_and_variance() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let draws: Vec<f64> = (0..20_000).map(|_| normal(&mut rng)).collect();
        let mean = draws.iter().sum::<f64>() / 20_000.0;
        let variance = draws.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / 20_000.0;
        assert!(mean.abs() < 0.03 && (variance - 1.0).abs() < 0.03);
    }

    #[test]
    fn the_same_border_is_uneven_where_it_must() {
        let mut b = Builder::new("test", 1);
        let x = b.input(&[1, 49, 10]);
        let y = b.conv("conv", x, 2, [10, 4], 2, Border::Same, 1, true);
        assert_eq!(b.shape(y), [1, 2, 25, 5]);
        let Op::Conv2d { window, .. } = b.graph.nodes[0].op else {
            panic!("a convolution");
        };
        assert_eq!(window.pads, [4, 1, 5, 1]);
    }
}
