//! Copying runs of memory on cores with Thumb-2.
#![allow(unsafe_code)]

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
    let Shape { run, pitch, .. } = shape;
    let end = Shape {
        pitch: spread,
        ..shape
    };
    let (reach, end) = (shape.reach()?, end.reach()?);
    let from = x.get(at..)?;
    if reach > from.len() || end > to.len() || pitch < run || spread < run {
        return None;
    }
    // SAFETY: the runs lie in `from` up to `reach` and in `to` up to `end`: checked just now. Words may be unaligned.
    unsafe { copy(from.as_ptr(), to.as_mut_ptr(), &Job::new(shape, spread)) };
    Some(())
}

/// What [`copy`] works on.
#[repr(C)]
pub(in crate::kernels) struct Job {
    run: usize,
    lines: usize,
    /// Bytes between runs, where they are and where they go.
    skips: [usize; 2],
}

impl Job {
    /// For runs that go to places `spread` bytes apart.
    #[inline(always)]
    pub(in crate::kernels) fn new(shape: Shape, spread: usize) -> Job {
        Job {
            run: shape.run,
            lines: shape.lines,
            skips: [shape.pitch, spread].map(|pitch| pitch.wrapping_sub(shape.run)),
        }
    }
}

/// Two and a half instructions a word in runs of 16 bytes, else four; 16 a line.
///
/// # Safety
/// All runs can be read, and written at their new places; there is at least one.
#[unsafe(naked)]
pub(in crate::kernels) unsafe extern "C" fn copy(from: *const i8, to: *mut i8, job: &Job) {
    naked_asm!(
        "push {{r4-r9, lr}}",
        "ldmia.w r2, {{r2, r3, r12, lr}}",
        "lsrs r4, r2, #4",
        "1:",
        "cbz r4, 3f",
        "mov r5, r4",
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
