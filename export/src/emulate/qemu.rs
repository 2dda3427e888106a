//! Running a firmware image in QEMU and decoding its log.

use super::{Board, EmulateError, file_error};
use crate::setup::Toolchain;
use defmt_decoder::{DecodeError, Table};
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Time for the emulator itself, and for each sample: many times what the slowest model takes.
const TIME_LIMIT: Duration = Duration::from_secs(120);
const TIME_LIMIT_PER_SAMPLE: Duration = Duration::from_secs(30);

const POLL: Duration = Duration::from_millis(5);

/// A child that does not outlive its owner.
pub(super) struct Emulator(Child);

impl Drop for Emulator {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts `image` in `folder`, with QEMU's `serial` for its UART. What it logs goes to the folder.
pub(super) fn start(
    toolchain: &Toolchain,
    board: &Board,
    image: &Path,
    folder: &Path,
    serial: &str,
) -> Result<Emulator, EmulateError> {
    // Files and not pipes: nobody has to read them while the emulator runs.
    let create = |name: &str| {
        let path = folder.join(name);
        File::create(&path).map_err(file_error("creating", path))
    };
    let (log, complaints) = (create("log.bin")?, create("stderr.txt")?);
    let (Some(program), Some(machine)) = (toolchain.qemu(), board.machine()) else {
        return Err(EmulateError::NotEmulated { board: board.name });
    };
    let mut command = Command::new(program);
    command
        .current_dir(folder)
        .args(machine.arguments)
        .args(["-nographic", "-monitor", "none", "-serial", serial])
        .args([
            "-icount",
            &format!("shift={},sleep=off", machine.icount_shift),
        ])
        .args(["-semihosting-config", "enable=on,target=native"])
        .arg("-kernel")
        .arg(image)
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(complaints);
    let child = command.spawn();
    child.map(Emulator).map_err(file_error("starting", program))
}

/// What the program `elf` has logged in `folder`.
pub(super) fn log(elf: &[u8], folder: &Path) -> Result<Vec<String>, EmulateError> {
    let path = folder.join("log.bin");
    let bytes = fs::read(&path).map_err(file_error("reading", path))?;
    decode(elf, &bytes)
}

/// The log and what the emulator complained of.
pub(super) fn everything(log: &[String], folder: &Path) -> String {
    let complaints = fs::read_to_string(folder.join("stderr.txt")).unwrap_or_default();
    let lines = log.iter().map(String::as_str).chain(complaints.lines());
    lines.collect::<Vec<_>>().join("\n")
}

/// Runs `image`, whose contents are `elf`, in `folder` until it exits; its decoded log.
pub(super) fn run(
    toolchain: &Toolchain,
    board: &Board,
    elf: &[u8],
    image: &Path,
    folder: &Path,
    samples: usize,
) -> Result<Vec<String>, EmulateError> {
    let mut emulator = start(toolchain, board, image, folder, "none")?;
    let limit = TIME_LIMIT + TIME_LIMIT_PER_SAMPLE * u32::try_from(samples).unwrap_or(u32::MAX);
    let started = Instant::now();
    let status = loop {
        if let Some(status) = emulator
            .0
            .try_wait()
            .map_err(file_error("waiting for the emulator of", image))?
        {
            break Some(status);
        }
        if started.elapsed() > limit {
            break None;
        }
        thread::sleep(POLL);
    };
    drop(emulator);

    let log = log(elf, folder)?;
    let everything = || everything(&log, folder);
    match status {
        None => Err(EmulateError::TimedOut {
            board: board.name,
            seconds: limit.as_secs(),
            log: everything(),
        }),
        Some(status) if !status.success() => Err(EmulateError::Stopped {
            board: board.name,
            status: status.to_string(),
            log: everything(),
        }),
        Some(_) => Ok(log),
    }
}

/// The messages in `bytes`, a stream of `defmt` frames of the program `elf`.
fn decode(elf: &[u8], bytes: &[u8]) -> Result<Vec<String>, EmulateError> {
    let table = Table::parse(elf)
        .map_err(|error| EmulateError::Image(error.to_string()))?
        .ok_or_else(|| EmulateError::Image("it has no `.defmt` section".to_owned()))?;
    let mut decoder = table.new_stream_decoder();
    decoder.received(bytes);
    let mut lines = Vec::new();
    loop {
        match decoder.decode() {
            Ok(frame) => {
                let level = frame.level().map_or("", |level| level.as_str());
                lines.push(
                    format!("{level} {}", frame.display_message())
                        .trim_start()
                        .to_owned(),
                );
            }
            Err(DecodeError::UnexpectedEof) => return Ok(lines),
            Err(DecodeError::Malformed) => {
                lines.push("(the rest of the log cannot be decoded)".to_owned());
                return Ok(lines);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emulator_does_not_outlive_its_owner() {
        let child = Command::new("sleep").arg("60").spawn().unwrap();
        let process = Path::new("/proc").join(child.id().to_string());
        let was_there = process.exists();
        drop(Emulator(child));
        // Where there is no /proc this checks only that the drop returns long before the minute is over.
        assert_eq!(
            (was_there, process.exists()),
            (Path::new("/proc/self").exists(), false)
        );
    }

    #[test]
    fn a_program_without_a_log_table_is_an_error() {
        assert!(matches!(
            decode(b"no program", &[]),
            Err(EmulateError::Image(_))
        ));
    }
}
