//! Counting instructions.

/// Counts the instructions between two points of the program.
///
/// The emulator's virtual time advances by a fixed amount with every instruction, so a timer counts them. Reading one is
/// at most one tick off: where a tick is less than half an instruction, rounding gives the exact number.
pub trait InstructionCounter {
    /// Begins an interval.
    fn start(&mut self);

    /// Ends the interval: instructions since [`start`](Self::start), without those that an empty interval takes.
    fn stop(&mut self) -> u64;
}

/// `ticks · factor / 2^shift`, rounded to the nearest integer. Without a division, which would be the largest function of
/// a small firmware.
pub const fn scale(ticks: u64, factor: u32, shift: u32) -> u64 {
    (ticks * factor as u64 + (1 << shift >> 1)) >> shift
}
