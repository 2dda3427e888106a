//! Machines without pins.

use core::convert::Infallible;
use embedded_hal::digital::{ErrorType, OutputPin};

/// Is set high and low, and nothing comes of it.
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
