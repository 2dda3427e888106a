//! `kinglet compile`.

use super::common::{self, ModelArgs, grouped};
use crate::certify::{self, Certificate};
use crate::compile::channels::{LayerReport, Reason, Report};
use crate::compile::{CompileOptions, Compiled, StoredWeights, Target, Tiling, coded, sparse};
use crate::diagnose::{IntoDiagnostic, float_model, print_warning};
use crate::files::write_atomic;
use crate::model::Model;
use crate::report::terminal_table;
use miette::bail;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

/// Compile an ONNX or TensorFlow Lite model into a plan: one file that the runtime executes on any target.
///
/// Prints what the plan needs before anything is flashed: arena, flash, stack, the layer at the memory peak, and about how
/// many instructions an inference takes (`kinglet emulate` counts them).
#[derive(clap::Args)]
#[command(after_help = "Examples:
  kinglet compile model.onnx -o model.kinglet --target cortex-m4f
  kinglet compile model.onnx -o model.kinglet --target cortex-m4f --tile smallest
  kinglet compile model.onnx -o model.kinglet --target cortex-m0 --arena-limit 12000
  kinglet compile model.onnx -o model.kinglet --target cortex-m4f --weights auto
  kinglet compile model.tflite -o model.kinglet --target cortex-m4f --rounding tflite  # TensorFlow Lite's bytes
  kinglet compile model.onnx -o model.kinglet --target cortex-m4f --certify          # model.certificate.json")]
pub(super) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// The plan to write.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// What to compile for.
    #[arg(long, value_enum, default_value_t)]
    target: Target,
    /// Which chains of steps run by bands of rows, so that less of them is in memory at once.
    #[arg(long, value_enum, default_value_t)]
    tile: Tiling,
    /// Most bytes of arena: tiles whatever is necessary, at the least cost; an error when that is not enough.
    #[arg(long, value_name = "BYTES", conflicts_with = "tile")]
    arena_limit: Option<usize>,
    /// How int8 layers' weights are stored.
    #[arg(long, value_enum, default_value_t)]
    weights: StoredWeights,
    /// With `--weights auto`: most instructions that decoding may add, in percent of the plan's [default: 35].
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    decoding: Option<f64>,
    /// Which int8 layers store and multiply only the weights that are not zero.
    #[arg(long, value_enum, default_value_t)]
    sparse: sparse::Sparse,
    /// Inputs and outputs are the integers that the model quantises them to: no floats on the device.
    #[arg(long)]
    int8_io: bool,
    /// Leave the step names out of the file (the device never holds them).
    #[arg(long)]
    strip: bool,
    /// Compute every channel of the model, also constant ones and those that nothing reads.
    #[arg(long)]
    keep_dead_channels: bool,
    /// Write what holds for every inference (instructions, stack, arena, accumulators) as JSON, to FILE or beside the plan; counts
    /// are made in the target's emulator.
    #[arg(long, value_name = "FILE", num_args = 0..=1)]
    certify: Option<Option<PathBuf>>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

fn percent(text: &str) -> Result<f64, String> {
    match text.trim_end_matches('%').trim().parse::<f64>() {
        Ok(percent) if percent.is_finite() && percent >= 0.0 => Ok(percent),
        _ => Err("a percentage such as 5 is expected".into()),
    }
}

