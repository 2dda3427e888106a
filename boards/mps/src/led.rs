//! LED 0, the pin that tells that an inference is running.

use core::convert::Infallible;
use embedded_hal::digital::{ErrorType, OutputPin};
use kinglet_firmware::Register;

/// LED 0.
pub struct Led(Register);

impl Led {
    /// The LED of the FPGA's system registers at `base`.
    ///
    /// # Safety
    /// They are there.
    pub unsafe fn new(base: usize) -> Self {
        // SAFETY: by the caller's contract; the first register switches LEDs and does nothing else.
        Led(unsafe { Register::at(base) })
    }
}

impl ErrorType for Led {
    type Error = Infallible;
}

impl OutputPin for Led {
    fn set_low(&mut self) -> Result<(), Infallible> {
        self.0.write(self.0.read() & !1);
        Ok(())
    }

    fn set_high(&mut self) -> Result<(), Infallible> {
        self.0.write(self.0.read() | 1);
        Ok(())
    }
}
