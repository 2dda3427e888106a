//! Kernels for Armv7-M cores without dual 16-bit multiplications, such as the Cortex-M3. No FPU is used.
//!
//! They give the bytes of the portable kernels. Each submodule holds one loop in assembly behind a safe function that checks
//! every length; the loop's budget in instructions is written beside it.
#![allow(unsafe_code)]

mod eight;
mod pair;

pub(super) use eight::eight;
pub(super) use pair::pair;
