//! Raspberry Pi Pico 2: RP2350 with two Cortex-M33, of which one is used, at 150 MHz.
#![no_std]

use defmt_rtt as _;
use embassy_rp::gpio::{Level, Output};
use kinglet_hardware::Cycles;

pub use embassy_rp as hal;

/// The board.
pub struct Board;

impl kinglet_hardware::Board for Board {
    /// The LED, GPIO 25.
    type Busy = Output<'static>;

    const HZ: u32 = 150_000_000;

    fn start() -> (Cycles, Self::Busy) {
        let devices = hal::init(hal::config::Config::default());
        let led = Output::new(devices.PIN_25, Level::Low);
        (Cycles::start(), led)
    }
}
