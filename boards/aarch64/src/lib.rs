//! QEMU's machine `virt` with one 64-bit Arm core. The boards differ in the core that QEMU has and the compiler is told of.
#![no_std]

mod counter;

pub use counter::Counter;

use aarch64_rt::{InitialPagetable, entry, initial_pagetable};
use kinglet_firmware::NoPin;

/// Where the RAM begins. Everything below is devices.
const RAM: usize = 0x4000_0000;

// A block of 1 GiB in a table of the first level: valid, accessed, memory of the first or second kind in `DEFAULT_MAIR`.
const VALID: usize = 1 | 1 << 10;
const DEVICES: usize = VALID | 1 << 54;
const SHARED_MEMORY: usize = VALID | 1 << 2 | 3 << 8;

// Without translation all memory would be a device's, where nothing may be read at odd addresses.
initial_pagetable!({
    let mut blocks = [0; 512];
    let [first, second, ..] = &mut blocks;
    *first = DEVICES;
    *second = SHARED_MEMORY | RAM;
    InitialPagetable(blocks)
});

// The stack is where the linker script says.
entry!(start, 0);

fn start(_: u64, _: u64, _: u64, _: u64) -> ! {
    unsafe extern "C" {
        safe fn main() -> !;
    }
    main()
}

/// The machine.
pub struct Board;

// SAFETY: the machine has 256 MiB of RAM, of which `memory.x` takes the first half.
unsafe impl kinglet_firmware::Board for Board {
    type Counter = Counter;
    type Busy = NoPin;

    const PLANS: Option<(usize, usize)> = Some((RAM + (128 << 20), 64 << 20));

    fn start() -> (Self::Counter, Self::Busy) {
        (Counter::new(), NoPin)
    }
}
