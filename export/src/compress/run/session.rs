//! What stages have in common: data, seeds, trainings that resume, statistics computed anew.

use super::{Event, StageError};
use crate::compress::recipe::{Augment, LrSchedule, Training};
use crate::data::augment::Augment as Samples;
use crate::data::batches::Plan;
use crate::data::{Dataset, Scaling};
use crate::graph::Graph;
use crate::model::load_graph;
use crate::onnx::LoadOptions;
use crate::passes;
use crate::train::checkpoint;
use crate::train::evaluate::{evaluate, reestimate_statistics};
use crate::train::method::Method;
use crate::train::optimizer::{Decay, Optimizer, Rate, Rule, Schedule};
use crate::train::tape::Program;
use crate::train::trainer::{Keep, Options, Report, Run, Teacher};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// Batches that running statistics are computed anew from, and samples of each.
const STATISTICS: (usize, usize) = (64, 128);
/// Training samples that choose between old and new statistics.
const JUDGES: usize = 2000;
/// A training goes at most so long without a checkpoint.
const EVERY: Duration = Duration::from_secs(60);

/// One stage's surroundings.
pub(super) struct Session<'a> {
    pub(super) data: &'a Dataset,
    pub(super) scaling: Scaling,
    pub(super) seed: u64,
    pub(super) epochs_scale: f64,
    /// The model that the recipe began with: budgets are shares of it, and it may teach.
    pub(super) original: &'a Graph,
    pub(super) stage: usize,
    /// Where the stage's trainings keep their state.
    pub(super) folder: PathBuf,
    pub(super) resume: bool,
    /// Whether weights that are zero when a training begins stay zero.
    pub(super) keep_zeros: bool,
    pub(super) settings: &'a Value,
    pub(super) stop: &'a AtomicBool,
    pub(super) report: &'a mut dyn FnMut(Event<'_>),
}

