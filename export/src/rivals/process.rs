//! A rival's process: how it comes to be, and its lines.

use super::{PYTHON, Rival, RivalError};
use crate::setup::{self, SetupError};
use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

const SCRIPT: &str = include_str!("rival.py");

/// A rival that is ready.
pub(super) struct Process {
    child: Child,
    input: ChildStdin,
    lines: BufReader<ChildStdout>,
    pub(super) version: String,
    pub(super) output: Vec<f64>,
}

impl Process {
    pub(super) fn start(
        rival: Rival,
        model: &Path,
        inputs: &[(String, PathBuf)],
    ) -> Result<Process, RivalError> {
        let mut command = match rival.python_package() {
            Some(package) => {
                let mut command = Command::new(python(package)?);
                command.args(["-c", SCRIPT]);
                command
            }
            None => Command::new(native()?),
        };
        command.arg(rival.name()).arg(model);
        for (name, path) in inputs {
            command.arg(format!("{name}={}", path.display()));
        }
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child =
            command
                .stderr(Stdio::null())
                .spawn()
                .map_err(|source| SetupError::Start {
                    program: command.get_program().to_string_lossy().into_owned(),
                    source,
                })?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(RivalError::Failed("it has no pipes".into()));
        };
        let mut process = Process {
            child,
            input,
            lines: BufReader::new(output),
            version: String::new(),
            output: Vec::new(),
        };
        let line = process.line()?;
        let ready: serde_json::Value = serde_json::from_str(&line)
            .map_err(|error| RivalError::Failed(format!("{error} in: {line}")))?;
        if let Some(reason) = ready["failed"].as_str() {
            return Err(RivalError::Failed(reason.to_owned()));
        }
        process.version = ready["version"].as_str().unwrap_or_default().to_owned();
        let output = ready["output"].as_array();
        process.output = output
            .map(|values| {
                values
                    .iter()
                    .map(|v| v.as_f64().unwrap_or(f64::NAN))
                    .collect()
            })
            .unwrap_or_default();
        Ok(process)
    }

    /// Microseconds of processor time an inference, over `count` of them.
    pub(super) fn run(&mut self, count: u32) -> Result<f64, RivalError> {
        writeln!(self.input, "{count}").map_err(|error| RivalError::Failed(error.to_string()))?;
        let line = self.line()?;
        let nanoseconds: u64 = (line.trim().parse())
            .map_err(|_| RivalError::Failed(format!("a number was expected, not: {line}")))?;
        Ok(nanoseconds as f64 / 1000.0 / f64::from(count))
    }

    fn line(&mut self) -> Result<String, RivalError> {
        let mut line = String::new();
        match self.lines.read_line(&mut line) {
            Ok(0) => Err(RivalError::Failed("it ended before it was ready".into())),
            Ok(_) => Ok(line),
            Err(error) => Err(RivalError::Failed(error.to_string())),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A Python interpreter that has `package`: the one that the environment names, else one of our own, where it is installed once.
fn python(package: &str) -> Result<PathBuf, RivalError> {
    if let Some(named) = env::var_os(PYTHON) {
        return Ok(named.into());
    }
    let folder = setup::cache_directory()?.join("rivals");
    let python = folder.join("bin/python");
    if !python.is_file() {
        setup::run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
    }
    let module = package.replace('-', "_");
    let known = setup::run(Command::new(&python).args(["-c", &format!("import {module}")]));
    if known.is_err() {
        let pip = [
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "numpy",
            package,
        ];
        setup::run(Command::new(&python).args(pip))?;
    }
    Ok(python)
}

/// The program with tract and rten, built optimised from Kinglet's source tree, in a workspace of its own: ours builds tract for
/// parsing only.
fn native() -> Result<PathBuf, RivalError> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/rivals");
    let missing = |advice: &str| SetupError::Missing {
        what: "the program with the rivals tract and rten".into(),
        advice: advice.into(),
    };
    if !folder.join("Cargo.toml").is_file() {
        return Err(missing("it is built from Kinglet's source tree, which is not there").into());
    }
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/rivals");
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(&folder)
        .args(["build", "--release", "--locked", "--target-dir"])
        .arg(&target);
    setup::run(&mut cargo)?;
    Ok(target.join("release/kinglet-rivals"))
}
