//! Kernels for Armv7-M cores without dual 16-bit multiplications, such as the Cortex-M3. No FPU is used.
//!
//! They give the bytes of the portable kernels. Each submodule holds one loop in assembly behind a safe function that checks
//! every length; the loop's budget in instructions is written beside it.
//!
//! A sum is requantised in six instructions, with [`crate::requantize::fixed::Block::half`] and the zero point, one 64-bit number, at
//! the top of the stack: that number is loaded, `SMLAL` adds the product with the factor, the lower half is compared with the
//! window, the upper half saturates.
#![allow(unsafe_code)]

use crate::requantize::Output;

/// Requantises `sum` with the factor in `r3` or as said and the window in `r12`; `r0` and `r1` are lost. What integers do not
/// decide continues at `slow` and comes back to `back` with the result in `r1`.
macro_rules! requantize {
    ($sum:literal, $slow:literal, $back:literal) => {
        concat!(
            "ldrd r0, r1, [sp]\n",
            "smlal r0, r1, ",
            $sum,
            ", r3\n",
            "cmp r0, r12\n",
            "bls.w ",
            $slow,
            "f\n",
            $back,
            ":\n",
            "ssat ",
            $sum,
            ", #8, r1\n",
        )
    };
}

/// Has [`exact`] requantise `sum`. Two words of the stack, at `first` and `second` bytes, add up to the address behind the
/// multiplier by `back_by` bytes; at `output` there is the output's address.
macro_rules! slow {
    ($slow:literal, $sum:literal, $back:literal, $by:literal, [$first:literal, $second:literal, $output:literal]) => {
        concat!(
            $slow,
            ":\n",
            "push {{r2, r3, r12, lr}}\n",
            "mov r0, ",
            $sum,
            "\n",
            "ldr r1, [sp, #16+",
            $first,
            "]\n",
            "ldr r2, [sp, #16+",
            $second,
            "]\n",
            "add r1, r2\n",
            "ldr r1, [r1, #-",
            $by,
            "]\n",
            "ldr r2, [sp, #16+",
            $output,
            "]\n",
            "bl {exact}\n",
            "mov r1, r0\n",
            "pop {{r2, r3, r12, lr}}\n",
            "b ",
            $back,
            "b\n",
        )
    };
}

mod pairs;
mod planes;
mod residual;
mod vector;

pub(super) use pairs::pairs;
pub use planes::Thumb;
pub(super) use residual::add;
pub(super) use vector::vector;

/// What integers do not decide, for the loops to call; `multiplier` is the bits of a float.
extern "C" fn exact(accumulator: i32, multiplier: u32, output: &Output) -> i32 {
    output.exact(accumulator, f32::from_bits(multiplier)).into()
}
