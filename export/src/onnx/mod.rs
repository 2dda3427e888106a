//! ONNX in and out.

pub mod write;
