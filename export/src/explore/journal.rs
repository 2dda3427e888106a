//! What has been tried: a line of JSON for the settings, then one a trial.

use super::front::Costs;
use super::trial::Form;
use crate::files::FileError;
use crate::limits;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Name of the journal in its folder.
pub const FILE: &str = "journal.jsonl";

/// A plan that a trial's model became.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Point {
    /// How it was compiled.
    pub form: Form,
    /// What it costs and what it can.
    pub costs: Costs,
}

/// A finished trial. It says nothing of time, so that a run that was stopped has the same journal as any other.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Trial {
    /// Which round.
    pub round: usize,
    /// Number of the candidate.
    pub candidate: usize,
    /// Epochs of each training; 0 without any.
    pub epochs: usize,
    /// What it did, in a few words.
    pub what: String,
    /// The recipe, as TOML.
    pub recipe: String,
    /// Its plans; empty where it failed.
    pub points: Vec<Point>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// Why a journal cannot be gone on with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// There is one, and it was not asked to go on.
    #[error("{}: there is an exploration already; --resume goes on with it, another folder begins anew", path.display())]
    Exists {
        /// The journal.
        path: PathBuf,
    },
    /// It was begun otherwise.
    #[error("{}: begun with other settings ({key}); give the same ones, or choose another folder", path.display())]
    Settings {
        /// The journal.
        path: PathBuf,
        /// What differs.
        key: String,
    },
    /// It is damaged.
    #[error("{}, line {line}: not a journal of `kinglet explore`: {reason}", path.display())]
    Malformed {
        /// The journal.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// It cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
}

/// A journal that trials are appended to.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    /// Finished trials, in order.
    pub trials: Vec<Trial>,
}

impl Journal {
    /// Begins a journal in `folder`, or goes on with the one that is there. What a killed run has written of a line goes.
    ///
    /// # Errors
    /// There is one and `resume` is not set; it was begun with other settings; it is damaged; files.
    pub fn open(folder: &Path, settings: &Value, resume: bool) -> Result<Journal, JournalError> {
        let path = folder.join(FILE);
        let read = |source| FileError::Read {
            path: path.clone(),
            source,
        };
        let text = match path.exists() {
            true => limits::read_text(&path, limits::CHECKPOINT_BYTES).map_err(read)?,
            false => String::new(),
        };
        let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
        if !whole.is_empty() && !resume {
            return Err(JournalError::Exists { path });
        }
        let mut trials = Vec::new();
        for (index, line) in whole.lines().enumerate() {
            let malformed = |e: serde_json::Error| JournalError::Malformed {
                path: path.clone(),
                line: index + 1,
                reason: e.to_string(),
            };
            if index > 0 {
                trials.push(serde_json::from_str(line).map_err(malformed)?);
                continue;
            }
            let begun: Value = serde_json::from_str(line).map_err(malformed)?;
            if let Some(key) = difference(&begun, settings) {
                return Err(JournalError::Settings { path, key });
            }
        }
        let write = |source| FileError::Write {
            path: path.clone(),
            source,
        };
        let mut options = File::options();
        let file = options.append(true).create(true).open(&path);
        let file = file.map_err(write)?;
        file.set_len(whole.len() as u64).map_err(write)?;
        let mut journal = Journal { path, file, trials };
        if whole.is_empty() {
            journal.line(settings)?;
        }
        Ok(journal)
    }

    /// Appends a trial: one write, on the disk when this returns.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn append(&mut self, trial: Trial) -> Result<(), JournalError> {
        self.line(&trial)?;
        self.trials.push(trial);
        Ok(())
    }

    fn line(&mut self, value: &impl Serialize) -> Result<(), FileError> {
        let mut write = || {
            let mut line = serde_json::to_vec(value).map_err(io::Error::other)?;
            line.push(b'\n');
            self.file.write_all(&line)?;
            self.file.sync_data()
        };
        write().map_err(|source| FileError::Write {
            path: self.path.clone(),
            source,
        })
    }
}

/// The first key in which two objects differ.
fn difference(old: &Value, new: &Value) -> Option<String> {
    let (Value::Object(old), Value::Object(new)) = (old, new) else {
        return Some("the first line".into());
    };
    let mut keys = new.keys().chain(old.keys());
    keys.find(|&key| old.get(key) != new.get(key)).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn trial(candidate: usize) -> Trial {
        let costs = Costs {
            accuracy: 0.1 + candidate as f64 / 7.0,
            flash: 10,
            ram: 20,
            instructions: 30,
        };
        Trial {
            round: 0,
            candidate,
            epochs: 1,
            what: "int8".into(),
            recipe: "name = \"a\"\n".into(),
            points: vec![Point {
                form: Form::default(),
                costs,
            }],
            failure: None,
        }
    }

    #[test]
    fn a_torn_line_goes_and_the_rest_is_gone_on_with() {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = json!({ "seed": 1 });
        let mut journal = Journal::open(folder.path(), &settings, false).expect("begun");
        for n in 0..3 {
            journal.append(trial(n)).expect("written");
        }
        let path = folder.path().join(FILE);
        let whole = std::fs::read(&path).expect("read");
        let lines: Vec<usize> = (0..whole.len()).filter(|&i| whole[i] == b'\n').collect();
        // Killed at every byte of the last line.
        for end in lines[2] + 1..lines[3] {
            std::fs::write(&path, &whole[..end]).expect("written");
            let mut journal = Journal::open(folder.path(), &settings, true).expect("gone on with");
            assert_eq!(journal.trials, [trial(0), trial(1)]);
            journal.append(trial(2)).expect("written");
            assert_eq!(std::fs::read(&path).expect("read"), whole);
        }
    }

    #[test]
    fn what_is_not_to_be_gone_on_with_is_said() {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = json!({ "seed": 1, "board": "a" });
        let open = |settings: &Value, resume| {
            Journal::open(folder.path(), settings, resume).map_err(|e| e.to_string())
        };
        open(&settings, true).expect("begun");
        let exists = open(&settings, false).expect_err("it is there");
        assert!(exists.contains("--resume"), "{exists}");
        let other = open(&json!({ "seed": 2, "board": "a" }), true).expect_err("another seed");
        assert!(other.contains("(seed)"), "{other}");
        std::fs::write(
            folder.path().join(FILE),
            "{\"seed\":1,\"board\":\"a\"}\n{}\n",
        )
        .expect("written");
        let damaged = open(&settings, true).expect_err("damaged");
        assert!(damaged.contains("line 2"), "{damaged}");
    }
}
