//! The papers' claims, tried at a size that two cores can train: each method against the obvious way to do without it.
//!
//! An [`Experiment`] has arms, each a recipe for [`crate::compress::run`]; an arm may begin with another's result, and its
//! recipe may depend on what others have found (the same ranks, the same multiply-accumulates). [`Claim`]s compare arms, with
//! the bound that we ask for and what the paper says. Everything is run once a seed, resumes like any run of a recipe, and
//! ends in a table.

mod gate;
mod gaussian;
mod mask;
mod results;
mod rf8;
pub mod rows;
mod small;
mod trp;

pub use results::{Finding, Results};

use crate::compress::recipe::{Recipe, RecipeError};
use crate::compress::run::{CompressError, Event, Job};
use crate::data::{Dataset, Scaling};
use crate::files::{FileError, write_atomic};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

/// One way to compress the model.
pub struct Arm {
    /// Short, unique in the experiment; also its folder.
    pub name: &'static str,
    /// What it does.
    pub what: &'static str,
    /// The arm whose result it begins with; none for the input model.
    pub from: Option<&'static str>,
    /// The arms whose records its recipe is made from.
    pub needs: &'static [&'static str],
    /// Its recipe; `None` if what it needs does not have the figures.
    pub recipe: fn(&Results) -> Option<String>,
}

impl Arm {
    /// An arm that begins with the input model and needs no other.
    fn new(name: &'static str, what: &'static str, recipe: fn(&Results) -> Option<String>) -> Arm {
        Arm {
            name,
            what,
            from: None,
            needs: &[],
            recipe,
        }
    }

    /// Begins with what another arm has made.
    fn from(self, arm: &'static str) -> Arm {
        Arm {
            from: Some(arm),
            ..self
        }
    }

    /// Has a recipe that is made from others' records.
    fn needing(self, needs: &'static [&'static str]) -> Arm {
        Arm { needs, ..self }
    }
}

/// What is said about arms.
pub struct Claim {
    /// In words.
    pub what: &'static str,
    /// What the paper says; empty if nothing comparable is published.
    pub paper: &'static str,
    /// What we ask for.
    pub must: Must,
    /// The figure; `None` if an arm that it needs was not run.
    pub figure: fn(&Results) -> Option<f64>,
    /// Of the figure.
    pub unit: Unit,
}

/// A bound.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Must {
    /// So much or more.
    AtLeast(f64),
    /// So much or less.
    AtMost(f64),
    /// Anything: the figure is only told.
    Told,
}

/// What a figure counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// Percentage points of accuracy.
    Points,
    /// A quotient.
    Times,
    /// A share, shown as a percentage.
    Share,
}

/// A method's acceptance experiment.
pub struct Experiment {
    /// As on the command line.
    pub name: &'static str,
    /// The method and its paper.
    pub title: &'static str,
    /// In the order in which they are run.
    pub arms: Vec<Arm>,
    /// What is to be shown.
    pub claims: Vec<Claim>,
}

impl Experiment {
    /// All experiments.
    pub fn all() -> Vec<Experiment> {
        vec![
            trp::experiment(),
            mask::experiment(),
            gate::experiment(),
            gaussian::experiment(),
            rf8::experiment(),
            small::experiment(),
        ]
    }

    /// The names of all experiments.
    pub fn names() -> Vec<&'static str> {
        Self::all().iter().map(|e| e.name).collect()
    }

    /// The folder of a seed, in the folder of everything.
    pub fn folder(&self, seed: u64) -> String {
        format!("{}-seed-{seed}", self.name)
    }

    /// The experiment of a method.
    pub fn named(name: &str) -> Option<Experiment> {
        Self::all().into_iter().find(|e| e.name == name)
    }
}

/// A training that a network of half the size needs to find its feet again.
const RECOVERY: &str = "{ epochs = 12, lr = 0.05 }";

/// The end of such a recovery. Crops keep so small a network from learning the photographs by heart, and from learning them well:
/// the last epochs go without.
fn finish(epochs: usize) -> String {
    format!(
        "[[stage]]\nkind = \"train\"\ntraining = {{ epochs = {epochs}, lr = 0.02, augment = {{ flip = true }} }}\n"
    )
}

/// What every recipe of an experiment begins with: the zoo's ResNet-8 has no normalisation on its shortcuts.
fn recipe(name: &str, stages: &str) -> String {
    format!(
        "name = \"{name}\"\nnorms = \"insert\"\n\n[defaults]\naugment = {{ flip = true, crop = 4 }}\n\n{stages}"
    )
}

