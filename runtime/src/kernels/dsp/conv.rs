//! Convolution with split or wide weights, two pixels at a time.

use super::expand::Lines;
use super::residual;
use super::tile::{self, Pairs, Tile};
use crate::kernels::gather;
use crate::kernels::patch::Residual;
use crate::kernels::runs::{Pixel, Runs, Shape};
use crate::kernels::split::Split;
use crate::kernels::wide::Wide;
use crate::kernels::{Geometry, Io, scratch};
use crate::requantize::Output;
use core::num::NonZeroUsize;
use zerocopy::{FromBytes, IntoBytes};

/// As [`crate::kernels::patch::conv_packed`] for split weights. Without `ADDS` there is no residual, and kernels of one line run as
/// all others do: what adds, and what is faster for these, is not linked then.
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
    let pairs = scratch::row_pairs(g).filter(|_| ADDS);
    let patches = match pairs {
        Some(pairs) => scratch::row_columns(g, pairs)?.checked_mul(g.input[2].get())?,
        None => padded,
    };
    let (words, rest) = scratch.split_at_mut_checked(patches.checked_mul(4)?)?;
    let words = <[u32]>::mut_from_bytes(words.as_mut_bytes()).ok()?;
    let (bytes, results) = rest.split_at_mut_checked(padded.checked_mul(2)?)?;
    let out_c = g.output[2].get();
    let tile = Tile::new(weights, padded / 4, out_c, output.zero_point())?;
    let finish = Finish::<P> {
        tile: &tile,
        output,
        residual,
    };
    if let Some(pairs) = pairs {
        return rows(g, &finish, pairs, zero_point, io, [bytes, results], words);
    }
    // A last group that is not full is filled with bytes that meet zero weights; between lines they would be in the way.
    let direct = runs.shape.lines == 1 || runs.shape.run % 4 == 0;
    let gathered = Lines::new(Shape::gathered(padded))?;
    let mut left = g
        .batch
        .checked_mul(g.output[0].get())?
        .checked_mul(g.output[1].get())?;
    let mut pixel = Pixel::FIRST;
    let mut written = 0usize;
    let strips = Strips::<'_, P, ADDS> {
        g,
        zero_point,
        direct,
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
        let (one, two) = bytes.split_at_mut_checked(padded)?;
        for (pixel, half) in [(first, &mut *one), (second, &mut *two)] {
            runs.gather(g, io.input(), pixel, zero_point, half.get_mut(..taps)?)?;
        }
        gathered.expand([one, two], words)?;
        let end = written.checked_add(both)?;
        finish.results(words, results, io.output().get_mut(written..end)?)?;
        written = end;
        left = left.saturating_sub(2);
    }
    Some(())
}

/// From a patch to an output.
struct Finish<'a, P> {
    tile: &'a Tile<'a, P>,
    output: Output,
    residual: Option<&'a Residual>,
}

impl<P: Pairs> Finish<'_, P> {
    /// Results of the two pixels of a patch, or of one, to `y`. `results` has room for them if there is a residual.
    #[inline(always)]
    fn results(&self, patch: &[u32], results: &mut [i8], y: &mut [i8]) -> Option<()> {
        match self.residual {
            None => {
                self.tile.results(patch, y)?;
                self.output.clamp(y);
            }
            Some(add) => {
                let results = results.get_mut(..y.len())?;
                self.tile.results(patch, results)?;
                self.output.clamp(results);
                residual::add(add, results, y)?;
            }
        }
        Some(())
    }
}

