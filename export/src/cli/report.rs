//! `kinglet report`.

use super::common::{self, BuildArgs, ModelArgs, grouped};
use super::profile::{NodeCosts, profile};
use crate::compile::{CompileOptions, Compiled, Rounding};
use crate::compress::report as layers;
use crate::compress::run::RELATIVE_STEP;
use crate::data::Scaling;
use crate::diagnose::IntoDiagnostic;
use crate::emulate::{self, Board, Emulation, Mode, Request};
use crate::evaluate::{Evaluation, Labelled};
use crate::graph::Graph;
use crate::model::Model;
use crate::onnx::LoadOptions;
use crate::passes;
use crate::report::{Density, LayerCosts, Report, readable, terminal_table};
use crate::samples;
use miette::bail;
use serde_json::json;
use std::path::{Path, PathBuf};

/// Draw a model on one HTML page: network, costs, memory, weights, and, with labelled data, who is mistaken for whom.
///
/// The page needs nothing else: no scripts, no fonts, no network. Accuracy is that of the plan, whose bytes are the
/// device's; with --board the first samples run in the emulator, too, to show it.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  kinglet report model_int8.onnx -o report.html --target cortex-m4f
  kinglet report model_int8.onnx -o report.html --board mps2-an386 --data cifar10 --pixels raw
  kinglet report model_int8.onnx -o report.html --float model.onnx --input x.npy --labels y.npy")]
pub(super) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// The page to write.
    #[arg(short, long, value_name = "FILE.html")]
    output: PathBuf,
    #[command(flatten)]
    build: BuildArgs,
    #[command(flatten)]
    data: DataArgs,
    /// The float model that this one comes from, to compare accuracies.
    #[arg(long, value_name = "MODEL.onnx")]
    float: Option<PathBuf>,
    /// Names of the classes, in order.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    class_names: Vec<String>,
    /// Samples that run on the board.
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    board_samples: u32,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Labelled samples.
#[derive(clap::Args)]
pub(super) struct DataArgs {
    /// A dataset whose test samples are classified: a folder, an .npz file, or a name in the model zoo's `datasets`.
    #[arg(long, value_name = "DATASET", conflicts_with_all = ["input", "labels"])]
    data: Option<PathBuf>,
    /// How the dataset's bytes become reals.
    #[arg(long, value_enum, default_value_t = Scaling::Centered, requires = "data")]
    pixels: Scaling,
    /// Inputs with a leading sample axis, as `kinglet run` takes them.
    #[arg(long, value_name = "FILE", requires = "labels")]
    input: Option<String>,
    /// Class of each sample: an array of integers.
    #[arg(long, value_name = "FILE", requires = "input")]
    labels: Option<PathBuf>,
    /// Most samples that are classified.
    #[arg(long, default_value_t = 1000, value_name = "N")]
    samples: usize,
}

impl DataArgs {
    /// The labelled samples that were named, if any.
    pub(super) fn read(&self, model: &Model) -> miette::Result<Option<Labelled>> {
        if let Some(path) = &self.data {
            let data = common::open_dataset(path, None)?;
            let (split, shape) = (&data.test, &data.shape);
            return Ok(Some(Labelled::of_split(
                split,
                shape,
                self.pixels,
                self.samples,
            )));
        }
        let (Some(input), Some(labels)) = (&self.input, &self.labels) else {
            return Ok(None);
        };
        let runner = model.runner().into_diagnostic()?;
        let plan = runner.plan().into_diagnostic()?;
        Labelled::read(&plan, input, labels, self.samples)
            .map(Some)
            .into_diagnostic()
    }
}

/// What is known of the model's answers.
struct Answers {
    data: Labelled,
    ours: Evaluation,
    float: Option<Evaluation>,
}

/// What the emulated board did.
struct Device {
    board: &'static Board,
    run: Emulation,
    profile: Emulation,
    /// Samples, and how many of them gave other bytes than this machine.
    compared: [usize; 2],
}

pub(super) fn run(args: Args) -> miette::Result<()> {
    let board = args.build.board()?;
    let options = args.build.options(board, args.model.rounding);
    let model =
        Model::open(&args.model.model, &args.model.load_options(), &options).into_diagnostic()?;
    common::print_warnings(&model.warnings);
    let answers = answers(&args, &model)?;
    let device = board.map(|board| device(&args, &model, board, answers.as_ref()));
    let device = device.transpose()?;
    let step_instructions = device
        .as_ref()
        .map(|d| d.profile.step_instructions.as_slice());
    let nodes = profile(&model, step_instructions.unwrap_or_default());
    page(&args, &model, &nodes, answers.as_ref(), device.as_ref())
        .write(&args.output)
        .into_diagnostic()?;
    print(&args, &model, &nodes, answers.as_ref(), device.as_ref());
    Ok(())
}

