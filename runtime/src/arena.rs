//! The memory a session works in, and borrowing two parts of it at once.

use crate::format::Span;
use crate::kernels::Io;
use zerocopy::FromBytes;

/// Bytes aligned as [`crate::Session`] wants them; `N` is the plan's arena length.
#[derive(Clone)]
#[repr(C, align(16))]
pub struct Arena<const N: usize>([u8; N]);

impl<const N: usize> Arena<N> {
    /// A zeroed arena, usable in a `static`.
    pub const fn new() -> Self {
        Arena([0; N])
    }

    /// The bytes.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl<const N: usize> Default for Arena<N> {
    fn default() -> Self {
        Arena::new()
    }
}

/// A value aligned to 16 bytes: how a linked-in plan is stored.
#[repr(C, align(16))]
pub struct Aligned<T>(pub T);

/// The bytes of `span`.
pub(crate) fn part(arena: &[u8], span: Span) -> Option<&[u8]> {
    arena.get(span.range()?)
}

/// The bytes of `span`, to write.
pub(crate) fn part_mut(arena: &mut [u8], span: Span) -> Option<&mut [u8]> {
    arena.get_mut(span.range()?)
}

/// The bytes of `read` and, to write, those of `write`; `None` when they overlap or lie outside.
pub(crate) fn parts(arena: &mut [u8], read: Span, write: Span) -> Option<(&[u8], &mut [u8])> {
    let (read, write) = (read.range()?, write.range()?);
    if read.end <= write.start {
        let (low, high) = arena.split_at_mut_checked(write.start)?;
        Some((low.get(read)?, high.get_mut(..write.end - write.start)?))
    } else if write.end <= read.start {
        let (low, high) = arena.split_at_mut_checked(read.start)?;
        Some((high.get(..read.end - read.start)?, low.get_mut(write)?))
    } else {
        None
    }
}

/// Copies the bytes of `from` to `to`; they have equal lengths and are the same or apart.
pub(crate) fn copy(arena: &mut [u8], from: Span, to: Span) -> Option<()> {
    if from == to {
        return Some(());
    }
    let (from, to) = parts(arena, from, to)?;
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
    Some(())
}

/// Input, output and working memory of a step that may run in place; `None` when they overlap otherwise or lie outside.
pub(crate) fn io_and_scratch(
    arena: &mut [u8],
    input: Span,
    output: Span,
    scratch: Span,
) -> Option<(Io<'_>, &mut [i8])> {
    let (input, output) = (input.range()?, output.range()?);
    let scratch = Some(scratch.range()?)
        .filter(|range| !range.is_empty())
        .unwrap_or(0..0);
    let in_place = input.start == output.start;
    let (read, written) = match in_place {
        true => (input.start..input.end.max(output.end), 0..0),
        false => (input, output),
    };
    let [x, y, scratch] = arena.get_disjoint_mut([read, written, scratch]).ok()?;
    let (x, y) = (signed_mut(x)?, signed_mut(y)?);
    let io = match in_place {
        true => Io::InPlace(x),
        false => Io::Apart { x, y },
    };
    Some((io, signed_mut(scratch)?))
}

fn signed_mut(bytes: &mut [u8]) -> Option<&mut [i8]> {
    <[i8]>::mut_from_bytes(bytes).ok()
}
