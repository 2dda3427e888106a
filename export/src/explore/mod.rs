//! Searches recipes for a target: many short trials, the better ones again for longer, and the front of what came of them.
//!
//! ```text
//! seed ─► space ─► recipe ─► compress::run ─► model ─► plans in several forms ─► journal ─► front
//!                    └── the best third of a round again, with three times the epochs ──┘
//! ```
//!
//! A trial is a function of the seed, its number and its epochs, and which trials are repeated is a function of the journal, so
//! a run that goes on ends as one that never stopped: with the same journal, byte for byte.
//!
//! What is chosen by are samples that are held out from training. The test samples choose nothing: the front's accuracy on
//! them is measured at the end.

pub mod front;
pub mod journal;
pub mod page;
pub mod space;
pub mod trial;

use crate::compile::{CompileError, cost};
use crate::compress::recipe::{Recipe, RecipeError};
use crate::compress::run::{CompressError, Event, Job};
use crate::data::{Dataset, Scaling, Split};
use crate::emulate::Board;
use crate::evaluate::EvaluateError;
use crate::files::{Claim, FileError, write_atomic};
use crate::model::{ModelError, load_trainable};
use crate::onnx::LoadOptions;
use front::Costs;
pub use front::Limits;
use journal::{Journal, JournalError, Point, Trial};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use space::Space;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// A round has a third of the trials of the one before it, with three times the epochs.
pub const THIRD: usize = 3;

/// What is searched, and how long.
pub struct Exploration<'a> {
    /// The model, a float ONNX file.
    pub model: &'a Path,
    /// What to train and to test with.
    pub data: Dataset,
    /// How its bytes become reals.
    pub scaling: Scaling,
    /// What plans are for.
    pub board: &'static Board,
    /// What is wanted.
    pub limits: Limits,
    /// Trials of the first round.
    pub trials: usize,
    /// Rounds.
    pub rounds: usize,
    /// Epochs of each training in the first round; 0 for no training at all.
    pub epochs: usize,
    /// Mirror half of the training samples.
    pub flip: bool,
    /// Pad training samples by so many pixels and cut the original size out at random.
    pub crop: usize,
    /// Samples a step.
    pub batch: usize,
    /// Seed of everything random.
    pub seed: u64,
    /// Where everything is kept.
    pub folder: &'a Path,
    /// Go on with what is there.
    pub resume: bool,
    /// No trial begins after this.
    pub until: Option<Instant>,
    /// Set from outside to stop after the step in hand.
    pub stop: &'a AtomicBool,
}

/// What a search tells while it goes on.
pub enum Progress<'a> {
    /// A trial begins.
    Begin {
        /// Its number over all rounds, from 1.
        number: usize,
        /// How many there will be.
        of: usize,
        /// What it does.
        what: String,
    },
    /// Its recipe runs.
    Recipe(Event<'a>),
    /// It is done.
    Done(&'a Trial),
}

/// A member of the front, with its files.
#[derive(Clone, Debug)]
pub struct Member {
    /// The trial that it comes from.
    pub trial: Trial,
    /// Its form and costs.
    pub point: Point,
    /// Share of the test samples classified rightly; `None` where there are none.
    pub test_accuracy: Option<f64>,
    /// Recipe, model and plan: this with `.toml`, `.onnx`, `.kinglet`.
    pub stem: PathBuf,
}

/// How a search ended.
#[derive(Debug)]
pub struct Outcome {
    /// Whether all trials were done.
    pub finished: bool,
    /// All trials.
    pub trials: Vec<Trial>,
    /// The front of what meets the limits, the least flash first.
    pub front: Vec<Member>,
    /// Samples that accuracies were measured with.
    pub held_out: usize,
}

/// Why a search fails.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExploreError {
    /// Plans for the board have no predicted costs.
    #[error(
        "what plans cost on {board} is not known before they run: choose a board with a microcontroller, `kinglet boards` lists them"
    )]
    Board {
        /// The board.
        board: &'static str,
    },
    /// No form of the model has measured costs.
    #[error("every form of the model has an operator without measured costs on this target")]
    NotMeasured,
    /// There are too few samples to hold some out.
    #[error("{samples} training samples are too few: some are held out to choose by")]
    Samples {
        /// How many there are.
        samples: usize,
    },
    /// The model cannot be read or trained.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A drawn recipe is not valid: a defect of the search.
    #[error("the search drew a recipe that is refused (please report this): {0}")]
    Recipe(#[from] RecipeError),
    /// A recipe cannot be run.
    #[error(transparent)]
    Compress(#[from] CompressError),
    /// A model does not compile.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// The samples do not fit the model.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
}

/// A trial that is to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Planned {
    round: usize,
    candidate: usize,
    epochs: usize,
}

