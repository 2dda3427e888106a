//! Convolutions with AVX-512 VNNI: up to eight pixels by sixteen channels at a time, or one pixel by 64 channels.
//!
//! `VPDPBUSD` multiplies eight channels by four taps and adds all four products to the channel's sum, exactly. Its first operand is
//! unsigned: rows have 128 added, which the biases for unsigned activations take back, wrapping around. Two blocks' groups of
//! weights are one vector, so for eight pixels there are two loads, eight broadcasts and eight instructions for 512 products;
//! a last block alone is a vector of 256 bits.

use super::lanes;
use super::requantize::{Epilogue, Sums};
use super::sixteen::{self, first};
use crate::kernels::octet::arm::{Arm, Layer, Results, Windows};
use crate::kernels::parts::groups;
use core::arch::x86_64::{
    __m256i, _mm_loadu_si128, _mm_mask_storeu_epi8, _mm_maskz_loadu_epi8, _mm_storeu_si128,
    _mm256_dpbusd_epi32, _mm256_loadu_ps, _mm256_loadu_si256, _mm256_set1_epi32,
    _mm256_setzero_si256, _mm512_castsi256_si512, _mm512_dpbusd_epi32, _mm512_inserti64x4,
    _mm512_loadu_ps, _mm512_loadu_si512, _mm512_set1_epi32,
};

/// Most pixels of a tile of two blocks.
const WIDE: usize = 8;
/// Most pixels of a tile of one block.
const PIXELS: usize = 8;
/// Most blocks of a tile of one pixel.
const BLOCKS: usize = 8;

/// AVX-512 VNNI.
#[derive(Clone, Copy, Debug)]
pub(in crate::kernels) struct Vnni(());

impl Vnni {
    /// As [`super::Avx2::detect`].
    #[inline]
    pub(in crate::kernels) fn detect() -> Option<Vnni> {
        #[cfg(any(test, feature = "std"))]
        let has = std::arch::is_x86_feature_detected!("avx2")
            && std::arch::is_x86_feature_detected!("avx512vnni")
            && std::arch::is_x86_feature_detected!("avx512bw")
            && std::arch::is_x86_feature_detected!("avx512vl");
        #[cfg(not(any(test, feature = "std")))]
        let has = cfg!(all(
            target_feature = "avx2",
            target_feature = "avx512vnni",
            target_feature = "avx512bw",
            target_feature = "avx512vl"
        ));
        has.then_some(Vnni(()))
    }
}

impl Arm for Vnni {
    /// Its bits are those of the element plus 128.
    type Tap = i8;

    fn tap(self, x: i8) -> i8 {
        x ^ i8::MIN
    }

    fn expand(self, x: &[i8], y: &mut [i8]) {
        for (x, y) in x.iter().zip(y) {
            *y = self.tap(*x);
        }
    }

    fn convolve(
        self,
        windows: &Windows<'_, i8>,
        layer: &Layer<'_>,
        results: &mut Results<'_, '_>,
    ) -> Option<()> {
        let blocks = results.channels.div_ceil(8);
        if !windows.convolve(layer, results) || layer.unsigned.len() < blocks {
            return None;
        }
        // SAFETY: the processor has the instructions, since there is a value; everything that is read and written has just been
        // found to fit.
        unsafe { convolve(windows, layer, results) };
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
        // SAFETY: the processor has the instructions, since there is a value.
        unsafe { lanes::interleave(rows, y, count, len, steps) }
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
        unsafe { lanes::depthwise(windows, layer, results) };
        Some(())
    }
}

