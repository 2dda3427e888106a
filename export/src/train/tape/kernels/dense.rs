//! Products of a window with a matrix of weights, and of a window with a gradient: all of a dense convolution.
//!
//! Channels lie last, so the part of a window in one row of the input is one run of memory. A tile of [`PIXELS`] windows
//! by [`LANES`] output channels is kept in registers while all its runs are walked; nothing is unfolded into columns.

use super::vectorized;
use crate::train::tensor::Real;

/// Output channels of a tile: two vectors of eight floats.
pub(crate) const LANES: usize = 16;
/// Windows of a tile: with [`LANES`] they take 12 of 16 vector registers.
const PIXELS: usize = 6;

/// One run of a window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Run {
    /// Where it starts, from the window's first element.
    pub(crate) x: usize,
    /// Its first row in the weights.
    pub(crate) w: usize,
    /// Its length.
    pub(crate) len: usize,
}

/// Joins runs that continue each other in the input; their weights follow each other anyway.
pub(crate) fn runs(starts: impl IntoIterator<Item = usize>, len: usize) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let mut w = 0;
    for x in starts {
        match runs.last_mut() {
            Some(last) if last.x + last.len == x => last.len += len,
            _ => runs.push(Run { x, w, len }),
        }
        w += len;
    }
    runs
}

/// A grid of places in a tensor: `base + row·row_step + col·col_step`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Grid {
    pub(crate) base: usize,
    pub(crate) row_step: usize,
    pub(crate) col_step: usize,
}

impl Grid {
    #[inline(always)]
    fn at(&self, row: usize, col: usize) -> usize {
        self.base + row * self.row_step + col * self.col_step
    }
}

/// Rearranges a matrix, given as a function of row and column, into blocks of [`LANES`] columns, zeros after the last.
pub(crate) fn pack<T: Real>(
    rows: usize,
    columns: usize,
    at: impl Fn(usize, usize) -> T,
) -> Vec<[T; LANES]> {
    let mut packed = vec![[T::zero(); LANES]; rows * columns.div_ceil(LANES)];
    if rows == 0 {
        return packed;
    }
    for (block, lanes) in packed.chunks_exact_mut(rows).enumerate() {
        let first = block * LANES;
        for (row, lanes) in lanes.iter_mut().enumerate() {
            for (lane, column) in lanes.iter_mut().zip(first..columns) {
                *lane = at(row, column);
            }
        }
    }
    packed
}

#[inline(always)]
fn tile<T: Real, const P: usize>(
    x: &[T],
    starts: [usize; P],
    runs: &[Run],
    w: &[[T; LANES]],
    sums: &mut [[T; LANES]; P],
) {
    for run in runs {
        let xs: [&[T]; P] = std::array::from_fn(|p| {
            let from = starts[p] + run.x;
            &x[from..from + run.len]
        });
        // A copy, so that the compiler keeps the sums in registers.
        let mut tile = *sums;
        for (j, w) in w[run.w..run.w + run.len].iter().enumerate() {
            for p in 0..P {
                let x = xs[p][j];
                for n in 0..LANES {
                    tile[p][n] = x.mul_add(w[n], tile[p][n]);
                }
            }
        }
        *sums = tile;
    }
}

vectorized! {
    /// For every place of a grid of `rows × cols`: the window there times the weights, for `channels` outputs.
    ///
    /// `weights` are packed, `depth` rows a block; `bias`, if not empty, is what sums start from.
    fn correlate<'a, T>(
        x: &'a [T],
        windows: Grid,
        runs: &'a [Run],
        weights: &'a [[T; LANES]],
        depth: usize,
        bias: &'a [T],
        out: &'a mut [T],
        places: Grid,
        size: [usize; 2],
        channels: usize,
    ) {
        let [rows, cols] = size;
        let pixels = rows * cols;
        for block in 0..channels.div_ceil(LANES) {
            let w = &weights[block * depth..(block + 1) * depth];
            let n = (channels - block * LANES).min(LANES);
            let mut first = [T::zero(); LANES];
            if !bias.is_empty() {
                first[..n].copy_from_slice(&bias[block * LANES..][..n]);
            }
            let mut at = 0;
            let (mut row, mut col) = (0, 0);
            while at < pixels {
                // Even shares: a lone last window would take as long as a full tile.
                let left = pixels - at;
                let p = left.div_ceil(left.div_ceil(PIXELS));
                let mut starts = [0; PIXELS];
                let mut ends = [0; PIXELS];
                for (start, end) in starts.iter_mut().zip(&mut ends).take(p) {
                    *start = windows.at(row, col);
                    *end = places.at(row, col) + block * LANES;
                    col += 1;
                    if col == cols {
                        (row, col) = (row + 1, 0);
                    }
                }
                macro_rules! tiles {
                    ($($size:literal)*) => {
                        match p {
                            $($size => {
                                let starts: [usize; $size] = std::array::from_fn(|i| starts[i]);
                                let mut sums = [first; $size];
                                tile(x, starts, runs, w, &mut sums);
                                for (sums, &end) in sums.iter().zip(&ends) {
                                    if n == LANES {
                                        out[end..end + LANES].copy_from_slice(sums);
                                    } else {
                                        out[end..end + n].copy_from_slice(&sums[..n]);
                                    }
                                }
                            })*
                            _ => {}
                        }
                    };
                }
                tiles!(1 2 3 4 5 6);
                at += p;
            }
        }
    }
}

