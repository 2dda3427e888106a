//! From a trained ONNX model to a Kinglet plan and its proof: import, quantise, compile, run, emulate, verify.
//!
//! The way of the data, one module an arrow:
//! [`onnx`] (or [`tflite`] into it) → [`passes`] → ([`quantize`]) → [`compile`] → [`emulate`]; [`cli`] is the `kinglet` command over them.

pub mod certify;
pub mod cli;
pub mod compile;
pub mod compress;
pub mod data;
pub mod diagnose;
pub mod emulate;
pub mod evaluate;
pub mod explore;
pub mod files;
pub mod flash;
pub mod graph;
pub mod host;
pub mod limits;
pub mod model;
pub mod onnx;
pub mod passes;
pub mod project;
pub mod quantize;
pub mod reference;
pub mod report;
pub mod reproduce;
pub mod rivals;
pub mod samples;
pub mod setup;
pub mod slots;
pub mod tflite;
pub mod train;
pub mod verify;
pub mod web;