impl Session<'_> {
    /// Seed of one of the stage's trainings (or of something else random, by another key).
    pub(super) fn seed_of(&self, key: &str) -> u64 {
        let words = key.bytes().fold(self.stage as u64 + 1, |hash, byte| {
            hash.wrapping_mul(0x0100_0000_01b3) ^ u64::from(byte)
        });
        self.seed ^ words.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    /// The share of the input model's multiply-accumulates, in multiply-accumulates.
    pub(super) fn budget(&self, share: f64) -> u64 {
        (share * passes::total_macs(self.original) as f64) as u64
    }

    fn plan(&self, key: &str, batch: usize, augment: Samples) -> Plan {
        Plan {
            batch,
            seed: self.seed_of(key),
            scaling: self.scaling,
            augment,
        }
    }

    fn options(&self, key: &str, t: &Training) -> Options {
        let scale = self.epochs_scale;
        let epochs = ((t.epochs as f64 * scale).round() as usize).max(1);
        Options {
            epochs,
            plan: self.plan(key, t.batch, moved(&t.augment)),
            rate: Rate {
                base: t.lr,
                schedule: match &t.schedule {
                    LrSchedule::Constant => Schedule::Constant,
                    LrSchedule::Cosine => Schedule::Cosine,
                    LrSchedule::Step { at, factor } => Schedule::Step {
                        at: at.iter().map(|&e| e as f64 * scale).collect(),
                        factor: *factor,
                    },
                },
                warm_up: t.warmup_epochs as f64 * scale,
                epochs: epochs as f64,
            },
            smoothing: 0.0,
        }
    }

    fn teacher(&self, t: &Training) -> Result<Option<Teacher>, StageError> {
        let Some(distill) = &t.distill else {
            return Ok(None);
        };
        let program = if distill.teacher == "input" {
            Program::new(self.original)?
        } else {
            let (mut graph, _) = load_graph(Path::new(&distill.teacher), &LoadOptions::default())?;
            passes::remove_identities(&mut graph);
            Program::new(&graph)?
        };
        Ok(Some(Teacher {
            program,
            temperature: distill.temperature,
            weight: distill.weight,
        }))
    }

    /// One training of the stage, named as in the recipe. Goes on from its checkpoint if the whole is resumed and it has one;
    /// one that was finished is only read back.
    pub(super) fn train(
        &mut self,
        key: &'static str,
        program: &mut Program<f32>,
        training: &Training,
        method: Option<&mut dyn Method>,
    ) -> Result<(), StageError> {
        let options = self.options(key, training);
        let teacher = self.teacher(training)?;
        let folder = self.folder.join(key);
        let resume = self.resume && folder.join(checkpoint::FILE).exists();
        let mut zeros = self.keep_zeros.then(|| super::prune::Zeros::of(program));
        let mut methods: Vec<&mut dyn Method> = Vec::new();
        if let Some(method) = method {
            methods.push(method);
        }
        // Last, so that nothing a method does wakes a weight.
        if let Some(zeros) = &mut zeros {
            methods.push(zeros);
        }
        let mut settings = self.settings.clone();
        settings["stage"] = json!(self.stage);
        settings["training"] = json!(key);
        let steps = options.plan.steps(self.data);
        let report = &mut *self.report;
        let mut tell = |report_: Report<'_>| {
            report(Event::Training {
                key,
                epochs: options.epochs,
                steps,
                report: report_,
            });
        };
        let rule = Rule::Sgd {
            momentum: training.momentum,
            nesterov: training.nesterov,
        };
        let decay = Decay {
            weights: training.weight_decay,
            others: 0.0,
        };
        let outcome = Run {
            program,
            data: self.data,
            options: &options,
            optimizer: Optimizer::new(rule, decay),
            methods,
            teacher,
            keep: Some(Keep {
                folder,
                every: EVERY,
            }),
            settings,
            stop: self.stop,
            report: &mut tell,
        }
        .train(resume)?;
        if outcome.finished {
            Ok(())
        } else {
            Err(StageError::Stopped)
        }
    }

    /// [`Self::train`] without a method, on a graph.
    pub(super) fn train_graph(
        &mut self,
        key: &'static str,
        graph: &mut Graph,
        training: &Training,
    ) -> Result<(), StageError> {
        let mut program = Program::new(graph)?;
        self.train(key, &mut program, training, None)?;
        program.write_back(graph);
        Ok(())
    }

    /// Computes batch-norm's statistics anew, since those of before a split or cut may be of another network, on samples as the
    /// stage's `training` has them. They stay where samples say that they fit better: a cut that costs nothing has not changed
    /// them.
    pub(super) fn restate(
        &self,
        graph: &mut Graph,
        training: Option<&Training>,
    ) -> Result<(), StageError> {
        let mut program = Program::new(graph)?;
        let judges: Vec<usize> = (0..JUDGES.min(self.data.train.len())).collect();
        let samples = self.data.train.select(&judges, self.data.sample_len());
        let loss =
            |program: &mut Program<f32>| evaluate(program, self.data, &samples, self.scaling).loss;
        let before = loss(&mut program);
        let (batches, batch) = STATISTICS;
        let augment = training.map_or(Samples::default(), |t| moved(&t.augment));
        let plan = self.plan("statistics", batch, augment);
        reestimate_statistics(&mut program, self.data, &plan, batches);
        if loss(&mut program) < before {
            program.write_back(graph);
        }
        Ok(())
    }

    /// Accuracy on the test samples, in the middle of a stage.
    pub(super) fn accuracy(&self, graph: &Graph) -> Result<f64, StageError> {
        let mut program = Program::<f32>::new(graph)?;
        Ok(evaluate(&mut program, self.data, &self.data.test, self.scaling).accuracy)
    }
}

/// What a recipe has done to samples, for the batches.
fn moved(augment: &Augment) -> Samples {
    Samples {
        crop: augment.crop,
        flip: augment.flip,
        cutout: augment.cutout,
        cutmix: 0.0,
        mixup: augment.mixup,
    }
}

/// A word in pieces that singles hold exactly: checkpoints have no other numbers.
pub(super) fn pieces(word: u64) -> [f32; 4] {
    [0, 16, 32, 48].map(|shift| f32::from((word >> shift) as u16))
}

pub(super) fn whole(pieces: &[f32]) -> u64 {
    let each = pieces.iter().enumerate();
    each.fold(0, |word, (i, &piece)| word | (piece as u64) << (16 * i))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_a_checkpoint_exactly() {
        for word in [0, 1, u64::MAX, 1.234_567_890_123f64.to_bits()] {
            assert_eq!(whole(&pieces(word)), word);
        }
    }
}
