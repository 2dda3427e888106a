//! A pixel's taps: gathering them, and from bytes of two pixels to pairs of 16-bit numbers.

use core::arch::naked_asm;

/// Sign-extends `lines` runs of `words · 4` bytes of two pixels into `patch`: for each four taps the words
/// `p0(k0,k2), p1(k0,k2), p0(k1,k3), p1(k1,k3)`.
///
/// The runs begin at `at[0]` and `at[1]` in `x`, and then every `pitch` bytes. `None` when something lies outside.
#[inline(always)]
pub(super) fn expand(
    x: &[i8],
    at: [usize; 2],
    [lines, words, pitch]: [usize; 3],
    patch: &mut [u32],
) -> Option<()> {
    if lines == 0 || words == 0 {
        return None;
    }
    let run = words.checked_mul(4)?;
    let reach = (lines - 1).checked_mul(pitch)?.checked_add(run)?;
    let last = x.len().checked_sub(reach)?;
    let skip = pitch.checked_sub(run).filter(|_| lines > 1).unwrap_or(0);
    let patch = patch.get_mut(..lines.checked_mul(words)?.checked_mul(4)?)?;
    let [first, second] = at;
    if first > last || second > last || (lines > 1 && pitch < run) {
        return None;
    }
    // SAFETY: both pixels' runs lie in `x`: `reach` bytes from `at`, checked just now; the patch has four words for each
    // word read. Unaligned words may be read with `LDR`; the patch is aligned by its type.
    unsafe {
        pairs(
            x.as_ptr().add(first),
            x.as_ptr().add(second),
            patch.as_mut_ptr(),
            words,
            lines,
            skip,
        );
    }
    Some(())
}

/// Seven instructions for eight numbers, and two for the loop every sixteen.
#[unsafe(naked)]
unsafe extern "C" fn pairs(
    p0: *const i8,
    p1: *const i8,
    patch: *mut u32,
    words: usize,
    lines: usize,
    skip: usize,
) {
    naked_asm!(
        ".cpu cortex-m4",
        "push {{r4-r9, lr}}",
        "ldrd r9, lr, [sp, #28]",
        "1:",
        "lsrs r12, r3, #1",
        "bcc 2f",
        "ldr r5, [r0], #4",
        "ldr r8, [r1], #4",
        "sxtb16 r4, r5",
        "sxtb16 r6, r5, ror #8",
        "sxtb16 r5, r8",
        "sxtb16 r7, r8, ror #8",
        "stmia r2!, {{r4-r7}}",
        "cmp r12, #0",
        "beq 3f",
        "2:",
        ".rept 2",
        "ldr r5, [r0], #4",
        "ldr r8, [r1], #4",
        "sxtb16 r4, r5",
        "sxtb16 r6, r5, ror #8",
        "sxtb16 r5, r8",
        "sxtb16 r7, r8, ror #8",
        "stmia r2!, {{r4-r7}}",
        ".endr",
        "subs r12, #1",
        "bne 2b",
        "3:",
        "add r0, lr",
        "add r1, lr",
        "subs r9, #1",
        "bne 1b",
        "pop {{r4-r9, pc}}",
    )
}

/// Copies `lines` runs of `run` bytes, that begin at `at` and then every `pitch` bytes of `x`, to `to`, one every `spread` bytes.
#[inline(always)]
pub(super) fn gather(
    x: &[i8],
    at: usize,
    [lines, run, pitch]: [usize; 3],
    to: &mut [i8],
    spread: usize,
) -> Option<()> {
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

/// Four instructions a word, 14 a line.
#[unsafe(naked)]
unsafe extern "C" fn copy(
    from: *const i8,
    to: *mut i8,
    run: usize,
    lines: usize,
    skips: &[usize; 2],
) {
    naked_asm!(
        ".cpu cortex-m4",
        "push {{r4-r6, lr}}",
        "ldr r12, [sp, #16]",
        "ldrd r12, lr, [r12]",
        "1:",
        "lsrs r5, r2, #2",
        "beq 3f",
        "2:",
        "ldr r6, [r0], #4",
        "subs r5, #1",
        "str r6, [r1], #4",
        "bne 2b",
        "3:",
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
        "pop {{r4-r6, pc}}",
    )
}
