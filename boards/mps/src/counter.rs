//! Instructions by virtual time.
//!
//! Under `-icount shift=7` QEMU's clock advances 128 ns with every instruction, and the FPGA's cycle counter ticks every 40
//! or 50 ns of it. The counter wraps after more than a billion instructions; the 100 Hz counter tells how often.

use kinglet_firmware::{InstructionCounter, Register, scale};

/// Counts up a hundred times a second.
const HUNDREDTHS: usize = 0x14;
/// Counts up with the board's clock.
const CYCLES: usize = 0x18;

/// The cycle counter of a board whose clock has `HZ`.
pub struct Counter<const HZ: u32> {
    cycles: Register,
    hundredths: Register,
    /// Both, when the interval began.
    began: (u32, u32),
}

impl<const HZ: u32> Counter<HZ> {
    /// A clock of 25 MHz makes 16/5 ticks an instruction, one of 20 MHz 64/25.
    const INSTRUCTIONS_PER_TICK: (u32, u32) = match HZ {
        25_000_000 => (5, 4),
        20_000_000 => (25, 6),
        _ => panic!("no board has this clock"),
    };

    /// The counter of the FPGA's system registers at `base`.
    ///
    /// # Safety
    /// They are there.
    pub unsafe fn new(base: usize) -> Self {
        // SAFETY: by the caller's contract; reading the counters changes nothing.
        let register = |offset| unsafe { Register::at(base + offset) };
        Counter {
            cycles: register(CYCLES),
            hundredths: register(HUNDREDTHS),
            began: (0, 0),
        }
    }
}

impl<const HZ: u32> InstructionCounter for Counter<HZ> {
    #[inline(never)]
    fn start(&mut self) {
        self.began.1 = self.hundredths.read();
        self.began.0 = self.cycles.read();
    }

    #[inline(never)]
    fn stop(&mut self) -> u64 {
        let cycles = self.cycles.read();
        let hundredths = self.hundredths.read();
        let fraction = u64::from(cycles.wrapping_sub(self.began.0));
        let coarse = u64::from(hundredths.wrapping_sub(self.began.1)) * u64::from(HZ / 100);
        // The coarse count is off by less than half a turn of the counter, so the nearest number of turns is right.
        let turns = coarse.wrapping_sub(fraction).wrapping_add(1 << 31) >> 32;
        let (factor, shift) = Self::INSTRUCTIONS_PER_TICK;
        scale((turns << 32) + fraction, factor, shift)
    }
}
