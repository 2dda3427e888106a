//! ST Nucleo-H743ZI: STM32H743 with Cortex-M7 at 400 MHz.
#![no_std]

use defmt_rtt as _;
use embassy_stm32::gpio::{Level, Output, Speed};
use embassy_stm32::rcc::{
    AHBPrescaler, APBPrescaler, Pll, PllDiv, PllMul, PllPreDiv, PllSource, Sysclk, VoltageScale,
};
use kinglet_hardware::Cycles;

pub use embassy_stm32 as hal;

/// The board.
pub struct Board;

impl kinglet_hardware::Board for Board {
    /// LED 1, PB0.
    type Busy = Output<'static>;

    const HZ: u32 = 400_000_000;

    fn start() -> (Cycles, Self::Busy) {
        let mut config = hal::Config::default();
        // The internal 64 MHz, to the fastest clock that every revision of the chip has.
        config.rcc.pll1 = Some(Pll {
            source: PllSource::HSI,
            prediv: PllPreDiv::DIV4,
            mul: PllMul::MUL50,
            fracn: None,
            divp: Some(PllDiv::DIV2),
            divq: None,
            divr: None,
        });
        config.rcc.sys = Sysclk::PLL1_P;
        config.rcc.ahb_pre = AHBPrescaler::DIV2;
        config.rcc.apb1_pre = APBPrescaler::DIV2;
        config.rcc.apb2_pre = APBPrescaler::DIV2;
        config.rcc.apb3_pre = APBPrescaler::DIV2;
        config.rcc.apb4_pre = APBPrescaler::DIV2;
        config.rcc.voltage_scale = VoltageScale::Scale1;
        let devices = hal::init(config);
        // Off at reset; without them most of the time would go into waiting for the flash.
        if let Some(mut core) = cortex_m::Peripherals::take() {
            core.SCB.enable_icache();
            core.SCB.enable_dcache(&mut core.CPUID);
        }
        let led = Output::new(devices.PB0, Level::Low, Speed::Low);
        (Cycles::start(), led)
    }
}
