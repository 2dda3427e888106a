//! Running the `kinglet` command.

use serde_json::Value;
use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output};

/// What the command did.
#[derive(Debug)]
pub struct Done {
    /// Whether it ended with exit code 0.
    pub succeeded: bool,
    /// The exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Done {
    /// Standard output as one JSON object.
    ///
    /// # Panics
    /// It failed, or the output is no JSON object.
    pub fn json(&self) -> Value {
        assert!(self.succeeded, "kinglet failed: {}", self.stderr);
        let value: Value =
            serde_json::from_str(&self.stdout).expect("standard output is JSON and nothing else");
        assert!(value.is_object(), "one JSON object is expected: {value}");
        value
    }

    /// Checks that it failed in the orderly way: exit code 1 or 2, nothing on standard output, no panic, and a message
    /// that contains all of `words`. The message is wrapped for people, so white space and frames do not count.
    ///
    /// # Panics
    /// Otherwise.
    pub fn failed_naming(&self, words: &[&str]) {
        assert!(matches!(self.code, Some(1 | 2)), "{self:?}");
        assert_eq!(self.stdout, "", "{self:?}");
        assert!(!self.stderr.contains("panicked"), "{self:?}");
        let squeeze = |text: &str| text.replace(|c: char| c.is_whitespace() || c == '│', "");
        let message = squeeze(&self.stderr);
        for word in words {
            assert!(
                message.contains(&squeeze(word)),
                "`{word}` is not in: {}",
                self.stderr
            );
        }
    }
}

/// Runs `program` (`env!("CARGO_BIN_EXE_kinglet-tested")`) with `arguments`.
///
/// # Panics
/// It cannot be started, or writes something that is not text.
pub fn kinglet<A: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = A>) -> Done {
    let output = Command::new(program).args(arguments).output();
    let Output {
        status,
        stdout,
        stderr,
    } = output.expect("the command under test starts");
    Done {
        succeeded: status.success(),
        code: status.code(),
        stdout: String::from_utf8(stdout).expect("text"),
        stderr: String::from_utf8(stderr).expect("text"),
    }
}

/// A script of this folder, to be run by the Python that `KINGLET_PYTHON` names (`python3` by default).
pub fn script(name: &str) -> Command {
    let python = std::env::var_os("KINGLET_PYTHON").unwrap_or_else(|| "python3".into());
    let mut command = Command::new(python);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(name));
    command
}
