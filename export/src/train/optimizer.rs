//! From gradients to new parameters: stochastic gradient descent and Adam, with weight decay by kind of parameter.

use super::tape::{Gradients, Kind, Program, Tensor};
use super::tensor::Real;
use crate::graph::ValueId;
use std::collections::BTreeMap;

/// L2 weight decay: `decay·θ` is added to the gradient.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Decay {
    /// Of convolutions' and fully connected layers' weights.
    pub weights: f64,
    /// Of biases, batch-norm's parameters and constants of element-wise operators. A method's own parameters
    /// ([`Kind::Other`]) have none.
    pub others: f64,
}

impl Decay {
    /// The decay of a kind of parameter.
    pub fn of(&self, kind: Kind) -> f64 {
        match kind {
            Kind::Weight => self.weights,
            Kind::Bias | Kind::Scale | Kind::Shift | Kind::Constant => self.others,
            Kind::Other => 0.0,
        }
    }
}

/// How gradients become steps.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Rule {
    /// Stochastic gradient descent with momentum.
    Sgd {
        /// Share of the last step that is kept.
        momentum: f64,
        /// Nesterov's form.
        nesterov: bool,
    },
    /// Adam, with its usual constants.
    Adam {
        /// Decay of the mean of gradients.
        beta1: f64,
        /// Decay of the mean of their squares.
        beta2: f64,
    },
}

/// An optimiser with what it remembers of every parameter.
#[derive(Clone, PartialEq, Debug)]
pub struct Optimizer<T> {
    /// The rule.
    pub rule: Rule,
    /// Weight decay.
    pub decay: Decay,
    /// Steps taken.
    pub steps: u64,
    /// Momentum, or Adam's two means, by parameter.
    pub memory: BTreeMap<ValueId, Vec<Tensor<T>>>,
}

impl<T: Real> Optimizer<T> {
    /// An optimiser that remembers nothing yet.
    pub fn new(rule: Rule, decay: Decay) -> Self {
        Optimizer {
            rule,
            decay,
            steps: 0,
            memory: BTreeMap::new(),
        }
    }

    /// One step of this size on all parameters that have a gradient.
    pub fn step(&mut self, program: &mut Program<T>, gradients: &Gradients<T>, rate: f64) {
        self.steps += 1;
        let buffers = match self.rule {
            Rule::Sgd { .. } => 1,
            Rule::Adam { .. } => 2,
        };
        for (id, parameter) in program.parameters_mut().filter(|(_, p)| p.trainable) {
            let Some(gradient) = gradients.get(id) else {
                continue;
            };
            let decay = T::of(self.decay.of(parameter.kind));
            let shape = &parameter.value.shape;
            let memory = self.memory.entry(id).or_default();
            memory.resize_with(buffers, || Tensor::zeros(shape.clone()));
            let values = &mut parameter.value.data;
            match (self.rule, &mut memory[..]) {
                (Rule::Sgd { momentum, nesterov }, [velocity]) => {
                    sgd(
                        values,
                        &gradient.data,
                        decay,
                        velocity,
                        [rate, momentum],
                        nesterov,
                    );
                }
                (Rule::Adam { beta1, beta2 }, [mean, square]) => {
                    let correction = |beta: f64| 1.0 - beta.powf(self.steps as f64);
                    let corrections = [correction(beta1), correction(beta2)];
                    adam(
                        values,
                        &gradient.data,
                        decay,
                        [mean, square],
                        [beta1, beta2],
                        corrections,
                        rate,
                    );
                }
                _ => {}
            }
        }
    }
}

fn sgd<T: Real>(
    values: &mut [T],
    gradient: &[T],
    decay: T,
    velocity: &mut Tensor<T>,
    [rate, momentum]: [f64; 2],
    nesterov: bool,
) {
    let (rate, momentum) = (T::of(rate), T::of(momentum));
    for ((value, &g), v) in values.iter_mut().zip(gradient).zip(&mut velocity.data) {
        let g = g + decay * *value;
        *v = momentum * *v + g;
        let step = if nesterov { g + momentum * *v } else { *v };
        *value -= rate * step;
    }
}

