//! Float panels: see [`crate::kernels::panel`]. Two registers of eight channels with AVX2, one of sixteen with AVX-512.

use super::{Avx2, Avx512};
use crate::kernels::panel::CHANNELS;
use crate::kernels::panel::arm::{Arm, Results, Tile};
use crate::kernels::parts::groups;
use core::arch::x86_64::{
    __m256, __m512, _mm256_add_ps, _mm256_broadcast_ss, _mm256_loadu_ps, _mm256_loadu_si256,
    _mm256_maskload_ps, _mm256_max_ps, _mm256_min_ps, _mm256_mul_ps, _mm256_set1_ps,
    _mm256_storeu_ps, _mm512_add_ps, _mm512_loadu_ps, _mm512_maskz_loadu_ps, _mm512_max_ps,
    _mm512_min_ps, _mm512_mul_ps, _mm512_set1_ps, _mm512_storeu_ps,
};

/// Calls a function for a constant number of pixels: `count`, twelve at most.
macro_rules! constant {
    ($count:expr, $function:ident, $own:literal, $arguments:tt, $($n:literal)*) => {
        match $count {
            $($n => $function::<$n, $own> $arguments,)*
            _ => {}
        }
    };
}

impl Arm for Avx2 {
    fn shared(self, tile: &Tile<'_>, results: &mut Results<'_>) -> Option<()> {
        if !tile.fits([1, CHANNELS], results) {
            return None;
        }
        for (first, count) in groups(tile.pixels, 6) {
            // SAFETY: the processor has AVX2, since there is a value; everything has just been found to fit.
            unsafe { constant!(count, octets, false, (tile, first, results), 1 2 3 4 5 6) }
        }
        Some(())
    }

    fn own(self, tile: &Tile<'_>, results: &mut Results<'_>) -> Option<()> {
        if !tile.fits([results.channels; 2], results) {
            return None;
        }
        for (first, count) in groups(tile.pixels, 4) {
            // SAFETY: as above.
            unsafe { constant!(count, octets, true, (tile, first, results), 1 2 3 4) }
        }
        Some(())
    }
}

impl Arm for Avx512 {
    fn shared(self, tile: &Tile<'_>, results: &mut Results<'_>) -> Option<()> {
        if !tile.fits([1, CHANNELS], results) {
            return None;
        }
        for (first, count) in groups(tile.pixels, 12) {
            // SAFETY: the processor has AVX-512, since there is a value; everything has just been found to fit.
            unsafe {
                constant!(count, sixteens, false, (tile, first, results), 1 2 3 4 5 6 7 8 9 10 11 12)
            }
        }
        Some(())
    }

    fn own(self, tile: &Tile<'_>, results: &mut Results<'_>) -> Option<()> {
        if !tile.fits([results.channels; 2], results) {
            return None;
        }
        for (first, count) in groups(tile.pixels, 8) {
            // SAFETY: as above.
            unsafe { constant!(count, sixteens, true, (tile, first, results), 1 2 3 4 5 6 7 8) }
        }
        Some(())
    }
}

/// Where the taps of pixel `first` of a run begin, and the run's weights.
///
/// # Safety
/// The tile fits and has the pixel.
#[inline(always)]
unsafe fn begin(
    tile: &Tile<'_>,
    first: usize,
    [x, weights]: [usize; 2],
) -> (*const f32, *const f32) {
    // SAFETY: by the contract both are inside.
    unsafe {
        let x = tile.x.as_ptr().add(x + first * tile.pixel);
        (x, tile.weights.as_ptr().add(weights))
    }
}

/// Writes the results of a pixel.
///
/// # Safety
/// The results have the pixel.
#[inline(always)]
unsafe fn store(results: &mut Results<'_>, pixel: usize, sums: &[f32; CHANNELS]) {
    // SAFETY: by the contract the pixel's channels are inside, and they are sixteen at most.
    unsafe {
        let y = results.y.as_mut_ptr().add(pixel * results.step);
        core::ptr::copy_nonoverlapping(sums.as_ptr(), y, results.channels);
    }
}

