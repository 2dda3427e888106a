//! `kinglet inspect`: what a model is made of.

use super::common::{self, ModelArgs, grouped, shorten};
use crate::compile::Target;
use crate::diagnose::IntoDiagnostic;
use crate::graph::{DType, Graph, Quantization, ValueId};
use crate::model::{Format, ModelError};
use crate::onnx;
use crate::passes::{self, Warning, op_name};
use crate::report::terminal_table;
use serde::Serialize;
use serde_json::json;

/// Show a model's nodes, shapes, types, multiply-accumulates and parameters.
///
/// The model is shown as it will run: batch norms folded, activations fused, QDQ lowered to integers.
/// A warning says which nodes of a quantised model stay in float, and why.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  kinglet inspect model.onnx
  kinglet inspect model.kinglet --json
  kinglet inspect model.onnx --shape input=1x3x96x96")]
pub(super) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// Print one JSON object instead of a table.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct TensorReport {
    name: String,
    shape: Vec<usize>,
    dtype: DType,
    quantization: Option<Quantization>,
}

#[derive(Serialize)]
struct NodeReport {
    name: String,
    op: &'static str,
    shape: Vec<usize>,
    dtype: DType,
    macs: u64,
    parameters: u64,
}

#[derive(Serialize)]
struct Report {
    model: String,
    macs: u64,
    parameters: u64,
    inputs: Vec<TensorReport>,
    outputs: Vec<TensorReport>,
    nodes: Vec<NodeReport>,
    warnings: Vec<Warning>,
}

impl Report {
    fn new(model: String, mut graph: Graph) -> Report {
        // The original network's: folding and splitting change the numbers.
        let (macs, parameters) = (passes::total_macs(&graph), passes::total_parameters(&graph));
        let warnings = passes::prepare(&mut graph);
        let tensors = |ids: &[ValueId]| {
            ids.iter()
                .map(|&id| {
                    let v = &graph[id];
                    TensorReport {
                        name: v.name.clone(),
                        shape: v.shape.clone(),
                        dtype: v.dtype,
                        quantization: v.quantization.clone(),
                    }
                })
                .collect()
        };
        let node = |n: &crate::graph::Node| NodeReport {
            name: n.name.clone(),
            op: op_name(&n.op),
            shape: graph[n.output].shape.clone(),
            dtype: graph[n.output].dtype,
            macs: passes::macs(&graph, n),
            parameters: passes::parameters(&graph, n),
        };
        Report {
            model,
            macs,
            parameters,
            inputs: tensors(&graph.inputs),
            outputs: tensors(&graph.outputs),
            nodes: graph.nodes.iter().map(node).collect(),
            warnings,
        }
    }

    fn print(&self) {
        let rows: Vec<Vec<String>> = self
            .nodes
            .iter()
            .map(|n| {
                vec![
                    shorten(&n.name),
                    n.op.to_owned(),
                    dims(&n.shape),
                    type_name(n.dtype).to_owned(),
                    count_or_dash(n.macs),
                    count_or_dash(n.parameters),
                ]
            })
            .collect();
        println!("{}", self.model);
        let headers = ["node", "operator", "output", "type", "MACs", "parameters"];
        println!("{}", terminal_table(&headers, &rows));
        println!(
            "{} nodes, {} multiply-accumulates for one inference, {} parameters",
            self.nodes.len(),
            grouped(self.macs),
            grouped(self.parameters)
        );
        for (what, tensors) in [("input", &self.inputs), ("output", &self.outputs)] {
            for t in tensors {
                let q = match &t.quantization {
                    Some(q) => format!(", real = {} · (q − ({}))", q.scales[0], q.zero_point),
                    None => String::new(),
                };
                println!(
                    "{what} `{}`: {} [{}]{q}",
                    t.name,
                    type_name(t.dtype),
                    dims(&t.shape)
                );
            }
        }
        for w in &self.warnings {
            println!("warning: {w}");
        }
    }
}

fn type_name(dtype: DType) -> &'static str {
    match dtype {
        DType::F32 => "float32",
        DType::I8 => "int8",
        DType::U8 => "uint8",
        DType::I32 => "int32",
        DType::I64 => "int64",
    }
}

fn dims(shape: &[usize]) -> String {
    shape
        .iter()
        .map(usize::to_string)
        .collect::<Vec<_>>()
        .join("×")
}

fn count_or_dash(n: u64) -> String {
    if n == 0 { "-".into() } else { grouped(n) }
}

pub(super) fn run(args: Args) -> miette::Result<()> {
    let path = &args.model.model;
    if Format::of(path).into_diagnostic()? == Format::Plan {
        return inspect_plan(&args);
    }
    let graph = onnx::load(path, &args.model.load_options())
        .map_err(|source| ModelError::Onnx {
            path: path.clone(),
            source: Box::new(source),
        })
        .into_diagnostic()?;
    let report = Report::new(path.display().to_string(), graph);
    if args.json {
        common::print_json(&serde_json::to_value(&report).into_diagnostic()?);
    } else {
        report.print();
    }
    Ok(())
}

/// What a plan says of itself.
fn inspect_plan(args: &Args) -> miette::Result<()> {
    let model = args.model.open(Target::Host)?;
    let runner = model.runner().into_diagnostic()?;
    let plan = runner.plan().into_diagnostic()?;
    let operators = &model.operators;
    let describe = |tensor: kinglet::TensorInfo<'_>| {
        json!({
            "name": tensor.name,
            "shape": tensor.shape(),
            "dtype": format!("{:?}", tensor.dtype).to_lowercase(),
            "scale": tensor.scale,
            "zero_point": tensor.zero_point,
        })
    };
    let inputs: Vec<_> = (0..plan.input_count())
        .filter_map(|i| plan.input(i))
        .map(describe)
        .collect();
    let outputs: Vec<_> = (0..plan.output_count())
        .filter_map(|i| plan.output(i))
        .map(describe)
        .collect();
    if args.json {
        let step = |(name, (op, macs)): (&String, &(kinglet::OpCode, u64))| json!({ "name": name, "operator": op.name(), "macs": macs });
        let steps: Vec<_> = model.step_names.iter().zip(operators).map(step).collect();
        common::print_json(&json!({
            "model": model.name,
            "macs": model.macs(),
            "plan_bytes": plan.core_len(),
            "arena_bytes": plan.arena_len(),
            "inputs": inputs,
            "outputs": outputs,
            "steps": steps,
        }));
        return Ok(());
    }
    let rows: Vec<Vec<String>> = model
        .step_names
        .iter()
        .zip(operators)
        .enumerate()
        .map(|(i, (name, (op, macs)))| {
            vec![
                i.to_string(),
                shorten(name),
                op.name().to_owned(),
                count_or_dash(*macs),
            ]
        })
        .collect();
    println!(
        "{}",
        terminal_table(&["step", "node", "operator", "MACs"], &rows)
    );
    println!(
        "plan {} bytes, arena {} bytes",
        grouped(plan.core_len() as u64),
        grouped(plan.arena_len() as u64)
    );
    for (what, tensors) in [("input", inputs), ("output", outputs)] {
        for tensor in tensors {
            println!("{what} {tensor}");
        }
    }
    Ok(())
}
