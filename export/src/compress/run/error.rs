//! Why a recipe stops.

use crate::compile::CompileError;
use crate::compress::gate::GateError;
use crate::compress::mask::{CutError, SelectError};
use crate::compress::recipe::{Recipe, RecipeError};
use crate::compress::trp::TrpError;
use crate::files::FileError;
use crate::host::HostError;
use crate::model::ModelError;
use crate::quantize::QuantizeError;
use crate::train::tape::ProgramError;
use crate::train::trainer::TrainError;
use std::path::PathBuf;

/// What goes wrong inside of a stage.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StageError {
    /// Not a failure: the user asked to stop, and the state is kept.
    #[error("stopped")]
    Stopped,
    /// The model has nothing that the stage could work on.
    #[error("the model has {0}")]
    Nothing(&'static str),
    /// The network cannot be trained.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// Training failed.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// Ranks or decompositions.
    #[error(transparent)]
    Trp(#[from] TrpError),
    /// No mask.
    #[error(transparent)]
    Select(#[from] SelectError),
    /// The mask cannot be cut.
    #[error(transparent)]
    Cut(#[from] CutError),
    /// Gates cannot be removed.
    #[error(transparent)]
    Gate(#[from] GateError),
    /// No int8 model.
    #[error(transparent)]
    Quantize(#[from] QuantizeError),
    /// The exported model does not compile.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// The exported model does not run.
    #[error(transparent)]
    Host(#[from] HostError),
    /// A model cannot be read.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A file cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Why a recipe did not run to its end.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[non_exhaustive]
pub enum CompressError {
    /// A stage failed; the place is the stage's.
    #[error("{place}")]
    #[diagnostic(forward(place))]
    Stage {
        /// The line of the recipe, and what the stage says.
        place: Box<RecipeError>,
        /// The same, by type.
        cause: Box<StageError>,
    },
    /// The input model, outside of any stage.
    #[error(transparent)]
    Input(Box<StageError>),
    /// What is to be resumed was begun otherwise.
    #[error("{}: begun with other settings ({key}); give the same ones, or start afresh without --resume", path.display())]
    Settings {
        /// The record.
        path: PathBuf,
        /// What differs.
        key: String,
    },
    /// What is to be resumed cannot be read.
    #[error("{}: not a record of `kinglet compress`: {reason}", path.display())]
    Record {
        /// The record.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A file cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
}

impl CompressError {
    pub(super) fn stage(recipe: &Recipe, stage: usize, cause: StageError) -> Self {
        let kind = recipe.stages.get(stage).map_or("", |s| s.kind());
        CompressError::Stage {
            place: Box::new(recipe.error(stage, format!("{kind} stage: {cause}"))),
            cause: Box::new(cause),
        }
    }
}
