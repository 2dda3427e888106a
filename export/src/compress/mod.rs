//! Training-time compression: the methods as mathematics on weights and as surgery on graphs.
//!
//! | module | method | what goes |
//! |---|---|---|
//! | [`trp`] | trained rank pruning | rank: a convolution becomes two |
//! | [`mask`] | MaskSparsity | channels |
//! | [`gate`] | consensus gating | blocks, channels |
//! | [`gaussian`] | generalised-Gaussian priors, BackSlash, exp-Golomb codes | bits |
//! | [`formats`] | RF8 and what it is compared with | multipliers, bits |
//!
//! [`recipe`] says which of them a training runs, in which order; [`report`] what came of it. None of these train: [`mod@run`]
//! calls them from the training engine, on its parameters before a forward pass, or on their gradients after a backward one.

pub mod formats;
pub mod gate;
pub mod gaussian;
pub mod mask;
pub mod recipe;
pub mod report;
pub mod run;
pub mod trp;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
