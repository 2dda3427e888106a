//! `kinglet test`.

use super::common;
use crate::diagnose::IntoDiagnostic;
use crate::emulate::BOARDS;
use miette::bail;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Run every test of Kinglet's own source tree: host, differential, emulated. Sets up what it needs.
///
/// Tests on the model zoo (KINGLET_ZOO, by default ../shared) run where the zoo is; with CI set they run always, and
/// fail without it.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  kinglet test
  kinglet test -- --nocapture digits")]
pub(super) struct Args {
    /// Passed on to the test programs, as in `cargo test -- ARGS`.
    #[arg(last = true)]
    args: Vec<String>,
}

pub(super) fn run(args: Args) -> miette::Result<()> {
    let progress = common::spinner();
    for board in BOARDS {
        board
            .toolchain(&|text| progress.set_message(text.to_owned()))
            .into_diagnostic()?;
    }
    progress.finish_and_clear();

    let root = root();
    if !root.join("Cargo.toml").exists() {
        bail!("Kinglet's source tree is no longer at {}", root.display());
    }
    let zoo = std::env::var_os("KINGLET_ZOO").map_or_else(|| root.join("../shared"), PathBuf::from);
    let with_zoo = std::env::var_os("CI").is_some() || zoo.join("models").is_dir();
    if !with_zoo {
        println!(
            "no model zoo at {}: the tests that need it are listed as ignored",
            zoo.display()
        );
    }
    // The runtime once more with overflow checks and debug assertions.
    let runtime = ["test", "--package", "kinglet", "--features", "std"];
    cargo(&root, &runtime, &args.args)?;
    // The applications are in the firmware's workspace, and run on this machine as well.
    let apps = [
        "test",
        "--manifest-path",
        "boards/apps/Cargo.toml",
        "--target-dir",
        "target/apps",
    ];
    cargo(&root, &apps, &args.args)?;
    let mut rest = args.args.clone();
    if with_zoo {
        rest.push("--include-ignored".into());
    }
    cargo(&root, &["test", "--release", "--workspace"], &rest)?;
    println!(
        "every test passed{}",
        if with_zoo {
            ", those on the model zoo included"
        } else {
            ""
        }
    );
    Ok(())
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn cargo(root: &Path, command: &[&str], rest: &[String]) -> miette::Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .current_dir(root)
        .args(command)
        .arg("--")
        .args(rest)
        .status()
        .into_diagnostic()?;
    if !status.success() {
        bail!("cargo {} failed", command.join(" "));
    }
    Ok(())
}
