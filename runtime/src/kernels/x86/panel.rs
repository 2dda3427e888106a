//! Float panels: see [`crate::kernels::panel`]. Two registers of eight channels with AVX2, one of sixteen with AVX-512.

use super::{Avx2, Avx512};
use crate::kernels::panel::CHANNELS;
use crate::kernels::panel::arm::{Arm, Results, Tile, one_by_one};
use crate::kernels::parts::groups;
use core::arch::x86_64::{
    __m256, __m512, _mm256_add_ps, _mm256_broadcast_ss, _mm256_loadu_ps, _mm256_loadu_si256,
    _mm256_maskload_ps, _mm256_max_ps, _mm256_min_ps, _mm256_mul_ps, _mm256_set1_ps,
    _mm256_storeu_ps, _mm512_add_ps, _mm512_loadu_ps, _mm512_mask_storeu_ps, _mm512_maskz_loadu_ps,
    _mm512_max_ps, _mm512_min_ps, _mm512_mul_ps, _mm512_set1_ps, _mm512_setzero_ps,
    _mm512_storeu_ps,
};

/// So few pixels are computed for several panels at once.
const FEW: usize = 4;

/// Calls a function for a constant number of pixels: `count`, twelve at most.
macro_rules! constant {
    ($count:expr, $function:ident, $own:literal, $arguments:tt, $($n:literal)*) => {
        match $count {
            $($n => $function::<$n, $own> $arguments,)*
            _ => {}
        }
    };
    ($count:expr, $function:ident, $arguments:tt, $($n:literal)*) => {
        match $count {
            $($n => $function::<$n> $arguments,)*
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
                constant!(count, sixteens, (tile, first, results), 1 2 3 4 5 6 7 8 9 10 11 12)
            }
        }
        Some(())
    }

    fn shared_panels(
        self,
        tile: &Tile<'_>,
        panel: usize,
        starts: &[[f32; CHANNELS]],
        results: &mut Results<'_>,
    ) -> Option<()> {
        if tile.pixels > FEW {
            return one_by_one(self, tile, panel, starts, results);
        }
        let count = results.channels.div_ceil(CHANNELS);
        let read = count.checked_sub(1)?.checked_mul(panel)?;
        let read = [1, read.checked_add(CHANNELS)?];
        if !tile.all_fit(read, results) || starts.len() < count {
            return None;
        }
        let mut first = 0;
        while first < count {
            let some = (count - first).min(4);
            let at = [panel, first];
            // SAFETY: as above, for panels that there are.
            unsafe {
                match some {
                    1 => constant!(tile.pixels, panels, 1, (tile, at, starts, results), 1 2 3 4),
                    2 => constant!(tile.pixels, panels, 2, (tile, at, starts, results), 1 2 3 4),
                    3 => constant!(tile.pixels, panels, 3, (tile, at, starts, results), 1 2 3 4),
                    _ => constant!(tile.pixels, panels, 4, (tile, at, starts, results), 1 2 3 4),
                }
            }
            first += some;
        }
        Some(())
    }

    fn own(self, tile: &Tile<'_>, results: &mut Results<'_>) -> Option<()> {
        let start = tile.start.get(..results.channels)?;
        self.own_all(tile, start, results)
    }

    fn own_all(self, tile: &Tile<'_>, start: &[f32], results: &mut Results<'_>) -> Option<()> {
        if !tile.all_fit([results.channels; 2], results) || start.len() < results.channels {
            return None;
        }
        for (first, count) in groups(tile.pixels, 8) {
            // SAFETY: as above.
            unsafe { constant!(count, lanes, (tile, start, first, results), 1 2 3 4 5 6 7 8) }
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

/// `N` pixels from `first` on, sixteen channels that share taps.
///
/// # Safety
/// The processor has AVX-512F; tile and results fit and have the pixels.
#[target_feature(enable = "avx512f")]
unsafe fn sixteens<const N: usize>(tile: &Tile<'_>, first: usize, results: &mut Results<'_>) {
    // SAFETY: as in `octets`.
    unsafe {
        let mut sums: [__m512; N] = [_mm512_loadu_ps(tile.start.as_ptr()); N];
        for run in tile.runs {
            let (mut x, mut weights) = begin(tile, first, *run);
            for _ in 0..tile.taps {
                let w = _mm512_loadu_ps(weights);
                for (n, sum) in sums.iter_mut().enumerate() {
                    let x = _mm512_set1_ps(*x.add(n * tile.pixel));
                    *sum = _mm512_add_ps(*sum, _mm512_mul_ps(x, w));
                }
                x = x.wrapping_add(tile.tap[0]);
                weights = weights.wrapping_add(tile.tap[1]);
            }
        }
        for (n, sum) in sums.iter().enumerate() {
            let y = results.y.as_mut_ptr().add((first + n) * results.step);
            store_lanes(y, bounded(*sum, tile.bounds), results.channels);
        }
    }
}

/// All `N` pixels, `B` panels from `first` on, which are `panel` elements apart: where pixels are few, several panels keep as many
/// sums at work.
///
/// # Safety
/// As [`sixteens`]; there are so many panels, and starts for each.
#[target_feature(enable = "avx512f")]
unsafe fn panels<const N: usize, const B: usize>(
    tile: &Tile<'_>,
    [panel, first]: [usize; 2],
    starts: &[[f32; CHANNELS]],
    results: &mut Results<'_>,
) {
    // SAFETY: as in `octets`.
    unsafe {
        let mut sums = [[_mm512_setzero_ps(); B]; N];
        for sums in &mut sums {
            for (b, sum) in sums.iter_mut().enumerate() {
                *sum = _mm512_loadu_ps(starts.as_ptr().add(first + b).cast());
            }
        }
        for run in tile.runs {
            let (mut x, mut weights) = begin(tile, 0, *run);
            weights = weights.wrapping_add(first * panel);
            for _ in 0..tile.taps {
                let mut w = [_mm512_setzero_ps(); B];
                for (b, w) in w.iter_mut().enumerate() {
                    *w = _mm512_loadu_ps(weights.add(b * panel));
                }
                for (n, sums) in sums.iter_mut().enumerate() {
                    let x = _mm512_set1_ps(*x.add(n * tile.pixel));
                    for (sum, w) in sums.iter_mut().zip(&w) {
                        *sum = _mm512_add_ps(*sum, _mm512_mul_ps(x, *w));
                    }
                }
                x = x.wrapping_add(tile.tap[0]);
                weights = weights.wrapping_add(tile.tap[1]);
            }
        }
        for (n, sums) in sums.iter().enumerate() {
            for (b, sum) in sums.iter().enumerate() {
                let channel = (first + b) * CHANNELS;
                let y = results.y.as_mut_ptr().add(n * results.step + channel);
                let count = (results.channels - channel).min(CHANNELS);
                store_lanes(y, bounded(*sum, tile.bounds), count);
            }
        }
    }
}

/// `N` pixels from `first` on, all channels, each with taps of its own.
///
/// # Safety
/// As [`sixteens`]; there is a start for each channel.
#[target_feature(enable = "avx512f")]
unsafe fn lanes<const N: usize>(
    tile: &Tile<'_>,
    start: &[f32],
    first: usize,
    results: &mut Results<'_>,
) {
    for channel in (0..results.channels).step_by(CHANNELS) {
        let count = (results.channels - channel).min(CHANNELS);
        let lanes = u16::MAX >> (CHANNELS - count);
        // SAFETY: as in `octets`: what the mask leaves out is not read.
        unsafe {
            let start = _mm512_maskz_loadu_ps(lanes, start.as_ptr().add(channel));
            let mut sums: [__m512; N] = [start; N];
            for run in tile.runs {
                let (x, weights) = begin(tile, first, *run);
                let (mut x, mut weights) = (x.add(channel), weights.add(channel));
                for _ in 0..tile.taps {
                    let w = _mm512_maskz_loadu_ps(lanes, weights);
                    for (n, sum) in sums.iter_mut().enumerate() {
                        let x = _mm512_maskz_loadu_ps(lanes, x.add(n * tile.pixel));
                        *sum = _mm512_add_ps(*sum, _mm512_mul_ps(x, w));
                    }
                    x = x.wrapping_add(tile.tap[0]);
                    weights = weights.wrapping_add(tile.tap[1]);
                }
            }
            for (n, sum) in sums.iter().enumerate() {
                let y = results
                    .y
                    .as_mut_ptr()
                    .add((first + n) * results.step + channel);
                store_lanes(y, bounded(*sum, tile.bounds), count);
            }
        }
    }
}

/// Cut off at the bounds, if there are any.
#[inline]
#[target_feature(enable = "avx512f")]
fn bounded(sum: __m512, bounds: Option<[f32; 2]>) -> __m512 {
    match bounds {
        // In this order of operands NaN becomes the lower bound.
        Some([min, max]) => {
            _mm512_min_ps(_mm512_max_ps(sum, _mm512_set1_ps(min)), _mm512_set1_ps(max))
        }
        None => sum,
    }
}

/// Writes the first `count` lanes, one at least.
///
/// # Safety
/// There is room for them.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn store_lanes(y: *mut f32, sums: __m512, count: usize) {
    // SAFETY: by the contract; what the mask leaves out is not touched.
    unsafe {
        if count == CHANNELS {
            _mm512_storeu_ps(y, sums);
        } else {
            _mm512_mask_storeu_ps(y, u16::MAX >> (CHANNELS - count.clamp(1, CHANNELS)), sums);
        }
    }
}
