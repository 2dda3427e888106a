//! Depthwise convolution by planes: taking channels apart, and 3×3 kernels.

use crate::kernels::Int8;
use crate::kernels::conv::Arithmetic;
use crate::kernels::planes::{Band, Lanes, portable_convolve, portable_take_apart};
use core::arch::naked_asm;

/// The loops for cores with dual 16-bit multiplications.
#[derive(Debug)]
pub struct Dsp;

impl Lanes for Dsp {
    fn take_apart(
        x: &[i8],
        [at, step, count]: [usize; 3],
        planes: &mut [i16],
        [to, plane]: [usize; 2],
    ) -> Option<()> {
        // Pairs are stored as words: the first element of a row may be behind the middle of one.
        let single = to % 2;
        let pairs = count.checked_sub(single)? / 2;
        portable_take_apart(x, [at, step, single, 4], planes, [to, plane])?;
        let first = at.wrapping_add(single.wrapping_mul(step));
        if pairs > 0 {
            let from = x.get(first..)?;
            let whole = planes.get_mut(to.wrapping_add(single)..)?;
            let last = (pairs.wrapping_mul(2) - 1)
                .checked_mul(step)?
                .checked_add(4)?;
            let end = plane.checked_mul(3)?.checked_add(pairs.checked_mul(2)?)?;
            if last > from.len() || end > whole.len() || plane % 2 != 0 {
                return None;
            }
            // SAFETY: the last pixel's four channels end at `last`, within `from`; the last plane's pairs end at `end`, within
            // `whole`. Words may be read unaligned; those written are aligned if the plane is, or else written unaligned.
            unsafe { pairs_apart(from.as_ptr(), step, pairs, whole.as_mut_ptr(), plane * 2) };
        }
        let done = single.wrapping_add(pairs.wrapping_mul(2));
        let rest = [
            at.wrapping_add(done.wrapping_mul(step)),
            step,
            count - done,
            4,
        ];
        portable_take_apart(x, rest, planes, [to.wrapping_add(done), plane])
    }

    fn convolve(layer: &Int8<'_, i8>, band: &Band<'_>, y: &mut [i8]) -> Option<()> {
        let (outer, inner) = (&band.planes.outer, &band.planes.inner);
        let stride = inner.stride.get();
        if [outer.kernel, inner.kernel] != [3, 3] || stride > 2 {
            return portable_convolve(layer, band, y);
        }
        let weights = layer.weights.get(band.channel..)?;
        let w = |row: usize, column: usize| {
            let at = row
                .wrapping_mul(outer.w_step)
                .wrapping_add(column.wrapping_mul(inner.w_step));
            weights.get(at).map(|&w| i32::from(w))
        };
        let pair = |low: i32, high: i32| low & 0xffff | high << 16;
        let mut taps = [[0; 3]; 3];
        for (row, taps) in taps.iter_mut().enumerate() {
            *taps = [w(row, 0)?, w(row, 1)?, w(row, 2)?];
        }
        let [a, b, c] = taps;
        let words = match stride {
            1 => [
                pair(a[0], a[1]),
                pair(a[1], a[2]),
                pair(b[0], b[1]),
                pair(b[1], b[2]),
                pair(c[0], c[1]),
                pair(c[1], c[2]),
            ],
            _ => [
                pair(a[0], a[1]),
                pair(b[0], b[1]),
                pair(c[0], c[1]),
                pair(a[2], b[2]),
                pair(0, c[2]),
                0,
            ],
        };
        let pitch = band.planes.pitch;
        let pairs = inner.output / 2;
        let odd = inner.output % 2;
        let row_step = outer.stride.get().checked_mul(pitch)?;
        let last_row = band.outputs.checked_sub(1)?;
        // Elements that a row reads, and what the last row's third line reaches.
        let read = (pairs + odd).checked_mul(stride * 2)?.checked_add(2)?;
        let reach = last_row
            .checked_mul(row_step)?
            .checked_add(2 * pitch)?
            .checked_add(read)?;
        let width = inner.output.checked_sub(1)?.checked_mul(inner.y_step)?;
        let end = last_row
            .checked_mul(outer.y_step)?
            .checked_add(width)?
            .checked_add(1)?;
        let results = y.get_mut(band.at..)?;
        let sound = reach <= band.plane.len()
            && end <= results.len()
            && pitch % 2 == 0
            && band.plane.as_ptr().addr() % 4 == 0
            && inner.y_step > 0;
        if !sound {
            return None;
        }
        let mut job = Job {
            words,
            bias: [layer.start(band.channel)?; 2],
            multiplier: *layer.multipliers.get(band.channel)?,
            zero_point: layer.output.zero_point(),
            y_step: inner.y_step,
            line: band.plane.as_ptr(),
            y: results.as_mut_ptr(),
            pitch: pitch * 2,
            line_step: row_step * 2,
            row_step: outer.y_step,
            pairs_len: pairs.wrapping_mul(2).wrapping_mul(inner.y_step),
            odd,
            rows: band.outputs,
        };
        // SAFETY: every row's three lines lie in the plane up to `reach`, every result in `results` up to `end`: both checked
        // just now. Lines begin at multiples of four bytes, since the plane does and pitch and steps are even, as `LDRD` wants.
        unsafe {
            match stride {
                1 => stride_1(&mut job),
                _ => stride_2(&mut job),
            }
        }
        if layer.output.saturates() {
            return Some(());
        }
        for row in 0..band.outputs {
            for column in 0..inner.output {
                let at = row * outer.y_step + column * inner.y_step;
                let y = results.get_mut(at..)?.get_mut(..1)?;
                layer.output.clamp(y);
            }
        }
        Some(())
    }
}

/// Seventeen instructions for two pixels of four channels: two loads and their step, four sign extensions, four packings, four
/// stores, two for the loop.
#[unsafe(naked)]
unsafe extern "C" fn pairs_apart(
    x: *const i8,
    step: usize,
    pairs: usize,
    plane: *mut i16,
    plane_len: usize,
) {
    naked_asm!(
        "push {{r4-r9, lr}}",
        "ldr lr, [sp, #28]",
        "add r12, r3, lr, lsl #1",
        "1:",
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
        "bne 1b",
        "pop {{r4-r9, pc}}",
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
    ($(#[$doc:meta])* $name:ident, $($body:literal,)*) => {
        $(#[$doc])*
        #[unsafe(naked)]
        unsafe extern "C" fn $name(job: *mut Job) {
            naked_asm!(
                ".fpu fpv4-sp-d16",
                "push {{r4-r11, lr}}",
                "sub sp, #4",
                "str r0, [sp]",
                "add r12, r0, #24",
                "vldmia r12, {{s2-s6}}",
                "ldmia r0, {{r0-r5}}",
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
