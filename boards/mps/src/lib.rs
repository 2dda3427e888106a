//! Arm's MPS2 and MPS3 boards, as QEMU emulates them. They differ in core and memory map; the system registers of the FPGA
//! (counters, LEDs) are the same everywhere.
#![no_std]

mod counter;
mod led;
#[cfg(feature = "slots")]
mod uart;
mod vectors;

pub use counter::Counter;
pub use led::Led;
#[cfg(feature = "slots")]
pub use uart::Uart;
