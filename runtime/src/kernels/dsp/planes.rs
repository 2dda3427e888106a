//! Depthwise convolution by planes: taking channels apart, and 3×3 kernels.

use crate::kernels::Int8;
use crate::kernels::planes::{Band, LANES, Lanes, Patch, portable_convolve};
use core::arch::naked_asm;

/// The loops for cores with dual 16-bit multiplications.
#[derive(Debug)]
pub struct Dsp;

impl Lanes for Dsp {
    fn take_apart(x: &[i8], patch: &Patch, planes: &mut [i16]) -> Option<()> {
        let [rows, count] = patch.size;
        let [down, right] = patch.step;
        let last = count.checked_sub(1)?.checked_mul(right)?;
        let above = rows.checked_sub(1)?;
        let end = above.checked_mul(patch.pitch)?.checked_add(count)?;
        let end = patch.plane.checked_mul(LANES - 1)?.checked_add(end)?;
        let before = above.checked_mul(down)?.checked_add(last)?;
        let from = x.get(patch.from..)?;
        let to = planes.get_mut(patch.to..)?.get_mut(..end)?;
        // Words are read even for fewer than four channels: that of the last pixel may end behind the input.
        let whole = before.checked_add(LANES)? <= from.len();
        let pixel = from.get(before..)?.get(..patch.lanes)?;
        if pixel.len() > LANES || (!whole && down.min(right) + pixel.len() < LANES) {
            return None;
        }
        let mut job = Apart {
            x: from.as_ptr(),
            right,
            count,
            plane: to.as_mut_ptr(),
            plane_len: patch.plane * 2,
            rows: if whole { rows } else { above },
            down,
            pitch: patch.pitch * 2,
        };
        let mut word = [0i8; LANES];
        // SAFETY: the last pixel has its channels within `from`, and its word too, if all rows are read; else that of every
        // other pixel ends before those channels do, since the pixel lies `down` or `right` bytes before, and the last
        // one's is a copy. The last plane's last row ends `end` elements behind `to`'s start, where it ends itself. Words may
        // be unaligned.
        unsafe {
            if job.rows > 0 {
                apart(&job);
            }
            if !whole {
                (job.x, job.rows) = (job.x.wrapping_add(above * down), 1);
                (job.plane, job.count) = (job.plane.wrapping_add(above * patch.pitch), count - 1);
                if job.count > 0 {
                    apart(&job);
                }
                for (word, channel) in word.iter_mut().zip(pixel) {
                    *word = *channel;
                }
                (job.x, job.plane) = (word.as_ptr(), job.plane.wrapping_add(job.count));
                job.count = 1;
                apart(&job);
            }
        }
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
        let lanes = band.lanes;
        if [outer.kernel, inner.kernel] != [3, 3] || stride > 2 || lanes > LANES {
            return match SMALL {
                true => None,
                false => portable_convolve::<false>(layer, band, y),
            };
        }
        let steps = [outer.w_step, inner.w_step];
        let words = words(layer.weights.get(band.channel..)?, steps, lanes)?;
        let bias = layer.bias.get(band.channel..)?.get(..lanes)?;
        let multipliers = layer.multipliers.get(band.channel..)?.get(..lanes)?;
        let pitch = planes.pitch;
        let (pairs, odd) = (inner.output / 2, inner.output % 2);
        let row_step = outer.stride.get().checked_mul(pitch)?;
        let last_row = band.outputs.checked_sub(1)?;
        // Elements that a row reads, and what the last row's third line reaches.
        let read = (pairs + odd).checked_mul(stride * 2)?.checked_add(2)?;
        let reach = last_row
            .checked_mul(row_step)?
            .checked_add(2 * pitch)?
            .checked_add(read)?;
        let plane = pitch.checked_mul(planes.rows)?;
        let width = inner.output.checked_sub(1)?.checked_mul(inner.y_step)?;
        let end = last_row
            .checked_mul(outer.y_step)?
            .checked_add(width)?
            .checked_add(lanes)?;
        let results = y.get_mut(band.at..)?.get_mut(..end)?;
        let sound = reach <= plane
            && plane.checked_mul(LANES)? <= band.buffer.len()
            && pitch % 2 == 0
            && band.buffer.as_ptr().addr() % 4 == 0
            && inner.y_step > 0;
        if !sound {
            return None;
        }
        let mut job = Job {
            words: [0; 6],
            bias: [0; 2],
            multiplier: 0.0,
            zero_point: layer.output.zero_point(),
            y_step: inner.y_step,
            line: band.buffer.as_ptr(),
            y: results.as_mut_ptr(),
            pitch: pitch * 2,
            line_step: row_step * 2,
            row_step: outer.y_step,
            pairs_len: pairs.wrapping_mul(2).wrapping_mul(inner.y_step),
            odd,
            rows: 0,
        };
        for ((words, bias), multiplier) in words.iter().zip(bias).zip(multipliers) {
            let (line, y) = (job.line, job.y);
            (job.words, job.bias, job.multiplier) = (*words, [*bias; 2], *multiplier);
            job.rows = band.outputs;
            // SAFETY: every row's three lines lie in the lane's plane up to `reach`, every result in `results` up to `end`,
            // which leaves room for the lane: both checked above. Lines begin at multiples of four bytes, since the buffer
            // does and pitch and steps are even, as `LDRD` wants.
            unsafe {
                match stride {
                    1 => stride_1(&mut job),
                    _ => stride_2(&mut job),
                }
            }
            (job.line, job.y) = (line.wrapping_add(plane), y.wrapping_add(1));
        }
        band.clamp(layer, y)
    }
}

