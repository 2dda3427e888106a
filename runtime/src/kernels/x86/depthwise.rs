//! Depthwise convolutions: eight channels, two pixels at a time. A vector is eight channels' pairs of rows.

use super::requantize::{Epilogue, Sums};
use crate::kernels::octet::arm::{Layer, Results, Windows};
use core::arch::x86_64::{
    __m256i, _mm_loadu_si128, _mm256_add_epi32, _mm256_cvtepi8_epi16, _mm256_loadu_ps,
    _mm256_loadu_si256, _mm256_madd_epi16, _mm256_setzero_si256,
};

/// # Safety
/// [`Windows::depthwise`] has said that everything fits.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn depthwise(
    windows: &Windows<'_, i16>,
    layer: &Layer<'_>,
    results: &mut Results<'_, '_>,
) {
    let epilogue = Epilogue::new(layer, results);
    for block in 0..results.channels.div_ceil(8) {
        let channel = block * 8;
        // SAFETY: the caller's promise, for a block that there is.
        unsafe {
            let block = Block {
                weights: layer.weights.as_ptr().add(block * layer.block),
                bias: _mm256_loadu_si256(layer.bias.as_ptr().add(block).cast()),
                rows: windows.rows.as_ptr().add(2 * channel),
                windows,
                epilogue: &epilogue,
                first: Sums {
                    sums: _mm256_setzero_si256(),
                    multipliers: _mm256_loadu_ps(layer.multipliers.as_ptr().add(block).cast()),
                    y: results.y.as_mut_ptr().add(channel),
                    count: (results.channels - channel).min(8),
                },
                y_step: results.step,
            };
            match windows.runs.len() {
                // 3×3: weights stay in registers.
                6 => block.pixels::<6>(),
                _ => block.any(),
            }
        }
    }
}

/// Eight channels.
struct Block<'b> {
    weights: *const i8,
    bias: __m256i,
    rows: *const i16,
    windows: &'b Windows<'b, i16>,
    epilogue: &'b Epilogue,
    first: Sums,
    y_step: usize,
}

impl Block<'_> {
    /// # Safety
    /// As [`depthwise`], for windows of `RUNS` runs.
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn pixels<const RUNS: usize>(&self) {
        let mut weights = [_mm256_setzero_si256(); RUNS];
        let mut rows = [self.rows; RUNS];
        // SAFETY: the caller's promise.
        unsafe {
            for (run, (w, row)) in weights.iter_mut().zip(&mut rows).enumerate() {
                *w = extend(self.weights.add(run * 16));
                *row = row.add(*self.windows.runs.get_unchecked(run));
            }
            let sum = |pixel: usize| {
                let mut sum = self.bias;
                for (w, row) in weights.iter().zip(&rows) {
                    let x = _mm256_loadu_si256(row.add(pixel * self.windows.step).cast());
                    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(x, *w));
                }
                self.at(pixel, sum)
            };
            let even = self.windows.pixels / 2 * 2;
            for pixel in (0..even).step_by(2) {
                self.epilogue.store_two(sum(pixel), sum(pixel + 1));
            }
            if even < self.windows.pixels {
                self.epilogue.store(sum(even));
            }
        }
    }

    /// # Safety
    /// As [`depthwise`].
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn any(&self) {
        for pixel in 0..self.windows.pixels {
            let mut sum = self.bias;
            let mut weights = self.weights;
            // SAFETY: the caller's promise; weights are read in order.
            unsafe {
                let row = self.rows.add(pixel * self.windows.step);
                for run in self.windows.runs {
                    let x = _mm256_loadu_si256(row.add(*run).cast());
                    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(x, extend(weights)));
                    weights = weights.add(16);
                }
                self.epilogue.store(self.at(pixel, sum));
            }
        }
    }

    /// The sums of a pixel.
    ///
    /// # Safety
    /// There is such a pixel.
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn at(&self, pixel: usize, sums: __m256i) -> Sums {
        Sums {
            sums,
            // SAFETY: the caller's promise.
            y: unsafe { self.first.y.add(pixel * self.y_step) },
            ..self.first
        }
    }
}

/// A run's weights.
///
/// # Safety
/// They may be read.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn extend(weights: *const i8) -> __m256i {
    // SAFETY: the caller's promise.
    _mm256_cvtepi8_epi16(unsafe { _mm_loadu_si128(weights.cast()) })
}
