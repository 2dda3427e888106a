//! Where the taps of output pixels lie in the input.

use super::Geometry;
#[cfg(kinglet_dsp)]
use super::Taps;
use super::gather::gather;
use core::num::NonZeroUsize;
use core::ops::Range;

/// An output pixel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Pixel {
    pub(super) batch: usize,
    pub(super) y: usize,
    pub(super) x: usize,
}

impl Pixel {
    /// The first one.
    #[cfg(kinglet_dsp)]
    pub(super) const FIRST: Pixel = Pixel {
        batch: 0,
        y: 0,
        x: 0,
    };

    /// The one after this, row by row and image by image.
    #[cfg(kinglet_dsp)]
    #[inline(never)]
    pub(super) fn next(self, g: &Geometry) -> Pixel {
        let Pixel { batch, y, x } = self;
        if x + 1 < g.output[1].get() {
            Pixel { batch, y, x: x + 1 }
        } else if y + 1 < g.output[0].get() {
            Pixel {
                batch,
                y: y + 1,
                x: 0,
            }
        } else {
            Pixel {
                batch: batch + 1,
                y: 0,
                x: 0,
            }
        }
    }
}

/// A pixel's taps as runs of memory: `lines` runs of `run` bytes, one every `pitch` bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Shape {
    pub(super) lines: usize,
    pub(super) run: usize,
    pub(super) pitch: usize,
}

impl Shape {
    /// Taps gathered into one run.
    pub(super) fn gathered(taps: usize) -> Shape {
        Shape {
            lines: 1,
            run: taps,
            pitch: taps,
        }
    }

    /// Bytes from the first tap to behind the last one; `None` without lines, or when the number does not fit.
    #[cfg(any(kinglet_dsp, kinglet_armv7m))]
    pub(super) fn reach(&self) -> Option<usize> {
        let last = self.lines.checked_sub(1)?;
        last.checked_mul(self.pitch)?.checked_add(self.run)
    }
}

/// Where the taps of those pixels begin that have all of them inside the input.
pub(super) struct Runs {
    /// Rows and columns of such pixels.
    inside: [Range<usize>; 2],
    /// How their taps lie.
    pub(super) shape: Shape,
    /// Bytes of an image.
    image: usize,
    /// Bytes from one output pixel's taps to the next one's, vertically and horizontally.
    pub(super) step: [usize; 2],
    /// Bytes that padding would lie before the input.
    origin: usize,
}

impl Runs {
    pub(super) fn new(g: &Geometry) -> Runs {
        let [in_h, in_w, in_c] = g.input.map(NonZeroUsize::get);
        let [lines, kernel_w] = g.kernel.map(NonZeroUsize::get);
        let inside = |axis: usize, input: usize, kernel: usize| {
            let (stride, pad) = match axis {
                0 => (g.stride[0], g.pad[0]),
                _ => (g.stride[1], g.pad[1]),
            };
            let fits = input.wrapping_add(pad).checked_sub(kernel);
            let output = g.output[axis.min(1)].get();
            pad.div_ceil(stride.get())..fits.map_or(0, |last| last / stride + 1).min(output)
        };
        let solid = g.dilation.map(NonZeroUsize::get) == [1; 2];
        let pitch = in_w.wrapping_mul(in_c);
        Runs {
            inside: match solid {
                true => [inside(0, in_h, lines), inside(1, in_w, kernel_w)],
                false => [0..0, 0..0],
            },
            shape: Shape {
                lines,
                run: kernel_w.wrapping_mul(in_c),
                pitch,
            },
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

    /// Columns of such pixels in row `y`.
    pub(super) fn columns(&self, y: usize) -> Range<usize> {
        let [rows, columns] = &self.inside;
        if rows.contains(&y) {
            columns.clone()
        } else {
            0..0
        }
    }

    /// Pixels of a row from `pixel` on, none of whose taps lie beside the input, and for each of them the taps that do not lie above
    /// or below it either: where they begin for `pixel`, and which lines of the kernel they are. `None` if there are none.
    #[cfg(kinglet_dsp)]
    pub(super) fn row(&self, g: &Geometry, pixel: Pixel) -> Option<(Range<usize>, usize, Taps)> {
        let columns = pixel.x..self.inside[1].end;
        let lines = g.vertical(pixel.y);
        if pixel.x < self.inside[1].start || columns.is_empty() || lines.is_empty() {
            return None;
        }
        let Shape { pitch, .. } = self.shape;
        let left = g.pad[1].wrapping_mul(g.input[2].get());
        let at = pixel
            .batch
            .wrapping_mul(self.image)
            .wrapping_add(lines.position.wrapping_mul(pitch))
            .wrapping_add(pixel.x.wrapping_mul(self.step[1]))
            .wrapping_sub(left);
        Some((columns, at, lines))
    }

    /// Where the pixel's taps begin, if all of them lie inside.
    #[inline(always)]
    pub(super) fn start(&self, pixel: Pixel) -> Option<usize> {
        let [rows, columns] = &self.inside;
        let inside = rows.contains(&pixel.y) && columns.contains(&pixel.x);
        let [down, right] = self.step;
        let at = pixel
            .batch
            .wrapping_mul(self.image)
            .wrapping_add(pixel.y.wrapping_mul(down))
            .wrapping_add(pixel.x.wrapping_mul(right));
        inside.then(|| at.wrapping_sub(self.origin))
    }

    /// Gathers the taps of any pixel into `patch`, `[kh][kw][in_c]`; padding becomes `zero_point`.
    #[inline(never)]
    pub(super) fn gather(
        &self,
        g: &Geometry,
        x: &[i8],
        pixel: Pixel,
        zero_point: i8,
        patch: &mut [i8],
    ) -> Option<()> {
        let Shape { run, pitch, .. } = self.shape;
        if let Some(at) = self.start(pixel) {
            return gather(x, at, self.shape, patch, run);
        }
        patch.fill(zero_point);
        let (rows, columns) = (g.vertical(pixel.y), g.horizontal(pixel.x));
        if rows.is_empty() || columns.is_empty() {
            return Some(());
        }
        let depth = g.input[2].get();
        let [down, right] = g.dilation.map(NonZeroUsize::get);
        // Taps side by side are one run; all lines of taps are copied in one go then.
        let (calls, part, spread) = match right {
            1 => {
                let part = Shape {
                    lines: rows.len(),
                    run: columns.len().wrapping_mul(depth),
                    pitch: pitch.wrapping_mul(down),
                };
                (1, part, run)
            }
            _ => {
                let part = Shape {
                    lines: columns.len(),
                    run: depth,
                    pitch: right.wrapping_mul(depth),
                };
                (rows.len(), part, depth)
            }
        };
        for row in 0..calls {
            let line = rows.position.wrapping_add(row.wrapping_mul(down));
            let at = pixel
                .batch
                .wrapping_mul(self.image)
                .wrapping_add(line.wrapping_mul(pitch))
                .wrapping_add(columns.position.wrapping_mul(depth));
            let to = rows
                .start
                .wrapping_add(row)
                .wrapping_mul(run)
                .wrapping_add(columns.start.wrapping_mul(depth));
            gather(x, at, part, patch.get_mut(to..)?, spread)?;
        }
        Some(())
    }
}
