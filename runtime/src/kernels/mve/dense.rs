//! Fully connected layers: eight channels at a time.
//!
//! For sixteen inputs a tile of two blocks takes one input vector, eight weight vectors and eight `VMLAVA`: 17 instructions for
//! 128 products, 0.133 each.

use super::lanes::clamp;
use super::memory::copy;
use crate::format;
use crate::kernels::helium::{self, CHANNELS, Helium, TAPS};
use crate::kernels::parts::{parts, parts_mut};
use core::num::NonZeroUsize;

/// Groups of taps in the loop's body.
const UNROLLED: usize = 8;
/// Bytes of the code for one group there: 17 instructions of 4.
const GROUP_CODE: usize = 68;

/// What the assembly function takes, in the order of the registers r1 to r8 that it loads it into.
#[repr(C)]
struct Pairs {
    first: *const u8,
    /// Pairs of blocks.
    pairs: usize,
    second: *const u8,
    /// Turns of the loop, and the bytes of code to skip in the first one.
    turns: usize,
    x: *const i8,
    skip: usize,
    y: *mut i8,
    /// From the first block's results to the second's: −4, or 0 when they are the same block.
    y_step: isize,
    /// Bytes of a row of inputs, filled up.
    row: usize,
    zero_point: i32,
}

/// Fully connected layer with Helium weights over rows of `inputs` elements. `scratch` has the bytes that
/// [`crate::kernels::scratch::dense`] says.
#[inline(never)]
pub fn dense_helium(
    [inputs, outputs]: [usize; 2],
    weights: &Helium<'_>,
    int8: &format::Int8,
    x: &[i8],
    y: &mut [i8],
    scratch: &mut [i8],
) -> Option<()> {
    let row = inputs.checked_next_multiple_of(TAPS)?;
    let groups = NonZeroUsize::new(row / TAPS)?.get();
    let blocks = outputs.div_ceil(CHANNELS);
    let len = helium::block_len(inputs)?;
    if weights.blocks.len() != len.checked_mul(blocks)? || blocks == 0 {
        return None;
    }
    let layer = Layer {
        blocks: weights.blocks,
        block_count: blocks,
        block_len: len,
        groups,
        zero_point: int8.output_zero_point.get(),
    };
    let whole = outputs == blocks * CHANNELS;
    let (filled_x, filled_y) = scratch.split_at_mut_checked(if row == inputs { 0 } else { row })?;
    let rows = parts(x, NonZeroUsize::new(inputs)?);
    for (mut x, y) in rows.zip(parts_mut(y, NonZeroUsize::new(outputs)?)) {
        if row != inputs {
            copy(x, filled_x)?;
            x = filled_x;
        }
        if whole {
            layer.row(x, y)?;
        } else {
            layer.row(x, filled_y)?;
            copy(filled_y.get(..outputs)?, y)?;
        }
        clamp(int8, y);
    }
    Some(())
}

/// A layer's weights, which are whole, and how its results are stored.
struct Layer<'a> {
    blocks: &'a [u8],
    block_count: usize,
    block_len: usize,
    groups: usize,
    zero_point: i32,
}

impl Layer<'_> {
    /// Computes one row; `x` and `y` are filled up.
    fn row(&self, x: &[i8], y: &mut [i8]) -> Option<()> {
        let row = self.groups * TAPS;
        if x.len() < row || y.len() < self.block_count * CHANNELS {
            return None;
        }
        let turns = self.groups.div_ceil(UNROLLED);
        let first = self.blocks.as_ptr();
        let (top, bottom) = (self.block_count - 1, y.as_mut_ptr());
        let mut pairs = Pairs {
            first,
            pairs: self.block_count / 2,
            second: first.wrapping_add(self.block_len),
            turns,
            x: x.as_ptr(),
            skip: (turns * UNROLLED - self.groups) * GROUP_CODE,
            y: bottom.wrapping_add(top * CHANNELS),
            y_step: -(CHANNELS as isize),
            row,
            zero_point: self.zero_point,
        };
        if pairs.pairs > 0 {
            // SAFETY: there are `block_count` blocks of `groups` groups, at least one; `x` is a row of inputs and `y` has
            // four results a block, as compared above. The pairs are at most all blocks, from the last results down.
            unsafe { block_pairs(&pairs) };
        }
        if self.block_count % 2 == 1 {
            pairs.first = first.wrapping_add(top * self.block_len);
            pairs.second = pairs.first;
            pairs.pairs = 1;
            pairs.y = bottom;
            pairs.y_step = 0;
            // SAFETY: as above; this pair is the last block, twice, whose results come first.
            unsafe { block_pairs(&pairs) };
        }
        Some(())
    }
}

