//! Boards, programs and devices.

use super::{Diagnosis, because};
use crate::emulate::{BOARDS, Board, EmulateError};
use crate::flash::{self, FlashError};
use crate::report::grouped;
use crate::setup::SetupError;
use crate::slots::{KeyError, PushError};
use kinglet::slots::Refusal;
use std::error::Error;

pub(super) fn diagnose(error: &(dyn Error + 'static)) -> Option<Diagnosis> {
    if let Some(error) = error.downcast_ref::<EmulateError>() {
        return emulate(error);
    }
    if let Some(error) = error.downcast_ref::<SetupError>() {
        return setup(error);
    }
    if let Some(error) = error.downcast_ref::<FlashError>() {
        return match error {
            FlashError::TooLarge(error) | FlashError::Build(error) => emulate(error),
            FlashError::Setup(error) => setup(error),
            FlashError::NoTool { .. } => because(
                "tool::missing",
                "install it as the message says; `kinglet image` writes an image without it",
            ),
            FlashError::NoProbe { .. } => because(
                "tool::probe",
                "look at the cable (many only charge) and whether `probe-rs list` shows it; on Linux it needs a udev rule, see https://probe.rs/docs/getting-started/probe-setup",
            ),
            _ => None,
        };
    }
    if let Some(error) = error.downcast_ref::<KeyError>() {
        return match error {
            KeyError::NotAKey { .. } => because(
                "slots::key",
                "give the secret key that `kinglet keygen` wrote, not the public one and no key of OpenSSH",
            ),
            _ => None,
        };
    }
    match error.downcast_ref::<PushError>()? {
        PushError::Image(refusal) | PushError::Refused { refusal, .. } => Some(refused(refusal)),
        _ => None,
    }
}

fn setup(error: &SetupError) -> Option<Diagnosis> {
    match error {
        SetupError::Missing { .. } => because(
            "tool::missing",
            "`kinglet setup` installs what emulation needs, or says what it cannot install",
        ),
        SetupError::Start { program, source } if source.kind() == std::io::ErrorKind::NotFound => {
            because(
                "tool::missing",
                format!(
                    "install {program} so that it is on the PATH; `kinglet setup` installs what emulation needs"
                ),
            )
        }
        _ => None,
    }
}

fn emulate(error: &EmulateError) -> Option<Diagnosis> {
    match error {
        EmulateError::UnknownBoard { .. } | EmulateError::NotEmulated { .. } => because(
            "board::unknown",
            "`kinglet boards` lists all boards, those that are emulated and those that can be flashed",
        ),
        EmulateError::TooLarge {
            needed,
            memory,
            available,
            ..
        } => Some(too_large(*needed, memory, *available)),
        EmulateError::Setup(error) => setup(error),
        _ => None,
    }
}

/// What makes a model fit, and where it would.
fn too_large(needed: u64, memory: &str, available: u64) -> Diagnosis {
    let over = grouped(needed.saturating_sub(available));
    let size = |board: &Board| match memory {
        "flash" => board.flash_len as u64,
        _ => board.ram_len as u64,
    };
    let fits = BOARDS
        .iter()
        .chain(flash::BOARDS)
        .filter(|b| size(b) >= needed);
    let fits: Vec<&str> = fits.map(|b| b.name).collect();
    let boards = match fits.is_empty() {
        true => format!("no board has so much {memory}"),
        false => format!("boards with enough {memory}: {}", fits.join(", ")),
    };
    let (code, ways) = match memory {
        "flash" => (
            "board::flash",
            "quantise a float model (`kinglet quantize`), code the weights (`kinglet compile --weights auto`, or `coded` for the smallest), or compress it (`kinglet compress`, docs/compress.md)",
        ),
        _ => (
            "board::ram",
            "quantise a float model (`kinglet quantize`), run layers by bands (`kinglet compile --tile smallest`, or --arena-limit BYTES), or make its input smaller",
        ),
    };
    Diagnosis {
        code,
        help: format!("{over} bytes of {memory} are missing: {ways}; {boards}"),
    }
}

/// Why a device does not take an image, by what it says.
fn refused(refusal: &Refusal) -> Diagnosis {
    let (code, help) = match refusal {
        Refusal::WrongKey | Refusal::BadSignature => (
            "slots::key",
            "sign it with the secret key whose public half is in the device's firmware: `kinglet sign --key`",
        ),
        Refusal::WrongTarget { .. } => (
            "slots::refused",
            "compile for the device's core and sign again: `kinglet compile --target`",
        ),
        Refusal::PlanFormat { .. } | Refusal::HeaderVersion { .. } => (
            "slots::refused",
            "the device's firmware and this kinglet are of different versions: take the kinglet that made the firmware, or update the firmware",
        ),
        Refusal::TooLong { .. } | Refusal::Arena { .. } => (
            "slots::refused",
            "make the model smaller: `kinglet compile --weights auto` (flash) or `--arena-limit BYTES` (RAM)",
        ),
        _ => ("slots::refused", "docs/slots.md says when a device refuses"),
    };
    let help = help.into();
    Diagnosis { code, help }
}
