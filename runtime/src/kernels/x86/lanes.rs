//! Depthwise convolutions with AVX-512 VNNI: sixteen channels, up to eight pixels at a time. A vector is sixteen channels' pairs of
//! rows; where eight channels or fewer are left, it is those of two pixels.
//!
//! `VPDPWSSD` multiplies pairs of 16-bit numbers and adds both products to a sum, exactly.

use super::sixteen::{Bounds, first};
use crate::kernels::octet::arm::{Layer, Results, Windows};
use crate::kernels::parts::groups;
use core::arch::x86_64::{
    __m128i, __m256i, __m512, __m512i, _mm_castsi128_pd, _mm_loadu_si128, _mm_mask_storeu_epi8,
    _mm_maskz_loadu_epi8, _mm_storeh_pd, _mm_storel_epi64, _mm_storeu_si128, _mm_unpackhi_epi64,
    _mm256_castsi128_si256, _mm256_inserti128_si256, _mm256_loadu_si256, _mm512_broadcast_i64x4,
    _mm512_castsi256_si512, _mm512_castsi512_ps, _mm512_cvtepi8_epi16, _mm512_cvtepi8_epi32,
    _mm512_dpwssd_epi32, _mm512_inserti64x4, _mm512_loadu_si512, _mm512_mask_blend_epi16,
    _mm512_mask_storeu_epi32, _mm512_setzero_si512, _mm512_slli_epi32, _mm512_storeu_si512,
};

/// Most pixels, or pairs of them, of a tile.
const PIXELS: usize = 8;

/// # Safety
/// [`Windows::depthwise`] has said that everything fits.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) unsafe fn depthwise(
    windows: &Windows<'_, i16>,
    layer: &Layer<'_>,
    results: &mut Results<'_, '_>,
) {
    let bounds = Bounds::new(&layer.output);
    for channel in (0..results.channels).step_by(16) {
        let (block, left) = (channel / 8, results.channels - channel);
        // SAFETY: the caller's promise, for blocks that there are.
        unsafe {
            let sixteen = left > 8;
            let wide = |all: *const [i32; 8]| match sixteen {
                true => _mm512_loadu_si512(all.add(block).cast()),
                false => _mm512_broadcast_i64x4(_mm256_loadu_si256(all.add(block).cast())),
            };
            let lanes = Lanes {
                weights: layer.weights.as_ptr().add(block * layer.block),
                block: layer.block,
                bias: wide(layer.bias.as_ptr()),
                multipliers: _mm512_castsi512_ps(wide(layer.multipliers.as_ptr().cast())),
                rows: windows.rows.as_ptr().add(2 * channel),
                windows,
                bounds: &bounds,
                y: results.y.as_mut_ptr().add(channel),
                y_step: results.step,
                count: left.min(16),
            };
            match (windows.runs.len(), sixteen) {
                // 3×3: weights stay in registers.
                (6, true) => lanes.all::<6, true>(),
                (_, true) => lanes.all::<0, true>(),
                (6, false) => lanes.all::<6, false>(),
                (_, false) => lanes.all::<0, false>(),
            }
        }
    }
}

/// Sixteen channels, or eight of two pixels.
struct Lanes<'l> {
    weights: *const i8,
    /// From a block's weights to the next one's.
    block: usize,
    bias: __m512i,
    multipliers: __m512,
    rows: *const i16,
    windows: &'l Windows<'l, i16>,
    bounds: &'l Bounds,
    y: *mut i8,
    y_step: usize,
    /// Channels that are written.
    count: usize,
}

