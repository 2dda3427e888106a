//! The native half of the Python package `kinglet`: tensors are bytes here, `python/kinglet` makes arrays of them.
//!
//! Everything that takes time runs without Python's lock, and looks for Ctrl-C while it does (`interrupt`).

mod compile;
mod compress;
mod error;
mod interrupt;
mod quantize;
mod session;

use pyo3::prelude::*;

/// What `python/kinglet` is made of.
#[pymodule]
mod _kinglet {
    #[pymodule_export]
    use crate::compile::{Compiled, compile};
    #[pymodule_export]
    use crate::compress::compress;
    #[pymodule_export]
    use crate::quantize::quantize;
    #[pymodule_export]
    use crate::session::Session;
}
