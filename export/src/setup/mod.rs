//! What emulating a board needs: its bare-metal target and its emulator. [`ensure`] finds them or installs them, and the
//! [`Toolchain`] it returns is the only way that this crate builds firmware. Only what is asked for is installed or built.
//!
//! Which way the target comes is decided in one place, by the environment variable [`FROM_SOURCE`]:
//!
//! * unset: rustup's toolchain, with `rustup target add` when the target is missing;
//! * set to `1`: `core` is built once from the Debian packages `rustc-web` and `rust-web-src`, for machines that can
//!   reach a Debian archive but not rustup's server.

mod packages;
mod sysroot;

use std::env;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

pub use packages::Installer;
pub(crate) use packages::{find, output};
pub(crate) use sysroot::cache_directory;

/// The environment variable that, set to `1`, has the bare-metal target built from Debian's sources.
pub const FROM_SOURCE: &str = "KINGLET_TARGETS_FROM_SOURCE";

/// The environment variable that says where built targets are kept; by default the user's cache directory.
pub const CACHE: &str = "KINGLET_CACHE";

/// QEMU's program for an architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emulator {
    /// Arm's 32-bit cores.
    Arm,
    /// Arm's 64-bit cores.
    Aarch64,
    /// RISC-V with 32 bits.
    Riscv32,
}

impl Emulator {
    /// The program's name.
    pub fn program(self) -> &'static str {
        match self {
            Emulator::Arm => "qemu-system-arm",
            Emulator::Aarch64 => "qemu-system-aarch64",
            Emulator::Riscv32 => "qemu-system-riscv32",
        }
    }

    /// Debian's package with it.
    fn debian_package(self) -> &'static str {
        match self {
            Emulator::Arm | Emulator::Aarch64 => "qemu-system-arm",
            Emulator::Riscv32 => "qemu-system-misc",
        }
    }
}

/// Why the set-up failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// A program could not be started at all.
    #[error("cannot start `{program}`: {source}")]
    Start {
        /// The program.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// A program ran and failed.
    #[error("`{command}` failed ({status}):\n{output}")]
    Failed {
        /// The whole command line.
        command: String,
        /// Its exit status.
        status: String,
        /// The end of what it wrote.
        output: String,
    },
    /// Something is missing and cannot be installed from here.
    #[error("{what} is missing: {advice}")]
    Missing {
        /// What is missing.
        what: String,
        /// What the user can do.
        advice: String,
    },
    /// A file or directory of the set-up could not be read or written.
    #[error("{action} {}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// How the firmware's compiler was found.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Compiler {
    /// The `cargo` on the path; with rustup, the toolchain of this name.
    Installed { toolchain: Option<String> },
    /// Debian's compiler with a sysroot of our own.
    FromSource { sysroot: PathBuf },
}

/// A working set-up: builds firmware and runs it.
#[derive(Clone, Debug)]
pub struct Toolchain {
    compiler: Compiler,
    rustc_version: String,
    /// The emulator's program and version, where one is needed.
    qemu: Option<(PathBuf, String)>,
}

impl Toolchain {
    /// `cargo` for the firmware, free of what an outer cargo or rustup put into the environment.
    pub fn cargo(&self) -> Command {
        let mut command = match &self.compiler {
            Compiler::Installed { .. } => Command::new("cargo"),
            Compiler::FromSource { .. } => Command::new(sysroot::CARGO),
        };
        for (name, _) in env::vars_os() {
            if name.to_str().is_some_and(belongs_to_outer_cargo) {
                command.env_remove(name);
            }
        }
        match &self.compiler {
            Compiler::Installed {
                toolchain: Some(toolchain),
            } => {
                command.env("RUSTUP_TOOLCHAIN", toolchain);
            }
            Compiler::Installed { toolchain: None } => {}
            Compiler::FromSource { sysroot } => {
                command.env("RUSTC", sysroot::wrapper(sysroot));
            }
        }
        command
    }

    /// The emulator's program; `None` for boards that one can hold.
    pub fn qemu(&self) -> Option<&Path> {
        self.qemu.as_ref().map(|(program, _)| program.as_path())
    }

