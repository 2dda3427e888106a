//! Sparse weights: only those that are not zero, channel by channel, each with its distance from the one before.
//!
//! A channel is a count, and then as many entries of 16 bits:
//!
//! ```text
//! 256·weight + delta       tap = tap of the entry before (0 for the first) + delta
//! ```
//!
//! Where more than 255 taps lie between two weights, entries of weight 0 fill the gap. Biases and multipliers are as for plain
//! weights.
//!
//! A convolution runs by tiles of [`PIXELS`] output pixels: their taps are turned into columns, so that an entry meets those of all
//! pixels side by side.

use super::parts::{parts, parts_mut};
use super::patch::{Residual, gather};
use super::{Geometry, Io};
use crate::requantize::Output;
use core::num::NonZeroUsize;
use zerocopy::{FromBytes, IntoBytes};

/// Output pixels of a tile: as many as have their sums in registers on small cores.
pub const PIXELS: usize = 4;

/// One tap of the pixels of a tile: pairs of 16-bit numbers, the first one low.
type Column = [u32; PIXELS / 2];

/// Weights, biases and multipliers in this form.
#[derive(Clone, Copy, Debug)]
pub struct Sparse<'d> {
    /// Counts and entries of all channels, one behind the other.
    pub entries: &'d [i16],
    /// `[channels]`.
    pub bias: &'d [i32],
    /// `[channels]`.
    pub multipliers: &'d [f32],
}

/// The entries of one channel, and what is behind them.
#[inline(always)]
fn channel(stream: &[i16]) -> Option<(&[i16], &[i16])> {
    let (count, rest) = stream.split_first()?;
    rest.split_at_checked(usize::from(*count as u16))
}

/// Weight and delta of an entry.
#[inline(always)]
fn parse(entry: i16) -> (i32, usize) {
    (i32::from(entry >> 8), usize::from(entry as u8))
}

/// How many weights `entries` has, those that fill gaps included; `None` unless it is exactly so many channels, whose taps are all
/// below `taps`.
pub fn count(entries: &[i16], channels: usize, taps: usize) -> Option<usize> {
    let (mut stream, mut count) = (entries, 0usize);
    for _ in 0..channels {
        let (entries, rest) = channel(stream)?;
        let sum = |sum: usize, entry: &i16| sum.wrapping_add(parse(*entry).1);
        // At most 2¹⁶ deltas of at most 255.
        if !entries.is_empty() && entries.iter().fold(0, sum) >= taps {
            return None;
        }
        count = count.checked_add(entries.len())?;
        stream = rest;
    }
    stream.is_empty().then_some(count)
}

/// Bytes of working memory of a convolution: the columns of a tile, and two pixels' taps, which become a part of them.
pub fn conv_scratch(g: &Geometry) -> Option<usize> {
    let taps = g.window_len()?.get();
    let columns = taps.checked_mul(size_of::<Column>())?;
    columns
        .checked_add(taps.checked_mul(2)?)?
        .checked_next_multiple_of(4)
}

/// Convolution of one group, not in place. `scratch` has the bytes that [`conv_scratch`] says.
#[inline(never)]
pub fn conv_sparse(
    g: &Geometry,
    sparse: &Sparse<'_>,
    zero_point: i8,
    output: Output,
    io: &mut Io<'_>,
    scratch: &mut [i8],
    residual: Option<&Residual>,
) -> Option<()> {
    let taps = g.window_len()?;
    let channels = g.output[2];
    let columns_len = taps.get().checked_mul(size_of::<Column>())?;
    let (columns, patches) = scratch.split_at_mut_checked(columns_len)?;
    let columns = <[Column]>::mut_from_bytes(columns.as_mut_bytes()).ok()?;
    let (low, high) = patches.split_at_mut_checked(taps.get())?;
    let high = high.get_mut(..taps.get())?;
    let pixels = g
        .batch
        .checked_mul(g.output[0].get())?
        .checked_mul(g.output[1].get())?;
    for first in (0..pixels).step_by(PIXELS) {
        for pair in 0..PIXELS / 2 {
            for (half, patch) in [&mut *low, &mut *high].into_iter().enumerate() {
                // A tile that is not full computes its last pixel several times.
                let pixel = (first + 2 * pair + half).min(pixels - 1);
                let (row, ox) = (pixel / g.output[1], pixel % g.output[1]);
                let at = [row / g.output[0], row % g.output[0], ox];
                gather(g, io.input(), at, zero_point, patch)?;
            }
            expand(columns, pair, low, high)?;
        }
        let y = io.output().get_mut(first.checked_mul(channels.get())?..)?;
        tile(columns, sparse, channels, output, y, residual)?;
    }
    Some(())
}

