//! Instructions by the core's own counter.
//!
//! QEMU's cycle counter advances by one a nanosecond of virtual time, which under `-icount shift=0` is an instruction.

use core::arch::asm;
use kinglet_firmware::InstructionCounter;

/// The cycle counter.
pub struct Counter {
    began: u64,
}

impl Counter {
    /// Starts the counter, in all its 64 bits.
    pub(crate) fn new() -> Self {
        // SAFETY: registers of the performance monitor, which nothing else uses: `LC` and `E` of `PMCR`, `C` of `PMCNTENSET`.
        unsafe {
            asm!(
                "msr pmcr_el0, {control}",
                "msr pmccfiltr_el0, xzr",
                "msr pmcntenset_el0, {cycles}",
                "isb",
                control = in(reg) 1_u64 << 6 | 1,
                cycles = in(reg) 1_u64 << 31,
                options(nomem, nostack, preserves_flags),
            );
        }
        Counter { began: 0 }
    }
}

/// The number of cycles since the start.
#[inline(always)]
fn cycles() -> u64 {
    let count;
    // SAFETY: reads a counter; that memory may change keeps it where it is.
    unsafe { asm!("mrs {}, pmccntr_el0", out(reg) count, options(nostack, preserves_flags)) };
    count
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
