//! QEMU's 64-bit Arm machine with products of 8-bit matrices.
#![no_std]

pub use kinglet_aarch64::Board;
