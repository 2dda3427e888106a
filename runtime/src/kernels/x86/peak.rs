//! Multiply-accumulates in registers only: what the vector units can do when nothing else holds them up.

use core::arch::x86_64::{
    _mm256_add_epi32, _mm256_add_ps, _mm256_fmadd_ps, _mm256_madd_epi16, _mm256_mul_ps,
    _mm256_set1_epi16, _mm256_set1_ps, _mm256_setzero_ps, _mm256_setzero_si256,
    _mm512_dpbusd_epi32, _mm512_fmadd_ps, _mm512_set1_epi8, _mm512_set1_ps, _mm512_setzero_ps,
    _mm512_setzero_si512,
};
use core::hint::black_box;

/// Sums at work: more than latency times throughput.
const SUMS: usize = 12;

/// A function that does `rounds` times [`SUMS`] multiplications and additions.
macro_rules! rounds {
    ($name:ident, $features:literal, $zero:ident, $factor:expr, $sum:ident, $x:ident => $step:expr) => {
        #[target_feature(enable = $features)]
        fn $name(rounds: u32) {
            let $x = black_box($factor);
            let mut sums = [$zero(); SUMS];
            for _ in 0..rounds {
                for $sum in &mut sums {
                    *$sum = $step;
                }
            }
            black_box(sums);
        }
    };
}

rounds!(vnni, "avx512f,avx512vnni", _mm512_setzero_si512, _mm512_set1_epi8(3),
    sum, x => _mm512_dpbusd_epi32(*sum, x, x));
// Without the sum as a factor the product would be computed once.
rounds!(madd, "avx2", _mm256_setzero_si256, _mm256_set1_epi16(3),
    sum, x => _mm256_add_epi32(*sum, _mm256_madd_epi16(*sum, x)));
rounds!(fused_512, "avx512f", _mm512_setzero_ps, _mm512_set1_ps(0.5),
    sum, x => _mm512_fmadd_ps(*sum, x, x));
rounds!(fused_256, "avx2,fma", _mm256_setzero_ps, _mm256_set1_ps(0.5),
    sum, x => _mm256_fmadd_ps(*sum, x, x));
rounds!(apart_256, "avx2", _mm256_setzero_ps, _mm256_set1_ps(0.5),
    sum, x => _mm256_add_ps(x, _mm256_mul_ps(*sum, x)));

/// See [`crate::kernels::peak::int8`].
pub(in crate::kernels) fn int8(rounds: u32) -> Option<u64> {
    let (lanes, run): (u64, unsafe fn(u32)) = if super::Vnni::detect().is_some() {
        (64, vnni)
    } else {
        super::Avx2::detect()?;
        (16, madd)
    };
    // SAFETY: the processor has the instructions, since there was a value.
    unsafe { run(rounds) };
    Some(u64::from(rounds) * SUMS as u64 * lanes)
}

/// See [`crate::kernels::peak::f32`].
pub(in crate::kernels) fn f32(rounds: u32) -> Option<u64> {
    let (lanes, run): (u64, unsafe fn(u32)) = if super::Avx512::detect().is_some() {
        (16, fused_512)
    } else {
        super::Avx2::detect()?;
        match std::arch::is_x86_feature_detected!("fma") {
            true => (8, fused_256),
            false => (8, apart_256),
        }
    };
    // SAFETY: as above.
    unsafe { run(rounds) };
    Some(u64::from(rounds) * SUMS as u64 * lanes)
}
