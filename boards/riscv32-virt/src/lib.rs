//! QEMU's 32-bit RISC-V machine, with integer instructions only.
#![no_std]

mod counter;

pub use counter::Counter;

use core::convert::Infallible;
use embedded_hal::digital::{ErrorType, OutputPin};

/// The machine has no pins.
pub struct NoPin;

impl ErrorType for NoPin {
    type Error = Infallible;
}

impl OutputPin for NoPin {
    fn set_low(&mut self) -> Result<(), Infallible> {
        Ok(())
    }

    fn set_high(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

/// The machine.
pub struct Board;

// SAFETY: the machine has 128 MiB of RAM, of which `memory.x` takes the first 8.
unsafe impl kinglet_firmware::Board for Board {
    type Counter = Counter;
    type Busy = NoPin;

    const PLANS: Option<(usize, usize)> = Some((0x8100_0000, 16 << 20));

    fn start() -> (Self::Counter, Self::Busy) {
        (Counter::new(), NoPin)
    }
}
