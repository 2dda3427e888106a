//! Runs a plan as firmware on an emulated board: builds the firmware, runs it in QEMU, reads its results.
//!
//! Everything that is reported is measured: sizes come from the linked image, instructions from the emulator's virtual
//! time (deterministic: the same plan and sample give the same number), the stack from its high-water mark.

mod app;
mod board;
pub(crate) mod firmware;
pub(crate) mod image;
mod qemu;
pub mod recording;
mod report;
mod slots;

use crate::host::AlignedBytes;
use crate::setup::SetupError;
use kinglet::{Plan, PlanError};
use std::io;
use std::path::{Path, PathBuf};

pub use app::{App, AppRequest, AppRun, Counts, Look, Pixels, emulate_app, frame};
pub(crate) use board::unknown;
pub use board::{BOARDS, Board, DEFAULT_BOARD, Kind, Machine, board};
pub use slots::{SlotsDevice, start_slots};

/// What a run is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Outputs and instruction counts, with the smallest firmware.
    Run,
    /// Also the output of every step.
    Steps,
    /// Also the instruction count of every step.
    Profile,
}

/// What to emulate.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// On which board.
    pub board: &'a Board,
    /// The plan's bytes.
    pub plan: &'a [u8],
    /// One item an inference: all inputs in order, back to back.
    pub samples: &'a [Vec<u8>],
    /// What for.
    pub mode: Mode,
    /// Whether the plan is loaded at run time by a firmware with all operators, instead of being linked in.
    pub loaded: bool,
}

/// What the emulated board did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Emulation {
    /// For each sample all outputs in order, back to back.
    pub outputs: Vec<Vec<u8>>,
    /// For each sample the instructions of the inference, model code only.
    pub instructions: Vec<u64>,
    /// For each sample and step its output; empty but for [`Mode::Steps`].
    pub step_outputs: Vec<Vec<Vec<u8>>>,
    /// For each sample and step its instructions; empty for [`Mode::Run`].
    pub step_instructions: Vec<Vec<u64>>,
    /// Flash that the whole firmware takes, the linked-in plan included.
    pub flash_bytes: u64,
    /// The plan.
    pub plan_bytes: u64,
    /// Flash that the firmware takes without the plan.
    pub code_bytes: u64,
    /// The arena, inputs and outputs included.
    pub arena_bytes: u64,
    /// Static RAM without the arena.
    pub static_ram_bytes: u64,
    /// Most stack that was in use during an inference, counted from the stack's start.
    pub stack_peak_bytes: u64,
    /// The firmware's log, one line a message.
    pub log: Vec<String>,
}

impl Emulation {
    /// RAM in all: arena, static RAM and the stack's peak.
    pub fn ram_bytes(&self) -> u64 {
        self.arena_bytes + self.static_ram_bytes + self.stack_peak_bytes
    }
}

