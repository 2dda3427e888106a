//! QEMU's 64-bit Arm machine with a Cortex-A76, which has dot products.
#![no_std]

pub use kinglet_aarch64::Board;
