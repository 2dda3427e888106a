//! `kinglet quantize`.

use super::common::{self, ModelArgs, grouped};
use crate::compile::{CompileOptions, Rounding, compile};
use crate::compress::formats::WeightFormat;
use crate::diagnose::{IntoDiagnostic, calibration, print_warning};
use crate::graph::{Data, Graph};
use crate::host::Runner;
use crate::model::load_graph;
use crate::onnx::write;
use crate::quantize::{self, Calibration, Calibrator, Options};
use crate::report::terminal_table;
use crate::samples;
use miette::ensure;
use serde_json::json;
use std::path::PathBuf;

/// Turn a float model into an int8 one, with ranges from calibration data.
///
/// Weights are int8 per channel, activations int8 per tensor, biases int32. The result is plain ONNX with
/// QuantizeLinear and DequantizeLinear nodes, which any ONNX runtime can run.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  kinglet quantize model.onnx --calibration samples.npy -o model_int8.onnx
  kinglet quantize model.onnx --calibration samples.npy -o model_int8.onnx --percentile 99.99 --int8-io")]
pub(super) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// Typical inputs (.npy, .npz or FILE.npz:ARRAY) with a leading sample axis, a hundred or so; NAME=FILE for
    /// several inputs.
    #[arg(long, value_name = "[NAME=]FILE", required = true)]
    calibration: Vec<String>,
    /// Where the int8 model goes.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Cut outliers: keep this percentage of the values of each tensor, such as 99.99. All are kept by default.
    #[arg(long, value_name = "P")]
    percentile: Option<f64>,
    /// Make the model's inputs and outputs int8; they stay float by default.
    #[arg(long)]
    int8_io: bool,
    /// The least step between weights, in root mean squares of their channel. A larger step has smaller codes, which take
    /// fewer bits entropy-coded; 0 is the finest.
    #[arg(long, default_value_t = 0.0, value_name = "STEP")]
    weight_step: f64,
    /// Format of the weights. The float formats take a byte a weight, too; a device multiplies them as 16-bit integers.
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    weights: WeightFormat,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: Args) -> miette::Result<()> {
    ensure!(
        args.model.rounding == Rounding::Kinglet,
        "--rounding is for commands that compile: a quantised model has none yet"
    );
    let (graph, warnings) =
        load_graph(&args.model.model, &args.model.load_options()).into_diagnostic()?;
    common::print_warnings(&warnings);
    common::doubt_weights(Some(&graph));
    ensure!(
        args.weights == WeightFormat::Int8 || args.weight_step == 0.0,
        "--weight-step is for int8 weights, not for {}",
        args.weights.name()
    );
    ensure!(
        args.weight_step >= 0.0 && args.weight_step.is_finite(),
        "--weight-step must be 0 or more, not {}",
        args.weight_step
    );
    let method = args
        .percentile
        .map_or(Calibration::MinMax, Calibration::Percentile);
    let mut calibrator = Calibrator::new(&graph, method).into_diagnostic()?;
    let samples = read_samples(&graph, &args.calibration)?;
    if let Some((what, diagnosis)) = calibration(&samples) {
        print_warning(&what, &diagnosis);
    }
    let progress = common::spinner();
    progress.set_message(format!("calibrating with {} samples", samples.len()));
    let rows = samples.iter().map(Vec::as_slice);
    quantize::observe(&graph, rows, &mut |name, values| {
        calibrator.observe(name, values)
    })
    .into_diagnostic()?;
    let ranges = calibrator.finish().into_diagnostic()?;
    progress.finish_and_clear();
    let quantized = quantize::quantize(
        &graph,
        &ranges,
        &Options {
            int8_io: args.int8_io,
            weight_step: args.weight_step,
            weights: args.weights,
        },
    )
    .into_diagnostic()?;
    write::write(&quantized, &args.output).into_diagnostic()?;

    let [before, after] = [&graph, &quantized].map(constant_bytes);
    if args.json {
        common::print_json(&json!({
            "model": args.model.model,
            "output": args.output,
            "samples": samples.len(),
            "calibration": args.percentile.map_or(json!("min-max"), |p| json!({ "percentile": p })),
            "int8_io": args.int8_io,
            "constant_bytes_before": before,
            "constant_bytes": after,
            "tensors": tensors(&quantized),
        }));
        return Ok(());
    }
    let name = args.model.model.display().to_string();
    let rows = [
        vec![
            "calibration samples".to_owned(),
            grouped(samples.len() as u64),
        ],
        vec![
            "weights and biases, float".to_owned(),
            format!("{} bytes", grouped(before)),
        ],
        vec![
            "weights and biases, int8".to_owned(),
            format!("{} bytes", grouped(after)),
        ],
    ];
    println!("{}", terminal_table(&[&name, ""], &rows));
    println!("wrote {}", args.output.display());
    Ok(())
}

/// The calibration samples as the float model takes them.
fn read_samples(graph: &Graph, arguments: &[String]) -> miette::Result<Vec<Vec<u8>>> {
    let compiled = compile(graph, &CompileOptions::default()).into_diagnostic()?;
    let runner = Runner::new(compiled.core()).into_diagnostic()?;
    let samples = samples::read(&runner.plan().into_diagnostic()?, arguments).into_diagnostic()?;
    if samples.rows.is_empty() {
        return Err(miette::miette!(
            "the calibration data hold no samples: give at least one"
        ));
    }
    Ok(samples.rows)
}

/// Bytes of the constants that nodes use.
fn constant_bytes(graph: &Graph) -> u64 {
    let mut used: Vec<_> = graph
        .nodes
        .iter()
        .flat_map(|n| n.inputs.iter().copied())
        .collect();
    used.sort_unstable();
    used.dedup();
    let bytes = |data: &Data| match data {
        Data::I8(v) => v.len(),
        Data::U8(v) => v.len(),
        Data::F32(v) => 4 * v.len(),
        Data::I32(v) => 4 * v.len(),
        Data::I64(v) => 8 * v.len(),
    };
    used.iter()
        .filter_map(|&id| graph[id].data.as_ref())
        .map(|d| bytes(d) as u64)
        .sum()
}

/// Name and parameters of every quantised activation.
fn tensors(graph: &Graph) -> Vec<serde_json::Value> {
    let activations = graph.values.iter().filter(|v| v.data.is_none());
    activations
        .filter_map(|v| {
            let q = v.quantization.as_ref()?;
            Some(json!({ "name": v.name, "scale": q.scales.first(), "zero_point": q.zero_point }))
        })
        .collect()
}
