//! Where a training-time method takes part in training.

use super::tape::{Gradients, Program, Tensor};
use crate::graph::ValueId;
use serde_json::{Map, Value};

/// Where in a run something happens.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Moment {
    /// Epochs done.
    pub epoch: usize,
    /// Epochs in all.
    pub epochs: usize,
    /// Steps done in this epoch.
    pub step: usize,
    /// Steps of an epoch.
    pub steps: usize,
    /// The optimiser's step size.
    pub rate: f64,
}

impl Moment {
    /// Epochs done, with the fraction of this one.
    pub fn passed(&self) -> f64 {
        self.epoch as f64 + self.step as f64 / self.steps.max(1) as f64
    }

    /// Steps done since the start of the run.
    pub fn total_steps(&self) -> usize {
        self.epoch * self.steps + self.step
    }

    /// Share of the run that is done, 0 to 1.
    pub fn share(&self) -> f64 {
        self.passed() / self.epochs.max(1) as f64
    }
}

/// A term of the loss that a method adds: its value, and its gradients by value of the program.
pub type Term = (f64, Vec<(ValueId, Tensor<f32>)>);

/// A method that takes part in every step of training. All functions do nothing by default.
///
/// A method that changes the network's function (gates, fake quantisation) first inserts its operations into the
/// [`Program`], and reaches them from here by [`Program::operation_mut`].
pub trait Method {
    /// Before a forward pass: may rewrite parameters (a projection).
    fn before_forward(&mut self, _program: &mut Program<f32>, _at: &Moment) {}

    /// After a forward pass: a term of the loss of its own, if it has one.
    fn term(&mut self, _program: &Program<f32>, _at: &Moment) -> Option<Term> {
        None
    }

    /// After a backward pass: may change gradients (a sub-gradient).
    fn after_backward(
        &mut self,
        _program: &mut Program<f32>,
        _gradients: &mut Gradients<f32>,
        _at: &Moment,
    ) {
    }

    /// After the optimiser's step: may rewrite parameters (a decoupled shrinkage).
    fn after_step(&mut self, _program: &mut Program<f32>, _at: &Moment) {}

    /// After an epoch: may add figures to its metrics.
    fn after_epoch(
        &mut self,
        _program: &mut Program<f32>,
        _at: &Moment,
        _metrics: &mut Map<String, Value>,
    ) {
    }

    /// What a resumed run needs to know, by name, besides the program's parameters.
    fn save(&self) -> Vec<(String, Tensor<f32>)> {
        Vec::new()
    }

    /// Takes back what [`Self::save`] gave.
    fn restore(&mut self, _saved: Vec<(String, Tensor<f32>)>) {}
}
