//! Runs a recipe: the methods of [`crate::compress`] in the training engine of [`crate::train`].
//!
//! ```text
//! input.onnx ─ stage 1 ─ stage-1-mask.onnx ─ stage 2 ─ stage-2-trp.onnx ─ … ─ OUT.onnx
//!                  └─ stage-1-mask/training/checkpoint.safetensors
//! ```
//!
//! Every stage begins with a file and ends with one: what the next stage reads is what the last has exported, so a run that
//! goes on from a finished stage gives the same bytes as one that never stopped. Within a stage, trainings go on from the
//! trainer's checkpoints, and what lies between them is done again. [`Record`] has each file's figures.
//!
//! One file a kind of stage; `session` has what they share.

mod backslash;
mod curves;
mod deepshape;
mod error;
mod figures;
mod gate;
mod mask;
mod norms;
mod prune;
mod quantize;
mod record;
mod session;
#[cfg(test)]
mod tests;
mod train;
mod trp;

pub use curves::{Curve, curves};
pub use error::{CompressError, StageError};
pub use figures::{Figures, RELATIVE_STEP, figures};
pub use record::{Record, StageRecord};

use crate::compress::recipe::{Norms, Recipe, Stage};
use crate::data::{Dataset, Scaling};
use crate::files::{Claim, FileError, write_atomic};
use crate::graph::Graph;
use crate::model::{load_graph, load_trainable};
use crate::onnx::LoadOptions;
use crate::onnx::write::to_model_proto;
use crate::train::checkpoint;
use crate::train::trainer::Report;
use prost::Message;
use record::Saved;
use serde_json::{Map, Value, json};
use session::Session;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Instant;
use tract_onnx::pb;

/// A recipe and what it is run on.
pub struct Job<'a> {
    /// What to do.
    pub recipe: &'a Recipe,
    /// The model, a float ONNX file.
    pub model: &'a Path,
    /// What to train and to test with.
    pub data: &'a Dataset,
    /// How its bytes become reals.
    pub scaling: Scaling,
    /// Where the result goes.
    pub output: &'a Path,
    /// Where stages' models, checkpoints and the record are kept.
    pub folder: &'a Path,
    /// Go on with what is there.
    pub resume: bool,
    /// Instead of the recipe's seed.
    pub seed: Option<u64>,
    /// Factor of all trainings' epochs; none has fewer than one.
    pub epochs_scale: f64,
    /// Set from outside to stop after the step in hand.
    pub stop: &'a AtomicBool,
    /// Told what goes on.
    pub report: &'a mut dyn FnMut(Event<'_>),
}

/// What a run tells while it goes on.
#[derive(Debug)]
pub enum Event<'a> {
    /// A stage begins.
    Stage {
        /// Its number, from 1.
        number: usize,
        /// Stages in all.
        of: usize,
        /// Its kind, as recipes write it.
        kind: &'static str,
    },
    /// A training of the stage goes on.
    Training {
        /// The training's key in the recipe.
        key: &'static str,
        /// Its epochs.
        epochs: usize,
        /// Steps of each.
        steps: usize,
        /// What the trainer says.
        report: Report<'a>,
    },
    /// A stage is done, now or in the run that is resumed.
    Done(&'a StageRecord),
}

/// How a run ended.
#[derive(Clone, PartialEq, Debug)]
pub struct Outcome {
    /// Whether all stages were done; otherwise the run was stopped and its state kept.
    pub finished: bool,
    /// Figures so far.
    pub record: Record,
}

/// What a stage leaves besides the graph.
#[derive(Default)]
struct Product {
    notes: Map<String, Value>,
    warnings: Vec<String>,
    /// The file, where it is not simply the graph.
    model: Option<pb::ModelProto>,
    /// Bytes of the weights in it, where the importer makes floats of them.
    weight_bytes: Option<u64>,
    /// Bytes of its weights entropy-coded, where the graph has them as floats.
    coded_bytes: Option<u64>,
}

impl Product {
    fn of<const N: usize>(notes: [(&str, Value); N]) -> Self {
        let notes = notes.into_iter().map(|(key, note)| (key.to_owned(), note));
        Product {
            notes: notes.collect(),
            ..Product::default()
        }
    }
}