    /// The first line of the emulator's version.
    pub fn qemu_version(&self) -> Option<&str> {
        self.qemu.as_ref().map(|(_, version)| version.as_str())
    }

    /// The compiler's version.
    pub fn rustc_version(&self) -> &str {
        &self.rustc_version
    }

    /// The directory of the target that was built from source, if it was.
    pub fn sysroot(&self) -> Option<&Path> {
        match &self.compiler {
            Compiler::Installed { .. } => None,
            Compiler::FromSource { sysroot } => Some(sysroot),
        }
    }

    /// Where the target comes from, for a person.
    pub fn origin(&self) -> String {
        match &self.compiler {
            Compiler::Installed {
                toolchain: Some(toolchain),
            } => format!("rustup toolchain {toolchain}"),
            Compiler::Installed { toolchain: None } => "the installed Rust".to_owned(),
            Compiler::FromSource { sysroot } => {
                format!("built from source in {}", sysroot.display())
            }
        }
    }

    /// Changes whenever object files of an earlier set-up can no longer be linked with this one's `core`.
    pub(crate) fn identity(&self) -> String {
        match &self.compiler {
            Compiler::Installed { .. } => self.rustc_version.clone(),
            Compiler::FromSource { sysroot } => {
                sysroot::stamp(sysroot).unwrap_or_else(|| self.rustc_version.clone())
            }
        }
    }
}

/// Whether a variable was set for an outer cargo's build and would mislead the firmware's. What says how to reach
/// registries stays.
fn belongs_to_outer_cargo(name: &str) -> bool {
    const KEPT: [&str; 6] = [
        "CARGO_HOME",
        "CARGO_HTTP_",
        "CARGO_NET_",
        "CARGO_REGISTR",
        "CARGO_SOURCE_",
        "CARGO_TERM_",
    ];
    if name.starts_with("CARGO") {
        return !KEPT.iter().any(|kept| name.starts_with(kept));
    }
    name.starts_with("RUSTC")
        || name.starts_with("RUSTDOC")
        || matches!(name, "RUSTFLAGS" | "RUSTUP_TOOLCHAIN")
}

/// Finds or installs the bare-metal Rust target `target` and, if it is needed, `emulator`. `progress` hears of everything that takes time or
/// changes the machine.
///
/// # Errors
///
/// [`SetupError`] says what is missing and what to install.
pub fn ensure(
    target: &str,
    emulator: Option<Emulator>,
    progress: &dyn Fn(&str),
) -> Result<Toolchain, SetupError> {
    let from_source = env::var_os(FROM_SOURCE).is_some_and(|value| value == "1");
    let (compiler, rustc_version) = if from_source {
        let sysroot = sysroot::ensure(target, progress)?;
        let version = first_line(&packages::output(
            &mut Command::new(sysroot::wrapper(&sysroot)),
            &["--version"],
        )?);
        (Compiler::FromSource { sysroot }, version)
    } else {
        installed(target, progress)?
    };
    let qemu = match emulator {
        None => None,
        Some(emulator) => {
            let program = qemu(emulator, progress)?;
            let version = packages::output(&mut Command::new(&program), &["--version"])?;
            Some((program, first_line(&version)))
        }
    };
    Ok(Toolchain {
        compiler,
        rustc_version,
        qemu,
    })
}

