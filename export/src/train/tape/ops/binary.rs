//! Element-wise functions of two variables, with broadcasting.

use crate::graph::{Binary as Function, Clamp};
use crate::train::tape::kernels::strided::{View, places};
use crate::train::tape::kernels::{rows, samples_a_task};
use crate::train::tape::operation::{Context, Operation};
use crate::train::tape::tensor::{Tensor, row_major_strides, stored_strides};
use crate::train::tensor::Real;
use rayon::prelude::*;

/// An operand, a sample.
pub(crate) struct Operand {
    /// ONNX's shape, the leading dimension a sample's.
    pub(crate) shape: Vec<usize>,
    /// Whether it is the same for all samples, and stored as ONNX has it.
    pub(crate) parameter: bool,
}

/// The function of every pair of elements.
pub(crate) struct Binary {
    function: Function,
    clamp: Clamp,
    /// Where a sample's operands lie; `None` if both are exactly like the result.
    places: Option<[Places; 2]>,
    /// Stored shape and elements of a sample's result.
    shape: Vec<usize>,
    len: usize,
}

struct Places {
    /// For every element of a sample's result, the operand's.
    of: Vec<usize>,
    /// Elements from one sample to the next; 0 for a parameter.
    step: usize,
    /// Elements of a sample.
    len: usize,
}

impl Binary {
    /// `shape` is ONNX's shape of the result, the leading dimension a sample's.
    pub(crate) fn new(
        function: Function,
        clamp: Clamp,
        operands: [Operand; 2],
        shape: &[usize],
    ) -> Self {
        let alike = operands.iter().all(|o| !o.parameter && o.shape == shape);
        let places = operands.map(|operand| {
            let len = operand.shape.iter().product();
            let own = if operand.parameter {
                row_major_strides(&operand.shape)
            } else {
                stored_strides(&operand.shape)
            };
            let missing = shape.len() - operand.shape.len();
            let stride = |axis: usize| match axis.checked_sub(missing) {
                Some(axis) if operand.shape[axis] > 1 => own[axis],
                _ => 0,
            };
            let view = View {
                start: 0,
                strides: (0..shape.len()).map(stride).collect(),
            };
            Places {
                of: places(shape, &view, stored_strides(shape)),
                step: if operand.parameter { 0 } else { len },
                len,
            }
        });
        Binary {
            function,
            clamp,
            places: (!alike).then_some(places),
            shape: super::super::tensor::stored_shape(shape),
            len: shape.iter().product(),
        }
    }
}

impl Binary {
    /// Whether it can be trained.
    pub(crate) fn has_slopes(function: Function) -> bool {
        matches!(
            function,
            Function::Add | Function::Sub | Function::Mul | Function::Div
        )
    }
}

fn value<T: Real>(function: Function, a: T, b: T) -> T {
    match function {
        Function::Add => a + b,
        Function::Sub => a - b,
        Function::Mul => a * b,
        Function::Div => a / b,
        // Not built: see `has_slopes`.
        _ => a,
    }
}

/// Derivatives with respect to both variables.
fn slopes<T: Real>(function: Function, a: T, b: T) -> [T; 2] {
    match function {
        Function::Add => [T::one(), T::one()],
        Function::Sub => [T::one(), -T::one()],
        Function::Mul => [b, a],
        Function::Div => [b.recip(), -a / (b * b)],
        _ => [T::zero(), T::zero()],
    }
}

impl<T: Real> Operation<T> for Binary {
    fn forward(&mut self, inputs: &[&Tensor<T>], context: &mut Context<T>) -> Tensor<T> {
        let (a, b, function) = (&inputs[0].data, &inputs[1].data, self.function);
        let Some([pa, pb]) = &self.places else {
            let mut y = context.buffers.tensor(inputs[0].shape.clone());
            let [min, max] = super::bounds(self.clamp);
            rows::zip(a, b, &mut y.data, |a, b| {
                let y = value(function, a, b);
                let y = if y < min { min } else { y };
                if y > max { max } else { y }
            });
            return y;
        };
        // A parameter alone does not say how many samples there are.
        let samples = [(pa, a), (pb, b)]
            .iter()
            .find(|(p, _)| p.step > 0)
            .map_or(1, |(p, x)| x.len() / p.step);
        let mut shape = self.shape.clone();
        if let Some(rows) = shape.first_mut() {
            *rows *= samples;
        }
        let mut y = context.buffers.tensor(shape);
        y.data
            .par_chunks_mut(self.len.max(1))
            .enumerate()
            .for_each(|(sample, y)| {
                let (a, b) = (&a[sample * pa.step..], &b[sample * pb.step..]);
                for (y, (&i, &j)) in y.iter_mut().zip(pa.of.iter().zip(&pb.of)) {
                    *y = value(function, a[i], b[j]);
                }
            });
        super::clamp_in_place(&mut y.data, self.clamp);
        y
    }