pub(super) fn run(args: Args) -> miette::Result<()> {
    if args.decoding.is_some() && args.weights != StoredWeights::Auto {
        bail!("--decoding is for --weights auto: the others do not choose by instructions");
    }
    let options = CompileOptions {
        target: args.target,
        strip: args.strip,
        int8_io: args.int8_io,
        keep_dead_channels: args.keep_dead_channels,
        tiling: args.tile,
        arena_limit: args.arena_limit,
        rounding: args.model.rounding,
        weights: args.weights,
        sparse: args.sparse,
        decoding_share: args.decoding.map(|percent| percent / 100.0),
        ..CompileOptions::default()
    };
    let model =
        Model::open(&args.model.model, &args.model.load_options(), &options).into_diagnostic()?;
    let Some(compiled) = &model.compiled else {
        bail!("{} is a plan already", args.model.model.display())
    };
    common::print_warnings(&model.warnings);
    common::doubt_weights(model.graph.as_ref());
    let float = model.graph.as_ref().and_then(float_model);
    if let Some(diagnosis) = float.filter(|_| args.target != Target::Host) {
        print_warning("the model computes in float", &diagnosis);
    }
    let certificate = match &args.certify {
        Some(_) => Some(certificate(&model.name, compiled, args.target)?),
        None => None,
    };
    write_atomic(&args.output, |file| file.write_all(&compiled.file)).into_diagnostic()?;
    if let (Some(path), Some(certificate)) = (&args.certify, &certificate) {
        let beside = || args.output.with_extension("certificate.json");
        let path = path.clone().unwrap_or_else(beside);
        let text = serde_json::to_string_pretty(certificate).into_diagnostic()? + "\n";
        write_atomic(path, |file| file.write_all(text.as_bytes())).into_diagnostic()?;
    }
    let peak = compiled
        .steps
        .get(compiled.peak_step)
        .map_or_else(String::new, |s| common::shorten(&s.name));
    if args.json {
        common::print_json(&serde_json::json!({
            "model": model.name,
            "plan": args.output,
            "target": args.target,
            "plan_bytes": compiled.core_len,
            "constant_bytes": compiled.constant_bytes,
            "arena_bytes": compiled.arena_len,
            "peak": { "step": peak, "bytes": compiled.peak_bytes },
            "tiled": compiled.tiled,
            "macs": compiled.macs(),
            "instructions_predicted": compiled.instructions,
            "stack_bound_bytes": compiled.stack_bound,
            "channels": compiled.channels,
            "weights": compiled.coding,
            "zeros": compiled.zeros,
            "steps": compiled.steps,
            "certificate": certificate,
            "warnings": model.warnings,
        }));
        return Ok(());
    }
    let mut rows = vec![
        vec![
            "plan (flash)".into(),
            format!("{} bytes", grouped(compiled.core_len as u64)),
        ],
        vec![
            "  weights and tables".into(),
            format!("{} bytes", grouped(compiled.constant_bytes as u64)),
        ],
        vec![
            "arena (RAM)".into(),
            format!("{} bytes", grouped(compiled.arena_len as u64)),
        ],
        vec![
            "  most in use at once".into(),
            format!("{} bytes, in `{peak}`", grouped(compiled.peak_bytes as u64)),
        ],
        vec!["steps".into(), compiled.steps.len().to_string()],
        vec!["multiply-accumulates".into(), grouped(compiled.macs())],
    ];
    if let Some(bound) = compiled.stack_bound {
        let bound = format!("{} bytes at most", grouped(bound));
        rows.insert(4, vec!["stack (RAM)".into(), bound]);
    }
    if let Some(instructions) = compiled.instructions {
        let about = format!("about {}", grouped(instructions));
        rows.push(vec!["instructions an inference".into(), about]);
    }
    if let Some(certificate) = &certificate {
        let bound = format!("{} at most", grouped(certificate.instructions.bound));
        rows.push(vec!["  whatever the input".into(), bound]);
    }
    if let Some(tiled) = &compiled.tiled {
        rows.push(vec![
            "arena without tiling".into(),
            format!("{} bytes", grouped(tiled.untiled_arena_len as u64)),
        ]);
        rows.push(vec![
            "  steps more, bytes copied".into(),
            format!(
                "{}, {} (nothing is computed twice)",
                grouped(tiled.extra_steps),
                grouped(tiled.copied_bytes)
            ),
        ]);
        for chain in &tiled.chains {
            let (first, last) = (common::shorten(&chain.first), common::shorten(&chain.last));
            rows.push(vec![
                format!("  {} bands of {} rows", chain.bands, chain.rows),
                if first == last {
                    first
                } else {
                    format!("{first} to {last}")
                },
            ]);
        }
    }
    println!("{}", terminal_table(&[&model.name, ""], &rows));
    if let Some(report) = compiled.channels.as_ref().filter(|r| !r.is_empty()) {
        print_channels(report);
    }
    if let Some(report) = &compiled.zeros {
        print_zeros(report);
    }
    if let Some(report) = &compiled.coding {
        print_coding(report, compiled.arena_len);
    }
    println!("wrote {}", args.output.display());
    Ok(())
}

/// Counts in the emulator, with a sign of life.
fn certificate(model: &str, compiled: &Compiled, target: Target) -> miette::Result<Certificate> {
    let spinner = common::spinner();
    let progress = |what: &str| spinner.set_message(what.to_owned());
    let certificate = certify::certify(model, compiled, target, &progress).into_diagnostic()?;
    spinner.finish_and_clear();
    Ok(certificate)
}

