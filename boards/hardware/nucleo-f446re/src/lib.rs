//! ST Nucleo-F446RE: STM32F446 with Cortex-M4F at 168 MHz.
#![no_std]

use defmt_rtt as _;
use embassy_stm32::gpio::{Level, Output, Speed};
use embassy_stm32::rcc::{
    AHBPrescaler, APBPrescaler, Pll, PllMul, PllPDiv, PllPreDiv, PllSource, Sysclk,
};
use kinglet_hardware::Cycles;

pub use embassy_stm32 as hal;

/// The board.
pub struct Board;

impl kinglet_hardware::Board for Board {
    /// LED 2, PA5.
    type Busy = Output<'static>;

    const HZ: u32 = 168_000_000;

    fn start() -> (Cycles, Self::Busy) {
        let mut config = hal::Config::default();
        // The internal 16 MHz, to the fastest clock that needs no over-drive.
        config.rcc.pll_src = PllSource::HSI;
        config.rcc.pll = Some(Pll {
            prediv: PllPreDiv::DIV8,
            mul: PllMul::MUL168,
            divp: Some(PllPDiv::DIV2),
            divq: None,
            divr: None,
        });
        config.rcc.sys = Sysclk::PLL1_P;
        config.rcc.ahb_pre = AHBPrescaler::DIV1;
        config.rcc.apb1_pre = APBPrescaler::DIV4;
        config.rcc.apb2_pre = APBPrescaler::DIV2;
        let devices = hal::init(config);
        let led = Output::new(devices.PA5, Level::Low, Speed::Low);
        (Cycles::start(), led)
    }
}
