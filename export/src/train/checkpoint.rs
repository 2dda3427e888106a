//! A run's whole state in one safetensors file, so that it can go on as if it had never stopped.

use super::optimizer::Optimizer;
use super::tape::{Program, Tensor};
use crate::files::{FileError, write_atomic};
use crate::graph::ValueId;
use crate::limits;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Name of the file in its folder.
pub const FILE: &str = "checkpoint.safetensors";
/// The metadata's only key; its value is [`Progress`] as JSON.
const KEY: &str = "kinglet";

/// Figures of an epoch.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct EpochMetrics {
    /// Epochs done.
    pub epoch: usize,
    /// Mean training loss over the epoch.
    pub loss: f64,
    /// Share of (augmented) training samples classified rightly during the epoch.
    pub accuracy: f64,
    /// Mean cross-entropy on the test set.
    pub test_loss: f64,
    /// Share of test samples classified rightly.
    pub test_accuracy: f64,
    /// Step size at the epoch's end.
    pub rate: f64,
    /// Seconds of training, without those of testing.
    pub seconds: f64,
    /// What methods add.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// How far a run is.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Progress {
    /// The run's settings; another run's checkpoint is refused by them.
    pub settings: Value,
    /// Epochs done.
    pub epoch: usize,
    /// Steps done in this epoch.
    pub step: usize,
    /// Sums over this epoch: loss times samples, samples classified rightly, samples, seconds.
    pub sums: [f64; 4],
    /// Steps of the optimiser.
    pub optimizer_steps: u64,
    /// Epochs' figures so far.
    pub history: Vec<EpochMetrics>,
}

/// Why a checkpoint cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// It cannot be read.
    #[error("cannot read the checkpoint {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is not whole, or not a checkpoint.
    #[error("{}: not a checkpoint of Kinglet: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// It is another run's.
    #[error("{}: the checkpoint was made with other settings ({difference}); give the same ones, or start afresh without --resume", path.display())]
    Settings {
        /// The file.
        path: PathBuf,
        /// Where they differ.
        difference: String,
    },
    /// It is another network's.
    #[error("{}: the checkpoint has no tensor `{tensor}` of shape {shape:?}: it is another network's", path.display())]
    Network {
        /// The file.
        path: PathBuf,
        /// The tensor that is missing.
        tensor: String,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// It cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
}

/// A run's state.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Checkpoint {
    /// How far the run is.
    pub progress: Progress,
    /// Parameters, running statistics, the optimiser's memory, and methods' tensors, by name.
    pub tensors: BTreeMap<String, Tensor<f32>>,
}

fn name(group: &str, program: &Program<f32>, id: ValueId) -> String {
    format!("{group}/{}/{}", id.0, program.name(id))
}

impl Checkpoint {
    /// The state of a program and its optimiser.
    pub fn of(
        program: &Program<f32>,
        optimizer: &Optimizer<f32>,
        methods: Vec<Vec<(String, Tensor<f32>)>>,
        mut progress: Progress,
    ) -> Self {
        let mut tensors = BTreeMap::new();
        for (id, p) in program.parameters() {
            tensors.insert(name("parameters", program, id), p.value.clone());
        }
        for (id, state) in program.state() {
            tensors.insert(name("statistics", program, id), state.clone());
        }
        for (&id, memory) in &optimizer.memory {
            for (i, tensor) in memory.iter().enumerate() {
                let group = format!("optimizer.{i}");
                tensors.insert(name(&group, program, id), tensor.clone());
            }
        }
        for (i, saved) in methods.into_iter().enumerate() {
            let named = saved.into_iter();
            tensors.extend(named.map(|(name, t)| (format!("method.{i}/{name}"), t)));
        }
        progress.optimizer_steps = optimizer.steps;
        Checkpoint { progress, tensors }
    }

    /// Puts the state into a program and an optimiser made as the first time. `path` is for errors.
    ///
    /// # Errors
    /// A tensor is missing or has another shape.
    pub fn restore(
        &self,
        path: &Path,
        program: &mut Program<f32>,
        optimizer: &mut Optimizer<f32>,
    ) -> Result<(), CheckpointError> {
        let find = |tensor: String, shape: &[usize]| {
            let found = self.tensors.get(&tensor).filter(|t| t.shape == shape);
            found.cloned().ok_or_else(|| CheckpointError::Network {
                path: path.into(),
                tensor,
                shape: shape.to_vec(),
            })
        };
        let parameters: Vec<ValueId> = program.parameters().map(|(id, _)| id).collect();
        for id in parameters {
            let key = name("parameters", program, id);
            let memories = (0..2).map(|i| name(&format!("optimizer.{i}"), program, id));
            let memory: Vec<_> = memories
                .map_while(|key| self.tensors.get(&key).cloned())
                .collect();
            if !memory.is_empty() {
                optimizer.memory.insert(id, memory);
            }
            if let Some(p) = program.parameter_mut(id) {
                p.value = find(key, &p.value.shape)?;
            }
        }
        let names: BTreeMap<ValueId, String> = program
            .state()
            .map(|(id, _)| (id, name("statistics", program, id)))
            .collect();
        for (id, state) in program.state_mut() {
            let key = names.get(&id).cloned().unwrap_or_default();
            *state = find(key, &state.shape)?;
        }
        optimizer.steps = self.progress.optimizer_steps;
        Ok(())
    }

