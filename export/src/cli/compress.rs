//! `kinglet compress`.

use super::common::{self, RunArgs, StepBar};
use crate::compress::recipe::Recipe;
use crate::compress::report as layers;
use crate::compress::run::{Event, Job, Outcome, RELATIVE_STEP, Record, curves};
use crate::diagnose::IntoDiagnostic;
use crate::limits;
use crate::model::load_graph;
use crate::onnx::LoadOptions;
use crate::report::{Report, terminal_table};
use crate::train::trainer::Report as Training;
use miette::miette;
use serde_json::json;
use std::path::{Path, PathBuf};

/// Compress a model as a recipe says: train, mask, split, shrink, prune and quantise, stage after stage.
///
/// The model after every stage is evaluated on the test samples and kept beside the checkpoints. Ctrl-C stops after the
/// step in hand; --resume goes on with the same result as if it had never stopped. Recipes are explained in
/// docs/methods/recipes.md.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  kinglet compress resnet8.onnx --data cifar10 --recipe low-rank.toml -o small.onnx
  kinglet compress resnet8.onnx --data cifar10 --recipe low-rank.toml -o small.onnx --epochs-scale 0.1 --report small.html
  kinglet compress resnet8.onnx --data cifar10 --recipe low-rank.toml -o small.onnx --resume")]
pub(super) struct Args {
    /// The model: a float .onnx file.
    model: PathBuf,
    #[command(flatten)]
    run: RunArgs,
    /// The recipe, a .toml file.
    #[arg(long, value_name = "FILE")]
    recipe: PathBuf,
    /// Where the compressed model goes.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Where stages' models, checkpoints and the record are kept; beside the output by default.
    #[arg(long, value_name = "FOLDER")]
    checkpoint: Option<PathBuf>,
    /// Go on with what the checkpoint folder has.
    #[arg(long)]
    resume: bool,
    /// Instead of the recipe's seed.
    #[arg(long)]
    seed: Option<u64>,
    /// Write an HTML report of stages and layers.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: Args) -> miette::Result<()> {
    args.run.check()?;
    let name = args.recipe.display().to_string();
    let text = limits::read_text(&args.recipe, limits::TEXT_BYTES)
        .map_err(|e| miette!("cannot read the recipe {name}: {e}"))?;
    let recipe = Recipe::parse(&text, &name)?;
    let data = args.run.start()?;
    let folder = args.checkpoint.clone();
    let folder = folder.unwrap_or_else(|| args.output.with_extension("compress"));
    let stop = common::stop_on_interrupt()?;
    let mut shown = Shown::default();
    let outcome = Job {
        recipe: &recipe,
        model: &args.model,
        data: &data,
        scaling: args.run.pixels,
        output: &args.output,
        folder: &folder,
        resume: args.resume,
        seed: args.seed,
        epochs_scale: args.run.epochs_scale,
        stop: &stop,
        report: &mut |event| shown.show(event),
    }
    .run()?;
    if let (Some(path), true) = (&args.report, outcome.finished) {
        write_report(&outcome.record, &folder, &args.output, path)?;
    }
    print(&args, &recipe, &data.name, &outcome);
    common::end(outcome.finished)
}

/// What a recipe does, on stderr.
#[derive(Default)]
pub(super) struct Shown {
    bar: Option<StepBar>,
}

impl Shown {
    pub(super) fn show(&mut self, event: Event<'_>) {
        match event {
            Event::Stage { number, of, kind } => eprintln!("stage {number} of {of}: {kind}"),
            Event::Training {
                key,
                epochs,
                steps,
                report,
            } => {
                let bar = self.bar.get_or_insert_with(|| {
                    eprintln!("  {key}: {epochs} epochs");
                    StepBar::new(steps, epochs)
                });
                bar.show(report);
                if let Training::Epoch(m) = report
                    && m.epoch == epochs
                    && let Some(bar) = self.bar.take()
                {
                    bar.clear();
                }
            }
            Event::Done(stage) => {
                for warning in &stage.warnings {
                    eprintln!("warning: {}: {warning}", stage.kind);
                }
                eprintln!("  test {:.2} %", 100.0 * stage.figures.accuracy);
            }
        }
    }
}

fn write_report(record: &Record, folder: &Path, output: &Path, path: &Path) -> miette::Result<()> {
    let mut report = Report::new(&format!("{}: {}", record.recipe, output.display()));
    report.paragraph(&format!(
        "Weights that are floats are coded at a step of {RELATIVE_STEP} deviations of their layer to be counted."
    ));
    report.table("Stages", &Record::HEADERS, &record.rows());
    let trainings: Vec<_> = curves(folder)
        .iter()
        .map(|c| (c.name.clone(), c.accuracy()))
        .collect();
    if !trainings.is_empty() {
        report.line_chart("test accuracy over epochs", &trainings);
    }
    let read = |path: &Path| {
        let (graph, _) = load_graph(path, &LoadOptions::default()).into_diagnostic()?;
        Ok::<_, miette::Report>(layers::layers(&graph, RELATIVE_STEP))
    };
    layers::add(
        &mut report,
        &read(&folder.join("input.onnx"))?,
        &read(output)?,
    );
    report.write(path).into_diagnostic()
}

fn print(args: &Args, recipe: &Recipe, data: &str, outcome: &Outcome) {
    let record = &outcome.record;
    if args.json {
        common::print_json(&json!({
            "model": args.model,
            "data": data,
            "recipe": record.recipe,
            "output": outcome.finished.then_some(&args.output),
            "finished": outcome.finished,
            "input": record.input,
            "stages": record.stages,
        }));
        return;
    }
    println!("{}", terminal_table(&Record::HEADERS, &record.rows()));
    if outcome.finished {
        println!("wrote {}", args.output.display());
    } else {
        println!(
            "stopped after {} of {} stages; go on with --resume",
            record.stages.len(),
            recipe.stages.len()
        );
    }
}
