//! Convolution with split weights, two pixels at a time.

use super::{expand, residual, tile};
use crate::kernels::patch::{self, Residual};
use crate::kernels::split::Split;
use crate::kernels::{Geometry, Io};
use crate::requantize::Output;
use core::num::NonZeroUsize;
use core::ops::Range;
use zerocopy::{FromBytes, IntoBytes};

/// Where an output pixel is.
#[derive(Clone, Copy)]
struct Pixel {
    batch: usize,
    y: usize,
    x: usize,
}

impl Pixel {
    fn next(self, g: &Geometry) -> Pixel {
        let [height, width, _] = g.output.map(NonZeroUsize::get);
        match self {
            Pixel { batch, y, x } if x + 1 < width => Pixel { batch, y, x: x + 1 },
            Pixel { batch, y, .. } if y + 1 < height => Pixel {
                batch,
                y: y + 1,
                x: 0,
            },
            Pixel { batch, .. } => Pixel {
                batch: batch + 1,
                y: 0,
                x: 0,
            },
        }
    }
}

/// How a pixel's taps lie in the input.
struct Runs {
    /// Output pixels all of whose taps lie inside in unbroken lines.
    inside: [Range<usize>; 2],
    /// Whether lines can be read in words.
    direct: bool,
    run: usize,
    lines: usize,
    words: usize,
    /// Bytes from one line of the input to the next.
    pitch: usize,
    image: usize,
    /// Bytes from one output pixel's taps to the next one's, vertically and horizontally.
    step: [usize; 2],
    /// Bytes that padding lies before the input.
    origin: usize,
}

impl Runs {
    fn new(g: &Geometry) -> Runs {
        let [in_h, in_w, in_c] = g.input.map(NonZeroUsize::get);
        let [lines, kernel_w] = g.kernel.map(NonZeroUsize::get);
        let run = kernel_w.wrapping_mul(in_c);
        // A last group that is not full is filled with bytes that meet zero weights; between lines they would be in the way.
        let direct = lines == 1 || run % 4 == 0;
        let unbroken = g.dilation.map(NonZeroUsize::get) == [1; 2];
        let inside = |axis: usize, input: usize, kernel: usize| {
            let (stride, pad) = (g.stride.get(axis), g.pad.get(axis).copied().unwrap_or(0));
            let stride = stride.copied().unwrap_or(NonZeroUsize::MIN);
            let fits = input.wrapping_add(pad).checked_sub(kernel);
            let end = fits.map_or(0, |last| last / stride + 1);
            pad.div_ceil(stride.get())..if unbroken { end } else { 0 }
        };
        let pitch = in_w.wrapping_mul(in_c);
        Runs {
            inside: [inside(0, in_h, lines), inside(1, in_w, kernel_w)],
            direct,
            run,
            lines,
            words: run.div_ceil(4),
            pitch,
            image: in_h.wrapping_mul(pitch),
            step: [
                g.stride[0].get().wrapping_mul(pitch),
                g.stride[1].get().wrapping_mul(in_c),
            ],
            origin: g.pad[0]
                .wrapping_mul(pitch)
                .wrapping_add(g.pad[1].wrapping_mul(in_c)),
        }
    }

    /// Where the taps of a pixel begin that lie inside.
    #[inline(always)]
    fn start(&self, pixel: Pixel) -> Option<usize> {
        let [rows, columns] = &self.inside;
        let inside = rows.contains(&pixel.y) && columns.contains(&pixel.x);
        let [down, right] = self.step;
        let at = pixel.batch.wrapping_mul(self.image);
        let at = at
            .wrapping_add(pixel.y.wrapping_mul(down))
            .wrapping_add(pixel.x.wrapping_mul(right));
        inside.then(|| at.wrapping_sub(self.origin))
    }
}

