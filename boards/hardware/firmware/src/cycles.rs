//! Counting the core's clock cycles.

/// The core's cycle counter, which wraps after 2³² cycles.
#[derive(Debug)]
pub struct Cycles(());

#[cfg(all(target_arch = "arm", target_has_atomic = "32"))]
impl Cycles {
    /// Starts the counter of the debug unit, which Armv7-M and above have. It stops while the core sleeps.
    pub fn start() -> Self {
        use cortex_m::peripheral::{DCB, DWT};
        const TRACE: u32 = 1 << 24;
        // Cortex-M7 locks the unit; the others ignore this.
        DWT::unlock();
        // SAFETY: registers of the core that only this crate uses; switching the counter on touches no memory.
        unsafe {
            (*DCB::PTR).demcr.modify(|bits| bits | TRACE);
            (*DWT::PTR).ctrl.modify(|bits| bits | 1);
        }
        Cycles(())
    }

    /// Cycles until now.
    #[inline(always)]
    pub fn now(&self) -> u32 {
        cortex_m::peripheral::DWT::cycle_count()
    }
}

/// Armv6-M has no counter in its debug unit, but a timer of 24 bits that runs with the core's clock.
#[cfg(all(target_arch = "arm", not(target_has_atomic = "32")))]
mod timer {
    use super::Cycles;
    use core::sync::atomic::{AtomicU32, Ordering};
    use cortex_m::peripheral::SYST;

    const BITS: u32 = 24;

    /// How often the timer has wrapped; the exception alone writes it.
    static WRAPS: AtomicU32 = AtomicU32::new(0);

    #[cortex_m_rt::exception]
    fn SysTick() {
        WRAPS.store(
            WRAPS.load(Ordering::Relaxed).wrapping_add(1),
            Ordering::Relaxed,
        );
    }

    impl Cycles {
        /// Starts the timer, whose exception counts how often it wraps: some tens of cycles of every 2²⁴.
        pub fn start() -> Self {
            const ON_CORE_CLOCK_WITH_EXCEPTION: u32 = 0b111;
            // SAFETY: registers of the core that only this crate uses; starting the timer touches no memory.
            unsafe {
                (*SYST::PTR).rvr.write((1 << BITS) - 1);
                (*SYST::PTR).cvr.write(0);
                (*SYST::PTR).csr.write(ON_CORE_CLOCK_WITH_EXCEPTION);
            }
            Cycles(())
        }

        /// Cycles until now.
        #[inline(always)]
        pub fn now(&self) -> u32 {
            loop {
                let wraps = WRAPS.load(Ordering::Relaxed);
                // It counts down.
                let ticks = (1 << BITS) - 1 - SYST::get_current();
                if WRAPS.load(Ordering::Relaxed) == wraps {
                    return (wraps << BITS).wrapping_add(ticks);
                }
            }
        }
    }
}

/// ESP32-C3 has no `mcycle`, but a counter of its own.
#[cfg(target_arch = "riscv32")]
impl Cycles {
    /// Starts the core's performance counter on its clock cycles.
    pub fn start() -> Self {
        // SAFETY: the counter's own registers, for its event (1: cycles) and its mode (1: counts); they touch no memory.
        unsafe { core::arch::asm!("csrwi 0x7e0, 1", "csrwi 0x7e1, 1", options(nostack)) };
        Cycles(())
    }

    /// Cycles until now.
    #[inline(always)]
    pub fn now(&self) -> u32 {
        let count;
        // SAFETY: reads the counter.
        unsafe { core::arch::asm!("csrr {}, 0x7e2", out(reg) count, options(nomem, nostack)) };
        count
    }
}

impl Cycles {
    /// Cycles that `work` takes, if fewer than 2³², and its result.
    #[inline(always)]
    pub fn of<R>(&self, work: impl FnOnce() -> R) -> (u32, R) {
        let begin = self.now();
        let result = work();
        (self.now().wrapping_sub(begin), result)
    }

    /// Waits for at least this many cycles.
    pub fn wait(&self, cycles: u32) {
        let begin = self.now();
        while self.now().wrapping_sub(begin) < cycles {}
    }
}
