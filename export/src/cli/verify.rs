//! `kinglet verify`.

use super::common::{self, ModelArgs, shorten};
use crate::compile::{StepInfo, Target};
use crate::diagnose::IntoDiagnostic;
use crate::emulate::{self, Mode, Request};
use crate::reference::Reference;
use crate::report::terminal_table;
use crate::samples;
use crate::verify::{Comparison, Forced, Recorder};
use miette::{bail, miette};
use serde_json::json;
use std::path::PathBuf;

/// Compare the ONNX reference, this machine and an emulated device, step by step.
///
/// Every step on this machine is fed with the reference's own values, so that its row shows its own error. The device
/// must equal this machine byte for byte. Names the first step that differs, and fails if one does.
#[derive(clap::Args)]
#[command(
    after_help = "Example: kinglet verify model_int8.onnx --board mps2-an386 --input samples.npy"
)]
pub(super) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// Input tensor with a leading sample axis; NAME=FILE for several inputs.
    #[arg(long, value_name = "[NAME=]FILE", required = true)]
    input: Vec<String>,
    /// Reference values from another engine: an .npz of arrays with a leading sample axis, each named as its ONNX tensor.
    /// Without it, tract computes them.
    #[arg(long, value_name = "FILE.npz")]
    reference: Option<PathBuf>,
    /// Emulated board; without it, only reference and host are compared.
    #[arg(long)]
    board: Option<String>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// One row of the result.
#[derive(Default)]
struct Row {
    comparison: Comparison,
    device_bytes: u64,
    device_different: u64,
}

/// Elements of the model's tensor that the plan does not compute.
fn cut_out(step: &StepInfo) -> usize {
    let left = step.shape.iter().product();
    let whole = step.kept.as_ref().map(|kept| kept.shape.iter().product());
    whole.map_or(0, |whole: usize| whole.saturating_sub(left))
}