impl Lanes<'_> {
    /// All pixels, of windows of `RUNS` runs; of any number if that is 0.
    ///
    /// # Safety
    /// As [`depthwise`]; there are more than eight channels if `SIXTEEN`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn all<const RUNS: usize, const SIXTEEN: bool>(&self) {
        let pixels = self.windows.pixels;
        // SAFETY: the caller's promise, for pixels that there are.
        unsafe {
            let mut kept = [_mm512_setzero_si512(); RUNS];
            for (run, weights) in kept.iter_mut().enumerate() {
                *weights = self.weights_of::<SIXTEEN>(run);
            }
            let tiles = if SIXTEEN { pixels } else { pixels / 2 };
            for (first, count) in groups(tiles, PIXELS) {
                match count {
                    1 => self.some::<1, RUNS, SIXTEEN>(first, &kept),
                    2 => self.some::<2, RUNS, SIXTEEN>(first, &kept),
                    3 => self.some::<3, RUNS, SIXTEEN>(first, &kept),
                    4 => self.some::<4, RUNS, SIXTEEN>(first, &kept),
                    5 => self.some::<5, RUNS, SIXTEEN>(first, &kept),
                    6 => self.some::<6, RUNS, SIXTEEN>(first, &kept),
                    7 => self.some::<7, RUNS, SIXTEEN>(first, &kept),
                    _ => self.some::<PIXELS, RUNS, SIXTEEN>(first, &kept),
                }
            }
            if !SIXTEEN && pixels % 2 == 1 {
                self.last(&kept);
            }
        }
    }

    /// `P` tiles from `first` on: pixels or pairs of them.
    ///
    /// # Safety
    /// As [`Lanes::all`], and there are so many.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn some<const P: usize, const RUNS: usize, const SIXTEEN: bool>(
        &self,
        first: usize,
        kept: &[__m512i; RUNS],
    ) {
        let step = self.windows.step;
        let mut sums = [self.bias; P];
        // SAFETY: the caller's promise.
        unsafe {
            let tile = if SIXTEEN { step } else { 2 * step };
            let rows = self.rows.add(first * tile);
            for (run, begin) in self.windows.runs.iter().enumerate() {
                let weights = match kept.get(run) {
                    Some(weights) => *weights,
                    None => self.weights_of::<SIXTEEN>(run),
                };
                let row = rows.add(*begin);
                for (p, sum) in sums.iter_mut().enumerate() {
                    let at = row.add(p * tile);
                    let x = match SIXTEEN {
                        true => _mm512_loadu_si512(at.cast()),
                        false => both(half(at), half(at.add(step))),
                    };
                    *sum = _mm512_dpwssd_epi32(*sum, x, weights);
                }
            }
            let tile = if SIXTEEN {
                self.y_step
            } else {
                2 * self.y_step
            };
            let y = self.y.add(first * tile);
            for (p, sum) in sums.iter().enumerate() {
                let (bytes, y) = (self.bounds.bytes(*sum, self.multipliers), y.add(p * tile));
                match (SIXTEEN, self.count) {
                    (true, 16) => _mm_storeu_si128(y.cast(), bytes),
                    (false, 8) => {
                        _mm_storel_epi64(y.cast(), bytes);
                        _mm_storeh_pd(y.add(self.y_step).cast(), _mm_castsi128_pd(bytes));
                    }
                    (true, _) => self.store(y, bytes),
                    (false, _) => {
                        self.store(y, bytes);
                        self.store(y.add(self.y_step), _mm_unpackhi_epi64(bytes, bytes));
                    }
                }
            }
        }
    }

    /// The last pixel of an odd number, of eight channels or fewer.
    ///
    /// # Safety
    /// As [`depthwise`].
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn last<const RUNS: usize>(&self, kept: &[__m512i; RUNS]) {
        let pixel = self.windows.pixels - 1;
        let mut sum = self.bias;
        // SAFETY: the caller's promise.
        unsafe {
            let rows = self.rows.add(pixel * self.windows.step);
            for (run, begin) in self.windows.runs.iter().enumerate() {
                let weights = match kept.get(run) {
                    Some(weights) => *weights,
                    None => self.weights_of::<false>(run),
                };
                let x = _mm512_castsi256_si512(half(rows.add(*begin)));
                // The upper half is not defined, and not looked at.
                sum = _mm512_dpwssd_epi32(sum, x, weights);
            }
            let bytes = self.bounds.bytes(sum, self.multipliers);
            self.store(self.y.add(pixel * self.y_step), bytes);
        }
    }

    /// The weights of a run.
    ///
    /// # Safety
    /// As [`Lanes::all`], and there is such a run.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn weights_of<const SIXTEEN: bool>(&self, run: usize) -> __m512i {
        // SAFETY: the caller's promise.
        unsafe {
            let at = self.weights.add(run * 16);
            let low = _mm_loadu_si128(at.cast());
            let high = match SIXTEEN {
                true => _mm_loadu_si128(at.add(self.block).cast()),
                false => low,
            };
            let all = _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(low), high);
            _mm512_cvtepi8_epi16(all)
        }
    }

    /// Writes the first channels of `bytes`.
    ///
    /// # Safety
    /// There is room for them.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn store(&self, y: *mut i8, bytes: __m128i) {
        // SAFETY: the caller's promise; what the mask leaves out is not touched.
        unsafe { _mm_mask_storeu_epi8(y, first(self.count), bytes) };
    }
}

/// Sixteen numbers.
///
/// # Safety
/// They may be read.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn half(at: *const i16) -> __m256i {
    // SAFETY: the caller's promise.
    unsafe { _mm256_loadu_si256(at.cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn both(low: __m256i, high: __m256i) -> __m512i {
    _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high)
}

/// `count` pieces of `len` elements of `a` and `b` by turns, sign-extended. They are `steps` elements apart in `a` and in `b`, and
/// pairs in `y`.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(super) fn interleave(
    [a, b]: [&[i8]; 2],
    y: &mut [i16],
    count: usize,
    len: usize,
    steps: [usize; 3],
) -> Option<()> {
    let last = |step: usize| count.checked_sub(1)?.checked_mul(step)?.checked_add(len);
    let [a_len, b_len, y_len] = steps.map(last);
    if a_len? > a.len() || b_len? > b.len() || y_len?.checked_mul(2)? > y.len() {
        return None;
    }
    let (mut a, mut b, mut y) = (a.as_ptr(), b.as_ptr(), y.as_mut_ptr());
    for _ in 0..count {
        let whole = len / 16 * 16;
        // SAFETY: what is read and written has just been found to fit; pointers behind the last piece are not used.
        unsafe {
            for at in (0..whole).step_by(16) {
                let (a, b) = (
                    _mm_loadu_si128(a.add(at).cast()),
                    _mm_loadu_si128(b.add(at).cast()),
                );
                _mm512_storeu_si512(y.add(2 * at).cast(), pairs(a, b));
            }
            if whole < len {
                let lanes = first(len - whole);
                let a = _mm_maskz_loadu_epi8(lanes, a.add(whole));
                let b = _mm_maskz_loadu_epi8(lanes, b.add(whole));
                _mm512_mask_storeu_epi32(y.add(2 * whole).cast(), lanes, pairs(a, b));
            }
        }
        a = a.wrapping_add(steps[0]);
        b = b.wrapping_add(steps[1]);
        y = y.wrapping_add(2 * steps[2]);
    }
    Some(())
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn pairs(a: __m128i, b: __m128i) -> __m512i {
    let upper = _mm512_slli_epi32::<16>(_mm512_cvtepi8_epi32(b));
    _mm512_mask_blend_epi16(0xaaaa_aaaa, _mm512_cvtepi8_epi32(a), upper)
}
