//! Two pixels by four channels of split weights: the inner loop of convolutions and fully connected layers.

use crate::kernels::split::Split;
use core::arch::naked_asm;

/// What [`tile`] works on, in the order in which it puts it on its stack.
#[repr(C)]
struct Job {
    /// Behind the last pair of activations.
    patch_end: *const u32,
    /// The patch: for each group of four taps the words `p0(k0,k2), p1(k0,k2), p0(k1,k3), p1(k1,k3)`.
    patch: *const u32,
    bias: *const i32,
    multipliers: *const f32,
    zero_point: i32,
    /// Results of the first pixel, and where they end.
    y0: *mut i8,
    y0_end: *mut i8,
    /// Results of the second pixel.
    y1: *mut i8,
    /// Number of taps / 2.
    pairs: usize,
    weights: *const i16,
}

/// Requantised results of two pixels for as many channels as `y0` holds, at least one; `y1` is as long or empty, which makes
/// the second pixel's results go the way of the first's (whose patch it must then be).
///
/// `patch` holds `groups` groups of four taps of both pixels, as [`super::expand`] writes them. Results saturate to int8.
#[inline(always)]
pub(super) fn results(
    split: &Split<'_>,
    patch: &[u32],
    zero_point: i32,
    y0: &mut [i8],
    y1: &mut [i8],
) -> Option<()> {
    let whole = y0.len() & !3;
    let (main, tail) = y0.split_at_mut_checked(whole)?;
    let (main1, tail1) = y1.split_at_mut_checked(whole.min(y1.len()))?;
    let groups = patch.len() / 4;
    if !main.is_empty() {
        run(split, 0, patch, zero_point, main, main1)?;
    }
    if !tail.is_empty() {
        let (mut last, mut last1) = ([0; 4], [0; 4]);
        run(
            split,
            whole / 4,
            patch.get(..groups * 4)?,
            zero_point,
            &mut last,
            &mut last1,
        )?;
        for (y, last) in tail.iter_mut().zip(last).chain(tail1.iter_mut().zip(last1)) {
            *y = last;
        }
    }
    Some(())
}

/// [`results`] for whole blocks of channels, from block `block` on.
#[inline(always)]
fn run(
    split: &Split<'_>,
    block: usize,
    patch: &[u32],
    zero_point: i32,
    y0: &mut [i8],
    y1: &mut [i8],
) -> Option<()> {
    let (channels, groups) = (y0.len(), patch.len() / 4);
    let first = block.checked_mul(4)?;
    let taps = groups.checked_mul(4)?;
    let weights = split.weights.get(first.checked_mul(taps)? / 2..)?;
    let bias = split.bias.get(first..)?;
    let multipliers = split.multipliers.get(first..)?;
    let enough = weights.len() / taps.max(1) >= channels / 2
        && bias.len() >= channels
        && multipliers.len() >= channels;
    let second = match y1.len() {
        0 => y0.as_mut_ptr(),
        n if n == channels => y1.as_mut_ptr(),
        _ => return None,
    };
    if !enough || channels == 0 || channels % 4 != 0 || patch.is_empty() || patch.len() % 4 != 0 {
        return None;
    }
    let range = patch.as_ptr_range();
    let y0 = y0.as_mut_ptr_range();
    let job = Job {
        patch_end: range.end,
        patch: range.start,
        bias: bias.as_ptr(),
        multipliers: multipliers.as_ptr(),
        zero_point,
        y0: y0.start,
        y0_end: y0.end,
        y1: second,
        pairs: groups * 2,
        weights: weights.as_ptr(),
    };
    // SAFETY: `channels` is a positive multiple of four, and there are that many results of both pixels, biases and
    // multipliers, and `channels / 4 · groups` times 16 bytes of weights; the patch has `groups ≥ 1` times 16 bytes. Words are
    // aligned: patch, biases and multipliers by their types, weights since they begin at a multiple of 16 bytes (checked for
    // the plan) and blocks are multiples of 16 bytes long. Those of a hand-made `Split` are aligned too, or the load faults
    // (the instruction `LDRD` does not read elsewhere).
    unsafe { tile(&job) };
    Some(())
}

