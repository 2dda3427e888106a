//! Model slots: power cuts, refusals, the signature, the serial line.

mod flash;
mod images;
mod line;
mod power;
mod refusals;
mod signature;
