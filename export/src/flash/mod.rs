//! Puts a plan on a board that one can hold: builds its firmware with the plan linked in, measures it, writes or flashes the
//! image.

mod board;
mod flasher;
mod image;

use crate::emulate::firmware::{self, Program};
use crate::emulate::image::Image;
use crate::emulate::{self, Board, EmulateError, Kind, Memory, file_error, fits, plan_fits};
use crate::files::{self, FileError};
use crate::host::AlignedBytes;
use crate::setup::SetupError;
use kinglet::Plan;
use std::io::Write;
use std::path::Path;

pub use board::{BOARDS, any_board, board};
pub use flasher::{Drive, Flasher};

/// Why a plan is not on the board.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FlashError {
    /// The model does not fit the board.
    #[error(
        "{0}\nwhat makes it smaller: `kinglet compile --arena-limit BYTES` (RAM), `--weights auto` (flash), `kinglet compress`"
    )]
    TooLarge(EmulateError),
    /// The firmware was not built.
    #[error(transparent)]
    Build(EmulateError),
    /// A program of the way to the board failed.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// The image was not written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The name of an image says no format that this board takes.
    #[error("{path} is no image for {board}: the name must end in {known}")]
    Format {
        /// The name.
        path: String,
        /// The board.
        board: &'static str,
        /// Endings.
        known: String,
    },
    /// The tool is not installed.
    #[error("`{program}` is not installed: {advice}")]
    NoTool {
        /// The tool.
        program: &'static str,
        /// What to do.
        advice: String,
    },
    /// Nothing is connected.
    #[error("no debug probe is connected: {advice}")]
    NoProbe {
        /// What to do.
        advice: String,
    },
    /// The tool ended with an error, which it has printed.
    #[error("{program} ended with {status}")]
    Tool {
        /// The tool.
        program: String,
        /// Its exit status.
        status: String,
    },
}

impl From<EmulateError> for FlashError {
    fn from(error: EmulateError) -> Self {
        match error {
            EmulateError::TooLarge { .. } => FlashError::TooLarge(error),
            _ => FlashError::Build(error),
        }
    }
}

/// Bytes that firmware takes of a board's memories.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Sizes {
    /// Flash: the plan.
    pub plan: u64,
    /// Flash: everything else.
    pub code: u64,
    /// RAM: the arena.
    pub arena: u64,
    /// RAM: everything else but the stack.
    pub static_ram: u64,
}

/// Firmware that is built.
#[derive(Debug)]
pub struct Firmware {
    board: &'static Board,
    elf: Vec<u8>,
    /// What it takes.
    pub sizes: Sizes,
}

/// Builds `board`'s firmware with `plan` linked in. `progress` hears of everything that takes time.
///
/// # Errors
///
/// [`FlashError::TooLarge`] before anything is built, as far as plan and arena alone tell.
pub fn build(
    board: &'static Board,
    plan: &[u8],
    progress: &dyn Fn(&str),
) -> Result<Firmware, FlashError> {
    let aligned = AlignedBytes::from(plan);
    let plan = Plan::parse(aligned.bytes()).map_err(EmulateError::from)?;
    let (core_len, arena_len) = (plan.core_len(), plan.arena_len());
    plan_fits(board, &plan, Memory::Flash)?;

    let toolchain = board.toolchain(progress)?;
    let work =
        tempfile::tempdir().map_err(file_error("creating a folder in", std::env::temp_dir()))?;
    let path = work.path().join("firmware.elf");
    let request = firmware::Build {
        board,
        program: Program::Run,
        plan: Some(&aligned.bytes()[..core_len]),
        key: None,
        steps: false,
    };
    firmware::build(&toolchain, &request, &path, progress)?;
    let elf = std::fs::read(&path).map_err(file_error("reading", &path))?;
    let image = Image::parse(&elf)?;
    fits(
        board,
        "the arena with static data and a stack",
        image.ram + board.stack_reserve as u64,
        Memory::Ram,
    )?;
    Ok(Firmware {
        board,
        sizes: Sizes {
            plan: core_len as u64,
            code: image.flash.saturating_sub(core_len as u64),
            arena: arena_len as u64,
            static_ram: image.ram.saturating_sub(arena_len as u64),
        },
        elf,
    })
}

