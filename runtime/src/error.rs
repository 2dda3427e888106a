//! What can go wrong, each with what locates it.

use core::fmt;

/// Why bytes are not a plan.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum PlanError {
    /// Fewer bytes than the header or the plan's own length say.
    Truncated {
        /// Bytes needed.
        expected: u32,
        /// Bytes given.
        found: u32,
    },
    /// Does not begin with [`crate::format::MAGIC`].
    NotAPlan,
    /// Written for another format version; compile the model again.
    Version {
        /// The plan's version.
        found: u16,
        /// The runtime's version.
        supported: u16,
    },
    /// Needs target features that this runtime does not have.
    Features {
        /// The unknown bits.
        missing: u32,
    },
    /// The checksum does not match: the file is damaged.
    Checksum {
        /// As written in the plan.
        expected: u32,
        /// As computed.
        found: u32,
    },
    /// A section lies outside the file or is misplaced.
    Section {
        /// Offset of the section.
        offset: u32,
    },
    /// An input or output record is wrong.
    Io {
        /// Index among inputs, then outputs.
        index: u16,
    },
    /// A step is wrong.
    Step {
        /// Index of the step.
        index: u32,
        /// What is wrong with it.
        error: StepError,
    },
    /// The operator set in the header is not the set of the steps.
    OpSet,
}

/// Why a step is wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum StepError {
    /// No operator has this code.
    UnknownOperator(u16),
    /// The operator is not among those that are linked in.
    NotLinked,
    /// The record is cut off or its size does not fit its operator.
    Size,
    /// An operand lies outside the arena.
    OutsideArena,
    /// A constant lies outside the data section.
    OutsideData,
    /// An operand or constant is not aligned to its element type.
    Misaligned,
    /// A step's working memory has another length than its kernel needs.
    Scratch,
    /// Input and output overlap where they must not.
    Overlap,
    /// An operand's length is not what the shape says.
    Length,
    /// A dimension, stride or other parameter is out of its range.
    Parameter,
}

/// Why a session cannot start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum SessionError {
    /// The arena is smaller than the plan's.
    ArenaTooSmall {
        /// Bytes needed.
        needed: u32,
        /// Bytes given.
        given: u32,
    },
    /// The arena does not start at a multiple of [`crate::format::ALIGNMENT`]; use [`crate::Arena`].
    ArenaMisaligned,
    /// The plan uses an operator that is not in this session's operator set.
    OperatorNotLinked {
        /// The missing operators, by their bits ([`crate::OpCode::bit`]).
        missing: u128,
    },
    /// A linked-in plan does not parse.
    Plan(PlanError),
}

/// Why a run stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum RunError {
    /// A step did not fit its operands. Not reachable for a parsed plan; returned instead of a panic.
    Step {
        /// Index of the step.
        index: u32,
    },
    /// There is no input with this index, or its length is not the given one.
    Input {
        /// Index of the input.
        index: u16,
    },
    /// There is no output with this index, or its length is not the given one.
    Output {
        /// Index of the output.
        index: u16,
    },
    /// The self-test's outputs are not those that the compiler saw.
    SelfTest {
        /// CRC-32 in the plan.
        expected: u32,
        /// CRC-32 computed.
        found: u32,
    },
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            PlanError::Truncated { expected, found } => {
                write!(
                    f,
                    "the plan is cut off: {expected} bytes expected, {found} found"
                )
            }
            PlanError::NotAPlan => write!(f, "not a Kinglet plan: it does not begin with KINGLET"),
            PlanError::Version { found, supported } => write!(
                f,
                "the plan has format version {found}, this runtime reads version {supported}: compile the model again"
            ),
            PlanError::Features { missing } => {
                write!(
                    f,
                    "the plan needs target features that this runtime lacks (bits {missing:#x})"
                )
            }
            PlanError::Checksum { expected, found } => {
                write!(
                    f,
                    "the plan is damaged: checksum {expected:#010x} expected, {found:#010x} found"
                )
            }
            PlanError::Section { offset } => {
                write!(f, "a section at offset {offset} lies outside the plan")
            }
            PlanError::Io { index } => write!(f, "the record of input or output {index} is wrong"),
            PlanError::Step { index, error } => write!(f, "step {index}: {error}"),
            PlanError::OpSet => write!(f, "the header's operator set is not that of the steps"),
        }
    }
}

impl fmt::Display for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            StepError::UnknownOperator(code) => write!(f, "no operator has code {code}"),
            StepError::NotLinked => write!(f, "its operator is not linked in"),
            StepError::Size => write!(f, "the record's size does not fit its operator"),
            StepError::OutsideArena => write!(f, "an operand lies outside the arena"),
            StepError::OutsideData => write!(f, "a constant lies outside the data section"),
            StepError::Misaligned => write!(f, "an operand is not aligned to its element type"),
            StepError::Scratch => write!(f, "the working memory has not the length needed"),
            StepError::Overlap => write!(f, "input and output overlap"),
            StepError::Length => write!(f, "an operand's length does not fit its shape"),
            StepError::Parameter => write!(f, "a parameter is out of range"),
        }
    }
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            SessionError::ArenaTooSmall { needed, given } => {
                write!(f, "the arena has {given} bytes, the plan needs {needed}")
            }
            SessionError::ArenaMisaligned => write!(f, "the arena is not aligned to 16 bytes"),
            SessionError::OperatorNotLinked { missing } => {
                write!(
                    f,
                    "the plan uses operators that are not linked in (bits {missing:#x})"
                )
            }
            SessionError::Plan(error) => write!(f, "{error}"),
        }
    }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            RunError::Step { index } => write!(f, "step {index} does not fit its operands"),
            RunError::Input { index } => {
                write!(f, "input {index} does not exist or has another length")
            }
            RunError::Output { index } => {
                write!(f, "output {index} does not exist or has another length")
            }
            RunError::SelfTest { expected, found } => {
                write!(
                    f,
                    "self-test failed: output digest {expected:#010x} expected, {found:#010x} found"
                )
            }
        }
    }
}

impl core::error::Error for PlanError {}
impl core::error::Error for StepError {}
impl core::error::Error for SessionError {}
impl core::error::Error for RunError {}

impl From<PlanError> for SessionError {
    fn from(error: PlanError) -> Self {
        SessionError::Plan(error)
    }
}