/// As [`patch::conv_packed`] for split weights.
#[inline(never)]
pub fn conv_split(
    g: &Geometry,
    split: &Split<'_>,
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
    let padded = taps.checked_next_multiple_of(4)?;
    let (words, rest) = scratch.split_at_mut_checked(padded.checked_mul(4)?)?;
    let words = <[u32]>::mut_from_bytes(words.as_mut_bytes()).ok()?;
    let (bytes, results) = rest.split_at_mut_checked(padded.checked_mul(2)?)?;
    let out_c = g.output[2].get();
    let runs = Runs::new(g);
    let mut pixels = g
        .batch
        .checked_mul(g.output[0].get())?
        .checked_mul(g.output[1].get())?;
    let mut next = Pixel {
        batch: 0,
        y: 0,
        x: 0,
    };
    let mut written = 0usize;
    while pixels > 0 {
        let first = next;
        next = next.next(g);
        let second = if pixels > 1 { next } else { first };
        let count = pixels.min(2);
        if count > 1 {
            next = next.next(g);
        }
        taps_of_both(
            g,
            &runs,
            io.input(),
            [first, second],
            zero_point,
            bytes,
            words,
        )?;
        let y = io.output().get_mut(written..)?.get_mut(..count * out_c)?;
        match residual {
            None => {
                let (y0, y1) = y.split_at_mut_checked(out_c)?;
                tile::results(split, words, output.zero_point(), y0, y1)?;
                output.clamp(y);
            }
            Some(add) => {
                let results = results.get_mut(..count * out_c)?;
                let (r0, r1) = results.split_at_mut_checked(out_c)?;
                tile::results(split, words, output.zero_point(), r0, r1)?;
                output.clamp(results);
                residual::add(add, results, y)?;
            }
        }
        written = written.checked_add(count * out_c)?;
        pixels -= count;
    }
    Some(())
}

/// Fills `words` with the taps of two pixels; where they do not lie inside, by way of `bytes`.
#[inline(always)]
fn taps_of_both(
    g: &Geometry,
    runs: &Runs,
    x: &[i8],
    [first, second]: [Pixel; 2],
    zero_point: i8,
    bytes: &mut [i8],
    words: &mut [u32],
) -> Option<()> {
    let starts = [runs.start(first), runs.start(second)];
    if let ([Some(a), Some(b)], true) = (starts, runs.direct) {
        let shape = [runs.lines, runs.words, runs.pitch];
        // The end of the input may be too near for the last word.
        if expand::expand(x, [a, b], shape, words).is_some() {
            return Some(());
        }
    }
    let half = bytes.len() / 2;
    let halves = bytes.chunks_exact_mut(half.max(1));
    for ((pixel, start), bytes) in [first, second].into_iter().zip(starts).zip(halves) {
        let taps = bytes.get_mut(..runs.lines.checked_mul(runs.run)?)?;
        match start {
            Some(at) => expand::gather(x, at, [runs.lines, runs.run, runs.pitch], taps, runs.run)?,
            None => at_border(g, runs, x, pixel, zero_point, taps)?,
        }
    }
    expand::expand(bytes, [0, half], [1, half / 4, half], words)
}

/// The taps of a pixel some of which are padding.
#[inline(never)]
fn at_border(
    g: &Geometry,
    runs: &Runs,
    x: &[i8],
    pixel: Pixel,
    zero_point: i8,
    taps: &mut [i8],
) -> Option<()> {
    let Pixel {
        batch,
        y,
        x: column,
    } = pixel;
    if g.dilation.map(NonZeroUsize::get) != [1; 2] {
        return patch::gather(g, x, [batch, y, column], zero_point, taps);
    }
    taps.fill(zero_point);
    let (rows, columns) = (g.vertical(y), g.horizontal(column));
    if rows.is_empty() || columns.is_empty() {
        return Some(());
    }
    let channels = g.input[2].get();
    let to = rows
        .start
        .wrapping_mul(runs.run)
        .wrapping_add(columns.start.wrapping_mul(channels));
    let row = rows.position.wrapping_mul(runs.pitch);
    let at = batch.wrapping_mul(runs.image).wrapping_add(row);
    let at = at.wrapping_add(columns.position.wrapping_mul(channels));
    let shape = [rows.len(), columns.len().wrapping_mul(channels), runs.pitch];
    expand::gather(x, at, shape, taps.get_mut(to..)?, runs.run)
}
