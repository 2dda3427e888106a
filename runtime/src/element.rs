//! Element types of typed inputs and outputs, chosen by a plan's type codes at compile time.

use crate::format::DType;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A plan's type code as a type; [`Element`] maps it to the Rust type.
pub struct Code<const CODE: u8>;

/// The Rust type behind a type code.
pub trait Element {
    /// `f32`, `i8`, `u8` or `i32`.
    type Type: FromBytes + IntoBytes + Immutable + KnownLayout + Copy + 'static;
}

impl Element for Code<{ DType::F32 as u8 }> {
    type Type = f32;
}

impl Element for Code<{ DType::I8 as u8 }> {
    type Type = i8;
}

impl Element for Code<{ DType::U8 as u8 }> {
    type Type = u8;
}

impl Element for Code<{ DType::I32 as u8 }> {
    type Type = i32;
}
