//! `kinglet inspect`: what a model is made of.

use crate::graph::{DType, Graph, Quantization, ValueId};
use crate::onnx::{self, LoadOptions};
use crate::passes::{self, Warning, op_name};
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use miette::{IntoDiagnostic, WrapErr};
use serde::Serialize;
use std::path::PathBuf;

/// Show a model's nodes, shapes, types, multiply-accumulates and parameters.
///
/// The model is shown as it will run: batch norms folded, activations fused, QDQ lowered to integers.
/// A warning says which nodes of a quantised model stay in float, and why.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  kinglet inspect model.onnx\n  kinglet inspect model.onnx --json\n  \
                        kinglet inspect model.onnx --input-shape input=1,3,96,96"
)]
pub(super) struct Args {
    /// The model.
    #[arg(value_name = "MODEL.{onnx,kinglet}")]
    model: PathBuf,
    /// Shape of an input that the file leaves open, for example `input=1,3,96,96`. May be given several times.
    #[arg(long, value_name = "NAME=D,D,...", value_parser = parse_shape)]
    input_shape: Vec<(String, Vec<usize>)>,
    /// Print one JSON object instead of a table.
    #[arg(long)]
    json: bool,
}

/// `name=1,2,3`.
fn parse_shape(text: &str) -> Result<(String, Vec<usize>), String> {
    // Names may hold `=`; shapes do not.
    let (name, dims) = text.rsplit_once('=').ok_or("expected NAME=D,D,...")?;
    let shape: Result<Vec<usize>, _> = dims.split(',').map(|d| d.trim().parse()).collect();
    Ok((
        name.to_owned(),
        shape.map_err(|e| format!("`{dims}`: {e}"))?,
    ))
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
        let mut table = Table::new();
        table
            .load_preset(presets::UTF8_FULL_CONDENSED)
            .set_content_arrangement(ContentArrangement::Dynamic);
        table.set_header(["node", "operator", "output", "type", "MACs", "parameters"]);
        for n in &self.nodes {
            table.add_row([
                shortened(&n.name),
                n.op.to_owned(),
                dims(&n.shape),
                type_name(n.dtype).to_owned(),
                count_or_blank(n.macs),
                count_or_blank(n.parameters),
            ]);
        }
        for column in [4, 5] {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        println!("{}", self.model);
        println!("{table}");
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

/// Digits in groups of three.
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut result = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            result.push(',');
        }
        result.push(c);
    }
    result
}

fn count_or_blank(n: u64) -> String {
    if n == 0 { String::new() } else { grouped(n) }
}

/// Converters make names of hundreds of characters; their ends tell most.
fn shortened(name: &str) -> String {
    const KEEP: usize = 40;
    let count = name.chars().count();
    if count <= KEEP {
        return name.to_owned();
    }
    let tail: String = name.chars().skip(count - (KEEP - 1)).collect();
    format!("…{tail}")
}

pub(super) fn run(args: Args) -> miette::Result<()> {
    if args.model.extension().is_some_and(|e| e == "kinglet") {
        return Err(miette::miette!(
            "plans cannot be inspected yet: give the ONNX file it was compiled from"
        ));
    }
    let options = LoadOptions {
        input_shapes: args.input_shape,
    };
    let graph = onnx::load(&args.model, &options)
        .into_diagnostic()
        .wrap_err_with(|| format!("cannot inspect {}", args.model.display()))?;
    let report = Report::new(args.model.display().to_string(), graph);
    if args.json {
        println!(
            "{}",
            serde_json::to_string_pretty(&report).into_diagnostic()?
        );
    } else {
        report.print();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_parsed_from_the_last_equals_sign() {
        assert_eq!(parse_shape("a=b=1,3"), Ok(("a=b".into(), vec![1, 3])));
        assert!(parse_shape("a").is_err() && parse_shape("a=1,x").is_err());
    }

    #[test]
    fn digits_are_grouped() {
        assert_eq!(
            (grouped(7), grouped(2_656_768), grouped(100_000)),
            ("7".into(), "2,656,768".into(), "100,000".into())
        );
    }

    #[test]
    fn long_names_keep_their_end() {
        let short = shortened(&format!("{}é-end", "x".repeat(100)));
        assert!(short.chars().count() == 40 && short.starts_with('…') && short.ends_with("é-end"));
    }
}
