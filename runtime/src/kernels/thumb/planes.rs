//! Depthwise convolution by planes: taking channels apart, and 3×3 kernels.

use crate::kernels::Int8;
use crate::kernels::planes::{Band, LANES, Lanes, Patch, portable_convolve, portable_take_apart};
use crate::requantize::Output;
use crate::requantize::fixed::Block;
use core::arch::naked_asm;

/// The loops for Armv7-M.
#[derive(Debug)]
pub struct Thumb;

impl Lanes for Thumb {
    fn take_apart(x: &[i8], patch: &Patch, planes: &mut [i16]) -> Option<()> {
        if patch.lanes != LANES {
            return portable_take_apart(x, patch, planes);
        }
        let [rows, count] = patch.size;
        let [down, right] = patch.step;
        let (last_row, last) = (rows.checked_sub(1)?, count.checked_sub(1)?);
        let reach = last_row
            .checked_mul(down)?
            .checked_add(last.checked_mul(right)?)?;
        let end = last_row.checked_mul(patch.pitch)?.checked_add(count)?;
        let end = patch.plane.checked_mul(LANES - 1)?.checked_add(end)?;
        let (from, to) = (x.get(patch.from..)?, planes.get_mut(patch.to..)?);
        if reach.checked_add(LANES)? > from.len() || end > to.len() {
            return None;
        }
        let job = Apart {
            x: from.as_ptr(),
            plane: to.as_mut_ptr(),
            right,
            plane_len: patch.plane * 2,
            pairs: count / 2,
            odd: count % 2,
            rows,
            down,
            pitch: patch.pitch * 2,
        };
        // SAFETY: the last row's last pixel ends `reach + 4` bytes behind `from`'s start, the last plane's last row `end`
        // elements behind `to`'s: both within, checked just now. Bytes are read, and 16-bit numbers written where the type
        // aligns them.
        unsafe { apart(&job) };
        Some(())
    }

    fn convolve<const SMALL: bool>(
        layer: &Int8<'_, i8>,
        band: &Band<'_>,
        y: &mut [i8],
    ) -> Option<()> {
        let planes = band.planes;
        let (outer, inner) = (&planes.outer, &planes.inner);
        let stride = inner.stride.get();
        if [outer.kernel, inner.kernel] != [3, 3] || stride > 2 || band.lanes != LANES {
            return portable_convolve::<false>(layer, band, y);
        }
        let weights = layer.weights.get(band.channel..)?;
        let tap = |row: usize, column: usize| {
            let at = row
                .wrapping_mul(outer.w_step)
                .wrapping_add(column.wrapping_mul(inner.w_step));
            weights.get(at..)?.first_chunk::<LANES>()
        };
        let mut taps = [&[0; LANES]; 9];
        for (i, taps) in taps.iter_mut().enumerate() {
            *taps = tap(i / 3, i % 3)?;
        }
        let bias = layer.bias.get(band.channel..)?.first_chunk::<LANES>()?;
        let multipliers = layer
            .multipliers
            .get(band.channel..)?
            .first_chunk::<LANES>()?;
        let scale = Block::new(multipliers, bias, taps.len(), &layer.output);
        let pitch = planes.pitch;
        let row_step = outer.stride.get().checked_mul(pitch)?;
        let last_row = band.outputs.checked_sub(1)?;
        let last = inner.output.checked_sub(1)?;
        // Elements behind the last row's last tap.
        let reach = last_row
            .checked_mul(row_step)?
            .checked_add(2 * pitch)?
            .checked_add(last.checked_mul(stride)?)?
            .checked_add(3)?;
        let plane = pitch.checked_mul(planes.rows)?;
        let end = last_row
            .checked_mul(outer.y_step)?
            .checked_add(last.checked_mul(inner.y_step)?)?
            .checked_add(LANES)?;
        let results = y.get_mut(band.at..)?.get_mut(..end)?;
        if reach > plane || plane.checked_mul(LANES)? > band.buffer.len() {
            return None;
        }
        let mut job = Job {
            half: scale.half,
            zero_point: layer.output.zero_point(),
            weights: [0; 9],
            bias: 0,
            fours_end: core::ptr::null(),
            singles: inner.output % 4,
            line: band.buffer.as_ptr(),
            y: results.as_mut_ptr(),
            line_step: row_step * 2,
            row_step: outer.y_step,
            rows: band.outputs,
            fours_len: inner.output / 4 * 8 * stride,
            multiplier: 0.0,
            output: &layer.output,
            y_step: inner.y_step,
            pitch: pitch * 2,
            factor: 0,
            window: scale.window,
        };
        let channels = bias.iter().zip(multipliers).zip(scale.factors);
        for (lane, ((bias, multiplier), factor)) in channels.enumerate() {
            for (weight, tap) in job.weights.iter_mut().zip(taps) {
                *weight = tap.get(lane).copied().unwrap_or(0).into();
            }
            (job.bias, job.multiplier, job.factor) = (*bias, *multiplier, factor);
            // SAFETY: every row's taps lie in the lane's plane up to `reach`, every result in `results` up to `end`, which leaves
            // room for the lane: both checked above. 16-bit numbers are aligned by their type.
            unsafe {
                match stride {
                    1 => stride_1(&job),
                    _ => stride_2(&job),
                }
            }
            (job.line, job.y) = (job.line.wrapping_add(plane), job.y.wrapping_add(1));
        }
        band.clamp(layer, y)
    }
}

