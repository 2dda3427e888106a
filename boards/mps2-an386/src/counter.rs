//! Instructions by virtual time.
//!
//! Under `-icount shift=7` QEMU's clock advances 128 ns with every instruction, and timer 0 ticks every 40 ns of it: 3.2
//! ticks an instruction. Reading it is at most one tick off, less than half an instruction, so rounding gives the exact
//! number. The timer wraps after 1.3 billion instructions; the 100 Hz counter tells how often.

use crate::register::Register;
use kinglet_firmware::InstructionCounter;

const CONTROL: Register = Register::at(0x4000_0000);
const VALUE: Register = Register::at(0x4000_0004);
const RELOAD: Register = Register::at(0x4000_0008);
/// Counts up a hundred times a second.
const HUNDREDTHS: Register = Register::at(0x4002_8014);

/// Ticks of timer 0 in a hundredth of a second.
const TICKS_PER_HUNDREDTH: u64 = 250_000;

/// Timer 0, running down from its greatest value, and the instructions that an empty interval seems to take.
pub struct Timer {
    value: u32,
    hundredths: u32,
    empty: u64,
}

impl Timer {
    pub(crate) fn new() -> Self {
        CONTROL.write(0);
        RELOAD.write(u32::MAX);
        VALUE.write(u32::MAX);
        CONTROL.write(1);
        let mut timer = Timer {
            value: 0,
            hundredths: 0,
            empty: 0,
        };
        timer.start();
        timer.empty = timer.stop();
        timer
    }
}

// Not inlined: the calibrated overhead is that of these very functions, wherever they are called.
impl InstructionCounter for Timer {
    #[inline(never)]
    fn start(&mut self) {
        self.hundredths = HUNDREDTHS.read();
        self.value = VALUE.read();
    }

    #[inline(never)]
    fn stop(&mut self) -> u64 {
        let value = VALUE.read();
        let hundredths = HUNDREDTHS.read();
        let fraction = u64::from(self.value.wrapping_sub(value));
        let coarse = u64::from(hundredths.wrapping_sub(self.hundredths)) * TICKS_PER_HUNDREDTH;
        // The coarse count is off by less than half a turn of the timer, so the nearest number of turns is right.
        let turns = coarse.wrapping_sub(fraction).wrapping_add(1 << 31) >> 32;
        let ticks = (turns << 32) + fraction;
        // 40 ns a tick, 128 ns an instruction, rounded.
        ((ticks * 5 + 8) / 16).saturating_sub(self.empty)
    }
}
