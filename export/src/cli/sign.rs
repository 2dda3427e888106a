//! `kinglet sign`.

use super::common::{self, ModelArgs, grouped};
use crate::compile::Target;
use crate::diagnose::IntoDiagnostic;
use crate::emulate;
use crate::files::write_atomic;
use crate::report::terminal_table;
use crate::slots::{ImageInfo, SecretKey, SignOptions, sign};
use std::io::Write;
use std::path::PathBuf;

/// Sign a model: one image that devices with the key's firmware take by `kinglet push`.
///
/// An ONNX model is compiled for the target first. The plan's self-test runs here, and again on the device before it keeps the
/// model. Versions count up: a device refuses a version that is not above the one it runs.
#[derive(clap::Args)]
// The version is the model's here.
#[command(disable_version_flag = true)]
#[command(after_help = "Examples:
  kinglet sign model.onnx --board mps2-an386 --key model.key --version 2 -o model.image
  kinglet sign model.kinglet --target cortex-m4f --key model.key --version 3 -o model.image
  kinglet sign old.kinglet --target cortex-m4f --key model.key --version 1 --allow-older -o old.image")]
pub(super) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// The secret key.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The model's version, a number.
    #[arg(long = "version", value_name = "N")]
    model_version: u32,
    /// What the model is compiled for; of a plan, what it was compiled for. A plan for the host runs anywhere, but slowly.
    #[arg(long, value_enum, default_value_t)]
    target: Target,
    /// The board that the model is compiled for, in the place of the target.
    #[arg(long, conflicts_with = "target")]
    board: Option<String>,
    /// Let devices take the model in the place of one with a higher version. Whoever has such an image can bring it back at any
    /// time.
    #[arg(long)]
    allow_older: bool,
    /// The image to write.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: Args) -> miette::Result<()> {
    let target = match &args.board {
        Some(board) => emulate::board(board).into_diagnostic()?.plan_target,
        None => args.target,
    };
    let key = SecretKey::read(&args.key).into_diagnostic()?;
    let model = args.model.open(target)?;
    let options = SignOptions {
        version: args.model_version,
        target,
        allow_older: args.allow_older,
    };
    let image = sign(&model.plan, options, &key).into_diagnostic()?;
    write_atomic(&args.output, |file| file.write_all(&image)).into_diagnostic()?;
    let info = ImageInfo::parse(&image).into_diagnostic()?;
    if args.json {
        common::print_json(&serde_json::json!({
            "model": model.name,
            "image": args.output,
            "image_bytes": image.len(),
            "plan_bytes": info.plan_bytes,
            "arena_bytes": info.arena_bytes,
            "version": info.version,
            "target": info.target,
            "allow_older": info.allow_older,
            "key": info.key,
        }));
        return Ok(());
    }
    let bytes = |n: u32| format!("{} bytes", grouped(u64::from(n)));
    let rows = vec![
        vec!["version".into(), info.version.to_string()],
        vec!["for".into(), info.target.into()],
        vec![
            "in the place of".into(),
            match info.allow_older {
                true => "any version",
                false => "lower versions",
            }
            .into(),
        ],
        vec!["image (flash)".into(), bytes(image.len() as u32)],
        vec!["arena (RAM)".into(), bytes(info.arena_bytes)],
        vec!["key".into(), info.key],
    ];
    println!("{}", terminal_table(&[&model.name, ""], &rows));
    println!("wrote {}", args.output.display());
    Ok(())
}
