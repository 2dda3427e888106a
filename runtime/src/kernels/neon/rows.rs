//! Rows to working memory.

use core::arch::aarch64::{
    vget_high_s8, vget_low_s8, vld1_s8, vld1q_s8, vmovl_s8, vst1q_s16, vzip1_s8, vzip1q_s8,
    vzip2_s8, vzip2q_s8,
};

/// Sign-extends the elements of `a` and `b` by turns; `y` is as long as both.
#[target_feature(enable = "neon")]
pub(super) fn interleave(a: &[i8], b: &[i8], y: &mut [i16]) {
    let (a16, a_rest) = a.as_chunks::<16>();
    let (b16, b_rest) = b.as_chunks::<16>();
    let (y32, y_rest) = y.as_chunks_mut::<32>();
    for ((a, b), y) in a16.iter().zip(b16).zip(y32) {
        // SAFETY: 16 bytes each are read, 32 numbers are written.
        unsafe {
            let (a, b) = (vld1q_s8(a.as_ptr()), vld1q_s8(b.as_ptr()));
            let (low, high) = (vzip1q_s8(a, b), vzip2q_s8(a, b));
            let y = y.as_mut_ptr();
            vst1q_s16(y, vmovl_s8(vget_low_s8(low)));
            vst1q_s16(y.add(8), vmovl_s8(vget_high_s8(low)));
            vst1q_s16(y.add(16), vmovl_s8(vget_low_s8(high)));
            vst1q_s16(y.add(24), vmovl_s8(vget_high_s8(high)));
        }
    }
    let (a8, a_rest) = a_rest.as_chunks::<8>();
    let (b8, b_rest) = b_rest.as_chunks::<8>();
    let (y16, y_rest) = y_rest.as_chunks_mut::<16>();
    for ((a, b), y) in a8.iter().zip(b8).zip(y16) {
        // SAFETY: 8 bytes each are read, 16 numbers are written.
        unsafe {
            let (a, b) = (vld1_s8(a.as_ptr()), vld1_s8(b.as_ptr()));
            vst1q_s16(y.as_mut_ptr(), vmovl_s8(vzip1_s8(a, b)));
            vst1q_s16(y.as_mut_ptr().add(8), vmovl_s8(vzip2_s8(a, b)));
        }
    }
    let rest = a_rest.iter().zip(b_rest);
    for ((a, b), y) in rest.zip(y_rest.as_chunks_mut::<2>().0) {
        *y = [(*a).into(), (*b).into()];
    }
}