/// The nine weights of each lane as the kernels want them: for each row `w0, w1` and `w1, w2`, low half first.
#[inline(never)]
fn words(weights: &[i8], [down, right]: [usize; 2], lanes: usize) -> Option<[[i32; 6]; LANES]> {
    let mut words = [[0; 6]; LANES];
    let last = down.checked_add(right)?.checked_mul(2)?;
    if last.checked_add(LANES)? <= weights.len() {
        // SAFETY: the last tap's word ends `last + 4` bytes behind the first one's start: within, checked just now.
        unsafe { pair_taps(weights.as_ptr(), down, right, &mut words) };
        return Some(words);
    }
    // Too near to the end to read words.
    for (lane, words) in words.iter_mut().enumerate().take(lanes) {
        for (row, pairs) in words.as_chunks_mut::<2>().0.iter_mut().enumerate() {
            let at = row.checked_mul(down)?.checked_add(lane)?;
            let tap = |i: usize| weights.get(at.wrapping_add(i.wrapping_mul(right))).copied();
            let pair = |low: i8, high: i8| i32::from(low) & 0xffff | i32::from(high) << 16;
            *pairs = [pair(tap(0)?, tap(1)?), pair(tap(1)?, tap(2)?)];
        }
    }
    Some(words)
}

/// Pairs of taps of four lanes, a row of three taps in 28 instructions.
#[unsafe(naked)]
unsafe extern "C" fn pair_taps(
    weights: *const i8,
    down: usize,
    right: usize,
    words: &mut [[i32; 6]; LANES],
) {
    naked_asm!(
        ".cpu cortex-m4",
        "push {{r4-r9, lr}}",
        "movs r12, #3",
        "1:",
        "ldr r4, [r0]",
        "ldr r6, [r0, r2]",
        "ldr r8, [r0, r2, lsl #1]",
        "add r0, r1",
        "sxtb16 r5, r4, ror #8",
        "sxtb16 r4, r4",
        "sxtb16 r7, r6, ror #8",
        "sxtb16 r6, r6",
        "sxtb16 r9, r8, ror #8",
        "sxtb16 r8, r8",
        "pkhbt lr, r4, r6, lsl #16",
        "str lr, [r3]",
        "pkhbt lr, r6, r8, lsl #16",
        "str lr, [r3, #4]",
        "pkhbt lr, r5, r7, lsl #16",
        "str lr, [r3, #24]",
        "pkhbt lr, r7, r9, lsl #16",
        "str lr, [r3, #28]",
        "pkhtb lr, r6, r4, asr #16",
        "str lr, [r3, #48]",
        "pkhtb lr, r8, r6, asr #16",
        "str lr, [r3, #52]",
        "pkhtb lr, r7, r5, asr #16",
        "str lr, [r3, #72]",
        "pkhtb lr, r9, r7, asr #16",
        "str lr, [r3, #76]",
        "adds r3, #8",
        "subs r12, #1",
        "bne 1b",
        "pop {{r4-r9, pc}}",
    )
}

