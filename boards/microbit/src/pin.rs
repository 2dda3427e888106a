//! Pin 0 of the edge connector, which tells that an inference is running.

use core::convert::Infallible;
use embedded_hal::digital::{ErrorType, OutputPin};
use kinglet_firmware::Register;

/// The register of the pins at `offset`.
const fn register(offset: usize) -> Register {
    // SAFETY: the GPIO of the nRF51 is there; it writes no memory, and reading changes nothing.
    unsafe { Register::at(0x5000_0000 + offset) }
}

const SET: Register = register(0x508);
const CLEAR: Register = register(0x50c);
const MAKE_OUTPUT: Register = register(0x518);

/// P0.03.
const MASK: u32 = 1 << 3;

/// Pin 0.
pub struct Pin(());

impl Pin {
    pub(crate) fn new() -> Self {
        MAKE_OUTPUT.write(MASK);
        Pin(())
    }
}

impl ErrorType for Pin {
    type Error = Infallible;
}

impl OutputPin for Pin {
    fn set_low(&mut self) -> Result<(), Infallible> {
        CLEAR.write(MASK);
        Ok(())
    }

    fn set_high(&mut self) -> Result<(), Infallible> {
        SET.write(MASK);
        Ok(())
    }
}
