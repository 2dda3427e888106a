//! Model slots: power cuts, refusals, the signature, the serial line.
// Clippy sees tests in functions with `#[test]` only.
#![allow(clippy::unwrap_used)]

mod flash;
mod images;
mod line;
mod power;
mod refusals;
mod signature;
