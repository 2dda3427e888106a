//! Fully connected layers.

use super::Quad;
use super::tile::{self, Layer, Scales};
use crate::kernels::parts::{parts, parts_mut};
use crate::requantize::Output;
use crate::requantize::fixed::Block;
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
    let multipliers = quad.multipliers.get(..outputs.get())?;
    let first = multipliers.first()?;
    let shared = multipliers.iter().all(|m| m.to_bits() == first.to_bits());
    for (x, y) in parts(x, inputs).zip(parts_mut(y, outputs)) {
        if shared {
            // Whatever the biases are.
            let scale = Block::new(&[*first; 4], &[i32::MAX; 4], inputs.get(), &output);
            let layer = Layer {
                quad,
                scales: Scales::Shared(&[scale; 2]),
                output: &output,
                channels: outputs.get(),
            };
            tile::vector(&layer, x, y)?;
        } else {
            eights(quad, &output, x, y)?;
        }
        output.clamp(y);
    }
    Some(())
}

/// Eight channels at a time, with their multipliers made ready just for them.
#[inline(never)]
fn eights(quad: &Quad<'_>, output: &Output, x: &[i8], y: &mut [i8]) -> Option<()> {
    for (eight, y) in y.chunks_mut(8).enumerate() {
        let first = eight.checked_mul(8)?;
        let quad = Quad {
            weights: quad.weights.get(first.checked_mul(x.len())?..)?,
            bias: quad.bias.get(first..)?,
            multipliers: quad.multipliers.get(first..)?,
        };
        let constants = quad
            .bias
            .as_chunks()
            .0
            .iter()
            .zip(quad.multipliers.as_chunks().0);
        let mut scales = [Block::NONE; 2];
        for (scale, (bias, multipliers)) in scales.iter_mut().zip(constants) {
            *scale = Block::new(multipliers, bias, x.len(), output);
        }
        let layer = Layer {
            quad: &quad,
            scales: Scales::Each(&scales),
            output,
            channels: y.len(),
        };
        tile::vector(&layer, x, y)?;
    }
    Some(())
}
