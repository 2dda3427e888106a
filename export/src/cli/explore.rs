//! `kinglet explore`.

use super::common;
use super::compress::Shown;
use crate::diagnose::IntoDiagnostic;
use crate::emulate::{self, Emulation};
use crate::explore::page::{self, Searched};
use crate::explore::{Exploration, Limits, Outcome, Progress};
use crate::flash;
use crate::report::terminal_table;
use miette::ensure;
use serde_json::json;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Search recipes for a board: many short trials, the better ones again for longer, and the front of what came of them.
///
/// A trial draws a recipe (low rank, masks, gates, BackSlash, zeros, int8 in coarse steps, RF8 and other eight-bit floats),
/// compresses the model with it, and compiles the result in several forms. The front is what meets the limits and is beaten by
/// nothing in accuracy, flash, RAM and instructions at once. Ctrl-C stops after the step in hand; --resume goes on with the same
/// result as if it had never stopped.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  kinglet explore model.onnx --data cifar10 --board mps2-an386 -o search
  kinglet explore model.onnx --data cifar10 --board mps2-an386 --max-flash 60000 --min-accuracy 84 --trials 60 -o search
  kinglet explore model.onnx --data samples.npz --board nrf52840-dk --epochs 0 -o search   # nothing is trained: minutes
  kinglet explore model.onnx --data cifar10 --board mps2-an386 -o search --resume")]
pub(super) struct Args {
    /// The model: a trained float .onnx file.
    model: PathBuf,
    /// The dataset: a folder, an .npz file, or a name in the model zoo's `datasets`.
    #[arg(long, value_name = "DATASET")]
    data: PathBuf,
    /// The board; `kinglet boards` lists them. Its flash and RAM are limits, too.
    #[arg(long)]
    board: String,
    /// Where everything is kept: the journal, models, the front, the report.
    #[arg(short, long, value_name = "FOLDER")]
    output: PathBuf,
    /// Most bytes of RAM: arena and stack.
    #[arg(long, value_name = "BYTES")]
    max_ram: Option<u64>,
    /// Most bytes of flash for the plan.
    #[arg(long, value_name = "BYTES")]
    max_flash: Option<u64>,
    /// Most instructions of an inference.
    #[arg(long, value_name = "N")]
    max_instructions: Option<u64>,
    /// Least accuracy on the held-out samples.
    #[arg(long, value_name = "PERCENT")]
    min_accuracy: Option<f64>,
    /// Trials of the first round.
    #[arg(long, default_value_t = 24, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    trials: u16,
    /// Rounds: each repeats the better third of the one before with three times the epochs.
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=6))]
    rounds: u8,
    /// Epochs of each training in the first round; 0 for no training at all.
    #[arg(long, default_value_t = 2, value_name = "N")]
    epochs: u16,
    /// No trial begins after so many minutes; --resume goes on.
    #[arg(long, value_name = "MINUTES")]
    time: Option<f64>,
    /// Mirror half of the training samples.
    #[arg(long)]
    flip: bool,
    /// Pad training samples by so many pixels and cut the original size out at random.
    #[arg(long, default_value_t = 0, value_name = "PIXELS")]
    crop: usize,
    /// Samples a step.
    #[arg(long, default_value_t = 128, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    batch: u16,
    /// How bytes become reals. Centred is what an int8 input with scale 1/64 means.
    #[arg(long, value_enum, default_value_t = crate::data::Scaling::Centered)]
    pixels: crate::data::Scaling,
    /// Use only the first so many training samples.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Threads; all cores by default. The result does not depend on it.
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    threads: usize,
    /// Seed of everything random.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Go on with what the folder has.
    #[arg(long)]
    resume: bool,
    /// Count the front's instructions in the emulator, with firmware's code and stack.
    #[arg(long)]
    emulate: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: Args) -> miette::Result<()> {
    let board = flash::any_board(&args.board).into_diagnostic()?;
    ensure!(
        args.time.is_none_or(|m| m > 0.0 && m.is_finite()),
        "--time must be positive"
    );
    ensure!(
        args.min_accuracy.is_none_or(|a| (0.0..=100.0).contains(&a)),
        "--min-accuracy is a percentage, 0 to 100"
    );
    if args.emulate {
        emulate::board(&args.board).into_diagnostic()?;
    }
    common::use_threads(args.threads)?;
    let data = common::open_dataset(&args.data, args.limit)?;
    let stop = common::stop_on_interrupt()?;
    let fits = |limit: Option<u64>, most: usize| Some(limit.unwrap_or(u64::MAX).min(most as u64));
    let limits = Limits {
        flash: fits(args.max_flash, board.flash_len),
        ram: fits(args.max_ram, board.ram_len),
        instructions: args.max_instructions,
        accuracy: args.min_accuracy.map(|percent| percent / 100.0),
    };
    let time = args
        .time
        .map(|minutes| Duration::from_secs_f64(60.0 * minutes));
    let search = Exploration {
        model: &args.model,
        data,
        scaling: args.pixels,
        board,
        limits,
        trials: args.trials.into(),
        rounds: args.rounds.into(),
        epochs: args.epochs.into(),
        flip: args.flip,
        crop: args.crop,
        batch: args.batch.into(),
        seed: args.seed,
        folder: &args.output,
        resume: args.resume,
        until: time.map(|time| Instant::now() + time),
        stop: &stop,
    };
    let searched = Searched::from(&search);
    let mut shown = Shown::default();
    let outcome = search
        .run(&mut |progress| match progress {
            Progress::Begin { number, of, what } => eprintln!("trial {number} of {of}: {what}"),
            Progress::Recipe(event) => shown.show(event),
            Progress::Done(trial) => match (&trial.failure, trial.points.first()) {
                (Some(failure), _) => eprintln!("  failed: {failure}"),
                (None, Some(point)) => eprintln!(
                    "  held out {:.2} %, {} plans",
                    100.0 * point.costs.accuracy,
                    trial.points.len()
                ),
                (None, None) => {}
            },
        })
        .into_diagnostic()?;
    let counted = match args.emulate {
        true => count(&args.board, &outcome)?,
        false => Vec::new(),
    };
    let path = args.output.join("report.html");
    let model = args.model.file_stem().unwrap_or_default();
    let title = format!("{}: recipes for {}", model.display(), board.name);
    page::page(&title, &searched, &outcome, &counted)
        .write(&path)
        .into_diagnostic()?;
    print(&args, &searched, &outcome, &counted);
    // Time that is up is no interruption: it was asked for.
    common::end(outcome.finished || !stop.load(std::sync::atomic::Ordering::Relaxed))
}

