//! Convolutions: eight channels by up to eight pixels at a time with dot products, by four without.
//!
//! A group of weights is two vectors of four channels by four taps. `SDOT` adds its products with four taps of a pixel, a lane of a
//! vector of sixteen, to four channels' sums at once. Without it, `SMULL` makes products of 16 bits, and `SADALP` adds pairs of
//! them to partial sums of two channels, which are added up at the end.

use super::requantize::{Epilogue, Sums};
use crate::kernels::octet::arm::{Layer, Results, Windows};
use crate::kernels::parts::groups;
use core::arch::aarch64::{
    int8x16_t, int32x4_t, vaddq_s32, vdup_n_s32, vdupq_n_s32, vget_high_s8, vget_low_s8, vld1q_f32,
    vld1q_s8, vld1q_s32, vmull_s8, vpadalq_s16, vpaddq_s32, vreinterpret_s8_s32,
    vreinterpretq_s8_s32, vsetq_lane_s32,
};
use core::arch::asm;
use core::array::from_fn;

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
pub(super) use by_tiles;

/// `$body` for each pixel `$p` of `$count`, eight at most. A loop would not be unrolled, and then the sums that it finds by an index
/// would be kept in memory all the time.
macro_rules! each_pixel {
    ($p:ident, $count:ident, $body:expr) => {
        each_pixel!($p, $count, $body, 0 1 2 3 4 5 6 7)
    };
    ($p:ident, $count:ident, $body:expr, $($index:literal)*) => {
        $(
            if $index < $count {
                const $p: usize = $index;
                $body
            }
        )*
    };
}
pub(super) use each_pixel;

/// What tiles of pixels have in common.
pub(super) struct Job<'t> {
    pub(super) windows: &'t Windows<'t, i8>,
    pub(super) layer: &'t Layer<'t>,
    pub(super) channels: usize,
    pub(super) y: *mut i8,
    pub(super) y_step: usize,
    pub(super) epilogue: &'t Epilogue,
}

impl Job<'_> {
    /// Stores the results of a pixel.
    ///
    /// # Safety
    /// There are such a pixel and block.
    #[inline]
    #[target_feature(enable = "neon")]
    pub(super) unsafe fn store(&self, pixel: usize, block: usize, sums: [int32x4_t; 2]) {
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
    pub(super) unsafe fn bias(&self, block: usize) -> [int32x4_t; 2] {
        // SAFETY: the caller's promise.
        unsafe {
            let bias = self.layer.bias.as_ptr().add(block).cast();
            [vld1q_s32(bias), vld1q_s32(bias.add(4))]
        }
    }

    /// The weights of a block.
    ///
    /// # Safety
    /// There is such a block.
    #[inline(always)]
    pub(super) unsafe fn weights(&self, block: usize) -> *const i8 {
        // SAFETY: the caller's promise.
        unsafe { self.layer.weights.as_ptr().add(block * self.layer.block) }
    }

    /// Where a run of a pixel's window begins.
    ///
    /// # Safety
    /// There are such a pixel and run.
    #[inline(always)]
    pub(super) unsafe fn taps(&self, pixel: usize, run: usize) -> *const i8 {
        let rows = self.windows.rows.as_ptr();
        // SAFETY: the caller's promise.
        unsafe { rows.add(pixel * self.windows.step + run) }
    }
}

/// Adds to each lane of `sum` the products of its four bytes of `a` with the four of lane `LANE` of `b`.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn sdot<const LANE: usize>(sum: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
    let mut sum = sum;
    // SAFETY: registers only; the feature is enabled.
    unsafe {
        asm!(
            "sdot {sum:v}.4s, {a:v}.16b, {b:v}.4b[{lane}]",
            sum = inout(vreg) sum, a = in(vreg) a, b = in(vreg) b, lane = const LANE,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sum
}

/// Four taps, and zeros behind them.
///
/// # Safety
/// They may be read.
#[inline]
#[target_feature(enable = "neon")]
pub(super) unsafe fn four(taps: *const i8) -> int8x16_t {
    // SAFETY: the caller's promise.
    let taps = unsafe { taps.cast::<i32>().read_unaligned() };
    vreinterpretq_s8_s32(vsetq_lane_s32::<0>(taps, vdupq_n_s32(0)))
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

/// Adds the products of a group of weights with lane `LANE` of each pixel's taps.
///
/// # Safety
/// There is such a group.
#[inline]
#[target_feature(enable = "neon,dotprod")]
unsafe fn group<const P: usize, const LANE: usize>(
    sums: &mut [[int32x4_t; 2]; P],
    weights: *const i8,
    taps: &[int8x16_t; P],
) {
    // SAFETY: the caller's promise.
    let [low, high] = unsafe { [vld1q_s8(weights), vld1q_s8(weights.add(16))] };
    for (sums, taps) in sums.iter_mut().zip(taps) {
        sums[0] = sdot::<LANE>(sums[0], low, *taps);
        sums[1] = sdot::<LANE>(sums[1], high, *taps);
    }
}

/// # Safety
/// There are `P` pixels from `pixel` on, and such a block.
#[inline]
#[target_feature(enable = "neon,dotprod")]
unsafe fn dotprod_tile<const P: usize>(job: &Job<'_>, pixel: usize, block: usize) {
    // SAFETY: the caller's promise; weights are read in order.
    unsafe {
        let mut sums = [job.bias(block); P];
        let (step, len) = (job.windows.step, job.windows.len);
        let mut weights = job.weights(block);
        for run in job.windows.runs {
            let mut first = job.taps(pixel, *run);
            for _ in 0..len / 16 {
                let taps = from_fn(|p| vld1q_s8(first.add(p * step)));
                group::<P, 0>(&mut sums, weights, &taps);
                group::<P, 1>(&mut sums, weights.add(32), &taps);
                group::<P, 2>(&mut sums, weights.add(64), &taps);
                group::<P, 3>(&mut sums, weights.add(96), &taps);
                weights = weights.add(128);
                first = first.add(16);
            }
            for _ in 0..len % 16 / 4 {
                let taps = from_fn(|p| four(first.add(p * step)));
                group::<P, 0>(&mut sums, weights, &taps);
                weights = weights.add(32);
                first = first.add(4);
            }
        }
        each_pixel!(INDEX, P, job.store(pixel + INDEX, block, sums[INDEX]));
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
        let mut weights = job.weights(block);
        for run in job.windows.runs {
            let mut first = job.taps(pixel, *run);
            for _ in 0..job.windows.len / 4 {
                let (low, high) = (vld1q_s8(weights), vld1q_s8(weights.add(16)));
                for (p, sums) in sums.iter_mut().enumerate() {
                    let taps = first.add(p * step).cast::<i32>().read_unaligned();
                    let x = vreinterpret_s8_s32(vdup_n_s32(taps));
                    sums[0] = vpadalq_s16(sums[0], vmull_s8(vget_low_s8(low), x));
                    sums[1] = vpadalq_s16(sums[1], vmull_s8(vget_high_s8(low), x));
                    sums[2] = vpadalq_s16(sums[2], vmull_s8(vget_low_s8(high), x));
                    sums[3] = vpadalq_s16(sums[3], vmull_s8(vget_high_s8(high), x));
                }
                weights = weights.add(32);
                first = first.add(4);
            }
        }
        let bias = job.bias(block);
        each_pixel!(INDEX, P, {
            let [a, b, c, d] = sums[INDEX];
            let low = vaddq_s32(vpaddq_s32(a, b), bias[0]);
            let high = vaddq_s32(vpaddq_s32(c, d), bias[1]);
            job.store(pixel + INDEX, block, [low, high]);
        });
    }
}
