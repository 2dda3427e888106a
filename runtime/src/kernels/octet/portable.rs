//! Layers with octet weights on any machine: the definition.

use super::arm::{Arm, Layer, Results, Windows};
use super::{CHANNELS, TAPS};
use crate::kernels::parts::parts;
use core::num::NonZeroUsize;

/// Plain Rust.
#[derive(Clone, Copy, Debug)]
pub struct Portable;

impl Arm for Portable {
    type Tap = i8;

    fn tap(self, x: i8) -> i8 {
        x
    }

    fn expand(self, x: &[i8], y: &mut [i8]) {
        for (y, x) in y.iter_mut().zip(x) {
            *y = *x;
        }
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
        let lens = [windows.len, 0, windows.len.checked_mul(CHANNELS)?];
        each_block(windows, layer, results, lens, |sums, taps, weights| {
            let groups = taps.as_chunks::<TAPS>().0.iter();
            for (taps, weights) in groups.zip(weights.as_chunks::<32>().0) {
                for (sum, weights) in sums.iter_mut().zip(weights.as_chunks::<TAPS>().0) {
                    for (x, w) in taps.iter().zip(weights) {
                        *sum = sum.wrapping_add(i32::from(*x).wrapping_mul((*w).into()));
                    }
                }
            }
        })
    }

    fn interleave(
        self,
        [a, b]: [&[i8]; 2],
        y: &mut [i16],
        count: usize,
        len: usize,
        [a_step, b_step, y_step]: [usize; 3],
    ) -> Option<()> {
        let len = NonZeroUsize::new(len)?;
        for piece in 0..count {
            let from = [piece.checked_mul(a_step)?, piece.checked_mul(b_step)?];
            let (a, b) = (a.get(from[0]..)?.get(..len.get())?, b.get(from[1]..)?);
            let y = y.get_mut(piece.checked_mul(y_step)?.checked_mul(2)?..)?;
            for ((y, a), b) in y.as_chunks_mut::<2>().0.iter_mut().zip(a).zip(b) {
                *y = [(*a).into(), (*b).into()];
            }
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
        each_block(
            windows,
            layer,
            results,
            [2 * CHANNELS; 3],
            |sums, taps, weights| {
                let pairs = taps.as_chunks::<2>().0.iter();
                for ((sum, [a, b]), [v, w]) in sums
                    .iter_mut()
                    .zip(pairs)
                    .zip(weights.as_chunks::<2>().0.iter())
                {
                    let products = i32::from(*a).wrapping_mul((*v).into());
                    let products = products.wrapping_add(i32::from(*b).wrapping_mul((*w).into()));
                    *sum = sum.wrapping_add(products);
                }
            },
        )
    }
}

/// Calls `add` with the sums of each pixel and block, where each run of its window begins and the weights that belong to it, and
/// stores the results. `elements` are what a block takes of a run, `shift` is how far the next block's are.
#[inline(always)]
fn each_block<T: Copy>(
    windows: &Windows<'_, T>,
    layer: &Layer<'_>,
    results: &mut Results<'_, '_>,
    [elements, shift, weights_of_run]: [usize; 3],
    add: impl Fn(&mut [i32; 8], &[T], &[i8]),
) -> Option<()> {
    let run_len = NonZeroUsize::new(weights_of_run)?;
    for pixel in 0..windows.pixels {
        let y = results.y.get_mut(pixel.wrapping_mul(results.step)..)?;
        let y = y.get_mut(..results.channels)?.chunks_mut(CHANNELS);
        let constants = layer.bias.iter().zip(layer.multipliers);
        for (block, (y, (bias, multipliers))) in y.zip(constants).enumerate() {
            let mut sums = *bias;
            let weights = layer.weights.get(block.wrapping_mul(layer.block)..)?;
            for (run, weights) in windows.runs.iter().zip(parts(weights, run_len)) {
                let at = run + pixel * windows.step + block * shift;
                add(&mut sums, windows.rows.get(at..)?.get(..elements)?, weights);
            }
            for (y, (sum, multiplier)) in y.iter_mut().zip(sums.iter().zip(multipliers)) {
                let result = layer.output.requantize(*sum, *multiplier);
                *y = results.residual.map_or(result, |r| r.add(result, *y));
            }
        }
    }
    Some(())
}
