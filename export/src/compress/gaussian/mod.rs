//! Generalised-Gaussian priors: weights that cost few bits.
//!
//! Trained weights follow a generalised Gaussian with a shape below 2. BackSlash (arXiv 2504.16968, ICML 2025) adds the rate
//! that follows from it to the loss ([`backslash`]); the follow-up (arXiv 2506.00486) initialises weights with one
//! ([`initialize`]) and reshapes trained ones ([`mod@deepshape`]). What that saves is counted with the code that stores them
//! ([`golomb`], [`rate`]).

pub mod backslash;
pub mod deepshape;
pub mod golomb;
pub mod prune;
pub mod rate;
mod sample;
mod shape;

pub use deepshape::{DeepShape, deepshape};
pub use sample::{Fan, Follows, initialize};
pub use shape::{GeneralizedGaussian, Moments, moment_ratio};
