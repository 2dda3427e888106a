//! `kinglet setup`.

use crate::diagnose::IntoDiagnostic;
use crate::{emulate, flash};
use std::cell::RefCell;

/// Finds or installs what building for a board needs: its bare-metal Rust target and, if it is emulated, its emulator.
///
/// The commands that need them do this by themselves; this one shows what was found.
#[derive(clap::Args)]
#[command(
    after_help = "Example: kinglet setup --board microbit\n\nWith KINGLET_TARGETS_FROM_SOURCE=1 the target is built from Debian's Rust sources, not fetched by rustup."
)]
pub(super) struct Args {
    /// The board.
    #[arg(long, default_value = emulate::DEFAULT_BOARD)]
    board: String,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: Args) -> miette::Result<()> {
    let board = flash::any_board(&args.board).into_diagnostic()?;
    let done = RefCell::new(Vec::new());
    let toolchain = board
        .toolchain(&|step| {
            eprintln!("{step}");
            done.borrow_mut().push(step.to_owned());
        })
        .into_diagnostic()?;
    if args.json {
        let found = serde_json::json!({
            "board": board.name,
            "target": board.rust_target,
            "origin": toolchain.origin(),
            "sysroot": toolchain.sysroot(),
            "rustc": toolchain.rustc_version(),
            "qemu": toolchain.qemu(),
            "qemu_version": toolchain.qemu_version(),
            "done": done.into_inner(),
        });
        println!("{found:#}");
    } else {
        println!("target   {} ({})", board.rust_target, toolchain.origin());
        println!("compiler {}", toolchain.rustc_version());
        if let (Some(version), Some(program)) = (toolchain.qemu_version(), toolchain.qemu()) {
            println!("emulator {version} ({})", program.display());
        }
    }
    Ok(())
}
