//! The training loop: batches in, epochs' figures and checkpoints out.

use super::checkpoint::{self, Checkpoint, CheckpointError, EpochMetrics, Progress};
use super::evaluate::{count_right, evaluate};
use super::method::{Method, Moment};
use super::objective::{cross_entropy, distillation};
use super::optimizer::{Optimizer, Rate};
use super::tape::{Mode, Program, Tensor};
use crate::compress::gaussian::Moments;
use crate::data::Dataset;
use crate::data::batches::{Batch, Plan, plain};
use crate::files::{FileError, write_atomic};
use std::io::Write;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Name of the file with one JSON object an epoch.
pub const METRICS: &str = "metrics.jsonl";

/// Why training stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// The numbers ran away.
    #[error(
        "the loss is {loss} in epoch {epoch}, step {step}: {place} is not finite; a smaller --lr or a longer --warm-up helps"
    )]
    NonFinite {
        /// Epoch, counted from 1.
        epoch: usize,
        /// Step in the epoch, counted from 1.
        step: usize,
        /// The loss.
        loss: f64,
        /// The first parameter or layer with a NaN or an infinity.
        place: String,
    },
    /// The network does not fit the data.
    #[error(
        "the network takes samples of shape {network:?} and has {outputs} outputs; the data have shape {data:?} and {classes} classes"
    )]
    Shape {
        /// Shape of a sample at the network's input.
        network: Vec<usize>,
        /// Outputs for a sample.
        outputs: usize,
        /// Shape of a sample in the data.
        data: Vec<usize>,
        /// Classes in the data.
        classes: usize,
    },
    /// A checkpoint cannot be written or used.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The metrics cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
}

/// A trained network whose predictions another learns from.
pub struct Teacher {
    /// The network.
    pub program: Program<f32>,
    /// What logits are divided by.
    pub temperature: f64,
    /// Share of the loss; the labels have the rest.
    pub weight: f64,
}

/// How to train.
#[derive(Clone, PartialEq, Debug)]
pub struct Options {
    /// Passes over the training data.
    pub epochs: usize,
    /// How batches are made.
    pub plan: Plan,
    /// The step size over time.
    pub rate: Rate,
    /// Label smoothing.
    pub smoothing: f64,
}

/// Where a run keeps its state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Keep {
    /// The folder of the checkpoint and the metrics.
    pub folder: PathBuf,
    /// How long a run may go without writing a checkpoint; one is written after every epoch anyway.
    pub every: Duration,
}

/// What a run tells while it goes on.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Report<'a> {
    /// A step was taken.
    Step {
        /// Where.
        at: Moment,
        /// Mean loss over the epoch so far.
        loss: f64,
        /// Accuracy over the epoch so far.
        accuracy: f64,
    },
    /// An epoch is done.
    Epoch(&'a EpochMetrics),
}

/// A run: a program, what it learns from, and what takes part.
pub struct Run<'a> {
    /// The network.
    pub program: &'a mut Program<f32>,
    /// The data.
    pub data: &'a Dataset,
    /// How.
    pub options: &'a Options,
    /// The optimiser.
    pub optimizer: Optimizer<f32>,
    /// Methods, called in this order.
    pub methods: Vec<&'a mut dyn Method>,
    /// A teacher.
    pub teacher: Option<Teacher>,
    /// Where state is kept, if it is.
    pub keep: Option<Keep>,
    /// Settings that a checkpoint must share to be resumed.
    pub settings: serde_json::Value,
    /// Set from outside to stop after the step in hand.
    pub stop: &'a AtomicBool,
    /// Told of every step and epoch.
    pub report: &'a mut dyn FnMut(Report<'_>),
}

/// How a run ended.
#[derive(Clone, PartialEq, Debug)]
pub struct Outcome {
    /// Whether all epochs were done; otherwise the run was stopped and its state kept.
    pub finished: bool,
    /// Figures of all epochs done.
    pub history: Vec<EpochMetrics>,
}