/// Why a plan could not be emulated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmulateError {
    /// No board has this name.
    #[error("no board is named `{name}`; known boards: {known}")]
    UnknownBoard {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// The board can be held, and nothing emulates it.
    #[error(
        "{board} is not emulated: `kinglet flash --board {board}` puts the model on a real one"
    )]
    NotEmulated {
        /// The board.
        board: &'static str,
    },
    /// The plan is not one.
    #[error("the plan cannot be run: {0}")]
    Plan(#[from] PlanError),
    /// There is nothing to run.
    #[error("no samples are given: one inference needs one sample")]
    NoSamples,
    /// A sample does not fill the plan's inputs.
    #[error("sample {index} has {found} bytes, the model's inputs take {expected}")]
    SampleLength {
        /// Which sample.
        index: usize,
        /// Bytes of all inputs.
        expected: usize,
        /// Bytes given.
        found: usize,
    },
    /// The model does not fit the board.
    #[error(
        "the model does not fit {board}: {what} needs {needed} bytes of {memory}, there are {available}"
    )]
    TooLarge {
        /// The board.
        board: &'static str,
        /// What is too large.
        what: &'static str,
        /// Its size.
        needed: u64,
        /// The memory that is too small.
        memory: &'static str,
        /// Its size.
        available: u64,
    },
    /// The board is too small to load plans at run time.
    #[error("{board} loads no plans at run time, it has too little RAM: link the plan in")]
    NoLoader {
        /// The board.
        board: &'static str,
    },
    /// There is no firmware for this board that gets its models by the UART.
    #[error("{board} has no firmware with model slots; mps2-an386 has")]
    NoSlots {
        /// The board.
        board: &'static str,
    },
    /// The emulated device does not listen.
    #[error("the emulated {board} does not listen on its serial line:\n{log}")]
    NotListening {
        /// The board.
        board: &'static str,
        /// The firmware's log and the emulator's complaints.
        log: String,
    },
    /// The target or the emulator is missing.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// The firmware's sources are not where they should be.
    #[error("no firmware sources in {}: set {} to the folder `boards` of Kinglet's sources (a clone of the repository, or `sources` of a release)", path.display(), firmware::BOARDS_VARIABLE)]
    NoSources {
        /// Where they were looked for.
        path: PathBuf,
    },
    /// The firmware does not compile or link.
    #[error("building the firmware for {board} failed:\n{output}")]
    Build {
        /// The board.
        board: &'static str,
        /// The end of the compiler's output.
        output: String,
    },
    /// The firmware contains code that can panic.
    #[error(
        "the firmware for {board} can panic, which a device build must not: the linker found a reachable panic (see boards/firmware/src/panic.rs)"
    )]
    PanicReachable {
        /// The board.
        board: &'static str,
    },
    /// The linked image is not what it should be.
    #[error("the firmware image cannot be read: {0}")]
    Image(String),
    /// A file could not be read or written.
    #[error("{action} {}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The firmware or the emulator ended with an error.
    #[error("the emulated {board} stopped with {status}:\n{log}")]
    Stopped {
        /// The board.
        board: &'static str,
        /// The emulator's exit status.
        status: String,
        /// The firmware's log and the emulator's complaints.
        log: String,
    },
    /// The emulator did not end.
    #[error("the emulated {board} was stopped after {seconds} s without an end; its log:\n{log}")]
    TimedOut {
        /// The board.
        board: &'static str,
        /// The limit.
        seconds: u64,
        /// The firmware's log.
        log: String,
    },
    /// The firmware wrote something else than what it should.
    #[error("the firmware's results are wrong: {0}")]
    Results(String),
}

/// Emulates `request`. `progress` hears of everything that takes time.
///
/// # Errors
///
/// [`EmulateError`]; that the model does not fit the board is known before anything is built, as far as plan and arena
/// alone tell.
pub fn emulate(request: &Request<'_>, progress: &dyn Fn(&str)) -> Result<Emulation, EmulateError> {
    let aligned = AlignedBytes::from(request.plan);
    let plan = Plan::parse(aligned.bytes())?;
    check(request, &plan)?;

    let toolchain = request.board.toolchain(progress)?;
    let program = if request.loaded {
        firmware::Program::Loader
    } else {
        firmware::Program::Run
    };
    let plan_bytes = &aligned.bytes()[..plan.core_len()];
    let work =
        tempfile::tempdir().map_err(file_error("creating a folder in", std::env::temp_dir()))?;
    let image_path = work.path().join("firmware.elf");
    let build = firmware::Build {
        board: request.board,
        program,
        plan: (!request.loaded).then_some(plan_bytes),
        key: None,
        steps: request.mode != Mode::Run,
    };
    firmware::build(&toolchain, &build, &image_path, progress)?;
    let elf = std::fs::read(&image_path).map_err(file_error("reading", &image_path))?;
    let image = image::Image::parse(&elf)?;
    let arena = plan.arena_len() as u64;
    // The loader reserves more than this plan's arena.
    let reserved = if request.loaded { image.arena } else { arena };
    if arena > reserved {
        return Err(EmulateError::TooLarge {
            board: request.board.name,
            what: "the arena",
            needed: arena,
            memory: "the loader's arena",
            available: reserved,
        });
    }
    let static_ram = image.ram.saturating_sub(reserved);
    fits(
        request.board,
        "the arena with static data and a stack",
        image.ram + request.board.stack_reserve as u64,
        Memory::Ram,
    )?;

    let write = |name: &str, bytes: &[u8]| {
        let path = work.path().join(name);
        std::fs::write(&path, bytes).map_err(file_error("writing", path))
    };
    write("input.bin", &request.samples.concat())?;
    if request.loaded {
        write("plan.bin", plan_bytes)?;
    }
    progress(&format!(
        "emulating {} inferences on {}",
        request.samples.len(),
        request.board.name
    ));
    let log = qemu::run(
        &toolchain,
        request.board,
        &elf,
        &image_path,
        work.path(),
        request.samples.len(),
    )?;
    let results = report::read(work.path(), &plan, request.samples.len(), request.mode)?;

    let linked_plan = if request.loaded {
        0
    } else {
        plan_bytes.len() as u64
    };
    Ok(Emulation {
        outputs: results.outputs,
        instructions: results.instructions,
        step_outputs: results.step_outputs,
        step_instructions: results.step_instructions,
        flash_bytes: image.flash,
        plan_bytes: plan_bytes.len() as u64,
        code_bytes: image.flash.saturating_sub(linked_plan),
        arena_bytes: arena,
        static_ram_bytes: static_ram,
        stack_peak_bytes: results.stack_peak,
        log,
    })
}

