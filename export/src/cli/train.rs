//! `kinglet train`.

use super::common::{self, StepBar, grouped};
use crate::data::augment::Augment;
use crate::data::batches::Plan;
use crate::data::{Dataset, Scaling};
use crate::diagnose::IntoDiagnostic;
use crate::files::Claim;
use crate::graph::Graph;
use crate::model::{load_graph, load_trainable};
use crate::onnx::{LoadOptions, write};
use crate::passes;
use crate::report::terminal_table;
use crate::train::arch::Arch;
use crate::train::evaluate::{Evaluation, evaluate};
use crate::train::optimizer::{Decay, Optimizer, Rate, Rule, Schedule};
use crate::train::tape::Program;
use crate::train::trainer::{Keep, Options, Report, Run, Teacher};
use clap::{Args as ClapArgs, ValueEnum};
use miette::{ensure, miette};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Train a network, from scratch or from an ONNX file, and write it as plain ONNX.
///
/// The network is one of the zoo in code (resnet8, resnet20, resnet32, resnet56, ds_cnn, mobilenet_v1_025, mlp) or any
/// float model: its initialisers are the parameters. Ctrl-C stops after the step in hand and keeps the run's state;
/// --resume goes on with the same result as if it had never stopped.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  kinglet train resnet8 --data cifar10 -o resnet8.onnx --crop 4 --flip
  kinglet train model.onnx --data samples.npz -o better.onnx --epochs 5 --lr 0.01
  kinglet train resnet8 --data cifar10 -o resnet8.onnx --crop 4 --flip --resume")]
pub(super) struct Args {
    /// A network of the zoo in code, or an .onnx file.
    model: String,
    /// The dataset: a folder, an .npz file, or a name in the model zoo's `datasets`.
    #[arg(long, value_name = "DATASET")]
    data: PathBuf,
    /// Where the trained model goes.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    training: Training,
    /// Where the run's state and metrics are kept; beside the output by default.
    #[arg(long, value_name = "FOLDER")]
    checkpoint: Option<PathBuf>,
    /// Go on from the checkpoint.
    #[arg(long)]
    resume: bool,
    /// Threads; all cores by default. The result does not depend on it.
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    threads: usize,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// What a run's result depends on.
#[derive(ClapArgs, serde::Serialize)]
struct Training {
    /// Passes over the training data.
    #[arg(long, default_value_t = 30)]
    epochs: usize,
    /// Samples a step.
    #[arg(long, default_value_t = 128)]
    batch: usize,
    /// Step size at the start; 0.1 for SGD and 0.001 for Adam by default.
    #[arg(long)]
    lr: Option<f64>,
    /// How the step size falls.
    #[arg(long, value_enum, default_value_t = Fall::Cosine)]
    schedule: Fall,
    /// Epochs at which a step schedule divides the step size by ten; half and three quarters of all by default.
    #[arg(long, value_delimiter = ',')]
    milestones: Vec<f64>,
    /// Epochs during which the step size rises from 0.
    #[arg(long, default_value_t = 1.0)]
    warm_up: f64,
    /// What turns gradients into steps.
    #[arg(long, value_enum, default_value_t = Method::Sgd)]
    optimizer: Method,
    /// SGD's momentum.
    #[arg(long, default_value_t = 0.9)]
    momentum: f64,
    /// SGD in Nesterov's form.
    #[arg(long)]
    nesterov: bool,
    /// L2 decay of weights.
    #[arg(long, default_value_t = 5e-4)]
    weight_decay: f64,
    /// L2 decay of biases and of batch-norm's parameters.
    #[arg(long, default_value_t = 0.0)]
    other_decay: f64,
    /// Share of each target that is spread over all classes.
    #[arg(long, default_value_t = 0.0)]
    label_smoothing: f64,
    /// Move images by up to this many pixels.
    #[arg(long, default_value_t = 0)]
    crop: usize,
    /// Mirror images at random.
    #[arg(long)]
    flip: bool,
    /// Blank a square of this side in each image.
    #[arg(long, default_value_t = 0, value_name = "PIXELS")]
    cutout: usize,
    /// CutMix, with shares from Beta(α, α), α up to 1.
    #[arg(long, default_value_t = 0.0, value_name = "α")]
    cutmix: f64,
    /// Mixup, with shares from Beta(α, α), α up to 1.
    #[arg(long, default_value_t = 0.0, value_name = "α")]
    mixup: f64,
    /// How bytes become reals. Centred is what an int8 input with scale 1/64 means.
    #[arg(long, value_enum, default_value_t = Scaling::Centered)]
    #[serde(skip)]
    pixels: Scaling,
    /// Learn also from this model's predictions.
    #[arg(long, value_name = "MODEL")]
    teacher: Option<PathBuf>,
    /// What the teacher's and the student's logits are divided by.
    #[arg(long, default_value_t = 4.0)]
    temperature: f64,
    /// The teacher's share of the loss.
    #[arg(long, default_value_t = 0.5)]
    teacher_weight: f64,
    /// Where all randomness comes from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Use only the first so many training samples.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

#[derive(Clone, Copy, ValueEnum, serde::Serialize)]
enum Fall {
    Constant,
    Step,
    Cosine,
}

#[derive(Clone, Copy, PartialEq, ValueEnum, serde::Serialize)]
enum Method {
    Sgd,
    Adam,
}

impl Training {
    fn check(&self) -> miette::Result<()> {
        ensure!(self.epochs > 0, "--epochs must be at least 1");
        ensure!(self.batch > 1, "--batch must be at least 2");
        let unit = |name: &str, value: f64, upper: f64| {
            ensure!(
                (0.0..=upper).contains(&value),
                "{name} must be between 0 and {upper}, not {value}"
            );
            Ok(())
        };
        unit("--cutmix", self.cutmix, 1.0)?;
        unit("--mixup", self.mixup, 1.0)?;
        unit("--label-smoothing", self.label_smoothing, 1.0)?;
        unit("--teacher-weight", self.teacher_weight, 1.0)?;
        unit("--momentum", self.momentum, 1.0)?;
        ensure!(self.temperature > 0.0, "--temperature must be positive");
        Ok(())
    }

