//! Four rows of split weights against one vector: fully connected layers.

use crate::kernels::parts::{parts, parts_mut};
use crate::kernels::split::Split;
use crate::requantize::Output;
use core::arch::naked_asm;
use core::num::NonZeroUsize;

/// As [`crate::kernels::patch::dense_packed`] for split weights. `scratch` holds a row that is no multiple of four long.
#[inline(never)]
pub fn dense_split(
    inputs: usize,
    outputs: usize,
    split: &Split<'_>,
    output: Output,
    x: &[i8],
    y: &mut [i8],
    scratch: &mut [i8],
) -> Option<()> {
    let (inputs, outputs) = (NonZeroUsize::new(inputs)?, NonZeroUsize::new(outputs)?);
    for (x, y) in parts(x, inputs).zip(parts_mut(y, outputs)) {
        if inputs.get() % 4 == 0 {
            results(split, x, output.zero_point(), y)?;
        } else {
            // `copy_from_slice` would keep its panic for unequal lengths.
            for (to, from) in scratch.get_mut(..inputs.get())?.iter_mut().zip(x) {
                *to = *from;
            }
            results(split, scratch, output.zero_point(), y)?;
        }
        output.clamp(y);
    }
    Some(())
}

/// What [`rows`] works on.
#[repr(C)]
struct Job {
    y: *mut i8,
    y_end: *mut i8,
    x: *const i8,
    groups: usize,
    bias: *const i32,
    multipliers: *const f32,
    zero_point: i32,
    /// Bytes from one block's multipliers to the next's: 0 when all channels share them.
    multiplier_step: usize,
    weights: *const i16,
}

/// Requantised results of one vector for as many channels as `y` holds. `x` has a multiple of four elements. Results saturate
/// to int8.
fn results(split: &Split<'_>, x: &[i8], zero_point: i32, y: &mut [i8]) -> Option<()> {
    let whole = y.len() & !3;
    let (main, tail) = y.split_at_mut_checked(whole)?;
    if !main.is_empty() {
        run(split, 0, x, zero_point, main)?;
    }
    if !tail.is_empty() {
        let mut last = [0; 4];
        run(split, whole / 4, x, zero_point, &mut last)?;
        for (y, last) in tail.iter_mut().zip(last) {
            *y = last;
        }
    }
    Some(())
}

#[inline(never)]
fn run(split: &Split<'_>, block: usize, x: &[i8], zero_point: i32, y: &mut [i8]) -> Option<()> {
    let (channels, taps) = (y.len(), x.len());
    let first = block.checked_mul(4)?;
    let weights = split.weights.get(first.checked_mul(taps)? / 2..)?;
    let bias = split.bias.get(first..)?;
    let shared = split.multipliers.len() == 4;
    let multipliers = split.multipliers.get(if shared { 0 } else { first }..)?;
    let enough = weights.len() / taps.max(1) >= channels / 2
        && bias.len() >= channels
        && multipliers.len() >= if shared { 4 } else { channels };
    if !enough || channels == 0 || channels % 4 != 0 || taps == 0 || taps % 4 != 0 {
        return None;
    }
    let y = y.as_mut_ptr_range();
    let job = Job {
        y: y.start,
        y_end: y.end,
        x: x.as_ptr(),
        groups: taps / 4,
        bias: bias.as_ptr(),
        multipliers: multipliers.as_ptr(),
        zero_point,
        multiplier_step: if shared { 0 } else { 16 },
        weights: weights.as_ptr(),
    };
    // SAFETY: as in `tile`: `channels` is a positive multiple of four, with as many results, biases and multipliers (or four
    // shared ones), `taps ≥ 4` activations and `channels · taps` weights. Words are aligned by their types, weights since a
    // block is a multiple of 16 bytes; activations are read with `LDR`, which may be unaligned.
    unsafe { rows(&job) };
    Some(())
}

