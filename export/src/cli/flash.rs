//! `kinglet flash`.

use super::common::{self, ModelArgs, grouped};
use crate::diagnose::IntoDiagnostic;
use crate::flash::{self, FlashError};
use crate::report::terminal_table;
use serde_json::json;
use std::path::PathBuf;

/// Put a model on a board that one can hold: compile it for the board's core, build the firmware, flash it, show its log.
///
/// Needs probe-rs and a debug probe; for boards whose boot loader is a USB drive, that drive; for Espressif's, espflash. Without them the image is
/// left in the current folder. The boards' firmware is built and measured by the tests; it has not run on hardware yet.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  kinglet flash model.onnx --board nrf52840-dk
  kinglet flash model.onnx --board pico2 --image model.uf2")]
pub(super) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// The board; `kinglet boards` lists them. The model is compiled for its core.
    #[arg(long)]
    board: String,
    /// Write the image and do not flash: .elf, and for most boards .bin and .hex; for those that are USB drives also .uf2.
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,
    /// Print one JSON object; the board's log is not shown.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: Args) -> miette::Result<()> {
    let board = flash::board(&args.board).into_diagnostic()?;
    if let Some(path) = &args.image {
        flash::extension(board, path).into_diagnostic()?;
    }
    let model = args.model.open(board.plan_target)?;
    let progress = common::spinner();
    let firmware = flash::build(board, &model.plan, &|text| {
        progress.set_message(text.to_owned());
    })
    .into_diagnostic()?;
    progress.finish_and_clear();
    let sizes = firmware.sizes;
    if !args.json {
        let bytes = |n: u64| format!("{} bytes", grouped(n));
        let rows = [
            vec!["flash: plan".to_owned(), bytes(sizes.plan)],
            vec!["flash: code".into(), bytes(sizes.code)],
            vec!["  of".into(), bytes(board.flash_len as u64)],
            vec!["RAM: arena".into(), bytes(sizes.arena)],
            vec!["RAM: static".into(), bytes(sizes.static_ram)],
            vec!["  of".into(), bytes(board.ram_len as u64)],
        ];
        println!("{}", terminal_table(&[&model.name, board.name], &rows));
    }
    let flashed = match &args.image {
        Some(path) => {
            firmware.write(path).into_diagnostic()?;
            None
        }
        None => match firmware.flash(!args.json) {
            Ok(place) => Some(place),
            Err(error @ (FlashError::NoTool { .. } | FlashError::NoProbe { .. })) => {
                let stem = args.model.model.file_stem().unwrap_or_default();
                let path = PathBuf::from(format!(
                    "{}-{}.{}",
                    stem.display(),
                    board.name,
                    flash::default_extension(board)
                ));
                firmware.write(&path).into_diagnostic()?;
                eprintln!("nothing was flashed; the image is {}", path.display());
                return Err(error).into_diagnostic();
            }
            Err(error) => return Err(error).into_diagnostic(),
        },
    };
    if args.json {
        common::print_json(&json!({
            "board": board.name,
            "model": model.name,
            "plan_bytes": sizes.plan,
            "code_bytes": sizes.code,
            "arena_bytes": sizes.arena,
            "static_ram_bytes": sizes.static_ram,
            "image": args.image,
            "flashed": flashed,
        }));
    } else if let Some(path) = &args.image {
        println!("wrote {}", path.display());
    } else if let Some(place) = flashed {
        println!("flashed: {place}");
    }
    Ok(())
}
