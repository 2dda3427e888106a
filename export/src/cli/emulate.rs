//! `kinglet emulate`.

use super::app;
use super::common::{self, ModelArgs, grouped};
use crate::diagnose::IntoDiagnostic;
use crate::emulate::{self, App, Mode, Request};
use crate::report::terminal_table;
use crate::samples;
use miette::bail;
use serde_json::json;
use std::path::PathBuf;

/// Run a model as firmware on an emulated board: the same bytes as on this machine, with exact instruction counts.
///
/// Builds the board's firmware with the model linked in, runs every row of the input in QEMU, and reports flash, RAM,
/// stack and executed instructions (model code only; not cycles).
#[derive(clap::Args)]
#[command(after_help = "Examples:
  kinglet emulate model.onnx --board mps2-an386 --input in.npy --output out.npy
  kinglet emulate kws.onnx --app keywords --input clip.wav")]
pub(super) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// The board; `kinglet boards` lists them. The model is compiled for its core.
    #[arg(long, default_value = emulate::DEFAULT_BOARD)]
    board: String,
    /// Input tensor with a leading sample axis; NAME=FILE for several inputs.
    #[arg(long, value_name = "[NAME=]FILE", required = true)]
    input: Vec<String>,
    /// Where the output goes: a .npy file, or a folder when there are several outputs.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Run an application of boards/apps instead, on recordings: each --input is a .wav file (keywords), a .npy array
    /// [measurements, 6] of counts (activity) or an image (images).
    #[arg(long, value_enum, conflicts_with_all = ["output", "loaded"])]
    app: Option<App>,
    /// With --app images: what a byte stands for, b · FACTOR + OFFSET.
    #[arg(long, value_name = "FACTOR,OFFSET", value_parser = parse_view, default_value = "1,0")]
    pixels: (f32, f32),
    /// Load the plan at run time, as an update over the air does, instead of linking it in.
    #[arg(long)]
    loaded: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

fn parse_view(text: &str) -> Result<(f32, f32), String> {
    let (factor, offset) = text.split_once(',').ok_or("expected FACTOR,OFFSET")?;
    let number = |text: &str| {
        text.trim()
            .parse::<f32>()
            .map_err(|e| format!("{text}: {e}"))
    };
    Ok((number(factor)?, number(offset)?))
}

pub(super) fn run(args: Args) -> miette::Result<()> {
    if let Some(kind) = args.app {
        return app::run(
            kind,
            &args.model,
            &args.board,
            &args.input,
            args.pixels,
            args.json,
        );
    }
    let board = emulate::board(&args.board).into_diagnostic()?;
    let model = args.model.open(board.plan_target)?;
    let runner = model.runner().into_diagnostic()?;
    let plan = runner.plan().into_diagnostic()?;
    let samples = samples::read(&plan, &args.input).into_diagnostic()?;
    common::doubt_scaling(&model, &samples.rows);
    let request = Request {
        board,
        plan: &model.plan,
        samples: &samples.rows,
        mode: Mode::Run,
        loaded: args.loaded,
    };
    let progress = common::spinner();
    let result = emulate::emulate(&request, &|text| progress.set_message(text.to_owned()))
        .into_diagnostic()?;
    progress.finish_and_clear();
    if let Some(output) = &args.output {
        let outputs: Vec<Vec<Vec<u8>>> = result
            .outputs
            .iter()
            .map(|bytes| common::split_outputs(&plan, bytes))
            .collect();
        samples::write(&plan, &outputs, samples.keeps_batch, output).into_diagnostic()?;
    }
    let instructions = common::median(&result.instructions);
    let compiled = model.compiled.as_ref();
    let predicted = compiled.and_then(|c| c.instructions);
    // A firmware that loads plans has frames of its own.
    let bound = compiled
        .filter(|_| !args.loaded)
        .and_then(|c| c.stack_bound);
    if let Some(bound) = bound.filter(|bound| result.stack_peak_bytes > *bound) {
        bail!(
            "the stack reached {} bytes, the compiler said {bound} at most: a defect of its table, please report this",
            result.stack_peak_bytes
        );
    }
    if args.json {
        common::print_json(&json!({
            "board": board.name,
            "model": model.name,
            "samples": samples.rows.len(),
            "instructions": instructions,
            "instructions_each": result.instructions,
            "instructions_predicted": predicted,
            "macs": model.macs(),
            "flash_bytes": result.flash_bytes,
            "plan_bytes": result.plan_bytes,
            "code_bytes": result.code_bytes,
            "arena_bytes": result.arena_bytes,
            "static_ram_bytes": result.static_ram_bytes,
            "stack_peak_bytes": result.stack_peak_bytes,
            "stack_bound_bytes": bound,
            "log": result.log,
        }));
        return Ok(());
    }
    let bytes = |n: u64| format!("{} bytes", grouped(n));
    let mut rows = vec![
        vec!["inferences".to_owned(), samples.rows.len().to_string()],
        vec![
            "instructions an inference (median)".into(),
            grouped(instructions),
        ],
    ];
    if let Some(predicted) = predicted {
        rows.push(vec![
            "  the compiler's prediction".into(),
            grouped(predicted),
        ]);
    }
    let macs = model.macs();
    rows.push(vec!["multiply-accumulates".into(), grouped(macs)]);
    rows.push(vec![
        "instructions per multiply".into(),
        format!("{:.3}", instructions as f64 / macs.max(1) as f64),
    ]);
    rows.extend([
        vec!["flash".into(), bytes(result.flash_bytes)],
        vec!["  plan".into(), bytes(result.plan_bytes)],
        vec!["  code".into(), bytes(result.code_bytes)],
        vec!["arena".into(), bytes(result.arena_bytes)],
        vec![
            "static RAM without the arena".into(),
            bytes(result.static_ram_bytes),
        ],
        vec!["stack peak".into(), bytes(result.stack_peak_bytes)],
    ]);
    if let Some(bound) = bound {
        rows.push(vec!["  the compiler's bound".into(), bytes(bound)]);
    }
    println!("{}", terminal_table(&[&model.name, board.name], &rows));
    Ok(())
}