impl Run<'_> {
    /// Trains, from the start or from a checkpoint.
    ///
    /// # Errors
    /// The data do not fit the network, the loss is not finite, or a file cannot be read or written.
    pub fn train(&mut self, resume: bool) -> Result<Outcome, TrainError> {
        self.check_shapes()?;
        let size = self.input_size();
        self.optimizer.fit_input(self.program, size);
        let mut progress = Progress {
            settings: self.settings.clone(),
            ..Progress::default()
        };
        if let (true, Some(keep)) = (resume, &self.keep) {
            let path = keep.folder.join(checkpoint::FILE);
            let saved = Checkpoint::read(&path)?;
            saved.expect_settings(&path, &self.settings)?;
            saved.restore(&path, self.program, &mut self.optimizer)?;
            for (i, method) in self.methods.iter_mut().enumerate() {
                method.restore(saved.method(i));
            }
            progress = saved.progress;
        }
        while progress.epoch < self.options.epochs {
            if !self.epoch(&mut progress)? {
                self.save(&progress)?;
                return Ok(Outcome {
                    finished: false,
                    history: progress.history,
                });
            }
        }
        Ok(Outcome {
            finished: true,
            history: progress.history,
        })
    }

    /// Root mean square of the first training samples.
    fn input_size(&self) -> f64 {
        let count = self.options.plan.batch.min(self.data.train.len());
        let scaling = self.options.plan.scaling;
        let x = plain(self.data, &self.data.train, 0..count, scaling);
        Moments::of(&x.data).deviation()
    }

    fn check_shapes(&mut self) -> Result<(), TrainError> {
        let none = plain(
            self.data,
            &self.data.train,
            0..1.min(self.data.train.len()),
            self.options.plan.scaling,
        );
        let mut outputs = 0;
        if self.program.input_shape() == self.data.shape {
            self.program.forward(none, Mode::Evaluate);
            outputs = self.program.logits().map_or(0, Tensor::row_len);
        }
        if outputs == self.data.classes {
            return Ok(());
        }
        Err(TrainError::Shape {
            network: self.program.input_shape().to_vec(),
            outputs,
            data: self.data.shape.clone(),
            classes: self.data.classes,
        })
    }

    /// One epoch, or the rest of one. False if the run was stopped.
    fn epoch(&mut self, progress: &mut Progress) -> Result<bool, TrainError> {
        let plan = self.options.plan;
        let steps = plan.steps(self.data);
        let (mut start, mut saved) = (Instant::now(), Instant::now());
        let (mut failure, mut stopped) = (None, false);
        let (data, epoch) = (self.data, progress.epoch);
        plan.each(data, epoch, progress.step, |step, batch| {
            let passed = epoch as f64 + step as f64 / steps as f64;
            let at = Moment {
                epoch,
                epochs: self.options.epochs,
                step,
                steps,
                rate: self.options.rate.at(passed),
            };
            match self.step(batch, &at) {
                Ok((loss, right, samples)) => {
                    progress.step = step + 1;
                    for (sum, new) in progress.sums.iter_mut().zip([
                        loss * samples as f64,
                        right as f64,
                        samples as f64,
                        start.elapsed().as_secs_f64(),
                    ]) {
                        *sum += new;
                    }
                    start = Instant::now();
                }
                Err(error) => failure = Some(error),
            }
            let [loss, right, samples, _] = progress.sums;
            (self.report)(Report::Step {
                at: Moment {
                    step: step + 1,
                    ..at
                },
                loss: loss / samples,
                accuracy: right / samples,
            });
            stopped = self.stop.load(Ordering::Relaxed) && progress.step < steps;
            let overdue = self
                .keep
                .as_ref()
                .is_some_and(|k| saved.elapsed() > k.every);
            if failure.is_none() && overdue && progress.step < steps {
                failure = self.save(progress).err();
                saved = Instant::now();
            }
            if failure.is_some() || stopped {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        if let Some(failure) = failure {
            return Err(failure);
        }
        if stopped {
            return Ok(false);
        }
        self.finish_epoch(progress, steps)?;
        Ok(!self.stop.load(Ordering::Relaxed) || progress.epoch == self.options.epochs)
    }

    fn finish_epoch(&mut self, progress: &mut Progress, steps: usize) -> Result<(), TrainError> {
        let scaling = self.options.plan.scaling;
        let test = evaluate(self.program, self.data, &self.data.test, scaling);
        let [loss, right, samples, seconds] = progress.sums;
        let end = progress.epoch as f64 + 1.0 - 1.0 / steps as f64;
        let at = Moment {
            epoch: progress.epoch + 1,
            epochs: self.options.epochs,
            step: 0,
            steps,
            rate: self.options.rate.at(end),
        };
        let mut extra = serde_json::Map::new();
        for method in &mut self.methods {
            method.after_epoch(self.program, &at, &mut extra);
        }
        progress.history.push(EpochMetrics {
            epoch: at.epoch,
            loss: loss / samples,
            accuracy: right / samples,
            test_loss: test.loss,
            test_accuracy: test.accuracy,
            rate: at.rate,
            seconds,
            extra,
        });
        progress.epoch = at.epoch;
        progress.step = 0;
        progress.sums = [0.0; 4];
        self.save(progress)?;
        if let Some(metrics) = progress.history.last() {
            (self.report)(Report::Epoch(metrics));
        }
        Ok(())
    }

    /// Loss, samples classified rightly, and samples.
    fn step(&mut self, batch: Batch, at: &Moment) -> Result<(f64, usize, usize), TrainError> {
        let Batch { x, targets, labels } = batch;
        for method in &mut self.methods {
            method.before_forward(self.program, at);
        }
        let taught = self.teacher.as_mut().and_then(|teacher| {
            teacher.program.forward(x.clone(), Mode::Evaluate);
            let logits = teacher.program.logits()?.clone();
            Some((logits, teacher.temperature, teacher.weight))
        });
        self.program.forward(x, Mode::Train);
        let Some(logits) = self.program.logits() else {
            return Ok((0.0, 0, 0));
        };
        let right = count_right(logits, &labels);
        let (mut loss, mut gradient) =
            cross_entropy(logits, &targets.smoothed(self.options.smoothing));
        if let Some((teacher, temperature, weight)) = taught {
            let (distance, toward) = distillation(logits, &teacher, temperature);
            loss = (1.0 - weight) * loss + weight * distance;
            let (own, other) = ((1.0 - weight) as f32, weight as f32);
            for (g, t) in gradient.data.iter_mut().zip(&toward.data) {
                *g = own * *g + other * t;
            }
        }
        let mut seeds = vec![(self.program.output(), gradient)];
        for method in &mut self.methods {
            if let Some((term, gradients)) = method.term(self.program, at) {
                loss += term;
                seeds.extend(gradients);
            }
        }
        if !loss.is_finite() {
            let place = self.program.first_non_finite();
            return Err(TrainError::NonFinite {
                epoch: at.epoch + 1,
                step: at.step + 1,
                loss,
                place: place.unwrap_or_else(|| "only the loss itself".into()),
            });
        }
        let mut gradients = self.program.backward(seeds);
        for method in &mut self.methods {
            method.after_backward(self.program, &mut gradients, at);
        }
        self.optimizer.step(self.program, &gradients, at.rate);
        for method in &mut self.methods {
            method.after_step(self.program, at);
        }
        Ok((loss, right, labels.len()))
    }

    fn save(&self, progress: &Progress) -> Result<(), TrainError> {
        let Some(keep) = &self.keep else {
            return Ok(());
        };
        std::fs::create_dir_all(&keep.folder).map_err(|source| FileError::Write {
            path: keep.folder.clone(),
            source,
        })?;
        let methods = self.methods.iter().map(|m| m.save()).collect();
        Checkpoint::of(self.program, &self.optimizer, methods, progress.clone())
            .write(&keep.folder.join(checkpoint::FILE))?;
        write_atomic(keep.folder.join(METRICS), |file| {
            for metrics in &progress.history {
                serde_json::to_writer(&mut *file, metrics)?;
                writeln!(file)?;
            }
            Ok(())
        })?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