/// What [`apart`] works on.
#[repr(C)]
struct Apart {
    x: *const i8,
    right: usize,
    count: usize,
    plane: *mut i16,
    plane_len: usize,
    rows: usize,
    down: usize,
    pitch: usize,
}

/// Seventeen instructions for two pixels of four channels: two loads and their step, four sign extensions, four packings, four
/// stores, two for the loop. The last one of an odd number takes 10, a row 13.
#[unsafe(naked)]
unsafe extern "C" fn apart(job: &Apart) {
    naked_asm!(
        ".cpu cortex-m4",
        "push {{r0, r4-r11, lr}}",
        "ldr r10, [r0]",
        "ldr r1, [r0, #4]",
        "ldr r11, [r0, #12]",
        "ldr lr, [r0, #16]",
        "ldr r2, [r0, #20]",
        "push {{r2, r3}}",
        "1:",
        "ldr r4, [sp, #8]",
        "ldr r2, [r4, #8]",
        "mov r0, r10",
        "mov r3, r11",
        "add r12, r11, lr, lsl #1",
        "lsrs r2, r2, #1",
        "beq 3f",
        "2:",
        "ldr r5, [r0, r1]",
        "ldr r4, [r0]",
        "add r0, r0, r1, lsl #1",
        "sxtb16 r7, r5",
        "sxtb16 r5, r5, ror #8",
        "sxtb16 r6, r4",
        "sxtb16 r4, r4, ror #8",
        "pkhbt r8, r6, r7, lsl #16",
        "pkhtb r6, r7, r6, asr #16",
        "pkhbt r9, r4, r5, lsl #16",
        "pkhtb r4, r5, r4, asr #16",
        "str r9, [r3, lr]",
        "str r8, [r3], #4",
        "str r4, [r12, lr]",
        "str r6, [r12], #4",
        "subs r2, #1",
        "bne 2b",
        "ldr r4, [sp, #8]",
        "3:",
        "ldr r5, [r4, #8]",
        "lsls r5, r5, #31",
        "beq 4f",
        "ldr r5, [r0]",
        "sxtb16 r6, r5",
        "sxtb16 r5, r5, ror #8",
        "strh r6, [r3]",
        "strh r5, [r3, lr]",
        "lsrs r6, r6, #16",
        "lsrs r5, r5, #16",
        "strh r6, [r12]",
        "strh r5, [r12, lr]",
        "4:",
        "ldrd r5, r6, [r4, #24]",
        "add r10, r5",
        "ldr r5, [sp]",
        "add r11, r6",
        "subs r5, #1",
        "str r5, [sp]",
        "bne 1b",
        "add sp, #12",
        "pop {{r4-r11, pc}}",
    )
}

/// What the 3×3 kernels work on.
#[repr(C)]
struct Job {
    words: [i32; 6],
    bias: [i32; 2],
    multiplier: f32,
    zero_point: i32,
    y_step: usize,
    line: *const i16,
    y: *mut i8,
    pitch: usize,
    line_step: usize,
    row_step: usize,
    pairs_len: usize,
    odd: usize,
    rows: usize,
}