/// What [`apart`] works on.
#[repr(C)]
struct Apart {
    x: *const i8,
    plane: *mut i16,
    right: usize,
    plane_len: usize,
    pairs: usize,
    odd: usize,
    rows: usize,
    down: usize,
    pitch: usize,
}

/// Twenty instructions for two pixels of four channels: eight loads, eight stores, two steps, two for the loop. The last one of
/// an odd number takes 11, a row 14.
///
/// r0 pixels; r1, r2 planes; r3 step; r4 planes' distance; r5–r8 a pixel; r12 rounds; r9, r10 a row's beginnings; r11 job.
#[unsafe(naked)]
unsafe extern "C" fn apart(job: &Apart) {
    naked_asm!(
        "push {{r4-r11, lr}}",
        "mov r11, r0",
        "ldr lr, [r0, #24]",
        "ldrd r9, r10, [r0]",
        "ldrd r3, r4, [r0, #8]",
        "1:",
        "ldr r12, [r11, #16]",
        "mov r0, r9",
        "mov r1, r10",
        "add r2, r10, r4, lsl #1",
        "cmp r12, #0",
        "beq 3f",
        "2:",
        ".rept 2",
        "ldrsb r6, [r0, #1]",
        "ldrsb r7, [r0, #2]",
        "ldrsb r8, [r0, #3]",
        "ldrsb r5, [r0]",
        "add r0, r3",
        "strh r6, [r1, r4]",
        "strh r8, [r2, r4]",
        "strh r5, [r1], #2",
        "strh r7, [r2], #2",
        ".endr",
        "subs r12, #1",
        "bne 2b",
        "3:",
        "ldr r12, [r11, #20]",
        "cmp r12, #0",
        "beq 4f",
        "ldrsb r6, [r0, #1]",
        "ldrsb r7, [r0, #2]",
        "ldrsb r8, [r0, #3]",
        "ldrsb r5, [r0]",
        "strh r6, [r1, r4]",
        "strh r8, [r2, r4]",
        "strh r5, [r1]",
        "strh r7, [r2]",
        "4:",
        "ldrd r5, r6, [r11, #28]",
        "add r9, r5",
        "add r10, r6",
        "subs lr, #1",
        "bne 1b",
        "pop {{r4-r11, pc}}",
    )
}

