//! Kernels for AArch64: with `SDOT` (Armv8.2's dot products), and with what every such core has.
//!
//! The intrinsics for `SDOT` are not stable, so it is one line of assembly. A value of [`Neon`] or [`Dotprod`] proves that the
//! processor has the instructions; loops are behind safe functions that check all lengths.
#![allow(unsafe_code)]

mod conv;
mod depthwise;
mod requantize;

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
        rows: [&[i8]; 2],
        y: &mut [i16],
        count: usize,
        len: usize,
        steps: [usize; 2],
    ) -> Option<()> {
        Portable.interleave(rows, y, count, len, steps)
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

impl Arm for Dotprod {
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
        // SAFETY: the processor has dot products, since there is a value; the rest as for NEON.
        unsafe { conv::convolve_dotprod(windows, layer, results) };
        Some(())
    }

    fn interleave(
        self,
        rows: [&[i8]; 2],
        y: &mut [i16],
        count: usize,
        len: usize,
        steps: [usize; 2],
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
