//! Arm MPS2 with image AN386: Cortex-M4F at 25 MHz, as QEMU emulates it.
#![no_std]

use kinglet_mps::{Counter, Led};

/// The system registers of the FPGA.
const SYSTEM_REGISTERS: usize = 0x4002_8000;

/// UART 0.
#[cfg(feature = "slots")]
const UART: usize = 0x4000_4000;

/// The board.
pub struct Board;

// SAFETY: PSRAM of the memory map, in which `memory.x` places nothing.
unsafe impl kinglet_firmware::Board for Board {
    type Counter = Counter<25_000_000>;
    type Busy = Led;

    const PLANS: Option<(usize, usize)> = Some((0x2100_0000, 16 << 20));

    fn start() -> (Self::Counter, Self::Busy) {
        // SAFETY: the address is that of the memory map.
        unsafe { (Counter::new(SYSTEM_REGISTERS), Led::new(SYSTEM_REGISTERS)) }
    }
}

#[cfg(feature = "slots")]
impl kinglet_firmware::slots::Connected for Board {
    type Port = kinglet_mps::Uart;

    const TARGET: kinglet_firmware::kinglet::slots::Target =
        kinglet_firmware::kinglet::slots::Target::CortexM4f;

    fn port() -> Self::Port {
        // SAFETY: the address is that of the memory map.
        unsafe { kinglet_mps::Uart::new(UART) }
    }
}