/// Counts loops of known length on `board`: pairs of instructions executed and instructions counted, to prove that
/// [`Emulation::instructions`] is exact.
///
/// # Errors
///
/// As [`emulate`].
pub fn calibrate(board: &Board, progress: &dyn Fn(&str)) -> Result<Vec<(u64, u64)>, EmulateError> {
    let toolchain = board.toolchain(progress)?;
    let work =
        tempfile::tempdir().map_err(file_error("creating a folder in", std::env::temp_dir()))?;
    let image_path = work.path().join("firmware.elf");
    let build = firmware::Build {
        board,
        program: firmware::Program::Calibrate,
        plan: None,
        key: None,
        steps: false,
    };
    firmware::build(&toolchain, &build, &image_path, progress)?;
    let elf = std::fs::read(&image_path).map_err(file_error("reading", &image_path))?;
    qemu::run(&toolchain, board, &elf, &image_path, work.path(), 1)?;
    let words = report::words(work.path())?;
    Ok(words
        .as_chunks()
        .0
        .iter()
        .map(|&[executed, counted]| (executed, counted))
        .collect())
}

/// Runs an image that is already linked on the emulated `board`; its log, one line a message.
///
/// # Errors
///
/// As [`emulate`].
pub fn run_image(
    board: &Board,
    path: &Path,
    progress: &dyn Fn(&str),
) -> Result<Vec<String>, EmulateError> {
    let toolchain = board.toolchain(progress)?;
    let elf = std::fs::read(path).map_err(file_error("reading", path))?;
    let path = std::path::absolute(path).map_err(file_error("finding", path))?;
    let work =
        tempfile::tempdir().map_err(file_error("creating a folder in", std::env::temp_dir()))?;
    qemu::run(&toolchain, board, &elf, &path, work.path(), 1)
}

/// What can be known before anything is built.
fn check(request: &Request<'_>, plan: &Plan<'_>) -> Result<(), EmulateError> {
    if request.samples.is_empty() {
        return Err(EmulateError::NoSamples);
    }
    let expected = (0..plan.input_count())
        .filter_map(|index| plan.input(index))
        .map(|input| input.len)
        .sum();
    if let Some((index, sample)) = request
        .samples
        .iter()
        .enumerate()
        .find(|(_, sample)| sample.len() != expected)
    {
        return Err(EmulateError::SampleLength {
            index,
            expected,
            found: sample.len(),
        });
    }
    let board = request.board;
    let memory = if request.loaded {
        Memory::Load(
            board
                .load_len
                .ok_or(EmulateError::NoLoader { board: board.name })?,
        )
    } else {
        Memory::Flash
    };
    plan_fits(board, plan, memory)
}

