//! Building a board's firmware in a child cargo.

use super::{App, Board, EmulateError, Kind, file_error};
use crate::setup::Toolchain;
use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// The environment variable that says where the boards' sources are.
pub(crate) const BOARDS_VARIABLE: &str = "KINGLET_BOARDS";

/// The lines of a failed build that an error shows.
const SHOWN_LINES: usize = 40;

/// A program of a board's package.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    /// With the plan linked in.
    Run,
    /// Loads the plan at run time.
    Loader,
    /// Counts loops of known length.
    Calibrate,
    /// An application on recordings.
    App(App),
    /// Gets its models by the UART.
    Slots,
}

impl Program {
    fn name(self) -> &'static str {
        match self {
            Program::Run => "run",
            Program::Loader => "loader",
            Program::Calibrate => "calibrate",
            Program::App(App::Keywords) => "keywords",
            Program::App(App::Activity) => "activity",
            Program::App(App::Images) => "images",
            Program::Slots => "slots",
        }
    }
}

/// What to build.
pub(crate) struct Build<'a> {
    pub(crate) board: &'a Board,
    pub(crate) program: Program,
    /// The plan to link in.
    pub(crate) plan: Option<&'a [u8]>,
    /// The public key of the models' images, for [`Program::Slots`].
    pub(crate) key: Option<&'a [u8; 32]>,
    /// With the observer of the steps.
    pub(crate) steps: bool,
}

/// Builds the firmware and copies its image to `image`.
///
/// Concurrent builds, of threads or processes, take turns: they share one target folder, and the image is copied out of it
/// before the next one replaces it.
pub(crate) fn build(
    toolchain: &Toolchain,
    build: &Build<'_>,
    image: &Path,
    progress: &dyn Fn(&str),
) -> Result<(), EmulateError> {
    let board = build.board;
    let sources = sources(board)?;
    let output = output_directory();
    fs::create_dir_all(&output).map_err(file_error("creating", &output))?;
    let lock_path = output.join("build.lock");
    let lock = File::create(&lock_path).map_err(file_error("creating", &lock_path))?;
    // Held until the image is copied.
    lock.lock().map_err(file_error("locking", &lock_path))?;
    forget_objects_of_another_core(toolchain, board, &output)?;

    let mut cargo = toolchain.cargo();
    cargo.current_dir(&sources).args([
        "build",
        "--release",
        "--target",
        board.rust_target,
        "--bin",
        build.program.name(),
    ]);
    cargo.arg("--target-dir").arg(&output);
    if build.steps {
        cargo.args(["--features", "steps"]);
    }
    if let Program::App(_) = build.program {
        cargo.args(["--features", "apps"]);
    }
    if build.program == Program::Slots {
        cargo.args(["--features", "slots"]);
    }
    match build.plan {
        Some(plan) => cargo.env("KINGLET_PLAN", keep(plan, &output, "kinglet")?),
        None => cargo.env_remove("KINGLET_PLAN"),
    };
    match build.key {
        Some(key) => cargo.env("KINGLET_KEY", keep(key, &output, "pub")?),
        None => cargo.env_remove("KINGLET_KEY"),
    };
    progress(&format!("building the firmware for {}", board.name));
    let result = cargo
        .stdin(std::process::Stdio::null())
        .output()
        .map_err(file_error("starting cargo in", &sources))?;
    if !result.status.success() {
        return Err(explain(build, &String::from_utf8_lossy(&result.stderr)));
    }
    let built = output
        .join(board.rust_target)
        .join("release")
        .join(build.program.name());
    fs::copy(&built, image)
        .map(drop)
        .map_err(file_error("copying the firmware", built))
}

/// The root of our sources: where this program was built, or beside it, where a release has them.
pub(crate) fn root() -> PathBuf {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let beside = || Some(env::current_exe().ok()?.parent()?.join("sources"));
    match built.join("boards").is_dir() {
        true => built,
        false => beside().filter(|s| s.is_dir()).unwrap_or(built),
    }
}

/// The folder of the board's package.
pub(crate) fn sources(board: &Board) -> Result<PathBuf, EmulateError> {
    let boards = env::var_os(BOARDS_VARIABLE).map_or_else(|| root().join("boards"), PathBuf::from);
    let path = match board.kind {
        Kind::Emulated(_) => boards.join(board.name),
        Kind::Hardware(_) => boards.join("hardware").join(board.name),
    };
    if path.join("Cargo.toml").is_file() {
        Ok(path)
    } else {
        Err(EmulateError::NoSources { path })
    }
}

/// Where the firmware is built: beside the host's target folder, so that `cargo clean` removes it.
fn output_directory() -> PathBuf {
    let target =
        env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    // Cargo runs in the board's folder.
    std::path::absolute(target.join("firmware")).unwrap_or_else(|_| target.join("firmware"))
}

