//! Counting instructions.

/// Counts the instructions between two points of the program.
///
/// The emulator's virtual time advances by a fixed amount with every instruction, so a timer counts them. Reading one is
/// at most one tick off: where a tick is less than half an instruction, rounding gives the exact number.
///
/// Implementations are not inlined: what an empty interval takes is then the same wherever they are called.
pub trait InstructionCounter {
    /// Begins an interval.
    fn start(&mut self);

    /// Ends the interval: instructions since [`start`](Self::start), those of an empty interval included.
    fn stop(&mut self) -> u64;
}

/// `ticks · factor / 2^shift`, rounded to the nearest integer. Without a division, which would be the largest function of
/// a small firmware.
pub const fn scale(ticks: u64, factor: u32, shift: u32) -> u64 {
    (ticks * factor as u64 + (1 << shift >> 1)) >> shift
}

/// A board's counter that knows what an empty interval takes, and leaves it out.
pub(crate) struct Calibrated<C> {
    counter: C,
    empty: u64,
}

impl<C: InstructionCounter> Calibrated<C> {
    /// Measures an empty interval as a user does it: through a reference, with nothing moved between the calls, and with `stop`
    /// not the last one, which would be a jump behind the function's own end.
    #[inline(never)]
    pub(crate) fn new(mut counter: C) -> Self {
        let user = core::hint::black_box(&mut counter);
        user.start();
        let empty = user.stop();
        Calibrated { counter, empty }
    }
}

impl<C: InstructionCounter> InstructionCounter for Calibrated<C> {
    #[inline(always)]
    fn start(&mut self) {
        self.counter.start();
    }

    #[inline(always)]
    fn stop(&mut self) -> u64 {
        self.counter.stop().saturating_sub(self.empty)
    }
}
