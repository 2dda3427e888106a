//! Other runtimes on this machine, measured beside ours: each in a process of its own, on one thread, in blocks that take turns, so
//! that what disturbs the machine disturbs all alike.
//!
//! What counts is processor time. A process speaks lines: one of JSON when it is ready (`version` and the first `output`, or why it
//! `failed`); then a number of inferences goes in, and the nanoseconds that they took come out.

pub mod peak;
mod process;

use crate::setup::SetupError;
use cpu_time::ThreadTime;
use process::Process;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The environment variable that names a Python interpreter with the packages of the rivals that are on PyPI; by default one in the
/// cache is made.
pub const PYTHON: &str = "KINGLET_RIVALS_PYTHON";

/// A runtime to compare with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Rival {
    /// ONNX Runtime, from PyPI; runs the ONNX file.
    Onnxruntime,
    /// LiteRT (TensorFlow Lite) with XNNPACK, from PyPI; runs the `.tflite` file.
    Litert,
    /// tract, from crates.io; runs the ONNX file.
    Tract,
    /// rten, from crates.io; runs the ONNX file.
    Rten,
}

impl Rival {
    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Rival::Onnxruntime => "onnxruntime",
            Rival::Litert => "litert",
            Rival::Tract => "tract",
            Rival::Rten => "rten",
        }
    }

    /// The package on PyPI, for those that are there.
    fn python_package(self) -> Option<&'static str> {
        match self {
            Rival::Onnxruntime => Some("onnxruntime"),
            Rival::Litert => Some("ai-edge-litert"),
            Rival::Tract | Rival::Rten => None,
        }
    }
}

/// Why a rival cannot be measured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RivalError {
    /// It could not be installed, built or started.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// It refused the model, or gave up.
    #[error("{0}")]
    Failed(String),
    /// It wants a file that is not there.
    #[error("a .tflite file is needed: none lies beside the model; name one with --tflite")]
    NoTflite,
}

/// The files of one model.
#[derive(Clone, Debug)]
pub struct Files {
    /// For all but LiteRT.
    pub onnx: PathBuf,
    /// For LiteRT.
    pub tflite: Option<PathBuf>,
    /// `.npy` files, by input's name, in the model's order; each with its batch axis.
    pub inputs: Vec<(String, PathBuf)>,
}

/// The `.tflite` file beside a model, if there is one: `NAME.tflite`, or `source_int8.tflite` and `source.tflite` as in the model zoo.
pub fn tflite_beside(onnx: &Path) -> Option<PathBuf> {
    let int8 = onnx
        .file_stem()
        .is_some_and(|stem| stem.to_string_lossy().ends_with("int8"));
    let source = if int8 {
        "source_int8.tflite"
    } else {
        "source.tflite"
    };
    [onnx.with_extension("tflite"), onnx.with_file_name(source)]
        .into_iter()
        .find(|path| path.is_file())
}

/// What was measured of one rival.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// Its version, as it says it.
    pub version: String,
    /// Median of its blocks, microseconds an inference.
    pub microseconds: f64,
    /// Ours divided by its: median of the rounds.
    pub ratio: f64,
    /// The same, the tenth and the ninetieth of a hundred rounds.
    pub ratio_spread: [f64; 2],
    /// Whether its first output is greatest where ours is.
    pub same_class: bool,
    /// Greatest difference between its first output and ours, in the output's own numbers (integers where those are integers).
    pub max_difference: f64,
}

/// Ours and the rivals', in one run.
#[derive(Debug)]
pub struct Comparison {
    /// Median of our blocks, microseconds an inference.
    pub microseconds: f64,
    /// In the order asked for.
    pub rivals: Vec<(Rival, Result<Measured, RivalError>)>,
    /// Blocks that each took.
    pub rounds: usize,
    /// Microseconds an inference if all multiply-accumulates ran at the machine's measured peak; `None` where that is not known.
    pub at_peak: Option<f64>,
}

impl Comparison {
    /// The share of the machine's peak that so many microseconds an inference are.
    pub fn share_of_peak(&self, microseconds: f64) -> Option<f64> {
        Some(self.at_peak? / microseconds)
    }

    /// The fastest rival, and ours divided by its.
    pub fn best(&self) -> Option<(Rival, f64)> {
        let measured = self
            .rivals
            .iter()
            .filter_map(|(r, m)| Some((*r, m.as_ref().ok()?)));
        let best = measured.min_by(|a, b| a.1.microseconds.total_cmp(&b.1.microseconds));
        best.map(|(rival, measured)| (rival, measured.ratio))
    }
}

/// Processor time of a block.
const BLOCK: Duration = Duration::from_millis(20);

struct Contender {
    process: Process,
    /// Inferences of a block.
    count: u32,
    /// Microseconds an inference, a block each.
    blocks: Vec<f64>,
}

