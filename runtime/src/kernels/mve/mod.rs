//! Kernels for cores with Helium (Cortex-M55, M85): the same bytes as the portable ones.
//!
//! Each kernel is a safe function that compares lengths once a call and then runs one of the assembly functions of
//! [`asm`](self) over a whole run of pixels. Those are naked functions, because the compiler does not give away r6, r7 and the
//! vector registers that a call must preserve.
//!
//! Requantisation follows the rounding contract with `VCVT` (integer to float, nearest even), `VMUL`, and `VCVTN` (float to
//! integer, ties to even, saturating), then adds the zero point in saturating 16-bit arithmetic and saturates to bytes.
//! Vectors flush subnormal products to zero, which round to zero anyway.
#![allow(unsafe_code)]

/// The body of a naked function. Link-time optimisation reads assembly without the flags that say which core it is for.
macro_rules! helium_asm {
    ($($line:expr),* $(,)?) => {
        core::arch::naked_asm!(".cpu cortex-m55", $($line),*)
    };
}

mod conv;
mod dense;
mod depthwise;
mod lanes;
mod memory;

pub use conv::conv_helium;
pub use dense::dense_helium;
pub use depthwise::depthwise_helium;