/// The installed compiler, with the target added by rustup when it is missing.
fn installed(target: &str, progress: &dyn Fn(&str)) -> Result<(Compiler, String), SetupError> {
    let rustup = packages::find("rustup");
    let toolchain = match (&rustup, env::var("RUSTUP_TOOLCHAIN")) {
        (None, _) => None,
        (Some(_), Ok(toolchain)) => Some(toolchain),
        (Some(rustup), Err(_)) => {
            let shown = packages::output(&mut Command::new(rustup), &["show", "active-toolchain"])?;
            shown.split_whitespace().next().map(str::to_owned)
        }
    };
    let rustc = || {
        let mut command = Command::new("rustc");
        command.env_remove("RUSTC");
        if let Some(toolchain) = &toolchain {
            command.env("RUSTUP_TOOLCHAIN", toolchain);
        }
        command
    };
    let has_target = || -> Result<bool, SetupError> {
        let directory = packages::output(
            &mut rustc(),
            &["--print", "target-libdir", "--target", target],
        )?;
        let mut files = std::fs::read_dir(directory.trim())
            .into_iter()
            .flatten()
            .flatten();
        Ok(files.any(|file| file.file_name().to_string_lossy().starts_with("libcore-")))
    };
    if !has_target()? {
        let Some(rustup) = rustup else {
            return Err(SetupError::Missing {
                what: format!("the Rust target {target}"),
                advice: format!(
                    "install Rust with rustup (https://rustup.rs), or on Debian set {FROM_SOURCE}=1 to build it from Debian's sources"
                ),
            });
        };
        progress(&format!("adding the Rust target {target}"));
        let mut arguments = vec!["target", "add", target];
        if let Some(toolchain) = &toolchain {
            arguments.extend(["--toolchain", toolchain]);
        }
        packages::output(&mut Command::new(rustup), &arguments).map_err(|error| SetupError::Missing {
            what: format!("the Rust target {target}"),
            advice: format!("rustup cannot add it; where only Debian's archive can be reached, set {FROM_SOURCE}=1\n{error}"),
        })?;
        if !has_target()? {
            return Err(SetupError::Missing {
                what: format!("the Rust target {target}"),
                advice:
                    "rustup added it to another toolchain than the active one; see `rustup show`"
                        .to_owned(),
            });
        }
    }
    let version = first_line(&packages::output(&mut rustc(), &["--version"])?);
    Ok((Compiler::Installed { toolchain }, version))
}

/// The emulator, installed when it is missing.
fn qemu(emulator: Emulator, progress: &dyn Fn(&str)) -> Result<PathBuf, SetupError> {
    let program = emulator.program();
    if let Some(path) = packages::find(program) {
        return Ok(path);
    }
    match Installer::of_this_machine() {
        Some(Installer::Apt) => Installer::Apt.install(&[emulator.debian_package()], progress)?,
        Some(Installer::Brew) => Installer::Brew.install(&["qemu"], progress)?,
        None => {}
    }
    packages::find(program).ok_or_else(|| SetupError::Missing {
        what: format!("the emulator {program}"),
        advice: format!("install QEMU's system emulators so that `{program}` is on the PATH"),
    })
}

/// Runs a program of the set-up to its end.
pub(crate) fn run(command: &mut Command) -> Result<(), SetupError> {
    packages::output(command, &[]).map(drop)
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outer_cargo_is_forgotten_but_not_how_to_reach_registries() {
        for name in [
            "CARGO",
            "CARGO_TARGET_DIR",
            "CARGO_MANIFEST_DIR",
            "CARGO_ENCODED_RUSTFLAGS",
            "CARGO_PKG_NAME",
        ] {
            assert!(belongs_to_outer_cargo(name), "{name}");
        }
        for name in [
            "RUSTFLAGS",
            "RUSTUP_TOOLCHAIN",
            "RUSTC",
            "RUSTC_WRAPPER",
            "RUSTDOCFLAGS",
        ] {
            assert!(belongs_to_outer_cargo(name), "{name}");
        }
        for name in [
            "CARGO_HOME",
            "CARGO_HTTP_CAINFO",
            "CARGO_NET_OFFLINE",
            "RUSTUP_HOME",
            "PATH",
            "HOME",
        ] {
            assert!(!belongs_to_outer_cargo(name), "{name}");
        }
    }

    #[test]
    fn a_sysroot_reaches_cargo_as_its_compiler() {
        let toolchain = Toolchain {
            compiler: Compiler::FromSource {
                sysroot: PathBuf::from("/cache/sysroot"),
            },
            rustc_version: "rustc 1.0.0".to_owned(),
            qemu: None,
        };
        let cargo = toolchain.cargo();
        let compiler = cargo
            .get_envs()
            .find(|(name, _)| *name == "RUSTC")
            .and_then(|(_, value)| value);
        assert_eq!(
            compiler,
            Some(Path::new("/cache/sysroot/bin/rustc").as_os_str())
        );
    }
}