/// What the 3×3 kernels work on, in the order in which they put it on their stack.
#[repr(C)]
struct Job<'a> {
    half: u32,
    zero_point: i32,
    weights: [i32; 9],
    bias: i32,
    /// Room for the end of a row's groups of four outputs.
    fours_end: *const i16,
    /// Outputs of a row behind those groups.
    singles: usize,
    line: *const i16,
    y: *mut i8,
    line_step: usize,
    row_step: usize,
    rows: usize,
    /// Bytes of a line that a row's groups of four advance.
    fours_len: usize,
    multiplier: f32,
    output: &'a Output,
    y_step: usize,
    pitch: usize,
    factor: i32,
    window: u32,
}

/// Loads the three weights of a kernel row, and moves to that row.
macro_rules! weights {
    ($first:literal, $third:literal) => {
        concat!(
            "ldrd r8, r9, [sp, #",
            $first,
            "]\n",
            "ldr r10, [sp, #",
            $third,
            "]\n",
        )
    };
}

/// Three taps of one output.
macro_rules! one {
    () => {
        "ldrsh.w r11, [r0]\n\
         mla r4, r11, r8, r4\n\
         ldrsh.w r11, [r0, #2]\n\
         mla r4, r11, r9, r4\n\
         ldrsh.w r11, [r0, #4]\n\
         mla r4, r11, r10, r4\n"
    };
}

/// Requantises a sum.
macro_rules! round {
    ($sum:literal, $slow:literal, $back:literal) => {
        concat!(
            "ldrd r8, r9, [sp]\n",
            "smlal r8, r9, ",
            $sum,
            ", r12\n",
            "cmp r8, lr\n",
            "bls.w ",
            $slow,
            "f\n",
            $back,
            ":\n",
            "ssat ",
            $sum,
            ", #8, r9\n",
        )
    };
}

/// Calls [`super::exact`] for a sum.
macro_rules! slow {
    ($slow:literal, $sum:literal, $back:literal) => {
        concat!(
            $slow,
            ":\n",
            "push {{r0-r3, r12, lr}}\n",
            "mov r0, ",
            $sum,
            "\n",
            "ldr r1, [sp, #104]\n",
            "ldr r2, [sp, #108]\n",
            "bl {exact}\n",
            "mov r9, r0\n",
            "pop {{r0-r3, r12, lr}}\n",
            "b ",
            $back,
            "b\n",
        )
    };
}