/// Measures `ours` beside `rivals`, `rounds` blocks each; `output` is our first output. `progress` gets the rounds that are done.
///
/// # Errors
/// Those of `ours`. What goes wrong with a rival is in its place in the result.
pub fn compare<E>(
    files: &Files,
    rivals: &[Rival],
    rounds: usize,
    output: &[f64],
    mut ours: impl FnMut() -> Result<(), E>,
    progress: &dyn Fn(&str),
) -> Result<Comparison, E> {
    let mut contenders: Vec<(Rival, Result<Contender, RivalError>)> = Vec::new();
    for &rival in rivals {
        progress(&format!("starting {}", rival.name()));
        contenders.push((rival, Contender::start(rival, files)));
    }
    let mut count = 1;
    let mut run_ours = |count: u32| -> Result<f64, E> {
        let start = ThreadTime::now();
        for _ in 0..count {
            ours()?;
        }
        Ok(start.elapsed().as_nanos() as f64 / 1000.0 / f64::from(count))
    };
    // Once to warm up, then to see how many make a block.
    for _ in 0..3 {
        count = inferences(run_ours(count)?);
    }
    let mut own = Vec::new();
    for round in 0..rounds {
        progress(&format!("round {} of {rounds}", round + 1));
        own.push(run_ours(count)?);
        for (_, contender) in &mut contenders {
            let result = match contender {
                Ok(contender) => contender.block(),
                Err(_) => continue,
            };
            if let Err(error) = result {
                *contender = Err(error);
            }
        }
    }
    let measured = |contender: Contender| Measured {
        ratio: quantile(&ratios(&own, &contender.blocks), 0.5),
        ratio_spread: [0.1, 0.9].map(|q| quantile(&ratios(&own, &contender.blocks), q)),
        microseconds: quantile(&contender.blocks, 0.5),
        same_class: arg_max(output) == arg_max(&contender.process.output),
        max_difference: difference(output, &contender.process.output),
        version: contender.process.version.clone(),
    };
    Ok(Comparison {
        microseconds: quantile(&own, 0.5),
        rivals: contenders
            .into_iter()
            .map(|(r, c)| (r, c.map(measured)))
            .collect(),
        rounds,
        at_peak: None,
    })
}

impl Contender {
    fn start(rival: Rival, files: &Files) -> Result<Contender, RivalError> {
        let model = match rival {
            Rival::Litert => files.tflite.as_ref().ok_or(RivalError::NoTflite)?,
            _ => &files.onnx,
        };
        let mut process = Process::start(rival, model, &files.inputs)?;
        let mut count = 1;
        for _ in 0..3 {
            count = inferences(process.run(count)?);
        }
        Ok(Contender {
            process,
            count,
            blocks: Vec::new(),
        })
    }

    fn block(&mut self) -> Result<(), RivalError> {
        self.blocks.push(self.process.run(self.count)?);
        Ok(())
    }
}

/// How many inferences of so many microseconds make a block.
fn inferences(microseconds: f64) -> u32 {
    (BLOCK.as_micros() as f64 / microseconds.max(0.1)).clamp(1.0, 1e6) as u32
}

fn ratios(ours: &[f64], theirs: &[f64]) -> Vec<f64> {
    ours.iter().zip(theirs).map(|(a, b)| a / b).collect()
}

/// The value below which a share `q` of the values lies.
fn quantile(values: &[f64], q: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = (sorted.len().saturating_sub(1) as f64 * q).round() as usize;
    sorted.get(at).copied().unwrap_or(f64::NAN)
}

fn arg_max(values: &[f64]) -> Option<usize> {
    let greatest = values.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
    greatest.map(|(index, _)| index)
}

fn difference(a: &[f64], b: &[f64]) -> f64 {
    if a.len() != b.len() {
        return f64::INFINITY;
    }
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_sorted_values() {
        assert_eq!(quantile(&[3.0, 1.0, 2.0], 0.5), 2.0);
        assert_eq!(quantile(&[5.0, 1.0], 0.9), 5.0);
        assert!(quantile(&[], 0.5).is_nan());
    }

    #[test]
    fn the_best_is_the_fastest_that_ran() {
        let measured = |microseconds: f64, ratio: f64| {
            Ok(Measured {
                version: String::new(),
                microseconds,
                ratio,
                ratio_spread: [ratio; 2],
                same_class: true,
                max_difference: 0.0,
            })
        };
        let comparison = Comparison {
            microseconds: 10.0,
            rounds: 1,
            at_peak: Some(2.0),
            rivals: vec![
                (Rival::Tract, measured(20.0, 0.5)),
                (Rival::Litert, measured(8.0, 1.25)),
                (Rival::Rten, Err(RivalError::NoTflite)),
            ],
        };
        assert_eq!(comparison.best(), Some((Rival::Litert, 1.25)));
        assert_eq!(comparison.share_of_peak(8.0), Some(0.25));
    }

    #[test]
    fn blocks_take_their_time() {
        assert_eq!(inferences(20_000.0), 1);
        assert_eq!(inferences(1e9), 1);
        assert_eq!(inferences(20.0), 1000);
    }
}
