//! Arm MPS2 with image AN386: Cortex-M4F at 25 MHz, as QEMU emulates it.
#![no_std]

mod counter;
mod register;
mod vectors;

pub use counter::Timer;
use register::Register;

use core::convert::Infallible;
use core::sync::atomic::{AtomicBool, Ordering};
use embedded_hal::digital::{ErrorType, OutputPin};

/// LEDs of the FPGA's system registers.
const LEDS: Register = Register::at(0x4002_8000);
const PSRAM: *mut u8 = 0x2100_0000 as *mut u8;
const PSRAM_LEN: usize = 16 * 1024 * 1024;

/// LED 0, the pin that tells that an inference is running.
pub struct Led(());

/// The board's devices.
pub struct Board {
    /// Counts instructions.
    pub timer: Timer,
    /// High while an inference runs.
    pub led: Led,
    /// The memory for plans that are loaded at run time.
    pub psram: &'static mut [u8],
}

impl Board {
    /// The devices, once.
    pub fn take() -> Option<Board> {
        static TAKEN: AtomicBool = AtomicBool::new(false);
        if TAKEN.load(Ordering::Relaxed) {
            return None;
        }
        TAKEN.store(true, Ordering::Relaxed);
        // SAFETY: memory that the linker places nothing in, handed out once; the emulator starts with it zeroed, and
        // any bytes would be valid.
        let psram = unsafe { core::slice::from_raw_parts_mut(PSRAM, PSRAM_LEN) };
        Some(Board {
            timer: Timer::new(),
            led: Led(()),
            psram,
        })
    }
}

impl ErrorType for Led {
    type Error = Infallible;
}

impl OutputPin for Led {
    fn set_low(&mut self) -> Result<(), Infallible> {
        LEDS.write(LEDS.read() & !1);
        Ok(())
    }

    fn set_high(&mut self) -> Result<(), Infallible> {
        LEDS.write(LEDS.read() | 1);
        Ok(())
    }
}
