//! Softmax along one axis.

use crate::train::tape::operation::{Context, Operation};
use crate::train::tape::tensor::{Tensor, stored_strides};
use crate::train::tensor::Real;
use rayon::prelude::*;

/// `exp(x) / Σ exp(x)` along lines of a sample.
pub(crate) struct Softmax {
    /// Where each line starts.
    starts: Vec<usize>,
    /// From one element of a line to the next, and their number.
    step: usize,
    count: usize,
}

impl Softmax {
    /// `shape` is ONNX's, the leading dimension a sample's; `axis` is not the leading one.
    pub(crate) fn new(shape: &[usize], axis: usize) -> Self {
        let strides = stored_strides(shape);
        let len: usize = shape.iter().product();
        let (step, count) = (strides[axis], shape[axis]);
        let starts = (0..len).filter(|i| i / step % count == 0).collect();
        Softmax {
            starts,
            step,
            count,
        }
    }

    fn len(&self) -> usize {
        (self.starts.len() * self.count).max(1)
    }
}

impl<T: Real> Operation<T> for Softmax {
    fn forward(&mut self, inputs: &[&Tensor<T>], context: &mut Context<T>) -> Tensor<T> {
        let mut y = context.buffers.copy(inputs[0]);
        y.data.par_chunks_mut(self.len()).for_each(|y| {
            for &start in &self.starts {
                let line = || (0..self.count).map(|i| start + i * self.step);
                let max = line().fold(T::neg_infinity(), |max, i| max.max(y[i]));
                let mut sum = T::zero();
                for i in line() {
                    y[i] = (y[i] - max).exp();
                    sum += y[i];
                }
                line().for_each(|i| y[i] /= sum);
            }
        });
        y
    }

    fn backward(
        &mut self,
        _: &[&Tensor<T>],
        output: &Tensor<T>,
        mut gradient: Tensor<T>,
        wanted: &[bool],
        _: &mut Context<T>,
    ) -> Vec<Option<Tensor<T>>> {
        gradient
            .data
            .par_chunks_mut(self.len())
            .zip(output.data.par_chunks(self.len()))
            .for_each(|(d, y)| {
                for &start in &self.starts {
                    let line = || (0..self.count).map(|i| start + i * self.step);
                    let dot = line().fold(T::zero(), |dot, i| dot + d[i] * y[i]);
                    line().for_each(|i| d[i] = y[i] * (d[i] - dot));
                }
            });
        vec![wanted[0].then_some(gradient)]
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::check::{Case, agrees};
    use super::*;

    #[test]
    fn gradients_equal_finite_differences_along_any_axis() {
        for axis in 1..4 {
            agrees(Case::new(Softmax::new(&[1, 3, 2, 4], axis)).input([2, 2, 4, 3]));
        }
        let (_, y) = agrees(Case::new(Softmax::new(&[1, 5], 1)).input([3, 5]));
        for row in y.data.chunks(5) {
            assert!((row.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        }
    }
}
