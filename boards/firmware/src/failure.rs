//! Why the firmware stopped early.

use crate::host::Name;
use kinglet::{PlanError, RunError, SessionError};

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
    /// The plan does not fit the memory for loaded plans.
    PlanTooLong {
        /// Bytes of plan.
        found: usize,
        /// Bytes that fit.
        available: usize,
    },
    /// The plan is wrong.
    Plan(PlanError),
    /// The session cannot start.
    Session(SessionError),
    /// A run stopped.
    Run(RunError),
    /// The plan says that it has an input or output, but the session does not.
    Tensor(usize),
    /// The stack grew out of the memory that is watched.
    StackUnbounded,
}

impl From<PlanError> for Failure {
    fn from(error: PlanError) -> Self {
        Failure::Plan(error)
    }
}

impl From<SessionError> for Failure {
    fn from(error: SessionError) -> Self {
        Failure::Session(error)
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        Failure::Run(error)
    }
}
