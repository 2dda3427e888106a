//! Two pixels by four channels of quad weights: the inner loop of convolutions.

use crate::kernels::quad::{Layer, Pair};
use crate::requantize::Output;
use crate::requantize::fixed::Block;
use core::arch::naked_asm;

/// What [`tile`] works on, in the order in which it puts it on its stack.
#[repr(C)]
struct Job {
    /// Room for a block's `half`, which goes before the zero point.
    half: u32,
    zero_point: i32,
    /// One byte before each pixel's first activation, less those that a line's first round skips.
    x: [*const i8; 2],
    /// Bytes of code that a line's first round skips; the entry's address on the stack.
    entry: usize,
    /// The last activation of the first pixel's first line.
    line_last: *const i8,
    /// From the last activation of a line to the next line's `x`.
    jump: usize,
    lines: usize,
    bias: *const i32,
    scales: *const Block,
    y: [*mut i8; 2],
    blocks: usize,
    /// Bytes of weights that a line's first round skips.
    skipped: usize,
    /// Bytes from biases to multipliers.
    multipliers: usize,
    output: *const Output,
    /// Bytes of activations of a line, with those skipped.
    rounded: usize,
    weights: *const i8,
}

/// Results of two pixels for `y0.len()` channels, those of whole blocks from block `first` on. They saturate to int8, and may
/// or may not be within the output's bounds.
#[inline(always)]
pub(in crate::kernels) fn pair(
    layer: &Layer<'_>,
    pair: &Pair<'_>,
    first: usize,
    y0: &mut [i8],
    y1: &mut [i8],
) -> Option<()> {
    let (quad, shape) = (layer.quad, pair.shape);
    let taps = shape.lines.checked_mul(shape.run)?;
    let blocks = y0.len() / 4;
    let reach = shape
        .lines
        .checked_sub(1)?
        .checked_mul(shape.pitch)?
        .checked_add(shape.run)?;
    let last = pair.x.len().checked_sub(reach)?;
    let weights = quad
        .weights
        .as_chunks::<4>()
        .0
        .get(first.checked_mul(taps)?..)?;
    let bias = quad.bias.as_chunks::<4>().0.get(first..)?;
    let multipliers = quad.multipliers.as_chunks::<4>().0.get(first..)?;
    let scales = layer.scales.get(first..)?;
    let enough = weights.len() >= blocks.checked_mul(taps)?
        && bias.len() >= blocks
        && multipliers.len() >= blocks
        && scales.len() >= blocks;
    let [a, b] = pair.at;
    if !enough
        || taps == 0
        || blocks == 0
        || y0.len() % 4 != 0
        || y1.len() != y0.len()
        || a > last
        || b > last
    {
        return None;
    }
    let skipped = shape.run.wrapping_neg() & 7;
    let start = |at: usize| pair.x.as_ptr().wrapping_add(at);
    let job = Job {
        half: 0,
        zero_point: layer.output.zero_point(),
        x: [a, b].map(|at| start(at).wrapping_sub(1 + skipped)),
        entry: skipped * TAP,
        line_last: start(a).wrapping_add(shape.run - 1),
        jump: shape.pitch.wrapping_sub(shape.run + skipped),
        lines: shape.lines,
        bias: bias.as_ptr().cast(),
        scales: scales.as_ptr(),
        y: [y0.as_mut_ptr(), y1.as_mut_ptr()],
        blocks,
        skipped: 4 * skipped,
        multipliers: multipliers
            .as_ptr()
            .addr()
            .wrapping_sub(bias.as_ptr().addr()),
        output: layer.output,
        rounded: shape.run + skipped,
        weights: weights.as_ptr().cast::<i8>().wrapping_sub(1),
    };
    // SAFETY: both pixels' lines lie in `x`, since they begin at `last` at most and reach `reach` bytes, and each is read from
    // its first to its last byte, since its first round enters behind `skipped` taps. There are weights for `blocks ≥ 1` times
    // `taps ≥ 1` taps, and biases, multipliers, scales and results for as many blocks. Words are aligned by their types.
    unsafe { tile(&job) };
    Some(())
}

/// Bytes of code for a tap.
const TAP: usize = 14 * 4;

macro_rules! tap {
    ($x:literal, $w0:literal, $w1:literal, $w2:literal, $w3:literal, $step:literal) => {
        concat!(
            "ldrsb.w r3, [r0, #",
            $x,
            "]",
            $step,
            "\n",
            "ldrsb.w r12, [r1, #",
            $x,
            "]",
            $step,
            "\n",
            "ldrsb.w lr, [r2, #",
            $w0,
            "]\n",
            "mla r4, lr, r3, r4\n",
            "mla r5, lr, r12, r5\n",
            "ldrsb.w lr, [r2, #",
            $w1,
            "]\n",
            "mla r6, lr, r3, r6\n",
            "mla r7, lr, r12, r7\n",
            "ldrsb.w lr, [r2, #",
            $w2,
            "]\n",
            "mla r8, lr, r3, r8\n",
            "mla r9, lr, r12, r9\n",
            "ldrsb.w lr, [r2, #",
            $w3,
            "]",
            $step,
            "\n",
            "mla r10, lr, r3, r10\n",
            "mla r11, lr, r12, r11\n",
        )
    };
}

