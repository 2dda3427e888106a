//! Espressif ESP32-C3: RISC-V (RV32IMC) at 160 MHz.
#![no_std]

use esp_hal::clock::CpuClock;
use esp_hal::gpio::{Level, Output, OutputConfig};
use esp_println as _;
use kinglet_hardware::Cycles;

pub use esp_hal as hal;

// What Espressif's boot loader looks for in an image.
esp_bootloader_esp_idf::esp_app_desc!();

/// The board.
pub struct Board;

impl kinglet_hardware::Board for Board {
    /// GPIO 10; the LED of Espressif's kits is an addressable one.
    type Busy = Output<'static>;

    const HZ: u32 = 160_000_000;

    fn start() -> (Cycles, Self::Busy) {
        let config = hal::Config::default().with_cpu_clock(CpuClock::max());
        let devices = hal::init(config);
        let pin = Output::new(devices.GPIO10, Level::Low, OutputConfig::default());
        (Cycles::start(), pin)
    }
}
