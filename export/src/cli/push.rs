//! `kinglet push`.

use super::common::{self, grouped};
use crate::diagnose::IntoDiagnostic;
use crate::limits;
use crate::slots::{ImageInfo, Link, Outcome, PushError, Step, open, push};
use indicatif::{ProgressBar, ProgressStyle};
use kinglet::slots::Running;
use miette::bail;
use serde_json::json;
use std::path::PathBuf;

/// Bring a signed model to a device, and see that it runs.
///
/// The model that runs goes on running meanwhile. The device checks the image, restarts, tests the new model and keeps it; one that
/// fails is given up, and the one before it runs again. Ends with an error unless the new model runs.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  kinglet push model.image --port /dev/ttyACM0
  kinglet push model.image --port /dev/ttyUSB0@921600
  kinglet push model.image --port tcp:192.168.1.20:4000 --no-restart")]
pub(super) struct Args {
    /// The image, of `kinglet sign`.
    image: PathBuf,
    /// Where the device is: a serial line, NAME or NAME@BAUD (115200 without), or tcp:HOST:PORT.
    #[arg(long, value_name = "PORT")]
    port: String,
    /// Leave it to the device when it starts the new model.
    #[arg(long)]
    no_restart: bool,
    /// Print one JSON object; also when the device refuses, with `refusal` or `fault` in it.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: Args) -> miette::Result<()> {
    let image = match limits::read(&args.image, limits::IMAGE_BYTES) {
        Ok(image) => image,
        Err(error) => bail!("cannot read {}: {error}", args.image.display()),
    };
    let info = ImageInfo::parse(&image).map_err(PushError::Image);
    let info = info.into_diagnostic()?;
    let mut link = Link::new(open(&args.port).into_diagnostic()?);
    let style = ProgressStyle::with_template("{msg} {wide_bar} {bytes}/{total_bytes}, {eta} left");
    let bar = ProgressBar::new(image.len() as u64)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let outcome = push(&mut link, &image, !args.no_restart, &|step| match step {
        Step::Connected(status) => bar.println(match status.running {
            Running::Nothing => "the device runs no model".to_owned(),
            _ => format!("the device runs version {}", status.version),
        }),
        Step::Sent(bytes) => {
            bar.set_message("sending");
            bar.set_position(bytes as u64);
        }
        Step::Checking => bar.set_message("checking"),
        Step::Restarting => bar.set_message("restarting"),
    });
    bar.finish_and_clear();
    if args.json {
        let mut result = json!({
            "image": args.image,
            "version": info.version,
            "image_bytes": image.len(),
        });
        let (name, reason) = match &outcome {
            Ok(Outcome::Received) => ("received", None),
            Ok(Outcome::Confirmed) => ("confirmed", None),
            Ok(Outcome::OnTrial) => ("on-trial", None),
            Err(PushError::Refused { refusal, .. }) => {
                ("refused", Some(("refusal", refusal.name().to_owned())))
            }
            Err(PushError::RolledBack { fault, .. }) => {
                ("rolled-back", Some(("fault", fault.to_string())))
            }
            Err(error) => ("failed", Some(("error", error.to_string()))),
        };
        result["result"] = name.into();
        if let Some((field, reason)) = reason {
            result[field] = reason.into();
        }
        common::print_json(&result);
        outcome.into_diagnostic()?;
        return Ok(());
    }
    let sent = format!("{} bytes", grouped(image.len() as u64));
    match outcome.into_diagnostic()? {
        Outcome::Received => println!(
            "version {} is on the device ({sent}), and is tried when it next starts",
            info.version
        ),
        Outcome::Confirmed => println!("version {} runs ({sent})", info.version),
        Outcome::OnTrial => println!(
            "version {} runs ({sent}), but the device has not confirmed it: a reset brings the one before it back",
            info.version
        ),
    }
    Ok(())
}
