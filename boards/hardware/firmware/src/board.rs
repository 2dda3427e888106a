//! What a board has.

use crate::cycles::Cycles;
use embedded_hal::digital::OutputPin;

/// A board that one can hold.
pub trait Board: Sized {
    /// High while an inference runs, for a logic analyser or an energy meter; where the board has a LED for it, that one.
    type Busy: OutputPin;

    /// The core's clock after [`start`](Self::start), in Hz.
    const HZ: u32;

    /// Sets the clocks and puts the devices to work. Called once, at the start.
    fn start() -> (Cycles, Self::Busy);
}
