//! Copying runs of memory.

use crate::kernels::runs::Shape;

/// Copies `lines` runs of `run` bytes, that begin at `at` and then every `pitch` bytes of `x`, to `to`, one every `spread` bytes.
#[inline(always)]
pub(in crate::kernels) fn gather(
    x: &[i8],
    at: usize,
    shape: Shape,
    to: &mut [i8],
    spread: usize,
) -> Option<()> {
    let (mut from, mut begin) = (at, 0usize);
    for _ in 0..shape.lines {
        let to = to.get_mut(begin..)?.get_mut(..shape.run)?;
        for (to, from) in to.iter_mut().zip(x.get(from..)?.get(..shape.run)?) {
            *to = *from;
        }
        from = from.checked_add(shape.pitch)?;
        begin = begin.checked_add(spread)?;
    }
    Some(())
}
