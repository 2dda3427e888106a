//! Two pixels by four channels of quad weights: the inner loop of convolutions.

use crate::kernels::quad::{Layer, Pairs, Scales};
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
    /// The next block's.
    bias: *const i32,
    /// The next block's.
    scales: *const Block,
    /// The next block's.
    y: *mut i8,
    /// From the first pixel's results to the second one's.
    gap: usize,
    /// Channels that are left.
    left: usize,
    /// Bytes of weights that a line's first round skips.
    skipped: usize,
    /// Bytes from biases to multipliers.
    multipliers: usize,
    output: *const Output,
    /// Bytes of activations of a line, with those skipped.
    rounded: usize,
    /// Room for the lines that are left, and the last activation of this one.
    line: [usize; 2],
    /// One byte before the first weight.
    weights: *const i8,
    all_bias: *const i32,
    all_scales: *const Block,
    channels: usize,
    /// Pairs that are left.
    pairs: usize,
    /// From one pair's activations to the next one's.
    step: usize,
    /// From the end of a pair's first results to the next one's.
    advance: usize,
}

/// Results of pairs of pixels, that saturate to int8 but may or may not be within the output's bounds.
#[inline(always)]
pub(in crate::kernels) fn pairs(layer: &Layer<'_>, pairs: &Pairs<'_>, y: &mut [i8]) -> Option<()> {
    let (quad, shape) = (layer.quad, pairs.shape);
    let Scales::Each(scales) = layer.scales else {
        return None;
    };
    let taps = shape.lines.checked_mul(shape.run)?;
    let blocks = pairs.channels.div_ceil(4);
    let advance = pairs.advance()?;
    let end = pairs
        .count
        .checked_sub(1)?
        .checked_mul(pairs.step)?
        .checked_add(shape.lines.checked_sub(1)?.checked_mul(shape.pitch)?)?
        .checked_add(shape.run)?;
    let last = pairs.x.len().checked_sub(end)?;
    let (weights, bias) = (
        quad.weights.as_chunks::<4>().0,
        quad.bias.as_chunks::<4>().0,
    );
    let multipliers = quad.multipliers.as_chunks::<4>().0;
    let enough = weights.len() >= blocks.checked_mul(taps)?
        && bias.len() >= blocks
        && multipliers.len() >= blocks
        && scales.len() >= blocks
        && y.len() >= pairs.reach()?;
    let [a, b] = pairs.at;
    if !enough || taps == 0 || blocks == 0 || a > last || b > last {
        return None;
    }
    let skipped = shape.run.wrapping_neg() & 7;
    let start = |at: usize| pairs.x.as_ptr().wrapping_add(at);
    let bias = bias.as_ptr().cast::<i32>();
    let job = Job {
        half: 0,
        zero_point: layer.output.zero_point(),
        x: [a, b].map(|at| start(at).wrapping_sub(1 + skipped)),
        entry: skipped * TAP,
        line_last: start(a).wrapping_add(shape.run - 1),
        jump: shape.pitch.wrapping_sub(shape.run + skipped),
        lines: shape.lines,
        bias,
        scales: scales.as_ptr(),
        y: y.as_mut_ptr(),
        gap: pairs.gap,
        left: pairs.channels,
        skipped: 4 * skipped,
        multipliers: multipliers.as_ptr().addr().wrapping_sub(bias.addr()),
        output: layer.output,
        rounded: shape.run + skipped,
        line: [0; 2],
        weights: weights.as_ptr().cast::<i8>().wrapping_sub(1),
        all_bias: bias,
        all_scales: scales.as_ptr(),
        channels: pairs.channels,
        pairs: pairs.count,
        step: pairs.step,
        advance: advance.wrapping_sub(pairs.channels),
    };
    // SAFETY: the lines of both pixels of all pairs lie in `x`, since those of the first pair begin at `last` at most and the last
    // pair's reach `end` bytes further; each line is read from its first to its last byte, since its first round enters
    // behind `skipped` taps. There are weights for `blocks ≥ 1` times `taps ≥ 1` taps, and biases, multipliers and scales for as
    // many blocks. All results lie in `y`. Words are aligned by their types.
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

/// The loop. For each pair and block of four channels: sums from the biases, the products of all lines, requantisation.
///
/// Body, 8 multiplications: six loads and eight `MLA`: 14 instructions, 1.75 a multiplication, and 3/64 for the loop every 8 taps.
/// A block costs 84 instructions more, 10.5 a result, and 13 for each line but the first; a pair 19.
///
/// r0, r1 activations' addresses; r3, r12 activations; r2 weights' address; lr a weight; r4–r11 sums, those of a channel side by side.
#[unsafe(naked)]
unsafe extern "C" fn tile(job: &Job) {
    naked_asm!(
        "push {{r4-r11, lr}}",
        "sub sp, #108",
        "mov r10, sp",
        "ldmia r0!, {{r1-r9}}",
        "adr.w r11, 3f",
        "add r5, r11",
        "orr r5, r5, #1",
        "stmia r10!, {{r1-r9}}",
        "ldmia r0!, {{r1-r9}}",
        "stmia r10!, {{r1-r9}}",
        "ldmia r0!, {{r1-r8}}",
        "stmia r10!, {{r1-r8}}",
        "ldr r2, [sp, #76]",
        // A block.
        "2:",
        "ldr r3, [sp, #32]",
        "ldr r0, [sp, #28]",
        "ldr r1, [sp, #20]",
        "ldr lr, [sp, #52]",
        "ldmia r3!, {{r4, r6, r8, r10}}",
        "strd r0, r1, [sp, #68]",
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
        "ldr r3, [lr], #4",
        requantize!("r4", "20", "30"),
        requantize!("r5", "21", "31"),
        "ldr r3, [lr], #4",
        requantize!("r6", "22", "32"),
        requantize!("r7", "23", "33"),
        "ldr r3, [lr], #4",
        requantize!("r8", "24", "34"),
        requantize!("r9", "25", "35"),
        "ldr r3, [lr], #4",
        requantize!("r10", "26", "36"),
        requantize!("r11", "27", "37"),
        "ldrd r0, r1, [sp, #40]",
        "ldr r3, [sp, #48]",
        "str lr, [sp, #36]",
        "subs r3, #4",
        "blt 6f",
        "strb r5, [r0, r1]",
        "strb r4, [r0], #1",
        "strb r7, [r0, r1]",
        "strb r6, [r0], #1",
        "strb r9, [r0, r1]",
        "strb r8, [r0], #1",
        "strb r11, [r0, r1]",
        "strb r10, [r0], #1",
        "str r3, [sp, #48]",
        "str r0, [sp, #40]",
        "bne.w 2b",
        // The next pair.
        "5:",
        "ldr r3, [sp, #92]",
        "subs r3, #1",
        "beq 8f",
        "str r3, [sp, #92]",
        "ldrd r6, r3, [sp, #96]",
        "ldrd r4, r5, [sp, #8]",
        "ldr r1, [sp, #20]",
        "add r0, r3",
        "add r4, r6",
        "add r5, r6",
        "add r1, r6",
        "str r0, [sp, #40]",
        "strd r4, r5, [sp, #8]",
        "str r1, [sp, #20]",
        "add r3, sp, #76",
        "ldmia r3, {{r2, r4, r5, r6}}",
        "strd r4, r5, [sp, #32]",
        "str r6, [sp, #48]",
        "b.w 2b",
        // The last one to three channels.
        "6:",
        "strb r5, [r0, r1]",
        "strb r4, [r0], #1",
        "cmn r3, #2",
        "blt 7f",
        "strb r7, [r0, r1]",
        "strb r6, [r0], #1",
        "beq 7f",
        "strb r9, [r0, r1]",
        "strb r8, [r0], #1",
        "7:",
        "b 5b",
        "8:",
        "add sp, #108",
        "pop {{r4-r11, pc}}",
        slow!("20", "r4", "30", "16", ["32", "56", "60"]),
        slow!("21", "r5", "31", "16", ["32", "56", "60"]),
        slow!("22", "r6", "32", "12", ["32", "56", "60"]),
        slow!("23", "r7", "33", "12", ["32", "56", "60"]),
        slow!("24", "r8", "34", "8", ["32", "56", "60"]),
        slow!("25", "r9", "35", "8", ["32", "56", "60"]),
        slow!("26", "r10", "36", "4", ["32", "56", "60"]),
        slow!("27", "r11", "37", "4", ["32", "56", "60"]),
        exact = sym super::exact,
    )
}