impl Job<'_> {
    /// Runs the recipe's stages that are not done yet, and writes the output when all are.
    ///
    /// # Errors
    /// A stage cannot be done ([`CompressError::Stage`] has its line); a file cannot be read or written; what is to be
    /// resumed is of another run.
    pub fn run(&mut self) -> Result<Outcome, CompressError> {
        let _claim = Claim::on(self.folder)?;
        let settings = self.settings()?;
        let path = self.folder.join(record::FILE);
        let mut saved = if self.resume {
            Saved::read(&path, &settings)?
        } else {
            self.clear();
            None
        };
        let input = |e: StageError| CompressError::Input(Box::new(e));
        let original = load(self.model).map_err(input)?;
        let start = self.folder.join("input.onnx");
        let mut saved = match saved.take() {
            Some(saved) => saved,
            None => {
                let mut begun = original.clone();
                if self.recipe.norms == Norms::Insert {
                    norms::insert(&mut begun, self.data, self.scaling).map_err(input)?;
                }
                write_model(&to_model_proto(&begun), &start)?;
                Saved {
                    settings: settings.clone(),
                    record: Record {
                        recipe: self.recipe.name.clone(),
                        input: figures(&start, self.data, self.scaling).map_err(input)?,
                        stages: Vec::new(),
                    },
                }
            }
        };
        let mut last = start;
        for (index, stage) in self.recipe.stages.iter().enumerate() {
            let number = index + 1;
            (self.report)(Event::Stage {
                number,
                of: self.recipe.stages.len(),
                kind: stage.kind(),
            });
            let next = self
                .folder
                .join(format!("stage-{number}-{}.onnx", stage.kind()));
            if saved.record.stages.len() <= index || !next.exists() {
                saved.record.stages.truncate(index);
                match self.stage(index, &original, &settings, &last, &next) {
                    Ok(done) => saved.record.stages.push(done),
                    Err(StageError::Stopped) => {
                        saved.write(&path)?;
                        return Ok(Outcome {
                            finished: false,
                            record: saved.record,
                        });
                    }
                    Err(cause) => return Err(CompressError::stage(self.recipe, index, cause)),
                }
                // The model is there before the record says so.
                saved.write(&path)?;
            }
            if let Some(done) = saved.record.stages.get(index) {
                (self.report)(Event::Done(done));
            }
            last = next;
        }
        let quantized = matches!(self.recipe.stages.last(), Some(Stage::Quantize(_)));
        if self.recipe.norms == Norms::Insert && !quantized {
            // What was inserted for training goes again.
            let (folded, _) =
                load_graph(&last, &LoadOptions::default()).map_err(|e| input(e.into()))?;
            write_model(&to_model_proto(&folded), self.output)?;
        } else {
            let bytes = read(&last)?;
            write_atomic(self.output, |file| file.write_all(&bytes))?;
        }
        Ok(Outcome {
            finished: true,
            record: saved.record,
        })
    }

    fn stage(
        &mut self,
        index: usize,
        original: &Graph,
        settings: &Value,
        from: &Path,
        to: &Path,
    ) -> Result<StageRecord, StageError> {
        let started = Instant::now();
        let mut graph = load(from)?;
        let before = &self.recipe.stages[..index];
        let mut session = Session {
            data: self.data,
            scaling: self.scaling,
            seed: self.seed.unwrap_or(self.recipe.seed),
            epochs_scale: self.epochs_scale,
            original,
            stage: index,
            folder: to.with_extension(""),
            resume: self.resume,
            keep_zeros: before.iter().any(|s| matches!(s, Stage::Prune(_))),
            settings,
            stop: self.stop,
            report: &mut *self.report,
        };
        let (graph, session_) = (&mut graph, &mut session);
        let product = match &self.recipe.stages[index] {
            Stage::Train(stage) => train::run(stage, graph, session_),
            Stage::Mask(stage) => mask::run(stage, graph, session_),
            Stage::Gate(stage) => gate::run(stage, graph, session_),
            Stage::Trp(stage) => trp::run(stage, graph, session_),
            Stage::Backslash(stage) => backslash::run(stage, graph, session_),
            Stage::DeepShape(stage) => deepshape::run(stage, graph, session_),
            Stage::Prune(stage) => prune::run(stage, graph, session_),
            Stage::Quantize(stage) => quantize::run(stage, graph, session_),
        }?;
        let model = product.model.unwrap_or_else(|| to_model_proto(graph));
        write_model(&model, to)?;
        let mut figures = figures(to, self.data, self.scaling)?;
        figures.weight_bytes = product.weight_bytes.unwrap_or(figures.weight_bytes);
        figures.coded_bytes = product.coded_bytes.unwrap_or(figures.coded_bytes);
        Ok(StageRecord {
            kind: self.recipe.stages[index].kind().to_owned(),
            figures,
            seconds: started.elapsed().as_secs_f64(),
            warnings: product.warnings,
            notes: product.notes,
        })
    }

    /// What the result depends on. Models and recipes may have been changed under the same name: their contents count.
    fn settings(&self) -> Result<Value, CompressError> {
        let checksum = |bytes: &[u8]| crc::Crc::<u64>::new(&crc::CRC_64_XZ).checksum(bytes);
        Ok(json!({
            "recipe": format!("{:016x}", checksum(self.recipe.text().as_bytes())),
            "model": format!("{:016x}", checksum(&read(self.model)?)),
            "data": self.data.name,
            "samples": self.data.train.len(),
            "pixels": format!("{:?}", self.scaling),
            "seed": self.seed.unwrap_or(self.recipe.seed),
            "epochs-scale": self.epochs_scale,
        }))
    }

    /// Removes what an earlier run has left, which a later `--resume` would take for its own.
    fn clear(&self) {
        let remove = |path: PathBuf| {
            // What is not there need not go; what cannot go is refused by its settings.
            let _ = std::fs::remove_file(path);
        };
        remove(self.folder.join(record::FILE));
        for (index, stage) in self.recipe.stages.iter().enumerate() {
            let name = format!("stage-{}-{}", index + 1, stage.kind());
            remove(self.folder.join(format!("{name}.onnx")));
            for (key, _) in stage.trainings() {
                let state = self.folder.join(&name).join(key);
                remove(state.join(checkpoint::FILE));
            }
        }
    }
}

fn load(path: &Path) -> Result<Graph, StageError> {
    Ok(load_trainable(path, &LoadOptions::default())?)
}

fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    std::fs::read(path).map_err(|source| FileError::Read {
        path: path.into(),
        source,
    })
}

fn write_model(model: &pb::ModelProto, path: &Path) -> Result<(), FileError> {
    let bytes = model.encode_to_vec();
    write_atomic(path, |file| file.write_all(&bytes))
}
