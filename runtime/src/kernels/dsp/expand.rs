//! A pixel's taps: gathering them, and from bytes of two pixels to pairs of 16-bit numbers.

use core::arch::naked_asm;

/// The lines of a pixel's taps, read in words.
pub(super) struct Lines {
    lines: usize,
    words: usize,
    skip: usize,
    /// From the first byte to behind the last.
    reach: usize,
}

impl Lines {
    /// `lines` runs of `words · 4` bytes, one every `pitch` bytes.
    pub(super) fn new([lines, words, pitch]: [usize; 3]) -> Option<Lines> {
        let run = words.checked_mul(4)?;
        let reach = lines.checked_sub(1)?.checked_mul(pitch)?.checked_add(run)?;
        let skip = if lines > 1 {
            pitch.checked_sub(run)?
        } else {
            0
        };
        (words > 0).then_some(Lines {
            lines,
            words,
            skip,
            reach,
        })
    }

    /// Sign-extends the taps of two pixels, that begin at `at` in `x`, into `patch`: for each four the words
    /// `p0(k0,k2), p1(k0,k2), p0(k1,k3), p1(k1,k3)`. The patch has four words for each word. `None` when something lies outside.
    #[inline(always)]
    pub(super) fn expand(&self, x: &[i8], at: [usize; 2], patch: &mut [u32]) -> Option<()> {
        let [first, second] = at;
        let last = x.len().checked_sub(self.reach)?;
        if first > last || second > last || patch.len() != self.lines * self.words * 4 {
            return None;
        }
        // SAFETY: both pixels' runs lie in `x`: no start is behind `last`; the patch has four words for each word read.
        unsafe {
            self.run(
                [x.as_ptr().add(first), x.as_ptr().add(second)],
                patch.as_mut_ptr(),
            );
        }
        Some(())
    }

    /// How many bytes from its start a pixel's taps take.
    pub(super) fn reach(&self) -> usize {
        self.reach
    }

    /// Words of all lines.
    pub(super) fn words(&self) -> usize {
        self.lines * self.words
    }

    /// [`Lines::expand`] without checks.
    ///
    /// # Safety
    /// [`Lines::reach`] bytes can be read from both places, four words for each word of the lines written to `patch`.
    #[inline(always)]
    pub(super) unsafe fn run(&self, [first, second]: [*const i8; 2], patch: *mut u32) {
        // SAFETY: as the caller says. Unaligned words may be read with `LDR`; the patch is aligned by its type.
        unsafe { pairs(first, second, patch, self.words, self.lines, self.skip) };
    }
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

/// `lines` runs of `run` bytes, with so many bytes between them on either side. Four instructions a word, 14 a line.
///
/// # Safety
/// All runs can be read, and written at their new places.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn copy(
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
