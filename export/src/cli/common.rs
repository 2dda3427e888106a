//! What several commands share: the model argument, progress and printing.

use crate::compile::{CompileOptions, Rounding, StoredWeights, Target, Tiling};
use crate::data::{self, Dataset, Scaling};
use crate::diagnose::{self, IntoDiagnostic, print_warning};
use crate::emulate::{self, Board, Emulation, Mode, Request};
use crate::graph::Graph;
use crate::model::Model;
use crate::onnx::LoadOptions;
use crate::passes::Warning;
pub(super) use crate::report::grouped;
use crate::samples;
use crate::train::trainer::Report;
use indicatif::{ProgressBar, ProgressStyle};
use kinglet::Plan;
use miette::ensure;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A model and how to read it.
#[derive(clap::Args)]
pub(super) struct ModelArgs {
    /// The model: an .onnx or .tflite file or a .kinglet plan.
    pub(super) model: PathBuf,
    /// Shape of an input whose dimensions the file leaves open, or size of a symbolic dimension (an open batch alone needs
    /// none).
    #[arg(long, alias = "input-shape", value_name = "NAME=1x3x32x32", value_parser = parse_shape)]
    pub(super) shape: Vec<(String, Vec<usize>)>,
    /// An input that holds an output's value from one run to the next, as INPUT=OUTPUT; it begins with zeroes.
    #[arg(long, value_name = "INPUT=OUTPUT", value_parser = parse_state)]
    pub(super) state: Vec<(String, String)>,
    /// How int8 results are rounded.
    #[arg(long, value_enum, default_value_t)]
    pub(super) rounding: Rounding,
}

/// What models that are only looked at are compiled for, and how.
#[derive(clap::Args)]
pub(super) struct BuildArgs {
    /// What to compile for.
    #[arg(long, value_enum, default_value = "cortex-m4f")]
    pub(super) target: Target,
    /// Emulated board on which everything is measured; models are compiled for its core.
    #[arg(long, conflicts_with = "target")]
    pub(super) board: Option<String>,
    /// Which chains of steps run by bands of rows.
    #[arg(long, value_enum, default_value_t)]
    tile: Tiling,
    /// How int8 layers' weights are stored.
    #[arg(long, value_enum, default_value_t)]
    weights: StoredWeights,
}

impl BuildArgs {
    /// The board that was named, if any.
    pub(super) fn board(&self) -> miette::Result<Option<&'static Board>> {
        let board = self.board.as_deref().map(emulate::board).transpose();
        board.into_diagnostic()
    }

    /// For the board, or the target where there is none.
    pub(super) fn options(&self, board: Option<&Board>, rounding: Rounding) -> CompileOptions {
        CompileOptions {
            target: board.map_or(self.target, |board| board.plan_target),
            tiling: self.tile,
            weights: self.weights,
            rounding,
            ..CompileOptions::default()
        }
    }
}

/// Runs a model once as firmware, on seeded random numbers, with a sign of life.
pub(super) fn emulate_once(model: &Model, board: &'static Board) -> miette::Result<Emulation> {
    let runner = model.runner().into_diagnostic()?;
    let sample = samples::random(&runner.plan().into_diagnostic()?);
    let request = Request {
        board,
        plan: &model.plan,
        samples: &[sample],
        mode: Mode::Run,
        loaded: false,
    };
    let progress = spinner();
    let run = emulate::emulate(&request, &|text| progress.set_message(text.to_owned()));
    progress.finish_and_clear();
    run.into_diagnostic()
}

impl ModelArgs {
    pub(super) fn load_options(&self) -> LoadOptions {
        LoadOptions {
            input_shapes: self.shape.clone(),
            states: self.state.clone(),
            ..LoadOptions::default()
        }
    }

    /// Opens (and what is no plan compiles, for `target`) the model and prints its warnings to stderr.
    pub(super) fn open(&self, target: Target) -> miette::Result<Model> {
        let options = CompileOptions {
            target,
            rounding: self.rounding,
            ..CompileOptions::default()
        };
        let model = Model::open(&self.model, &self.load_options(), &options).into_diagnostic()?;
        ensure!(
            self.rounding == Rounding::Kinglet || model.graph.is_some(),
            "{} is a plan, which has its rounding: compile the model with --rounding tflite",
            self.model.display()
        );
        print_warnings(&model.warnings);
        doubt_weights(model.graph.as_ref());
        Ok(model)
    }
}

