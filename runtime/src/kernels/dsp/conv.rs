//! Convolution with split weights, two pixels at a time.

use super::expand::{self, Lines};
use super::residual;
use super::tile::{self, Tile};
use crate::kernels::patch::Residual;
use crate::kernels::split::Split;
use crate::kernels::{Geometry, Io};
use crate::requantize::Output;
use core::num::NonZeroUsize;
use core::ops::Range;
use zerocopy::{FromBytes, IntoBytes};

/// How a pixel's taps lie in the input.
struct Runs {
    /// Output pixels all of whose taps lie inside, in unbroken lines.
    inside: [Range<usize>; 2],
    lines: usize,
    /// Bytes of a line of taps, and from one line of the input to the next.
    run: usize,
    pitch: usize,
    /// Bytes from one image to the next, and from one output pixel's taps to the next one's, vertically and horizontally.
    step: [usize; 3],
    /// Bytes that padding lies before the input.
    origin: usize,
}

impl Runs {
    fn new(g: &Geometry) -> Runs {
        let [in_h, in_w, in_c] = g.input.map(NonZeroUsize::get);
        let [lines, kernel_w] = g.kernel.map(NonZeroUsize::get);
        let unbroken = g.dilation.map(NonZeroUsize::get) == [1; 2];
        let inside = |stride: NonZeroUsize, pad: usize, input: usize, kernel: usize| {
            let fits = input.wrapping_add(pad).checked_sub(kernel);
            let end = fits.map_or(0, |last| last / stride + 1);
            pad.div_ceil(stride.get())..if unbroken { end } else { 0 }
        };
        let [down, right] = g.stride;
        let [above, left] = g.pad;
        let pitch = in_w.wrapping_mul(in_c);
        Runs {
            inside: [
                inside(down, above, in_h, lines),
                inside(right, left, in_w, kernel_w),
            ],
            lines,
            run: kernel_w.wrapping_mul(in_c),
            pitch,
            step: [
                g.image_len(),
                down.get().wrapping_mul(pitch),
                right.get().wrapping_mul(in_c),
            ],
            origin: above
                .wrapping_mul(pitch)
                .wrapping_add(left.wrapping_mul(in_c)),
        }
    }
}

/// An output pixel, and where its taps would begin.
#[derive(Clone, Copy)]
struct Pixel {
    batch: usize,
    y: usize,
    x: usize,
    at: usize,
    /// Whether the whole row has its taps inside, vertically.
    row_inside: bool,
}

impl Pixel {
    fn row(runs: &Runs, batch: usize, y: usize) -> Pixel {
        let [image, down, _] = runs.step;
        let at = batch.wrapping_mul(image).wrapping_add(y.wrapping_mul(down));
        let row_inside = runs.inside[0].contains(&y);
        Pixel {
            batch,
            y,
            x: 0,
            at: at.wrapping_sub(runs.origin),
            row_inside,
        }
    }

    #[inline(always)]
    fn next(self, g: &Geometry, runs: &Runs) -> Pixel {
        let (x, at) = (self.x + 1, self.at.wrapping_add(runs.step[2]));
        if x < g.output[1].get() {
            Pixel { x, at, ..self }
        } else if self.y + 1 < g.output[0].get() {
            Pixel::row(runs, self.batch, self.y + 1)
        } else {
            Pixel::row(runs, self.batch + 1, 0)
        }
    }

    /// Where the taps begin, if they lie inside.
    #[inline(always)]
    fn start(&self, runs: &Runs) -> Option<usize> {
        (self.row_inside && runs.inside[1].contains(&self.x)).then_some(self.at)
    }
}

