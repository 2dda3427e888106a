//! Kernels for cores with dual 16-bit multiplications and a single-precision FPU (Armv7E-M, Armv8-M with DSP extension): M4F, M7,
//! M33.
//!
//! They give the bytes of the portable kernels. Each submodule holds one loop in assembly behind a safe function that checks
//! every length; the loop's budget in instructions is written beside it.
//!
//! The assembler does not hear of the flags' processor when it is asked for the symbols of a whole program, so each function
//! names the least one that has its instructions.
#![allow(unsafe_code)]

mod conv;
mod dense;
mod expand;
mod planes;
mod residual;
mod tile;

pub use conv::{conv_split, conv_wide};
pub use dense::dense_split;
pub use planes::Dsp;
#[cfg(not(kinglet_mve))]
pub(super) use residual::add;
