//! `kinglet boards`.

use super::common::{self, grouped};
use crate::emulate::{BOARDS, Board, Kind};
use crate::flash;
use crate::report::terminal_table;
use serde_json::json;

/// List the boards that there is firmware for.
#[derive(clap::Args)]
#[command(after_help = "Example: kinglet boards --json")]
pub(super) struct Args {
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: Args) -> miette::Result<()> {
    if args.json {
        let boards: Vec<_> = BOARDS.iter().map(describe).collect();
        let hardware: Vec<_> = flash::BOARDS.iter().map(describe).collect();
        common::print_json(&json!({ "boards": boards, "hardware": hardware }));
        return Ok(());
    }
    let bytes = |n: usize| format!("{} KiB", grouped(n as u64 / 1024));
    let rows: Vec<Vec<String>> = BOARDS
        .iter()
        .chain(flash::BOARDS)
        .map(|board| {
            vec![
                board.name.to_owned(),
                board.core.to_owned(),
                board.rust_target.to_owned(),
                bytes(board.flash_len),
                bytes(board.ram_len),
                board.load_len.map_or("-".to_owned(), bytes),
                board.hal.to_owned(),
                match &board.kind {
                    Kind::Emulated(_) => "emulate (QEMU)".to_owned(),
                    Kind::Hardware(flasher) => format!("flash ({})", flasher.program()),
                },
            ]
        })
        .collect();
    let headers = [
        "board",
        "core",
        "Rust target",
        "flash",
        "RAM",
        "loaded plans",
        "HAL",
        "kinglet …",
    ];
    println!("{}", terminal_table(&headers, &rows));
    for board in BOARDS.iter().filter(|board| board.load_len.is_none()) {
        println!(
            "{} has too little RAM for plans that are loaded at run time.",
            board.name
        );
    }
    Ok(())
}

fn describe(board: &Board) -> serde_json::Value {
    json!({
        "name": board.name,
        "core": board.core,
        "plan_target": board.plan_target,
        "rust_target": board.rust_target,
        "flash_bytes": board.flash_len,
        "ram_bytes": board.ram_len,
        "loaded_plan_bytes": board.load_len,
        "hal": board.hal,
        "emulated": board.machine().is_some(),
        "emulator": board.machine().map(|machine| machine.emulator.program()),
    })
}