/// # Safety
/// [`Windows::convolve`] has said that everything fits, and every block has biases for unsigned activations.
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn convolve(windows: &Windows<'_, i8>, layer: &Layer<'_>, results: &mut Results<'_, '_>) {
    let epilogue = Epilogue::new(layer, results);
    let wide = sixteen::Epilogue::new(layer, results);
    let blocks = results.channels.div_ceil(8);
    let tile = Tile {
        windows,
        layer,
        channels: results.channels,
        y: results.y.as_mut_ptr(),
        y_step: results.step,
        epilogue: &epilogue,
    };
    // SAFETY: the caller's promise, for pixels and blocks that there are.
    unsafe {
        if windows.pixels == 1 {
            let mut block = 0;
            while block + BLOCKS <= blocks {
                tile.run::<1, BLOCKS>(0, block);
                block += BLOCKS;
            }
            while block < blocks {
                tile.run::<1, 1>(0, block);
                block += 1;
            }
            return;
        }
        let mut block = 0;
        while block < blocks {
            if block + 2 <= blocks {
                for (pixel, count) in groups(windows.pixels, WIDE) {
                    tile.two_blocks(&wide, pixel, count, block);
                }
                block += 2;
            } else {
                for (pixel, count) in groups(windows.pixels, PIXELS) {
                    tile.one_block(pixel, count, block);
                }
                block += 1;
            }
        }
    }
}

/// What tiles of pixels and blocks have in common.
struct Tile<'t> {
    windows: &'t Windows<'t, i8>,
    layer: &'t Layer<'t>,
    channels: usize,
    y: *mut i8,
    y_step: usize,
    epilogue: &'t Epilogue,
}

