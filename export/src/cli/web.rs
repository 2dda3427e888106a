//! `kinglet web`.

use super::common::{self, ModelArgs, grouped};
use crate::compile::Target;
use crate::diagnose::IntoDiagnostic;
use crate::files::write_atomic;
use crate::web;
use miette::ensure;
use std::io::Write;
use std::path::PathBuf;

/// Put a model on a web page, as WebAssembly: one page to draw on, or the files for a page of your own.
///
/// An .html file holds model, runtime and all; it is for models that classify one grey picture. A folder gets kinglet.js,
/// kinglet.d.ts, kinglet.wasm and model.kinglet, for any model. Outputs are the bytes that a device gives.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  kinglet web digits_int8.onnx -o digits.html
  kinglet web model.onnx -o site")]
pub(super) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// The page (.html), or the folder for the files.
    #[arg(short, long, value_name = "PATH")]
    output: PathBuf,
    /// What blank and full ink are to the model.
    #[arg(long, value_name = "BLANK,FULL", value_delimiter = ',', num_args = 1, default_values_t = [0.0, 1.0], allow_hyphen_values = true)]
    range: Vec<f32>,
    /// Names of the classes; numbers by default.
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    labels: Vec<String>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: Args) -> miette::Result<()> {
    let &[blank, full] = args.range.as_slice() else {
        miette::bail!("--range takes two numbers, such as 0,1");
    };
    ensure!(
        blank.is_finite() && full.is_finite() && blank != full,
        "--range takes two different finite numbers, such as 0,1"
    );
    let model = args.model.open(Target::Host)?;
    let spinner = common::spinner();
    let module = web::module(&|what| spinner.set_message(what.to_owned())).into_diagnostic()?;
    spinner.finish_and_clear();
    let extension = args.output.extension().unwrap_or_default();
    let written = if extension.eq_ignore_ascii_case("html") {
        let page = web::page(
            &model.name,
            &model.plan,
            &module,
            [blank, full],
            &args.labels,
        )
        .into_diagnostic()?;
        write_atomic(&args.output, |file| file.write_all(page.as_bytes())).into_diagnostic()?;
        vec![args.output.clone()]
    } else {
        web::files(&args.output, &model.plan, &module).into_diagnostic()?
    };
    if args.json {
        common::print_json(&serde_json::json!({
            "model": model.name,
            "output": args.output,
            "files": written,
            "plan_bytes": model.plan.len(),
            "runtime_bytes": module.len(),
        }));
        return Ok(());
    }
    let [plan, runtime] = [model.plan.len(), module.len()].map(|n| grouped(n as u64));
    println!("plan {plan} bytes, runtime {runtime} bytes");
    for file in written {
        println!("wrote {}", file.display());
    }
    Ok(())
}
