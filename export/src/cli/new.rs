//! `kinglet new`.

use super::common::{self, ModelArgs};
use crate::compile::Rounding;
use crate::diagnose::IntoDiagnostic;
use crate::{flash, project};
use serde_json::json;
use std::path::PathBuf;

/// Make a project of your own around a model: it builds with cargo, and runs in the emulator or on the board.
#[derive(clap::Args)]
#[command(
    after_help = "Example: kinglet new hello --board mps2-an386 --model model.onnx
         cd hello && cargo run --release"
)]
pub(super) struct Args {
    /// The folder to make; its last part is the project's name.
    folder: PathBuf,
    /// The board; `kinglet boards` lists them.
    #[arg(long)]
    board: String,
    /// The model: an .onnx or .tflite file or a .kinglet plan.
    #[arg(long)]
    model: PathBuf,
    /// Shape of an input whose dimensions the file leaves open, or size of a symbolic dimension.
    #[arg(long, value_name = "NAME=1x3x32x32", value_parser = common::parse_shape)]
    shape: Vec<(String, Vec<usize>)>,
    /// How int8 results are rounded.
    #[arg(long, value_enum, default_value_t)]
    rounding: Rounding,
    /// Where Kinglet's crates come from: a folder with its sources or the URL of a git repository. By default those that this
    /// command was built from.
    #[arg(long, value_name = "PATH|URL")]
    kinglet: Option<String>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: Args) -> miette::Result<()> {
    let board = flash::any_board(&args.board).into_diagnostic()?;
    let model = ModelArgs {
        model: args.model,
        shape: args.shape,
        state: Vec::new(),
        rounding: args.rounding,
    }
    .open(board.plan_target)?;
    let files = project::create(&args.folder, board, &model.plan, args.kinglet.as_deref())
        .into_diagnostic()?;
    if args.json {
        common::print_json(&json!({
            "folder": args.folder,
            "board": board.name,
            "files": files,
        }));
    } else {
        println!(
            "made {}; next:\n    cd {}\n    cargo run --release",
            args.folder.display(),
            args.folder.display()
        );
    }
    Ok(())
}
