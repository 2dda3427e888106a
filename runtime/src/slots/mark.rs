//! What a slot remembers of itself: marks in flash, each a unit of its own that is written once after an erase.
//!
//! A mark counts only when all of its bits are as they should be. Writing clears bits and erasing sets them, so a mark that power
//! cut off in between differs in a bit or in that bit's complement, and is neither set nor erased: torn.

use crate::format::record;
use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes of a mark.
pub(super) const MARK_LEN: usize = size_of::<Record>();
/// Marks that a slot has room for; the image follows.
pub(super) const MARKS: u32 = 8;

/// The marks, in the order in which they are written; their numbers are their places.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub(super) enum Mark {
    /// The slot is being filled; its value is the slot's sequence number.
    Begun = 0,
    /// The image is whole, and was checked.
    Complete = 1,
    /// The image was started.
    Tried = 2,
    /// The image works.
    Confirmed = 3,
    /// The image was given up; its value is the [`Fault`](super::Fault).
    Bad = 4,
}

impl Mark {
    fn tag(self) -> [u8; 4] {
        *match self {
            Mark::Begun => b"BEGN",
            Mark::Complete => b"WHOL",
            Mark::Tried => b"TRID",
            Mark::Confirmed => b"GOOD",
            Mark::Bad => b"BAD!",
        }
    }
}

record! {
    /// A mark in flash.
    Record {
        tag: [u8; 4],
        value: U32,
        not_tag: [u8; 4],
        not_value: U32,
    }
}

/// A mark as it is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Found {
    /// Not written since the last erase.
    Erased,
    /// Written, with this value.
    Set(u32),
    /// Anything else.
    Torn,
}

/// The bytes of a mark.
pub(super) fn encode(mark: Mark, value: u32) -> [u8; MARK_LEN] {
    let record = Record {
        tag: mark.tag(),
        value: value.into(),
        not_tag: mark.tag().map(|byte| !byte),
        not_value: (!value).into(),
    };
    let mut bytes = [0; MARK_LEN];
    for (to, from) in bytes.iter_mut().zip(record.as_bytes()) {
        *to = *from;
    }
    bytes
}

/// What the bytes of a mark say.
pub(super) fn decode(mark: Mark, bytes: &[u8; MARK_LEN]) -> Found {
    if bytes.iter().all(|byte| *byte == 0xff) {
        return Found::Erased;
    }
    let value = Record::ref_from_bytes(bytes).map_or(0, |record| record.value.get());
    match encode(mark, value) == *bytes {
        true => Found::Set(value),
        false => Found::Torn,
    }
}

/// Where a slot is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum State {
    /// Nothing that could be used: erased, or cut off while it was erased.
    Empty,
    /// An image is being received, or its reception was cut off.
    Receiving,
    /// The image is whole and has not been started yet.
    Pending,
    /// The image was started, and not confirmed.
    Testing,
    /// The image works.
    Confirmed,
    /// The image was given up.
    Bad,
}

/// The five marks as they are read, in the order of [`Mark`]: the slot's state.
///
/// Where a mark is torn, the state is the one that can do no harm: not whole, tried, not confirmed, bad.
pub(super) fn state([begun, complete, tried, confirmed, bad]: [Found; 5]) -> State {
    let is_set = |found| matches!(found, Found::Set(_));
    match () {
        () if !is_set(begun) => State::Empty,
        () if bad != Found::Erased => State::Bad,
        () if !is_set(complete) => State::Receiving,
        () if is_set(confirmed) => State::Confirmed,
        () if tried != Found::Erased || confirmed != Found::Erased => State::Testing,
        () => State::Pending,
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_with_any_bit_changed_is_torn() {
        let whole = encode(Mark::Begun, 0x0102_ff00);
        assert_eq!(decode(Mark::Begun, &whole), Found::Set(0x0102_ff00));
        assert_eq!(decode(Mark::Bad, &whole), Found::Torn);
        assert_eq!(decode(Mark::Begun, &[0xff; MARK_LEN]), Found::Erased);
        for bit in 0..8 * MARK_LEN {
            let mut bytes = whole;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(Mark::Begun, &bytes), Found::Torn, "bit {bit}");
        }
    }

    #[test]
    fn torn_marks_do_no_harm() {
        let (set, erased, torn) = (Found::Set(1), Found::Erased, Found::Torn);
        let cases = [
            ([erased; 5], State::Empty),
            ([torn, set, set, set, erased], State::Empty),
            ([set, erased, erased, erased, erased], State::Receiving),
            ([set, torn, erased, erased, erased], State::Receiving),
            ([set, set, erased, erased, erased], State::Pending),
            ([set, set, torn, erased, erased], State::Testing),
            ([set, set, set, erased, erased], State::Testing),
            ([set, set, set, torn, erased], State::Testing),
            ([set, set, set, set, erased], State::Confirmed),
            ([set, set, set, set, torn], State::Bad),
            ([set, set, set, erased, set], State::Bad),
        ];
        for (marks, expected) in cases {
            assert_eq!(state(marks), expected, "{marks:?}");
        }
    }
}
