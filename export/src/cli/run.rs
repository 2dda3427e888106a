//! `kinglet run`.

use super::common::{self, ModelArgs};
use crate::compile::Target;
use crate::diagnose::IntoDiagnostic;
use crate::samples;
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// Run a model on this machine: every row of the input is one inference.
///
/// An int8 model gives the same bytes here as on a device.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  kinglet run model.onnx --input in.npy --output out.npy
  kinglet run model.onnx --input many.npy --output out.npy --threads 4
  kinglet run two.kinglet --input a=a.npy --input b=b.npz:b --output results/")]
pub(super) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// Input tensor (.npy, .npz or FILE.npz:ARRAY) with a leading sample axis; NAME=FILE for several inputs.
    #[arg(long, value_name = "[NAME=]FILE", required = true)]
    input: Vec<String>,
    /// Where the output goes: a .npy file, or a folder when there are several outputs.
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// Threads that share the samples; the outputs are the same for any number. Models with states run on one.
    #[arg(long, default_value = "1")]
    threads: NonZeroUsize,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: Args) -> miette::Result<()> {
    let model = args.model.open(Target::Host)?;
    let mut runner = model.runner().into_diagnostic()?;
    let samples =
        samples::read(&runner.plan().into_diagnostic()?, &args.input).into_diagnostic()?;
    common::doubt_scaling(&model, &samples.rows);
    let progress = common::spinner();
    progress.set_message(format!("{}: {} inferences", model.name, samples.rows.len()));
    let rows: Vec<&[u8]> = samples.rows.iter().map(Vec::as_slice).collect();
    let outputs = runner
        .run_on_threads(&rows, args.threads)
        .into_diagnostic()?;
    progress.finish_and_clear();
    let plan = runner.plan().into_diagnostic()?;
    let written =
        samples::write(&plan, &outputs, samples.keeps_batch, &args.output).into_diagnostic()?;
    if args.json {
        let outputs: Vec<_> = written
            .iter()
            .map(|(name, file, shape)| serde_json::json!({ "name": name, "file": file, "shape": shape }))
            .collect();
        common::print_json(&serde_json::json!({
            "model": model.name,
            "samples": samples.rows.len(),
            "arena_bytes": plan.arena_len(),
            "plan_bytes": plan.core_len(),
            "outputs": outputs,
        }));
    } else {
        for (name, file, shape) in written {
            println!("{name} {shape:?} -> {}", file.display());
        }
    }
    Ok(())
}
