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
    /// Factors of the step size, by parameter; 1 where there is none. See [`Optimizer::fit_input`].
    pub factors: BTreeMap<ValueId, f64>,
}

impl<T: Real> Optimizer<T> {
    /// An optimiser that remembers nothing yet.
    pub fn new(rule: Rule, decay: Decay) -> Self {
        Optimizer {
            rule,
            decay,
            steps: 0,
            memory: BTreeMap::new(),
            factors: BTreeMap::new(),
        }
    }

    /// Makes the steps of the weights that meet the input as small as these weights are.
    ///
    /// A network for raw pixels may have first weights as small as its inputs are large, and gradients as large as the inputs:
    /// with one step size for all layers it diverges. Inputs `1/s` times as large with weights `s` times as large are the same
    /// network, in which gradient descent's step is `s²` times as large and Adam's `s` times; here `s` takes the filters to a
    /// squared norm of 2, which is He's. Where inputs are scaled (their root mean square is at most 2) or the weights are
    /// not small, nothing changes.
    pub fn fit_input(&mut self, program: &Program<T>, root_mean_square: f64) {
        const SCALED: f64 = 2.0;
        const HE: f64 = 2.0;
        self.factors.clear();
        if root_mean_square <= SCALED {
            return;
        }
        for id in program.first_parameters() {
            let Some(weight) = program.parameter(id).filter(|p| p.kind == Kind::Weight) else {
                continue;
            };
            let filters = weight.value.shape.first().copied().unwrap_or(1).max(1);
            let squares: f64 = weight.value.data.iter().map(|w| w.double().powi(2)).sum();
            let shrunk = (squares / filters as f64 / HE).min(1.0);
            let factor = match self.rule {
                Rule::Sgd { .. } => shrunk,
                Rule::Adam { .. } => shrunk.sqrt(),
            };
            self.factors.insert(id, factor);
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
            let rate = rate * self.factors.get(&id).copied().unwrap_or(1.0);
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

    /// Gradient descent on small first weights takes the path that it takes on well-scaled ones with inputs as much smaller.
    #[test]
    fn small_first_weights_for_large_inputs_learn_as_if_both_were_scaled() {
        use crate::compress::testing::Net;
        use crate::graph::{Data, Graph};
        use crate::train::tape::{Mode, Program, straight_through};
        let mut net = Net::new(5, &[1, 6]);
        let x = net.input();
        let y = net.dense(x, 4);
        let y = net.relu(y);
        let y = net.dense(y, 3);
        let graph = net.finish(y);
        let weight = |graph: &Graph| graph.nodes[0].inputs[1];
        let with_norm = |squared: f32, graph: &Graph| {
            let mut graph = graph.clone();
            let id = weight(&graph);
            if let Some(Data::F32(w)) = &mut graph[id].data {
                let now: f32 = w.iter().map(|w| w * w).sum::<f32>() / 4.0;
                w.iter_mut().for_each(|w| *w *= (squared / now).sqrt());
            }
            graph
        };
        let results = [(2.0, 1.0), (2.0 / 400.0, 20.0)].map(|(squared, size)| {
            let graph = with_norm(squared, &graph);
            let mut program = Program::<f32>::new(&graph).unwrap();
            let rule = Rule::Sgd {
                momentum: 0.9,
                nesterov: false,
            };
            let decay = Decay {
                weights: 0.0,
                others: 0.0,
            };
            let mut optimizer = Optimizer::new(rule, decay);
            // Also where the weights are seen through something.
            let same = straight_through(|w: &Tensor<f32>| w.clone());
            program.intercept(weight(&graph), "same", same, &[]);
            optimizer.fit_input(&program, 1.1 * size);
            for step in 0..5u8 {
                let x = (0..12u8).map(|i| size as f32 * f32::from((i * 7 + step) % 5) / 2.0);
                program.forward(Tensor::new([2, 6], x.collect()), Mode::Train);
                let seed = Tensor::new([2, 3], vec![0.3, -0.2, 0.1, -0.4, 0.2, 0.5]);
                let gradients = program.backward(vec![(program.output(), seed)]);
                optimizer.step(&mut program, &gradients, 0.05);
            }
            let last = program
                .parameter(weight(&graph))
                .unwrap()
                .value
                .data
                .clone();
            last.iter().map(|w| w * size as f32).collect::<Vec<_>>()
        });
        for (a, b) in results[0].iter().zip(&results[1]) {
            assert!((a - b).abs() < 1e-4 * a.abs().max(1.0), "{a} {b}");
        }
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
