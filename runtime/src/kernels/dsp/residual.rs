//! The addition of a residual.

use crate::kernels::patch::Residual;
use core::arch::naked_asm;

/// Adds a residual: each element of `y` becomes the sum of itself and the convolution's result.
#[inline(always)]
pub(in crate::kernels) fn add(residual: &Residual, results: &[i8], y: &mut [i8]) -> Option<()> {
    if results.len() != y.len() {
        return None;
    }
    let pairs = y.len() & !1;
    let (main, tail) = y.split_at_mut_checked(pairs)?;
    if !main.is_empty() {
        let range = main.as_mut_ptr_range();
        // SAFETY: `main` has an even number of elements, not zero, and `results` has no fewer.
        unsafe { Job::new(residual).run(results.as_ptr(), range.start, range.end) };
    }
    residual.output.clamp(main);
    for (y, result) in tail.iter_mut().zip(results.get(pairs..)?) {
        *y = residual.add(*result, *y);
    }
    Some(())
}

/// What [`sums`] works with.
#[repr(C)]
pub(super) struct Job {
    factor: i32,
    factor_b: i32,
    offset: i32,
    zero_point: i32,
    multiplier: f32,
}

impl Job {
    pub(super) fn new(residual: &Residual) -> Job {
        Job {
            factor: residual.factor,
            factor_b: residual.factor_b,
            offset: residual.offset,
            zero_point: residual.output.zero_point(),
            multiplier: residual.multiplier,
        }
    }

    /// Adds `results` to the elements from `y` to `end`; saturates to int8.
    ///
    /// # Safety
    /// From `y` to `end` there must be an even number of elements, not zero, that can be written, and as many results.
    #[inline(always)]
    pub(super) unsafe fn run(&self, results: *const i8, y: *mut i8, end: *mut i8) {
        // SAFETY: as the caller says.
        unsafe { sums(self, results, y, end) };
    }
}

/// Two elements in 24 instructions.
#[unsafe(naked)]
unsafe extern "C" fn sums(job: &Job, results: *const i8, y: *mut i8, end: *mut i8) {
    naked_asm!(
        ".cpu cortex-m4",
        "push {{r4-r11, lr}}",
        "vldr s4, [r0, #16]",
        "ldmia r0, {{r4-r7}}",
        "1:",
        "ldrsb r8, [r1], #1",
        "ldrsb r9, [r1], #1",
        "ldrsb r10, [r2]",
        "ldrsb r11, [r2, #1]",
        "mla r8, r8, r4, r6",
        "mla r9, r9, r4, r6",
        "mla r8, r10, r5, r8",
        "mla r9, r11, r5, r9",
        "vmov s0, s1, r8, r9",
        "vcvt.f32.s32 s0, s0",
        "vcvt.f32.s32 s1, s1",
        "vmul.f32 s0, s0, s4",
        "vmul.f32 s1, s1, s4",
        "vcvtr.s32.f32 s0, s0",
        "vcvtr.s32.f32 s1, s1",
        "vmov r8, r9, s0, s1",
        "qadd r8, r8, r7",
        "qadd r9, r9, r7",
        "ssat r8, #8, r8",
        "ssat r9, #8, r9",
        "strb r8, [r2], #1",
        "strb r9, [r2], #1",
        "cmp r2, r3",
        "bne 1b",
        "pop {{r4-r11, pc}}",
    )
}
