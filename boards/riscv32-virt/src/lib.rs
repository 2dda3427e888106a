//! QEMU's 32-bit RISC-V machine, with integer instructions only.
#![no_std]

mod counter;

pub use counter::Counter;

use kinglet_firmware::NoPin;

/// The machine.
pub struct Board;

// SAFETY: the machine has 128 MiB of RAM, of which `memory.x` takes the first 8.
unsafe impl kinglet_firmware::Board for Board {
    type Counter = Counter;
    type Busy = NoPin;

    const PLANS: Option<(usize, usize)> = Some((0x8100_0000, 16 << 20));

    fn start() -> (Self::Counter, Self::Busy) {
        (Counter::new(), NoPin)
    }
}
