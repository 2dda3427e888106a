//! What can be wrong with an ONNX model.

use crate::limits::LimitError;
use crate::tflite::TfliteError;
use std::path::PathBuf;

/// Why a model could not be imported: what, where, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OnnxError {
    /// The file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Something in the model is larger than [`LoadOptions::limits`](super::LoadOptions::limits) allow.
    #[error("{0}; see docs/trust.md")]
    Limit(#[from] LimitError),
    /// The bytes are no protobuf message of type `ModelProto`.
    #[error("not an ONNX model (or a damaged one): {source}")]
    Decode {
        /// The decoder's reason.
        source: prost::DecodeError,
    },
    /// The file is TensorFlow Lite's, and was refused.
    #[error(transparent)]
    Tflite(#[from] TfliteError),
    /// The model as a whole cannot be used.
    #[error("unusable ONNX model: {message}")]
    Model {
        /// What is wrong and what to do.
        message: String,
    },
    /// The operator set is outside the supported range.
    #[error(
        "the model uses ONNX opset {found}; opsets {min} to {max} are supported: export it again with one of them \
         (or convert it with onnx.version_converter)"
    )]
    Opset {
        /// The model's.
        found: i64,
        /// Oldest supported.
        min: i64,
        /// Newest supported.
        max: i64,
    },
    /// The operator is not supported.
    #[error(
        "node `{node}`: operator {op} (domain `{domain}`, opset {opset}) is not supported; {hint}"
    )]
    UnsupportedOperator {
        /// Node name.
        node: String,
        /// Operator.
        op: String,
        /// Operator set's domain, `ai.onnx` for the standard one.
        domain: String,
        /// Operator set's version.
        opset: i64,
        /// Nearest rewrite.
        hint: String,
    },
    /// The operator is supported, but not with this attribute or mode.
    #[error(
        "node `{node}`: {op} (opset {opset}) with {attribute} = {value} is not supported; {hint}"
    )]
    UnsupportedAttribute {
        /// Node name.
        node: Box<str>,
        /// Operator.
        op: Box<str>,
        /// Operator set's version.
        opset: i64,
        /// Attribute, input or mode.
        attribute: Box<str>,
        /// Its value.
        value: Box<str>,
        /// Nearest rewrite.
        hint: Box<str>,
    },
    /// The node contradicts the ONNX specification or itself.
    #[error("node `{node}`: {op} (opset {opset}): {message}")]
    Invalid {
        /// Node name.
        node: String,
        /// Operator.
        op: String,
        /// Operator set's version.
        opset: i64,
        /// What is wrong.
        message: String,
    },
    /// A tensor in the file is damaged or of an unsupported kind.
    #[error("tensor `{tensor}`: {message}")]
    Tensor {
        /// Tensor name.
        tensor: String,
        /// What is wrong and what to do.
        message: String,
    },
    /// A graph input cannot be used as it is.
    #[error("input `{input}`: {message}")]
    Input {
        /// Input name.
        input: String,
        /// What is wrong and what to do.
        message: String,
    },
    /// A graph output cannot be used as it is.
    #[error("output `{output}`: {message}")]
    Output {
        /// Output name.
        output: String,
        /// What is wrong and what to do.
        message: String,
    },
}