/// The loop. For each block of four channels: sums from the biases, `pairs` times the body, requantisation.
///
/// Body, 16 multiplications: two double loads, eight `SMLAD`, two `SXTB16`: 12 instructions, 0.75 a multiplication, and
/// 3/128 for the loop every 16 taps. The first round enters in the middle, so that any multiple of four taps will do.
/// A block costs 80 instructions more: 10 a result.
///
/// r0, r1 weights; r2, r3 activations; r4–r11 sums (first channel of a pair scaled and mixed with the second, then the second,
/// each for both pixels); r12 weights' address; lr the patch's.
#[unsafe(naked)]
unsafe extern "C" fn tile(job: &Job) {
    naked_asm!(
        ".cpu cortex-m4",
        "push {{r4-r11, lr}}",
        "ldmia r0, {{r1-r9, r12}}",
        // Where the first round enters: behind (8 − pairs mod 8) bodies of 48 bytes.
        "adr.w r10, 4f",
        "subs r9, #1",
        "and r9, r9, #7",
        "adds r9, #1",
        "movs r11, #48",
        "mls r10, r9, r11, r10",
        "orr r10, r10, #1",
        "push {{r1-r8, r10}}",
        "2:",
        "ldr r0, [sp, #8]",
        "ldmia r0!, {{r4, r6, r8, r10}}",
        "str r0, [sp, #8]",
        "ldr lr, [sp, #4]",
        "mov r5, r4",
        "mov r7, r6",
        "mov r9, r8",
        "mov r11, r10",
        "ldr pc, [sp, #32]",
        ".p2align 2",
        "3:",
        ".rept 8",
        "ldrd r0, r1, [r12], #8",
        "ldrd r2, r3, [lr], #8",
        "smlad r4, r0, r2, r4",
        "smlad r5, r0, r3, r5",
        "smlad r8, r1, r2, r8",
        "smlad r9, r1, r3, r9",
        "sxtb16 r0, r0",
        "sxtb16 r1, r1",
        "smlad r6, r0, r2, r6",
        "smlad r7, r0, r3, r7",
        "smlad r10, r1, r2, r10",
        "smlad r11, r1, r3, r11",
        ".endr",
        "4:",
        "ldr r0, [sp]",
        "cmp lr, r0",
        "bne.w 3b",
        // The first channels of the pairs lose what the second ones added.
        "ldr r0, [sp, #12]",
        "subs r4, r4, r6",
        "subs r5, r5, r7",
        "vldmia r0!, {{s8-s11}}",
        "sub r8, r8, r10",
        "sub r9, r9, r11",
        "str r0, [sp, #12]",
        "vmov s0, s1, r4, r5",
        "vmov s2, s3, r6, r7",
        "vmov s4, s5, r8, r9",
        "vmov s6, s7, r10, r11",
        "ldr r0, [sp, #16]",
        "ldr r1, [sp, #20]",
        "ldr r2, [sp, #28]",
        "vcvt.f32.s32 s0, s0",
        "vcvt.f32.s32 s1, s1",
        "vcvt.f32.s32 s2, s2",
        "vcvt.f32.s32 s3, s3",
        "vcvt.f32.s32 s4, s4",
        "vcvt.f32.s32 s5, s5",
        "vcvt.f32.s32 s6, s6",
        "vcvt.f32.s32 s7, s7",
        "vmul.f32 s0, s0, s8",
        "vmul.f32 s1, s1, s8",
        "vmul.f32 s2, s2, s9",
        "vmul.f32 s3, s3, s9",
        "vmul.f32 s4, s4, s10",
        "vmul.f32 s5, s5, s10",
        "vmul.f32 s6, s6, s11",
        "vmul.f32 s7, s7, s11",
        // To the nearest integer, ties to even (the FPU's mode), saturated.
        "vcvtr.s32.f32 s0, s0",
        "vcvtr.s32.f32 s1, s1",
        "vcvtr.s32.f32 s2, s2",
        "vcvtr.s32.f32 s3, s3",
        "vcvtr.s32.f32 s4, s4",
        "vcvtr.s32.f32 s5, s5",
        "vcvtr.s32.f32 s6, s6",
        "vcvtr.s32.f32 s7, s7",
        "vmov r4, r5, s0, s1",
        "vmov r6, r7, s2, s3",
        "vmov r8, r9, s4, s5",
        "vmov r10, r11, s6, s7",
        "qadd r4, r4, r0",
        "qadd r5, r5, r0",
        "qadd r6, r6, r0",
        "qadd r7, r7, r0",
        "qadd r8, r8, r0",
        "qadd r9, r9, r0",
        "qadd r10, r10, r0",
        "qadd r11, r11, r0",
        "ssat r4, #8, r4",
        "ssat r5, #8, r5",
        "ssat r6, #8, r6",
        "ssat r7, #8, r7",
        "ssat r8, #8, r8",
        "ssat r9, #8, r9",
        "ssat r10, #8, r10",
        "ssat r11, #8, r11",
        "strb r4, [r1], #1",
        "strb r6, [r1], #1",
        "strb r8, [r1], #1",
        "strb r10, [r1], #1",
        "strb r5, [r2], #1",
        "strb r7, [r2], #1",
        "strb r9, [r2], #1",
        "strb r11, [r2], #1",
        "ldr r3, [sp, #24]",
        "str r1, [sp, #20]",
        "str r2, [sp, #28]",
        "cmp r1, r3",
        "bne.w 2b",
        "add sp, #36",
        "pop {{r4-r11, pc}}",
    )
}
