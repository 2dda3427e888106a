//! QEMU's 64-bit Arm machine with a Cortex-A53.
#![no_std]

pub use kinglet_aarch64::Board;