/// The taps of a pair of pixels into their place in every column.
#[inline(never)]
fn expand(columns: &mut [Column], pair: usize, low: &[i8], high: &[i8]) -> Option<()> {
    for (column, (low, high)) in columns.iter_mut().zip(low.iter().zip(high)) {
        let low = i32::from(*low) as u32 & 0xffff;
        *column.get_mut(pair)? = low | (i32::from(*high) as u32) << 16;
    }
    Some(())
}

/// The results of a tile's pixels: `y` begins with the first of them, and may have fewer.
#[inline(always)]
fn tile(
    columns: &[Column],
    sparse: &Sparse<'_>,
    channels: NonZeroUsize,
    output: Output,
    y: &mut [i8],
    residual: Option<&Residual>,
) -> Option<()> {
    let mut stream = sparse.entries;
    let constants = sparse.bias.iter().zip(sparse.multipliers);
    for (c, (bias, multiplier)) in constants.enumerate() {
        let (entries, rest) = channel(stream)?;
        stream = rest;
        let sums = sums(columns, entries, *bias)?;
        for (pixel, sum) in parts_mut(y, channels).zip(sums) {
            let y = pixel.get_mut(c)?;
            let result = output.requantize(sum, *multiplier);
            *y = residual.map_or(result, |r| r.add(result, *y));
        }
    }
    Some(())
}

/// One channel's sums over the taps of a tile's pixels. Not inlined, so that the sums have the registers.
#[inline(never)]
fn sums(columns: &[Column], entries: &[i16], bias: i32) -> Option<[i32; PIXELS]> {
    // Each in a variable of its own: firmware that is built for size would keep an array in memory.
    let [mut a, mut b, mut c, mut d] = [bias; PIXELS];
    let mut tap = 0usize;
    for entry in entries {
        let (weight, delta) = parse(*entry);
        tap = tap.wrapping_add(delta);
        let low = |pair: u32| weight.wrapping_mul(i32::from(pair as i16));
        let high = |pair: u32| weight.wrapping_mul(pair as i32 >> 16);
        let &[ab, cd] = columns.get(tap)?;
        (a, b) = (a.wrapping_add(low(ab)), b.wrapping_add(high(ab)));
        (c, d) = (c.wrapping_add(low(cd)), d.wrapping_add(high(cd)));
    }
    Some([a, b, c, d])
}