impl Tile<'_> {
    /// As [`Tile::run`], for up to [`PIXELS`] pixels of one block.
    ///
    /// # Safety
    /// As there.
    #[inline]
    #[target_feature(enable = "avx2,avx512vnni,avx512vl")]
    unsafe fn one_block(&self, pixel: usize, count: usize, block: usize) {
        // SAFETY: the caller's promise.
        unsafe {
            match count {
                1 => self.run::<1, 1>(pixel, block),
                2 => self.run::<2, 1>(pixel, block),
                3 => self.run::<3, 1>(pixel, block),
                4 => self.run::<4, 1>(pixel, block),
                5 => self.run::<5, 1>(pixel, block),
                6 => self.run::<6, 1>(pixel, block),
                7 => self.run::<7, 1>(pixel, block),
                _ => self.run::<PIXELS, 1>(pixel, block),
            }
        }
    }

    /// As [`Tile::wide`], for up to [`WIDE`] pixels.
    ///
    /// # Safety
    /// As there.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn two_blocks(
        &self,
        epilogue: &sixteen::Epilogue,
        pixel: usize,
        count: usize,
        block: usize,
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            match count {
                1 => self.wide::<1>(epilogue, pixel, block),
                2 => self.wide::<2>(epilogue, pixel, block),
                3 => self.wide::<3>(epilogue, pixel, block),
                4 => self.wide::<4>(epilogue, pixel, block),
                5 => self.wide::<5>(epilogue, pixel, block),
                6 => self.wide::<6>(epilogue, pixel, block),
                7 => self.wide::<7>(epilogue, pixel, block),
                _ => self.wide::<WIDE>(epilogue, pixel, block),
            }
        }
    }

    /// Results of `P` pixels from `pixel` on, two blocks from `block` on.
    ///
    /// # Safety
    /// As [`convolve`], and there are so many pixels and blocks.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn wide<const P: usize>(
        &self,
        epilogue: &sixteen::Epilogue,
        pixel: usize,
        block: usize,
    ) {
        let step = self.windows.step;
        // SAFETY: the caller's promise; weights are read in order.
        unsafe {
            let bias = _mm512_loadu_si512(self.layer.unsigned.as_ptr().add(block).cast());
            let mut sums = [bias; P];
            let mut weights = self.layer.weights.as_ptr().add(block * self.layer.block);
            let rows = self.windows.rows.as_ptr().add(pixel * step);
            for run in self.windows.runs {
                let mut taps = rows.add(*run);
                let end = taps.add(self.windows.len);
                while taps < end {
                    let w = _mm512_castsi256_si512(load(weights));
                    let w = _mm512_inserti64x4::<1>(w, load(weights.add(self.layer.block)));
                    weights = weights.add(32);
                    for (p, sum) in sums.iter_mut().enumerate() {
                        let x = taps.add(p * step).cast::<i32>().read_unaligned();
                        *sum = _mm512_dpbusd_epi32(*sum, _mm512_set1_epi32(x), w);
                    }
                    taps = taps.add(4);
                }
            }
            let channel = block * 8;
            let multipliers = _mm512_loadu_ps(self.layer.multipliers.as_ptr().add(block).cast());
            let y = self.y.add(pixel * self.y_step + channel);
            let count = self.channels - channel;
            for (p, sum) in sums.iter().enumerate() {
                let y = y.add(p * self.y_step);
                if count >= 16 {
                    let before = || _mm_loadu_si128(y.cast());
                    _mm_storeu_si128(y.cast(), epilogue.bytes(*sum, multipliers, before));
                } else {
                    // What the mask leaves out is not touched.
                    let mask = first(count);
                    let before = || _mm_maskz_loadu_epi8(mask, y);
                    _mm_mask_storeu_epi8(y, mask, epilogue.bytes(*sum, multipliers, before));
                }
            }
        }
    }

    /// Results of `P` pixels from `pixel` on, `B` blocks from `block` on.
    ///
    /// # Safety
    /// As [`convolve`], and there are so many pixels and blocks.
    #[inline]
    #[target_feature(enable = "avx2,avx512vnni,avx512vl")]
    unsafe fn run<const P: usize, const B: usize>(&self, pixel: usize, block: usize) {
        let step = self.windows.step;
        let mut sums = [[_mm256_setzero_si256(); B]; P];
        // SAFETY: the caller's promise; weights are read in order.
        unsafe {
            for sums in &mut sums {
                for (b, sum) in sums.iter_mut().enumerate() {
                    *sum = load(self.layer.unsigned.as_ptr().add(block + b).cast());
                }
            }
            let mut weights = self.layer.weights.as_ptr().add(block * self.layer.block);
            let rows = self.windows.rows.as_ptr().add(pixel * step);
            for run in self.windows.runs {
                let mut taps = rows.add(*run);
                let end = taps.add(self.windows.len);
                while taps < end {
                    let mut w = [_mm256_setzero_si256(); B];
                    for (b, w) in w.iter_mut().enumerate() {
                        *w = load(weights.add(b * self.layer.block));
                    }
                    weights = weights.add(32);
                    for (p, sums) in sums.iter_mut().enumerate() {
                        let x = taps.add(p * step).cast::<i32>().read_unaligned();
                        let x = _mm256_set1_epi32(x);
                        for (sum, w) in sums.iter_mut().zip(&w) {
                            *sum = _mm256_dpbusd_epi32(*sum, x, *w);
                        }
                    }
                    taps = taps.add(4);
                }
            }
            let finish = |i: usize| {
                let (p, b) = (i / B, i % B);
                let channel = (block + b) * 8;
                Sums {
                    sums: sums[p][b],
                    multipliers: _mm256_loadu_ps(
                        self.layer.multipliers.as_ptr().add(block + b).cast(),
                    ),
                    y: self.y.add((pixel + p) * self.y_step + channel),
                    count: (self.channels - channel).min(8),
                }
            };
            for i in (0..P * B / 2 * 2).step_by(2) {
                self.epilogue.store_two(finish(i), finish(i + 1));
            }
            if P * B % 2 == 1 {
                self.epilogue.store(finish(P * B - 1));
            }
        }
    }
}

/// Thirty-two bytes.
///
/// # Safety
/// They may be read.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn load(from: *const i8) -> __m256i {
    // SAFETY: the caller's promise.
    unsafe { _mm256_loadu_si256(from.cast()) }
}