/// Classifies the samples with the plan for this machine, whose bytes are the device's and which is faster here.
fn answers(args: &Args, model: &Model) -> miette::Result<Option<Answers>> {
    let Some(data) = args.data.read(model)? else {
        return Ok(None);
    };
    let progress = common::spinner();
    progress.set_message(format!("{} samples", data.labels.len()));
    let (path, rounding) = (&args.model.model, args.model.rounding);
    let plan = host_plan(path, &args.model.load_options(), model, rounding)?;
    let ours = evaluate(model, &plan, &data)?;
    let float = match &args.float {
        Some(path) => {
            let float = Model::open(path, &args.model.load_options(), &CompileOptions::default());
            let float = float.into_diagnostic()?;
            Some(evaluate(&float, &float.plan, &data)?)
        }
        None => None,
    };
    progress.finish_and_clear();
    Ok(Some(Answers { data, ours, float }))
}

/// A plan of the model for this machine; a plan is what it is.
pub(super) fn host_plan(
    path: &Path,
    load: &LoadOptions,
    model: &Model,
    rounding: Rounding,
) -> miette::Result<Vec<u8>> {
    if model.graph.is_none() {
        return Ok(model.plan.clone());
    }
    let options = CompileOptions {
        rounding,
        ..CompileOptions::default()
    };
    let host = Model::open(path, load, &options);
    Ok(host.into_diagnostic()?.plan)
}

/// Classifies the samples with a plan of `model`.
pub(super) fn evaluate(model: &Model, plan: &[u8], data: &Labelled) -> miette::Result<Evaluation> {
    let runner = crate::host::Runner::new(plan).into_diagnostic()?;
    let rows = data
        .rows(&runner.plan().into_diagnostic()?)
        .into_diagnostic()?;
    common::doubt_scaling(model, &rows);
    Evaluation::of(plan, &rows).into_diagnostic()
}

fn device(
    args: &Args,
    model: &Model,
    board: &'static Board,
    answers: Option<&Answers>,
) -> miette::Result<Device> {
    let runner = model.runner().into_diagnostic()?;
    let plan = runner.plan().into_diagnostic()?;
    let samples = match answers {
        Some(answers) => {
            let mut data = answers.data.clone();
            data.samples.truncate(args.board_samples as usize);
            data.rows(&plan).into_diagnostic()?
        }
        None => vec![samples::random(&plan)],
    };
    if samples.is_empty() {
        bail!("the data hold no samples");
    }
    let progress = common::spinner();
    let emulate = |mode| {
        let request = Request {
            board,
            plan: &model.plan,
            samples: &samples,
            mode,
            loaded: false,
        };
        emulate::emulate(&request, &|text| progress.set_message(text.to_owned())).into_diagnostic()
    };
    let (run, profile) = (emulate(Mode::Run)?, emulate(Mode::Profile)?);
    progress.finish_and_clear();
    let host = crate::host::Runner::new(&model.plan)
        .into_diagnostic()?
        .run_all(samples.iter().map(Vec::as_slice), &mut ());
    let host = host.into_diagnostic()?;
    let different = host
        .iter()
        .zip(&run.outputs)
        .filter(|(host, device)| host.concat() != **device);
    let compared = [samples.len(), different.count()];
    Ok(Device {
        board,
        run,
        profile,
        compared,
    })
}

fn bytes(n: usize) -> String {
    format!("{} B", grouped(n as u64))
}

/// The figures at the head of the page.
fn facts(model: &Model, answers: Option<&Answers>, device: Option<&Device>) -> Vec<[String; 3]> {
    let mut facts = Vec::new();
    let mut fact =
        |what: &str, value: String, remark: String| facts.push([what.into(), value, remark]);
    if let Some(a) = answers {
        fact(
            "Accuracy",
            format!("{:.2} %", 100.0 * a.ours.accuracy(&a.data.labels)),
            format!("of {} samples", grouped(a.data.labels.len() as u64)),
        );
    }
    let predicted = model.compiled.as_ref().and_then(|c| c.instructions);
    match (device, predicted) {
        (Some(d), predicted) => fact(
            "Instructions",
            grouped(common::median(&d.run.instructions)),
            predicted.map_or("counted".into(), |p| {
                format!("counted; {} predicted", grouped(p))
            }),
        ),
        (None, Some(predicted)) => fact(
            "Instructions",
            grouped(predicted),
            "predicted, one inference".into(),
        ),
        (None, None) => {}
    }
    fact(
        "Multiply-accumulates",
        grouped(model.macs()),
        "one inference".into(),
    );
    if let Some(graph) = &model.graph {
        fact(
            "Parameters",
            grouped(passes::total_parameters(graph)),
            "weights and biases".into(),
        );
    }
    if let Some(d) = device {
        fact(
            "Flash",
            bytes(d.run.flash_bytes as usize),
            format!(
                "plan {}, code {}",
                grouped(d.run.plan_bytes),
                grouped(d.run.code_bytes)
            ),
        );
        fact(
            "RAM",
            bytes(d.run.ram_bytes() as usize),
            format!(
                "arena {}, static {}, stack {}",
                grouped(d.run.arena_bytes),
                grouped(d.run.static_ram_bytes),
                grouped(d.run.stack_peak_bytes)
            ),
        );
        return facts;
    }
    fact(
        "Plan",
        bytes(model.plan.len()),
        "flash, without code".into(),
    );
    if let Some(c) = &model.compiled {
        fact(
            "Arena",
            bytes(c.arena_len),
            "RAM, inputs and outputs included".into(),
        );
        if let Some(stack) = c.stack_bound {
            fact("Stack", bytes(stack as usize), "at most".into());
        }
    }
    facts
}