/// Fully connected layer over rows of `inputs` elements.
#[inline(never)]
pub fn dense_sparse(
    inputs: usize,
    outputs: usize,
    sparse: &Sparse<'_>,
    output: Output,
    x: &[i8],
    y: &mut [i8],
) -> Option<()> {
    let (inputs, outputs) = (NonZeroUsize::new(inputs)?, NonZeroUsize::new(outputs)?);
    for (x, y) in parts(x, inputs).zip(parts_mut(y, outputs)) {
        let mut stream = sparse.entries;
        let constants = sparse.bias.iter().zip(sparse.multipliers);
        for (y, (bias, multiplier)) in y.iter_mut().zip(constants) {
            let (entries, rest) = channel(stream)?;
            stream = rest;
            let (mut sum, mut tap) = (*bias, 0usize);
            for entry in entries {
                let (weight, delta) = parse(*entry);
                tap = tap.wrapping_add(delta);
                sum = sum.wrapping_add(weight.wrapping_mul(i32::from(*x.get(tap)?)));
            }
            *y = output.requantize(sum, *multiplier);
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::kernels::testing::{Case, bytes, cases};
    use crate::kernels::{Int8, conv, dense};
    use proptest::prelude::*;
    use std::vec;
    use std::vec::Vec;

    /// Weights `[channels][taps]` as entries.
    fn entries(weights: &[i8], taps: usize) -> Vec<i16> {
        let mut stream = Vec::new();
        for row in weights.chunks(taps) {
            let (start, mut before) = (stream.len(), 0);
            stream.push(0);
            for (tap, &w) in row.iter().enumerate().filter(|(_, w)| **w != 0) {
                while tap - before > 255 {
                    stream.push(255);
                    before += 255;
                }
                stream.push(i16::from(w) << 8 | (tap - before) as i16);
                before = tap;
            }
            stream[start] = (stream.len() - start - 1) as u16 as i16;
        }
        stream
    }

    /// Of every hundred weights `zeros` become zero.
    fn thin(weights: &mut [i8], seed: u64, zeros: u8) {
        let draws = bytes(seed, weights.len());
        for (w, draw) in weights.iter_mut().zip(draws) {
            if (draw as u8) % 100 < zeros {
                *w = 0;
            }
        }
    }

    fn factors(seed: u64, channels: usize) -> (Vec<i32>, Vec<f32>) {
        let bias = bytes(seed, channels)
            .iter()
            .map(|&b| i32::from(b) * 40)
            .collect();
        let scale = |b: &i8| 0.0005 * (1.0 + f32::from(*b).abs() / 31.0);
        (bias, bytes(seed ^ 1, channels).iter().map(scale).collect())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        #[test]
        fn convolutions_equal_the_plain_ones(
            case in cases(), wide in 0usize..3, seed: u64, zero in -128i32..=127, zeros in 0u8..=100, adds: bool,
        ) {
            // Some with so many taps that gaps have to be filled.
            let case = Case { groups: 1, in_c: case.in_c / case.groups + 90 * wide, ..case };
            let g = case.geometry();
            let taps = g.window_len().unwrap().get();
            let x = bytes(seed, case.input_len());
            let mut w = bytes(seed ^ 1, case.weight_len());
            thin(&mut w, seed ^ 2, zeros);
            let (bias, multipliers) = factors(seed ^ 3, case.out_c);
            let output = Output::saturating(zero / 2);
            let residual = Residual {
                factor: 1 << 20, factor_b: 700_001, offset: -(zero << 20), multiplier: 0.9 / (1 << 20) as f32, output,
            };
            let plain = Int8 { weights: &w, input_zero_point: zero, bias: &bias, multipliers: &multipliers, output };
            let mut want = vec![0; case.output_len()];
            conv(&g, 1, &plain, &x, &mut want).unwrap();
            let before = bytes(seed ^ 4, want.len());
            if adds {
                for (want, before) in want.iter_mut().zip(&before) {
                    *want = residual.add(*want, *before);
                }
            }
            let entries = entries(&w, taps);
            let stored = count(&entries, case.out_c, taps).unwrap();
            prop_assert!(stored >= w.iter().filter(|w| **w != 0).count());
            let sparse = Sparse { entries: &entries, bias: &bias, multipliers: &multipliers };
            let mut scratch = vec![0x5a5a_5a5au32; conv_scratch(&g).unwrap() / 4];
            let scratch = <[i8]>::mut_from_bytes(scratch.as_mut_bytes()).unwrap();
            let mut y = before.clone();
            let mut io = Io::Apart { x: &x, y: &mut y };
            let residual = adds.then_some(&residual);
            conv_sparse(&g, &sparse, zero as i8, output, &mut io, scratch, residual).unwrap();
            prop_assert_eq!(y, want);
        }

        #[test]
        fn fully_connected_layers_equal_the_plain_ones(
            rows in 1usize..4, inputs in 1usize..700, outputs in 1usize..9, seed: u64, zeros in 0u8..=100,
        ) {
            let x = bytes(seed, rows * inputs);
            let mut w = bytes(seed ^ 1, inputs * outputs);
            thin(&mut w, seed ^ 2, zeros);
            let (bias, multipliers) = factors(seed ^ 3, outputs);
            let output = Output::saturating(3);
            let plain = Int8 { weights: &w, input_zero_point: 0, bias: &bias, multipliers: &multipliers, output };
            let (mut want, mut y) = (vec![0; rows * outputs], vec![0; rows * outputs]);
            dense(inputs, outputs, &plain, &x, &mut want).unwrap();
            let entries = entries(&w, inputs);
            let sparse = Sparse { entries: &entries, bias: &bias, multipliers: &multipliers };
            dense_sparse(inputs, outputs, &sparse, output, &x, &mut y).unwrap();
            prop_assert_eq!(y, want);
        }

        #[test]
        fn any_entries_are_counted_or_refused_and_never_read_outside(
            entries in prop::collection::vec(prop_oneof![any::<i16>(), 0i16..4], 0..40),
            channels in 0usize..4, taps in 1usize..600,
        ) {
            let constants = (vec![0; channels], vec![0.001; channels]);
            let sparse = Sparse { entries: &entries, bias: &constants.0, multipliers: &constants.1 };
            let (x, mut y) = (vec![1; taps], vec![0; channels]);
            let run = dense_sparse(taps, channels, &sparse, Output::saturating(0), &x, &mut y);
            if count(&entries, channels, taps).is_some() && channels > 0 {
                prop_assert!(run.is_some());
            }
        }
    }
}
