//! Convolutions: eight channels by up to eight pixels at a time with dot products, by four without.
//!
//! A group of weights is two vectors of four channels by four taps, and four taps of a pixel are broadcast. `SDOT` adds their
//! products to four channels' sums at once. Without it, `SMULL` makes products of 16 bits, and `SADALP` adds pairs of them to
//! partial sums of two channels, which are added up at the end.

use super::requantize::{Epilogue, Sums};
use crate::kernels::octet::arm::{Layer, Results, Windows};
use crate::kernels::parts::groups;
use core::arch::aarch64::{
    int8x16_t, int32x4_t, vaddq_s32, vdupq_n_s32, vget_high_s8, vget_low_s8, vld1q_f32, vld1q_s8,
    vld1q_s32, vmull_s8, vpadalq_s16, vpaddq_s32, vreinterpretq_s8_s32,
};
use core::arch::asm;

/// Calls `$tile` with all blocks and as many pixels as there are, `$most` at most.
macro_rules! by_tiles {
    ($tile:ident, $windows:expr, $layer:expr, $results:expr, $most:literal, $($count:literal)*) => {{
        let epilogue = Epilogue::new($layer, $results);
        let job = Job {
            windows: $windows,
            layer: $layer,
            channels: $results.channels,
            y: $results.y.as_mut_ptr(),
            y_step: $results.step,
            epilogue: &epilogue,
        };
        for block in 0..$results.channels.div_ceil(8) {
            for (pixel, count) in groups($windows.pixels, $most) {
                // SAFETY: the caller's promise, for pixels and a block that there are.
                unsafe {
                    match count {
                        $($count => $tile::<$count>(&job, pixel, block),)*
                        _ => $tile::<$most>(&job, pixel, block),
                    }
                }
            }
        }
    }};
}

/// What tiles of pixels have in common.
struct Job<'t> {
    windows: &'t Windows<'t, i8>,
    layer: &'t Layer<'t>,
    channels: usize,
    y: *mut i8,
    y_step: usize,
    epilogue: &'t Epilogue,
}

impl Job<'_> {
    /// Stores the results of a pixel.
    ///
    /// # Safety
    /// There are such a pixel and block.
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn store(&self, pixel: usize, block: usize, sums: [int32x4_t; 2]) {
        let channel = block * 8;
        // SAFETY: the caller's promise.
        unsafe {
            let multipliers = self.layer.multipliers.as_ptr().add(block).cast();
            self.epilogue.store(Sums {
                sums,
                multipliers: [vld1q_f32(multipliers), vld1q_f32(multipliers.add(4))],
                y: self.y.add(pixel * self.y_step + channel),
                count: (self.channels - channel).min(8),
            });
        }
    }

    /// Where a block's sums begin.
    ///
    /// # Safety
    /// There is such a block.
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn bias(&self, block: usize) -> [int32x4_t; 2] {
        // SAFETY: the caller's promise.
        unsafe {
            let bias = self.layer.bias.as_ptr().add(block).cast();
            [vld1q_s32(bias), vld1q_s32(bias.add(4))]
        }
    }

    /// Calls `add` with the weights of each group and its taps of the first pixel.
    ///
    /// # Safety
    /// There are such a pixel and block.
    #[inline(always)]
    unsafe fn groups(&self, pixel: usize, block: usize, mut add: impl FnMut(*const i8, *const i8)) {
        // SAFETY: the caller's promise; weights are read in order.
        unsafe {
            let mut weights = self.layer.weights.as_ptr().add(block * self.layer.block);
            let rows = self.windows.rows.as_ptr().add(pixel * self.windows.step);
            for run in self.windows.runs {
                let mut taps = rows.add(*run);
                let end = taps.add(self.windows.len);
                while taps < end {
                    add(weights, taps);
                    weights = weights.add(32);
                    taps = taps.add(4);
                }
            }
        }
    }
}

/// `sum + Σ a·b` for each four bytes.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn sdot(sum: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
    let mut sum = sum;
    // SAFETY: registers only; the feature is enabled.
    unsafe {
        asm!(
            "sdot {sum:v}.4s, {a:v}.16b, {b:v}.16b",
            sum = inout(vreg) sum, a = in(vreg) a, b = in(vreg) b,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sum
}

/// Four taps, in every lane.
///
/// # Safety
/// They may be read.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn broadcast(taps: *const i8) -> int8x16_t {
    // SAFETY: the caller's promise.
    vreinterpretq_s8_s32(vdupq_n_s32(unsafe { taps.cast::<i32>().read_unaligned() }))
}

/// # Safety
/// [`Windows::convolve`] has said that everything fits.
#[target_feature(enable = "neon,dotprod")]
pub(super) unsafe fn convolve_dotprod(
    windows: &Windows<'_, i8>,
    layer: &Layer<'_>,
    results: &mut Results<'_, '_>,
) {
    by_tiles!(dotprod_tile, windows, layer, results, 8, 1 2 3 4 5 6 7)
}

/// # Safety
/// There are `P` pixels from `pixel` on, and such a block.
#[inline]
#[target_feature(enable = "neon,dotprod")]
unsafe fn dotprod_tile<const P: usize>(job: &Job<'_>, pixel: usize, block: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = [job.bias(block); P];
        let step = job.windows.step;
        job.groups(pixel, block, |weights, taps| {
            let (low, high) = (vld1q_s8(weights), vld1q_s8(weights.add(16)));
            for (p, sums) in sums.iter_mut().enumerate() {
                let x = broadcast(taps.add(p * step));
                sums[0] = sdot(sums[0], low, x);
                sums[1] = sdot(sums[1], high, x);
            }
        });
        for (p, sums) in sums.iter().enumerate() {
            job.store(pixel + p, block, *sums);
        }
    }
}

/// # Safety
/// [`Windows::convolve`] has said that everything fits.
#[target_feature(enable = "neon")]
pub(super) unsafe fn convolve(
    windows: &Windows<'_, i8>,
    layer: &Layer<'_>,
    results: &mut Results<'_, '_>,
) {
    by_tiles!(tile, windows, layer, results, 4, 1 2 3)
}

/// # Safety
/// There are `P` pixels from `pixel` on, and such a block.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn tile<const P: usize>(job: &Job<'_>, pixel: usize, block: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = [[vdupq_n_s32(0); 4]; P];
        let step = job.windows.step;
        job.groups(pixel, block, |weights, taps| {
            let (low, high) = (vld1q_s8(weights), vld1q_s8(weights.add(16)));
            for (p, sums) in sums.iter_mut().enumerate() {
                let x = vget_low_s8(broadcast(taps.add(p * step)));
                sums[0] = vpadalq_s16(sums[0], vmull_s8(vget_low_s8(low), x));
                sums[1] = vpadalq_s16(sums[1], vmull_s8(vget_high_s8(low), x));
                sums[2] = vpadalq_s16(sums[2], vmull_s8(vget_low_s8(high), x));
                sums[3] = vpadalq_s16(sums[3], vmull_s8(vget_high_s8(high), x));
            }
        });
        let bias = job.bias(block);
        for (p, sums) in sums.iter().enumerate() {
            let low = vaddq_s32(vpaddq_s32(sums[0], sums[1]), bias[0]);
            let high = vaddq_s32(vpaddq_s32(sums[2], sums[3]), bias[1]);
            job.store(pixel + p, block, [low, high]);
        }
    }
}
