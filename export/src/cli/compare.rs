//! `kinglet compare`.

use super::common::{self, BuildArgs, grouped};
use super::profile::{NodeCosts, profile};
use super::report::{DataArgs, evaluate, host_plan};
use crate::compile::Rounding;
use crate::diagnose::IntoDiagnostic;
use crate::emulate::{Board, Emulation};
use crate::evaluate::{Evaluation, Labelled};
use crate::model::Model;
use crate::onnx::LoadOptions;
use crate::passes;
use crate::report::{Report, readable, terminal_table};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Put two models or plans beside each other: accuracy, size, memory, instructions, and layer by layer.
///
/// Layers correspond when their nodes have the same name. With --board both run in the emulator, and flash, RAM and
/// instructions are measured; without, instructions are the compiler's predictions.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  kinglet compare model.onnx model_int8.onnx
  kinglet compare before.onnx after.onnx --data cifar10 --pixels raw -o compare.html
  kinglet compare a.kinglet b.kinglet --board mps2-an386 --json")]
pub(super) struct Args {
    /// The first model: an .onnx file or a .kinglet plan.
    a: PathBuf,
    /// The second one, which the ratios are of.
    b: PathBuf,
    #[command(flatten)]
    build: BuildArgs,
    /// How int8 results are rounded.
    #[arg(long, value_enum, default_value_t)]
    rounding: Rounding,
    #[command(flatten)]
    data: DataArgs,
    /// Write a self-contained HTML page.
    #[arg(short, long, value_name = "FILE.html")]
    output: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// One of both models.
struct Side {
    path: PathBuf,
    model: Model,
    nodes: Vec<NodeCosts>,
    device: Option<Emulation>,
    said: Option<Evaluation>,
}

/// A figure of both models: what, its name in JSON, and the values.
struct Figure {
    what: &'static str,
    key: &'static str,
    values: [Option<u64>; 2],
}

pub(super) fn run(args: Args) -> miette::Result<()> {
    let board = args.build.board()?;
    let open = |path: &PathBuf| open(&args, path, board);
    let mut sides = [open(&args.a)?, open(&args.b)?];
    let data = args.data.read(&sides[0].model)?;
    if let Some(data) = &data {
        for side in &mut sides {
            let load = LoadOptions::default();
            let plan = host_plan(&side.path, &load, &side.model, args.rounding)?;
            side.said = Some(evaluate(&side.model, &plan, data)?);
        }
    }
    let figures = figures(&sides);
    if let Some(path) = &args.output {
        page(&sides, &figures, data.as_ref(), board)
            .write(path)
            .into_diagnostic()?;
    }
    if args.json {
        print_json(&args, &sides, &figures, data.as_ref());
        return Ok(());
    }
    println!(
        "{}",
        terminal_table(&headers(&sides), &rows(&sides, &figures, data.as_ref()))
    );
    println!("{}", terminal_table(&LAYERS, &layers(&sides)));
    if let Some(path) = &args.output {
        println!("wrote {}", path.display());
    }
    Ok(())
}

fn open(args: &Args, path: &Path, board: Option<&'static Board>) -> miette::Result<Side> {
    let options = args.build.options(board, args.rounding);
    let model = Model::open(path, &LoadOptions::default(), &options).into_diagnostic()?;
    common::print_warnings(&model.warnings);
    let device = board.map(|board| common::emulate_once(&model, board));
    let device = device.transpose()?;
    let nodes = profile(&model, &[]);
    Ok(Side {
        path: path.into(),
        model,
        nodes,
        device,
        said: None,
    })
}

fn figures(sides: &[Side; 2]) -> Vec<Figure> {
    let mut figures = Vec::new();
    let mut figure = |what, key, value: &dyn Fn(&Side) -> Option<u64>| {
        let values = [value(&sides[0]), value(&sides[1])];
        if values.iter().any(Option::is_some) {
            figures.push(Figure { what, key, values });
        }
    };
    let arena = |s: &Side| {
        let runner = s.model.runner().ok()?;
        Some(runner.plan().ok()?.arena_len() as u64)
    };
    let compiled = |s: &Side| s.model.compiled.clone();
    figure("multiply-accumulates", "macs", &|s| Some(s.model.macs()));
    figure("parameters", "parameters", &|s| {
        s.model.graph.as_ref().map(passes::total_parameters)
    });
    figure("plan, bytes", "plan_bytes", &|s| {
        Some(s.model.plan.len() as u64)
    });
    figure("arena, bytes", "arena_bytes", &arena);
    figure("instructions, predicted", "instructions_predicted", &|s| {
        compiled(s)?.instructions
    });
    figure("stack at most, bytes", "stack_bound_bytes", &|s| {
        compiled(s)?.stack_bound
    });
    figure("instructions, counted", "instructions", &|s| {
        Some(common::median(&s.device.as_ref()?.instructions))
    });
    figure("flash, bytes", "flash_bytes", &|s| {
        Some(s.device.as_ref()?.flash_bytes)
    });
    figure("RAM, bytes", "ram_bytes", &|s| {
        let d = s.device.as_ref()?;
        Some(d.ram_bytes())
    });
    figures
}

fn headers(sides: &[Side; 2]) -> [&str; 4] {
    ["", &sides[0].model.name, &sides[1].model.name, "ratio"]
}

fn number(n: Option<u64>) -> String {
    n.map_or_else(|| "-".into(), grouped)
}

fn ratio([a, b]: [Option<u64>; 2]) -> String {
    match (a, b) {
        (Some(a), Some(b)) if a > 0 => format!("{:.2}", b as f64 / a as f64),
        _ => "-".into(),
    }
}

/// Samples that only one of both takes for what they are, and those that both take for the same class.
fn disagreement(sides: &[Side; 2], data: &Labelled) -> Option<([usize; 2], usize)> {
    let [a, b] = [sides[0].said.as_ref()?, sides[1].said.as_ref()?];
    let (mut only, mut same) = ([0, 0], 0);
    let both = a.classified.iter().zip(&b.classified);
    for ((a, b), label) in both.zip(&data.labels) {
        only[0] += usize::from(a == label && b != label);
        only[1] += usize::from(b == label && a != label);
        same += usize::from(a == b);
    }
    Some((only, same))
}

fn rows(sides: &[Side; 2], figures: &[Figure], data: Option<&Labelled>) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    if let Some(data) = data
        && let Some((only, same)) = disagreement(sides, data)
    {
        let accuracy = |s: &Side| s.said.as_ref().map_or(0.0, |e| e.accuracy(&data.labels));
        let [a, b] = [accuracy(&sides[0]), accuracy(&sides[1])];
        rows.push(vec![
            format!("accuracy of {} samples", grouped(data.labels.len() as u64)),
            format!("{:.2} %", 100.0 * a),
            format!("{:.2} %", 100.0 * b),
            format!("{:+.2} points", 100.0 * (b - a)),
        ]);
        let share = 100.0 * same as f64 / data.labels.len().max(1) as f64;
        rows.push(vec![
            "right where the other is wrong".into(),
            only[0].to_string(),
            only[1].to_string(),
            format!("{share:.1} % same class"),
        ]);
    }
    rows.extend(figures.iter().map(|f| {
        let [a, b] = f.values.map(number);
        vec![f.what.into(), a, b, ratio(f.values)]
    }));
    rows
}

