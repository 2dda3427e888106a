//! A histogram that grows with what it sees.

/// Bins for each sign.
const BINS: usize = 2048;

/// Counts of values over `[-radius, radius]`, 2,048 bins a sign.
///
/// The radius is a power of two. A value beyond it doubles it, and neighbouring bins merge two by two: nothing is
/// rounded, so the counts depend on the values alone and not on their order, and one pass over the data is enough.
#[derive(Clone, Debug)]
pub(super) struct Histogram {
    counts: Vec<u64>,
    radius: f64,
    total: u64,
    /// Least and greatest value, themselves.
    pub(super) extremes: (f32, f32),
}

impl Histogram {
    /// Nothing seen. Values smaller than the smallest normal number / 2,048 share a bin with 0.
    pub(super) fn new() -> Self {
        let radius = f64::from(f32::MIN_POSITIVE);
        Histogram {
            counts: vec![0; 2 * BINS],
            radius,
            total: 0,
            extremes: (f32::INFINITY, f32::NEG_INFINITY),
        }
    }

    /// Whether nothing was seen.
    pub(super) fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// Counts finite values.
    pub(super) fn add(&mut self, values: &[f32]) {
        let (low, high) = &mut self.extremes;
        for &v in values {
            *low = low.min(v);
            *high = high.max(v);
        }
        let largest = f64::from(low.abs().max(high.abs()));
        while !values.is_empty() && largest >= self.radius {
            self.double();
        }
        let width = self.radius / BINS as f64;
        for &v in values {
            let bin = (f64::from(v) / width).floor() + BINS as f64;
            self.counts[(bin as usize).min(2 * BINS - 1)] += 1;
        }
        self.total += values.len() as u64;
    }

    /// Doubles the radius: bins `2j` and `2j + 1`, counted from the middle, become one.
    fn double(&mut self) {
        let mut merged = vec![0; 2 * BINS];
        for (i, pair) in self.counts.chunks_exact(2).enumerate() {
            merged[BINS / 2 + i] = pair[0] + pair[1];
        }
        self.counts = merged;
        self.radius *= 2.0;
    }

    /// The range that leaves out `tail` of the values at each end, to whole bins outwards and never beyond the extremes.
    pub(super) fn range(&self, tail: f64) -> (f32, f32) {
        let skip = (tail * self.total as f64) as u64;
        let width = self.radius / BINS as f64;
        let edge = |bin: usize| ((bin as f64 - BINS as f64) * width) as f32;
        let reaches = |seen: &mut u64, bin: usize| {
            *seen += self.counts[bin];
            *seen > skip
        };
        let (low, high) = self.extremes;
        let (mut below, mut above) = (0, 0);
        let from = (0..2 * BINS)
            .find(|&b| reaches(&mut below, b))
            .map_or(low, edge);
        let to = (0..2 * BINS)
            .rev()
            .find(|&b| reaches(&mut above, b))
            .map_or(high, |b| edge(b + 1));
        (from.max(low), to.min(high))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn no_tail_is_the_extremes() {
        let mut h = Histogram::new();
        h.add(&[0.25, -3.0]);
        h.add(&[7.5, 1.0]);
        assert_eq!(h.range(0.0), (-3.0, 7.5));
        let mut h = Histogram::new();
        h.add(&[0.0, f32::MAX, f32::MIN]);
        assert_eq!(h.range(0.0), (f32::MIN, f32::MAX));
    }

    #[test]
    fn the_order_of_the_values_does_not_matter() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let values: Vec<f32> = (0..5000)
            .map(|i| rng.random_range(-1.0f32..2.0) * (1 + i % 900) as f32)
            .collect();
        let (mut up, mut down) = (Histogram::new(), Histogram::new());
        values.chunks(7).for_each(|c| up.add(c));
        values.chunks(11).rev().for_each(|c| down.add(c));
        assert_eq!(up.counts, down.counts);
        assert_eq!(up.range(0.01), down.range(0.01));
    }

    #[test]
    fn a_tail_cuts_off_outliers_to_within_a_bin() {
        let mut h = Histogram::new();
        h.add(&(0..10_000).map(|i| i as f32 / 10_000.0).collect::<Vec<_>>());
        h.add(&[-100.0, 100.0]);
        let (low, high) = h.range(0.01);
        let bin = 128.0 / 2048.0;
        assert!((0.0..=0.01 + bin).contains(&(low + bin)), "{low}");
        assert!((0.99..=0.99 + 2.0 * bin).contains(&high), "{high}");
    }
}
