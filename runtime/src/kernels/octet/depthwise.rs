//! Depthwise convolutions: rows interleaved by pairs, some channels at a time.

use super::arm::{Arm, Layer, Results, Windows};
use super::{
    CHANNELS, MOST_CHANNELS, MOST_RUNS, Octet, columns, depthwise_block_len, depthwise_channels,
    pairs,
};
use crate::kernels::Geometry;
use crate::kernels::parts::{parts, parts_mut};
use core::num::NonZeroUsize;
use core::ops::Range;
use zerocopy::{FromBytes, IntoBytes};

/// See [`super::depthwise_octet`].
pub(super) fn depthwise<A: Arm>(
    arm: A,
    g: &Geometry,
    layer: &Octet<'_>,
    x: &[i8],
    y: &mut [i8],
    scratch: &mut [i8],
) -> Option<()> {
    let channels = g.input[2].get();
    let together = NonZeroUsize::new(depthwise_channels(g)?)?;
    let len = scratch.len() / 2;
    let (ring, _) = <[i16]>::mut_from_prefix_with_elems(scratch.as_mut_bytes(), len).ok()?;
    let out_image = g.output[0]
        .checked_mul(g.output[1])?
        .checked_mul(g.output[2])?;
    let images = parts(x, NonZeroUsize::new(g.image_len())?);
    for (x, y) in images.zip(parts_mut(y, out_image)).take(g.batch) {
        for first in (0..channels).step_by(together.get()) {
            let range = first..channels.min(first.checked_add(together.get())?);
            some_channels(arm, g, layer, range, x, y, ring)?;
        }
    }
    Some(())
}

/// The channels of `range`, the first of which begins a block.
fn some_channels<A: Arm>(
    arm: A,
    g: &Geometry,
    layer: &Octet<'_>,
    range: Range<usize>,
    x: &[i8],
    y: &mut [i8],
    ring: &mut [i16],
) -> Option<()> {
    let channels = g.input[2].get();
    let count = range.len().checked_next_multiple_of(CHANNELS)?;
    let pairs = NonZeroUsize::new(pairs(g.kernel[0].get()))?;
    let column = count.checked_mul(2)?;
    let row_len = columns(g)?.checked_mul(column)?;
    let block_len = depthwise_block_len(g)?;
    let mut out_rows = parts_mut(y, g.output[1].checked_mul(g.output[2])?);
    // The padding to the left and right is the same for all rows.
    let inside = inside(g, count, row_len)?;
    for row in parts_mut(&mut *ring, NonZeroUsize::new(row_len)?).take(pairs.get()) {
        let padding = i16::from(layer.zero_point);
        row.get_mut(..inside.start)?.fill(padding);
        row.get_mut(inside.end..)?.fill(padding);
    }
    // The next pair of rows that is not in the ring.
    let mut next = 0;
    for oy in 0..g.output[0].get() {
        let top = oy.checked_mul(g.stride[0].get())?;
        let first = top / 2;
        next = first.max(next);
        while next < first.checked_add(pairs.get())? {
            let row = ring.get_mut((next % pairs).checked_mul(row_len)?..)?;
            fill(
                arm,
                g,
                layer.zero_point,
                [next, count],
                &range,
                x,
                row.get_mut(..row_len)?,
            )?;
            next = next.checked_add(1)?;
        }
        let width = g.kernel[1];
        let mut runs = [0; MOST_RUNS];
        let runs = runs.get_mut(..width.get().checked_mul(pairs.get())?)?;
        let mut pair = first % pairs;
        for runs in parts_mut(runs, width) {
            let mut at = pair.checked_mul(row_len)?;
            for begin in runs {
                *begin = at;
                at = at.wrapping_add(column);
            }
            pair = if pair.wrapping_add(1) == pairs.get() {
                0
            } else {
                pair.wrapping_add(1)
            };
        }
        let windows = Windows {
            rows: &*ring,
            runs,
            len: column,
            step: g.stride[1].get().checked_mul(column)?,
            pixels: g.output[1].get(),
        };
        let first_block = range.start / CHANNELS;
        let weights = layer.weights.get(first_block.checked_mul(block_len)?..)?;
        let constants = Layer {
            weights: weights.get((top % 2).checked_mul(block_len / 2)?..)?,
            block: block_len,
            bias: layer.bias.as_chunks().0.get(first_block..)?,
            unsigned: &[],
            multipliers: layer.multipliers.as_chunks().0.get(first_block..)?,
            output: layer.output,
        };
        let mut results = Results {
            y: out_rows.next()?.get_mut(range.start..)?,
            step: channels,
            channels: range.len(),
            residual: None,
        };
        arm.depthwise(&windows, &constants, &mut results)?;
    }
    Some(())
}

/// The elements of a row in working memory that are no padding to the left or right: `count` channels a column.
fn inside(g: &Geometry, count: usize, row_len: usize) -> Option<Range<usize>> {
    let column = count.checked_mul(2)?;
    let before = g.pad[1].checked_mul(column)?.min(row_len);
    let columns = g.input[1].get().checked_mul(column)?;
    Some(before..before.checked_add(columns)?.min(row_len))
}

/// Brings pair `pair` of rows, padding above counted, to working memory, but for the padding to the left and right: `count`
/// channels a column.
fn fill<A: Arm>(
    arm: A,
    g: &Geometry,
    zero_point: i8,
    [pair, count]: [usize; 2],
    range: &Range<usize>,
    x: &[i8],
    row: &mut [i16],
) -> Option<()> {
    let [_, in_w, channels] = g.input.map(NonZeroUsize::get);
    let padding = i16::from(zero_point);
    let y = row.get_mut(inside(g, count, row.len())?)?;
    let columns = y.len().checked_div(count.checked_mul(2)?)?;
    // No window may reach the input.
    if columns == 0 {
        return Some(());
    }
    let of = |below: usize| {
        let row = pair.checked_mul(2)?.checked_add(below)?;
        let row = row
            .checked_sub(g.pad[0])
            .filter(|&r| r < g.input[0].get())?;
        x.get(row.checked_mul(in_w)?.checked_mul(channels)?..)?
            .get(..in_w.checked_mul(channels)?)?
            .get(range.start..)
    };
    let none = [zero_point; MOST_CHANNELS];
    let len = range.len();
    let [above, below] = match [of(0), of(1)] {
        [None, None] => {
            y.fill(padding);
            return Some(());
        }
        // Channels side by side are one piece.
        [Some(a), Some(b)] if len == channels && len == count => {
            return arm.interleave([a, b], y, 1, columns.checked_mul(len)?, [0; 3]);
        }
        rows => rows,
    };
    let steps = [above, below].map(|row| row.map_or(0, |_| channels));
    let rows = [above, below].map(|row| row.unwrap_or(&none));
    arm.interleave(rows, y, columns, len, [steps[0], steps[1], count])
}