/// A kernel of one line: columns of the input are expanded once for `most` pairs of pixels, each with the one that the other pixel
/// of a pair has in its place, so that a pair's patch is a run of them; what is padding, too.
#[inline(never)]
fn rows<P: Pairs>(
    g: &Geometry,
    finish: &Finish<'_, P>,
    most: usize,
    zero_point: i8,
    io: &mut Io<'_>,
    [bytes, results]: [&mut [i8]; 2],
    words: &mut [u32],
) -> Option<()> {
    let [in_h, in_w, depth] = g.input.map(NonZeroUsize::get);
    let [out_h, out_w, out_c] = g.output.map(NonZeroUsize::get);
    let (stride, kernel) = (g.stride[1].get(), g.kernel[1].get());
    let padding = bytes.get_mut(..depth)?;
    padding.fill(zero_point);
    let line = in_w.checked_mul(depth)?;
    let column = Lines::line(depth / 4)?;
    let mut written = 0usize;
    for row in 0..g.batch.checked_mul(out_h)? {
        let (batch, y) = (row / g.output[0], row % g.output[0]);
        let top = batch
            .checked_mul(in_h)?
            .checked_add(y.checked_mul(g.stride[0].get())?)?;
        let at = top.checked_mul(line)?;
        let mut x = 0usize;
        while x < out_w {
            // An odd last pixel is its own partner.
            let left = out_w - x;
            let (pixels, apart) = match left {
                1 => (1, 0),
                _ => ((left & !1).min(most.wrapping_mul(2)), stride),
            };
            let columns = scratch::row_columns(g, pixels.div_ceil(2))?;
            let input = io.input().get(at..)?.get(..line)?;
            let first = x.wrapping_mul(stride);
            // Of these columns both, theirs and the other pixel's, lie inside.
            let begin = g.pad[1].saturating_sub(first).min(columns);
            let end = in_w
                .wrapping_add(g.pad[1])
                .saturating_sub(first.wrapping_add(apart))
                .min(columns)
                .max(begin);
            if begin < end {
                let from = first
                    .wrapping_add(begin)
                    .wrapping_sub(g.pad[1])
                    .wrapping_mul(depth);
                let many = Lines::line((end - begin).wrapping_mul(depth) / 4)?;
                let taps = input.get(from..)?;
                let others = taps.get(apart.wrapping_mul(depth)..)?;
                let patch = words.get_mut(begin.wrapping_mul(depth)..end.wrapping_mul(depth))?;
                many.expand([taps, others], patch)?;
            }
            for index in (0..begin).chain(end..columns) {
                let column_of = |position: usize| {
                    let inside = position.checked_sub(g.pad[1]).filter(|&c| c < in_w);
                    inside.and_then(|c| input.get(c.wrapping_mul(depth)..))
                };
                let position = first.wrapping_add(index);
                let taps = column_of(position).unwrap_or(padding);
                let others = column_of(position.wrapping_add(apart)).unwrap_or(padding);
                let to = index.wrapping_mul(depth);
                let patch = words.get_mut(to..)?.get_mut(..depth)?;
                column.expand([taps, others], patch)?;
            }
            let end = written.checked_add(out_c.checked_mul(pixels)?)?;
            let y = io.output().get_mut(written..end)?;
            let step = stride.wrapping_mul(depth).wrapping_mul(2);
            if finish.residual.is_none() && pixels > 1 && out_c.is_multiple_of(4) {
                finish.tile.row(words, step, y)?;
                finish.output.clamp(y);
            } else {
                let pair = NonZeroUsize::new(out_c.wrapping_mul(2))?;
                for (index, y) in y.chunks_mut(pair.get()).enumerate() {
                    let patch = words.get(index.wrapping_mul(step)..)?;
                    let patch = patch.get(..kernel.wrapping_mul(depth))?;
                    finish.results(patch, results, y)?;
                }
            }
            written = end;
            x = x.wrapping_add(pixels);
        }
    }
    Some(())
}

/// Pairs of pixels side by side, none of whose taps lie beside the input: bounds are checked once for all of them. Lines above or
/// below the input are filled once.
struct Strips<'a, P, const ADDS: bool> {
    g: &'a Geometry,
    zero_point: i8,
    /// Whether taps are expanded where they are.
    direct: bool,
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
        let (Some(job), Some((columns, at, present))) = (&self.job, self.runs.row(self.g, pixel))
        else {
            return 0;
        };
        let whole = self.runs.shape;
        let shape = Shape {
            lines: present.len(),
            ..whole
        };
        let lines = self.direct.then(|| Lines::new(shape)).flatten();
        let [_, right] = self.runs.step;
        let pairs = columns.len() / 2;
        let ((x, x_len), (y, y_len)) = io.pointers();
        let half = self.gathered.reach();
        // Where the lines that there are go.
        let above = present.start.wrapping_mul(whole.run);
        // How far the last pair's taps and all results reach.
        let reach = || {
            let reach = match &lines {
                Some(lines) => lines.reach(),
                None => shape.reach()?,
            };
            let last = pairs.checked_mul(2)?.checked_sub(1)?.checked_mul(right)?;
            let taps = at.checked_add(last)?.checked_add(reach)?;
            let ends = written.checked_add(pairs.checked_mul(2)?.checked_mul(self.channels)?)?;
            let filled = match &lines {
                Some(lines) => lines.words().checked_mul(4)?,
                None => shape.lines.checked_mul(shape.run)?,
            };
            let room = bytes.len() >= half.checked_mul(2)?
                && above.checked_add(filled)? <= half
                && (!self.adds || results.len() >= self.channels * 2)
                && words.len() == self.gathered.words() * 4;
            Some(room && taps <= x_len && ends <= y_len && self.adds == self.add.is_some())
        };
        if pairs == 0 || reach() != Some(true) {
            return 0;
        }
        if shape != whole {
            let number = u32::from(i16::from(self.zero_point) as u16);
            words.fill(number | (number << 16));
            bytes.fill(self.zero_point);
        }
        let runs = gather::Job::new(shape, shape.run);
        let both = self.channels * 2;
        let mut from = x.wrapping_add(at);
        let mut to = y.wrapping_add(written);
        for _ in 0..pairs {
            let next = from.wrapping_add(right);
            // SAFETY: all taps of all pairs lie within `x_len`, all results within `y_len`; `bytes` holds both pixels' taps,
            // `words` the same as 16-bit numbers, a word for each, also from `above` on; `results` both pixels' results: checked
            // above. In place, a pair's taps are read before its results are written.
            unsafe {
                match &lines {
                    Some(lines) => lines.run([from, next], words.as_mut_ptr().add(above)),
                    None => {
                        let halves = [bytes.as_mut_ptr(), bytes.as_mut_ptr().add(half)];
                        gather::copy(from, halves[0].add(above), &runs);
                        gather::copy(next, halves[1].add(above), &runs);
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
