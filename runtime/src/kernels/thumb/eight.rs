//! One vector by eight channels of quad weights.

use core::arch::naked_asm;

/// What [`products`] works on.
#[repr(C)]
struct Job {
    /// One byte before the first activation, less those that the first round skips.
    x: *const i8,
    /// So, too, for the weights of each block.
    w0: *const i8,
    w1: *const i8,
    /// Bytes of code that the first round skips.
    entry: usize,
    /// The last activation.
    x_last: *const i8,
}

/// Sums of eight channels for one pixel: `sums` and the products of `x` with the weights of two blocks, which are as long.
#[inline(always)]
pub(in crate::kernels) fn eight(
    weights: [&[[i8; 4]]; 2],
    x: &[i8],
    sums: &mut [[i32; 4]; 2],
) -> Option<()> {
    let [w0, w1] = weights;
    if x.is_empty() || w0.len() != x.len() || w1.len() != x.len() {
        return None;
    }
    let skipped = x.len().wrapping_neg() & 7;
    let before = |p: *const [i8; 4]| p.cast::<i8>().wrapping_sub(1 + 4 * skipped);
    let job = Job {
        x: x.as_ptr().wrapping_sub(1 + skipped),
        w0: before(w0.as_ptr()),
        w1: before(w1.as_ptr()),
        entry: skipped * TAP,
        x_last: x.as_ptr().wrapping_add(x.len() - 1),
    };
    // SAFETY: with the first round entered behind `skipped` taps, exactly `x.len() ≥ 1` taps are read from `x` and from both
    // blocks, which have as many; single bytes need no alignment.
    unsafe { products(&job, sums) };
    Some(())
}

/// Bytes of code for a tap.
const TAP: usize = 17 * 4;

macro_rules! tap {
    ($x:literal, $w0:literal, $w1:literal, $w2:literal, $w3:literal, $step:literal) => {
        concat!(
            "ldrsb.w r3, [r0, #",
            $x,
            "]",
            $step,
            "\n",
            "ldrsb.w r12, [r1, #",
            $w0,
            "]\n",
            "mla r4, r12, r3, r4\n",
            "ldrsb.w r12, [r1, #",
            $w1,
            "]\n",
            "mla r5, r12, r3, r5\n",
            "ldrsb.w r12, [r1, #",
            $w2,
            "]\n",
            "mla r6, r12, r3, r6\n",
            "ldrsb.w r12, [r1, #",
            $w3,
            "]",
            $step,
            "\n",
            "mla r7, r12, r3, r7\n",
            "ldrsb.w r12, [r2, #",
            $w0,
            "]\n",
            "mla r8, r12, r3, r8\n",
            "ldrsb.w r12, [r2, #",
            $w1,
            "]\n",
            "mla r9, r12, r3, r9\n",
            "ldrsb.w r12, [r2, #",
            $w2,
            "]\n",
            "mla r10, r12, r3, r10\n",
            "ldrsb.w r12, [r2, #",
            $w3,
            "]",
            $step,
            "\n",
            "mla r11, r12, r3, r11\n",
        )
    };
}

/// Body, 8 multiplications: nine loads and eight `MLA`: 17 instructions, 2.125 a multiplication, and 2/64 for the loop every 8
/// taps. Eight channels cost 20 instructions more, before they are requantised.
///
/// r0 activations' address; r1, r2 weights'; r3, r12 operands; r4–r11 sums; lr last activation.
#[unsafe(naked)]
unsafe extern "C" fn products(job: &Job, sums: &mut [[i32; 4]; 2]) {
    naked_asm!(
        "push {{r1, r4-r11, lr}}",
        "ldmia r1, {{r4-r11}}",
        "ldr lr, [r0, #16]",
        "ldmia r0, {{r0-r3}}",
        "adr.w r12, 3f",
        "add r12, r3",
        "orr r12, r12, #1",
        "bx r12",
        ".p2align 2",
        "3:",
        tap!("1", "1", "2", "3", "4", ""),
        tap!("2", "5", "6", "7", "8", ""),
        tap!("3", "9", "10", "11", "12", ""),
        tap!("4", "13", "14", "15", "16", ""),
        tap!("5", "17", "18", "19", "20", ""),
        tap!("6", "21", "22", "23", "24", ""),
        tap!("7", "25", "26", "27", "28", ""),
        tap!("8", "29", "30", "31", "32", "!"),
        "cmp r0, lr",
        "bne.w 3b",
        "pop {{r0}}",
        "stmia r0, {{r4-r11}}",
        "pop {{r4-r11, pc}}",
    )
}
