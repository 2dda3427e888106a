//! Kernels that move elements without computing.

use crate::format::MAX_RANK;

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
    for (((s, d), b), a) in strides.iter_mut().zip(dims).zip(before).zip(after).rev() {
        *s = stride;
        start = start.wrapping_add(b.wrapping_mul(stride));
        stride = stride.wrapping_mul(d.wrapping_add(b).wrapping_add(a));
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
    if block == 0 || stride == 0 {
        return None;
    }
    for (x, y) in x.chunks_exact(block).zip(y.chunks_exact_mut(stride)) {
        copy(x, y.get_mut(offset..)?.get_mut(..block)?);
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
fn advance(
    index: &mut [usize; MAX_RANK - 1],
    dims: &[usize; MAX_RANK - 1],
    strides: &[usize; MAX_RANK - 1],
    start: &mut usize,
) {
    for ((i, d), s) in index.iter_mut().zip(dims).zip(strides).rev() {
        *i += 1;
        *start = start.wrapping_add(*s);
        if *i < *d {
            return;
        }
        *start = start.wrapping_sub(i.wrapping_mul(*s));
        *i = 0;
    }
}
