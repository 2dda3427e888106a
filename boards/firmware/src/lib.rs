//! What every emulated board does: reads samples from the host, runs the model, counts, writes the outputs back.
//!
//! The host and the firmware talk through files in the emulator's working directory ([`host`]):
//!
//! | file | direction | contents |
//! |---|---|---|
//! | `plan.bin` | to the board | the plan, for the loader |
//! | `input.bin` | to the board | samples back to back; a sample is all inputs in order |
//! | `output.bin` | from the board | for each sample, all outputs in order |
//! | `report.bin` | from the board | little-endian `u64`s, see `serve.rs` |
//! | `steps.bin` | from the board | with the feature `steps`: for each sample and step, a `u32` length and the bytes |
//!
//! There is no panic path: see the source of `panic.rs`.
#![no_std]

#[cfg(feature = "apps")]
#[doc(hidden)]
pub mod apps;
mod arch;
mod board;
mod calibrate;
mod counter;
mod failure;
pub mod host;
mod log;
mod panic;
mod pin;
#[doc(hidden)]
pub mod programs;
mod register;
mod serve;
#[cfg(feature = "slots")]
pub mod slots;
mod stack;
#[cfg(feature = "steps")]
mod steps;

pub use board::Board;
pub use counter::{InstructionCounter, scale};
pub use failure::Failure;
pub use pin::NoPin;
pub use register::Register;

#[doc(hidden)]
pub use kinglet;
#[cfg(feature = "apps")]
#[doc(hidden)]
pub use kinglet_apps;
