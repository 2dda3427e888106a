//! The tools that put an image on a board: found, never installed.

use super::FlashError;
use crate::emulate::file_error;
use crate::setup;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How a board gets its firmware.
#[derive(Debug, PartialEq, Eq)]
pub enum Flasher {
    /// By `probe-rs` and a debug probe.
    ProbeRs {
        /// The chip's name there.
        chip: &'static str,
        /// The USB drive that the board's boot loader is, for boards without a probe.
        drive: Option<Drive>,
    },
    /// By `espflash` and the boot loader in the chip's ROM, on its serial port.
    EspFlash,
}

/// A boot loader that is a USB drive and takes UF2 files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drive {
    /// The drive's name.
    pub name: &'static str,
    /// The family in UF2 blocks.
    pub family: u32,
}

impl Flasher {
    /// The tool's program.
    pub fn program(&self) -> &'static str {
        match self {
            Flasher::ProbeRs { .. } => "probe-rs",
            Flasher::EspFlash => "espflash",
        }
    }

    /// The drive of the board's boot loader.
    pub fn drive(&self) -> Option<Drive> {
        match self {
            Flasher::ProbeRs { drive, .. } => *drive,
            Flasher::EspFlash => None,
        }
    }

    /// Formats of images besides `.elf`. Espressif's boot loader takes parts of one, which `espflash` makes.
    pub(super) fn other_formats(&self) -> &'static [&'static str] {
        match self {
            Flasher::ProbeRs { drive: None, .. } => &["bin", "hex"],
            Flasher::ProbeRs { drive: Some(_), .. } => &["uf2", "bin", "hex"],
            Flasher::EspFlash => &[],
        }
    }

    /// A way to the board that is open now: its drive, or the tool with a probe.
    pub(super) fn find(&self) -> Result<Way, FlashError> {
        if let Some(drive) = self.drive()
            && let Some(folder) = mounted(drive.name, &mount_points())
        {
            return Ok(Way::Drive(folder));
        }
        let install = match self {
            Flasher::ProbeRs { .. } => {
                "install it (https://probe.rs, or `cargo install probe-rs-tools --locked`)"
            }
            Flasher::EspFlash => "install it (`cargo install espflash --locked`)",
        };
        let Some(program) = setup::find(self.program()) else {
            return Err(FlashError::NoTool {
                program: self.program(),
                advice: self.advice(install),
            });
        };
        let Flasher::ProbeRs { chip, .. } = self else {
            // It looks for the port itself, and asks where there are several.
            return Ok(Way::Serial { program });
        };
        let probes = setup::output(&mut Command::new(&program), &["list"])?;
        if !lists_a_probe(&probes) {
            return Err(FlashError::NoProbe {
                advice: self.advice("connect the board's debug USB port, or a probe"),
            });
        }
        Ok(Way::Probe { program, chip })
    }

    fn advice(&self, first: &str) -> String {
        match self.drive() {
            Some(drive) => format!(
                "{first}; or hold BOOTSEL while the board is connected, so that it becomes the drive {}",
                drive.name
            ),
            None => first.to_owned(),
        }
    }
}

/// A way to a board.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Way {
    Drive(PathBuf),
    Probe {
        program: PathBuf,
        chip: &'static str,
    },
    Serial {
        program: PathBuf,
    },
}

impl Way {
    /// Flashes: the ELF file at `elf`, or the same as UF2. With `monitor` the board's log is shown until it is interrupted.
    pub(super) fn flash(&self, elf: &Path, uf2: &[u8], monitor: bool) -> Result<(), FlashError> {
        match self {
            Way::Drive(folder) => {
                let path = folder.join("kinglet.uf2");
                // No rename: the drive is the board, which restarts with the last block.
                std::fs::write(&path, uf2).map_err(file_error("writing", path))?;
                Ok(())
            }
            Way::Probe { program, chip } if monitor => {
                shown(program, &["run", "--chip", chip], elf)
            }
            Way::Serial { program } => {
                let monitored: &[_] = match monitor {
                    true => &["flash", "--monitor", "--log-format", "defmt"],
                    false => &["flash"],
                };
                shown(program, monitored, elf)
            }
            Way::Probe { program, chip } => {
                let mut download = Command::new(program);
                download.args(["download", "--chip", chip]).arg(elf);
                setup::run(&mut download)?;
                setup::run(Command::new(program).args(["reset", "--chip", chip]))?;
                Ok(())
            }
        }
    }

    /// For people: where the image went.
    pub(super) fn describe(&self) -> String {
        match self {
            Way::Drive(folder) => folder.display().to_string(),
            Way::Probe { chip, .. } => format!("{chip}, by probe-rs"),
            Way::Serial { .. } => "the serial port that espflash found".to_owned(),
        }
    }
}

/// Runs a tool whose output is for the user.
fn shown(program: &Path, arguments: &[&str], elf: &Path) -> Result<(), FlashError> {
    let status = Command::new(program)
        .args(arguments)
        .arg(elf)
        .status()
        .map_err(file_error("starting", program))?;
    if status.success() {
        return Ok(());
    }
    Err(FlashError::Tool {
        program: program.display().to_string(),
        status: status.to_string(),
    })
}

/// Whether `probe-rs list` found one: it numbers them as `[0]: …`.
fn lists_a_probe(list: &str) -> bool {
    list.lines().any(|line| line.trim_start().starts_with('['))
}

/// Folders in which systems mount USB drives.
fn mount_points() -> Vec<PathBuf> {
    let below = |folder: &str| {
        std::fs::read_dir(folder)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
    };
    let mut points = vec![PathBuf::from("/Volumes"), PathBuf::from("/media")];
    points.extend(below("/media"));
    points.extend(below("/run/media"));
    points
}

/// The boot loader's drive below one of `points`: every such drive describes itself in a file.
fn mounted(name: &str, points: &[PathBuf]) -> Option<PathBuf> {
    points
        .iter()
        .map(|point| point.join(name))
        .find(|drive| drive.join("INFO_UF2.TXT").is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_are_the_numbered_lines() {
        assert!(lists_a_probe(
            "The following debug probes were found:\n[0]: J-Link -- 1366:1015 (J-Link)\n"
        ));
        assert!(!lists_a_probe("No debug probes were found.\n"));
    }

    #[test]
    fn a_boot_loaders_drive_is_known_by_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let points = [folder.path().join("nowhere"), folder.path().to_owned()];
        let drive = folder.path().join("RP2350");
        std::fs::create_dir(&drive).unwrap();
        assert_eq!(mounted("RP2350", &points), None);
        std::fs::write(drive.join("INFO_UF2.TXT"), "UF2 Bootloader v1.0").unwrap();
        assert_eq!(mounted("RP2350", &points), Some(drive.clone()));
        let way = Way::Drive(drive.clone());
        way.flash(Path::new("unused"), b"blocks", false).unwrap();
        assert_eq!(std::fs::read(drive.join("kinglet.uf2")).unwrap(), b"blocks");
    }
}
