//! The rounding contract, sixteen sums at a time with AVX-512: see [`super::requantize`].

use crate::kernels::octet::arm::{Layer, Results};
use crate::requantize::Output;
use core::arch::x86_64::{
    __m128i, __m512, __m512i, _mm512_add_epi32, _mm512_cvtepi8_epi32, _mm512_cvtepi32_ps,
    _mm512_cvtps_epi32, _mm512_cvtsepi32_epi8, _mm512_max_epi32, _mm512_min_ps, _mm512_mul_ps,
    _mm512_mullo_epi32, _mm512_set1_epi32, _mm512_set1_ps,
};

/// The zero point and bounds of an output, in every lane.
pub(super) struct Bounds {
    high: __m512,
    least: __m512i,
    zero_point: __m512i,
}

impl Bounds {
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn new(output: &Output) -> Bounds {
        Bounds {
            high: _mm512_set1_ps(output.high()),
            least: _mm512_set1_epi32(output.min().wrapping_sub(output.zero_point())),
            zero_point: _mm512_set1_epi32(output.zero_point()),
        }
    }

    /// Results.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn bytes(&self, sums: __m512i, multipliers: __m512) -> __m128i {
        _mm512_cvtsepi32_epi8(self.round(sums, multipliers))
    }

    /// Results as 32-bit numbers.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn round(&self, sums: __m512i, multipliers: __m512) -> __m512i {
        let products = _mm512_mul_ps(_mm512_cvtepi32_ps(sums), multipliers);
        // The second operand if either is no number, which becomes the least integer.
        let rounded = _mm512_cvtps_epi32(_mm512_min_ps(self.high, products));
        _mm512_add_epi32(_mm512_max_epi32(rounded, self.least), self.zero_point)
    }
}

/// An addition behind the results.
struct Sum {
    factor: __m512i,
    factor_b: __m512i,
    offset: __m512i,
    multiplier: __m512,
    bounds: Bounds,
}

/// What makes results of sums.
pub(super) struct Epilogue {
    bounds: Bounds,
    sum: Option<Sum>,
}

impl Epilogue {
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn new(layer: &Layer<'_>, results: &Results<'_, '_>) -> Epilogue {
        let sum = results.residual.map(|r| Sum {
            factor: _mm512_set1_epi32(r.factor),
            factor_b: _mm512_set1_epi32(r.factor_b),
            offset: _mm512_set1_epi32(r.offset),
            multiplier: _mm512_set1_ps(r.multiplier),
            bounds: Bounds::new(&r.output),
        });
        Epilogue {
            bounds: Bounds::new(&layer.output),
            sum,
        }
    }

    /// Results; `before` is what is there already, asked for where it is added to.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn bytes(
        &self,
        sums: __m512i,
        multipliers: __m512,
        before: impl FnOnce() -> __m128i,
    ) -> __m128i {
        let results = self.bounds.round(sums, multipliers);
        _mm512_cvtsepi32_epi8(match &self.sum {
            None => results,
            Some(sum) => {
                let a = _mm512_mullo_epi32(results, sum.factor);
                let b = _mm512_mullo_epi32(_mm512_cvtepi8_epi32(before()), sum.factor_b);
                let added = _mm512_add_epi32(_mm512_add_epi32(a, b), sum.offset);
                sum.bounds.round(added, sum.multiplier)
            }
        })
    }
}

/// A mask of the first `count` lanes, one at least.
#[inline]
pub(super) fn first(count: usize) -> u16 {
    u16::MAX >> 16usize.saturating_sub(count).min(15)
}