/// As [`crate::kernels::patch::conv_packed`] for split weights.
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
    // Pixels of a pointwise convolution form one row.
    let row;
    let g = match g.pointwise().then(|| g.as_row()).flatten() {
        Some(geometry) => {
            row = geometry;
            &row
        }
        None => g,
    };
    let runs = Runs::new(g);
    let padded = runs
        .lines
        .checked_mul(runs.run)?
        .checked_next_multiple_of(4)?;
    let (words, rest) = scratch.split_at_mut_checked(padded.checked_mul(4)?)?;
    let words = <[u32]>::mut_from_bytes(words.as_mut_bytes()).ok()?;
    let (bytes, results) = rest.split_at_mut_checked(padded.checked_mul(2)?)?;
    let out_c = g.output[2].get();
    let tile = Tile::new(split, padded / 4, out_c, output.zero_point())?;
    // A last group that is not full is filled with bytes that meet zero weights; between lines they would be in the way.
    let direct = runs.lines == 1 || runs.run % 4 == 0;
    let lines = if direct {
        Lines::new([runs.lines, runs.run.div_ceil(4), runs.pitch])
    } else {
        None
    };
    let gathered = Lines::new([1, padded / 4, padded])?;
    let mut left = g
        .batch
        .checked_mul(g.output[0].get())?
        .checked_mul(g.output[1].get())?;
    let mut pixel = Pixel::row(&runs, 0, 0);
    let mut written = 0usize;
    let strips = Strips {
        lines: lines.as_ref(),
        gathered: &gathered,
        runs: &runs,
        job: tile.whole(words).filter(|_| output.saturates()),
        add: residual
            .filter(|add| add.output.saturates())
            .map(residual::Job::new),
        adds: residual.is_some(),
        channels: out_c,
    };
    while left > 0 {
        let count = strips.run(
            io,
            &pixel,
            g.output[1].get(),
            written,
            [bytes, results],
            words,
        );
        if count > 0 {
            written = written.checked_add(count.checked_mul(out_c)?)?;
            left = left.checked_sub(count)?;
            // One before the next, to go on from.
            let last = Pixel {
                x: pixel.x.wrapping_add(count - 1),
                at: pixel
                    .at
                    .wrapping_add((count - 1).wrapping_mul(runs.step[2])),
                ..pixel
            };
            pixel = last.next(g, &runs);
            continue;
        }
        let first = pixel;
        // An odd last pixel is its own partner.
        let second = if left > 1 {
            first.next(g, &runs)
        } else {
            first
        };
        pixel = second.next(g, &runs);
        let both = if left > 1 {
            out_c.wrapping_mul(2)
        } else {
            out_c
        };
        let starts = (first.start(&runs), second.start(&runs));
        let expanded = match (starts, &lines) {
            // The end of the input may be too near for the last word.
            ((Some(a), Some(b)), Some(lines)) => lines.expand(io.input(), [a, b], words),
            _ => None,
        };
        if expanded.is_none() {
            gather_both(g, &runs, io.input(), [first, second], zero_point, bytes)?;
            gathered.expand(bytes, [0, padded], words)?;
        }
        let end = written.checked_add(both)?;
        let y = io.output().get_mut(written..end)?;
        match residual {
            None => {
                tile.results(words, y)?;
                output.clamp(y);
            }
            Some(add) => {
                let results = results.get_mut(..both)?;
                tile.results(words, results)?;
                output.clamp(results);
                residual::add(add, results, y)?;
            }
        }
        written = end;
        left = left.saturating_sub(2);
    }
    Some(())
}

/// Pairs of pixels side by side, all of whose taps lie inside: bounds are checked once for all of them.
struct Strips<'a> {
    lines: Option<&'a Lines>,
    gathered: &'a Lines,
    runs: &'a Runs,
    job: Option<tile::Job>,
    add: Option<residual::Job>,
    adds: bool,
    channels: usize,
}

