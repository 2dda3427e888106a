//! Fully connected layer.

use super::tensor::{
    Parameter, Real, Tensor, multiply, multiply_transposed_left, multiply_transposed_right,
};

/// `y = W·x + b` on flattened samples.
#[derive(Clone, PartialEq, Debug)]
pub struct Linear<T> {
    /// Elements of a flattened input sample.
    pub inputs: usize,
    /// Elements of an output sample.
    pub outputs: usize,
    /// `[outputs, inputs]`.
    pub weight: Parameter<T>,
    /// `[outputs]`.
    pub bias: Parameter<T>,
}

impl<T: Real> Linear<T> {
    /// `[N, outputs, 1, 1]`.
    pub fn forward(&self, x: &Tensor<T>) -> Tensor<T> {
        let mut y = Tensor::zeros([x.shape[0], self.outputs, 1, 1]);
        for row in y.data.chunks_exact_mut(self.outputs) {
            row.copy_from_slice(&self.bias.value);
        }
        multiply_transposed_right(
            &mut y.data,
            &x.data,
            &self.weight.value,
            self.inputs,
            self.outputs,
        );
        y
    }

    /// Adds the parameters' gradients and returns the input's, given the input and the output's gradient.
    pub fn backward(&mut self, x: &Tensor<T>, dy: &Tensor<T>) -> Tensor<T> {
        for row in dy.data.chunks_exact(self.outputs) {
            for (gradient, &d) in self.bias.gradient.iter_mut().zip(row) {
                *gradient += d;
            }
        }
        multiply_transposed_left(
            &mut self.weight.gradient,
            &dy.data,
            &x.data,
            self.outputs,
            self.inputs,
        );
        let mut dx = Tensor::zeros(x.shape);
        multiply(
            &mut dx.data,
            &dy.data,
            &self.weight.value,
            self.outputs,
            self.inputs,
        );
        dx
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::{gradients_agree, random};
    use super::super::network::Layer;
    use super::*;

    #[test]
    fn gradients_equal_finite_differences() {
        let (weight, bias) = (
            Parameter::new(random(5 * 12, 1)),
            Parameter::new(random(5, 2)),
        );
        gradients_agree(
            &mut Layer::Linear(Linear {
                inputs: 12,
                outputs: 5,
                weight,
                bias,
            }),
            [3, 3, 2, 2],
        );
    }

    #[test]
    fn a_known_product() {
        let weight = Parameter::new(vec![1.0, 2.0, 3.0, 4.0]);
        let bias = Parameter::new(vec![10.0, 20.0]);
        let layer = Linear {
            inputs: 2,
            outputs: 2,
            weight,
            bias,
        };
        let y = layer.forward(&Tensor {
            shape: [1, 2, 1, 1],
            data: vec![1.0, -1.0],
        });
        assert_eq!(y.data, [9.0, 19.0]);
    }
}
