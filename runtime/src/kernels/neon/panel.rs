//! Float panels: see [`crate::kernels::panel`]. Sixteen channels are four vectors; four pixels are computed at once.

use super::Neon;
use crate::kernels::panel::arm::{Arm, Results, Tile};
use crate::kernels::panel::{CHANNELS, Portable};
use crate::kernels::parts::groups;
use core::arch::aarch64::{
    float32x4_t, vaddq_f32, vbslq_f32, vcgtq_f32, vcltq_f32, vdupq_n_f32, vld1q_f32, vmulq_f32,
    vmulq_laneq_f32, vst1q_f32,
};
use core::array::from_fn;

/// Sixteen channels.
type Channels = [float32x4_t; 4];

/// Calls a function for a constant number of pixels, four at most.
macro_rules! constant {
    ($count:expr, $function:ident $arguments:tt) => {
        match $count {
            1 => $function::<1> $arguments,
            2 => $function::<2> $arguments,
            3 => $function::<3> $arguments,
            _ => $function::<4> $arguments,
        }
    };
}

impl Arm for Neon {
    fn shared(self, tile: &Tile<'_>, results: &mut Results<'_>) -> Option<()> {
        if !tile.fits([1, CHANNELS], results) {
            return None;
        }
        for (first, count) in groups(tile.pixels, 4) {
            // SAFETY: the processor has vectors, since there is a value; everything has just been found to fit.
            unsafe { constant!(count, shared(tile, first, results)) }
        }
        Some(())
    }

    fn own(self, tile: &Tile<'_>, results: &mut Results<'_>) -> Option<()> {
        if results.channels != CHANNELS {
            return Portable.own(tile, results);
        }
        if !tile.fits([CHANNELS; 2], results) {
            return None;
        }
        for (first, count) in groups(tile.pixels, 4) {
            // SAFETY: as above, for sixteen channels.
            unsafe { constant!(count, own(tile, first, results)) }
        }
        Some(())
    }
}

/// Sixteen numbers from `from` on.
///
/// # Safety
/// They may be read.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn load(from: *const f32) -> Channels {
    // SAFETY: the caller's promise.
    from_fn(|i| unsafe { vld1q_f32(from.add(4 * i)) })
}

/// Adds products, each rounded by itself.
#[inline]
#[target_feature(enable = "neon")]
fn add(sums: &mut Channels, products: Channels) {
    for (sum, product) in sums.iter_mut().zip(products) {
        *sum = vaddq_f32(*sum, product);
    }
}

/// Adds a tap that is lane `LANE` of each pixel's vector.
#[inline]
#[target_feature(enable = "neon")]
fn lane<const N: usize, const LANE: i32>(
    sums: &mut [Channels; N],
    x: &[float32x4_t; N],
    weights: Channels,
) {
    for (sums, x) in sums.iter_mut().zip(x) {
        add(sums, weights.map(|w| vmulq_laneq_f32::<LANE>(w, *x)));
    }
}

/// `N` pixels from `first` on, whose taps all channels share.
///
/// # Safety
/// Tile and results fit and have the pixels.
#[target_feature(enable = "neon")]
unsafe fn shared<const N: usize>(tile: &Tile<'_>, first: usize, results: &mut Results<'_>) {
    // SAFETY: `Tile::fits` is true, so whatever a tap reads is inside; `wrapping_add` goes behind the last tap without reading.
    // Four taps are read at once where they lie together.
    unsafe {
        let mut sums = [load(tile.start.as_ptr()); N];
        let [step, weights_step] = tile.tap;
        let fours = if step == 1 { tile.taps / 4 } else { 0 };
        for [x, weights] in tile.runs {
            let mut x = tile.x.as_ptr().add(x + first * tile.pixel);
            let mut weights = tile.weights.as_ptr().add(*weights);
            for _ in 0..fours {
                let taps = from_fn(|n| vld1q_f32(x.add(n * tile.pixel)));
                lane::<N, 0>(&mut sums, &taps, load(weights));
                lane::<N, 1>(&mut sums, &taps, load(weights.add(weights_step)));
                lane::<N, 2>(&mut sums, &taps, load(weights.add(2 * weights_step)));
                lane::<N, 3>(&mut sums, &taps, load(weights.add(3 * weights_step)));
                x = x.wrapping_add(4);
                weights = weights.wrapping_add(4 * weights_step);
            }
            for _ in 4 * fours..tile.taps {
                let taps = from_fn(|n| vdupq_n_f32(*x.add(n * tile.pixel)));
                lane::<N, 0>(&mut sums, &taps, load(weights));
                x = x.wrapping_add(step);
                weights = weights.wrapping_add(weights_step);
            }
        }
        finish(tile, first, results, sums);
    }
}

/// `N` pixels from `first` on, whose sixteen channels have taps of their own.
///
/// # Safety
/// As [`shared`]; there are sixteen channels.
#[target_feature(enable = "neon")]
unsafe fn own<const N: usize>(tile: &Tile<'_>, first: usize, results: &mut Results<'_>) {
    // SAFETY: as above.
    unsafe {
        let mut sums = [load(tile.start.as_ptr()); N];
        for [x, weights] in tile.runs {
            let mut x = tile.x.as_ptr().add(x + first * tile.pixel);
            let mut weights = tile.weights.as_ptr().add(*weights);
            for _ in 0..tile.taps {
                let w = load(weights);
                for (n, sums) in sums.iter_mut().enumerate() {
                    let x = load(x.add(n * tile.pixel));
                    add(sums, from_fn(|i| vmulq_f32(x[i], w[i])));
                }
                x = x.wrapping_add(tile.tap[0]);
                weights = weights.wrapping_add(tile.tap[1]);
            }
        }
        finish(tile, first, results, sums);
    }
}

/// Bounds the results of pixels from `first` on and writes them.
///
/// # Safety
/// The results have the pixels.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn finish<const N: usize>(
    tile: &Tile<'_>,
    first: usize,
    results: &mut Results<'_>,
    mut sums: [Channels; N],
) {
    if let Some([min, max]) = tile.bounds {
        let (min, max) = (vdupq_n_f32(min), vdupq_n_f32(max));
        for sum in sums.as_flattened_mut() {
            // A sum that is no number is not above the lower bound, so it becomes that.
            let above = vbslq_f32(vcgtq_f32(*sum, min), *sum, min);
            *sum = vbslq_f32(vcltq_f32(above, max), above, max);
        }
    }
    for (n, sums) in sums.iter().enumerate() {
        // SAFETY: by the contract the pixel's channels are inside, and they are sixteen at most.
        unsafe {
            let y = results.y.as_mut_ptr().add((first + n) * results.step);
            if results.channels == CHANNELS {
                store(y, sums);
                continue;
            }
            let mut all = [0.0_f32; CHANNELS];
            store(all.as_mut_ptr(), sums);
            core::ptr::copy_nonoverlapping(all.as_ptr(), y, results.channels);
        }
    }
}

/// Writes sixteen numbers.
///
/// # Safety
/// They may be written.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn store(to: *mut f32, channels: &Channels) {
    for (i, values) in channels.iter().enumerate() {
        // SAFETY: the caller's promise.
        unsafe { vst1q_f32(to.add(4 * i), *values) };
    }
}
