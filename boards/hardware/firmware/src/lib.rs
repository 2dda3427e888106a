//! What every board that one can hold does: runs the model that is linked in, counts cycles, logs.
//!
//! A board's crate implements [`Board`] with its vendor's HAL and has one program of one line, [`run!`]. The log is `defmt`'s;
//! how it leaves the board is the board's choice.
#![no_std]

mod board;
mod cycles;
mod inverted;
mod panic;
#[doc(hidden)]
pub mod program;

pub use board::Board;
pub use cycles::Cycles;
pub use inverted::Inverted;

#[doc(hidden)]
pub use kinglet;
