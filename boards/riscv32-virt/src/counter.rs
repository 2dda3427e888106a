//! Instructions by the core's own counter.
//!
//! Under `-icount shift=0` QEMU's cycle counter advances by one with every instruction.

use core::arch::asm;
use kinglet_firmware::InstructionCounter;

/// The cycle counter.
pub struct Counter {
    began: u64,
}

impl Counter {
    pub(crate) fn new() -> Self {
        Counter { began: 0 }
    }
}

/// The number of cycles since the start.
#[inline(always)]
fn cycles() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: reads counters. The high half is read again until no carry came between.
    unsafe {
        asm!(
            "0:",
            "csrr {high}, mcycleh",
            "csrr {low}, mcycle",
            "csrr {again}, mcycleh",
            "bne {high}, {again}, 0b",
            high = out(reg) high,
            low = out(reg) low,
            again = out(reg) _,
            options(nostack),
        );
    }
    u64::from(high) << 32 | u64::from(low)
}

impl InstructionCounter for Counter {
    #[inline(never)]
    fn start(&mut self) {
        self.began = cycles();
    }

    #[inline(never)]
    fn stop(&mut self) -> u64 {
        cycles().wrapping_sub(self.began)
    }
}
