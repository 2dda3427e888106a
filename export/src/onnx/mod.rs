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
mod wire;
pub mod write;

pub use check::operators;
pub use error::OnnxError;
pub(crate) use facts::to_data as tensor_data;

use crate::graph::Graph;
use crate::limits::{self, Limits};
use crate::tflite;
use prost::Message;
use std::path::Path;
use tract_onnx::pb::ModelProto;

/// What the caller knows about a model that its file does not say.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// Shapes of inputs by name; they override the file's. An unknown leading dimension (the batch) needs none: it is 1.
    /// Under the name of a symbolic dimension, its size.
    pub input_shapes: Vec<(String, Vec<usize>)>,
    /// Inputs that hold an output's value from one run to the next: names of `(input, output)`.
    pub states: Vec<(String, String)>,
    /// What the model may ask for.
    pub limits: Limits,
}

/// Reads an ONNX or TensorFlow Lite file.
///
/// # Errors
/// It cannot be read, is damaged or beyond [`LoadOptions::limits`], or uses something unsupported.
pub fn load(path: &Path, options: &LoadOptions) -> Result<Graph, OnnxError> {
    load_model(&read_within(path, &options.limits)?, options)
}

/// Reads and decodes an ONNX file without interpreting it, within the default limits. A TensorFlow Lite file, known by its
/// first bytes, is read as the ONNX model that means the same.
///
/// # Errors
/// It cannot be read, or is neither.
pub fn read(path: &Path) -> Result<ModelProto, OnnxError> {
    read_within(path, &Limits::default())
}

fn read_within(path: &Path, limits: &Limits) -> Result<ModelProto, OnnxError> {
    let contents = limits::read(path, limits.file_bytes).map_err(|source| OnnxError::Read {
        path: path.to_owned(),
        source,
    })?;
    let mut proto = decode(&contents, limits)?;
    external::load(&mut proto, path, limits)?;
    Ok(proto)
}

/// Decodes the bytes of an ONNX or TensorFlow Lite file without interpreting them. Tensors in files beside it are not read.
///
/// # Errors
/// They are neither, or would take more memory than the limits allow.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<ModelProto, OnnxError> {
    if tflite::is_tflite(bytes) {
        return Ok(tflite::to_onnx(bytes)?);
    }
    wire::check(bytes, limits)?;
    ModelProto::decode(bytes).map_err(|source| OnnxError::Decode { source })
}

/// Interprets a decoded ONNX model.
///
/// # Errors
/// It is damaged or beyond [`LoadOptions::limits`], or uses something unsupported.
pub fn load_model(proto: &ModelProto, options: &LoadOptions) -> Result<Graph, OnnxError> {
    let opset = check::check(proto, &options.limits)?;
    let mut graph = import::import(proto, opset, options)?;
    graph.states.clone_from(&options.states);
    signed::make_activations_signed(&mut graph);
    Ok(graph)
}
