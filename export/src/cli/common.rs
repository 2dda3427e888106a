//! What several commands share: the model argument, progress and printing.

use crate::compile::CompileOptions;
use crate::model::Model;
use crate::onnx::LoadOptions;
use crate::passes::Warning;
use indicatif::{ProgressBar, ProgressStyle};
use miette::IntoDiagnostic;
use std::path::PathBuf;
use std::time::Duration;

/// A model and how to read it.
#[derive(clap::Args)]
pub(super) struct ModelArgs {
    /// The model: an .onnx file or a .kinglet plan.
    pub(super) model: PathBuf,
    /// Shape of an input whose dimensions the file leaves open, as NAME=1,3,32,32 (an open batch alone needs none).
    #[arg(long, value_name = "NAME=DIMS", value_parser = parse_shape)]
    pub(super) input_shape: Vec<(String, Vec<usize>)>,
}

impl ModelArgs {
    pub(super) fn load_options(&self) -> LoadOptions {
        LoadOptions {
            input_shapes: self.input_shape.clone(),
            ..LoadOptions::default()
        }
    }

    /// Opens (and for ONNX compiles) the model and prints its warnings to stderr.
    pub(super) fn open(&self) -> miette::Result<Model> {
        let model = Model::open(
            &self.model,
            &self.load_options(),
            &CompileOptions::default(),
        )
        .into_diagnostic()?;
        print_warnings(&model.warnings);
        Ok(model)
    }
}

fn parse_shape(text: &str) -> Result<(String, Vec<usize>), String> {
    let (name, dims) = text.rsplit_once('=').ok_or("expected NAME=1,3,32,32")?;
    let dims = dims
        .split(',')
        .map(|d| d.trim().parse::<usize>().map_err(|e| format!("{d}: {e}")));
    Ok((name.to_owned(), dims.collect::<Result<_, _>>()?))
}

/// Warnings go to stderr: stdout is for results.
pub(super) fn print_warnings(warnings: &[Warning]) {
    for w in warnings {
        eprintln!("warning: node `{}` ({}): {}", w.node, w.op, w.message);
    }
}

/// One JSON object on stdout.
pub(super) fn print_json(value: &serde_json::Value) {
    println!("{value:#}");
}

/// A line that shows what is going on, on stderr and only on a terminal.
pub(super) fn spinner() -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {msg} ({elapsed})");
    let bar = ProgressBar::new_spinner()
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

/// `1234567` as `1,234,567`.
pub(super) fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(c);
    }
    text
}

/// The middle of `values`, the lower of two; 0 for none.
pub(super) fn median(values: &[u64]) -> u64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted
        .get(sorted.len().saturating_sub(1) / 2)
        .copied()
        .unwrap_or(0)
}
