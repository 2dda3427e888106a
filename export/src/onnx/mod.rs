//! ONNX in and out: a `ModelProto` becomes a [`Graph`] in the ONNX dialect, and [`mod@write`] turns one back.
//!
//! `check` refuses what Kinglet cannot run, in our words, before anything else looks at the file;
//! `facts` asks tract for the constants that exporters compute at run time (Shape → Gather → Concat → Reshape);
//! `import` walks the nodes, with one file a family of operators; `signed` turns unsigned activations into signed ones.

mod attributes;
mod check;
mod elementwise;
mod error;
mod external;
mod facts;
mod functions;
mod import;
mod indices;
mod inputs;
mod linear;
mod lookup;
mod movement;
mod normalization;
mod quantization;
mod recurrent;
mod resize;
mod signed;
mod slice;
mod steps;
mod tensor;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod window;
pub mod write;

pub use check::operators;
pub use error::OnnxError;
pub(crate) use facts::to_data as tensor_data;

use crate::graph::Graph;
use crate::tflite;
use prost::Message;
use std::path::Path;
use tract_onnx::pb::ModelProto;

/// Protobuf's own limit on a message.
const MAX_FILE_BYTES: u64 = 2 << 30;

/// What the caller knows about a model that its file does not say.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// Shapes of inputs by name; they override the file's. An unknown leading dimension (the batch) needs none: it is 1.
    /// Under the name of a symbolic dimension, its size.
    pub input_shapes: Vec<(String, Vec<usize>)>,
    /// Inputs that hold an output's value from one run to the next: names of `(input, output)`.
    pub states: Vec<(String, String)>,
}

/// Reads an ONNX or TensorFlow Lite file.
pub fn load(path: &Path, options: &LoadOptions) -> Result<Graph, OnnxError> {
    load_model(&read(path)?, options)
}

/// Reads and decodes an ONNX file without interpreting it. A TensorFlow Lite file, known by its first bytes, is read as
/// the ONNX model that means the same.
pub fn read(path: &Path) -> Result<ModelProto, OnnxError> {
    let read_error = |source| OnnxError::Read {
        path: path.to_owned(),
        source,
    };
    let bytes = std::fs::metadata(path).map_err(read_error)?.len();
    if bytes > MAX_FILE_BYTES {
        return Err(OnnxError::TooLarge {
            path: path.to_owned(),
            bytes,
        });
    }
    let contents = std::fs::read(path).map_err(read_error)?;
    if tflite::is_tflite(&contents) {
        return Ok(tflite::to_onnx(&contents)?);
    }
    let mut proto =
        ModelProto::decode(contents.as_slice()).map_err(|source| OnnxError::Decode { source })?;
    external::load(&mut proto, path)?;
    Ok(proto)
}

/// Interprets a decoded ONNX model.
pub fn load_model(proto: &ModelProto, options: &LoadOptions) -> Result<Graph, OnnxError> {
    let opset = check::check(proto)?;
    let mut graph = import::import(proto, opset, options)?;
    graph.states.clone_from(&options.states);
    signed::make_activations_signed(&mut graph);
    Ok(graph)
}
