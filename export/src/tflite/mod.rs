//! TensorFlow Lite in: a `.tflite` file becomes the ONNX model that says the same.
//!
//! Integer tensors become the literal `DequantizeLinear → op → QuantizeLinear`, channels-last operators get transposes
//! around them, which the compiler's layout pass takes away again: inputs and outputs keep their shapes. What reads ONNX
//! then reads this, so every command and every check is the same for both.
//!
//! `flatbuffer` reads any bytes safely, `schema` knows the format's tables, `table` lists the operators, `convert` walks them,
//! with one file a family.

mod constants;
mod convert;
mod elementwise;
mod error;
mod flatbuffer;
mod layers;
mod movement;
mod schema;
mod table;

pub use error::TfliteError;
pub use table::operators;

use tract_onnx::pb::ModelProto;

/// Whether these are the first bytes of a TensorFlow Lite file.
pub fn is_tflite(file: &[u8]) -> bool {
    file.get(4..8) == Some(b"TFL3")
}

/// The ONNX model that means the same.
///
/// # Errors
/// The file is damaged, or uses what does not run.
pub fn to_onnx(file: &[u8]) -> Result<ModelProto, TfliteError> {
    let budget = flatbuffer::Budget::new(file.len());
    convert::convert(&schema::read(file, &budget)?)
}
