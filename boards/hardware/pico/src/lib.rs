//! Raspberry Pi Pico: RP2040 with two Cortex-M0+, of which one is used, at 125 MHz.
#![no_std]

use defmt_rtt as _;
use embassy_rp::gpio::{Level, Output};
use kinglet_hardware::Cycles;

pub use embassy_rp as hal;

/// The board.
pub struct Board;

impl kinglet_hardware::Board for Board {
    /// The LED, GPIO 25; on the Pico W, whose LED is the radio's, a free pin.
    type Busy = Output<'static>;

    const HZ: u32 = 125_000_000;

    fn start() -> (Cycles, Self::Busy) {
        let devices = hal::init(hal::config::Config::default());
        let led = Output::new(devices.PIN_25, Level::Low);
        (Cycles::start(), led)
    }
}
