//! What a board has.

use crate::counter::InstructionCounter;
use embedded_hal::digital::OutputPin;

/// A board: the devices that the programs use.
///
/// # Safety
/// The memory that `PLANS` names exists, and nothing else uses it: the linker places nothing there.
pub unsafe trait Board {
    /// Counts instructions.
    type Counter: InstructionCounter;
    /// High while an inference runs, for a logic analyser or an energy meter.
    type Busy: OutputPin;

    /// Address and bytes of the memory for plans that are loaded at run time.
    const PLANS: Option<(usize, usize)> = None;

    /// Puts the devices to work. Called once, at the start.
    fn start() -> (Self::Counter, Self::Busy);
}
