//! Movement by strides and by indices, and choice between two operands.

use super::movement::advance;
use super::parts::{parts, parts_mut};
use crate::format::MAX_RANK;
use core::num::NonZeroUsize;
use zerocopy::little_endian::U32;

/// `y[i0, i1, …] = x[offset + Σ i_k·strides[k]]` over `dims`; a negative stride is its two's complement.
#[inline]
pub fn strided<T: Copy>(
    dims: [usize; MAX_RANK],
    strides: [usize; MAX_RANK],
    offset: usize,
    x: &[T],
    y: &mut [T],
) -> Option<()> {
    let [outer @ .., inner] = dims;
    let [outer_strides @ .., inner_stride] = strides;
    let inner = NonZeroUsize::new(inner)?;
    let mut index = [0usize; MAX_RANK - 1];
    let mut start = offset;
    for y in parts_mut(y, inner) {
        let mut at = start;
        for y in y {
            *y = *x.get(at)?;
            at = at.wrapping_add(inner_stride);
        }
        advance(&mut index, &outer, &outer_strides, &mut start);
    }
    Some(())
}

/// `[outer, length, block]` → `[outer, indices, block]`: the blocks that `indices` name.
#[inline(never)]
pub fn pick(length: usize, block: usize, indices: &[U32], x: &[u8], y: &mut [u8]) -> Option<()> {
    let whole = NonZeroUsize::new(length.checked_mul(block)?)?;
    let mut results = parts_mut(y, NonZeroUsize::new(block)?);
    for x in parts(x, whole) {
        for index in indices {
            let start = (index.get() as usize).checked_mul(block)?;
            let from = x.get(start..)?.get(..block)?;
            for (y, x) in results.next()?.iter_mut().zip(from) {
                *y = *x;
            }
        }
    }
    Some(())
}

/// `[outer, length, inner]` → `[outer, indices, inner]`: rows of `table`. Indices are rounded towards zero, negative ones count
/// from the end, and what is outside of the table is its nearest row; NaN is 0.
#[inline(never)]
pub fn gather(
    length: usize,
    inner: usize,
    indices: &[f32],
    table: &[f32],
    y: &mut [f32],
) -> Option<()> {
    let whole = NonZeroUsize::new(length.checked_mul(inner)?)?;
    let mut results = parts_mut(y, NonZeroUsize::new(inner)?);
    let last = i64::try_from(length).ok()?.checked_sub(1)?;
    for table in parts(table, whole) {
        for index in indices {
            let index = *index as i64;
            let index = if index < 0 {
                index.saturating_add(last).saturating_add(1)
            } else {
                index
            };
            let index = if index < 0 { 0 } else { index.min(last) } as usize;
            let start = index.checked_mul(inner)?;
            let from = table.get(start..)?.get(..inner)?;
            for (y, x) in results.next()?.iter_mut().zip(from) {
                *y = *x;
            }
        }
    }
    Some(())
}

/// A second operand, as [`crate::format::Operand`] describes it, element for element of the first one.
#[inline]
fn repeated(b: &[f32], repeat: usize) -> Option<impl Iterator<Item = f32>> {
    let repeat = NonZeroUsize::new(repeat)?;
    let once = b.iter();
    let (mut left, mut now) = (0usize, once.clone());
    let mut value = 0.0;
    Some(core::iter::from_fn(move || {
        if left == 0 {
            value = match now.next() {
                Some(value) => *value,
                None => {
                    now = once.clone();
                    *now.next()?
                }
            };
            left = repeat.get();
        }
        left -= 1;
        Some(value)
    }))
}

/// `y ← y ≠ 0 ? a : b`; each operand with its repetition.
#[inline(never)]
pub fn select_f32(y: &mut [f32], a: (&[f32], usize), b: (&[f32], usize)) -> Option<()> {
    let operands = repeated(a.0, a.1)?.zip(repeated(b.0, b.1)?);
    for (y, (a, b)) in y.iter_mut().zip(operands) {
        *y = if *y != 0.0 { a } else { b };
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strides_repeat_and_go_backwards() {
        let x = [1, 2, 3];
        let (mut twice, mut back) = ([0; 6], [0; 3]);
        let minus = 1usize.wrapping_neg();
        assert!(strided([1, 1, 1, 1, 2, 3], [0, 0, 0, 0, 0, 1], 0, &x, &mut twice).is_some());
        assert!(strided([1, 1, 1, 1, 1, 3], [0, 0, 0, 0, 0, minus], 2, &x, &mut back).is_some());
        assert_eq!((twice, back), ([1, 2, 3, 1, 2, 3], [3, 2, 1]));
        assert_eq!(
            strided([1, 1, 1, 1, 1, 3], [0, 0, 0, 0, 0, 2], 0, &x, &mut back),
            None
        );
    }

    #[test]
    fn rows_by_index() {
        let mut y = [0; 8];
        let x = [1, 2, 3, 4, 5, 6, 7, 8];
        assert!(pick(2, 2, &[1.into(), 0.into()], &x, &mut y).is_some());
        assert_eq!(y, [3, 4, 1, 2, 7, 8, 5, 6]);
        assert_eq!(pick(2, 2, &[2.into(), 0.into()], &x, &mut y), None);
        let table = [10.0, 11.0, 20.0, 21.0];
        let mut y = [0.0; 8];
        assert!(gather(2, 2, &[1.0, -2.0, 7.0, f32::NAN], &table, &mut y).is_some());
        assert_eq!(y, [20.0, 21.0, 10.0, 11.0, 20.0, 21.0, 10.0, 11.0]);
    }

    #[test]
    fn choice_with_repetition() {
        let mut y = [1.0, 0.0, 1.0, 0.0];
        assert!(select_f32(&mut y, (&[5.0, 6.0], 2), (&[7.0, 8.0], 1)).is_some());
        assert_eq!(y, [5.0, 8.0, 6.0, 8.0]);
        assert_eq!(select_f32(&mut y, (&[1.0], 0), (&[1.0], 1)), None);
    }
}
