//! Convolutions and fully connected layers: rows to working memory, blocks of channels over runs of pixels.

use super::arm::{Arm, Layer, Results, Windows};
use super::{CHANNELS, MOST_RUNS, Octet, Runs, TAPS, columns, ring, run};
use crate::kernels::Geometry;
use crate::kernels::parts::{parts, parts_mut};
use crate::kernels::patch::Residual;
use core::num::NonZeroUsize;
use zerocopy::{FromBytes, IntoBytes};

/// Working memory as an arm's elements.
fn taps<A: Arm>(scratch: &mut [i8]) -> Option<&mut [A::Tap]> {
    let count = scratch.len() / size_of::<A::Tap>();
    let taps = <[A::Tap]>::mut_from_prefix_with_elems(scratch.as_mut_bytes(), count);
    Some(taps.ok()?.0)
}

/// See [`super::conv_octet`].
pub(super) fn conv<A: Arm>(
    arm: A,
    g: &Geometry,
    layer: &Octet<'_>,
    x: &[i8],
    y: &mut [i8],
    scratch: &mut [i8],
    residual: Option<&Residual>,
) -> Option<()> {
    let rows = taps::<A>(scratch)?;
    if g.pointwise() {
        return pixels(arm, [g.input[2], g.output[2]], layer, x, y, rows, residual);
    }
    let depth = g.input[2].get();
    let row_len = columns(g)?.checked_mul(depth)?;
    let ring = NonZeroUsize::new(ring(g)?)?;
    let shape = Runs::of(g)?;
    let runs_of_row = NonZeroUsize::new(shape.count[1])?;
    let count = shape.count[0].checked_mul(runs_of_row.get())?;
    let out_row = g.output[1].checked_mul(g.output[2])?;
    let mut out_rows = parts_mut(y, out_row);
    let in_row = g.input[1].checked_mul(g.input[2])?;
    let right = g.dilation[1].checked_mul(g.input[2])?.get();
    for image in parts(x, NonZeroUsize::new(g.image_len())?).take(g.batch) {
        // The next row, padding above counted, that is not in the ring.
        let mut next = 0;
        for oy in 0..g.output[0].get() {
            let first = oy.checked_mul(g.stride[0].get())?;
            next = first.max(next);
            while next < first.checked_add(ring.get())? {
                let row = rows.get_mut((next % ring).checked_mul(row_len)?..)?;
                let source = next
                    .checked_sub(g.pad[0])
                    .and_then(|row| image.get(row.checked_mul(in_row.get())?..))
                    .and_then(|rest| rest.get(..in_row.get()));
                fill(arm, g, layer.zero_point, source, row.get_mut(..row_len)?)?;
                next = next.checked_add(1)?;
            }
            let mut runs = [0; MOST_RUNS];
            let runs = runs.get_mut(..count)?;
            for (i, begin) in runs.iter_mut().enumerate() {
                let row = (i / runs_of_row).checked_mul(g.dilation[0].get())?;
                let row = first.checked_add(row)? % ring;
                let run = (i % runs_of_row).checked_mul(right)?;
                *begin = row.checked_mul(row_len)?.checked_add(run)?;
            }
            let windows = Windows {
                rows: &*rows,
                runs,
                len: shape.taps.checked_next_multiple_of(TAPS)?,
                step: g.stride[1].checked_mul(g.input[2])?.get(),
                pixels: g.output[1].get(),
            };
            let y = out_rows.next()?;
            run_of_pixels(arm, &windows, layer, g.output[2], y, residual)?;
        }
    }
    Some(())
}

/// Brings a row to working memory, or padding where there is none.
fn fill<A: Arm>(
    arm: A,
    g: &Geometry,
    zero_point: i8,
    source: Option<&[i8]>,
    row: &mut [A::Tap],
) -> Option<()> {
    let depth = g.input[2].get();
    let padding = arm.tap(zero_point);
    let Some(source) = source else {
        row.fill(padding);
        return Some(());
    };
    let before = g.pad[1].checked_mul(depth)?.min(row.len());
    let (before, rest) = row.split_at_mut_checked(before)?;
    before.fill(padding);
    let (inside, after) = rest.split_at_mut_checked(rest.len().min(source.len()))?;
    arm.expand(source.get(..inside.len())?, inside);
    after.fill(padding);
    Some(())
}

/// Results of all channels for the pixels of `windows`.
fn run_of_pixels<A: Arm>(
    arm: A,
    windows: &Windows<'_, A::Tap>,
    octet: &Octet<'_>,
    channels: NonZeroUsize,
    y: &mut [i8],
    residual: Option<&Residual>,
) -> Option<()> {
    let window = windows.runs.len().checked_mul(windows.len)?;
    let blocks = channels.get().div_ceil(CHANNELS);
    let (bias, unsigned) = octet.bias.as_chunks().0.split_at_checked(blocks)?;
    let layer = Layer {
        weights: octet.weights,
        block: window.checked_mul(CHANNELS)?,
        bias,
        unsigned,
        multipliers: octet.multipliers.as_chunks().0,
        output: octet.output,
    };
    let mut results = Results {
        y,
        step: channels.get(),
        channels: channels.get(),
        residual,
    };
    arm.convolve(windows, &layer, &mut results)
}

/// A convolution each of whose outputs depends on the pixel at its place, or rows of a fully connected layer.
fn pixels<A: Arm>(
    arm: A,
    [depth, channels]: [NonZeroUsize; 2],
    layer: &Octet<'_>,
    x: &[i8],
    y: &mut [i8],
    rows: &mut [A::Tap],
    residual: Option<&Residual>,
) -> Option<()> {
    let all = x.len() / depth;
    // As many as there is room for: the compiler's reckoning with 16-bit elements.
    let most = run(depth.get(), all).min(rows.len().checked_sub(TAPS)? / depth);
    let most = NonZeroUsize::new(most)?;
    let x = x.chunks(depth.checked_mul(most)?.get());
    let y = y.chunks_mut(channels.checked_mul(most)?.get());
    for (x, y) in x.zip(y) {
        arm.expand(x, rows.get_mut(..x.len())?);
        let windows = Windows {
            rows: &*rows,
            runs: &[0],
            len: depth.get().checked_next_multiple_of(TAPS)?,
            step: depth.get(),
            pixels: x.len() / depth,
        };
        run_of_pixels(arm, &windows, layer, channels, y, residual)?;
    }
    Some(())
}

/// See [`super::dense_octet`].
pub(super) fn dense<A: Arm>(
    arm: A,
    [inputs, outputs]: [usize; 2],
    layer: &Octet<'_>,
    x: &[i8],
    y: &mut [i8],
    scratch: &mut [i8],
) -> Option<()> {
    let shape = [NonZeroUsize::new(inputs)?, NonZeroUsize::new(outputs)?];
    pixels(arm, shape, layer, x, y, taps::<A>(scratch)?, None)
}
