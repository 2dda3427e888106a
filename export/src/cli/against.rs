//! `kinglet bench --against`: other runtimes beside ours.

use super::common;
use crate::diagnose::IntoDiagnostic;
use crate::files;
use crate::model::{Format, Model};
use crate::onnx;
use crate::report::{Report, terminal_table};
use crate::rivals::peak::Peak;
use crate::rivals::{self, Comparison, Files, Measured, Rival};
use crate::samples;
use kinglet::Plan;
use miette::bail;
use prost::Message;
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};

pub(super) struct Args<'a> {
    pub(super) model: &'a Path,
    pub(super) rivals: &'a [Rival],
    pub(super) tflite: Option<&'a Path>,
    pub(super) rounds: usize,
    pub(super) report: Option<&'a Path>,
    pub(super) json: bool,
}

pub(super) fn run(args: &Args<'_>, model: &Model, samples: &[Vec<u8>]) -> miette::Result<()> {
    if model.compiled.is_none() {
        bail!("--against needs the ONNX or TensorFlow Lite file: the rivals cannot read a plan");
    }
    let Some(sample) = samples.first() else {
        bail!("the input holds no samples")
    };
    let mut runner = model.runner().into_diagnostic()?;
    let folder = tempfile::tempdir().into_diagnostic()?;
    let plan = runner.plan().into_diagnostic()?;
    let inputs = write_inputs(&plan, sample, folder.path())?;
    let dtype = plan.output(0).map(|info| info.dtype);
    let given = args.tflite.map(Path::to_owned);
    let (onnx, tflite) = match Format::of(args.model).into_diagnostic()? {
        Format::Tflite => {
            // Those that read ONNX get the model that was compiled here.
            let onnx = folder.path().join("model.onnx");
            let proto = onnx::read(args.model).into_diagnostic()?;
            fs::write(&onnx, proto.encode_to_vec()).into_diagnostic()?;
            (onnx, given.or_else(|| Some(args.model.to_owned())))
        }
        _ => (
            args.model.to_owned(),
            given.or_else(|| rivals::tflite_beside(args.model)),
        ),
    };
    let files = Files {
        onnx,
        tflite,
        inputs,
    };
    let outputs = runner.run(sample, &mut ()).into_diagnostic()?;
    let first = outputs.first().zip(dtype);
    let output = first.map_or_else(Vec::new, |(bytes, dtype)| {
        samples::decode(dtype, bytes).reals()
    });
    let progress = common::spinner();
    let mut started = runner.start().into_diagnostic()?;
    let ours = || started.run(sample, &mut ()).map(drop);
    let show = |text: &str| progress.set_message(text.to_owned());
    let mut comparison = rivals::compare(&files, args.rivals, args.rounds, &output, ours, &show)
        .into_diagnostic()?;
    progress.set_message("measuring what the machine can do");
    let operators = model.operators.iter().map(|(op, macs)| (op.name(), *macs));
    comparison.at_peak = Peak::measure().microseconds(operators);
    progress.finish_and_clear();
    if let Some(path) = args.report {
        write_report(model, &comparison, path)?;
    }
    if args.json {
        print_json(model, &comparison);
    } else {
        println!("{}", terminal_table(&HEADERS, &rows(&comparison)));
        if let Some((rival, ratio)) = comparison.best() {
            println!(
                "{}: {ratio:.2} of what the best rival here ({}) takes; one thread, processor time, {} blocks each in turn",
                model.name,
                rival.name(),
                comparison.rounds
            );
        }
    }
    Ok(())
}

/// The inputs of one inference as `.npy` files.
fn write_inputs(
    plan: &Plan<'_>,
    sample: &[u8],
    folder: &Path,
) -> miette::Result<Vec<(String, PathBuf)>> {
    let (mut written, mut rest) = (Vec::new(), sample);
    for (index, info) in (0..plan.input_count())
        .filter_map(|i| plan.input(i))
        .enumerate()
    {
        let Some((bytes, others)) = rest.split_at_checked(info.len) else {
            bail!("the sample is shorter than the inputs");
        };
        rest = others;
        let tensor = files::Tensor {
            shape: info.shape().to_vec(),
            data: samples::decode(info.dtype, bytes),
        };
        let path = folder.join(format!("{index}.npy"));
        files::write_tensor(&path, &tensor).into_diagnostic()?;
        written.push((info.name.to_owned(), path));
    }
    Ok(written)
}