/// A plan or key as a file whose name says its contents, so that the same firmware is not built twice.
fn keep(contents: &[u8], output: &Path, extension: &str) -> Result<PathBuf, EmulateError> {
    const CRC: crc::Crc<u64> = crc::Crc::<u64>::new(&crc::CRC_64_XZ);
    let folder = output.join("plans");
    fs::create_dir_all(&folder).map_err(file_error("creating", &folder))?;
    let path = folder.join(format!(
        "{:016x}-{}.{extension}",
        CRC.checksum(contents),
        contents.len()
    ));
    if !fs::read(&path).is_ok_and(|kept| kept == contents) {
        fs::write(&path, contents).map_err(file_error("writing", &path))?;
    }
    Ok(path)
}

/// A rebuilt `core` of the same compiler version does not link with objects of the one before, and cargo cannot tell.
fn forget_objects_of_another_core(
    toolchain: &Toolchain,
    board: &Board,
    output: &Path,
) -> Result<(), EmulateError> {
    let note = output.join(format!("{}.core", board.rust_target));
    let identity = toolchain.identity();
    if fs::read_to_string(&note).is_ok_and(|known| known == identity) {
        return Ok(());
    }
    let objects = output.join(board.rust_target);
    if objects.exists() {
        fs::remove_dir_all(&objects).map_err(file_error("removing", objects))?;
    }
    fs::write(&note, identity).map_err(file_error("writing", note))
}

/// The reason of a failed build, as precisely as the output tells.
fn explain(build: &Build<'_>, output: &str) -> EmulateError {
    let board = build.board;
    let overflow = |region: &str| {
        let line = output
            .lines()
            .find(|line| line.contains(&format!("will not fit in region '{region}'")))?;
        line.rsplit_once("overflowed by ")?
            .1
            .split_whitespace()
            .next()?
            .parse::<u64>()
            .ok()
    };
    let too_large = |what, memory, available: usize, over: u64| EmulateError::TooLarge {
        board: board.name,
        what,
        needed: available as u64 + over,
        memory,
        available: available as u64,
    };
    // The linker checks the first section that overflows, which is all that is needed here.
    if let Some(over) = overflow("FLASH") {
        return too_large("the plan with its code", "flash", board.flash_len, over);
    }
    if let Some(over) = overflow("RAM") {
        return too_large(
            "the arena with static data and a stack",
            "RAM",
            board.ram_len,
            over + board.stack_reserve as u64,
        );
    }
    if output.contains("kinglet_panic_is_reachable") {
        return EmulateError::PanicReachable { board: board.name };
    }
    let lines: Vec<&str> = output.lines().collect();
    let start = lines
        .iter()
        .position(|line| line.starts_with("error"))
        .unwrap_or(0);
    let shown = lines[start..]
        .iter()
        .take(SHOWN_LINES)
        .copied()
        .collect::<Vec<_>>()
        .join("\n");
    EmulateError::Build {
        board: board.name,
        output: shown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(output: &str) -> String {
        let board = crate::emulate::board("mps2-an386").unwrap();
        explain(
            &Build {
                board,
                program: Program::Run,
                plan: None,
                key: None,
                steps: false,
            },
            output,
        )
        .to_string()
    }

    #[test]
    fn a_full_memory_is_read_from_the_linkers_message() {
        let text = explained(
            "rust-lld: error: section '.rodata' will not fit in region 'FLASH': overflowed by 96 bytes",
        );
        assert!(
            text.contains("needs 4194400 bytes of flash, there are 4194304"),
            "{text}"
        );
        let text = explained(
            "rust-lld: error: section '.bss' will not fit in region 'RAM': overflowed by 4 bytes",
        );
        assert!(
            text.contains("needs 4198404 bytes of RAM, there are 4194304"),
            "{text}"
        );
    }

    #[test]
    fn a_reachable_panic_is_named() {
        let text = explained("rust-lld: error: undefined symbol: kinglet_panic_is_reachable");
        assert!(text.contains("can panic"), "{text}");
    }

    #[test]
    fn other_failures_show_the_compilers_errors_only() {
        let text = explained("   Compiling a\n   Compiling b\nerror: something\n --> here");
        assert!(
            text.ends_with("failed:\nerror: something\n --> here"),
            "{text}"
        );
    }

    #[test]
    fn a_kept_plan_is_not_written_twice() {
        let folder = tempfile::tempdir().unwrap();
        let first = keep(b"one plan", folder.path(), "kinglet").unwrap();
        let written = fs::metadata(&first).unwrap().modified().unwrap();
        assert_eq!(keep(b"one plan", folder.path(), "kinglet").unwrap(), first);
        assert_eq!(fs::metadata(&first).unwrap().modified().unwrap(), written);
        assert_ne!(keep(b"two plan", folder.path(), "kinglet").unwrap(), first);
    }
}