/// Share of the training samples that is held out, and the most of them.
const HELD_OUT: (f64, usize) = (0.2, 2000);

/// Sets samples aside by a fixed shuffle: what is trained with, and what is chosen by.
fn hold_out(data: &Dataset) -> Result<(Split, Split), ExploreError> {
    let samples = data.train.len();
    let mut order: Vec<usize> = (0..samples).collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(0));
    let count = ((samples as f64 * HELD_OUT.0) as usize).min(HELD_OUT.1);
    if count == 0 {
        return Err(ExploreError::Samples { samples });
    }
    let (held, rest) = order.split_at(count);
    let part = |indices: &[usize]| data.train.select(indices, data.sample_len());
    Ok((part(rest), part(held)))
}

impl Exploration<'_> {
    /// Runs what is not done yet, and writes the front's files.
    ///
    /// # Errors
    /// See [`ExploreError`]. A trial that fails is no error: the journal says why.
    pub fn run(mut self, progress: &mut dyn FnMut(Progress<'_>)) -> Result<Outcome, ExploreError> {
        if cost::costs(self.board.plan_target).is_none() {
            let board = self.board.name;
            return Err(ExploreError::Board { board });
        }
        let graph = load_trainable(self.model, &LoadOptions::default())?;
        let space = Space {
            training: self.epochs > 0,
            flip: self.flip,
            crop: self.crop,
            batch: self.batch,
            ..Space::of(&graph)
        };
        let _claim = Claim::on(self.folder)?;
        let settings = self.settings()?;
        let mut journal = Journal::open(self.folder, &settings, self.resume)?;
        for done in &journal.trials {
            self.tidy(done.round, done.candidate);
        }
        let (train, held) = hold_out(&self.data)?;
        let test = std::mem::replace(&mut self.data.test, held);
        self.data.train = train;
        make(&self.folder.join("trials"))?;
        let finished = loop {
            let Some(next) = self.next(&space, &journal.trials) else {
                break true;
            };
            let late = self.until.is_some_and(|until| Instant::now() >= until);
            if late || self.stop.load(Ordering::Relaxed) {
                break false;
            }
            let of = self
                .planned(&space, &journal.trials)
                .max(journal.trials.len() + 1);
            let candidate = space.candidate(self.seed, next.candidate);
            progress(Progress::Begin {
                number: journal.trials.len() + 1,
                of,
                what: candidate.describe(next.epochs),
            });
            let Some(trial) = self.trial(&space, next, progress)? else {
                break false;
            };
            journal.append(trial)?;
            self.tidy(next.round, next.candidate);
            if let Some(trial) = journal.trials.last() {
                progress(Progress::Done(trial));
            }
        };
        let front = self.write_front(&journal.trials, &test)?;
        Ok(Outcome {
            finished,
            front,
            held_out: self.data.test.len(),
            trials: journal.trials,
        })
    }

    /// Trials of a round, given those of the rounds before it; `None` if these are not all done.
    fn round(&self, space: &Space, round: usize, done: &[Trial]) -> Option<Vec<Planned>> {
        let trained = |candidate| space.candidate(self.seed, candidate).lr.is_some();
        if round == 0 {
            let planned = |candidate| Planned {
                round,
                candidate,
                epochs: if trained(candidate) { self.epochs } else { 0 },
            };
            return Some((0..self.trials).map(planned).collect());
        }
        let before = self.round(space, round - 1, done)?;
        let of_before: Vec<&Trial> = done.iter().filter(|t| t.round + 1 == round).collect();
        if of_before.len() < before.len() {
            return None;
        }
        // What was not trained would come out the same.
        let count = before
            .iter()
            .filter(|p| p.epochs > 0)
            .count()
            .div_ceil(THIRD);
        let longer = |trial: &&Trial| Planned {
            round,
            candidate: trial.candidate,
            epochs: trial.epochs * THIRD,
        };
        let mut best: Vec<&Trial> = best(&of_before, &self.limits)
            .into_iter()
            .filter(|t| t.epochs > 0)
            .take(count)
            .collect();
        best.sort_by_key(|t| t.candidate);
        Some(best.iter().map(longer).collect())
    }

    /// The trial after those that are done, which were done in order.
    fn next(&self, space: &Space, done: &[Trial]) -> Option<Planned> {
        let mut before = 0;
        for round in 0..self.rounds {
            let planned = self.round(space, round, done)?;
            if let Some(&next) = planned.get(done.len() - before) {
                return Some(next);
            }
            before += planned.len();
        }
        None
    }

    /// Trials of all rounds that are known by now.
    fn planned(&self, space: &Space, done: &[Trial]) -> usize {
        let rounds = (0..self.rounds).map_while(|round| self.round(space, round, done));
        rounds.map(|planned| planned.len()).sum()
    }

    /// Does a trial; `None` if it was stopped.
    fn trial(
        &self,
        space: &Space,
        planned: Planned,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Option<Trial>, ExploreError> {
        let candidate = space.candidate(self.seed, planned.candidate);
        let name = format!("trial {} of round {}", planned.candidate, planned.round + 1);
        let seed = self.seed.wrapping_add(planned.candidate as u64);
        // Seeds are numbers of TOML, which are signed.
        let recipe = space.recipe(&candidate, &name, seed >> 1, planned.epochs);
        let output = self.model_of(planned.round, planned.candidate);
        let parsed = Recipe::parse(&recipe, &name)?;
        let outcome = Job {
            recipe: &parsed,
            model: self.model,
            data: &self.data,
            scaling: self.scaling,
            output: &output,
            folder: &self.work(planned.round, planned.candidate),
            // What a killed run has begun goes on.
            resume: true,
            seed: None,
            epochs_scale: 1.0,
            stop: self.stop,
            report: &mut |event| progress(Progress::Recipe(event)),
        }
        .run();
        let mut trial = Trial {
            round: planned.round,
            candidate: planned.candidate,
            epochs: planned.epochs,
            what: candidate.describe(planned.epochs),
            recipe,
            points: Vec::new(),
            failure: None,
        };
        match outcome {
            Ok(outcome) if !outcome.finished => return Ok(None),
            Ok(_) => match self.points(&output) {
                Ok(points) => trial.points = points,
                Err(error) => trial.failure = Some(error.to_string()),
            },
            // The method does not apply to this network, or training diverged.
            Err(CompressError::Stage { place, .. }) => trial.failure = Some(place.to_string()),
            Err(error) => return Err(error.into()),
        }
        Ok(Some(trial))
    }

    fn points(&self, model: &Path) -> Result<Vec<Point>, ExploreError> {
        let graph = trial::graph(model)?;
        let accuracy = trial::accuracy(&graph, &self.data, &self.data.test, self.scaling)?;
        trial::plans(&graph, accuracy, self.board.plan_target, &self.limits)
    }

    fn model_of(&self, round: usize, candidate: usize) -> PathBuf {
        let name = format!("{}-{candidate:03}.onnx", round + 1);
        self.folder.join("trials").join(name)
    }

    /// Where a trial keeps its checkpoints.
    fn work(&self, round: usize, candidate: usize) -> PathBuf {
        self.model_of(round, candidate).with_extension("compress")
    }

    /// The journal has the trial: its checkpoints are of no more use.
    fn tidy(&self, round: usize, candidate: usize) {
        // What cannot be removed only takes room.
        let _ = fs::remove_dir_all(self.work(round, candidate));
    }

    /// What the result depends on. The model may have been changed under the same name: its contents count.
    fn settings(&self) -> Result<Value, ExploreError> {
        let model = fs::read(self.model).map_err(|source| FileError::Read {
            path: self.model.into(),
            source,
        })?;
        let checksum = crc::Crc::<u64>::new(&crc::CRC_64_XZ).checksum(&model);
        Ok(json!({
            "kinglet": env!("CARGO_PKG_VERSION"),
            "model": format!("{checksum:016x}"),
            "data": self.data.name,
            "samples": self.data.train.len(),
            "pixels": format!("{:?}", self.scaling),
            "board": self.board.name,
            "limits": self.limits,
            "trials": self.trials,
            "rounds": self.rounds,
            "epochs": self.epochs,
            "flip": self.flip,
            "crop": self.crop,
            "batch": self.batch,
            "seed": self.seed,
        }))
    }

    /// Writes recipe, model and plan of every member.
    fn write_front(&self, trials: &[Trial], test: &Split) -> Result<Vec<Member>, ExploreError> {
        let folder = self.folder.join("front");
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(|source| FileError::Write {
                path: folder.clone(),
                source,
            })?;
        }
        make(&folder)?;
        let all = points(trials);
        let costs: Vec<Costs> = all.iter().map(|(_, p)| p.costs).collect();
        let mut tested: BTreeMap<(usize, usize), f64> = BTreeMap::new();
        let mut members = Vec::new();
        for (number, index) in front::front(&costs, &self.limits).into_iter().enumerate() {
            let (trial, point) = all[index];
            let model = self.model_of(trial.round, trial.candidate);
            let graph = trial::graph(&model)?;
            let key = (trial.round, trial.candidate);
            if !test.is_empty() && !tested.contains_key(&key) {
                tested.insert(
                    key,
                    trial::accuracy(&graph, &self.data, test, self.scaling)?,
                );
            }
            let target = self.board.plan_target;
            let compiled = crate::compile::compile(&graph, &point.form.options(target))?;
            let stem = folder.join(format!("{:02}", number + 1));
            let head = format!(
                "# kinglet compile {:02}.onnx -o {:02}.kinglet --target {} {}\n",
                number + 1,
                number + 1,
                cost::name(target),
                point.form
            );
            let model = fs::read(&model).map_err(|source| FileError::Read {
                path: model.clone(),
                source,
            })?;
            let write = |extension: &str, bytes: &[u8]| {
                write_atomic(stem.with_extension(extension), |file| file.write_all(bytes))
            };
            write("toml", (head + &trial.recipe).as_bytes())?;
            write("onnx", &model)?;
            write("kinglet", &compiled.file)?;
            members.push(Member {
                trial: trial.clone(),
                point: point.clone(),
                test_accuracy: tested.get(&key).copied(),
                stem,
            });
        }
        Ok(members)
    }
}