const HEADERS: [&str; 7] = [
    "runtime",
    "version",
    "µs an inference",
    "ours / its",
    "10 to 90 % of rounds",
    "of the peak",
    "output",
];

fn rows(comparison: &Comparison) -> Vec<Vec<String>> {
    let ours = vec![
        "Kinglet".into(),
        env!("CARGO_PKG_VERSION").into(),
        format!("{:.1}", comparison.microseconds),
        "1".into(),
        String::new(),
        share(comparison, comparison.microseconds),
        String::new(),
    ];
    let rivals = comparison
        .rivals
        .iter()
        .map(|(rival, measured)| match measured {
            Ok(m) => vec![
                rival.name().into(),
                m.version.clone(),
                format!("{:.1}", m.microseconds),
                format!("{:.2}", m.ratio),
                format!("{:.2} to {:.2}", m.ratio_spread[0], m.ratio_spread[1]),
                share(comparison, m.microseconds),
                agreement(m),
            ],
            Err(error) => vec![
                rival.name().into(),
                String::new(),
                "failed".into(),
                String::new(),
                String::new(),
                String::new(),
                error.to_string(),
            ],
        });
    std::iter::once(ours).chain(rivals).collect()
}

/// The share of the machine's measured peak.
fn share(comparison: &Comparison, microseconds: f64) -> String {
    let share = comparison.share_of_peak(microseconds);
    share.map_or_else(|| "-".into(), |share| format!("{:.0} %", 100.0 * share))
}

/// How its first output compares with ours.
fn agreement(measured: &Measured) -> String {
    let class = if measured.same_class {
        "same class"
    } else {
        "ANOTHER CLASS"
    };
    format!("{class}, at most {:.3} off", measured.max_difference)
}

fn print_json(model: &Model, comparison: &Comparison) {
    let measured = || {
        comparison
            .rivals
            .iter()
            .filter_map(|(r, m)| Some((r.name(), m.as_ref().ok()?)))
    };
    let failed = comparison
        .rivals
        .iter()
        .filter_map(|(r, m)| Some((r.name(), m.as_ref().err()?.to_string())));
    let best = comparison.best();
    common::print_json(&json!({
        "model": model.name,
        "rounds": comparison.rounds,
        "macs": model.macs(),
        "ours_us": comparison.microseconds,
        "rivals": measured().map(|(name, m)| (name.to_owned(), json!(m.microseconds))).collect::<serde_json::Map<_, _>>(),
        "details": measured().map(|(name, m)| (name.to_owned(), json!(m))).collect::<serde_json::Map<_, _>>(),
        "failed": failed.map(|(name, why)| (name.to_owned(), json!(why))).collect::<serde_json::Map<_, _>>(),
        "best": best.map(|(rival, _)| rival.name()),
        "ratio_to_best": best.map(|(_, ratio)| ratio),
        "share_of_peak": comparison.share_of_peak(comparison.microseconds),
    }));
}

fn write_report(model: &Model, comparison: &Comparison, path: &Path) -> miette::Result<()> {
    let mut report = Report::new(&format!("{} on this machine", model.name));
    report.paragraph("Processor time of one inference, one thread; all runtimes in one run, in blocks that take turns.");
    let mut bars = vec![("Kinglet".to_owned(), comparison.microseconds)];
    for (rival, measured) in &comparison.rivals {
        if let Ok(measured) = measured {
            bars.push((rival.name().to_owned(), measured.microseconds));
        }
    }
    report.bar_chart("Microseconds an inference", &bars);
    report.table("Runtimes", &HEADERS, &rows(comparison));
    report.write(path).into_diagnostic()
}
