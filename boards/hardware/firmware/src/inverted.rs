//! Pins that mean the opposite.

use embedded_hal::digital::{ErrorType, OutputPin};

/// A pin that is low when it is told to be high: for LEDs between the supply and the pin.
#[derive(Debug)]
pub struct Inverted<P>(pub P);

impl<P: ErrorType> ErrorType for Inverted<P> {
    type Error = P::Error;
}

impl<P: OutputPin> OutputPin for Inverted<P> {
    fn set_low(&mut self) -> Result<(), P::Error> {
        self.0.set_high()
    }

    fn set_high(&mut self) -> Result<(), P::Error> {
        self.0.set_low()
    }
}
