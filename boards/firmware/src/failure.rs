//! Why the firmware stopped early.

use crate::host::Name;
use kinglet::RunError;

/// Logged, and then the emulator's exit status is a failure.
#[derive(Clone, Copy, Debug, defmt::Format)]
pub enum Failure {
    /// A file of the host could not be opened.
    Open(Name),
    /// A file of the host could not be read.
    Read(Name),
    /// A file of the host could not be written.
    Write(Name),
    /// The last sample is shorter than the plan's inputs.
    SampleCutOff,
    /// The plan is damaged or too long, or the arena too small for it.
    Start,
    /// A run stopped at this step.
    Step(usize),
    /// The plan says that it has an input or output, but the session does not.
    Tensor(usize),
    /// The stack grew out of the memory that is watched.
    StackUnbounded,
    /// The model's input or output is not the application's.
    #[cfg(feature = "apps")]
    AnotherModel,
    /// The sensor does not answer as its driver expects.
    #[cfg(feature = "apps")]
    Sensor,
    /// A frame is cut off, larger than the memory for frames, or smaller than the model's input.
    #[cfg(feature = "apps")]
    Frame,
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Step { index } => Failure::Step(index as usize),
            RunError::Input { index } | RunError::Output { index } => Failure::Tensor(index.into()),
            _ => Failure::Start,
        }
    }
}