/// Whether `plan`, in `memory`, and its arena with a stack have room on `board`.
pub(crate) fn plan_fits(
    board: &Board,
    plan: &Plan<'_>,
    memory: Memory,
) -> Result<(), EmulateError> {
    fits(board, "the plan", plan.core_len() as u64, memory)?;
    let ram = (plan.arena_len() + board.stack_reserve) as u64;
    fits(board, "the arena with a stack", ram, Memory::Ram)
}

#[derive(Clone, Copy)]
pub(crate) enum Memory {
    Flash,
    Ram,
    Load(usize),
}

pub(crate) fn fits(
    board: &Board,
    what: &'static str,
    needed: u64,
    memory: Memory,
) -> Result<(), EmulateError> {
    let (memory, available) = match memory {
        Memory::Flash => ("flash", board.flash_len),
        Memory::Ram => ("RAM", board.ram_len),
        Memory::Load(len) => ("memory for loaded plans", len),
    };
    let available = available as u64;
    if needed <= available {
        return Ok(());
    }
    Err(EmulateError::TooLarge {
        board: board.name,
        what,
        needed,
        memory,
        available,
    })
}

pub(crate) fn file_error(
    action: &'static str,
    path: impl Into<PathBuf>,
) -> impl FnOnce(io::Error) -> EmulateError {
    let path = path.into();
    move |source| EmulateError::File {
        action,
        path,
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn emulate_doc_plan(change: impl FnOnce(&mut Vec<u8>), samples: &[Vec<u8>]) -> EmulateError {
        let mut plan = kinglet::doc_plan().to_vec();
        change(&mut plan);
        let board = board("mps2-an386").unwrap();
        let request = Request {
            board,
            plan: &plan,
            samples,
            mode: Mode::Run,
            loaded: false,
        };
        emulate(&request, &|step| panic!("nothing is to be built: {step}")).unwrap_err()
    }

    #[test]
    fn a_damaged_plan_is_refused_before_anything_is_built() {
        let error = emulate_doc_plan(|plan| *plan.last_mut().unwrap() ^= 1, &[vec![0; 4]]);
        assert!(error.to_string().contains("damaged"), "{error}");
        let error = emulate_doc_plan(|plan| plan.truncate(10), &[vec![0; 4]]);
        assert!(
            matches!(error, EmulateError::Plan(PlanError::Truncated { .. })),
            "{error}"
        );
        let error = emulate_doc_plan(|plan| plan[0] = b'?', &[vec![0; 4]]);
        assert!(
            matches!(error, EmulateError::Plan(PlanError::NotAPlan)),
            "{error}"
        );
    }

    #[test]
    fn samples_must_fill_the_inputs() {
        let error = emulate_doc_plan(|_| {}, &[vec![0; 4], vec![0; 5]]);
        assert_eq!(
            error.to_string(),
            "sample 1 has 5 bytes, the model's inputs take 4"
        );
        assert!(matches!(
            emulate_doc_plan(|_| {}, &[]),
            EmulateError::NoSamples
        ));
    }

    #[test]
    fn what_does_not_fit_is_named_with_both_sizes() {
        let board = board("mps2-an386").unwrap();
        assert!(fits(board, "the plan", board.flash_len as u64, Memory::Flash).is_ok());
        let error = fits(board, "the plan", board.flash_len as u64 + 1, Memory::Flash).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the model does not fit mps2-an386: the plan needs 4194305 bytes of flash, there are 4194304"
        );
    }

    #[test]
    fn a_board_without_a_loader_says_so() {
        let plan = kinglet::doc_plan();
        let request = Request {
            board: board("microbit").unwrap(),
            plan: &plan,
            samples: &[vec![0; 4]],
            mode: Mode::Run,
            loaded: true,
        };
        let error = emulate(&request, &|step| panic!("nothing is to be built: {step}"));
        assert_eq!(
            error.unwrap_err().to_string(),
            "microbit loads no plans at run time, it has too little RAM: link the plan in"
        );
    }
}