    /// What method number `index` saved.
    pub fn method(&self, index: usize) -> Vec<(String, Tensor<f32>)> {
        let prefix = format!("method.{index}/");
        let own = self.tensors.iter().filter_map(|(name, tensor)| {
            Some((name.strip_prefix(&prefix)?.to_owned(), tensor.clone()))
        });
        own.collect()
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), CheckpointError> {
        let malformed = |reason: String| CheckpointError::Malformed {
            path: path.into(),
            reason,
        };
        let bytes: Vec<(&String, &[usize], Vec<u8>)> = self
            .tensors
            .iter()
            .map(|(name, t)| {
                let bytes = t.data.iter().flat_map(|v| v.to_le_bytes()).collect();
                (name, &t.shape[..], bytes)
            })
            .collect();
        let mut views = Vec::new();
        for (name, shape, bytes) in &bytes {
            let view = TensorView::new(Dtype::F32, shape.to_vec(), bytes);
            views.push((name, view.map_err(|e| malformed(e.to_string()))?));
        }
        let progress =
            serde_json::to_string(&self.progress).map_err(|e| malformed(e.to_string()))?;
        let metadata = HashMap::from([(KEY.to_owned(), progress)]);
        let file = safetensors::serialize(views, Some(metadata));
        let file = file.map_err(|e| malformed(e.to_string()))?;
        write_atomic(path, |f| f.write_all(&file))?;
        Ok(())
    }

    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, or is no checkpoint.
    pub fn read(path: &Path) -> Result<Self, CheckpointError> {
        let read = limits::read(path, limits::CHECKPOINT_BYTES);
        let bytes = read.map_err(|source| CheckpointError::Read {
            path: path.into(),
            source,
        })?;
        Checkpoint::decode(&bytes, path)
    }

    /// The state in the bytes of a file; `path` is for errors.
    ///
    /// # Errors
    /// They are no checkpoint.
    pub fn decode(bytes: &[u8], path: &Path) -> Result<Self, CheckpointError> {
        let malformed = |reason: String| CheckpointError::Malformed {
            path: path.into(),
            reason,
        };
        let file = SafeTensors::deserialize(bytes).map_err(|e| malformed(e.to_string()))?;
        let (_, metadata) =
            SafeTensors::read_metadata(bytes).map_err(|e| malformed(e.to_string()))?;
        let progress = metadata.metadata().as_ref().and_then(|m| m.get(KEY));
        let progress = progress.ok_or_else(|| malformed("it says nothing of a run".into()))?;
        let progress = serde_json::from_str(progress).map_err(|e| malformed(e.to_string()))?;
        let mut tensors = BTreeMap::new();
        for (name, view) in file.iter() {
            if view.dtype() != Dtype::F32 {
                return Err(malformed(format!("tensor `{name}` is not f32")));
            }
            let data = view.data().as_chunks().0;
            let data = data.iter().map(|&b| f32::from_le_bytes(b)).collect();
            tensors.insert(name.to_owned(), Tensor::new(view.shape(), data));
        }
        Ok(Checkpoint { progress, tensors })
    }

    /// Refuses a checkpoint of a run with other settings.
    ///
    /// # Errors
    /// They differ; the first difference is named.
    pub fn expect_settings(&self, path: &Path, settings: &Value) -> Result<(), CheckpointError> {
        let (Value::Object(old), Value::Object(new)) = (&self.progress.settings, settings) else {
            return Ok(());
        };
        let mut keys = new.keys().chain(old.keys());
        let Some(key) = keys.find(|&key| old.get(key) != new.get(key)) else {
            return Ok(());
        };
        let text = |v: Option<&Value>| v.map_or("nothing".to_owned(), Value::to_string);
        Err(CheckpointError::Settings {
            path: path.into(),
            difference: format!(
                "{key}: {} there, {} here",
                text(old.get(key)),
                text(new.get(key))
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_written_is_read_back_bit_for_bit() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(FILE);
        let mut checkpoint = Checkpoint::default();
        let tensor = Tensor::new([2, 2], vec![1.0, -0.0, f32::MIN_POSITIVE, 0.1]);
        checkpoint
            .tensors
            .insert("parameters/3/w".into(), tensor.clone());
        checkpoint
            .tensors
            .insert("method.1/mask".into(), tensor.clone());
        checkpoint.progress.sums = [0.1 + 0.2, 1.0 / 3.0, 7.0, 1e-300];
        checkpoint.progress.settings = json!({ "seed": 3 });
        checkpoint.write(&path).expect("written");
        let read = Checkpoint::read(&path).expect("read");
        assert_eq!(read, checkpoint);
        assert_eq!(read.method(1), [("mask".to_owned(), tensor)]);
        assert!(read.expect_settings(&path, &json!({ "seed": 3 })).is_ok());
        let error = read.expect_settings(&path, &json!({ "seed": 4 })).err();
        assert!(error.is_some_and(|e| e.to_string().contains("seed: 3 there, 4 here")));
        std::fs::write(&path, [0; 9]).expect("written");
        assert!(matches!(
            Checkpoint::read(&path),
            Err(CheckpointError::Malformed { .. })
        ));
    }
}
