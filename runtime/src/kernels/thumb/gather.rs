//! Copying runs of memory.

use crate::kernels::runs::Shape;
use core::arch::naked_asm;

/// Copies `lines` runs of `run` bytes, that begin at `at` and then every `pitch` bytes of `x`, to `to`, one every `spread` bytes.
#[inline(always)]
pub(in crate::kernels) fn gather(
    x: &[i8],
    at: usize,
    shape: Shape,
    to: &mut [i8],
    spread: usize,
) -> Option<()> {
    let Shape { lines, run, pitch } = shape;
    let last = lines.checked_sub(1)?;
    let reach = last.checked_mul(pitch)?.checked_add(run)?;
    let end = last.checked_mul(spread)?.checked_add(run)?;
    let from = x.get(at..)?;
    if reach > from.len() || end > to.len() || pitch < run || spread < run {
        return None;
    }
    // SAFETY: the runs lie in `from` up to `reach` and in `to` up to `end`: checked just now. Words may be unaligned.
    unsafe {
        let skips = [pitch - run, spread - run];
        copy(from.as_ptr(), to.as_mut_ptr(), run, lines, &skips);
    }
    Some(())
}

/// Two and a half instructions a word, 17 a line.
#[unsafe(naked)]
unsafe extern "C" fn copy(
    from: *const i8,
    to: *mut i8,
    run: usize,
    lines: usize,
    skips: &[usize; 2],
) {
    naked_asm!(
        "push {{r4-r9, lr}}",
        "ldr r12, [sp, #28]",
        "ldrd r12, lr, [r12]",
        "1:",
        "lsrs r5, r2, #4",
        "beq 3f",
        "2:",
        "ldr r6, [r0], #4",
        "ldr r7, [r0], #4",
        "ldr r8, [r0], #4",
        "ldr r9, [r0], #4",
        "str r6, [r1], #4",
        "str r7, [r1], #4",
        "str r8, [r1], #4",
        "str r9, [r1], #4",
        "subs r5, #1",
        "bne 2b",
        "3:",
        "ands r5, r2, #12",
        "beq 5f",
        "4:",
        "ldr r6, [r0], #4",
        "subs r5, #4",
        "str r6, [r1], #4",
        "bne 4b",
        "5:",
        "lsls r5, r2, #31",
        "itt cs",
        "ldrhcs r6, [r0], #2",
        "strhcs r6, [r1], #2",
        "itt mi",
        "ldrbmi r6, [r0], #1",
        "strbmi r6, [r1], #1",
        "add r0, r12",
        "add r1, lr",
        "subs r3, #1",
        "bne 1b",
        "pop {{r4-r9, pc}}",
    )
}
