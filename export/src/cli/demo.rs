//! `kinglet demo`.

use super::common::{self, grouped, split_outputs};
use crate::compile::{CompileOptions, Compiled, compile};
use crate::diagnose::IntoDiagnostic;
use crate::emulate::{self, Emulation, Mode, Request};
use crate::files::{self, Tensor, write_atomic};
use crate::graph::Graph;
use crate::host::Runner;
use crate::model::{Model, load_graph};
use crate::onnx::{LoadOptions, write};
use crate::quantize::{self, Calibration};
use crate::report::{Report, terminal_table};
use crate::samples::{self, decode};
use crate::train::digits::{self, CLASSES, Digits, Samples};
use crate::train::{self, Epoch};
use indicatif::ProgressBar;
use kinglet::format::DType;
use miette::{ensure, miette};
use serde_json::json;
use std::io::Write;
use std::path::{Path, PathBuf};

/// The whole way once, on its own: train a small digit classifier, export ONNX, quantise, compile, and run it as firmware
/// on an emulated Cortex-M4F.
///
/// Sets up what it needs (bare-metal target, QEMU). The data come with a Rust package; nothing else is downloaded.
#[derive(clap::Args)]
#[command(after_help = "Example: kinglet demo --output digits/")]
pub(super) struct Args {
    /// The emulated board.
    #[arg(long, default_value = emulate::DEFAULT_BOARD)]
    board: String,
    /// Where models, plan and report go; target/kinglet-demo in Kinglet's source tree by default.
    #[arg(long, value_name = "FOLDER")]
    output: Option<PathBuf>,
    /// Seed of the training.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Everything that the demo measured.
struct Measured {
    parameters: u64,
    float_accuracy: f64,
    host_accuracy: f64,
    device_accuracy: f64,
    same_bytes: bool,
    compiled: Compiled,
    device: Emulation,
    profile: Emulation,
}

pub(super) fn run(args: Args) -> miette::Result<()> {
    let folder = args
        .output
        .clone()
        .unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/kinglet-demo"));
    std::fs::create_dir_all(&folder).into_diagnostic()?;
    let folder = folder.canonicalize().into_diagnostic()?;
    let board = emulate::board(&args.board).into_diagnostic()?;

    let progress = common::spinner();
    let say = |text: &str| progress.set_message(text.to_owned());
    board.toolchain(&say).into_diagnostic()?;

    let data = digits::load();
    let mut epochs = Vec::new();
    let network = digits::train(&data, args.seed, &mut |epoch| {
        epochs.push(epoch);
        show_epoch(&progress, &epoch);
    });
    let float_model = folder.join("digits.onnx");
    write::write(&network.to_graph(), &float_model).into_diagnostic()?;
    write_data(&folder, &data.test)?;

    say("quantising");
    // From here on, only what is in the files counts.
    let (float, _) = load_graph(&float_model, &LoadOptions::default()).into_diagnostic()?;
    let int8 = quantize_with(&float, &data)?;
    let int8_model = folder.join("digits_int8.onnx");
    write::write(&int8, &int8_model).into_diagnostic()?;

    say("compiling");
    let options = CompileOptions {
        target: board.plan_target,
        ..CompileOptions::default()
    };
    let model = Model::open(&int8_model, &LoadOptions::default(), &options).into_diagnostic()?;
    ensure!(model.warnings.is_empty(), "{}", model.warnings[0]);
    let compiled = model
        .compiled
        .clone()
        .ok_or_else(|| miette!("an ONNX model is compiled"))?;
    write_atomic(folder.join("digits.kinglet"), |file| {
        file.write_all(&compiled.file)
    })
    .into_diagnostic()?;

    let samples = rows(&data.test);
    let labels = &data.test.labels;
    let float_scores = host_scores(
        compile(&float, &CompileOptions::default())
            .into_diagnostic()?
            .core(),
        &samples,
    )?;
    let host = host_scores(compiled.core(), &samples)?;
    let request = Request {
        board,
        plan: compiled.core(),
        samples: &samples,
        mode: Mode::Run,
        loaded: false,
    };
    let device = emulate::emulate(&request, &say).into_diagnostic()?;
    let profile = Request {
        mode: Mode::Profile,
        samples: &samples[..1],
        ..request
    };
    let profile = emulate::emulate(&profile, &say).into_diagnostic()?;
    write_outputs(&folder, &compiled, &device)?;
    progress.finish_and_clear();

    let measured = Measured {
        parameters: crate::passes::total_parameters(&float),
        float_accuracy: accuracy(&float_scores, labels),
        host_accuracy: accuracy(&host, labels),
        device_accuracy: accuracy(&device.outputs, labels),
        same_bytes: host == device.outputs,
        compiled,
        device,
        profile,
    };
    let report = folder.join("report.html");
    write_report(&report, &args.board, &measured, &epochs)?;
    if args.json {
        print_json(&args.board, &measured, &folder);
    } else {
        println!(
            "{}",
            terminal_table(
                &["", "float", "int8, host", "int8, device"],
                &comparison(&measured)
            )
        );
        println!(
            "{}",
            terminal_table(&["firmware", &args.board], &firmware(&measured))
        );
        println!("models, plan and report.html: {}", folder.display());
    }
    ensure!(measured.same_bytes, "device and host gave different bytes");
    Ok(())
}

fn show_epoch(progress: &ProgressBar, epoch: &Epoch) {
    progress.set_message(format!(
        "training, epoch {} of {}: loss {:.3}, accuracy {:.1} %",
        epoch.number,
        epoch.of,
        epoch.loss,
        100.0 * epoch.accuracy
    ));
}

/// The test images as the bytes a float plan takes.
fn rows(samples: &Samples) -> Vec<Vec<u8>> {
    let image = |i| {
        samples
            .image(i)
            .iter()
            .flat_map(|p| p.to_le_bytes())
            .collect()
    };
    (0..samples.len()).map(image).collect()
}

fn quantize_with(float: &Graph, data: &Digits) -> miette::Result<Graph> {
    let calibration = rows(&data.calibration);
    let ranges = quantize::calibrate(
        float,
        Calibration::MinMax,
        calibration.iter().map(Vec::as_slice),
    );
    let ranges = ranges.into_diagnostic()?;
    quantize::quantize(float, &ranges, &quantize::Options::default()).into_diagnostic()
}

/// The output bytes of every sample on this machine.
fn host_scores(plan: &[u8], samples: &[Vec<u8>]) -> miette::Result<Vec<Vec<u8>>> {
    let mut runner = Runner::new(plan).into_diagnostic()?;
    let outputs = runner
        .run_all(samples.iter().map(Vec::as_slice), &mut ())
        .into_diagnostic()?;
    Ok(outputs.into_iter().map(|o| o.concat()).collect())
}

/// Share of samples whose greatest float score is at the label.
fn accuracy(outputs: &[Vec<u8>], labels: &[u8]) -> f64 {
    let scores: Vec<f32> = outputs
        .iter()
        .flat_map(|bytes| match decode(DType::F32, bytes) {
            crate::graph::Data::F32(scores) => scores,
            _ => Vec::new(),
        })
        .collect();
    debug_assert_eq!(scores.len(), labels.len() * CLASSES);
    train::accuracy(&scores, labels)
}

/// Test images and labels, for further commands.
fn write_data(folder: &Path, test: &Samples) -> miette::Result<()> {
    files::write_tensor(folder.join("test_images.npy"), &test.image_tensor()).into_diagnostic()?;
    files::write_tensor(folder.join("test_labels.npy"), &test.label_tensor()).into_diagnostic()
}

/// What the device computed.
fn write_outputs(folder: &Path, compiled: &Compiled, device: &Emulation) -> miette::Result<()> {
    let runner = Runner::new(compiled.core()).into_diagnostic()?;
    let plan = runner.plan().into_diagnostic()?;
    let outputs: Vec<_> = device
        .outputs
        .iter()
        .map(|bytes| split_outputs(&plan, bytes))
        .collect();
    let info = plan
        .output(0)
        .ok_or_else(|| miette!("the model has an output"))?;
    let tensor: Tensor = samples::gather(&info, 0, &outputs, false);
    files::write_tensor(folder.join("device_scores.npy"), &tensor).into_diagnostic()
}

fn percent(share: f64) -> String {
    format!("{:.2} %", 100.0 * share)
}

fn comparison(m: &Measured) -> Vec<Vec<String>> {
    let same = if m.same_bytes {
        "same as host"
    } else {
        "DIFFERENT"
    };
    vec![
        vec![
            "accuracy on 400 test images".into(),
            percent(m.float_accuracy),
            percent(m.host_accuracy),
            percent(m.device_accuracy),
        ],
        vec!["output bytes".into(), "-".into(), "-".into(), same.into()],
    ]
}

fn firmware(m: &Measured) -> Vec<Vec<String>> {
    let bytes = |n: u64| format!("{} bytes", grouped(n));
    let d = &m.device;
    let instructions = common::median(&d.instructions);
    vec![
        vec!["parameters".into(), grouped(m.parameters)],
        vec!["flash: plan".into(), bytes(d.plan_bytes)],
        vec!["flash: code".into(), bytes(d.code_bytes)],
        vec!["RAM: arena".into(), bytes(d.arena_bytes)],
        vec!["RAM: static".into(), bytes(d.static_ram_bytes)],
        vec!["RAM: stack peak".into(), bytes(d.stack_peak_bytes)],
        vec![
            "multiply-accumulates an inference".into(),
            grouped(m.compiled.macs()),
        ],
        vec!["instructions an inference".into(), grouped(instructions)],
    ]
}

fn write_report(path: &Path, board: &str, m: &Measured, epochs: &[Epoch]) -> miette::Result<()> {
    let mut report = Report::new("Kinglet demo: handwritten digits");
    report.paragraph(&format!(
        "A small convolutional network, trained here, quantised to int8 after training, compiled to a plan and run as \
         firmware on an emulated {board}. Instructions are counted by the emulator; they are not cycles."
    ));
    report.table(
        "Accuracy",
        &["", "float", "int8, host", "int8, device"],
        &comparison(m),
    );
    report.table("Firmware", &["", board], &firmware(m));
    let bars: Vec<(String, f64)> = m
        .compiled
        .steps
        .iter()
        .zip(m.profile.step_instructions.first().into_iter().flatten())
        .map(|(step, &n)| (step.name.clone(), n as f64))
        .collect();
    report.bar_chart("Instructions of each step", &bars);
    let loss = epochs.iter().map(|e| (e.number as f64, e.loss)).collect();
    report.line_chart("Training loss by epoch", &[("loss".to_owned(), loss)]);
    report.write(path).into_diagnostic()
}

fn print_json(board: &str, m: &Measured, folder: &Path) {
    let d = &m.device;
    common::print_json(&json!({
        "board": board,
        "folder": folder,
        "samples": d.outputs.len(),
        "accuracy": { "float": m.float_accuracy, "int8_host": m.host_accuracy, "int8_device": m.device_accuracy },
        "same_bytes": m.same_bytes,
        "parameters": m.parameters,
        "instructions": common::median(&d.instructions),
        "macs": m.compiled.macs(),
        "flash_bytes": d.flash_bytes,
        "plan_bytes": d.plan_bytes,
        "code_bytes": d.code_bytes,
        "arena_bytes": d.arena_bytes,
        "static_ram_bytes": d.static_ram_bytes,
        "stack_peak_bytes": d.stack_peak_bytes,
    }));
}
