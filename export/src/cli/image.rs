//! `kinglet image`.

use super::common;
use crate::diagnose::IntoDiagnostic;
use crate::emulate;
use serde_json::json;
use std::path::PathBuf;

/// Run a firmware image that is already linked on an emulated board, and show its log: the runner of projects that
/// `kinglet new` makes.
#[derive(clap::Args)]
#[command(
    after_help = "Example: kinglet image target/thumbv7em-none-eabihf/release/hello --board mps2-an386"
)]
pub(super) struct Args {
    /// The linked image, an ELF file.
    image: PathBuf,
    /// The emulated board.
    #[arg(long, default_value = emulate::DEFAULT_BOARD)]
    board: String,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: Args) -> miette::Result<()> {
    let board = emulate::board(&args.board).into_diagnostic()?;
    let log =
        emulate::run_image(board, &args.image, &|step| eprintln!("{step}")).into_diagnostic()?;
    if args.json {
        common::print_json(&json!({ "board": board.name, "log": log }));
    } else {
        for line in log {
            println!("{line}");
        }
    }
    Ok(())
}