fn make(folder: &Path) -> Result<(), FileError> {
    fs::create_dir_all(folder).map_err(|source| FileError::Write {
        path: folder.into(),
        source,
    })
}

/// Every point of every trial.
pub fn points(trials: &[Trial]) -> Vec<(&Trial, &Point)> {
    trials
        .iter()
        .flat_map(|t| t.points.iter().map(move |p| (t, p)))
        .collect()
}

/// Trials in the order in which they are worth going on with: by the layer of their best point, how far it misses the limits,
/// and accuracy.
fn best<'t>(trials: &[&'t Trial], limits: &Limits) -> Vec<&'t Trial> {
    let all: Vec<(usize, &Point)> = trials
        .iter()
        .enumerate()
        .flat_map(|(i, t)| t.points.iter().map(move |p| (i, p)))
        .collect();
    let costs: Vec<Costs> = all.iter().map(|(_, p)| p.costs).collect();
    let layers = front::layers(&costs, limits);
    let mut keyed: Vec<(usize, f64, f64, &Trial)> = Vec::new();
    for (i, &trial) in trials.iter().enumerate() {
        let own = all.iter().zip(&layers).filter(|((of, _), _)| *of == i);
        let key = own
            .map(|((_, p), &layer)| (layer, limits.violation(&p.costs), -p.costs.accuracy))
            .min_by(|a, b| {
                a.0.cmp(&b.0)
                    .then(a.1.total_cmp(&b.1))
                    .then(a.2.total_cmp(&b.2))
            });
        if let Some((layer, violation, accuracy)) = key {
            keyed.push((layer, violation, accuracy, trial));
        }
    }
    keyed.sort_by(|a, b| {
        a.0.cmp(&b.0)
            .then(a.1.total_cmp(&b.1))
            .then(a.2.total_cmp(&b.2))
            .then(a.3.candidate.cmp(&b.3.candidate))
    });
    keyed.into_iter().map(|(.., trial)| trial).collect()
}
