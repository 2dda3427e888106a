//! Instructions by virtual time.
//!
//! Under `-icount shift=7` QEMU's clock advances 128 ns with every instruction, and timer 0 ticks every 62.5 ns of it. It wraps
//! after two billion instructions.

use kinglet_firmware::{InstructionCounter, Register, scale};

/// The register of timer 0 at `offset`.
const fn register(offset: usize) -> Register {
    // SAFETY: timer 0 of the nRF51 is there; it writes no memory, and none of the registers below changes when it is read.
    unsafe { Register::at(0x4000_8000 + offset) }
}

const START: Register = register(0x000);
const CLEAR: Register = register(0x00c);
const CAPTURE: Register = register(0x040);
const BIT_MODE: Register = register(0x508);
const PRESCALER: Register = register(0x510);
const CAPTURED: Register = register(0x540);

const BIT_MODE_32: u32 = 3;

/// Timer 0.
pub struct Counter(());

impl Counter {
    pub(crate) fn new() -> Self {
        BIT_MODE.write(BIT_MODE_32);
        PRESCALER.write(0);
        START.write(1);
        Counter(())
    }
}

impl InstructionCounter for Counter {
    #[inline(never)]
    fn start(&mut self) {
        CLEAR.write(1);
    }

    #[inline(never)]
    fn stop(&mut self) -> u64 {
        CAPTURE.write(1);
        // 2.048 ticks an instruction.
        scale(CAPTURED.read().into(), 125, 8)
    }
}
