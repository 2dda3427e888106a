//! Kernels for AArch64: with `SMMLA` (products of matrices, Armv8.6), with `SDOT` (dot products, Armv8.2), and with what every
//! such core has.
//!
//! The intrinsics for `SMMLA` and `SDOT` are not stable, so each is one line of assembly. A value of [`Neon`], [`Dotprod`] or
//! [`I8mm`] proves that the processor has the instructions; loops are behind safe functions that check all lengths.
#![allow(unsafe_code)]

mod conv;
mod depthwise;
mod i8mm;
mod panel;
mod requantize;
mod rows;

use super::octet::Portable;
use super::octet::arm::{Arm, Layer, Results, Windows};

/// What every AArch64 core has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Neon(());

/// Dot products.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dotprod(Neon);

impl Neon {
    /// If the program is built for processors with vectors, as nearly all are.
    #[inline]
    pub(super) fn detect() -> Option<Neon> {
        cfg!(target_feature = "neon").then_some(Neon(()))
    }
}

impl Dotprod {
    /// If this processor has them. Without the feature `std`, if the program is built for processors that have them.
    #[inline]
    pub(super) fn detect() -> Option<Dotprod> {
        #[cfg(any(test, feature = "std"))]
        let has = std::arch::is_aarch64_feature_detected!("dotprod");
        #[cfg(not(any(test, feature = "std")))]
        let has = cfg!(target_feature = "dotprod");
        Neon::detect().filter(|_| has).map(Dotprod)
    }
}

/// Products of 8-bit matrices, and dot products.
#[derive(Clone, Copy, Debug)]
pub(super) struct I8mm(Dotprod);

impl I8mm {
    /// As [`Dotprod::detect`].
    #[inline]
    pub(super) fn detect() -> Option<I8mm> {
        #[cfg(any(test, feature = "std"))]
        let has = std::arch::is_aarch64_feature_detected!("i8mm");
        #[cfg(not(any(test, feature = "std")))]
        let has = cfg!(target_feature = "i8mm");
        Dotprod::detect().filter(|_| has).map(I8mm)
    }
}

impl Arm for Neon {
    type Tap = i8;

    fn tap(self, x: i8) -> i8 {
        x
    }

    fn expand(self, x: &[i8], y: &mut [i8]) {
        Portable.expand(x, y);
    }

    fn convolve(
        self,
        windows: &Windows<'_, i8>,
        layer: &Layer<'_>,
        results: &mut Results<'_, '_>,
    ) -> Option<()> {
        if !windows.convolve(layer, results) {
            return None;
        }
        // SAFETY: the processor has vectors, since there is a value; everything that is read and written has just
        // been found to fit.
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
            // SAFETY: the processor has vectors, since there is a value.
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

/// An arm that differs from [`Neon`] in its convolutions.
macro_rules! with_convolutions {
    ($arm:ty, $convolve:path) => {
        impl Arm for $arm {
            type Tap = i8;

            fn tap(self, x: i8) -> i8 {
                x
            }

            fn expand(self, x: &[i8], y: &mut [i8]) {
                self.0.expand(x, y);
            }

            fn convolve(
                self,
                windows: &Windows<'_, i8>,
                layer: &Layer<'_>,
                results: &mut Results<'_, '_>,
            ) -> Option<()> {
                if !windows.convolve(layer, results) {
                    return None;
                }
                // SAFETY: the processor has the instructions, since there is a value; the rest as for NEON.
                unsafe { $convolve(windows, layer, results) };
                Some(())
            }

            fn interleave(
                self,
                rows: [&[i8]; 2],
                y: &mut [i16],
                count: usize,
                len: usize,
                steps: [usize; 3],
            ) -> Option<()> {
                self.0.interleave(rows, y, count, len, steps)
            }

            fn depthwise(
                self,
                windows: &Windows<'_, i16>,
                layer: &Layer<'_>,
                results: &mut Results<'_, '_>,
            ) -> Option<()> {
                self.0.depthwise(windows, layer, results)
            }
        }
    };
}

with_convolutions!(Dotprod, conv::convolve_dotprod);
with_convolutions!(I8mm, i8mm::convolve_or_dotprod);
