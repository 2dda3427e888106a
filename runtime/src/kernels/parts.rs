//! Slices in equal parts. As `chunks_exact`, but without a division when two are taken together, whose panic would stay in
//! firmware that is built for size.

use core::mem::take;
use core::num::NonZeroUsize;

/// The parts of `len` elements; what is left over at the end is not among them.
#[inline(always)]
pub(crate) fn parts<T>(mut all: &[T], len: NonZeroUsize) -> impl Iterator<Item = &[T]> {
    core::iter::from_fn(move || {
        let (part, rest) = all.split_at_checked(len.get())?;
        all = rest;
        Some(part)
    })
}

/// As [`parts`], to write.
#[inline(always)]
pub(crate) fn parts_mut<T>(mut all: &mut [T], len: NonZeroUsize) -> impl Iterator<Item = &mut [T]> {
    core::iter::from_fn(move || {
        let (part, rest) = take(&mut all).split_at_mut_checked(len.get())?;
        all = rest;
        Some(part)
    })
}

/// What two slices have at the same places, `N` elements at a time, at the end fewer.
#[inline(always)]
pub(crate) fn chunks_of_both<'a, T, const N: usize>(
    a: &'a mut [T],
    b: &'a mut [T],
) -> impl Iterator<Item = (&'a mut [T], &'a mut [T])> {
    let (mut a, mut b) = (a.chunks_mut(N), b.chunks_mut(N));
    core::iter::from_fn(move || Some((a.next()?, b.next()?)))
}

/// `all` in groups of equal size or one less, of `most` at most: the first one and the number of each.
#[cfg(any(target_arch = "aarch64", target_arch = "x86_64"))]
pub(crate) fn groups(all: usize, most: usize) -> impl Iterator<Item = (usize, usize)> {
    let count = all.div_ceil(most.max(1));
    let (size, larger) = match count {
        0 | 1 => (all, 0),
        _ => (all / count, all % count),
    };
    let mut next = 0;
    (0..count).map(move |group| {
        let first = next;
        next += size + usize::from(group < larger);
        (first, next - first)
    })
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    proptest! {
        #[test]
        fn parts_are_exact_chunks(mut all: Vec<u8>, len in 1usize..9) {
            let (mut other, size) = (all.clone(), NonZeroUsize::new(len).unwrap());
            prop_assert!(parts(&all, size).eq(all.chunks_exact(len)));
            prop_assert!(parts_mut(&mut all, size).eq(other.chunks_exact_mut(len)));
            let (mut a, mut b) = (all.clone(), other.clone());
            let both = chunks_of_both::<_, 4>(&mut all, &mut other);
            prop_assert!(both.eq(a.chunks_mut(4).zip(b.chunks_mut(4))));
        }

        #[test]
        #[cfg(any(target_arch = "aarch64", target_arch = "x86_64"))]
        fn groups_are_as_few_and_as_equal_as_can_be(all in 0usize..100, most in 1usize..20) {
            let found: Vec<(usize, usize)> = groups(all, most).collect();
            prop_assert_eq!(found.len(), all.div_ceil(most));
            let mut next = 0;
            for (first, count) in &found {
                prop_assert!(*first == next && (1..=most).contains(count));
                next += count;
            }
            prop_assert_eq!(next, all);
            let sizes = found.iter().map(|group| group.1);
            prop_assert!(sizes.clone().max().unwrap_or(0) - sizes.min().unwrap_or(0) <= 1);
        }
    }
}
