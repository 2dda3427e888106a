//! Convolution, two pixels at a time.

use super::Quad;
use super::dense::single;
use super::tile::{self, Layer, Pair};
use crate::kernels::patch::{self, Residual};
use crate::kernels::runs::{Pixel, Runs, Shape};
use crate::kernels::{Geometry, Io};
use crate::requantize::Output;
use crate::requantize::fixed::Block;
use zerocopy::{FromBytes, IntoBytes};

/// Shorter runs are gathered: the loop over them takes fourteen instructions a run and block.
const SHORT: usize = 8;

/// Convolution of one group, in place if it is pointwise. `scratch` has the bytes that [`crate::kernels::scratch::conv`] says: a
/// [`Block`] for each four channels, two patches, and two pixels' results if there is a residual.
#[inline(never)]
pub fn conv_quad(
    g: &Geometry,
    quad: &Quad<'_>,
    zero_point: i8,
    output: Output,
    io: &mut Io<'_>,
    scratch: &mut [i8],
    residual: Option<&Residual>,
) -> Option<()> {
    let [kernel_h, kernel_w] = g.kernel;
    let taps = kernel_h
        .checked_mul(kernel_w)?
        .checked_mul(g.input[2])?
        .get();
    let out_c = g.output[2].get();
    let blocks = out_c.div_ceil(4).checked_mul(size_of::<Block>())?;
    let (scales, rest) = scratch.split_at_mut_checked(blocks)?;
    let scales = <[Block]>::mut_from_bytes(scales.as_mut_bytes()).ok()?;
    let padded = taps.checked_next_multiple_of(4)?;
    let (patches, results) = rest.split_at_mut_checked(padded.checked_mul(2)?)?;
    let constants = quad
        .bias
        .as_chunks()
        .0
        .iter()
        .zip(quad.multipliers.as_chunks().0);
    for (scale, (bias, multipliers)) in scales.iter_mut().zip(constants) {
        *scale = Block::new(multipliers, bias, taps, &output);
    }
    let layer = Layer {
        quad,
        scales,
        output: &output,
    };
    let runs = Runs::new(g);
    let direct =
        matches!(io, Io::Apart { .. }) && (runs.shape.lines == 1 || runs.shape.run >= SHORT);
    let pixels = g
        .batch
        .checked_mul(g.output[0].get())?
        .checked_mul(g.output[1].get())?;
    let mut second = Pixel::FIRST;
    for pixel in (0..pixels).step_by(2) {
        let count = if pixels - pixel > 1 { 2 } else { 1 };
        let first = second;
        second = first.next(g);
        let at = [runs.start(first), runs.start(second)];
        if let (true, 2, [Some(a), Some(b)]) = (direct, count, at) {
            // Nothing is read where something is written.
            if let Io::Apart { x, y } = io {
                let pair = Pair {
                    x,
                    at: [a, b],
                    shape: runs.shape,
                };
                let y = y
                    .get_mut(pixel.checked_mul(out_c)?..)?
                    .get_mut(..2 * out_c)?;
                write_pair(&layer, &pair, y, results, residual)?;
            }
        } else {
            let (patch0, patch1) = patches.split_at_mut_checked(padded)?;
            for (pixel, patch) in [(first, patch0), (second, patch1)].into_iter().take(count) {
                let at = [pixel.batch, pixel.y, pixel.x];
                patch::gather(g, io.input(), at, zero_point, patch.get_mut(..taps)?)?;
            }
            let y = io
                .output()
                .get_mut(pixel.checked_mul(out_c)?..)?
                .get_mut(..count * out_c)?;
            if count == 2 {
                let pair = Pair {
                    x: patches,
                    at: [0, padded],
                    shape: Shape::gathered(taps),
                };
                write_pair(&layer, &pair, y, results, residual)?;
            } else {
                let patch = patches.get(..taps)?;
                write(y, results, &output, residual, |y| {
                    single(quad, &output, patch, y)
                })?;
            }
        }
        second = second.next(g);
    }
    Some(())
}

#[inline(always)]
fn write_pair(
    layer: &Layer<'_>,
    pair: &Pair<'_>,
    y: &mut [i8],
    results: &mut [i8],
    residual: Option<&Residual>,
) -> Option<()> {
    write(y, results, layer.output, residual, |y| {
        let (y0, y1) = y.split_at_mut_checked(y.len() / 2)?;
        let whole = y0.len() & !3;
        let (main0, tail0) = y0.split_at_mut_checked(whole)?;
        let (main1, tail1) = y1.split_at_mut_checked(whole)?;
        if whole > 0 {
            tile::pair(layer, pair, 0, main0, main1)?;
        }
        if !tail0.is_empty() {
            let [mut last0, mut last1] = [[0; 4]; 2];
            tile::pair(layer, pair, whole / 4, &mut last0, &mut last1)?;
            for (y, last) in [(tail0, last0), (tail1, last1)] {
                for (y, last) in y.iter_mut().zip(last) {
                    *y = last;
                }
            }
        }
        Some(())
    })
}

/// Has `fill` write results, to `y` or, with a residual, to where they are added from.
#[inline(always)]
fn write(
    y: &mut [i8],
    results: &mut [i8],
    output: &Output,
    residual: Option<&Residual>,
    fill: impl FnOnce(&mut [i8]) -> Option<()>,
) -> Option<()> {
    match residual {
        None => {
            fill(y)?;
            output.clamp(y);
        }
        Some(residual) => {
            let results = results.get_mut(..y.len())?;
            fill(results)?;
            output.clamp(results);
            for (y, result) in y.iter_mut().zip(results) {
                *y = residual.add(*result, *y);
            }
        }
    }
    Some(())
}
