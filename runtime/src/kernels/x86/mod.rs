//! Kernels for x86-64 with AVX2, which desktops and laptops of the last ten years have, and with AVX-512.
//!
//! `VPMADDWD` multiplies sixteen pairs of 16-bit numbers and adds each two products, exactly. (`VPMADDUBSW` takes bytes, but
//! saturates at 16 bits, and would save nothing: what it multiplies at once takes a second multiplication to add up.)
//! A value of [`Avx2`], [`Avx512`] or [`Vnni`] proves that the processor has the instructions; loops are behind safe functions that check all lengths.
#![allow(unsafe_code)]

mod conv;
mod depthwise;
mod lanes;
mod panel;
#[cfg(any(test, feature = "std"))]
pub(super) mod peak;
mod requantize;
mod rows;
mod sixteen;
mod vnni;

use super::octet::arm::{Arm, Layer, Results, Windows};
pub(super) use vnni::Vnni;

/// AVX2.
#[derive(Clone, Copy, Debug)]
pub(super) struct Avx2(());

impl Avx2 {
    /// If this processor has it. Without the feature `std`, if the program is built for processors that have it.
    #[inline]
    pub(super) fn detect() -> Option<Avx2> {
        #[cfg(any(test, feature = "std"))]
        let has = std::arch::is_x86_feature_detected!("avx2");
        #[cfg(not(any(test, feature = "std")))]
        let has = cfg!(target_feature = "avx2");
        has.then_some(Avx2(()))
    }
}

/// AVX-512F.
#[derive(Clone, Copy, Debug)]
pub(super) struct Avx512(());

impl Avx512 {
    /// As [`Avx2::detect`].
    #[inline]
    pub(super) fn detect() -> Option<Avx512> {
        #[cfg(any(test, feature = "std"))]
        let has = std::arch::is_x86_feature_detected!("avx512f");
        #[cfg(not(any(test, feature = "std")))]
        let has = cfg!(target_feature = "avx512f");
        has.then_some(Avx512(()))
    }
}

impl Arm for Avx2 {
    type Tap = i16;

    fn tap(self, x: i8) -> i16 {
        x.into()
    }

    fn expand(self, x: &[i8], y: &mut [i16]) {
        // SAFETY: the processor has AVX2, since there is a value.
        unsafe { rows::expand(x, y) }
    }

    fn convolve(
        self,
        windows: &Windows<'_, i16>,
        layer: &Layer<'_>,
        results: &mut Results<'_, '_>,
    ) -> Option<()> {
        if !windows.convolve(layer, results) {
            return None;
        }
        // SAFETY: as above; everything that is read and written has just been found to fit.
        unsafe { conv::convolve(windows, layer, results) };
        Some(())
    }

    fn interleave(
        self,
        [a, b]: [&[i8]; 2],
        y: &mut [i16],
        count: usize,
        len: usize,
        [a_step, b_step, y_step]: [usize; 3],
    ) -> Option<()> {
        for piece in 0..count {
            let from = [piece.checked_mul(a_step)?, piece.checked_mul(b_step)?];
            let to = piece.checked_mul(y_step)?.checked_mul(2)?;
            let (a, b) = (a.get(from[0]..)?.get(..len)?, b.get(from[1]..)?.get(..len)?);
            let y = y.get_mut(to..)?.get_mut(..len.checked_mul(2)?)?;
            // SAFETY: the processor has AVX2, since there is a value.
            unsafe { rows::interleave(a, b, y) };
        }
        Some(())
    }

    fn depthwise(
        self,
        windows: &Windows<'_, i16>,
        layer: &Layer<'_>,
        results: &mut Results<'_, '_>,
    ) -> Option<()> {
        if !windows.depthwise(layer, results) {
            return None;
        }
        // SAFETY: as above.
        unsafe { depthwise::depthwise(windows, layer, results) };
        Some(())
    }
}