/// Body, 16 multiplications: one multiple load of weights, one of activations, six `SXTB16`, eight `SMLAD`: 16 instructions, one
/// a multiplication, and 2/64 for the loop every 16 taps. A block costs 50 instructions more: 12 a result.
///
/// r0–r3 weights; r4, r5 activations; r6–r9 sums; r10 activations' address; r11 weights'; lr rounds.
#[unsafe(naked)]
unsafe extern "C" fn rows(job: &Job) {
    naked_asm!(
        ".cpu cortex-m4",
        "push {{r4-r11, lr}}",
        "ldmia r0, {{r1-r8, r11}}",
        // Rounds of four groups; the first enters behind (4 − groups mod 4) bodies of 64 bytes.
        "adr.w r9, 4f",
        "subs r4, #1",
        "and r10, r4, #3",
        "adds r10, #1",
        "sub r9, r9, r10, lsl #6",
        "orr r9, r9, #1",
        "lsrs r4, r4, #2",
        "adds r4, #1",
        "vmov s15, r7",
        // y, y_end, x, rounds, bias, multipliers, step, entry
        "sub sp, #4",
        "push {{r1-r6, r8, r9}}",
        "2:",
        "ldr r0, [sp, #16]",
        "ldr r10, [sp, #8]",
        "ldmia r0!, {{r6-r9}}",
        "ldr lr, [sp, #12]",
        "str r0, [sp, #16]",
        "ldr pc, [sp, #28]",
        ".p2align 2",
        "3:",
        ".rept 4",
        "ldmia.w r11!, {{r0-r3}}",
        "ldr r5, [r10], #4",
        "sxtb16 r4, r5",
        "sxtb16 r5, r5, ror #8",
        "smlad r6, r0, r4, r6",
        "smlad r8, r1, r4, r8",
        "smlad r6, r2, r5, r6",
        "smlad r8, r3, r5, r8",
        "sxtb16 r0, r0",
        "sxtb16 r1, r1",
        "sxtb16 r2, r2",
        "sxtb16 r3, r3",
        "smlad r7, r0, r4, r7",
        "smlad r9, r1, r4, r9",
        "smlad r7, r2, r5, r7",
        "smlad r9, r3, r5, r9",
        ".endr",
        "4:",
        "subs lr, #1",
        "bne.w 3b",
        "ldr r0, [sp, #20]",
        "subs r6, r6, r7",
        "ldr r1, [sp, #24]",
        "sub r8, r8, r9",
        "vldmia r0, {{s4-s7}}",
        "add r0, r1",
        "vmov s0, s1, r6, r7",
        "str r0, [sp, #20]",
        "vmov s2, s3, r8, r9",
        "vcvt.f32.s32 s0, s0",
        "vcvt.f32.s32 s1, s1",
        "vcvt.f32.s32 s2, s2",
        "vcvt.f32.s32 s3, s3",
        "vmul.f32 s0, s0, s4",
        "vmul.f32 s1, s1, s5",
        "vmul.f32 s2, s2, s6",
        "vmul.f32 s3, s3, s7",
        "vcvtr.s32.f32 s0, s0",
        "vcvtr.s32.f32 s1, s1",
        "vcvtr.s32.f32 s2, s2",
        "vcvtr.s32.f32 s3, s3",
        "vmov r0, s15",
        "vmov r6, r7, s0, s1",
        "vmov r8, r9, s2, s3",
        "qadd r6, r6, r0",
        "qadd r7, r7, r0",
        "qadd r8, r8, r0",
        "qadd r9, r9, r0",
        "ldrd r0, r1, [sp]",
        "ssat r6, #8, r6",
        "ssat r7, #8, r7",
        "ssat r8, #8, r8",
        "ssat r9, #8, r9",
        "strb r6, [r0], #1",
        "strb r7, [r0], #1",
        "strb r8, [r0], #1",
        "strb r9, [r0], #1",
        "str r0, [sp]",
        "cmp r0, r1",
        "bne.w 2b",
        "add sp, #36",
        "pop {{r4-r11, pc}}",
    )
}