/// A function over all rows of a channel's band: four outputs at a time by the taps given (of one kernel row), then single ones.
///
/// r0 line; r1 results and r2 their step; r3 pitch; r4–r7 sums; r8–r10 weights; r11 an activation; r12 factor; lr window.
macro_rules! rows {
    ($(#[$doc:meta])* $name:ident, $four:literal, $one:literal, $taps:literal) => {
        $(#[$doc])*
        #[unsafe(naked)]
        unsafe extern "C" fn $name(job: &Job<'_>) {
            naked_asm!(
                "push {{r4-r11, lr}}",
                "sub sp, #92",
                "mov r12, sp",
                "ldmia r0!, {{r1-r11}}",
                "stmia r12!, {{r1-r11}}",
                "ldmia r0!, {{r1-r11}}",
                "stmia r12!, {{r1-r11}}",
                "ldmia r0, {{r2, r3, r12, lr}}",
                "1:",
                "ldrd r0, r1, [sp, #56]",
                "ldrd r8, r9, [sp, #64]",
                "ldr r10, [sp, #76]",
                "add r8, r0",
                "add r9, r1",
                "strd r8, r9, [sp, #56]",
                "adds r10, r10, r0",
                "str r10, [sp, #48]",
                "cmp r10, r0",
                "beq.w 3f",
                "2:",
                "ldr r4, [sp, #44]",
                "mov r5, r4",
                "mov r6, r4",
                "mov r7, r4",
                weights!("8", "16"),
                $taps,
                "add r0, r3",
                weights!("20", "28"),
                $taps,
                "add r0, r3",
                weights!("32", "40"),
                $taps,
                "sub r0, r0, r3, lsl #1",
                round!("r4", "20", "30"),
                round!("r5", "21", "31"),
                round!("r6", "22", "32"),
                round!("r7", "23", "33"),
                "ldr r8, [sp, #48]",
                concat!("add r0, #", $four),
                "strb r4, [r1]",
                "strb r5, [r1, r2]",
                "add r1, r1, r2, lsl #1",
                "cmp r0, r8",
                "strb r6, [r1]",
                "strb r7, [r1, r2]",
                "add r1, r1, r2, lsl #1",
                "bne.w 2b",
                "3:",
                "ldr r7, [sp, #52]",
                "cmp r7, #0",
                "beq.w 5f",
                "4:",
                "ldr r4, [sp, #44]",
                weights!("8", "16"),
                one!(),
                "add r0, r3",
                weights!("20", "28"),
                one!(),
                "add r0, r3",
                weights!("32", "40"),
                one!(),
                "sub r0, r0, r3, lsl #1",
                round!("r4", "24", "34"),
                concat!("add r0, #", $one),
                "strb r4, [r1]",
                "add r1, r2",
                "subs r7, #1",
                "bne 4b",
                "5:",
                "ldr r8, [sp, #72]",
                "subs r8, #1",
                "str r8, [sp, #72]",
                "bne.w 1b",
                "add sp, #92",
                "pop {{r4-r11, pc}}",
                slow!("20", "r4", "30"),
                slow!("21", "r5", "31"),
                slow!("22", "r6", "32"),
                slow!("23", "r7", "33"),
                slow!("24", "r4", "34"),
                exact = sym super::exact,
            )
        }
    };
}

rows! {
    /// Four outputs, 36 multiplications: 3·20 instructions for the taps and 38 around them, 2.72 a multiplication. A single
    /// output takes 38, a row 19.
    stride_1, "8", "2",
    "ldrsh.w r11, [r0]
     mla r4, r11, r8, r4
     ldrsh.w r11, [r0, #2]
     mla r4, r11, r9, r4
     mla r5, r11, r8, r5
     ldrsh.w r11, [r0, #4]
     mla r4, r11, r10, r4
     mla r5, r11, r9, r5
     mla r6, r11, r8, r6
     ldrsh.w r11, [r0, #6]
     mla r5, r11, r10, r5
     mla r6, r11, r9, r6
     mla r7, r11, r8, r7
     ldrsh.w r11, [r0, #8]
     mla r6, r11, r10, r6
     mla r7, r11, r9, r7
     ldrsh.w r11, [r0, #10]
     mla r7, r11, r10, r7"
}

rows! {
    /// Four outputs, 36 multiplications: 3·23 instructions for the taps and 38 around them, 2.97 a multiplication. A single
    /// output takes 38, a row 19.
    stride_2, "16", "4",
    "ldrsh.w r11, [r0]
     mla r4, r11, r8, r4
     ldrsh.w r11, [r0, #2]
     mla r4, r11, r9, r4
     ldrsh.w r11, [r0, #4]
     mla r4, r11, r10, r4
     mla r5, r11, r8, r5
     ldrsh.w r11, [r0, #6]
     mla r5, r11, r9, r5
     ldrsh.w r11, [r0, #8]
     mla r5, r11, r10, r5
     mla r6, r11, r8, r6
     ldrsh.w r11, [r0, #10]
     mla r6, r11, r9, r6
     ldrsh.w r11, [r0, #12]
     mla r6, r11, r10, r6
     mla r7, r11, r8, r7
     ldrsh.w r11, [r0, #14]
     mla r7, r11, r9, r7
     ldrsh.w r11, [r0, #16]
     mla r7, r11, r10, r7"
}
