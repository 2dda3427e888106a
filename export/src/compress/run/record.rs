//! What came of a recipe, stage by stage.

use super::{CompressError, Figures};
use crate::files::write_atomic;
use crate::limits;
use crate::report::grouped;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::io::Write;
use std::path::Path;

/// Name of the record in its folder.
pub(super) const FILE: &str = "record.json";

/// A finished stage.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct StageRecord {
    /// Its kind, as recipes write it.
    pub kind: String,
    /// Figures of the model that it has exported.
    pub figures: Figures,
    /// How long it took; of a resumed stage only the last part.
    pub seconds: f64,
    /// What the user should know.
    pub warnings: Vec<String>,
    /// What else the stage says.
    pub notes: Map<String, Value>,
}

/// Figures of the input model and after every stage.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Record {
    /// The recipe's name.
    pub recipe: String,
    /// The model before all.
    pub input: Figures,
    /// Finished stages, in order.
    pub stages: Vec<StageRecord>,
}

impl Record {
    /// What [`Record::rows`] has in its columns.
    pub const HEADERS: [&'static str; 6] = [
        "after",
        "accuracy",
        "MACs",
        "parameters",
        "weight bytes",
        "coded bytes",
    ];

    /// A row for the input and for every stage.
    pub fn rows(&self) -> Vec<Vec<String>> {
        let row = |name: &str, f: &Figures| {
            vec![
                name.to_owned(),
                format!("{:.2} %", 100.0 * f.accuracy),
                grouped(f.macs),
                grouped(f.parameters),
                grouped(f.weight_bytes),
                grouped(f.coded_bytes),
            ]
        };
        let stages = self.stages.iter().map(|s| row(&s.kind, &s.figures));
        [row("input", &self.input)]
            .into_iter()
            .chain(stages)
            .collect()
    }
}

/// The record as it is kept, with what it belongs to.
#[derive(Serialize, Deserialize)]
pub(super) struct Saved {
    pub(super) settings: Value,
    pub(super) record: Record,
}

impl Saved {
    /// The record of the run that is resumed; `None` if it had not begun.
    pub(super) fn read(path: &Path, settings: &Value) -> Result<Option<Saved>, CompressError> {
        if !path.exists() {
            return Ok(None);
        }
        let malformed = |reason: String| CompressError::Record {
            path: path.into(),
            reason,
        };
        let bytes =
            limits::read(path, limits::CHECKPOINT_BYTES).map_err(|e| malformed(e.to_string()))?;
        let saved: Saved = serde_json::from_slice(&bytes).map_err(|e| malformed(e.to_string()))?;
        let (Value::Object(old), Value::Object(new)) = (&saved.settings, settings) else {
            return Err(malformed("it has no settings".into()));
        };
        match new
            .keys()
            .chain(old.keys())
            .find(|&k| old.get(k) != new.get(k))
        {
            Some(key) => Err(CompressError::Settings {
                path: path.into(),
                key: key.clone(),
            }),
            None => Ok(Some(saved)),
        }
    }

    pub(super) fn write(&self, path: &Path) -> Result<(), CompressError> {
        write_atomic(path, |file| {
            serde_json::to_writer_pretty(&mut *file, self)?;
            writeln!(file)
        })?;
        Ok(())
    }
}
