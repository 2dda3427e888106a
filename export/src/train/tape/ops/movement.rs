//! Reshape, Transpose, Pad, Concat and Slice: every element of a sample is one of its operands', or a constant.

use crate::train::tape::kernels::strided::{View, pairs};
use crate::train::tape::operation::{Context, Operation};
use crate::train::tape::tensor::{Tensor, row_major_strides, stored_shape, stored_strides};
use crate::train::tensor::Real;
use rayon::prelude::*;

/// Marks an element that no operand has.
const PADDING: usize = usize::MAX;

/// Moves elements within each sample.
pub(crate) struct Movement {
    /// Operand and place of every element of a sample's result.
    from: Vec<(usize, usize)>,
    /// Elements of a sample of each operand.
    lens: Vec<usize>,
    /// Stored shape of a sample's result.
    shape: Vec<usize>,
    padding: f64,
    /// Whether nothing moves.
    identity: bool,
}

impl Movement {
    fn new(shape: &[usize], lens: Vec<usize>, padding: f32) -> Self {
        Movement {
            from: vec![(0, PADDING); shape.iter().product()],
            lens,
            shape: stored_shape(shape),
            padding: padding.into(),
            identity: false,
        }
    }

    /// Takes a box of an operand. All shapes here are ONNX's, the leading dimension a sample's.
    fn take(&mut self, operand: usize, dims: &[usize], from: &View, to: &View) {
        pairs(dims, from, to, |a, b| self.from[b] = (operand, a));
    }

    fn finish(mut self) -> Self {
        self.identity = self.lens.len() == 1
            && self.lens[0] == self.from.len()
            && self.from.iter().enumerate().all(|(i, &f)| f == (0, i));
        self
    }

    pub(crate) fn reshape(from: &[usize], to: &[usize]) -> Self {
        let len = from.iter().product();
        let mut movement = Movement::new(to, vec![len], 0.0);
        // By way of the order that ONNX counts in.
        let mut order = vec![0; len];
        let onnx = |shape: &[usize]| View {
            start: 0,
            strides: row_major_strides(shape),
        };
        let stored = |shape: &[usize]| View {
            start: 0,
            strides: stored_strides(shape),
        };
        pairs(from, &stored(from), &onnx(from), |a, b| order[b] = a);
        pairs(to, &onnx(to), &stored(to), |a, b| {
            movement.from[b] = (0, order[a])
        });
        movement.finish()
    }

    pub(crate) fn transpose(from: &[usize], perm: &[usize]) -> Self {
        let strides = stored_strides(from);
        let to: Vec<usize> = perm.iter().map(|&axis| from[axis]).collect();
        let view = View {
            start: 0,
            strides: perm.iter().map(|&axis| strides[axis]).collect(),
        };
        let mut movement = Movement::new(&to, vec![from.iter().product()], 0.0);
        let place = View {
            start: 0,
            strides: stored_strides(&to),
        };
        movement.take(0, &to, &view, &place);
        movement.finish()
    }

    pub(crate) fn pad(from: &[usize], before: &[usize], to: &[usize], value: f32) -> Self {
        let mut movement = Movement::new(to, vec![from.iter().product()], value);
        let strides = stored_strides(to);
        let start = strides.iter().zip(before).map(|(s, b)| s * b).sum();
        let view = View {
            start: 0,
            strides: stored_strides(from),
        };
        movement.take(0, from, &view, &View { start, strides });
        movement.finish()
    }

    pub(crate) fn concat(from: &[Vec<usize>], axis: usize, to: &[usize]) -> Self {
        let lens = from.iter().map(|s| s.iter().product()).collect();
        let mut movement = Movement::new(to, lens, 0.0);
        let strides = stored_strides(to);
        let mut at = 0;
        for (operand, from) in from.iter().enumerate() {
            let view = View {
                start: 0,
                strides: stored_strides(from),
            };
            let place = View {
                start: at * strides[axis],
                strides: strides.clone(),
            };
            movement.take(operand, from, &view, &place);
            at += from[axis];
        }
        movement.finish()
    }