fn page(
    args: &Args,
    model: &Model,
    nodes: &[NodeCosts],
    answers: Option<&Answers>,
    device: Option<&Device>,
) -> Report {
    let mut report = Report::new(&model.name);
    let target = crate::compile::cost::name(args.build.target);
    report.note(&match (device, &model.compiled) {
        (Some(d), _) => format!(
            "Compiled for and run on {} ({}), emulated.",
            d.board.name, d.board.core
        ),
        (None, Some(_)) => format!("Compiled for {target}."),
        (None, None) => {
            "A finished plan: what the compiler knew of its tensors and weights is not in it."
                .into()
        }
    });
    report.facts(&facts(model, answers, device));
    report.heading("Network and what its layers cost");
    report.note(match device {
        Some(_) => "Instructions are counted by the emulator, node by node (median of the samples); they are not cycles. Bars: counted instructions.",
        None if nodes.iter().any(|n| n.predicted.is_some()) => "Instructions are the compiler's predictions from measurements of each kernel. Bars: predicted instructions.",
        None => "Bars: multiply-accumulates.",
    });
    report.network(
        model.graph.as_ref(),
        &costs(nodes, model.graph.as_ref(), device.is_some()),
    );
    if let Some(compiled) = &model.compiled {
        memory(&mut report, compiled);
    }
    if let Some(graph) = &model.graph {
        weights(&mut report, graph);
    }
    if let Some(answers) = answers {
        accuracy(&mut report, answers, device, args);
    }
    report
}

/// The list of layers, each with a bar of what it costs of the most.
fn costs(nodes: &[NodeCosts], graph: Option<&Graph>, measured: bool) -> Vec<LayerCosts> {
    let weight = |n: &NodeCosts| match (measured, n.predicted) {
        (true, _) => n.cost,
        (false, Some(predicted)) => predicted,
        (false, None) => n.macs,
    };
    let most = nodes.iter().map(weight).max().unwrap_or(0).max(1);
    let all = nodes.iter().map(weight).sum::<u64>().max(1);
    nodes
        .iter()
        .map(|n| {
            let mut figures = Vec::new();
            if measured {
                let percent = 100.0 * n.cost as f64 / all as f64;
                figures.push(("of all", format!("{percent:.1} %")));
                figures.push(("instructions", grouped(n.cost)));
            }
            if let Some(predicted) = n.predicted {
                figures.push((
                    if measured {
                        "predicted"
                    } else {
                        "instructions"
                    },
                    grouped(predicted),
                ));
            }
            if n.macs > 0 {
                figures.push(("MACs", grouped(n.macs)));
            }
            if n.bytes > 0 {
                figures.push(("bytes of weights", grouped(n.bytes)));
            }
            if n.count > 1 {
                figures.push(("steps", n.count.to_string()));
            }
            LayerCosts {
                name: n.name.clone(),
                operator: graph
                    .and_then(|g| crate::report::operator(g, &n.name))
                    .unwrap_or_else(|| n.operator.to_owned()),
                share: weight(n) as f64 / most as f64,
                figures,
            }
        })
        .collect()
}

fn memory(report: &mut Report, compiled: &Compiled) {
    let peak = compiled.steps.get(compiled.peak_step);
    report.heading("Memory over time");
    report.note(&format!(
        "The arena, step by step: a rectangle is a tensor, as high as it is large and as long as it is needed; grey is the \
         working memory of a kernel. Most is in use in step {}{}: {} of {} bytes. Touch or point at a rectangle for its name.",
        compiled.peak_step,
        peak.map_or_else(String::new, |s| format!(" ({})", readable(&s.name))),
        grouped(compiled.peak_bytes as u64),
        grouped(compiled.arena_len as u64)
    ));
    report.arena(
        &compiled.lifetimes,
        compiled.arena_len,
        compiled.steps.len(),
        compiled.peak_step,
    );
    if let Some(tiled) = &compiled.tiled {
        report.note(&format!(
            "Some layers run by bands of rows; without that the arena would have {} bytes.",
            grouped(tiled.untiled_arena_len as u64)
        ));
    }
}

