//! Reductions and sums along one axis of `[outer, length, inner]`.

use super::parts::{parts, parts_mut};
use core::num::NonZeroUsize;

/// `[outer, length, inner]` → `[outer, inner]`: `first` of the first element, then `next` of what there is and each further one.
#[inline]
pub fn reduce(
    length: usize,
    inner: usize,
    x: &[f32],
    y: &mut [f32],
    next: impl Fn(f32, f32) -> f32,
) -> Option<()> {
    let block = NonZeroUsize::new(length.checked_mul(inner)?)?;
    let inner = NonZeroUsize::new(inner)?;
    for (x, y) in parts(x, block).zip(parts_mut(y, inner)) {
        let mut rows = parts(x, inner);
        for (y, x) in y.iter_mut().zip(rows.next()?) {
            *y = *x;
        }
        for row in rows {
            for (y, x) in y.iter_mut().zip(row) {
                *y = next(*y, *x);
            }
        }
    }
    Some(())
}

/// As [`reduce`]: the index of the first element that is `better` than all before it.
#[inline]
pub fn index_of(
    length: usize,
    inner: usize,
    x: &[f32],
    y: &mut [f32],
    better: impl Fn(f32, f32) -> bool,
) -> Option<()> {
    let block = NonZeroUsize::new(length.checked_mul(inner)?)?;
    let size = NonZeroUsize::new(inner)?;
    for (x, y) in parts(x, block).zip(parts_mut(y, size)) {
        for (column, y) in y.iter_mut().enumerate() {
            let mut best = (0, *x.get(column)?);
            for (i, row) in parts(x, size).enumerate() {
                let value = *row.get(column)?;
                if better(value, best.1) {
                    best = (i, value);
                }
            }
            *y = best.0 as f32;
        }
    }
    Some(())
}

/// `[outer, length, inner]` → `[outer, results, inner]`: each result is the sum of `taps` elements of the axis, with weights.
pub fn resample(
    [length, inner, taps]: [usize; 3],
    indices: &[zerocopy::little_endian::U32],
    weights: &[f32],
    x: &[f32],
    y: &mut [f32],
) -> Option<()> {
    let block = NonZeroUsize::new(length.checked_mul(inner)?)?;
    let size = NonZeroUsize::new(inner)?;
    let taps = NonZeroUsize::new(taps)?;
    let mut rows = parts_mut(y, size);
    for x in parts(x, block) {
        for (indices, weights) in parts(indices, taps).zip(parts(weights, taps)) {
            let y = rows.next()?;
            y.fill(0.0);
            for (index, weight) in indices.iter().zip(weights) {
                let start = (index.get() as usize).checked_mul(inner)?;
                for (y, x) in y.iter_mut().zip(x.get(start..)?.get(..inner)?) {
                    *y += x * weight;
                }
            }
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_in_the_middle_is_reduced() {
        // [2, 3, 2].
        let x: [f32; 12] = core::array::from_fn(|i| i as f32);
        let mut y = [0.0; 4];
        assert!(reduce(3, 2, &x, &mut y, |a, b| a + b).is_some());
        assert_eq!(y, [6.0, 9.0, 24.0, 27.0]);
        assert!(index_of(3, 2, &x, &mut y, |a, b| a > b).is_some());
        assert_eq!(y, [2.0; 4]);
        assert!(index_of(3, 2, &[1.0; 12], &mut y, |a, b| a > b).is_some());
        assert_eq!(y, [0.0; 4]);
        assert_eq!(reduce(0, 2, &x, &mut y, |a, _| a), None);
    }

    #[test]
    fn interpolation_is_a_weighted_sum() {
        let indices = [0, 0, 0, 1, 1, 1].map(Into::into);
        let weights = [1.0, 0.0, 0.5, 0.5, 0.0, 1.0];
        let mut y = [0.0; 6];
        assert!(resample([2, 2, 2], &indices, &weights, &[1.0, 2.0, 3.0, 6.0], &mut y).is_some());
        assert_eq!(y, [1.0, 2.0, 2.0, 4.0, 3.0, 6.0]);
        let outside = [0, 0, 0, 1, 1, 2].map(Into::into);
        assert_eq!(
            resample([2, 2, 2], &outside, &weights, &[0.0; 4], &mut y),
            None
        );
    }
}