    pub(crate) fn slice(from: &[usize], axis: usize, start: usize, to: &[usize]) -> Self {
        let strides = stored_strides(from);
        let view = View {
            start: start * strides[axis],
            strides,
        };
        let mut movement = Movement::new(to, vec![from.iter().product()], 0.0);
        let place = View {
            start: 0,
            strides: stored_strides(to),
        };
        movement.take(0, to, &view, &place);
        movement.finish()
    }
}

impl<T: Real> Operation<T> for Movement {
    fn forward(&mut self, inputs: &[&Tensor<T>], context: &mut Context<T>) -> Tensor<T> {
        let samples = inputs[0].data.len() / self.lens[0].max(1);
        let mut shape = self.shape.clone();
        if let Some(rows) = shape.first_mut() {
            *rows *= samples;
        }
        let mut y = context.buffers.tensor(shape);
        if self.identity {
            y.data.copy_from_slice(&inputs[0].data);
            return y;
        }
        let padding = T::of(self.padding);
        y.data
            .par_chunks_mut(self.from.len().max(1))
            .enumerate()
            .for_each(|(sample, y)| {
                for (y, &(operand, at)) in y.iter_mut().zip(&self.from) {
                    *y = if at == PADDING {
                        padding
                    } else {
                        inputs[operand].data[sample * self.lens[operand] + at]
                    };
                }
            });
        y
    }

    fn backward(
        &mut self,
        inputs: &[&Tensor<T>],
        _: &Tensor<T>,
        mut gradient: Tensor<T>,
        wanted: &[bool],
        _: &mut Context<T>,
    ) -> Vec<Option<Tensor<T>>> {
        if self.identity {
            gradient.shape.clone_from(&inputs[0].shape);
            return vec![wanted[0].then_some(gradient)];
        }
        let one = |operand: usize| {
            let mut dx = Tensor::zeros(inputs[operand].shape.clone());
            dx.data
                .par_chunks_mut(self.lens[operand].max(1))
                .zip(gradient.data.par_chunks(self.from.len().max(1)))
                .for_each(|(dx, d)| {
                    for (&d, &(of, at)) in d.iter().zip(&self.from) {
                        if of == operand && at != PADDING {
                            dx[at] = d;
                        }
                    }
                });
            dx
        };
        (0..inputs.len())
            .map(|operand| wanted[operand].then(|| one(operand)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::check::{Case, agrees, run};
    use super::*;

    #[test]
    fn gradients_equal_finite_differences() {
        let plane = [1, 3, 2, 4];
        let case = |op| Case::new(op).input([2, 2, 4, 3]);
        agrees(case(Movement::reshape(&plane, &[1, 24])));
        agrees(case(Movement::reshape(&plane, &[6, 4])));
        agrees(case(Movement::transpose(&plane, &[0, 3, 1, 2])));
        let padded = [1, 3, 4, 5];
        agrees(case(Movement::pad(&plane, &[0, 0, 1, 1], &padded, 0.5)));
        agrees(case(Movement::slice(&plane, 1, 1, &[1, 2, 2, 4])));
        let parts = [plane.to_vec(), vec![1, 2, 2, 4]];
        let concat = Movement::concat(&parts, 1, &[1, 5, 2, 4]);
        agrees(case(concat).input([2, 2, 4, 2]));
    }

    #[test]
    fn a_flatten_counts_as_onnx_does() {
        // Channels 0 and 1 of three pixels.
        let x = Tensor::new([1, 1, 3, 2], vec![0.0, 10.0, 1.0, 11.0, 2.0, 12.0]);
        let y = run(&mut Movement::reshape(&[1, 2, 1, 3], &[1, 6]), &[x]);
        assert_eq!(y.shape, [1, 6]);
        assert_eq!(y.data, [0.0, 1.0, 2.0, 10.0, 11.0, 12.0]);
    }

    #[test]
    fn padding_and_parts_are_where_onnx_has_them() {
        let x = Tensor::new([2, 2], vec![1.0, 2.0, 3.0, 4.0]);
        let y = run(
            &mut Movement::pad(&[1, 2], &[0, 1], &[1, 4], 9.0),
            std::slice::from_ref(&x),
        );
        assert_eq!(y.data, [9.0, 1.0, 2.0, 9.0, 9.0, 3.0, 4.0, 9.0]);
        let y = run(&mut Movement::slice(&[1, 2], 1, 1, &[1, 1]), &[x]);
        assert_eq!(y.data, [2.0, 4.0]);
    }
}
