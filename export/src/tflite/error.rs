//! What can be wrong with a TensorFlow Lite model.

/// Why a `.tflite` file could not be read: what, where, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TfliteError {
    /// An offset or a length leads out of the file.
    #[error("not a TensorFlow Lite model, or a damaged one: byte {at} does not lead to {what}")]
    Damaged {
        /// What was looked for.
        what: &'static str,
        /// Byte in the file.
        at: usize,
    },
    /// More than any model has.
    #[error("the TensorFlow Lite model has {count} of {what}; at most {limit} are read")]
    Limit {
        /// What there are too many of.
        what: &'static str,
        /// How many.
        count: usize,
        /// The most that are read.
        limit: usize,
    },
    /// The model as a whole cannot be used.
    #[error("unusable TensorFlow Lite model: {message}")]
    Model {
        /// What is wrong and what to do.
        message: String,
    },
    /// A tensor contradicts itself or is of a kind that does not run.
    #[error("tensor {index} (`{name}`) of the TensorFlow Lite model: {message}")]
    Tensor {
        /// Number in the file.
        index: usize,
        /// Name in the file.
        name: String,
        /// What is wrong and what to do.
        message: String,
    },
    /// The operator is not supported, or not in this form.
    #[error(
        "operator {index} ({op}, makes tensor `{tensor}`) of the TensorFlow Lite model: {message}"
    )]
    Operator {
        /// Number in the file.
        index: usize,
        /// Its name in TensorFlow Lite.
        op: String,
        /// Its first result.
        tensor: String,
        /// What is wrong, and the way round.
        message: String,
    },
}
