//! What a step of a program is: the one trait behind operators and methods alike.

use super::tensor::{Buffers, Tensor};
use crate::train::tensor::Real;
use std::any::Any;

/// What a forward pass is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Batch statistics, and everything kept for a backward pass.
    Train,
    /// Running statistics.
    Evaluate,
}

/// What an operation works with besides its operands.
#[derive(Debug)]
pub struct Context<T> {
    /// What the pass is for.
    pub mode: Mode,
    /// Memory to take results from. A result may as well be memory of its own.
    pub buffers: Buffers<T>,
}

/// A differentiable function of tensors.
///
/// The built-in operators implement it as well as what a method inserts: a gate, a straight-through quantiser, a
/// regulariser that is the identity forward and adds to the gradient backward.
///
/// Operands that are activations of rank 4 come channels last, parameters as ONNX has them (see [`Tensor`]).
pub trait Operation<T: Real>: Any + Send {
    /// The result.
    fn forward(&mut self, inputs: &[&Tensor<T>], context: &mut Context<T>) -> Tensor<T>;

    /// Gradients of the operands, in their order; `None` where `wanted` is false or there is none.
    ///
    /// `gradient` is that of the result, in its shape; it is handed over, so its memory may become a result's. Called
    /// after a forward pass in training mode with the same operands, once at most.
    fn backward(
        &mut self,
        inputs: &[&Tensor<T>],
        output: &Tensor<T>,
        gradient: Tensor<T>,
        wanted: &[bool],
        context: &mut Context<T>,
    ) -> Vec<Option<Tensor<T>>>;

    /// New contents of operands that are state, after a forward pass in training mode: index of the operand, contents.
    fn updates(&mut self) -> Vec<(usize, Tensor<T>)> {
        Vec::new()
    }
}

/// An operation of one operand from two closures: the forward function, and the operand's gradient from the operand and
/// the result's gradient.
///
/// With [`straight_through`] it makes quantisation-aware training one line.
pub struct Function<F, B> {
    forward: F,
    backward: B,
}

/// See [`Function`].
pub fn function<T, F, B>(forward: F, backward: B) -> Function<F, B>
where
    T: Real,
    F: FnMut(&Tensor<T>) -> Tensor<T> + Send + 'static,
    B: FnMut(&Tensor<T>, Tensor<T>) -> Tensor<T> + Send + 'static,
{
    Function { forward, backward }
}

/// A function whose gradient is taken to be 1 (the straight-through estimator).
pub fn straight_through<T, F>(forward: F) -> impl Operation<T>
where
    T: Real,
    F: FnMut(&Tensor<T>) -> Tensor<T> + Send + 'static,
{
    function(forward, |_: &Tensor<T>, gradient| gradient)
}

impl<T, F, B> Operation<T> for Function<F, B>
where
    T: Real,
    F: FnMut(&Tensor<T>) -> Tensor<T> + Send + 'static,
    B: FnMut(&Tensor<T>, Tensor<T>) -> Tensor<T> + Send + 'static,
{
    fn forward(&mut self, inputs: &[&Tensor<T>], _: &mut Context<T>) -> Tensor<T> {
        (self.forward)(inputs[0])
    }

    fn backward(
        &mut self,
        inputs: &[&Tensor<T>],
        _: &Tensor<T>,
        gradient: Tensor<T>,
        wanted: &[bool],
        _: &mut Context<T>,
    ) -> Vec<Option<Tensor<T>>> {
        vec![wanted[0].then(|| (self.backward)(inputs[0], gradient))]
    }
}
