//! Arm MPS3 with image AN547: Cortex-M55 at 32 MHz, as QEMU emulates it.
#![no_std]

use core::arch::global_asm;
use kinglet_mps::{Counter, Led};

/// The system registers of the FPGA. QEMU counts at 20 MHz there, though the core runs at 32.
const SYSTEM_REGISTERS: usize = 0x5930_2000;

// Before any Rust code: the cache of loops and branches, without which every turn of a low-overhead loop branches. The start-up
// code enables FPU and Helium next.
global_asm!(
    ".section .text.__pre_init, \"ax\"",
    ".global __pre_init",
    ".type __pre_init, %function",
    ".thumb_func",
    "__pre_init:",
    // CCR.LOB.
    "movw r0, #0xed14",
    "movt r0, #0xe000",
    "ldr r1, [r0]",
    "orr r1, r1, #0x80000",
    "str r1, [r0]",
    "dsb",
    "isb",
    "bx lr",
);

/// The board.
pub struct Board;

// SAFETY: DDR4 memory of the memory map, in which `memory.x` places nothing.
unsafe impl kinglet_firmware::Board for Board {
    type Counter = Counter<20_000_000>;
    type Busy = Led;

    const PLANS: Option<(usize, usize)> = Some((0x6000_0000, 16 << 20));

    fn start() -> (Self::Counter, Self::Busy) {
        // SAFETY: the address is that of the memory map.
        unsafe { (Counter::new(SYSTEM_REGISTERS), Led::new(SYSTEM_REGISTERS)) }
    }
}
