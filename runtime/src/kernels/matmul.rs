//! Products of two computed matrices.

use super::panel;
use super::parts::{parts, parts_mut};
use core::num::NonZeroUsize;

/// `[batch, rows, inner] · [batch, inner, columns]` → `[batch, rows, columns]`; `b` may be one matrix for all of the batch. Each
/// result is summed in the order of `inner`.
#[inline(never)]
pub fn matmul_f32(
    [rows, inner, columns]: [usize; 3],
    one_for_all: bool,
    a: &[f32],
    b: &[f32],
    y: &mut [f32],
) -> Option<()> {
    let size = |a: usize, b: usize| NonZeroUsize::new(a.checked_mul(b)?);
    let (of_a, of_b, of_y) = (
        size(rows, inner)?,
        size(inner, columns)?,
        size(rows, columns)?,
    );
    let (inner, columns) = (NonZeroUsize::new(inner)?, NonZeroUsize::new(columns)?);
    let mut matrices = parts(b, of_b);
    for (a, y) in parts(a, of_a).zip(parts_mut(y, of_y)) {
        let b = if one_for_all { b } else { matrices.next()? };
        if panel::VECTORS && columns.get() >= panel::CHANNELS {
            panel::matmul_lanes([rows, inner.get(), columns.get()], a, b, y)?;
            continue;
        }
        for (a, y) in parts(a, inner).zip(parts_mut(y, columns)) {
            y.fill(0.0);
            for (a, b) in a.iter().zip(parts(b, columns)) {
                for (y, b) in y.iter_mut().zip(b) {
                    *y += a * b;
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
    fn every_matrix_meets_its_own_or_the_same() {
        let a = [1.0, 2.0, 3.0, 4.0];
        let b = [1.0, 0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0];
        // Two of [1, 2] · [2, 2].
        let mut y = [0.0; 4];
        assert!(matmul_f32([1, 2, 2], false, &a, &b, &mut y).is_some());
        assert_eq!(y, [1.0, 2.0, 4.0, 3.0]);
        assert!(matmul_f32([1, 2, 2], true, &a, &b[4..], &mut y).is_some());
        assert_eq!(y, [2.0, 1.0, 4.0, 3.0]);
        assert_eq!(matmul_f32([1, 0, 2], true, &a, &b, &mut y), None);
    }
}
