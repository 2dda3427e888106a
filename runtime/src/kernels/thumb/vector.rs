//! One vector by eight channels of quad weights: the inner loop of fully connected layers.

use crate::kernels::quad::{Layer, Scales};
use crate::requantize::Output;
use crate::requantize::fixed::Block;
use core::arch::naked_asm;

/// What [`eights`] works on, in the order in which it puts it on its stack.
#[repr(C)]
struct Job {
    /// Room for a block's `half`, which goes before the zero point.
    half: u32,
    zero_point: i32,
    /// One byte before the first activation, less those that the first round skips.
    x: *const i8,
    /// Bytes of code that the first round skips; the entry's address on the stack.
    entry: usize,
    /// The last activation.
    x_last: *const i8,
    bias: *const i32,
    scales: *const Block,
    /// Bytes from two blocks' scales to the next two's.
    scales_step: usize,
    y: *mut i8,
    /// Eights that are left.
    eights: usize,
    /// Bytes of weights that the first round skips.
    skipped: usize,
    /// Bytes from one block's weights to its partner's.
    block: usize,
    /// Bytes from biases to multipliers.
    multipliers: usize,
    output: *const Output,
    /// One byte before the first weight.
    weights: *const i8,
}

/// Results of one vector for as many channels as `y` holds, as [`super::pairs`] makes them.
#[inline(always)]
pub(in crate::kernels) fn vector(layer: &Layer<'_>, x: &[i8], y: &mut [i8]) -> Option<()> {
    let whole = y.len() & !7;
    let (main, tail) = y.split_at_mut_checked(whole)?;
    if !main.is_empty() {
        run(layer, x, 0, [main.len() / 4, 2], main)?;
    }
    if !tail.is_empty() {
        // A last block without a partner is its own.
        let mut last = [0; 8];
        let blocks = if tail.len() > 4 { [2, 2] } else { [1, 1] };
        run(layer, x, whole / 4, blocks, &mut last)?;
        for (y, last) in tail.iter_mut().zip(last) {
            *y = last;
        }
    }
    Some(())
}