/// Why an experiment stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReproduceError {
    /// No such arm.
    #[error("the experiment has no arm `{found}`; it has {known}")]
    Unknown {
        /// What was asked for.
        found: String,
        /// What there is.
        known: String,
    },
    /// An arm depends on one that was not run.
    #[error("arm `{arm}` needs `{needs}`, which has not been run in {}", folder.display())]
    Needs {
        /// The arm.
        arm: &'static str,
        /// What it needs.
        needs: &'static str,
        /// Where it was looked for.
        folder: PathBuf,
    },
    /// An arm needs a figure that another arm's record does not have.
    #[error("arm `{0}`: what it depends on has no such figures")]
    Figures(&'static str),
    /// A recipe of ours is wrong.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// A recipe did not run.
    #[error("arm `{arm}`: {cause}")]
    Arm {
        /// The arm.
        arm: &'static str,
        /// Why.
        cause: CompressError,
    },
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
}

/// An experiment and what it is run on.
pub struct Trial<'a> {
    /// Which.
    pub experiment: &'a Experiment,
    /// The input model, a float ONNX file.
    pub model: &'a Path,
    /// What to train and to test with.
    pub data: &'a Dataset,
    /// How its bytes become reals.
    pub scaling: Scaling,
    /// Where everything is kept.
    pub folder: &'a Path,
    /// Seed of all recipes.
    pub seed: u64,
    /// Factor of all trainings' epochs.
    pub epochs_scale: f64,
    /// Only these arms are run; all if there are none. Others count if they have been run before.
    pub only: &'a [String],
    /// Set from outside to stop after the step in hand.
    pub stop: &'a AtomicBool,
}

impl Trial<'_> {
    /// Runs what has not been run yet, and returns the records of all arms that are finished; `None` if it was stopped.
    ///
    /// # Errors
    /// An arm cannot be run.
    pub fn run(
        &self,
        report: &mut dyn FnMut(&'static str, Event<'_>),
    ) -> Result<Option<Results>, ReproduceError> {
        let arms = &self.experiment.arms;
        let known = |name: &String| arms.iter().any(|a| a.name == *name);
        if let Some(found) = self.only.iter().find(|n| !known(n)) {
            let names: Vec<&str> = arms.iter().map(|a| a.name).collect();
            return Err(ReproduceError::Unknown {
                found: found.clone(),
                known: names.join(", "),
            });
        }
        let folder = self.folder.join(self.experiment.folder(self.seed));
        std::fs::create_dir_all(&folder).map_err(|source| FileError::Write {
            path: folder.clone(),
            source,
        })?;
        let mut results = Results::default();
        for arm in arms {
            let output = folder.join(format!("{}.onnx", arm.name));
            let chosen = self.only.is_empty() || self.only.iter().any(|n| n == arm.name);
            if !chosen && !output.exists() {
                continue;
            }
            let missing = |needs| ReproduceError::Needs {
                arm: arm.name,
                needs,
                folder: folder.clone(),
            };
            if let Some(&needs) = arm.needs.iter().find(|n| results.record(n).is_none()) {
                return Err(missing(needs));
            }
            let model = match arm.from {
                None => self.model.to_owned(),
                Some(from) if results.record(from).is_some() => folder.join(format!("{from}.onnx")),
                Some(from) => return Err(missing(from)),
            };
            let text = (arm.recipe)(&results).ok_or(ReproduceError::Figures(arm.name))?;
            let path = folder.join(format!("{}.toml", arm.name));
            write_atomic(&path, |file| file.write_all(text.as_bytes()))?;
            let recipe = Recipe::parse(&text, &path.display().to_string())?;
            let outcome = Job {
                recipe: &recipe,
                model: &model,
                data: self.data,
                scaling: self.scaling,
                output: &output,
                folder: &folder.join(arm.name),
                resume: true,
                seed: Some(self.seed),
                epochs_scale: self.epochs_scale,
                stop: self.stop,
                report: &mut |event| report(arm.name, event),
            }
            .run();
            let cause = |cause| ReproduceError::Arm {
                arm: arm.name,
                cause,
            };
            let outcome = outcome.map_err(cause)?;
            if !outcome.finished {
                return Ok(None);
            }
            results.add(arm.name, outcome.record);
        }
        Ok(Some(results))
    }
}

#[cfg(test)]
mod tests;