fn weights(report: &mut Report, graph: &Graph) {
    let layers = layers::layers(graph, RELATIVE_STEP);
    let densities: Vec<Density> = layers
        .iter()
        .filter(|l| !l.histogram.is_empty())
        .map(|l| Density {
            name: l.name.clone(),
            note: match l.shape_parameter {
                Some(nu) => format!("ν = {nu:.2} · {:.2} bits", l.rate.entropy),
                None => String::new(),
            },
            measured: l.histogram.clone(),
            fitted: l.fitted(),
        })
        .collect();
    if densities.is_empty() {
        return;
    }
    report.heading("Weights");
    report.note("Density over ±4 standard deviations. ν is the shape of the generalised Gaussian: 2 is normal, 1 is Laplace, less has more weights near zero. Bits are a weight's entropy, as integers or, of floats, at steps of a quarter of a deviation.");
    report.densities(&densities);
}

fn accuracy(report: &mut Report, answers: &Answers, device: Option<&Device>, args: &Args) {
    let Answers { data, ours, .. } = answers;
    report.heading("Accuracy");
    report.rows(
        &["", "accuracy", "same class as this model"],
        &comparison(answers, device),
    );
    report.note(match device {
        Some(_) => "Float and integer kernels give the same bytes on this machine and on the device; the samples that ran in the emulator show it.",
        None => "With the device's arithmetic: kernels give the same bytes on this machine and on every device.",
    });
    report.classes(data, ours, &args.class_names);
}

/// Float, this machine and the device, a row each.
fn comparison(answers: &Answers, device: Option<&Device>) -> Vec<Vec<String>> {
    let Answers { data, ours, float } = answers;
    let percent = |e: &Evaluation| format!("{:.2} %", 100.0 * e.accuracy(&data.labels));
    let mut rows = Vec::new();
    if let Some(float) = float {
        let same = 100.0 * float.accuracy(&ours.classified);
        rows.push(vec![
            "float model, this machine".into(),
            percent(float),
            format!("{same:.2} %"),
        ]);
    }
    rows.push(vec![
        "this model, this machine".into(),
        percent(ours),
        "-".into(),
    ]);
    if let Some(d) = device {
        let [samples, different] = d.compared;
        let what = match different {
            0 => format!("{samples} of {samples} samples: the same bytes"),
            _ => format!("{different} of {samples} samples have other bytes"),
        };
        rows.push(vec![
            format!("this model, {} emulated", d.board.name),
            "-".into(),
            what,
        ]);
    }
    rows
}

fn print(
    args: &Args,
    model: &Model,
    nodes: &[NodeCosts],
    answers: Option<&Answers>,
    device: Option<&Device>,
) {
    if !args.json {
        let facts = facts(model, answers, device);
        let rows: Vec<Vec<String>> = facts.into_iter().map(Vec::from).collect();
        println!("{}", terminal_table(&[&model.name, "", ""], &rows));
        println!("wrote {}", args.output.display());
        return;
    }
    let each: Vec<_> = nodes
        .iter()
        .map(|n| {
            json!({
                "name": n.name, "operator": n.operator, "macs": n.macs, "constant_bytes": n.bytes,
                "instructions": device.map(|_| n.cost), "instructions_predicted": n.predicted,
            })
        })
        .collect();
    let compiled = model.compiled.as_ref();
    common::print_json(&json!({
        "model": model.name,
        "report": args.output,
        "board": args.build.board,
        "macs": model.macs(),
        "plan_bytes": model.plan.len(),
        "arena_bytes": compiled.map(|c| c.arena_len),
        "peak_bytes": compiled.map(|c| c.peak_bytes),
        "instructions": device.map(|d| common::median(&d.run.instructions)),
        "instructions_predicted": compiled.and_then(|c| c.instructions),
        "samples": answers.map(|a| a.data.labels.len()),
        "accuracy": answers.map(|a| a.ours.accuracy(&a.data.labels)),
        "accuracy_float": answers.and_then(|a| a.float.as_ref().map(|f| f.accuracy(&a.data.labels))),
        "confusion": answers.map(|a| a.ours.confusion(&a.data.labels)),
        "device_samples": device.map(|d| d.compared[0]),
        "device_different": device.map(|d| d.compared[1]),
        "nodes": each,
    }));
}