/// `N` pixels from `first` on; each channel has its `OWN` taps or all share them.
///
/// # Safety
/// The processor has AVX2; tile and results fit and have the pixels.
#[target_feature(enable = "avx2")]
unsafe fn octets<const N: usize, const OWN: bool>(
    tile: &Tile<'_>,
    first: usize,
    results: &mut Results<'_>,
) {
    // SAFETY: `Tile::fits` is true, so whatever a tap reads is inside, of its own elements those of the channels; `wrapping_add`
    // goes behind the last tap without reading. There are sixteen channels at most.
    unsafe {
        let start = tile.start.as_ptr();
        let mut sums: [[__m256; 2]; N] =
            [[_mm256_loadu_ps(start), _mm256_loadu_ps(start.add(8))]; N];
        // Lanes whose highest bit is set are read: those of the channels.
        const LANES: [i32; 2 * CHANNELS] = {
            let mut lanes = [0; 2 * CHANNELS];
            let mut lane = 0;
            while lane < CHANNELS {
                lanes[lane] = -1;
                lane += 1;
            }
            lanes
        };
        let lanes = LANES.as_ptr().add(CHANNELS - results.channels);
        let lanes = [
            _mm256_loadu_si256(lanes.cast()),
            _mm256_loadu_si256(lanes.add(8).cast()),
        ];
        let own = |at: *const f32| {
            [
                _mm256_maskload_ps(at, lanes[0]),
                _mm256_maskload_ps(at.wrapping_add(8), lanes[1]),
            ]
        };
        for run in tile.runs {
            let (mut x, mut weights) = begin(tile, first, *run);
            for _ in 0..tile.taps {
                let w = match OWN {
                    true => own(weights),
                    false => [_mm256_loadu_ps(weights), _mm256_loadu_ps(weights.add(8))],
                };
                for (n, sums) in sums.iter_mut().enumerate() {
                    let x = x.add(n * tile.pixel);
                    let x = match OWN {
                        true => own(x),
                        false => [_mm256_broadcast_ss(&*x); 2],
                    };
                    sums[0] = _mm256_add_ps(sums[0], _mm256_mul_ps(x[0], w[0]));
                    sums[1] = _mm256_add_ps(sums[1], _mm256_mul_ps(x[1], w[1]));
                }
                x = x.wrapping_add(tile.tap[0]);
                weights = weights.wrapping_add(tile.tap[1]);
            }
        }
        if let Some([min, max]) = tile.bounds {
            let (min, max) = (_mm256_set1_ps(min), _mm256_set1_ps(max));
            for sum in sums.as_flattened_mut() {
                // In this order of operands NaN becomes the lower bound.
                *sum = _mm256_min_ps(_mm256_max_ps(*sum, min), max);
            }
        }
        for (n, sums) in sums.iter().enumerate() {
            let pixel = first + n;
            if results.channels == CHANNELS {
                let y = results.y.as_mut_ptr().add(pixel * results.step);
                _mm256_storeu_ps(y, sums[0]);
                _mm256_storeu_ps(y.add(8), sums[1]);
                continue;
            }
            let mut all = [0.0; CHANNELS];
            _mm256_storeu_ps(all.as_mut_ptr(), sums[0]);
            _mm256_storeu_ps(all.as_mut_ptr().add(8), sums[1]);
            store(results, pixel, &all);
        }
    }
}

/// As [`octets`].
///
/// # Safety
/// The processor has AVX-512F; tile and results fit and have the pixels.
#[target_feature(enable = "avx512f")]
unsafe fn sixteens<const N: usize, const OWN: bool>(
    tile: &Tile<'_>,
    first: usize,
    results: &mut Results<'_>,
) {
    // SAFETY: as in `octets`.
    unsafe {
        let mut sums: [__m512; N] = [_mm512_loadu_ps(tile.start.as_ptr()); N];
        let lanes = u16::MAX >> (CHANNELS - results.channels);
        for run in tile.runs {
            let (mut x, mut weights) = begin(tile, first, *run);
            for _ in 0..tile.taps {
                let w = match OWN {
                    true => _mm512_maskz_loadu_ps(lanes, weights),
                    false => _mm512_loadu_ps(weights),
                };
                for (n, sum) in sums.iter_mut().enumerate() {
                    let x = x.add(n * tile.pixel);
                    let x = match OWN {
                        true => _mm512_maskz_loadu_ps(lanes, x),
                        false => _mm512_set1_ps(*x),
                    };
                    *sum = _mm512_add_ps(*sum, _mm512_mul_ps(x, w));
                }
                x = x.wrapping_add(tile.tap[0]);
                weights = weights.wrapping_add(tile.tap[1]);
            }
        }
        if let Some([min, max]) = tile.bounds {
            let (min, max) = (_mm512_set1_ps(min), _mm512_set1_ps(max));
            for sum in &mut sums {
                *sum = _mm512_min_ps(_mm512_max_ps(*sum, min), max);
            }
        }
        for (n, sum) in sums.iter().enumerate() {
            let pixel = first + n;
            if results.channels == CHANNELS {
                let y = results.y.as_mut_ptr().add(pixel * results.step);
                _mm512_storeu_ps(y, *sum);
                continue;
            }
            let mut all = [0.0; CHANNELS];
            _mm512_storeu_ps(all.as_mut_ptr(), *sum);
            store(results, pixel, &all);
        }
    }
}
