//! `kinglet bench`.

use super::against;
use super::common::{self, ModelArgs, grouped};
use super::host;
use super::profile::profile;
use crate::compile::Target;
use crate::diagnose::IntoDiagnostic;
use crate::emulate::{self, Board, Mode, Request};
use crate::model::Model;
use crate::report::{Report, terminal_table};
use crate::rivals::Rival;
use crate::samples;
use serde_json::json;
use std::path::PathBuf;

/// Measure a model: executed instructions on an emulated board, or time on this machine.
///
/// Instructions are exact and repeatable, so two versions can be compared; they are not cycles. Times on this machine
/// are medians and depend on what else it does.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  kinglet bench model.onnx --board mps2-an386 --profile
  kinglet bench model.onnx --host --runs 200
  kinglet bench model.onnx --host --profile
  kinglet bench model_int8.onnx --host --against onnxruntime,litert,tract,rten")]
pub(super) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// Emulated board; without it, this machine is timed.
    #[arg(long)]
    board: Option<String>,
    /// Time this machine, as without --board.
    #[arg(long, conflicts_with = "board")]
    host: bool,
    /// Other runtimes to measure beside ours, in one run, on one thread; those on PyPI are installed into the cache once (KINGLET_RIVALS_PYTHON names another Python).
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        value_name = "RIVAL",
        conflicts_with = "board"
    )]
    against: Vec<Rival>,
    /// The model as LiteRT takes it; by default the .tflite file beside it.
    #[arg(long, value_name = "FILE", requires = "against")]
    tflite: Option<PathBuf>,
    /// What every node takes: instructions with --board, else time on this machine. The bands of a node that runs by bands are added up.
    #[arg(long, conflicts_with = "against")]
    profile: bool,
    /// Input tensor; seeded random numbers without it.
    #[arg(long, value_name = "[NAME=]FILE")]
    input: Vec<String>,
    /// Inferences to time on this machine; with --against, blocks of 20 ms of each runtime.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Write a self-contained HTML report.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: Args) -> miette::Result<()> {
    let board = args.board.as_deref().map(emulate::board).transpose();
    let board = board.into_diagnostic()?;
    let target = board.map_or(Target::Host, |board| board.plan_target);
    let model = args.model.open(target)?;
    let runner = model.runner().into_diagnostic()?;
    let plan = runner.plan().into_diagnostic()?;
    let samples = if args.input.is_empty() {
        vec![samples::random(&plan)]
    } else {
        samples::read(&plan, &args.input).into_diagnostic()?.rows
    };
    match board {
        Some(board) => on_board(&args, &model, board, &samples),
        None if !args.against.is_empty() => {
            let rivals = against::Args {
                model: &args.model.model,
                rivals: &args.against,
                tflite: args.tflite.as_deref(),
                rounds: args.runs as usize,
                report: args.report.as_deref(),
                json: args.json,
            };
            against::run(&rivals, &model, &samples)
        }
        None => {
            let host = host::Args {
                runs: args.runs,
                profile: args.profile,
                report: args.report.as_deref(),
                json: args.json,
            };
            host::run(&host, &model, &samples)
        }
    }
}

fn on_board(args: &Args, model: &Model, board: &Board, samples: &[Vec<u8>]) -> miette::Result<()> {
    let mode = if args.profile {
        Mode::Profile
    } else {
        Mode::Run
    };
    let request = Request {
        board,
        plan: &model.plan,
        samples,
        mode,
        loaded: false,
    };
    let progress = common::spinner();
    let result = emulate::emulate(&request, &|text| progress.set_message(text.to_owned()))
        .into_diagnostic()?;
    progress.finish_and_clear();
    let steps = match args.profile {
        true => profile(model, &result.step_instructions),
        false => Vec::new(),
    };
    let instructions = common::median(&result.instructions);
    let total = steps.iter().map(|s| s.cost).sum::<u64>().max(1);
    let rows: Vec<Vec<String>> = steps
        .iter()
        .map(|s| {
            vec![
                s.first.to_string(),
                s.count.to_string(),
                common::shorten(&s.name),
                s.operator.to_owned(),
                grouped(s.macs),
                grouped(s.cost),
                s.predicted.map_or_else(|| "-".into(), grouped),
                if s.macs > 0 {
                    format!("{:.3}", s.cost as f64 / s.macs as f64)
                } else {
                    "-".into()
                },
                format!("{:.1} %", 100.0 * s.cost as f64 / total as f64),
            ]
        })
        .collect();
    let headers = [
        "step",
        "steps",
        "node",
        "operator",
        "MACs",
        "instructions",
        "predicted",
        "per MAC",
        "share",
    ];
    if let Some(path) = &args.report {
        let mut report = Report::new(&format!("{} on {}", model.name, board.name));
        report.paragraph(&format!(
            "Executed instructions of one inference: {} (median of {}). Counted by the emulator; not cycles.",
            grouped(instructions),
            result.instructions.len()
        ));
        if args.profile {
            let bars: Vec<(String, f64)> = steps
                .iter()
                .map(|s| (format!("{} {}", s.first, s.operator), s.cost as f64))
                .collect();
            report.bar_chart("Instructions of each node", &bars);
            report.table("Nodes", &headers, &rows);
        }
        report.write(path).into_diagnostic()?;
    }
    if args.json {
        let each: Vec<_> = steps.iter().map(|s| json!({
            "name": s.name, "operator": s.operator, "macs": s.macs, "instructions": s.cost,
            "instructions_predicted": s.predicted, "first_step": s.first, "step_count": s.count,
        })).collect();
        common::print_json(&json!({
            "model": model.name,
            "board": board.name,
            "samples": samples.len(),
            "instructions": instructions,
            "macs": model.macs(),
            "steps": each,
        }));
        return Ok(());
    }
    if args.profile {
        println!("{}", terminal_table(&headers, &rows));
    }
    print!(
        "{}: {} instructions an inference on {}",
        model.name,
        grouped(instructions),
        board.name
    );
    match model.macs() {
        0 => println!(),
        macs => println!(", {:.3} per MAC", instructions as f64 / macs as f64),
    }
    Ok(())
}
