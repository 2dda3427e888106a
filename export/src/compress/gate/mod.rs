//! Consensus gating (after arXiv 2302.10798): binary gates that learn to agree on all inputs, and then go.
//!
//! A small module looks at a block's input and opens or closes the block, or each of its inner channels, for every sample.
//! A polarisation term drives each gate to one decision for all samples; what is closed then is cut, and the modules are
//! thrown away. The paper's abstract fixes the ingredients (binarised gates, straight-through gradients, polarisation, a
//! sparsity that the user sets); the formulas here are our own.
//!
//! ```text
//! u = mean over the plane of x;  h = relu(W1·u + b1);  z = W2·h + b2;  p = sigmoid(z);  g = [p ≥ ½]     dg/dp := 1
//! L = CE + λ_act·R_act + λ_pol·R_pol
//! ```
//!
//! [`GateModule`] is the module with its gradients, [`loss`] both terms, [`Schedule`] when they act, [`Consensus`] what is
//! read off; [`blocks`] and [`channel_units`] find what can be gated, [`remove_blocks`] and
//! [`super::mask::cut_gated`] remove what stayed closed.

mod blocks;
mod consensus;
pub mod loss;
mod module;
mod schedule;
mod units;

pub use blocks::{Block, GateError, assert_no_gates, blocks, remove_blocks};
pub use consensus::{Consensus, consensus_rate, guarded};
pub use module::{GateForward, GateGradients, GateModule};
pub use schedule::{Phase, Schedule};
pub use units::{ChannelUnit, channel_units};