/// Runs the front's plans as firmware.
fn count(board: &str, outcome: &Outcome) -> miette::Result<Vec<Emulation>> {
    let board = emulate::board(board).into_diagnostic()?;
    let run = |member: &crate::explore::Member| {
        let plan = crate::model::Model::open(
            &member.stem.with_extension("kinglet"),
            &crate::onnx::LoadOptions::default(),
            &crate::compile::CompileOptions::default(),
        );
        common::emulate_once(&plan.into_diagnostic()?, board)
    };
    outcome.front.iter().map(run).collect()
}

fn print(args: &Args, searched: &Searched, outcome: &Outcome, counted: &[Emulation]) {
    if args.json {
        let member = |(i, m): (usize, &crate::explore::Member)| {
            let run = counted.get(i);
            json!({
                "recipe": m.stem.with_extension("toml"),
                "model": m.stem.with_extension("onnx"),
                "plan": m.stem.with_extension("kinglet"),
                "what": m.trial.what,
                "round": m.trial.round + 1,
                "candidate": m.trial.candidate,
                "form": m.point.form.to_string(),
                "accuracy": m.point.costs.accuracy,
                "test_accuracy": m.test_accuracy,
                "flash_bytes": m.point.costs.flash,
                "ram_bytes": m.point.costs.ram,
                "instructions": m.point.costs.instructions,
                "counted": run.map(|run| json!({
                    "instructions": run.instructions.first(),
                    "flash_bytes": run.flash_bytes,
                    "ram_bytes": run.ram_bytes(),
                })),
            })
        };
        let front: Vec<_> = outcome.front.iter().enumerate().map(member).collect();
        common::print_json(&json!({
            "board": searched.board,
            "target": searched.target,
            "limits": searched.limits,
            "finished": outcome.finished,
            "trials": outcome.trials.len(),
            "failed": outcome.trials.iter().filter(|t| t.failure.is_some()).count(),
            "held_out": outcome.held_out,
            "front": front,
        }));
        return;
    }
    if outcome.front.is_empty() {
        println!(
            "nothing meets the limits: {}",
            page::wanted(&searched.limits)
        );
    } else {
        let rows = page::rows(&outcome.front);
        println!("{}", terminal_table(&page::HEADERS, &rows));
    }
    if !counted.is_empty() {
        let rows = page::counted_rows(&outcome.front, counted);
        println!("{}", terminal_table(&page::COUNTED, &rows));
    }
    println!("wrote {}", args.output.join("report.html").display());
    if !outcome.finished {
        println!(
            "stopped after {} trials; go on with --resume",
            outcome.trials.len()
        );
    }
}
