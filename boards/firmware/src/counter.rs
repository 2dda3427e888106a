//! Counting instructions.

/// Counts the instructions between two points of the program.
pub trait InstructionCounter {
    /// Begins an interval.
    fn start(&mut self);

    /// Ends the interval: instructions since [`start`](Self::start), without those that an empty interval takes.
    fn stop(&mut self) -> u64;
}