fn parse_state(text: &str) -> Result<(String, String), String> {
    let (input, output) = text.split_once('=').ok_or("expected INPUT=OUTPUT")?;
    Ok((input.to_owned(), output.to_owned()))
}

pub(super) fn parse_shape(text: &str) -> Result<(String, Vec<usize>), String> {
    let (name, dims) = text.rsplit_once('=').ok_or("expected NAME=1x3x32x32")?;
    let dims = dims
        .split(['x', ','])
        .map(|d| d.trim().parse::<usize>().map_err(|e| format!("{d}: {e}")));
    Ok((name.to_owned(), dims.collect::<Result<_, _>>()?))
}

/// Warnings go to stderr: stdout is for results.
pub(super) fn print_warnings(warnings: &[Warning]) {
    for w in warnings {
        eprintln!("warning: node `{}` ({}): {}", w.node, w.op, w.message);
    }
}

/// Warns of weights that are no numbers.
pub(super) fn doubt_weights(graph: Option<&Graph>) {
    if let Some((tensor, diagnosis)) = graph.and_then(diagnose::weights) {
        print_warning(&format!("the weight `{tensor}` holds NaN"), &diagnosis);
    }
}

/// Warns of inputs that are scaled in another way than those that the model was calibrated with.
pub(super) fn doubt_scaling(model: &Model, rows: &[Vec<u8>]) {
    let doubt = model
        .graph
        .as_ref()
        .and_then(|g| diagnose::scaling(g, rows));
    if let Some((what, diagnosis)) = doubt {
        print_warning(&what, &diagnosis);
    }
}

/// One JSON object on stdout.
pub(super) fn print_json(value: &serde_json::Value) {
    println!("{value:#}");
}

/// A line that shows what is going on, on stderr and only on a terminal.
pub(super) fn spinner() -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {msg} ({elapsed})");
    let bar = ProgressBar::new_spinner()
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

/// What a recipe is run on.
#[derive(clap::Args)]
pub(super) struct RunArgs {
    /// The dataset: a folder, an .npz file, or a name in the model zoo's `datasets`.
    #[arg(long, value_name = "DATASET")]
    pub(super) data: PathBuf,
    /// Factor of all trainings' epochs, for quick tries; no training has fewer than one.
    #[arg(long, default_value_t = 1.0, value_name = "FACTOR")]
    pub(super) epochs_scale: f64,
    /// How bytes become reals. Centred is what an int8 input with scale 1/64 means.
    #[arg(long, value_enum, default_value_t = Scaling::Centered)]
    pub(super) pixels: Scaling,
    /// Use only the first so many training samples.
    #[arg(long, value_name = "N")]
    pub(super) limit: Option<usize>,
    /// Threads; all cores by default. The result does not depend on it.
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    pub(super) threads: usize,
}

impl RunArgs {
    /// Refuses what no run can have.
    pub(super) fn check(&self) -> miette::Result<()> {
        ensure!(
            self.epochs_scale > 0.0 && self.epochs_scale.is_finite(),
            "--epochs-scale must be positive, not {}",
            self.epochs_scale
        );
        Ok(())
    }

    /// Takes the threads and reads the data.
    pub(super) fn start(&self) -> miette::Result<Dataset> {
        use_threads(self.threads)?;
        open_dataset(&self.data, self.limit)
    }
}

/// Reads a dataset, of which the first so many training samples are wanted.
pub(super) fn open_dataset(path: &Path, limit: Option<usize>) -> miette::Result<Dataset> {
    let spinner = spinner();
    spinner.set_message(format!("reading {}", path.display()));
    let mut data = data::open(path).into_diagnostic()?;
    if let Some(limit) = limit {
        data.limit(limit);
    }
    spinner.finish_and_clear();
    Ok(data)
}