#[inline(always)]
fn gradient_tile<T: Real, const J: usize>(
    x: &[T],
    windows: Grid,
    dy: &[T],
    places: Grid,
    size: [usize; 2],
    sums: &mut [[T; LANES]],
) {
    let mut tile: [[T; LANES]; J] = std::array::from_fn(|j| sums[j]);
    for row in 0..size[0] {
        for col in 0..size[1] {
            let (from, d) = (windows.at(row, col), places.at(row, col));
            let (Some(x), Some(d)) = (x[from..].first_chunk::<J>(), dy[d..].first_chunk::<LANES>())
            else {
                return;
            };
            for j in 0..J {
                for n in 0..LANES {
                    tile[j][n] = x[j].mul_add(d[n], tile[j][n]);
                }
            }
        }
    }
    sums[..J].copy_from_slice(&tile);
}

vectorized! {
    /// Adds to `dw` (packed, `depth` rows a block) the products of every window with the gradient at its place.
    ///
    /// `places` are places in `dy` whose blocks of [`LANES`] channels are `block_step` apart and whole.
    fn weight_gradient<'a, T>(
        x: &'a [T],
        windows: Grid,
        runs: &'a [Run],
        dy: &'a [T],
        places: Grid,
        block_step: usize,
        size: [usize; 2],
        dw: &'a mut [[T; LANES]],
        depth: usize,
    ) {
        // A band of rows whose operands stay in the first cache while all tiles walk over it.
        const CACHED: usize = 5000;
        let row_elements = (windows.row_step + places.row_step).max(1);
        let band = (CACHED / row_elements).clamp(1, size[0].max(1));
        let mut row = 0;
        while row < size[0] {
            let rows = band.min(size[0] - row);
            let shifted = |grid: Grid, by: usize| Grid {
                base: grid.base + row * grid.row_step + by,
                ..grid
            };
            for (block, dw) in dw.chunks_exact_mut(depth).enumerate() {
                let places = shifted(places, block * block_step);
                for run in runs {
                    let mut j = 0;
                    while j < run.len {
                        let left = run.len - j;
                        let count = left.div_ceil(left.div_ceil(PIXELS));
                        let windows = shifted(windows, run.x + j);
                        let sums = &mut dw[run.w + j..run.w + j + count];
                        macro_rules! tiles {
                            ($($size:literal)*) => {
                                match count {
                                    $($size => gradient_tile::<T, $size>(
                                        x, windows, dy, places, [rows, size[1]], sums,
                                    ),)*
                                    _ => {}
                                }
                            };
                        }
                        tiles!(1 2 3 4 5 6);
                        j += count;
                    }
                }
            }
            row += rows;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_that_touch_become_one() {
        let of = |x, w, len| Run { x, w, len };
        assert_eq!(runs([0, 4, 8, 20], 4), [of(0, 0, 12), of(20, 12, 4)]);
        assert_eq!(runs([], 4), []);
    }

    #[test]
    fn packing_fills_the_last_block_with_zeros() {
        let packed = pack(2, 17, |row, column| (row * 100 + column) as f32);
        assert_eq!(packed.len(), 4);
        assert_eq!(packed[1][3], 103.0);
        assert_eq!((packed[2][0], packed[2][1]), (16.0, 0.0));
    }
}
