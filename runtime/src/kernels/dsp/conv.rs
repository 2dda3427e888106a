//! Convolution with split or wide weights, two pixels at a time.

use super::expand::Lines;
use super::residual;
use super::tile::{self, Pairs, Tile};
use crate::kernels::gather;
use crate::kernels::patch::Residual;
use crate::kernels::runs::{Pixel, Runs, Shape};
use crate::kernels::split::Split;
use crate::kernels::wide::Wide;
use crate::kernels::{Geometry, Io};
use crate::requantize::Output;
use zerocopy::{FromBytes, IntoBytes};

/// As [`crate::kernels::patch::conv_packed`] for split weights. Without `ADDS` no residual is added, and what does so is not linked.
#[inline(always)]
pub fn conv_split<const ADDS: bool>(
    g: &Geometry,
    split: &Split<'_>,
    zero_point: i8,
    output: Output,
    io: &mut Io<'_>,
    scratch: &mut [i8],
    residual: Option<&Residual>,
) -> Option<()> {
    conv::<_, ADDS>(g, split, zero_point, output, io, scratch, residual)
}

/// As [`conv_split`] for wide weights.
#[inline(always)]
pub fn conv_wide<const ADDS: bool>(
    g: &Geometry,
    wide: &Wide<'_>,
    zero_point: i8,
    output: Output,
    io: &mut Io<'_>,
    scratch: &mut [i8],
    residual: Option<&Residual>,
) -> Option<()> {
    conv::<_, ADDS>(g, wide, zero_point, output, io, scratch, residual)
}

#[inline(never)]
fn conv<P: Pairs, const ADDS: bool>(
    g: &Geometry,
    weights: &P,
    zero_point: i8,
    output: Output,
    io: &mut Io<'_>,
    scratch: &mut [i8],
    residual: Option<&Residual>,
) -> Option<()> {
    let residual = residual.filter(|_| ADDS);
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
    let taps = g.window_len()?.get();
    let padded = taps.checked_next_multiple_of(4)?;
    let (words, rest) = scratch.split_at_mut_checked(padded.checked_mul(4)?)?;
    let words = <[u32]>::mut_from_bytes(words.as_mut_bytes()).ok()?;
    let (bytes, results) = rest.split_at_mut_checked(padded.checked_mul(2)?)?;
    let out_c = g.output[2].get();
    let tile = Tile::new(weights, padded / 4, out_c, output.zero_point())?;
    // A last group that is not full is filled with bytes that meet zero weights; between lines they would be in the way.
    let direct = runs.shape.lines == 1 || runs.shape.run % 4 == 0;
    let lines = direct.then(|| Lines::new(runs.shape)).flatten();
    let gathered = Lines::new(Shape::gathered(padded))?;
    let mut left = g
        .batch
        .checked_mul(g.output[0].get())?
        .checked_mul(g.output[1].get())?;
    let mut pixel = Pixel::FIRST;
    let mut written = 0usize;
    let strips = Strips::<'_, P, ADDS> {
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
        let count = strips.run(io, pixel, written, [bytes, results], words);
        if count > 0 {
            written = written.checked_add(count.checked_mul(out_c)?)?;
            left = left.checked_sub(count)?;
            // One before the next, to go on from.
            let last = Pixel {
                x: pixel.x.wrapping_add(count - 1),
                ..pixel
            };
            pixel = last.next(g);
            continue;
        }
        let first = pixel;
        // An odd last pixel is its own partner.
        let second = if left > 1 { first.next(g) } else { first };
        pixel = second.next(g);
        let both = if left > 1 {
            out_c.wrapping_mul(2)
        } else {
            out_c
        };
        let starts = (runs.start(first), runs.start(second));
        let expanded = match (starts, &lines) {
            // The end of the input may be too near for the last word.
            ((Some(a), Some(b)), Some(lines)) => lines.expand(io.input(), [a, b], words),
            _ => None,
        };
        if expanded.is_none() {
            let halves = bytes.split_at_mut_checked(padded)?;
            for (pixel, half) in [(first, halves.0), (second, halves.1)] {
                runs.gather(g, io.input(), pixel, zero_point, half.get_mut(..taps)?)?;
            }
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
struct Strips<'a, P, const ADDS: bool> {
    lines: Option<&'a Lines>,
    gathered: &'a Lines,
    runs: &'a Runs,
    job: Option<tile::Job<P>>,
    add: Option<residual::Job>,
    adds: bool,
    channels: usize,
}

impl<P: Pairs, const ADDS: bool> Strips<'_, P, ADDS> {
    /// Does as many pixels from `pixel` on as it can; their number. Results begin at byte `written` of the output.
    #[inline(never)]
    fn run(
        &self,
        io: &mut Io<'_>,
        pixel: Pixel,
        written: usize,
        [bytes, results]: [&mut [i8]; 2],
        words: &mut [u32],
    ) -> usize {
        let (Some(job), Some(at)) = (&self.job, self.runs.start(pixel)) else {
            return 0;
        };
        let shape = self.runs.shape;
        let [_, right] = self.runs.step;
        let pairs = self.runs.columns(pixel.y).end.saturating_sub(pixel.x) / 2;
        let ((x, x_len), (y, y_len)) = io.pointers();
        // How far the last pair's taps and all results reach.
        let reach = || {
            let reach = match self.lines {
                Some(lines) => lines.reach(),
                None => shape.reach()?,
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
        let runs = gather::Job::new(shape, shape.run);
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
                        gather::copy(from, halves[0], &runs);
                        gather::copy(next, halves[1], &runs);
                        self.gathered
                            .run(halves.map(|half| half.cast_const()), words.as_mut_ptr());
                    }
                }
                match &self.add {
                    Some(add) if ADDS => {
                        job.run(results.as_mut_ptr(), self.channels);
                        add.run(results.as_ptr(), to, to.wrapping_add(both));
                    }
                    _ => job.run(to, self.channels),
                }
            }
            from = next.wrapping_add(right);
            to = to.wrapping_add(both);
        }
        pairs * 2
    }
}
