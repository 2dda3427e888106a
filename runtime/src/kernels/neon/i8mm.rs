//! Convolutions with products of 8-bit matrices: two pixels by two channels by eight taps at a time.
//!
//! `SMMLA` multiplies two rows of eight bytes with two others. Two groups of weights, interleaved by fours, are eight taps of two
//! channels each; eight taps of two pixels are halves of two vectors of sixteen.

use super::conv::{Job, by_tiles, convolve_dotprod, each_pixel, four};
use super::requantize::Epilogue;
use crate::kernels::octet::arm::{Layer, Results, Windows};
use crate::kernels::parts::groups;
use core::arch::aarch64::{
    int8x16_t, int32x4_t, vaddq_s32, vcombine_s8, vdupq_n_s8, vdupq_n_s32, vld1_s8, vld1q_s8,
    vreinterpretq_s8_s32, vreinterpretq_s8_s64, vreinterpretq_s32_s8, vreinterpretq_s32_s64,
    vreinterpretq_s64_s8, vreinterpretq_s64_s32, vzip1q_s32, vzip1q_s64, vzip2q_s32, vzip2q_s64,
};
use core::arch::asm;
use core::array::from_fn;

/// Pairs of pixels of a tile.
const PAIRS: usize = 4;

/// Adds the products of the two rows of `a` with the two of `b` to `sum`, a matrix with a row for each row of `a`.
#[inline]
#[target_feature(enable = "neon,i8mm")]
fn smmla(sum: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
    let mut sum = sum;
    // SAFETY: registers only; the feature is enabled.
    unsafe {
        asm!(
            "smmla {sum:v}.4s, {a:v}.16b, {b:v}.16b",
            sum = inout(vreg) sum, a = in(vreg) a, b = in(vreg) b,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sum
}

/// The first and the second halves of two vectors.
#[inline]
#[target_feature(enable = "neon")]
fn halves(a: int8x16_t, b: int8x16_t) -> [int8x16_t; 2] {
    let (a, b) = (vreinterpretq_s64_s8(a), vreinterpretq_s64_s8(b));
    [vzip1q_s64(a, b), vzip2q_s64(a, b)].map(|v| vreinterpretq_s8_s64(v))
}

/// Two groups of weights by pairs of channels: four vectors of two channels by eight taps.
#[inline]
#[target_feature(enable = "neon")]
fn channels(a: [int8x16_t; 2], b: [int8x16_t; 2]) -> [int8x16_t; 4] {
    let [a, b] = [a, b].map(|group| group.map(|v| vreinterpretq_s32_s8(v)));
    [
        vzip1q_s32(a[0], b[0]),
        vzip2q_s32(a[0], b[0]),
        vzip1q_s32(a[1], b[1]),
        vzip2q_s32(a[1], b[1]),
    ]
    .map(|v| vreinterpretq_s8_s32(v))
}

/// A group of weights.
///
/// # Safety
/// There is one.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn group(weights: *const i8) -> [int8x16_t; 2] {
    // SAFETY: the caller's promise.
    unsafe { [vld1q_s8(weights), vld1q_s8(weights.add(16))] }
}

/// Sums of pairs of pixels by pairs of channels.
type Tile = [[int32x4_t; 4]; PAIRS];

/// Adds eight taps of `pairs` pairs of pixels.
#[inline]
#[target_feature(enable = "neon,i8mm")]
fn add<const P: usize>(sums: &mut Tile, taps: [int8x16_t; PAIRS], weights: [int8x16_t; 4]) {
    for (sums, taps) in sums.iter_mut().zip(taps).take(P.div_ceil(2)) {
        for (sum, weights) in sums.iter_mut().zip(weights) {
            *sum = smmla(*sum, taps, weights);
        }
    }
}

/// With dot products where there are no pairs of pixels, or runs so short that making pairs costs more than it saves.
///
/// # Safety
/// [`Windows::convolve`] has said that everything fits.
#[target_feature(enable = "neon,dotprod,i8mm")]
pub(super) unsafe fn convolve_or_dotprod(
    windows: &Windows<'_, i8>,
    layer: &Layer<'_>,
    results: &mut Results<'_, '_>,
) {
    // SAFETY: the caller's promise.
    unsafe {
        if windows.pixels < 2 || windows.len < 16 {
            convolve_dotprod(windows, layer, results);
        } else {
            convolve(windows, layer, results);
        }
    }
}

/// # Safety
/// [`Windows::convolve`] has said that everything fits.
#[target_feature(enable = "neon,i8mm")]
unsafe fn convolve(windows: &Windows<'_, i8>, layer: &Layer<'_>, results: &mut Results<'_, '_>) {
    by_tiles!(tile, windows, layer, results, 8, 1 2 3 4 5 6 7)
}

/// # Safety
/// There are `P` pixels from `pixel` on, and such a block.
#[inline]
#[target_feature(enable = "neon,i8mm")]
unsafe fn tile<const P: usize>(job: &Job<'_>, pixel: usize, block: usize) {
    // SAFETY: the caller's promise, and `of` is asked for such pixels only; weights are read in order.
    unsafe {
        let mut sums = [[vdupq_n_s32(0); 4]; PAIRS];
        let (step, len) = (job.windows.step, job.windows.len);
        // The second of the last pair may be no pixel: then it is the first, and its sums go nowhere.
        let of = |index: usize| index.min(P - 1) * step;
        let mut weights = job.weights(block);
        for run in job.windows.runs {
            let mut first = job.taps(pixel, *run);
            for _ in 0..len / 16 {
                let taps: [_; PAIRS] = from_fn(|pair| {
                    let pixel = |index| vld1q_s8(first.add(of(index)));
                    halves(pixel(2 * pair), pixel(2 * pair + 1))
                });
                for half in 0..2 {
                    let weights = weights.add(64 * half);
                    let both = channels(group(weights), group(weights.add(32)));
                    add::<P>(&mut sums, taps.map(|taps| taps[half]), both);
                }
                weights = weights.add(128);
                first = first.add(16);
            }
            if len % 16 >= 8 {
                let taps = from_fn(|pair| {
                    let pixel = |index| vld1_s8(first.add(of(index)));
                    vcombine_s8(pixel(2 * pair), pixel(2 * pair + 1))
                });
                let both = channels(group(weights), group(weights.add(32)));
                add::<P>(&mut sums, taps, both);
                weights = weights.add(64);
                first = first.add(8);
            }
            if len % 8 >= 4 {
                let taps = from_fn(|pair| {
                    let pixel = |index| four(first.add(of(index)));
                    halves(pixel(2 * pair), pixel(2 * pair + 1))[0]
                });
                let one = channels(group(weights), [vdupq_n_s8(0); 2]);
                add::<P>(&mut sums, taps, one);
                weights = weights.add(32);
            }
        }
        let bias = job.bias(block);
        each_pixel!(INDEX, P, {
            let [a, b, c, d] = sums[INDEX / 2].map(|sum| vreinterpretq_s64_s32(sum));
            let rows = match INDEX % 2 {
                0 => [vzip1q_s64(a, b), vzip1q_s64(c, d)],
                _ => [vzip2q_s64(a, b), vzip2q_s64(c, d)],
            };
            let [low, high] = rows.map(|row| vreinterpretq_s32_s64(row));
            let sums = [vaddq_s32(low, bias[0]), vaddq_s32(high, bias[1])];
            job.store(pixel + INDEX, block, sums);
        });
    }
}