/// Requantises a channel's sums of both pixels.
macro_rules! round {
    ($sum0:literal, $sum1:literal, $slow0:literal, $slow1:literal, $back0:literal, $back1:literal) => {
        concat!(
            "ldr r3, [lr], #4\n",
            "ldrd r0, r1, [sp]\n",
            "smlal r0, r1, ",
            $sum0,
            ", r3\n",
            "cmp r0, r12\n",
            "bls.w ",
            $slow0,
            "f\n",
            $back0,
            ":\n",
            "ssat ",
            $sum0,
            ", #8, r1\n",
            "ldrd r0, r1, [sp]\n",
            "smlal r0, r1, ",
            $sum1,
            ", r3\n",
            "cmp r0, r12\n",
            "bls.w ",
            $slow1,
            "f\n",
            $back1,
            ":\n",
            "ssat ",
            $sum1,
            ", #8, r1\n",
        )
    };
}

/// Calls [`exact`] for `sum`, of the channel whose multiplier is `at` bytes from the next block's.
macro_rules! slow {
    ($slow:literal, $sum:literal, $at:literal, $back:literal) => {
        concat!(
            $slow,
            ":\n",
            "push {{r2, r3, r12, lr}}\n",
            "mov r0, ",
            $sum,
            "\n",
            "ldr r1, [sp, #48]\n",
            "ldr r2, [sp, #72]\n",
            "add r1, r2\n",
            "ldr r1, [r1, #-",
            $at,
            "]\n",
            "ldr r2, [sp, #76]\n",
            "bl {exact}\n",
            "mov r1, r0\n",
            "pop {{r2, r3, r12, lr}}\n",
            "b ",
            $back,
            "b\n",
        )
    };
}

/// The loop. For each block of four channels: sums from the biases, the products of all lines, requantisation.
///
/// Body, 8 multiplications: six loads and eight `MLA`: 14 instructions, 1.75 a multiplication, and 3/64 for the loop every 8 taps.
/// A block costs 80 instructions more, ten a result, and 13 for each line but the first.
///
/// r0, r1 activations' addresses; r3, r12 activations; r2 weights' address; lr a weight; r4–r11 sums, those of a channel side by side.
#[unsafe(naked)]
unsafe extern "C" fn tile(job: &Job) {
    naked_asm!(
        "push {{r4-r11, lr}}",
        "sub sp, #76",
        "mov r10, sp",
        "ldmia r0!, {{r1-r9}}",
        "adr.w r11, 3f",
        "add r5, r11",
        "orr r5, r5, #1",
        "stmia r10!, {{r1-r9}}",
        "ldmia r0!, {{r1-r9}}",
        "stmia r10!, {{r1-r8}}",
        "mov r2, r9",
        // A block.
        "2:",
        "ldr r3, [sp, #32]",
        "ldr r0, [sp, #28]",
        "ldr r1, [sp, #20]",
        "ldr lr, [sp, #52]",
        "ldmia r3!, {{r4, r6, r8, r10}}",
        "str r0, [sp, #68]",
        "str r1, [sp, #72]",
        "str r3, [sp, #32]",
        "ldrd r0, r1, [sp, #8]",
        "sub r2, lr",
        "mov r5, r4",
        "mov r7, r6",
        "mov r9, r8",
        "mov r11, r10",
        "ldr pc, [sp, #16]",
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
        "ldr r3, [sp, #72]",
        "cmp r0, r3",
        "bne.w 3b",
        // The next line.
        "ldr r3, [sp, #68]",
        "subs r3, #1",
        "beq 4f",
        "str r3, [sp, #68]",
        "ldr r3, [sp, #24]",
        "ldr r12, [sp, #52]",
        "ldr lr, [sp, #64]",
        "add r0, r3",
        "add r1, r3",
        "sub r2, r12",
        "add lr, r0",
        "str lr, [sp, #72]",
        "ldr pc, [sp, #16]",
        // Requantisation.
        "4:",
        "ldr lr, [sp, #36]",
        "ldmia.w lr!, {{r0, r12}}",
        "str r0, [sp]",
        round!("r4", "r5", "20", "21", "30", "31"),
        round!("r6", "r7", "22", "23", "32", "33"),
        round!("r8", "r9", "24", "25", "34", "35"),
        round!("r10", "r11", "26", "27", "36", "37"),
        "ldrd r0, r1, [sp, #40]",
        "ldr r3, [sp, #48]",
        "str lr, [sp, #36]",
        "strb r4, [r0], #1",
        "strb r6, [r0], #1",
        "strb r8, [r0], #1",
        "strb r10, [r0], #1",
        "strb r5, [r1], #1",
        "strb r7, [r1], #1",
        "strb r9, [r1], #1",
        "strb r11, [r1], #1",
        "strd r0, r1, [sp, #40]",
        "subs r3, #1",
        "str r3, [sp, #48]",
        "bne.w 2b",
        "add sp, #76",
        "pop {{r4-r11, pc}}",
        slow!("20", "r4", "16", "30"),
        slow!("21", "r5", "16", "31"),
        slow!("22", "r6", "12", "32"),
        slow!("23", "r7", "12", "33"),
        slow!("24", "r8", "8", "34"),
        slow!("25", "r9", "8", "35"),
        slow!("26", "r10", "4", "36"),
        slow!("27", "r11", "4", "37"),
        exact = sym super::exact,
    )
}
