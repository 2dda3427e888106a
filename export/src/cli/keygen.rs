//! `kinglet keygen`.

use super::common;
use crate::diagnose::IntoDiagnostic;
use crate::slots::SecretKey;
use std::path::PathBuf;

/// Make a pair of keys for signing models.
///
/// The secret key signs (`kinglet sign`) and stays where it is; only its owner can read it. The public key, FILE.pub, 32 bytes, goes
/// into the firmware, which then takes models of this key only. Nothing is ever overwritten.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  kinglet keygen -o model.key")]
pub(super) struct Args {
    /// The secret key to write; the public one gets the same name with .pub behind it.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: Args) -> miette::Result<()> {
    let key = SecretKey::generate().into_diagnostic()?;
    let public = key.write(&args.output).into_diagnostic()?;
    if args.json {
        common::print_json(&serde_json::json!({
            "secret_key": args.output,
            "public_key": public,
            "id": key.public().id(),
        }));
        return Ok(());
    }
    println!("key {}", key.public().id());
    println!(
        "wrote {}, which is to be kept secret",
        args.output.display()
    );
    println!("wrote {}, for the firmware", public.display());
    Ok(())
}
