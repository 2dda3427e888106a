//! TRP, trained rank pruning (arXiv 1812.02402; IJCAI 2020, arXiv 2004.14566): convolutions of low rank.
//!
//! Every few steps of a training, before the forward pass, each convolution's weight is replaced by its truncated singular
//! value decomposition, and a sub-gradient of the nuclear norm is added to its gradient ([`LayerSvd`]). After it, [`split()`]
//! replaces each convolution by two, almost without loss. Matrices, per scheme:
//!
//! | [`Scheme`] | matrix | first convolution | second convolution |
//! |---|---|---|---|
//! | `Channel` (NC) | `N × (C·kH·kW)` | `C → R`, `kH × kW`, stride and pads of the original | `R → N`, `1 × 1` |
//! | `Spatial` (VH) | `(C·kH) × (N·kW)` | `C → R`, `kH × 1`, vertical stride and pads | `R → N`, `1 × kW`, the horizontal ones |
//! | `Decoupled` (ND) | one `C × (kH·kW)` a filter | `C → N·R`, `1 × 1` | `N·R → N`, `kH × kW` in `N` groups |
//!
//! The second convolution has the original's bias and activation, and the original's batch normalisation follows it. Both
//! factors get `√σ`. The grouped form of ND is the sum of the paper's `R` branches in one convolution.

mod budget;
mod layer;
mod rank;
mod split;

pub use budget::{Allocation, Cost, allocate};
pub use layer::{Factors, LayerSvd};
pub use rank::{RankRule, stable_rank};
pub use split::{
    Candidate, SplitLayer, candidates, decompose, ranks_for_budget, split, split_to_budget,
};

use serde::{Deserialize, Serialize};

/// How a convolution's weight becomes a matrix.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// "NC", the paper's TRP1.
    Channel,
    /// "VH", the paper's TRP2.
    Spatial,
    /// "ND", network decoupling.
    Decoupled,
}

/// Why a layer cannot be decomposed or the budget not be met.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrpError {
    /// The decomposition did not converge: weights that are not finite.
    #[error("the singular value decomposition does not converge: are all weights finite?")]
    Svd,
    /// The weight has another size than its shape.
    #[error(
        "a weight of shape {shape:?} cannot have {len} elements, or one of its dimensions is 0"
    )]
    Shape {
        /// The shape.
        shape: [usize; 4],
        /// Number of elements.
        len: usize,
    },
    /// Even at rank 1 everywhere the network is too large.
    #[error("no ranks give {budget} multiply-accumulates: at rank 1 everywhere, {least} are left")]
    Budget {
        /// Multiply-accumulates allowed.
        budget: u64,
        /// The fewest possible.
        least: u64,
    },
    /// There is no such convolution.
    #[error("`{0}` is not the weight of a convolution that can be split")]
    NoCandidate(String),
}
