//! Rows to working memory.

use core::arch::x86_64::{
    _mm_loadl_epi64, _mm_loadu_si128, _mm_unpackhi_epi8, _mm_unpacklo_epi8, _mm256_cvtepi8_epi16,
    _mm256_storeu_si256,
};

/// Sign-extends what both slices have.
#[target_feature(enable = "avx2")]
pub(super) fn expand(x: &[i8], y: &mut [i16]) {
    let len = x.len().min(y.len());
    let (x, y) = (&x[..len], &mut y[..len]);
    let (from, from_rest) = x.as_chunks::<16>();
    let (to, to_rest) = y.as_chunks_mut::<16>();
    for (x, y) in from.iter().zip(to) {
        // SAFETY: 16 bytes are read, 16 numbers are written.
        unsafe {
            let x = _mm_loadu_si128(x.as_ptr().cast());
            _mm256_storeu_si256(y.as_mut_ptr().cast(), _mm256_cvtepi8_epi16(x));
        }
    }
    for (x, y) in from_rest.iter().zip(to_rest) {
        *y = (*x).into();
    }
}

/// Sign-extends the elements of `a` and `b` by turns; `y` is as long as both.
#[target_feature(enable = "avx2")]
pub(super) fn interleave(a: &[i8], b: &[i8], y: &mut [i16]) {
    let (a16, a_rest) = a.as_chunks::<16>();
    let (b16, b_rest) = b.as_chunks::<16>();
    let (y32, y_rest) = y.as_chunks_mut::<32>();
    for ((a, b), y) in a16.iter().zip(b16).zip(y32) {
        // SAFETY: 16 bytes each are read, 32 numbers are written.
        unsafe {
            let a = _mm_loadu_si128(a.as_ptr().cast());
            let b = _mm_loadu_si128(b.as_ptr().cast());
            let low = _mm256_cvtepi8_epi16(_mm_unpacklo_epi8(a, b));
            let high = _mm256_cvtepi8_epi16(_mm_unpackhi_epi8(a, b));
            _mm256_storeu_si256(y.as_mut_ptr().cast(), low);
            _mm256_storeu_si256(y.as_mut_ptr().add(16).cast(), high);
        }
    }
    let (a8, a_rest) = a_rest.as_chunks::<8>();
    let (b8, b_rest) = b_rest.as_chunks::<8>();
    let (y16, y_rest) = y_rest.as_chunks_mut::<16>();
    for ((a, b), y) in a8.iter().zip(b8).zip(y16) {
        // SAFETY: 8 bytes each are read, 16 numbers are written.
        unsafe {
            let a = _mm_loadl_epi64(a.as_ptr().cast());
            let b = _mm_loadl_epi64(b.as_ptr().cast());
            let pairs = _mm256_cvtepi8_epi16(_mm_unpacklo_epi8(a, b));
            _mm256_storeu_si256(y.as_mut_ptr().cast(), pairs);
        }
    }
    let rest = a_rest.iter().zip(b_rest);
    for ((a, b), y) in rest.zip(y_rest.as_chunks_mut::<2>().0) {
        *y = [(*a).into(), (*b).into()];
    }
}