pub(super) fn run(args: Args) -> miette::Result<()> {
    let board = args.board.as_deref().map(emulate::board).transpose();
    let board = board.into_diagnostic()?;
    let target = board.map_or(Target::Host, |board| board.plan_target);
    let model = args.model.open(target)?;
    let Some(steps) = model.steps() else {
        bail!(
            "{} is a plan: verify needs the ONNX file that it was made from",
            args.model.model.display()
        )
    };
    let mut runner = model.runner().into_diagnostic()?;
    let plan = runner.plan().into_diagnostic()?;
    let samples = samples::read(&plan, &args.input).into_diagnostic()?;
    common::doubt_scaling(&model, &samples.rows);
    let shapes: Vec<(String, Vec<usize>)> = (0..plan.input_count())
        .filter_map(|i| plan.input(i))
        .map(|i| (i.name.to_owned(), i.shape().to_vec()))
        .collect();
    let names: Vec<String> = steps.iter().map(|s| s.output.clone()).collect();
    let reference = match &args.reference {
        Some(path) => Reference::recorded(path),
        None => Reference::tract(&args.model.model, &shapes, &names),
    };
    let reference = reference.into_diagnostic()?;

    let progress = common::spinner();
    let mut comparisons = vec![Comparison::default(); steps.len()];
    let mut host = Vec::new();
    for (i, sample) in samples.rows.iter().enumerate() {
        progress.set_message(format!(
            "sample {} of {}: reference and host",
            i + 1,
            samples.rows.len()
        ));
        let values = reference.values(i, sample).into_diagnostic()?;
        runner
            .run(sample, &mut Forced::new(steps, &mut comparisons, &values))
            .into_diagnostic()?;
        let mut recorder = Recorder::default();
        runner.run(sample, &mut recorder).into_diagnostic()?;
        host.push(recorder.outputs);
    }
    let mut rows: Vec<Row> = comparisons
        .into_iter()
        .map(|comparison| Row {
            comparison,
            ..Row::default()
        })
        .collect();
    if let Some(board) = board {
        let request = Request {
            board,
            plan: &model.plan,
            samples: &samples.rows,
            mode: Mode::Steps,
            loaded: false,
        };
        let device = emulate::emulate(&request, &|text| progress.set_message(text.to_owned()))
            .into_diagnostic()?;
        for (host, device) in host.iter().zip(&device.step_outputs) {
            for (index, (host, device)) in host.iter().zip(device).enumerate() {
                // What an unfinished concatenation has not written yet is left over from other steps.
                if !steps[index].complete {
                    continue;
                }
                let row = &mut rows[index];
                row.device_bytes += host.len() as u64;
                let different = host.iter().zip(device).filter(|(a, b)| a != b).count();
                row.device_different += (different + host.len().abs_diff(device.len())) as u64;
            }
        }
        if device.step_outputs.len() != host.len() {
            bail!(
                "the device ran {} of {} samples",
                device.step_outputs.len(),
                host.len()
            );
        }
    }
    progress.finish_and_clear();

    let first = |differs: &dyn Fn(usize) -> bool| (0..rows.len()).find(|&i| differs(i));
    // ONNX Runtime sums means as the contract says, tract does not.
    let ties = |i: usize| {
        let (row, step) = (&rows[i].comparison, &steps[i]);
        args.reference.is_none()
            && step.operator.starts_with("average pool")
            && !row.holds(step.dtype)
            && row.holds_but_for_ties(step.dtype)
    };
    let first_reference = first(&|i| !rows[i].comparison.holds(steps[i].dtype) && !ties(i));
    let first_device = first(&|i| rows[i].device_different > 0);
    if args.json {
        let step = |i: usize| {
            json!({
                "index": i,
                "name": steps[i].name,
                "operator": steps[i].operator,
                "output": steps[i].output,
                "compared": rows[i].comparison.elements,
                "elements_cut_out": cut_out(&steps[i]),
                "equal_share": rows[i].comparison.equal_share(),
                "largest_difference": rows[i].comparison.largest,
                "device_bytes": rows[i].device_bytes,
                "device_different_bytes": rows[i].device_different,
            })
        };
        common::print_json(&json!({
            "model": model.name,
            "board": args.board,
            "samples": samples.rows.len(),
            "steps": (0..rows.len()).map(step).collect::<Vec<_>>(),
            "first_step_off_reference": first_reference.map(step),
            "first_step_off_host": first_device.map(step),
        }));
    } else {
        let table: Vec<Vec<String>> = rows
            .iter()
            .enumerate()
            .map(|(i, row)| {
                let compared = row.comparison.elements > 0;
                vec![
                    i.to_string(),
                    shorten(&steps[i].name),
                    steps[i].operator.to_owned(),
                    if compared {
                        format!("{:.3} %", 100.0 * row.comparison.equal_share())
                    } else {
                        "-".into()
                    },
                    if compared {
                        format!("{:.3e}", row.comparison.largest)
                    } else {
                        "-".into()
                    },
                    match (row.device_bytes, row.device_different) {
                        (0, _) => "-".into(),
                        (_, 0) => "same bytes".into(),
                        (_, n) => format!("{n} bytes differ"),
                    },
                ]
            })
            .collect();
        let headers = [
            "step",
            "node",
            "operator",
            "equal to reference",
            "largest difference",
            "device and host",
        ];
        println!("{}", terminal_table(&headers, &table));
        let cut = steps.iter().filter(|s| s.kept.is_some()).count();
        if cut > 0 {
            println!(
                "{cut} tensors lost channels that compute nothing (see `kinglet compile`); what is left of them is compared"
            );
        }
    }
    let describe = |i: usize| format!("step {i}, node `{}` ({})", steps[i].name, steps[i].operator);
    if let Some(i) = first_device {
        let (bad, all) = (rows[i].device_different, rows[i].device_bytes);
        return Err(miette!(
            "device and host differ first in {}: {bad} of {all} bytes",
            describe(i)
        ));
    }
    if let Some(i) = first_reference {
        let c = &rows[i].comparison;
        return Err(miette!(
            "host and reference differ first in {}: {} of {} elements, by up to {:.3e}",
            describe(i),
            c.different,
            c.elements,
            c.largest
        ));
    }
    if !args.json {
        for i in (0..rows.len()).filter(|&i| ties(i)) {
            println!(
                "{} of {} elements of {} are one off: means that are ties, where tract sums in another order (`--reference` compares with another engine)",
                rows[i].comparison.different,
                rows[i].comparison.elements,
                describe(i)
            );
        }
        println!("no step differs otherwise than the rounding contract says");
    }
    Ok(())
}