    fn options(&self) -> Options {
        let epochs = self.epochs as f64;
        let milestones = match &self.milestones[..] {
            [] => vec![epochs * 0.5, epochs * 0.75],
            given => given.to_vec(),
        };
        let usual = match self.optimizer {
            Method::Sgd => 0.1,
            Method::Adam => 1e-3,
        };
        Options {
            epochs: self.epochs,
            plan: Plan {
                batch: self.batch,
                seed: self.seed,
                scaling: self.pixels,
                augment: Augment {
                    crop: self.crop,
                    flip: self.flip,
                    cutout: self.cutout,
                    cutmix: self.cutmix,
                    mixup: self.mixup,
                },
            },
            rate: Rate {
                base: self.lr.unwrap_or(usual),
                schedule: match self.schedule {
                    Fall::Constant => Schedule::Constant,
                    Fall::Cosine => Schedule::Cosine,
                    Fall::Step => Schedule::Step {
                        at: milestones,
                        factor: 0.1,
                    },
                },
                warm_up: self.warm_up,
                epochs,
            },
            smoothing: self.label_smoothing,
        }
    }

    fn optimizer(&self) -> Optimizer<f32> {
        let rule = match self.optimizer {
            Method::Sgd => Rule::Sgd {
                momentum: self.momentum,
                nesterov: self.nesterov,
            },
            Method::Adam => Rule::Adam {
                beta1: 0.9,
                beta2: 0.999,
            },
        };
        let decay = Decay {
            weights: self.weight_decay,
            others: self.other_decay,
        };
        Optimizer::new(rule, decay)
    }
}

/// What a run ended with.
struct Ended {
    finished: bool,
    epochs: usize,
    exported: Option<Evaluation>,
    seconds: f64,
}

pub(super) fn run(args: Args) -> miette::Result<()> {
    args.training.check()?;
    common::use_threads(args.threads)?;
    let data = common::open_dataset(&args.data, args.training.limit)?;
    let mut graph = network(&args.model, &data, args.training.seed)?;
    let ended = train(&args, &data, &mut graph)?;
    print(&args, &data, &graph, &ended);
    common::end(ended.finished)
}

fn network(model: &str, data: &Dataset, seed: u64) -> miette::Result<Graph> {
    if let Ok(arch) = Arch::from_str(model, false) {
        return arch
            .build(&data.shape, data.classes, seed)
            .into_diagnostic();
    }
    if !Path::new(model).exists() {
        let names: Vec<&str> = Arch::value_variants().iter().map(|a| a.name()).collect();
        return Err(miette!(
            "`{model}` is neither a file nor a network of the zoo: {}",
            names.join(", ")
        ));
    }
    load_trainable(Path::new(model), &LoadOptions::default()).into_diagnostic()
}

fn train(args: &Args, data: &Dataset, graph: &mut Graph) -> miette::Result<Ended> {
    let options = args.training.options();
    let mut program = Program::<f32>::new(graph).into_diagnostic()?;
    let teacher = match &args.training.teacher {
        Some(path) => {
            let (graph, _) = load_graph(path, &LoadOptions::default()).into_diagnostic()?;
            Some(Teacher {
                program: Program::new(&graph).into_diagnostic()?,
                temperature: args.training.temperature,
                weight: args.training.teacher_weight,
            })
        }
        None => None,
    };
    let folder = args.checkpoint.clone();
    let folder = folder.unwrap_or_else(|| args.output.with_extension("training"));
    let mut settings = serde_json::to_value(&args.training).into_diagnostic()?;
    settings["model"] = json!(args.model);
    settings["data"] = json!(data.name);
    settings["pixels"] = json!(format!("{:?}", args.training.pixels));
    let _claim = Claim::on(&folder).into_diagnostic()?;
    let stop = common::stop_on_interrupt()?;
    let steps = options.plan.steps(data);
    let bar = StepBar::new(steps, options.epochs);
    let mut report = |report: Report<'_>| bar.show(report);
    let mut run = Run {
        program: &mut program,
        data,
        options: &options,
        optimizer: args.training.optimizer(),
        methods: Vec::new(),
        teacher,
        keep: Some(Keep {
            folder,
            every: Duration::from_secs(60),
        }),
        settings,
        stop: &stop,
        report: &mut report,
    };
    let outcome = run.train(args.resume);
    bar.clear();
    let outcome = outcome.into_diagnostic()?;
    let exported = if outcome.finished {
        program.write_back(graph);
        write::write(graph, &args.output).into_diagnostic()?;
        // What counts is the file: its batch-norms are folded as they will be when it is compiled.
        let (mut folded, _) =
            load_graph(&args.output, &LoadOptions::default()).into_diagnostic()?;
        passes::remove_identities(&mut folded);
        let mut folded = Program::<f32>::new(&folded).into_diagnostic()?;
        Some(evaluate(
            &mut folded,
            data,
            &data.test,
            options.plan.scaling,
        ))
    } else {
        None
    };
    Ok(Ended {
        finished: outcome.finished,
        epochs: outcome.history.len(),
        exported,
        seconds: outcome.history.iter().map(|m| m.seconds).sum(),
    })
}

fn print(args: &Args, data: &Dataset, graph: &Graph, ended: &Ended) {
    let parameters = passes::total_parameters(graph);
    let macs = passes::total_macs(graph);
    if args.json {
        common::print_json(&json!({
            "model": args.model,
            "data": data.name,
            "output": ended.finished.then_some(&args.output),
            "finished": ended.finished,
            "epochs": ended.epochs,
            "parameters": parameters,
            "macs": macs,
            "train_samples": data.train.len(),
            "test_samples": data.test.len(),
            "test": ended.exported,
            "seconds": ended.seconds,
        }));
        return;
    }
    let Some(exported) = ended.exported else {
        println!(
            "stopped after {} of {} epochs; go on with --resume",
            ended.epochs, args.training.epochs
        );
        return;
    };
    let rows = [
        vec!["parameters".to_owned(), grouped(parameters)],
        vec!["multiply-accumulates".to_owned(), grouped(macs)],
        vec![
            "training samples".to_owned(),
            grouped(data.train.len() as u64),
        ],
        vec![
            format!(
                "accuracy on {} test samples",
                grouped(data.test.len() as u64)
            ),
            format!("{:.2} %", 100.0 * exported.accuracy),
        ],
        vec![
            "seconds of training".to_owned(),
            format!("{:.1}", ended.seconds),
        ],
    ];
    println!("{}", terminal_table(&[&args.model, ""], &rows));
    println!("wrote {}", args.output.display());
}
