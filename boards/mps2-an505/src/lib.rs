//! Arm MPS2 with image AN505: Cortex-M33 at 20 MHz, as QEMU emulates it.
#![no_std]

use kinglet_mps::{Counter, Led};

/// The system registers of the FPGA.
const SYSTEM_REGISTERS: usize = 0x5030_2000;

/// The board.
pub struct Board;

// SAFETY: PSRAM of the memory map, in which `memory.x` places nothing.
unsafe impl kinglet_firmware::Board for Board {
    type Counter = Counter<20_000_000>;
    type Busy = Led;

    const PLANS: Option<(usize, usize)> = Some((0x8000_0000, 16 << 20));

    fn start() -> (Self::Counter, Self::Busy) {
        // SAFETY: the address is that of the memory map.
        unsafe { (Counter::new(SYSTEM_REGISTERS), Led::new(SYSTEM_REGISTERS)) }
    }
}