    fn backward(
        &mut self,
        inputs: &[&Tensor<T>],
        output: &Tensor<T>,
        mut gradient: Tensor<T>,
        wanted: &[bool],
        context: &mut Context<T>,
    ) -> Vec<Option<Tensor<T>>> {
        super::mask_clamped(&mut gradient.data, &output.data, self.clamp);
        let function = self.function;
        if self.places.is_none() && function == Function::Add {
            let copy = (wanted[0] && wanted[1]).then(|| context.buffers.copy(&gradient));
            return match (wanted[0], copy) {
                (true, copy) => vec![Some(gradient), copy],
                (false, _) => vec![None, Some(gradient)],
            };
        }
        let result = [0, 1]
            .map(|which| wanted[which].then(|| self.one(which, inputs, &gradient.data, context)));
        context.buffers.give(gradient.data);
        result.into()
    }
}

impl Binary {
    /// The gradient of one operand.
    fn one<T: Real>(
        &self,
        which: usize,
        inputs: &[&Tensor<T>],
        gradient: &[T],
        context: &mut Context<T>,
    ) -> Tensor<T> {
        let (a, b, function) = (&inputs[0].data, &inputs[1].data, self.function);
        let own = inputs[which];
        let Some(both) = &self.places else {
            let mut dx = context.buffers.tensor(own.shape.clone());
            rows::zip(a, b, &mut dx.data, |a, b| slopes(function, a, b)[which]);
            rows::update(&mut dx.data, gradient, |slope, d| slope * d);
            return dx;
        };
        let [pa, pb] = both;
        let add = |sample: usize, d: &[T], dx: &mut [T]| {
            let (a, b) = (&a[sample * pa.step..], &b[sample * pb.step..]);
            let operands = pa.of.iter().zip(&pb.of);
            for ((&d, (&i, &j)), &at) in d.iter().zip(operands).zip(&both[which].of) {
                dx[at] += d * slopes(function, a[i], b[j])[which];
            }
        };
        let len = self.len.max(1);
        if both[which].step > 0 {
            let mut dx = Tensor::zeros(own.shape.clone());
            dx.data
                .par_chunks_mut(both[which].len.max(1))
                .zip(gradient.par_chunks(len))
                .enumerate()
                .for_each(|(sample, (dx, d))| add(sample, d, dx));
            return dx;
        }
        let samples = samples_a_task(gradient.len() / len, both[which].len);
        let parts: Vec<Vec<T>> = gradient
            .par_chunks(samples * len)
            .enumerate()
            .map(|(task, gradient)| {
                let mut dx = vec![T::zero(); both[which].len];
                for (i, d) in gradient.chunks(len).enumerate() {
                    add(task * samples + i, d, &mut dx);
                }
                dx
            })
            .collect();
        let mut dx = Tensor::zeros(own.shape.clone());
        for part in &parts {
            rows::add(&mut dx.data, part);
        }
        dx
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::check::{Case, agrees};
    use super::*;

    const FUNCTIONS: [Function; 4] = [Function::Add, Function::Sub, Function::Mul, Function::Div];

    fn activation(shape: &[usize]) -> Operand {
        Operand {
            shape: shape.to_vec(),
            parameter: false,
        }
    }

    fn parameter(shape: &[usize]) -> Operand {
        Operand {
            shape: shape.to_vec(),
            parameter: true,
        }
    }

    #[test]
    fn gradients_equal_finite_differences_with_and_without_broadcasting() {
        let plane = [1, 3, 2, 4];
        for function in FUNCTIONS {
            for clamp in [Clamp::NONE, Clamp::RELU] {
                let op = |a, b| Binary::new(function, clamp, [a, b], &plane);
                let stored = [3, 2, 4, 3];
                let case = Case::new(op(activation(&plane), activation(&plane)));
                agrees(case.input(stored).input(stored).spread());
                let case = Case::new(op(activation(&plane), activation(&[1, 3, 1, 1])));
                agrees(case.input(stored).input([3, 1, 1, 3]).spread());
                let case = Case::new(op(activation(&plane), parameter(&[3, 1, 4])));
                agrees(case.input(stored).input([3, 1, 4]).spread());
                let case = Case::new(op(parameter(&[]), activation(&plane)));
                agrees(case.input(vec![]).input(stored).spread());
            }
        }
    }

    #[test]
    fn a_parameter_meets_the_channels_that_onnx_means() {
        let mut op = Binary::new(
            Function::Sub,
            Clamp::NONE,
            [activation(&[1, 2, 1, 3]), parameter(&[1, 2, 1, 3])],
            &[1, 2, 1, 3],
        );
        // Channels last: pixel by pixel, two channels each.
        let x = Tensor::new([1, 1, 3, 2], vec![10.0, 20.0, 11.0, 21.0, 12.0, 22.0]);
        let b = Tensor::new([1, 2, 1, 3], vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        let y = super::super::super::check::run(&mut op, &[x, b]);
        assert_eq!(y.data, [10.0, 17.0, 10.0, 17.0, 10.0, 17.0]);
    }
}