/// Lets the global pool have so many threads; 0 leaves it all cores.
pub(super) fn use_threads(threads: usize) -> miette::Result<()> {
    if threads > 0 {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build_global()
            .into_diagnostic()?;
    }
    Ok(())
}

/// Set by the first Ctrl-C (or a request to end); the second ends the process at once.
pub(super) fn stop_on_interrupt() -> miette::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    let handler = move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(INTERRUPTED);
        }
    };
    ctrlc::set_handler(handler).into_diagnostic()?;
    Ok(stop)
}

/// Exit code of what was interrupted, as shells have it: 128 + SIGINT.
const INTERRUPTED: i32 = 130;

/// The end of a command that [`stop_on_interrupt`] may have stopped, after it has said so.
pub(super) fn end(finished: bool) -> miette::Result<()> {
    if !finished {
        std::process::exit(INTERRUPTED);
    }
    Ok(())
}

/// A training's progress: a bar on a terminal, a line an epoch everywhere.
pub(super) struct StepBar {
    bar: ProgressBar,
    steps: usize,
}

impl StepBar {
    pub(super) fn new(steps: usize, epochs: usize) -> Self {
        let style = ProgressStyle::with_template(
            "{wide_bar} {pos}/{len} {per_sec}, {eta_precise} left\n{msg}",
        );
        let bar = ProgressBar::new((steps * epochs) as u64)
            .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        StepBar { bar, steps }
    }

    pub(super) fn show(&self, report: Report<'_>) {
        match report {
            Report::Step { at, loss, accuracy } => {
                self.bar
                    .set_position((at.epoch * self.steps + at.step) as u64);
                self.bar.set_message(format!(
                    "epoch {}/{}, loss {loss:.3}, {:.1} %",
                    at.epoch + 1,
                    at.epochs,
                    100.0 * accuracy
                ));
            }
            Report::Epoch(m) => {
                let line = format!(
                    "epoch {:>3}  loss {:.4}  training {:>6.2} %  test {:>6.2} %  {:.1} s",
                    m.epoch,
                    m.loss,
                    100.0 * m.accuracy,
                    100.0 * m.test_accuracy,
                    m.seconds
                );
                // Without a terminal there is no bar to print above.
                match self.bar.is_hidden() {
                    true => eprintln!("{line}"),
                    false => self.bar.println(line),
                }
            }
        }
    }

    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

/// The middle of `values`, the lower of two; 0 for none.
pub(super) fn median(values: &[u64]) -> u64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted
        .get(sorted.len().saturating_sub(1) / 2)
        .copied()
        .unwrap_or(0)
}

/// The outputs of one inference, which the firmware writes back to back.
pub(super) fn split_outputs(plan: &Plan<'_>, bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut rest = bytes;
    let lens = (0..plan.output_count())
        .filter_map(|i| plan.output(i))
        .map(|info| info.len);
    lens.map_while(|len| {
        let (output, tail) = rest.split_at_checked(len)?;
        rest = tail;
        Some(output.to_vec())
    })
    .collect()
}

/// Exporters write names of a hundred characters; the end says most.
pub(super) fn shorten(name: &str) -> String {
    let count = name.chars().count();
    if count <= 40 {
        name.into()
    } else {
        format!("…{}", name.chars().skip(count - 39).collect::<String>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_parsed_from_the_last_equals_sign() {
        assert_eq!(parse_shape("a=b=1,3"), Ok(("a=b".into(), vec![1, 3])));
        assert!(parse_shape("a").is_err() && parse_shape("a=1,x").is_err());
    }

    #[test]
    fn digits_are_grouped() {
        assert_eq!(
            [grouped(7), grouped(2_656_768), grouped(100_000)],
            ["7", "2,656,768", "100,000"]
        );
    }

    #[test]
    fn long_names_keep_their_end() {
        let short = shorten(&format!("{}é-end", "x".repeat(100)));
        assert!(short.chars().count() == 40 && short.starts_with('…') && short.ends_with("é-end"));
    }

    #[test]
    fn the_median_of_an_even_number_is_the_lower_middle() {
        assert_eq!(
            (median(&[]), median(&[3]), median(&[4, 1, 3, 2])),
            (0, 3, 2)
        );
    }
}
