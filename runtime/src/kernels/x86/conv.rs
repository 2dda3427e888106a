//! Convolutions: up to six pixels by eight channels at a time, or one pixel by 24 channels.
//!
//! A group of weights is two vectors of four channels by four taps, sign-extended. Four taps of a pixel are broadcast to every
//! channel; a sum is two partial ones, which are added at the end. For six pixels and a group: two loads with extension, six
//! broadcasts, 12 multiplications and as many additions for 192 products; 15 of 16 registers.

use super::requantize::{Epilogue, Sums};
use crate::kernels::octet::arm::{Layer, Results, Windows};
use crate::kernels::parts::groups;
use core::arch::x86_64::{
    __m256i, _mm_loadu_si128, _mm256_add_epi32, _mm256_cvtepi8_epi16, _mm256_hadd_epi32,
    _mm256_loadu_ps, _mm256_loadu_si256, _mm256_madd_epi16, _mm256_permute4x64_epi64,
    _mm256_set1_epi64x, _mm256_setzero_si256,
};

/// Most pixels of a tile.
const PIXELS: usize = 6;
/// Most blocks of a tile of one pixel.
const BLOCKS: usize = 3;

/// # Safety
/// [`Windows::convolve`] has said that everything fits.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn convolve(
    windows: &Windows<'_, i16>,
    layer: &Layer<'_>,
    results: &mut Results<'_, '_>,
) {
    let epilogue = Epilogue::new(layer, results);
    let blocks = results.channels.div_ceil(8);
    let tile = Tile {
        windows,
        layer,
        channels: results.channels,
        y: results.y.as_mut_ptr(),
        y_step: results.step,
        epilogue: &epilogue,
    };
    // SAFETY: the caller's promise, for pixels and blocks that there are.
    unsafe {
        if windows.pixels == 1 {
            let mut block = 0;
            while block + BLOCKS <= blocks {
                tile.run::<1, BLOCKS>(0, block);
                block += BLOCKS;
            }
            while block < blocks {
                tile.run::<1, 1>(0, block);
                block += 1;
            }
            return;
        }
        for block in 0..blocks {
            for (pixel, count) in groups(windows.pixels, PIXELS) {
                match count {
                    1 => tile.run::<1, 1>(pixel, block),
                    2 => tile.run::<2, 1>(pixel, block),
                    3 => tile.run::<3, 1>(pixel, block),
                    4 => tile.run::<4, 1>(pixel, block),
                    5 => tile.run::<5, 1>(pixel, block),
                    _ => tile.run::<PIXELS, 1>(pixel, block),
                }
            }
        }
    }
}

/// What tiles of pixels and blocks have in common.
struct Tile<'t> {
    windows: &'t Windows<'t, i16>,
    layer: &'t Layer<'t>,
    channels: usize,
    y: *mut i8,
    y_step: usize,
    epilogue: &'t Epilogue,
}

impl Tile<'_> {
    /// Results of `P` pixels from `pixel` on, `B` blocks from `block` on.
    ///
    /// # Safety
    /// As [`convolve`], and there are so many pixels and blocks.
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn run<const P: usize, const B: usize>(&self, pixel: usize, block: usize) {
        let step = self.windows.step;
        let mut sums = [[[_mm256_setzero_si256(); 2]; B]; P];
        // SAFETY: the caller's promise; weights are read in order.
        unsafe {
            let mut weights = self.layer.weights.as_ptr().add(block * self.layer.block);
            let rows = self.windows.rows.as_ptr().add(pixel * step);
            for run in self.windows.runs {
                let mut taps = rows.add(*run);
                let end = taps.add(self.windows.len);
                while taps < end {
                    let mut w = [[_mm256_setzero_si256(); 2]; B];
                    for (b, w) in w.iter_mut().enumerate() {
                        let at = weights.add(b * self.layer.block);
                        *w = [extend(at), extend(at.add(16))];
                    }
                    weights = weights.add(32);
                    for (p, sums) in sums.iter_mut().enumerate() {
                        let x = taps.add(p * step).cast::<i64>().read_unaligned();
                        let x = _mm256_set1_epi64x(x);
                        for (sums, w) in sums.iter_mut().zip(&w) {
                            sums[0] = _mm256_add_epi32(sums[0], _mm256_madd_epi16(x, w[0]));
                            sums[1] = _mm256_add_epi32(sums[1], _mm256_madd_epi16(x, w[1]));
                        }
                    }
                    taps = taps.add(4);
                }
            }
            let finish = |i: usize| {
                let (p, b) = (i / B, i % B);
                let channel = (block + b) * 8;
                Sums {
                    sums: self.whole(sums[p][b], block + b),
                    multipliers: _mm256_loadu_ps(
                        self.layer.multipliers.as_ptr().add(block + b).cast(),
                    ),
                    y: self.y.add((pixel + p) * self.y_step + channel),
                    count: (self.channels - channel).min(8),
                }
            };
            for i in (0..P * B / 2 * 2).step_by(2) {
                self.epilogue.store_two(finish(i), finish(i + 1));
            }
            if P * B % 2 == 1 {
                self.epilogue.store(finish(P * B - 1));
            }
        }
    }

    /// Sums of a block's channels of their partial ones, and the bias.
    ///
    /// # Safety
    /// There is such a block.
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn whole(&self, sums: [__m256i; 2], block: usize) -> __m256i {
        // SAFETY: the caller's promise.
        let bias = unsafe { _mm256_loadu_si256(self.layer.bias.as_ptr().add(block).cast()) };
        // Channels 0, 1, 4, 5, 2, 3, 6, 7.
        let sums = _mm256_hadd_epi32(sums[0], sums[1]);
        _mm256_add_epi32(_mm256_permute4x64_epi64::<0b11_01_10_00>(sums), bias)
    }
}

/// Sixteen weights.
///
/// # Safety
/// They may be read.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn extend(weights: *const i8) -> __m256i {
    // SAFETY: the caller's promise.
    _mm256_cvtepi8_epi16(unsafe { _mm_loadu_si128(weights.cast()) })
}