impl Strips<'_> {
    /// Does as many pixels from `pixel` on as it can; their number. Results begin at byte `written` of the output.
    #[inline(never)]
    fn run(
        &self,
        io: &mut Io<'_>,
        pixel: &Pixel,
        width: usize,
        written: usize,
        [bytes, results]: [&mut [i8]; 2],
        words: &mut [u32],
    ) -> usize {
        let (Some(job), Some(at)) = (&self.job, pixel.start(self.runs)) else {
            return 0;
        };
        let Runs {
            inside,
            lines,
            run,
            pitch,
            step: [_, _, right],
            ..
        } = self.runs;
        let right = *right;
        let pairs = inside[1].end.min(width).saturating_sub(pixel.x) / 2;
        let ((x, x_len), (y, y_len)) = io.pointers();
        // How far the last pair's taps and all results reach.
        let reach = || {
            let reach = match self.lines {
                Some(lines) => lines.reach(),
                None => lines
                    .checked_sub(1)?
                    .checked_mul(*pitch)?
                    .checked_add(*run)?,
            };
            let last = pairs.checked_mul(2)?.checked_sub(1)?.checked_mul(right)?;
            let taps = at.checked_add(last)?.checked_add(reach)?;
            let ends = written.checked_add(pairs.checked_mul(2)?.checked_mul(self.channels)?)?;
            let room = bytes.len() >= self.gathered.reach().checked_mul(2)?
                && (!self.adds || results.len() >= self.channels * 2)
                && words.len() == self.gathered.words() * 4;
            Some(room && taps <= x_len && ends <= y_len && self.adds == self.add.is_some())
        };
        if pairs == 0 || reach() != Some(true) {
            return 0;
        }
        let skips = [pitch.wrapping_sub(*run), 0];
        let half = self.gathered.reach();
        let both = self.channels * 2;
        let mut from = x.wrapping_add(at);
        let mut to = y.wrapping_add(written);
        for _ in 0..pairs {
            let next = from.wrapping_add(right);
            // SAFETY: all taps of all pairs lie within `x_len`, all results within `y_len`; `bytes` holds both pixels' taps,
            // `words` the same as 16-bit numbers, `results` both pixels' results: checked above. In place, a pair's taps are read
            // before its results are written.
            unsafe {
                match self.lines {
                    Some(lines) => lines.run([from, next], words.as_mut_ptr()),
                    None => {
                        let halves = [bytes.as_mut_ptr(), bytes.as_mut_ptr().add(half)];
                        expand::copy(from, halves[0], *run, *lines, &skips);
                        expand::copy(next, halves[1], *run, *lines, &skips);
                        self.gathered
                            .run(halves.map(|half| half.cast_const()), words.as_mut_ptr());
                    }
                }
                match &self.add {
                    None => job.run(to, self.channels),
                    Some(add) => {
                        job.run(results.as_mut_ptr(), self.channels);
                        add.run(results.as_ptr(), to, to.wrapping_add(both));
                    }
                }
            }
            from = next.wrapping_add(right);
            to = to.wrapping_add(both);
        }
        pairs * 2
    }
}

/// The taps of two pixels as bytes, each in one half of `bytes`.
#[inline(never)]
fn gather_both(
    g: &Geometry,
    runs: &Runs,
    x: &[i8],
    pixels: [Pixel; 2],
    zero_point: i8,
    bytes: &mut [i8],
) -> Option<()> {
    let halves = bytes.chunks_exact_mut(NonZeroUsize::new(bytes.len() / 2)?.get());
    for (pixel, bytes) in pixels.into_iter().zip(halves) {
        let taps = bytes.get_mut(..runs.lines.checked_mul(runs.run)?)?;
        match pixel.start(runs) {
            Some(at) => expand::gather(x, at, [runs.lines, runs.run, runs.pitch], taps, runs.run)?,
            None => at_border(g, runs, x, pixel, zero_point, taps)?,
        }
    }
    Some(())
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
    taps.fill(zero_point);
    let (rows, columns) = (g.vertical(pixel.y), g.horizontal(pixel.x));
    let channels = g.input[2].get();
    let [image, _, _] = runs.step;
    let at = pixel.batch.wrapping_mul(image);
    let at = at.wrapping_add(columns.position.wrapping_mul(channels));
    let to = columns.start.wrapping_mul(channels);
    let [down, right] = g.dilation.map(NonZeroUsize::get);
    // Taps side by side are one run; all lines of taps are copied in one go then.
    let (calls, lines, run) = match right {
        1 => (1, rows.len(), columns.len().wrapping_mul(channels)),
        _ => (rows.len(), columns.len(), channels),
    };
    if rows.is_empty() || columns.is_empty() {
        return Some(());
    }
    for row in 0..calls {
        let line = rows.position.wrapping_add(row.wrapping_mul(down));
        let at = at.wrapping_add(line.wrapping_mul(runs.pitch));
        let to = to.wrapping_add(rows.start.wrapping_add(row).wrapping_mul(runs.run));
        let (pitch, spread) = match right {
            1 => (runs.pitch.wrapping_mul(down), runs.run),
            _ => (right.wrapping_mul(channels), run),
        };
        expand::gather(x, at, [lines, run, pitch], taps.get_mut(to..)?, spread)?;
    }
    Some(())
}
