//! From bytes of two pixels to pairs of 16-bit numbers.

use crate::kernels::runs::Shape;
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
    /// Runs are filled up to words.
    pub(super) fn new(shape: Shape) -> Option<Lines> {
        let words = shape.run.div_ceil(4);
        let filled = Shape {
            run: words.checked_mul(4)?,
            ..shape
        };
        let skip = match shape.lines {
            1 => 0,
            _ => shape.pitch.checked_sub(filled.run)?,
        };
        (words > 0).then_some(Lines {
            lines: shape.lines,
            words,
            skip,
            reach: filled.reach()?,
        })
    }

    /// One line of `words` words.
    pub(super) fn line(words: usize) -> Option<Lines> {
        let reach = words.checked_mul(4)?;
        (words > 0).then_some(Lines {
            lines: 1,
            words,
            skip: 0,
            reach,
        })
    }

    /// Sign-extends the taps of two pixels, which begin with the slices, into `patch`: for each four the words
    /// `p0(k0,k2), p1(k0,k2), p0(k1,k3), p1(k1,k3)`. The patch has four words for each word. `None` when something lies outside.
    #[inline(always)]
    pub(super) fn expand(&self, [first, second]: [&[i8]; 2], patch: &mut [u32]) -> Option<()> {
        if first.len().min(second.len()) < self.reach || patch.len() != self.words() * 4 {
            return None;
        }
        // SAFETY: both pixels' runs lie in their slices; the patch has four words for each word read.
        unsafe { self.run([first.as_ptr(), second.as_ptr()], patch.as_mut_ptr()) };
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
