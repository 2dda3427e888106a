//! Element-wise work on results: residual addition and clamping.

use crate::format;

/// What [`add_lanes`] multiplies and adds.
#[repr(C)]
struct Sum {
    factor: i32,
    factor_b: i32,
    offset: i32,
    multiplier: f32,
    zero_point: i32,
    min: i32,
    max: i32,
}

/// `y ← a·factor + y·factor_b + offset`, requantised: the residual addition, see [`format::Residual`].
pub(super) fn add(residual: &format::Residual, a: &[i8], y: &mut [i8]) -> Option<()> {
    if a.len() < y.len() {
        return None;
    }
    let sum = Sum {
        factor: residual.factor.get(),
        factor_b: residual.factor_b.get(),
        offset: residual.offset.get(),
        multiplier: residual.multiplier.get(),
        zero_point: residual.int8.output_zero_point.get(),
        min: residual.int8.min.get(),
        max: residual.int8.max.get(),
    };
    // SAFETY: reads and writes `y.len()` bytes of `y` and reads as many of `a`, which has them.
    unsafe { add_lanes(a.as_ptr(), y.as_mut_ptr(), y.len(), &sum) };
    Some(())
}

/// Budget: 12 instructions for 4 elements (3.0 each).
#[unsafe(naked)]
unsafe extern "C" fn add_lanes(a: *const i8, y: *mut i8, len: usize, sum: &Sum) {
    helium_asm!(
        "push {{r4-r10, lr}}",
        "vpush {{d8-d13}}",
        "ldm r3, {{r4-r10}}",
        "vdup.32 q4, r4",
        "vdup.32 q5, r9",
        "vdup.32 q6, r10",
        "wlstp.32 lr, r2, 2f",
        "1:",
        "vldrb.s32 q0, [r0], #4",
        "vldrb.s32 q1, [r1]",
        "vmlas.s32 q0, q4, r6",
        "vmla.s32 q0, q1, r5",
        "vcvt.f32.s32 q0, q0",
        "vmul.f32 q0, q0, r7",
        "vcvtn.s32.f32 q0, q0",
        "vqadd.s32 q0, q0, r8",
        "vmax.s32 q0, q0, q5",
        "vmin.s32 q0, q0, q6",
        "vstrb.32 q0, [r1], #4",
        "letp lr, 1b",
        "2:",
        "vpop {{d8-d13}}",
        "pop {{r4-r10, pc}}",
    )
}

/// Brings saturated results within an activation's bounds; free when the bounds are those of a byte.
pub(super) fn clamp(int8: &format::Int8, y: &mut [i8]) {
    let [min, max] = [int8.min, int8.max].map(|v| v.get() as i8);
    if (min, max) != (i8::MIN, i8::MAX) {
        // SAFETY: reads and writes the bytes of `y`.
        unsafe { clamp_lanes(y.as_mut_ptr(), y.len(), min.into(), max.into()) };
    }
}

/// Budget: 5 instructions for 16 elements.
#[unsafe(naked)]
unsafe extern "C" fn clamp_lanes(y: *mut i8, len: usize, min: i32, max: i32) {
    helium_asm!(
        "push {{r4, lr}}",
        "vdup.8 q1, r2",
        "vdup.8 q2, r3",
        "wlstp.8 lr, r1, 2f",
        "1:",
        "vldrb.u8 q0, [r0]",
        "vmax.s8 q0, q0, q1",
        "vmin.s8 q0, q0, q2",
        "vstrb.8 q0, [r0], #16",
        "letp lr, 1b",
        "2:",
        "pop {{r4, pc}}",
    )
}