/// Results for all eights of `y`, from block `first` of `blocks` on; two blocks make an eight, or one, twice.
#[inline(always)]
fn run(
    layer: &Layer<'_>,
    x: &[i8],
    first: usize,
    [blocks, of_eight]: [usize; 2],
    y: &mut [i8],
) -> Option<()> {
    let (quad, taps) = (layer.quad, x.len());
    let weights = quad
        .weights
        .as_chunks::<4>()
        .0
        .get(first.checked_mul(taps)?..)?;
    let bias = quad.bias.as_chunks::<4>().0.get(first..)?;
    let multipliers = quad.multipliers.as_chunks::<4>().0.get(first..)?;
    let own;
    let (scales, scales_step) = match (of_eight, layer.scales) {
        (_, Scales::Shared(scales)) => (&scales[..], 0),
        (1, Scales::Each(scales)) => {
            own = [*scales.get(first)?; 2];
            (&own[..], 0)
        }
        (_, Scales::Each(scales)) => (scales.get(first..)?, 2 * size_of::<Block>()),
    };
    let enough = weights.len() >= blocks.checked_mul(taps)?
        && bias.len() >= blocks
        && multipliers.len() >= blocks
        && scales.len() >= if scales_step == 0 { 2 } else { blocks };
    let eights = y.len() / 8;
    if !enough || taps == 0 || eights == 0 || eights.checked_mul(of_eight)? != blocks {
        return None;
    }
    // The biases behind the last block's are those of no channel, but must be there to be read.
    let twice;
    let bias = match (of_eight, bias) {
        (1, [bias, ..]) => {
            twice = [*bias; 2];
            &twice[..]
        }
        _ => bias,
    };
    let multipliers_twice;
    let multipliers = match (of_eight, multipliers) {
        (1, [multipliers, ..]) => {
            multipliers_twice = [*multipliers; 2];
            &multipliers_twice[..]
        }
        _ => multipliers,
    };
    let skipped = taps.wrapping_neg() & 7;
    let job = Job {
        half: 0,
        zero_point: layer.output.zero_point(),
        x: x.as_ptr().wrapping_sub(1 + skipped),
        entry: skipped * TAP,
        x_last: x.as_ptr().wrapping_add(taps - 1),
        bias: bias.as_ptr().cast(),
        scales: scales.as_ptr(),
        scales_step,
        y: y.as_mut_ptr(),
        eights,
        skipped: 4 * skipped,
        block: if of_eight == 1 { 0 } else { 4 * taps },
        multipliers: multipliers
            .as_ptr()
            .addr()
            .wrapping_sub(bias.as_ptr().addr()),
        output: layer.output,
        weights: weights.as_ptr().cast::<i8>().wrapping_sub(1),
    };
    // SAFETY: with the first round entered behind `skipped` taps, exactly `taps ≥ 1` taps are read from `x` and from each of
    // `blocks ≥ 1` blocks, which have as many. There are biases, multipliers and results for `eights ≥ 1` times eight
    // channels, and as many scales as `scales_step` wants. Words are aligned by their types.
    unsafe { products(&job) };
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
/// taps. Eight channels cost 88 instructions more, 11 a result.
///
/// r0 activations' address; r1, r2 weights'; r3, r12 operands; r4–r11 sums; lr last activation.
#[unsafe(naked)]
unsafe extern "C" fn products(job: &Job) {
    naked_asm!(
        "push {{r4-r11, lr}}",
        "sub sp, #60",
        "mov r10, sp",
        "ldmia r0!, {{r1-r8}}",
        "adr.w r11, 3f",
        "add r4, r11",
        "orr r4, r4, #1",
        "stmia r10!, {{r1-r8}}",
        "ldmia r0!, {{r1-r7}}",
        "stmia r10!, {{r1-r7}}",
        "mov r2, r7",
        "2:",
        "ldr r0, [sp, #20]",
        "ldrd r3, r12, [sp, #40]",
        "ldr lr, [sp, #16]",
        "ldmia r0!, {{r4-r11}}",
        "sub r1, r2, r3",
        "str r0, [sp, #20]",
        "add r2, r1, r12",
        "ldr r0, [sp, #8]",
        "ldr pc, [sp, #12]",
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
        "ldrd lr, r3, [sp, #24]",
        "add r3, lr",
        "str r3, [sp, #24]",
        "ldmia.w lr!, {{r0, r12}}",
        "str r0, [sp]",
        "ldr r3, [lr], #4",
        requantize!("r4", "20", "30"),
        "ldr r3, [lr], #4",
        requantize!("r5", "21", "31"),
        "ldr r3, [lr], #4",
        requantize!("r6", "22", "32"),
        "ldr r3, [lr], #4",
        requantize!("r7", "23", "33"),
        "ldmia.w lr!, {{r0, r12}}",
        "str r0, [sp]",
        "ldr r3, [lr], #4",
        requantize!("r8", "24", "34"),
        "ldr r3, [lr], #4",
        requantize!("r9", "25", "35"),
        "ldr r3, [lr], #4",
        requantize!("r10", "26", "36"),
        "ldr r3, [lr], #4",
        requantize!("r11", "27", "37"),
        "ldrd r0, r1, [sp, #32]",
        "subs r1, #1",
        "strb r5, [r0, #1]",
        "strb r6, [r0, #2]",
        "strb r7, [r0, #3]",
        "strb r8, [r0, #4]",
        "strb r9, [r0, #5]",
        "strb r10, [r0, #6]",
        "strb r11, [r0, #7]",
        "strb r4, [r0], #8",
        "strd r0, r1, [sp, #32]",
        "bne.w 2b",
        "add sp, #60",
        "pop {{r4-r11, pc}}",
        slow!("20", "r4", "30", "32", ["20", "48", "52"]),
        slow!("21", "r5", "31", "28", ["20", "48", "52"]),
        slow!("22", "r6", "32", "24", ["20", "48", "52"]),
        slow!("23", "r7", "33", "20", ["20", "48", "52"]),
        slow!("24", "r8", "34", "16", ["20", "48", "52"]),
        slow!("25", "r9", "35", "12", ["20", "48", "52"]),
        slow!("26", "r10", "36", "8", ["20", "48", "52"]),
        slow!("27", "r11", "37", "4", ["20", "48", "52"]),
        exact = sym super::exact,
    )
}
