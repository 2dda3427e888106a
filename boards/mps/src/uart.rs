//! The UART of Arm's Cortex-M System Design Kit.

use core::convert::Infallible;
use core::ptr::with_exposed_provenance;
use embedded_io::{ErrorType, Read, ReadReady, Write};
use kinglet_firmware::Register;

const DATA: usize = 0x0;
const STATE: usize = 0x4;
const CONTROL: usize = 0x8;
const DIVISOR: usize = 0x10;

const STATE_SENDS: u32 = 1;
const STATE_RECEIVED: u32 = 2;
/// Sender and receiver on.
const CONTROL_ON: u32 = 3;
/// 25 MHz by 115,200 baud.
const DIVISOR_115200: u32 = 217;

/// The UART, by polling: it holds one byte.
pub struct Uart {
    base: usize,
    state: Register,
}

impl Uart {
    /// The UART at `base`.
    ///
    /// # Safety
    /// It is there, and nothing else uses it.
    pub unsafe fn new(base: usize) -> Self {
        // SAFETY: by the caller's contract; none of these changes when it is read.
        let register = |offset| unsafe { Register::at(base + offset) };
        register(DIVISOR).write(DIVISOR_115200);
        register(CONTROL).write(CONTROL_ON);
        Uart {
            base,
            state: register(STATE),
        }
    }
}

impl ErrorType for Uart {
    type Error = Infallible;
}

impl ReadReady for Uart {
    fn read_ready(&mut self) -> Result<bool, Infallible> {
        Ok(self.state.read() & STATE_RECEIVED != 0)
    }
}

impl Read for Uart {
    fn read(&mut self, bytes: &mut [u8]) -> Result<usize, Infallible> {
        let Some(byte) = bytes.first_mut() else {
            return Ok(0);
        };
        while !self.read_ready()? {}
        let data = with_exposed_provenance::<u32>(self.base + DATA);
        // SAFETY: the data register, by the contract of `new`; reading takes the byte.
        *byte = unsafe { data.read_volatile() } as u8;
        Ok(1)
    }
}

impl Write for Uart {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        let Some(byte) = bytes.first() else {
            return Ok(0);
        };
        while self.state.read() & STATE_SENDS != 0 {}
        // SAFETY: the data register, by the contract of `new`.
        unsafe { Register::at(self.base + DATA) }.write(u32::from(*byte));
        Ok(1)
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}
