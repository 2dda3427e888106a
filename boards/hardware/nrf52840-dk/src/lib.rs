//! Nordic nRF52840 DK (PCA10056): Cortex-M4F at 64 MHz.
#![no_std]

use defmt_rtt as _;
use embassy_nrf::gpio::{Level, Output, OutputDrive};
use kinglet_hardware::{Cycles, Inverted};

pub use embassy_nrf as hal;

/// The board.
pub struct Board;

impl kinglet_hardware::Board for Board {
    /// LED 1.
    type Busy = Inverted<Output<'static>>;

    const HZ: u32 = 64_000_000;

    fn start() -> (Cycles, Self::Busy) {
        let devices = hal::init(hal::config::Config::default());
        let led = Output::new(devices.P0_13, Level::High, OutputDrive::Standard);
        (Cycles::start(), Inverted(led))
    }
}
