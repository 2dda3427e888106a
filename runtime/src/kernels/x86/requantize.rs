//! The rounding contract, eight sums at a time: see [`crate::requantize`].
//!
//! `VCVTDQ2PS` and `VCVTPS2DQ` round to nearest even. What is too small for 32 bits, and what is no number, becomes the least
//! integer, and so the lower bound; what is too large is cut off before. Packing saturates, which the bounds allow.

use crate::kernels::octet::arm::{Layer, Results};
use crate::requantize::Output;
use core::arch::x86_64::{
    __m128i, __m256, __m256i, _mm_castsi128_pd, _mm_loadl_epi64, _mm_loadu_si128, _mm_max_epi8,
    _mm_set1_epi8, _mm_storeh_pd, _mm_storel_epi64, _mm_unpackhi_epi64, _mm256_add_epi32,
    _mm256_adds_epi16, _mm256_castsi256_si128, _mm256_cvtepi8_epi32, _mm256_cvtepi32_ps,
    _mm256_cvtps_epi32, _mm256_max_epi32, _mm256_min_ps, _mm256_mul_ps, _mm256_mullo_epi32,
    _mm256_packs_epi16, _mm256_packs_epi32, _mm256_permutevar8x32_epi32, _mm256_set1_epi16,
    _mm256_set1_epi32, _mm256_set1_ps, _mm256_setr_epi32,
};

/// The zero point and bounds of an output, in every lane.
#[derive(Clone, Copy)]
struct Bounds {
    high: __m256,
    zero_point: __m256i,
    min: __m128i,
}

impl Bounds {
    #[inline]
    #[target_feature(enable = "avx2")]
    fn new(output: &Output) -> Bounds {
        Bounds {
            high: _mm256_set1_ps(output.high()),
            zero_point: _mm256_set1_epi16(output.zero_point() as i16),
            min: _mm_set1_epi8(output.min() as i8),
        }
    }

    /// Nearest integers of the products, before the zero point.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn round(&self, sums: __m256i, multipliers: __m256) -> __m256i {
        let products = _mm256_mul_ps(_mm256_cvtepi32_ps(sums), multipliers);
        // The second operand if either is no number.
        _mm256_cvtps_epi32(_mm256_min_ps(self.high, products))
    }

    /// Results of two times eight rounded products.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn pack(&self, a: __m256i, b: __m256i) -> __m128i {
        let both = _mm256_adds_epi16(_mm256_packs_epi32(a, b), self.zero_point);
        let bytes = _mm256_packs_epi16(both, both);
        // Packing works on halves: four of `a`, four of `b`, and the same of the upper halves in the middle.
        let order = _mm256_setr_epi32(0, 4, 1, 5, 0, 4, 1, 5);
        let bytes = _mm256_castsi256_si128(_mm256_permutevar8x32_epi32(bytes, order));
        _mm_max_epi8(bytes, self.min)
    }
}

/// An addition behind the results.
#[derive(Clone, Copy)]
struct Sum {
    least: __m256i,
    zero_point: __m256i,
    factor: __m256i,
    factor_b: __m256i,
    offset: __m256i,
    multiplier: __m256,
    bounds: Bounds,
}

/// What makes results of sums.
#[derive(Clone, Copy)]
pub(super) struct Epilogue {
    bounds: Bounds,
    sum: Option<Sum>,
}

/// Eight sums with what belongs to them.
#[derive(Clone, Copy)]
pub(super) struct Sums {
    pub(super) sums: __m256i,
    pub(super) multipliers: __m256,
    /// Where their results go.
    pub(super) y: *mut i8,
    /// How many of them there are.
    pub(super) count: usize,
}

impl Epilogue {
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn new(layer: &Layer<'_>, results: &Results<'_, '_>) -> Epilogue {
        let output = &layer.output;
        let sum = results.residual.map(|r| Sum {
            least: _mm256_set1_epi32(output.min().wrapping_sub(output.zero_point())),
            zero_point: _mm256_set1_epi32(output.zero_point()),
            factor: _mm256_set1_epi32(r.factor),
            factor_b: _mm256_set1_epi32(r.factor_b),
            offset: _mm256_set1_epi32(r.offset),
            multiplier: _mm256_set1_ps(r.multiplier),
            bounds: Bounds::new(&r.output),
        });
        Epilogue {
            bounds: Bounds::new(output),
            sum,
        }
    }

    /// Stores the results of two times eight sums.
    ///
    /// # Safety
    /// So many results may be read and written where they go.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn store_two(&self, a: Sums, b: Sums) {
        // SAFETY: the caller's promise.
        unsafe {
            let bytes = self.bytes(a, b);
            store_some(a.y, bytes, a.count);
            if b.count == 8 {
                _mm_storeh_pd(b.y.cast(), _mm_castsi128_pd(bytes));
            } else {
                store_some(b.y, _mm_unpackhi_epi64(bytes, bytes), b.count);
            }
        }
    }

    /// Stores the results of eight sums.
    ///
    /// # Safety
    /// So many results may be read and written where they go.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn store(&self, a: Sums) {
        // SAFETY: the caller's promise.
        unsafe { store_some(a.y, self.bytes(a, a), a.count) };
    }

    /// # Safety
    /// As [`Epilogue::store_two`].
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn bytes(&self, a: Sums, b: Sums) -> __m128i {
        let first = self.bounds.round(a.sums, a.multipliers);
        let second = self.bounds.round(b.sums, b.multipliers);
        match &self.sum {
            None => self.bounds.pack(first, second),
            Some(sum) => {
                // SAFETY: the caller's promise.
                let (other, other_b) = unsafe { (some(a.y, a.count), some(b.y, b.count)) };
                let (a, b) = (sum.rounded(first, other), sum.rounded(second, other_b));
                sum.bounds.pack(a, b)
            }
        }
    }
}

impl Sum {
    #[inline]
    #[target_feature(enable = "avx2")]
    fn rounded(&self, rounded: __m256i, other: __m128i) -> __m256i {
        let result = _mm256_add_epi32(_mm256_max_epi32(rounded, self.least), self.zero_point);
        let a = _mm256_mullo_epi32(result, self.factor);
        let b = _mm256_mullo_epi32(_mm256_cvtepi8_epi32(other), self.factor_b);
        let sum = _mm256_add_epi32(_mm256_add_epi32(a, b), self.offset);
        self.bounds.round(sum, self.multiplier)
    }
}

/// The first `count` bytes, at most eight.
///
/// # Safety
/// They may be read.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn some(y: *const i8, count: usize) -> __m128i {
    if count == 8 {
        // SAFETY: the caller's promise.
        return unsafe { _mm_loadl_epi64(y.cast()) };
    }
    let mut bytes = [0i8; 16];
    let count = count.min(8);
    // SAFETY: the caller's promise; eight bytes fit.
    unsafe {
        core::ptr::copy_nonoverlapping(y, bytes.as_mut_ptr(), count);
        _mm_loadu_si128(bytes.as_ptr().cast())
    }
}

/// # Safety
/// `count` bytes, at most eight, may be written.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn store_some(y: *mut i8, bytes: __m128i, count: usize) {
    if count == 8 {
        // SAFETY: the caller's promise.
        unsafe { _mm_storel_epi64(y.cast(), bytes) };
        return;
    }
    let mut all = [0i8; 8];
    // SAFETY: the caller's promise; eight bytes fit.
    unsafe {
        _mm_storel_epi64(all.as_mut_ptr().cast(), bytes);
        core::ptr::copy_nonoverlapping(all.as_ptr(), y, count.min(8));
    }
}
