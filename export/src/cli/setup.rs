//! `kinglet setup`.

use crate::setup;
use miette::IntoDiagnostic;
use std::cell::RefCell;

/// Finds or installs what emulating a board needs: the bare-metal Rust target and QEMU.
///
/// The commands that need them do this by themselves; this one shows what was found.
#[derive(clap::Args)]
#[command(
    after_help = "With KINGLET_TARGETS_FROM_SOURCE=1 the target is built from Debian's Rust sources, not fetched by rustup."
)]
pub(super) struct Args {
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: Args) -> miette::Result<()> {
    let done = RefCell::new(Vec::new());
    let toolchain = setup::ensure(&|step| {
        eprintln!("{step}");
        done.borrow_mut().push(step.to_owned());
    })
    .into_diagnostic()?;
    if args.json {
        let found = serde_json::json!({
            "target": setup::TARGET,
            "origin": toolchain.origin(),
            "sysroot": toolchain.sysroot(),
            "rustc": toolchain.rustc_version(),
            "qemu": toolchain.qemu(),
            "qemu_version": toolchain.qemu_version(),
            "done": done.into_inner(),
        });
        println!("{found:#}");
    } else {
        println!("target   {} ({})", setup::TARGET, toolchain.origin());
        println!("compiler {}", toolchain.rustc_version());
        println!(
            "emulator {} ({})",
            toolchain.qemu_version(),
            toolchain.qemu().display()
        );
    }
    Ok(())
}
