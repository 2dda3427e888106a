//! Post-training quantisation: a float graph and the ranges of its values become an int8 graph.
//!
//! ```text
//! activations   int8, asymmetric, per tensor    scale = (max − min) / 255, range widened to hold 0
//! weights       int8, symmetric, per channel    scale = max |w| / 127
//!               or RF8, E4M3, E3M4, per channel, as 16-bit integers
//! biases        int32                           scale = s_x · s_w
//! ```
//!
//! [`calibrate`] runs the float graph on data and gives the [`Ranges`] to [`quantize`]; [`Calibrator`] takes values from
//! elsewhere. Reshape, transpose, padding and maximum
//! pooling keep their input's quantisation; softmax, sigmoid and tanh have the one that their meaning fixes.

mod calibrate;
mod constants;
mod histogram;
mod lower;
mod observe;
#[cfg(test)]
mod testing;

use crate::compress::formats::WeightFormat;

pub use calibrate::{Calibration, Calibrator, Ranges};
pub use lower::{activation_quantizations, quantize};
pub use observe::{See, calibrate, observe};

/// Choices of [`quantize`].
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Options {
    /// Make the graph's inputs and outputs int8; otherwise they stay float, with a Quantize after each input and a
    /// Dequantize before each output.
    pub int8_io: bool,
    /// The least scale of weights, in root mean squares of their channel; 0 for the scale that just does not saturate.
    /// A larger step has smaller codes, which take fewer bits when they are entropy-coded.
    pub weight_step: f64,
    /// What weights are. Those of other formats than int8 are 16-bit integers in the graph, and have a byte each in plans.
    pub weights: WeightFormat,
}

/// Why a model could not be calibrated or quantised.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QuantizeError {
    /// The model is not a float model.
    #[error(
        "the model is already quantised (node `{node}`): compile it as it is, or quantise the float model it came from"
    )]
    AlreadyQuantized {
        /// The first quantised node.
        node: String,
    },
    /// A tensor has no range.
    #[error(
        "tensor `{value}` was never observed: run the whole model on at least one calibration sample"
    )]
    NotObserved {
        /// The tensor.
        value: String,
    },
    /// NaN or infinity.
    #[error(
        "tensor `{value}`: element {index} is {found}; only finite numbers can be quantised, check the model and the calibration data"
    )]
    NotFinite {
        /// The tensor.
        value: String,
        /// Where.
        index: usize,
        /// What.
        found: f32,
    },
    /// A percentile outside `(0, 100]`.
    #[error("percentile {0} makes no range: give more than 0 and at most 100, such as 99.99")]
    Percentile(f64),
    /// The float model does not compile.
    #[error(transparent)]
    Compile(#[from] crate::compile::CompileError),
    /// The float model does not run on the calibration data.
    #[error(transparent)]
    Run(#[from] crate::host::HostError),
    /// There is no int8 form.
    #[error("node `{node}`: {reason}")]
    Unsupported {
        /// The node.
        node: String,
        /// What has no int8 form, and what to do.
        reason: String,
    },
}
