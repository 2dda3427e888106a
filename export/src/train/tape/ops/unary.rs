//! Element-wise functions of one variable.

use crate::graph::{Clamp, Unary as Function};
use crate::train::tape::kernels::rows;
use crate::train::tape::operation::{Context, Operation};
use crate::train::tape::tensor::Tensor;
use crate::train::tensor::Real;

/// The function of every element.
pub(crate) struct Unary(pub(crate) Function);

impl Unary {
    /// Whether it can be trained.
    pub(crate) fn has_slope(function: Function) -> bool {
        matches!(
            function,
            Function::Clamp(_)
                | Function::Sigmoid
                | Function::Tanh
                | Function::LeakyRelu { .. }
                | Function::HardSigmoid { .. }
                | Function::HardSwish
        )
    }
}

fn value<T: Real>(function: Function, x: T) -> T {
    let of = |v: f32| T::of(v.into());
    match function {
        Function::Clamp(Clamp { min, max }) => {
            // Written so that a NaN stays one.
            let v = if x < of(min) { of(min) } else { x };
            if v > of(max) { of(max) } else { v }
        }
        Function::Sigmoid => T::one() / (T::one() + (-x).exp()),
        Function::Tanh => x.tanh(),
        Function::LeakyRelu { alpha } => {
            if x < T::zero() {
                of(alpha) * x
            } else {
                x
            }
        }
        Function::HardSigmoid { alpha, beta } => {
            (of(alpha) * x + of(beta)).max(T::zero()).min(T::one())
        }
        Function::HardSwish => x * (x / T::of(6.0) + T::of(0.5)).max(T::zero()).min(T::one()),
        // Not built: see `has_slope`.
        _ => x,
    }
}

/// The derivative at `x`, where the value is `y`; at a kink, that of the flat side.
fn slope<T: Real>(function: Function, x: T, y: T) -> T {
    let of = |v: f32| T::of(v.into());
    let inside = |inside: bool, slope: T| if inside { slope } else { T::zero() };
    match function {
        Function::Clamp(Clamp { min, max }) => inside(x > of(min) && x < of(max), T::one()),
        Function::Sigmoid => y * (T::one() - y),
        Function::Tanh => T::one() - y * y,
        Function::LeakyRelu { alpha } => {
            if x < T::zero() {
                of(alpha)
            } else {
                T::one()
            }
        }
        Function::HardSigmoid { alpha, .. } => inside(y > T::zero() && y < T::one(), of(alpha)),
        Function::HardSwish => {
            let three = T::of(3.0);
            if x <= -three {
                T::zero()
            } else if x >= three {
                T::one()
            } else {
                x / three + T::of(0.5)
            }
        }
        _ => T::zero(),
    }
}

impl<T: Real> Operation<T> for Unary {
    fn forward(&mut self, inputs: &[&Tensor<T>], context: &mut Context<T>) -> Tensor<T> {
        let mut y = context.buffers.tensor(inputs[0].shape.clone());
        let function = self.0;
        rows::map(&inputs[0].data, &mut y.data, |x| value(function, x));
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
        let function = self.0;
        let mut slopes = context.buffers.take(output.data.len());
        rows::zip(&inputs[0].data, &output.data, &mut slopes, |x, y| {
            slope(function, x, y)
        });
        rows::update(&mut gradient.data, &slopes, |d, slope| d * slope);
        context.buffers.give(slopes);
        vec![wanted[0].then_some(gradient)]
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::check::{Case, agrees};
    use super::*;

    #[test]
    fn gradients_equal_finite_differences() {
        for function in [
            Function::Clamp(Clamp::RELU),
            Function::Clamp(Clamp {
                min: -0.4,
                max: 0.6,
            }),
            Function::Sigmoid,
            Function::Tanh,
            Function::LeakyRelu { alpha: 0.1 },
            Function::HardSigmoid {
                alpha: 0.7,
                beta: 0.4,
            },
            Function::HardSwish,
        ] {
            agrees(Case::new(Unary(function)).input([3, 2, 2, 5]));
        }
    }

    #[test]
    fn hard_swish_is_linear_far_out() {
        let slopes = [-4.0, 0.0, 4.0].map(|x| slope(Function::HardSwish, x, 0.0));
        assert_eq!(slopes, [0.0, 0.5, 1.0]);
    }
}
