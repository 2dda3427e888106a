//! The addition of a residual.

use crate::kernels::patch::Residual;
use crate::requantize::Output;
use crate::requantize::fixed::Scale;
use core::arch::naked_asm;

/// Adds a residual: each element of `y` becomes the sum of itself and the convolution's result. `scale` is made from the
/// residual's multiplier. Sums saturate to int8, but may or may not be within the output's bounds.
#[inline(always)]
pub(in crate::kernels) fn add(
    residual: &Residual,
    scale: &Scale,
    results: &[i8],
    y: &mut [i8],
) -> Option<()> {
    let Some(high) = scale.high(residual.output.zero_point()) else {
        for (y, result) in y.iter_mut().zip(results) {
            let sum = residual.sum(*result, *y);
            *y = scale.requantize(sum, residual.multiplier, &residual.output);
        }
        return Some(());
    };
    if results.len() != y.len() || y.is_empty() {
        return None;
    }
    let range = y.as_mut_ptr_range();
    let job = Job {
        results: results.as_ptr(),
        y: range.start,
        end: range.end,
        factor: residual.factor,
        factor_b: residual.factor_b,
        offset: residual.offset,
        multiplier: high.factor,
        start: high.start,
        shift: high.shift,
        rest: 32 - high.shift,
        window: high.window,
        exact: residual.multiplier,
        output: &residual.output,
    };
    // SAFETY: both slices have the same number of elements, not zero.
    unsafe { sums(&job) };
    Some(())
}

#[repr(C)]
struct Job<'a> {
    results: *const i8,
    y: *mut i8,
    end: *mut i8,
    factor: i32,
    factor_b: i32,
    offset: i32,
    multiplier: i32,
    start: i32,
    shift: u32,
    rest: u32,
    window: u32,
    exact: f32,
    output: &'a Output,
}

/// An element in 14 instructions.
///
/// r0 results; r1, r2 sums and their end; r3–r5 factors and offset; r6 multiplier; r7 what products start from; r8, r9 shifts;
/// r10 window; r11 a sum.
#[unsafe(naked)]
unsafe extern "C" fn sums(job: &Job<'_>) {
    naked_asm!(
        "push {{r4-r11, lr}}",
        "ldrd r1, r2, [r0, #44]",
        "push {{r0, r1, r2}}",
        "ldmia r0, {{r0-r10}}",
        "1:",
        "ldrsb r11, [r0], #1",
        "ldrsb r12, [r1]",
        "mla r11, r11, r3, r5",
        "mla r11, r12, r4, r11",
        "smull r12, lr, r11, r6",
        "add lr, r7",
        "lsl r12, lr, r9",
        "cmp r12, r10",
        "bls 3f",
        "asr lr, lr, r8",
        "2:",
        "ssat lr, #8, lr",
        "strb lr, [r1], #1",
        "cmp r1, r2",
        "bne 1b",
        "add sp, #12",
        "pop {{r4-r11, pc}}",
        "3:",
        "push {{r0-r3}}",
        "mov r0, r11",
        "ldr r1, [sp, #20]",
        "ldr r2, [sp, #24]",
        "bl {exact}",
        "mov lr, r0",
        "pop {{r0-r3}}",
        "b 2b",
        exact = sym super::exact,
    )
}
