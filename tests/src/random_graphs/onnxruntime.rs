//! ONNX Runtime in one long-lived process that is fed many models.

use super::Case;
use crate::command::script;
use kinglet_export::files::{Tensor, read_archive, write_tensor};
use prost::Message;
use serde_json::json;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use tempfile::TempDir;

/// The process, optimisations off: `tests/reference.py --serve`.
pub struct OnnxRuntime {
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
    folder: TempDir,
}

impl OnnxRuntime {
    /// Starts it. Fails without a Python that has onnx, onnxruntime and numpy (`KINGLET_PYTHON`).
    ///
    /// # Errors
    /// What the system or Python said.
    pub fn start() -> Result<OnnxRuntime, String> {
        let mut command = script("reference.py");
        command.arg("--serve");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|e| format!("{command:?}: {e}"))?;
        let (Some(requests), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("no pipes".into());
        };
        let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
        Ok(OnnxRuntime {
            child,
            requests,
            answers: BufReader::new(answers),
            folder,
        })
    }

    /// The file that the last case was written to, for engines that read files.
    pub fn model_path(&self) -> PathBuf {
        self.folder.path().join("model.onnx")
    }

    /// Every tensor of one inference that depends on an input, by name.
    ///
    /// # Errors
    /// What ONNX Runtime refuses the model with; an end of the process says so.
    pub fn values(&mut self, case: &Case) -> Result<HashMap<String, Tensor>, String> {
        let reference = self.folder.path().join("reference.npz");
        fs::write(self.model_path(), case.model.encode_to_vec()).map_err(|e| e.to_string())?;
        let mut inputs = BTreeMap::new();
        for (index, input) in case.inputs.iter().enumerate() {
            let path = self.folder.path().join(format!("input_{index}.npy"));
            write_tensor(&path, &input.tensor).map_err(|e| e.to_string())?;
            inputs.insert(input.name.clone(), path);
        }
        let request = json!({
            "model": self.model_path(), "inputs": inputs, "reference": reference,
        });
        let mut answer = String::new();
        writeln!(self.requests, "{request}")
            .and_then(|()| self.requests.flush())
            .and_then(|()| self.answers.read_line(&mut answer))
            .map_err(|e| format!("the process of ONNX Runtime ended: {e}"))?;
        match answer.trim() {
            "ok" => {}
            "" => return Err("the process of ONNX Runtime ended".into()),
            refused => return Err(refused.to_owned()),
        }
        let archive = read_archive(&reference).map_err(|e| e.to_string())?;
        // One inference: the sample axis goes.
        let one = |(name, mut tensor): (String, Tensor)| {
            tensor.shape.remove(0);
            (name, tensor)
        };
        Ok(archive.into_iter().map(one).collect())
    }
}

impl Drop for OnnxRuntime {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}