/// Both forms of every layer's weights, and which one the plan has.
fn print_coding(report: &coded::Report, arena_len: usize) {
    let number = |n: Option<u64>| n.map_or_else(|| "not measured".into(), grouped);
    let mut rows: Vec<Vec<String>> = (report.layers.iter())
        .map(|layer| {
            vec![
                common::shorten(&layer.node),
                grouped(layer.weights),
                grouped(layer.plain_bytes),
                grouped(layer.coded_bytes),
                format!("{:.2}", layer.bits_per_weight),
                number(layer.plain_instructions),
                number(layer.coded_instructions),
                match layer.coded {
                    true => format!("by {}", layer.tile.min(layer.channels)),
                    false => "no".into(),
                },
            ]
        })
        .collect();
    let ([plain, stored], weights) = (report.bytes(), report.weights());
    let instructions = report.instructions();
    rows.push(vec![
        "as in the plan".into(),
        grouped(weights),
        grouped(plain),
        grouped(stored),
        format!("{:.2}", stored as f64 * 8.0 / weights.max(1) as f64),
        number(instructions.map(|[plain, _]| plain)),
        number(instructions.map(|[_, stored]| stored)),
        String::new(),
    ]);
    let headers = [
        "layer",
        "weights",
        "plain bytes",
        "coded",
        "bits a weight",
        "plain instructions",
        "coded",
        "is coded",
    ];
    println!("{}", terminal_table(&headers, &rows));
    if arena_len > report.plain_arena_len {
        println!(
            "decoding makes the arena larger: {} bytes with plain weights",
            grouped(report.plain_arena_len as u64)
        );
    }
}

/// Layers with many zero weights, both ways of running them, and which one the plan has.
fn print_zeros(report: &sparse::Report) {
    let number = |n: Option<u64>| n.map_or_else(|| "not measured".into(), grouped);
    let percent = |share: f64| format!("{:.0} %", share * 100.0);
    let rows: Vec<Vec<String>> = (report.layers.iter())
        .map(|layer| {
            vec![
                common::shorten(&layer.node),
                grouped(layer.weights),
                percent(layer.density),
                layer
                    .break_even
                    .map_or_else(|| "not measured".into(), percent),
                number(layer.dense_instructions),
                number(layer.sparse_instructions),
                if layer.sparse { "yes" } else { "no" }.into(),
            ]
        })
        .collect();
    let headers = [
        "layer",
        "weights",
        "not zero",
        "break-even",
        "instructions, all weights",
        "those only",
        "is sparse",
    ];
    println!("{}", terminal_table(&headers, &rows));
}

/// Which channels were cut out of which layers, and why.
fn print_channels(report: &Report) {
    let of = |[before, after]: [u64; 2]| format!("{} of {}", grouped(after), grouped(before));
    let cut = |l: &&LayerReport| l.channels[0] != l.channels[1] || l.macs[0] != l.macs[1];
    let mut rows: Vec<Vec<String>> = (report.layers.iter().filter(cut))
        .map(|layer| {
            vec![
                common::shorten(&layer.node),
                format!("{} of {}", layer.channels[1], layer.channels[0]),
                of(layer.macs),
                of(layer.weights),
                why(layer).join("\n"),
            ]
        })
        .collect();
    rows.push(vec![
        "whole model".into(),
        String::new(),
        of(report.macs),
        of(report.weights),
        String::new(),
    ]);
    let headers = [
        "layer",
        "channels",
        "multiply-accumulates",
        "weights",
        "removed",
    ];
    println!("{}", terminal_table(&headers, &rows));
}

/// The reasons for which channels of a layer went, with how many.
fn why(layer: &LayerReport) -> Vec<String> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for removed in &layer.removed {
        let names = |nodes: &[String]| {
            let names: Vec<String> = nodes
                .iter()
                .map(|n| format!("`{}`", common::shorten(n)))
                .collect();
            names.join(", ")
        };
        let reason = match &removed.reason {
            Reason::Constant { into, .. } if into.is_empty() => "constant, adds nothing".into(),
            Reason::Constant { into, .. } => format!("constant, folded into {}", names(into)),
            Reason::FeedsConstant { tensor } => {
                format!("feed a constant channel of `{}`", common::shorten(tensor))
            }
            Reason::Unread { by } if by.is_empty() => "nothing reads them".into(),
            Reason::Unread { by } => format!("zero weights in {}", names(by)),
        };
        *counts.entry(reason).or_default() += 1;
    }
    let line = |(reason, count): (String, usize)| format!("{count}: {reason}");
    counts.into_iter().map(line).collect()
}