const LAYERS: [&str; 7] = [
    "layer",
    "MACs",
    "of the second",
    "bytes",
    "of the second",
    "instructions, predicted",
    "of the second",
];

/// Nodes of both, in the order of the second with those that only the first has before what follows them there.
fn layers(sides: &[Side; 2]) -> Vec<Vec<String>> {
    pairs(sides)
        .into_iter()
        .map(|pair| {
            let name = pair.iter().flatten().next().map_or("", |n| &n.name);
            let mut row = vec![readable(name).to_owned()];
            let figures: [fn(&NodeCosts) -> Option<u64>; 3] = [
                |n| (n.macs > 0).then_some(n.macs),
                |n| (n.bytes > 0).then_some(n.bytes),
                |n| n.predicted,
            ];
            row.extend(
                figures
                    .iter()
                    .flat_map(|f| pair.map(|n| number(n.and_then(f)))),
            );
            row
        })
        .collect()
}

fn pairs(sides: &[Side; 2]) -> Vec<[Option<&NodeCosts>; 2]> {
    let mut pairs: Vec<[Option<&NodeCosts>; 2]> = Vec::new();
    let mut next = 0;
    let [first, second] = [&sides[0].nodes, &sides[1].nodes];
    for node in second {
        let twin = first.iter().skip(next).position(|n| n.name == node.name);
        if let Some(at) = twin.map(|at| next + at) {
            pairs.extend(first[next..at].iter().map(|n| [Some(n), None]));
            pairs.push([Some(&first[at]), Some(node)]);
            next = at + 1;
        } else {
            pairs.push([None, Some(node)]);
        }
    }
    pairs.extend(first[next..].iter().map(|n| [Some(n), None]));
    pairs
}

fn page(
    sides: &[Side; 2],
    figures: &[Figure],
    data: Option<&Labelled>,
    board: Option<&'static Board>,
) -> Report {
    let [a, b] = [&sides[0].model.name, &sides[1].model.name];
    let mut report = Report::new(&format!("{a} and {b}"));
    report.note(&match board {
        Some(board) => format!(
            "Flash, RAM and counted instructions: {} ({}), emulated.",
            board.name, board.core
        ),
        None => "Instructions are the compiler's predictions.".into(),
    });
    report.rows(&headers(sides), &rows(sides, figures, data));
    for figure in figures {
        if let [Some(x), Some(y)] = figure.values {
            report.part(figure.what);
            report.bars(&[(a.clone(), x as f64), (b.clone(), y as f64)]);
        }
    }
    report.table("Layers", &LAYERS, &layers(sides));
    report
}

fn print_json(args: &Args, sides: &[Side; 2], figures: &[Figure], data: Option<&Labelled>) {
    let side = |index: usize| {
        let s = &sides[index];
        let mut object = serde_json::Map::new();
        object.insert("model".into(), json!(s.path));
        for figure in figures {
            object.insert(figure.key.into(), json!(figure.values[index]));
        }
        if let (Some(data), Some(said)) = (data, &s.said) {
            object.insert("accuracy".into(), json!(said.accuracy(&data.labels)));
        }
        object
    };
    let node = |n: &NodeCosts| json!({ "macs": n.macs, "constant_bytes": n.bytes, "instructions_predicted": n.predicted });
    let layers: Vec<_> = pairs(sides)
        .into_iter()
        .map(|pair| {
            let name = pair.iter().flatten().next().map(|n| &n.name);
            json!({ "name": name, "a": pair[0].map(node), "b": pair[1].map(node) })
        })
        .collect();
    let disagreement = data.and_then(|data| disagreement(sides, data));
    common::print_json(&json!({
        "a": side(0),
        "b": side(1),
        "board": args.build.board,
        "samples": data.map(|d| d.labels.len()),
        "only_a_right": disagreement.map(|(only, _)| only[0]),
        "only_b_right": disagreement.map(|(only, _)| only[1]),
        "same_class": disagreement.map(|(_, same)| same),
        "layers": layers,
    }));
}
