//! Forward and backward over our own graph: what training is made of.
//!
//! A [`Program`] is made from a [`Graph`](crate::graph::Graph) in the ONNX dialect. Its float constants become
//! parameters (and batch-norm's running statistics, state); [`Program::write_back`] puts them back into the graph,
//! whose structure never changes. The scalar is a type parameter: `f32` trains, `f64` lets every operator be checked
//! against finite differences.
//!
//! ```text
//! let mut program = Program::<f32>::new(&graph)?;
//! program.forward(batch, Mode::Train);
//! let (loss, d_logits) = cross_entropy(program.logits()?, &targets);
//! let mut gradients = program.backward(vec![(program.output(), d_logits)]);
//! optimizer.step(&mut program, &gradients, rate);
//! ```
//!
//! # What a method can do
//!
//! * Look at and rewrite parameters between passes: [`Program::parameters`], [`Program::parameter_mut`].
//! * Look at and add to gradients after a backward pass: [`Gradients`].
//! * See a value through a function: [`Program::intercept`]. For a parameter this is fake quantisation with a
//!   straight-through gradient; for an activation, a gate or a regulariser.
//! * Add parameters ([`Program::add_parameter`]) and steps ([`Program::append`]) of its own, any [`Operation`].
//! * Reach an operation that it inserted, or a [`BatchNorm`]: [`Program::operation_mut`].
//!
//! Kernels are in `kernels`, operators in `ops`; convolutions neither unfold their input nor call a matrix library, which
//! is why they are fast where channels are few (see `docs/training.md`).

mod build;
#[cfg(test)]
pub(crate) mod check;
mod edit;
mod kernels;
mod operation;
mod ops;
mod program;
mod tensor;
#[cfg(test)]
mod tests;

pub use build::ProgramError;
pub use operation::{Context, Function, Mode, Operation, function, straight_through};
pub use ops::batch_norm::BatchNorm;
pub use program::{Gradients, Kind, Parameter, Program};
pub use tensor::{Buffers, Tensor, stored_shape};
