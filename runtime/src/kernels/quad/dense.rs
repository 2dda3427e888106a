//! One vector against all channels: fully connected layers, and the last one of an odd number of pixels.

use super::{Quad, tile};
use crate::requantize::Output;
use crate::requantize::fixed::Scale;
use core::num::NonZeroUsize;

/// Fully connected layer over rows of `inputs` elements.
#[inline(never)]
pub fn dense_quad(
    inputs: usize,
    outputs: usize,
    quad: &Quad<'_>,
    output: Output,
    x: &[i8],
    y: &mut [i8],
) -> Option<()> {
    let (inputs, outputs) = (NonZeroUsize::new(inputs)?, NonZeroUsize::new(outputs)?);
    for (x, y) in x
        .chunks_exact(inputs.get())
        .zip(y.chunks_exact_mut(outputs.get()))
    {
        single(quad, &output, x, y)?;
    }
    Some(())
}

/// Results of one vector for as many channels as `y` holds, eight at a time.
#[inline(always)]
pub(super) fn single(quad: &Quad<'_>, output: &Output, x: &[i8], y: &mut [i8]) -> Option<()> {
    let bias = quad.bias.as_chunks::<4>().0;
    let weights = quad.weights.as_chunks::<4>().0;
    for (pair, y) in y.chunks_mut(8).enumerate() {
        let first = pair.checked_mul(2)?;
        // A last block without a partner is its own.
        let blocks = if y.len() > 4 {
            [first, first + 1]
        } else {
            [first; 2]
        };
        let mut rows: [&[[i8; 4]]; 2] = [&[]; 2];
        let mut sums = [[0; 4]; 2];
        for ((row, sums), block) in rows.iter_mut().zip(&mut sums).zip(blocks) {
            *row = weights.get(block.checked_mul(x.len())?..)?.get(..x.len())?;
            *sums = *bias.get(block)?;
        }
        tile::eight(rows, x, &mut sums)?;
        let multipliers = quad.multipliers.get(first.checked_mul(4)?..)?;
        for ((y, sum), m) in y.iter_mut().zip(sums.as_flattened()).zip(multipliers) {
            *y = Scale::new(*m).requantize(*sum, *m, output);
        }
    }
    Some(())
}
