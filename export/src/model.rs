//! A model as commands take it: an ONNX or TensorFlow Lite file to be compiled, or a finished plan.

use crate::compile::{self, CompileError, CompileOptions, Compiled, StepInfo};
use crate::files::FileError;
use crate::graph::Graph;
use crate::host::{AlignedBytes, HostError, Runner};
use crate::limits;
use crate::onnx::{self, LoadOptions, OnnxError};
use crate::passes::{self, Warning};
use crate::tflite;
use kinglet::format::MAGIC;
use kinglet::{OpCode, Plan};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// A model ready to run.
#[derive(Debug)]
pub struct Model {
    /// File name, for tables.
    pub name: String,
    /// The plan's core.
    pub plan: Vec<u8>,
    /// What the compiler knows; `None` for a plan file.
    pub compiled: Option<Compiled>,
    /// The prepared graph; `None` for a plan file.
    pub graph: Option<Graph>,
    /// What does not run as the user may expect.
    pub warnings: Vec<Warning>,
    /// A name for every step.
    pub step_names: Vec<String>,
    /// Operator and multiply-accumulates of every step.
    pub operators: Vec<(OpCode, u64)>,
}

/// Why a model cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Neither ONNX nor TensorFlow Lite nor a plan.
    #[error("{}: a model is an .onnx or .tflite file or a .kinglet plan", path.display())]
    Kind {
        /// The file.
        path: PathBuf,
    },
    /// The ONNX or TensorFlow Lite file was refused.
    #[error("{}: {source}", path.display())]
    Onnx {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<OnnxError>,
    },
    /// The compiler refused the model.
    #[error("{}: {source}", path.display())]
    Compile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<CompileError>,
    },
    /// The plan file was refused.
    #[error("{}: {source}", path.display())]
    Plan {
        /// The file.
        path: PathBuf,
        /// Why.
        source: HostError,
    },
    /// A result could not be written.
    #[error(transparent)]
    File(#[from] FileError),
}

/// What a model's file is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// An ONNX file, by its name.
    Onnx,
    /// A TensorFlow Lite file, by its first bytes.
    Tflite,
    /// A finished plan, by its first bytes or its name.
    Plan,
}

impl Format {
    /// Looks at the name and the first bytes of `path`.
    ///
    /// # Errors
    /// It cannot be read, or is none of them.
    pub fn of(path: &Path) -> Result<Format, ModelError> {
        let mut start = Vec::new();
        std::fs::File::open(path)
            .and_then(|file| file.take(8).read_to_end(&mut start))
            .map_err(|source| ModelError::Read {
                path: path.into(),
                source,
            })?;
        let extension = path.extension().unwrap_or_default().to_ascii_lowercase();
        match extension.to_str() {
            _ if tflite::is_tflite(&start) => Ok(Format::Tflite),
            Some("onnx") => Ok(Format::Onnx),
            Some("kinglet") => Ok(Format::Plan),
            _ if start.starts_with(&MAGIC) => Ok(Format::Plan),
            _ => Err(ModelError::Kind { path: path.into() }),
        }
    }
}

/// Loads an ONNX or TensorFlow Lite file and prepares its graph.
///
/// # Errors
/// The file cannot be read, is neither, or uses something unsupported.
pub fn load_graph(path: &Path, options: &LoadOptions) -> Result<(Graph, Vec<Warning>), ModelError> {
    let refused = |source| ModelError::Onnx {
        path: path.into(),
        source: Box::new(source),
    };
    let mut graph = onnx::load(path, options).map_err(refused)?;
    let warnings = passes::prepare(&mut graph);
    Ok((graph, warnings))
}

/// Loads an ONNX or TensorFlow Lite file as it is trained: batch normalisation stays, activations are fused where nobody looks between.
///
/// # Errors
/// The file cannot be read, is neither, or uses something unsupported.
pub fn load_trainable(path: &Path, options: &LoadOptions) -> Result<Graph, ModelError> {
    let refused = |source| ModelError::Onnx {
        path: path.into(),
        source: Box::new(source),
    };
    let mut graph = onnx::load(path, options).map_err(refused)?;
    passes::remove_identities(&mut graph);
    passes::fuse_bias(&mut graph);
    passes::fuse_activation(&mut graph);
    Ok(graph)
}

impl Model {
    /// Opens `path`, which [`Format::of`] recognises, and compiles what is no plan yet.
    ///
    /// # Errors
    /// See [`ModelError`].
    pub fn open(
        path: &Path,
        load: &LoadOptions,
        options: &CompileOptions,
    ) -> Result<Model, ModelError> {
        let name = path
            .file_name()
            .unwrap_or(path.as_os_str())
            .to_string_lossy()
            .into_owned();
        if Format::of(path)? != Format::Plan {
            let (graph, warnings) = load_graph(path, load)?;
            let refused = |source| ModelError::Compile {
                path: path.into(),
                source: Box::new(source),
            };
            let compiled = compile::compile(&graph, options).map_err(refused)?;
            let refused = |source| ModelError::Plan {
                path: path.into(),
                source,
            };
            let operators = operators(compiled.core()).map_err(refused)?;
            return Ok(Model {
                name,
                plan: compiled.core().to_vec(),
                step_names: compiled.steps.iter().map(|s| s.name.clone()).collect(),
                operators,
                compiled: Some(compiled),
                graph: Some(graph),
                warnings,
            });
        }
        let file = limits::read(path, limits::PLAN_BYTES).map_err(|source| ModelError::Read {
            path: path.into(),
            source,
        })?;
        let refused = |source: HostError| ModelError::Plan {
            path: path.into(),
            source,
        };
        let operators = operators(&file).map_err(refused)?;
        let core_len = Runner::new(&file)
            .and_then(|r| Ok(r.plan()?.core_len()))
            .map_err(refused)?;
        let mut step_names = compile::step_names(&file, core_len);
        if step_names.len() != operators.len() {
            step_names = operators
                .iter()
                .map(|(op, _)| op.name().to_owned())
                .collect();
        }
        let plan = file[..core_len].to_vec();
        Ok(Model {
            name,
            plan,
            compiled: None,
            graph: None,
            warnings: Vec::new(),
            step_names,
            operators,
        })
    }

    /// A runner for this machine.
    ///
    /// # Errors
    /// None: the plan was checked when the model was opened.
    pub fn runner(&self) -> Result<Runner, HostError> {
        Runner::new(&self.plan)
    }

    /// The compiler's steps; `None` for a plan file.
    pub fn steps(&self) -> Option<&[StepInfo]> {
        self.compiled.as_ref().map(|c| c.steps.as_slice())
    }

    /// Multiply-accumulates of one inference.
    pub fn macs(&self) -> u64 {
        self.operators.iter().map(|(_, macs)| macs).sum()
    }
}

fn operators(plan: &[u8]) -> Result<Vec<(OpCode, u64)>, HostError> {
    let aligned = AlignedBytes::from(plan);
    Ok(Plan::parse(aligned.bytes())?.operators().collect())
}
