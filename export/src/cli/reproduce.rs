//! `kinglet reproduce`.

use super::common::{self, RunArgs};
use super::compress::Shown;
use crate::compress::run::{Curve, curves};
use crate::diagnose::IntoDiagnostic;
use crate::report::{Report, terminal_table};
use crate::reproduce::{Experiment, Finding, Results, Trial, rows};
use clap::builder::PossibleValuesParser;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Run a method's acceptance experiment with its ablations, and compare with what its paper says.
///
/// Each arm is a recipe; what is finished is not run again, and Ctrl-C stops after the step in hand. The method `small` is
/// all of them together. Results that we have are in docs/reproduction.md.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  kinglet reproduce trp --model resnet8.onnx --pixels raw --data cifar10 -o reproduction
  kinglet reproduce mask --model resnet8.onnx --pixels raw --data cifar10 -o reproduction --seeds 1,2,3 --report mask.html
  kinglet reproduce rf8 --model resnet8.onnx --pixels raw --data cifar10 -o reproduction --arms rf8,int8")]
pub(super) struct Args {
    /// Which.
    #[arg(value_parser = PossibleValuesParser::new(Experiment::names()))]
    method: String,
    /// The network to compress, a float .onnx file.
    #[arg(long, value_name = "MODEL")]
    model: PathBuf,
    #[command(flatten)]
    run: RunArgs,
    /// Where everything is kept: models, recipes, checkpoints, records.
    #[arg(short, long, value_name = "FOLDER")]
    output: PathBuf,
    /// Run only these arms; others count if they have been run before.
    #[arg(long, value_delimiter = ',', value_name = "ARM")]
    arms: Vec<String>,
    /// Repeat everything with each of these seeds.
    #[arg(long, value_delimiter = ',', default_value = "1", value_name = "SEED")]
    seeds: Vec<u64>,
    /// Write an HTML report: claims, arms, curves.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: Args) -> miette::Result<()> {
    args.run.check()?;
    // The parser has checked the name.
    let Some(experiment) = Experiment::named(&args.method) else {
        return Ok(());
    };
    let data = args.run.start()?;
    let stop = common::stop_on_interrupt()?;
    let mut seeds: Vec<(u64, Results)> = Vec::new();
    for &seed in &args.seeds {
        let trial = Trial {
            experiment: &experiment,
            model: &args.model,
            data: &data,
            scaling: args.run.pixels,
            folder: &args.output,
            seed,
            epochs_scale: args.run.epochs_scale,
            only: &args.arms,
            stop: &stop,
        };
        let (mut shown, mut last) = (Shown::default(), "");
        let results = trial
            .run(&mut |arm, event| {
                if arm != last {
                    eprintln!("{} with seed {seed}: {arm}", experiment.name);
                    last = arm;
                }
                shown.show(event);
            })
            .into_diagnostic()?;
        let Some(results) = results else {
            eprintln!("stopped; the same command goes on");
            return common::end(false);
        };
        seeds.push((seed, results));
    }
    let all: Vec<Results> = seeds.iter().map(|(_, r)| r.clone()).collect();
    let findings = experiment.findings(&all);
    if let Some(path) = &args.report {
        write_report(&args, &experiment, &seeds, &findings, path)?;
    }
    if args.json {
        let records: BTreeMap<String, &Results> =
            seeds.iter().map(|(s, r)| (s.to_string(), r)).collect();
        common::print_json(&json!({
            "experiment": experiment.name,
            "data": data.name,
            "findings": findings,
            "records by seed": records,
        }));
        return Ok(());
    }
    println!("{}", experiment.title);
    println!(
        "{}",
        terminal_table(&rows::HEADERS, &rows::arms(&experiment, &seeds))
    );
    let claims: Vec<Vec<String>> = findings.iter().map(Finding::row).collect();
    println!("{}", terminal_table(&Finding::HEADERS, &claims));
    Ok(())
}

fn write_report(
    args: &Args,
    experiment: &Experiment,
    seeds: &[(u64, Results)],
    findings: &[Finding],
    path: &Path,
) -> miette::Result<()> {
    let mut report = Report::new(experiment.title);
    for arm in &experiment.arms {
        report.paragraph(&format!("{}: {}.", arm.name, arm.what));
    }
    let claims: Vec<Vec<String>> = findings.iter().map(Finding::row).collect();
    report.table("Claims", &Finding::HEADERS, &claims);
    report.table("Arms", &rows::HEADERS, &rows::arms(experiment, seeds));
    for (seed, results) in seeds {
        let folder = args.output.join(experiment.folder(*seed));
        let curves: Vec<_> = experiment
            .arms
            .iter()
            .filter(|arm| results.record(arm.name).is_some())
            .map(|arm| {
                let trainings = curves(&folder.join(arm.name));
                let points = trainings.iter().flat_map(Curve::accuracy).collect();
                (arm.name.to_owned(), points)
            })
            .filter(|(_, points): &(_, Vec<_>)| !points.is_empty())
            .collect();
        if !curves.is_empty() {
            report.line_chart(&format!("test accuracy over epochs, seed {seed}"), &curves);
        }
    }
    report.write(path).into_diagnostic()
}
