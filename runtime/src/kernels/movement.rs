//! Kernels that move elements without computing.

use super::parts::{parts, parts_mut};
use crate::format::MAX_RANK;
use core::num::NonZeroUsize;

/// `y[i0, i1, …] = x[Σ i_k·strides[k]]` over `dims`.
#[inline]
pub fn transpose<T: Copy>(
    dims: [usize; MAX_RANK],
    strides: [usize; MAX_RANK],
    x: &[T],
    y: &mut [T],
) -> Option<()> {
    let [outer @ .., inner] = dims;
    let [outer_strides @ .., inner_stride] = strides;
    if inner == 0 {
        return None;
    }
    let mut index = [0usize; MAX_RANK - 1];
    let mut start = 0usize;
    for y in y.chunks_exact_mut(inner) {
        let mut at = start;
        for y in y {
            *y = *x.get(at)?;
            at = at.wrapping_add(inner_stride);
        }
        advance(&mut index, &outer, &outer_strides, &mut start);
    }
    Some(())
}

/// Fills `y` with `value` and copies `x` (of shape `dims`) into it, `before` elements from the start of each axis.
#[inline]
pub fn pad<T: Copy>(
    dims: [usize; MAX_RANK],
    before: [usize; MAX_RANK],
    after: [usize; MAX_RANK],
    value: T,
    x: &[T],
    y: &mut [T],
) -> Option<()> {
    y.fill(value);
    let [outer @ .., inner] = dims;
    if inner == 0 {
        return None;
    }
    let mut strides = [1usize; MAX_RANK];
    let mut stride = 1usize;
    let mut start = 0usize;
    let axes = strides.iter_mut().rev().zip(dims.iter().rev());
    for (((s, d), b), a) in axes.zip(before.iter().rev()).zip(after.iter().rev()) {
        *s = stride;
        start = start.wrapping_add(b.wrapping_mul(stride));
        stride = stride.wrapping_mul(d.wrapping_add(*b).wrapping_add(*a));
    }
    let [outer_strides @ .., _] = strides;
    let mut index = [0usize; MAX_RANK - 1];
    for x in x.chunks_exact(inner) {
        copy(x, y.get_mut(start..)?.get_mut(..inner)?);
        advance(&mut index, &outer, &outer_strides, &mut start);
    }
    Some(())
}

/// Copies consecutive blocks of `x` to every `stride` bytes of `y`, from `offset`.
#[inline(never)]
pub fn place(block: usize, stride: usize, offset: usize, x: &[u8], y: &mut [u8]) -> Option<()> {
    let (length, stride) = (NonZeroUsize::new(block)?, NonZeroUsize::new(stride)?);
    for (x, y) in parts(x, length).zip(parts_mut(y, stride)) {
        copy(x, y.get_mut(offset..)?.get_mut(..block)?);
    }
    Some(())
}

/// Copies a block of every `stride` bytes of `x`, from `offset`, to `y`.
#[inline(never)]
pub fn take(block: usize, stride: usize, offset: usize, x: &[u8], y: &mut [u8]) -> Option<()> {
    let (length, stride) = (NonZeroUsize::new(block)?, NonZeroUsize::new(stride)?);
    for (x, y) in parts(x, stride).zip(parts_mut(y, length)) {
        copy(x.get(offset..)?.get(..block)?, y);
    }
    Some(())
}

/// Element by element: `copy_from_slice` would keep its panic for unequal lengths.
fn copy<T: Copy>(x: &[T], y: &mut [T]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y = *x;
    }
}

/// Steps a multi-index over `dims` in row-major order and keeps `start` at `Σ index·strides`.
pub(super) fn advance(
    index: &mut [usize; MAX_RANK - 1],
    dims: &[usize; MAX_RANK - 1],
    strides: &[usize; MAX_RANK - 1],
    start: &mut usize,
) {
    for ((i, d), s) in index
        .iter_mut()
        .rev()
        .zip(dims.iter().rev())
        .zip(strides.iter().rev())
    {
        *i += 1;
        *start = start.wrapping_add(*s);
        if *i < *d {
            return;
        }
        *start = start.wrapping_sub(i.wrapping_mul(*s));
        *i = 0;
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::vec;
    use std::vec::Vec;

    type Dims = [usize; MAX_RANK];

    fn strides(dims: &Dims) -> Dims {
        let mut strides = [1; MAX_RANK];
        for i in (1..MAX_RANK).rev() {
            strides[i - 1] = strides[i] * dims[i];
        }
        strides
    }

    fn indices(dims: &Dims) -> Vec<Dims> {
        let strides = strides(dims);
        (0..dims.iter().product())
            .map(|i: usize| core::array::from_fn(|k| i / strides[k] % dims[k]))
            .collect()
    }

    proptest! {
        #[test]
        fn transposing_moves_every_element(dims in proptest::array::uniform6(1usize..4), order in Just([0, 1, 2, 3, 4, 5]).prop_shuffle()) {
            let x: Vec<usize> = (0..dims.iter().product()).collect();
            let from = strides(&dims);
            let out_dims = order.map(|k: usize| dims[k]);
            let mut y = vec![usize::MAX; x.len()];
            prop_assert!(transpose(out_dims, order.map(|k| from[k]), &x, &mut y).is_some());
            for (index, y) in indices(&out_dims).iter().zip(y) {
                let at: usize = order.iter().zip(index).map(|(&k, i)| from[k] * i).sum();
                prop_assert_eq!(y, at);
            }
        }

        #[test]
        fn padding_surrounds_the_input(
            dims in proptest::array::uniform6(1usize..3),
            before in proptest::array::uniform6(0usize..3),
            after in proptest::array::uniform6(0usize..2),
        ) {
            let x: Vec<usize> = (0..dims.iter().product()).collect();
            let out: Dims = core::array::from_fn(|k| before[k] + dims[k] + after[k]);
            let mut y = vec![0; out.iter().product()];
            prop_assert!(pad(dims, before, after, usize::MAX, &x, &mut y).is_some());
            let from = strides(&dims);
            for (index, y) in indices(&out).iter().zip(y) {
                let inside = (0..MAX_RANK).all(|k| (before[k]..before[k] + dims[k]).contains(&index[k]));
                let at = (0..MAX_RANK).map(|k| index[k].wrapping_sub(before[k]).wrapping_mul(from[k])).fold(0, usize::wrapping_add);
                prop_assert_eq!(y, if inside { at } else { usize::MAX });
            }
        }
    }

    #[test]
    fn places_interleave() {
        let mut y = [0; 10];
        place(2, 5, 0, &[1, 2, 3, 4], &mut y);
        place(3, 5, 2, &[5, 6, 7, 8, 9, 10], &mut y);
        assert_eq!(y, [1, 2, 5, 6, 7, 3, 4, 8, 9, 10]);
        let (mut a, mut b) = ([0; 4], [0; 6]);
        assert!(take(2, 5, 0, &y, &mut a).is_some() && take(3, 5, 2, &y, &mut b).is_some());
        assert_eq!((a, b), ([1, 2, 3, 4], [5, 6, 7, 8, 9, 10]));
        assert_eq!(take(3, 5, 3, &y, &mut b), None);
    }
}
