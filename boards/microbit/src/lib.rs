//! BBC micro:bit (version 1): nRF51822 with Cortex-M0 at 16 MHz, as QEMU emulates it.
#![no_std]

mod counter;
mod pin;
mod vectors;

pub use counter::Counter;
pub use pin::Pin;

/// The board. It has too little RAM for plans that are loaded at run time.
pub struct Board;

// SAFETY: no memory is named.
unsafe impl kinglet_firmware::Board for Board {
    type Counter = Counter;
    type Busy = Pin;

    fn start() -> (Self::Counter, Self::Busy) {
        (Counter::new(), Pin::new())
    }
}