impl Firmware {
    /// Writes the image in the format that the name of the file says.
    ///
    /// # Errors
    ///
    /// [`FlashError::Format`]; [`FlashError::File`].
    pub fn write(&self, path: &Path) -> Result<(), FlashError> {
        let bytes = match (extension(self.board, path)?, self.drive()) {
            ("bin", _) => image::bin(&self.runs()?),
            ("hex", _) => image::hex(&self.runs()?).into_bytes(),
            ("uf2", Some(drive)) => image::uf2(&self.runs()?, drive.family),
            _ => self.elf.clone(),
        };
        files::write_atomic(path, |file| file.write_all(&bytes))?;
        Ok(())
    }

    /// Flashes the board; where the image went. With `monitor` the board's log is shown until it is interrupted.
    ///
    /// # Errors
    ///
    /// [`FlashError::NoTool`] and [`FlashError::NoProbe`] say what is missing.
    pub fn flash(&self, monitor: bool) -> Result<String, FlashError> {
        let Kind::Hardware(flasher) = &self.board.kind else {
            return Err(FlashError::Build(emulate::unknown(self.board.name, BOARDS)));
        };
        let way = flasher.find()?;
        let uf2 = match flasher.drive() {
            Some(drive) => image::uf2(&self.runs()?, drive.family),
            None => Vec::new(),
        };
        let file = tempfile::Builder::new()
            .suffix(".elf")
            .tempfile()
            .map_err(file_error("creating a file in", std::env::temp_dir()))?;
        std::fs::write(file.path(), &self.elf).map_err(file_error("writing", file.path()))?;
        way.flash(file.path(), &uf2, monitor)?;
        Ok(way.describe())
    }

    fn drive(&self) -> Option<Drive> {
        drive_of(self.board)
    }

    fn runs(&self) -> Result<Vec<image::Run>, FlashError> {
        image::runs(&self.elf).map_err(FlashError::Build)
    }
}

fn drive_of(board: &Board) -> Option<Drive> {
    match &board.kind {
        Kind::Hardware(flasher) => flasher.drive(),
        Kind::Emulated(_) => None,
    }
}

/// The format that the name of an image says.
///
/// # Errors
///
/// [`FlashError::Format`] lists those that `board` takes.
pub fn extension(board: &Board, path: &Path) -> Result<&'static str, FlashError> {
    let others = match &board.kind {
        Kind::Hardware(flasher) => flasher.other_formats(),
        Kind::Emulated(_) => &[],
    };
    let known = || others.iter().copied().chain(["elf"]);
    let ending = path.extension().and_then(|ending| ending.to_str());
    known()
        .find(|known| Some(*known) == ending)
        .ok_or_else(|| FlashError::Format {
            path: path.display().to_string(),
            board: board.name,
            known: known()
                .map(|known| format!(".{known}"))
                .collect::<Vec<_>>()
                .join(", "),
        })
}

/// The format that a board's image has when nobody asks for another.
pub fn default_extension(board: &Board) -> &'static str {
    if drive_of(board).is_some() {
        "uf2"
    } else {
        "elf"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_boards_with_a_drive_take_uf2() {
        let (pico, dk) = (board("pico2").unwrap(), board("nrf52840-dk").unwrap());
        assert_eq!(extension(pico, Path::new("a.uf2")).unwrap(), "uf2");
        let error = extension(dk, Path::new("a.uf2")).unwrap_err().to_string();
        assert_eq!(
            error,
            "a.uf2 is no image for nrf52840-dk: the name must end in .bin, .hex, .elf"
        );
    }

    #[test]
    fn a_plan_that_does_not_fit_is_refused_with_a_way_out_before_anything_is_built() {
        let small: &'static Board = Box::leak(Box::new(Board {
            ram_len: 1024,
            kind: Kind::Hardware(Flasher::ProbeRs {
                chip: "none",
                drive: None,
            }),
            ..*board("nrf52840-dk").unwrap()
        }));
        let error = build(small, &kinglet::doc_plan()[..], &|step| {
            panic!("nothing is to be built: {step}")
        })
        .unwrap_err()
        .to_string();
        assert!(
            error.contains("bytes of RAM") && error.contains("--arena-limit"),
            "{error}"
        );
    }

    #[test]
    fn names_of_boards_are_different_from_those_that_are_emulated() {
        for board in BOARDS {
            assert!(crate::emulate::BOARDS.iter().all(|b| b.name != board.name));
            assert_eq!(any_board(board.name).unwrap(), board);
            assert!(matches!(
                crate::emulate::board(board.name),
                Err(EmulateError::NotEmulated { .. })
            ));
        }
        assert!(any_board("mps2-an386").unwrap().machine().is_some());
    }
}
