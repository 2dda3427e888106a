//! Kernels for Armv7-M cores without dual 16-bit multiplications, such as the Cortex-M3. No FPU is used.
//!
//! They give the bytes of the portable kernels. Each submodule holds one loop in assembly behind a safe function that checks
//! every length; the loop's budget in instructions is written beside it.
#![allow(unsafe_code)]

mod eight;
mod pair;
mod planes;

pub(super) use eight::eight;
pub(super) use pair::pair;
pub use planes::Thumb;

use crate::requantize::Output;

/// What integers do not decide, for the loops to call; `multiplier` is the bits of a float.
extern "C" fn exact(accumulator: i32, multiplier: u32, output: &Output) -> i32 {
    output.exact(accumulator, f32::from_bits(multiplier)).into()
}
