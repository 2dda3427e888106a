//! MaskSparsity (arXiv 2201.06776): prune channels that a sparse training has driven to zero.
//!
//! L1 on the γ of every batch normalisation also shrinks channels that stay. Here a mask is found first, and only the γ of
//! the masked channels are penalised; then these channels are cut out.
//!
//! 1. [`Channels::analyse`] finds which channels stand or fall together: everything written into one residual stream is one
//!    group, depthwise convolutions follow their producers, concatenations keep their parts apart.
//! 2. [`add_penalty`] adds the global or the masked penalty to the gradient of γ.
//! 3. [`Selection`] says what goes: by threshold, by the OT rule, by a share of each layer, by a budget of
//!    multiply-accumulates; residual groups vote.
//! 4. [`cut()`] removes it: outputs of producers, entries of normalisations, inputs of consumers. What a removed channel still
//!    emitted is a constant and moves into what follows; [`masked`] is the network it equals.
//!
//! Exporters fold normalisations; [`insert_norms`] gives such a model new ones, and [`restate`] measured statistics.

mod axes;
mod constants;
mod cut;
mod group;
mod norms;
mod penalty;
mod select;

pub use axes::{Channel, Channels};
pub use cut::{Cut, CutError, cut, cut_gated, masked};
pub use group::{Group, Member};
pub use norms::{insert_norms, restate};
pub use penalty::{Penalty, add_penalty, fade, shrink};
pub use select::{Limits, Rule, Scope, Scores, SelectError, Selection, ot_threshold, vote};

#[cfg(test)]
mod tests;