fn adam<T: Real>(
    values: &mut [T],
    gradient: &[T],
    decay: T,
    [mean, square]: [&mut Tensor<T>; 2],
    betas: [f64; 2],
    corrections: [f64; 2],
    rate: f64,
) {
    const EPSILON: f64 = 1e-8;
    let [b1, b2] = betas.map(T::of);
    let step = T::of(rate / corrections[0]);
    let root = T::of(corrections[1].sqrt().recip());
    let memory = mean.data.iter_mut().zip(&mut square.data);
    for ((value, &g), (m, s)) in values.iter_mut().zip(gradient).zip(memory) {
        let g = g + decay * *value;
        *m = b1 * *m + (T::one() - b1) * g;
        *s = b2 * *s + (T::one() - b2) * g * g;
        *value -= step * *m / (s.sqrt() * root + T::of(EPSILON));
    }
}

/// The step size over time.
#[derive(Clone, PartialEq, Debug)]
pub enum Schedule {
    /// Always the same.
    Constant,
    /// Times `factor` at each of these epochs.
    Step {
        /// Epochs after which the rate falls.
        at: Vec<f64>,
        /// By how much.
        factor: f64,
    },
    /// Half a cosine down to 0.
    Cosine,
}

/// A schedule with its start.
#[derive(Clone, PartialEq, Debug)]
pub struct Rate {
    /// The step size that the schedule starts from.
    pub base: f64,
    /// The schedule.
    pub schedule: Schedule,
    /// Epochs during which the rate rises linearly from 0.
    pub warm_up: f64,
    /// Epochs in all.
    pub epochs: f64,
}

impl Rate {
    /// The rate after `epoch` epochs, which may be a fraction.
    pub fn at(&self, epoch: f64) -> f64 {
        if epoch < self.warm_up {
            return self.base * epoch / self.warm_up;
        }
        match &self.schedule {
            Schedule::Constant => self.base,
            Schedule::Step { at, factor } => {
                let fallen = at.iter().filter(|&&at| epoch >= at).count();
                self.base * factor.powi(fallen as i32)
            }
            Schedule::Cosine => {
                let span = (self.epochs - self.warm_up).max(f64::MIN_POSITIVE);
                let done = ((epoch - self.warm_up) / span).clamp(0.0, 1.0);
                self.base * 0.5 * (1.0 + libm::cos(std::f64::consts::PI * done))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_start_warm_up_and_end_as_they_say() {
        let rate = |schedule| Rate {
            base: 2.0,
            schedule,
            warm_up: 2.0,
            epochs: 10.0,
        };
        let cosine = rate(Schedule::Cosine);
        assert_eq!(
            [cosine.at(0.0), cosine.at(1.0), cosine.at(2.0)],
            [0.0, 1.0, 2.0]
        );
        assert!((cosine.at(6.0) - 1.0).abs() < 1e-12 && cosine.at(10.0).abs() < 1e-12);
        let step = rate(Schedule::Step {
            at: vec![5.0, 8.0],
            factor: 0.5,
        });
        assert_eq!([step.at(4.9), step.at(5.0), step.at(9.0)], [2.0, 1.0, 0.5]);
    }

    #[test]
    fn steps_follow_their_formulas() {
        let one = |v: f64| Tensor::new([1], vec![v]);
        let (mut value, mut velocity) = ([1.0], one(0.5));
        sgd(&mut value, &[0.2], 0.1, &mut velocity, [0.1, 0.9], false);
        assert!((velocity.data[0] - 0.75).abs() < 1e-12 && (value[0] - 0.925).abs() < 1e-12);
        let (mut value, mut velocity) = ([1.0], one(0.5));
        sgd(&mut value, &[0.2], 0.1, &mut velocity, [0.1, 0.9], true);
        assert!((value[0] - (1.0 - 0.1 * (0.3 + 0.9 * 0.75))).abs() < 1e-12);
        // Adam's first step is the rate, whatever the gradient's size.
        let (mut value, mut mean, mut square) = ([1.0], one(0.0), one(0.0));
        let corrections = [0.1, 0.001];
        let memory = [&mut mean, &mut square];
        adam(
            &mut value,
            &[5.0],
            0.0,
            memory,
            [0.9, 0.999],
            corrections,
            0.01,
        );
        assert!((value[0] - 0.99).abs() < 1e-9);
    }
}