/// A function over all rows of a band. For each row: pairs of outputs by the body given, and the last one of an odd number by
/// the same body with a step of 0, so that its partner's result is overwritten.
///
/// r0–r5 weights; r8, r9 sums; r10–r12 lines; lr results; the rest is the body's. s2, s3 bias, s4 multiplier, s5 zero point,
/// s6 step, s7 end.
macro_rules! rows {
    ($(#[$doc:meta])* $name:ident, [$($weights:literal),*], $($body:literal,)*) => {
        $(#[$doc])*
        #[unsafe(naked)]
        unsafe extern "C" fn $name(job: *mut Job) {
            naked_asm!(
                ".cpu cortex-m4",
                "push {{r4-r11, lr}}",
                "sub sp, #4",
                "str r0, [sp]",
                "add r12, r0, #24",
                "vldmia r12, {{s2-s6}}",
                "ldmia r0, {{r0-r5}}",
                $($weights,)*
                "1:",
                "ldr r6, [sp]",
                "ldr r7, [r6, #52]",
                "ldr r10, [r6, #44]",
                "ldr lr, [r6, #48]",
                "add r11, r10, r7",
                "add r12, r11, r7",
                "ldr r8, [r6, #56]",
                "ldr r9, [r6, #60]",
                "add r8, r10",
                "add r9, lr",
                "str r8, [r6, #44]",
                "str r9, [r6, #48]",
                "ldr r7, [r6, #64]",
                "ldr r8, [r6, #40]",
                "vmov s6, r8",
                "add r7, lr",
                "vmov s7, r7",
                "cmp lr, r7",
                "beq 3f",
                "2:",
                "vmov r8, r9, s2, s3",
                $($body,)*
                "vmov s0, s1, r8, r9",
                "vcvt.f32.s32 s0, s0",
                "vcvt.f32.s32 s1, s1",
                "vmul.f32 s0, s0, s4",
                "vmul.f32 s1, s1, s4",
                "vcvtr.s32.f32 s0, s0",
                "vcvtr.s32.f32 s1, s1",
                "vmov r8, r9, s0, s1",
                "vmov r6, r7, s5, s6",
                "qadd r9, r9, r6",
                "qadd r8, r8, r6",
                "ssat r9, #8, r9",
                "ssat r8, #8, r8",
                "strb r9, [lr, r7]",
                "strb r8, [lr]",
                "add lr, lr, r7, lsl #1",
                "vmov r6, s7",
                "cmp lr, r6",
                "bne 2b",
                "3:",
                "ldr r6, [sp]",
                "vmov r7, s6",
                "cbz r7, 4f",
                "ldr r7, [r6, #68]",
                "cbz r7, 4f",
                "movs r7, #0",
                "vmov s6, r7",
                "vmov s7, lr",
                "b 2b",
                "4:",
                "ldr r7, [r6, #72]",
                "subs r7, #1",
                "str r7, [r6, #72]",
                "bne 1b",
                "add sp, #4",
                "pop {{r4-r11, pc}}",
            )
        }
    };
}

rows! {
    /// Two outputs, 18 multiplications: 15 instructions of the body and 20 around it.
    stride_1,
    [],
    "ldrd r6, r7, [r10], #4",
    "smlad r8, r6, r0, r8",
    "smlatb r9, r6, r0, r9",
    "smlabt r8, r7, r1, r8",
    "smlad r9, r7, r1, r9",
    "ldrd r6, r7, [r11], #4",
    "smlad r8, r6, r2, r8",
    "smlatb r9, r6, r2, r9",
    "smlabt r8, r7, r3, r8",
    "smlad r9, r7, r3, r9",
    "ldrd r6, r7, [r12], #4",
    "smlad r8, r6, r4, r8",
    "smlatb r9, r6, r4, r9",
    "smlabt r8, r7, r5, r8",
    "smlad r9, r7, r5, r9",
}

rows! {
    /// Two outputs, 18 multiplications: 18 instructions of the body and 20 around it.
    stride_2,
    // First two taps of each row in r0–r2; the third ones in r3 (of the first and second row) and in r4's upper half.
    ["mov r6, r4", "mov r4, r5", "pkhtb r3, r3, r1, asr #16", "mov r1, r2", "mov r2, r6"],
    "ldr r5, [r10, #8]",
    "ldrd r6, r7, [r10], #8",
    "smlad r8, r6, r0, r8",
    "smlad r9, r7, r0, r9",
    "smlabb r8, r7, r3, r8",
    "smlabb r9, r5, r3, r9",
    "ldr r5, [r11, #8]",
    "ldrd r6, r7, [r11], #8",
    "smlad r8, r6, r1, r8",
    "smlad r9, r7, r1, r9",
    "smlabt r8, r7, r3, r8",
    "smlabt r9, r5, r3, r9",
    "ldr r5, [r12, #8]",
    "ldrd r6, r7, [r12], #8",
    "smlad r8, r6, r2, r8",
    "smlad r9, r7, r2, r9",
    "smlabt r8, r7, r4, r8",
    "smlabt r9, r5, r4, r9",
}
