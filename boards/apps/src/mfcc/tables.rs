//! Window, mel bands and cosines, made by the compiler in double precision: the same on every machine.

// The tables are constants: an index out of bounds does not compile.
#![allow(clippy::indexing_slicing)]

use super::{BANDS, COEFFICIENTS, FRAME, POINTS, RATE};
use core::ops::Range;

/// The lowest and the highest frequency of the bands, in Hz.
const EDGES: (f64, f64) = (20.0, 4000.0);

/// The bins of the spectrum between them.
pub(super) const BINS: Range<usize> = 1..POINTS / 4;
const COUNT: usize = BINS.end - BINS.start;

/// The periodic Hann window.
pub(super) static HANN: [f32; FRAME] = {
    let mut window = [0.0; FRAME];
    let mut i = 0;
    while i < FRAME {
        window[i] = (0.5 - 0.5 * cosine(i as f64 / FRAME as f64)) as f32;
        i += 1;
    }
    window
};

/// For each bin the slope that it lies on: its place among the bands' edges, which are equally spaced in mel. Slope `s` rises
/// into band `s` and falls from band `s − 1`.
pub(super) static FALL_INTO: [u8; COUNT] = {
    let mut slopes = [0; COUNT];
    let mut i = 0;
    while i < COUNT {
        slopes[i] = place(i).0;
        i += 1;
    }
    slopes
};

/// For each bin the share that belongs to the band above.
pub(super) static WEIGHT: [f32; COUNT] = {
    let mut weights = [0.0; COUNT];
    let mut i = 0;
    while i < COUNT {
        weights[i] = place(i).1 as f32;
        i += 1;
    }
    weights
};

/// `2 cos(π k (2b + 1) / 80) / √80`, band by band.
pub(super) static DCT: [[f32; COEFFICIENTS]; BANDS] = {
    let mut rows = [[0.0; COEFFICIENTS]; BANDS];
    let mut b = 0;
    while b < BANDS {
        let mut k = 0;
        while k < COEFFICIENTS {
            let turns = (k * (2 * b + 1)) as f64 / (4 * BANDS) as f64;
            rows[b][k] = (2.0 * cosine(turns) / 8.944_271_909_999_16) as f32;
            k += 1;
        }
        b += 1;
    }
    rows
};

/// Slope and share of bin `i` of [`BINS`].
const fn place(i: usize) -> (u8, f64) {
    let hertz = ((BINS.start + i) * RATE) as f64 / POINTS as f64;
    let width = (mel(EDGES.1) - mel(EDGES.0)) / (BANDS + 1) as f64;
    let slopes = (mel(hertz) - mel(EDGES.0)) / width;
    let slope = slopes as u8;
    (slope, slopes - slope as f64)
}

/// The mel scale of TensorFlow (and HTK), up to a factor.
const fn mel(hertz: f64) -> f64 {
    ln(1.0 + hertz / 700.0)
}

/// Cosine of so many turns, not negative.
const fn cosine(turns: f64) -> f64 {
    // To within half a turn of 0, where the series converges quickly.
    let turns = turns - (turns + 0.5) as u64 as f64;
    let square = (core::f64::consts::TAU * turns) * (core::f64::consts::TAU * turns);
    let (mut sum, mut term, mut n) = (1.0, 1.0, 1.0);
    while n < 40.0 {
        term *= -square / (n * (n + 1.0));
        sum += term;
        n += 2.0;
    }
    sum
}

/// Natural logarithm of a number from 1 to 10.
const fn ln(x: f64) -> f64 {
    // 2 artanh((x − 1) / (x + 1)).
    let y = (x - 1.0) / (x + 1.0);
    let (mut sum, mut power, mut n) = (0.0, y, 1.0);
    while n < 200.0 {
        sum += power / n;
        power *= y * y;
        n += 2.0;
    }
    2.0 * sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cosines_and_logarithms_are_those_of_libm() {
        for i in 0..400 {
            let turns = f64::from(i) / 97.0;
            let expected = libm::cos(core::f64::consts::TAU * turns);
            assert!((cosine(turns) - expected).abs() < 1e-13, "{turns}");
            let x = 1.0 + f64::from(i) / 50.0;
            assert!((ln(x) - libm::log(x)).abs() < 1e-13, "{x}");
        }
    }

    #[test]
    fn slopes_rise_bin_by_bin_from_the_first_edge_to_the_last() {
        assert_eq!(FALL_INTO.len(), 127);
        assert!(FALL_INTO.is_sorted() && FALL_INTO[0] == 0);
        assert_eq!(usize::from(FALL_INTO[126]), BANDS);
        assert!(WEIGHT.iter().all(|share| (0.0..1.0).contains(share)));
    }
}