/// A group: 17 instructions for 128 products.
macro_rules! group {
    () => {
        concat!(
            "vldrb.u8 q0, [r5], #16\n",
            "vldrb.u8 q1, [r1], #16\n",
            "vmlava.s8 r0, q1, q0\n",
            "vldrb.u8 q2, [r3], #16\n",
            "vmlava.s8 r8, q2, q0\n",
            "vldrb.u8 q1, [r1], #16\n",
            "vmlava.s8 r2, q1, q0\n",
            "vldrb.u8 q2, [r3], #16\n",
            "vmlava.s8 r10, q2, q0\n",
            "vldrb.u8 q1, [r1], #16\n",
            "vmlava.s8 r4, q1, q0\n",
            "vldrb.u8 q2, [r3], #16\n",
            "vmlava.s8 r12, q2, q0\n",
            "vldrb.u8 q1, [r1], #16\n",
            "vmlava.s8 r6, q1, q0\n",
            "vldrb.u8 q2, [r3], #16\n",
            "vmlava.s8 lr, q2, q0\n",
        )
    };
}

/// Pairs of blocks over one row of inputs. The loop's body is eight groups, and the first turn begins within it.
///
/// Budget: 17 instructions a group, 2 for eight groups, 34 for 8 results.
#[unsafe(naked)]
unsafe extern "C" fn block_pairs(pairs: &Pairs) {
    helium_asm!(concat!(
        "push {{r4-r11, lr}}\n",
        "vpush {{d8-d15}}\n",
        "ldr r9, [r0, #36]\n",
        "vdup.16 q7, r9\n",
        "ldr r9, [r0, #32]\n",
        "ldm r0, {{r1-r8}}\n",
        "adr r10, 4f\n",
        "add r6, r10\n",
        "orr r6, #1\n",
        // Pairs left, turns, where to begin, step of the results, bytes of a row.
        "push {{r2, r4, r6, r8, r9}}\n",
        "2:\n",
        "ldm r1!, {{r0, r2, r4, r6}}\n",
        "ldm r3!, {{r8, r10, r12, lr}}\n",
        "ldr r11, [sp, #4]\n",
        "ldr pc, [sp, #8]\n",
        ".p2align 2\n",
        "4:\n",
        group!(),
        group!(),
        group!(),
        group!(),
        group!(),
        group!(),
        group!(),
        group!(),
        "subs r11, #1\n",
        "bne 4b\n",
        "push {{r0, r2, r4, r6, r8, r10, r12, lr}}\n",
        "vpop {{d8-d11}}\n",
        "vldrw.u32 q2, [r1], #16\n",
        "vldrw.u32 q3, [r3], #16\n",
        "vcvt.f32.s32 q4, q4\n",
        "vcvt.f32.s32 q5, q5\n",
        "vmul.f32 q4, q4, q2\n",
        "vmul.f32 q5, q5, q3\n",
        "vcvtn.s32.f32 q4, q4\n",
        "vcvtn.s32.f32 q5, q5\n",
        "ldrd r6, r8, [sp, #12]\n",
        "ldr r2, [sp]\n",
        "vqmovnb.s32 q4, q4\n",
        "vqmovnt.s32 q4, q5\n",
        "vqadd.s16 q4, q4, q7\n",
        "vqmovnb.s16 q4, q4\n",
        "sub r0, r3, r1\n",
        "mov r1, r3\n",
        "add r3, r0\n",
        "vstrb.32 q4, [r7]\n",
        "add r7, r6\n",
        "vshr.u32 q4, q4, #16\n",
        "sub r5, r8\n",
        "subs r2, #1\n",
        "vstrb.32 q4, [r7]\n",
        "add r7, r6\n",
        "str r2, [sp]\n",
        "bne 2b\n",
        "add sp, #20\n",
        "vpop {{d8-d15}}\n",
        "pop {{r4-r11, pc}}\n",
    ))
}

const _: () = assert!(GROUP_CODE == 17 * 4 && UNROLLED == 8);
