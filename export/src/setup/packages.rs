//! Finding programs, running them, and installing what the system's package manager has.

use super::SetupError;
use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The lines of a failed program's output that an error shows.
const SHOWN_LINES: usize = 20;

/// A package manager that the set-up can drive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Installer {
    /// Debian's and Ubuntu's `apt-get`.
    Apt,
    /// Homebrew's `brew`.
    Brew,
}

impl Installer {
    /// The package manager of this machine, if it is one that we know.
    pub fn of_this_machine() -> Option<Self> {
        if find("apt-get").is_some() {
            Some(Installer::Apt)
        } else if find("brew").is_some() {
            Some(Installer::Brew)
        } else {
            None
        }
    }

    /// Installs `packages`.
    pub(super) fn install(
        self,
        packages: &[&str],
        progress: &dyn Fn(&str),
    ) -> Result<(), SetupError> {
        progress(&format!("installing {}", packages.join(", ")));
        match self {
            Installer::Brew => output(Command::new("brew").arg("install"), packages).map(drop),
            Installer::Apt => {
                let install = || {
                    let mut command = apt();
                    command.args(["install", "-y", "--no-install-recommends"]);
                    output(&mut command, packages).map(drop)
                };
                // The package lists of a fresh machine are empty or old: then the first attempt fails.
                install().or_else(|_| {
                    output(&mut apt(), &["update"])?;
                    install()
                })
            }
        }
    }
}

/// `apt-get` that asks nothing, as root where possible.
fn apt() -> Command {
    // Asking `id` needs no unsafe code.
    let is_root = output(&mut Command::new("id"), &["-u"]).is_ok_and(|id| id.trim() == "0");
    let mut command = if !is_root && find("sudo").is_some() {
        let mut command = Command::new("sudo");
        command.args(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
        command
    } else {
        Command::new("apt-get")
    };
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}

/// The path of `program`, if it is on the `PATH` and is a file.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|directory| directory.join(program))
        .find(|candidate| is_program(candidate))
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|data| {
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            data.is_file() && data.permissions().mode() & 0o111 != 0
        }
        #[cfg(not(unix))]
        {
            data.is_file()
        }
    })
}

/// Runs `command` with `arguments` to its end; its standard output, or an error with the end of all that it wrote.
pub(crate) fn output(command: &mut Command, arguments: &[&str]) -> Result<String, SetupError> {
    command.args(arguments).stdin(Stdio::null());
    let result = command.output().map_err(|source| SetupError::Start {
        program: command.get_program().to_string_lossy().into_owned(),
        source,
    })?;
    let written = String::from_utf8_lossy(&result.stdout).into_owned();
    if result.status.success() {
        return Ok(written);
    }
    let complaint = String::from_utf8_lossy(&result.stderr);
    let lines: Vec<&str> = written.lines().chain(complaint.lines()).collect();
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    Err(SetupError::Failed {
        command: words
            .map(|word| word.to_string_lossy())
            .collect::<Vec<_>>()
            .join(" "),
        status: result.status.to_string(),
        output: lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_not_there_is_not_found() {
        assert_eq!(find("kinglet-no-such-program"), None);
        assert!(find("cargo").is_some());
    }

    #[test]
    fn a_failure_names_the_command_and_shows_what_it_wrote() {
        let error = output(&mut Command::new("cargo"), &["no-such-subcommand"]).unwrap_err();
        let shown = error.to_string();
        assert!(
            shown.contains("cargo no-such-subcommand") && shown.contains("no such command"),
            "{shown}"
        );
    }

    #[test]
    fn a_program_that_cannot_start_is_named() {
        let error = output(&mut Command::new("kinglet-no-such-program"), &[]).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("cannot start `kinglet-no-such-program`"),
            "{error}"
        );
    }
}
