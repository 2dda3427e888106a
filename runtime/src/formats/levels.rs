//! Decodes exp-Golomb codes of int8 weights two at a time: see [`super::golomb`] for the code itself.
//!
//! Trained weights have codes of two to five bits, so eight bits mostly begin with two whole ones. A table of what each eight
//! bits begin with, made when a layer starts, gives two weights for one look; what is longer is read one by one.
//!
//! Any bytes decode, in time that depends on the number of weights only: behind the last byte there are zeros, a code that is
//! too long is cut off. Such weights mean nothing, but are the same on every machine.

#[cfg(any(kinglet_dsp, kinglet_armv7m))]
mod thumb;

use crate::kernels::parts::parts_mut;
use core::num::NonZeroUsize;
use core::slice::Iter;
#[cfg(any(kinglet_dsp, kinglet_armv7m))]
use thumb::decode as decode_fours;

/// Largest order. No int8 weight has its shortest code at a larger one.
pub const MAX_ORDER: u32 = 7;

/// Most bits of a code: those of ±127 at order 1. −128 has none.
pub const MAX_BITS: u32 = 16;

/// What each eight bits begin with, in one word: two weights as a [`Pair`] (bits 0 to 15), the first weight (16 to 23), the bits
/// that it takes (24 to 27) and those that both take (28 to 31). Bits are 0 where the codes go on behind the eight.
pub type Table = [u32; 256];

/// How two weights lie in 16 bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pair {
    /// One byte after the other.
    Bytes,
    /// `first + 256·second`, as split weights are: see [`crate::kernels::split`].
    Sum,
}

impl Pair {
    fn mask(self) -> i32 {
        match self {
            Pair::Bytes => 0xff,
            Pair::Sum => -1,
        }
    }
}

#[inline(always)]
fn join(first: i32, second: i32, mask: i32) -> u16 {
    (second << 8).wrapping_add(first & mask) as u16
}

/// The weight that is coded as `u`: `2q − 1` for `q > 0`, `−2q` otherwise.
#[inline(always)]
fn signed(u: u32) -> i32 {
    let next = u.wrapping_add(1);
    let negative = (next & 1) as i32;
    ((next >> 1) as i32 ^ negative.wrapping_neg()).wrapping_add(negative)
}

/// Reads weights of one order.
#[derive(Debug)]
pub struct Levels<'a> {
    table: &'a Table,
    order: u32,
    mask: i32,
    codes: Codes<'a>,
}

/// A place in the codes.
#[derive(Clone, Debug)]
struct Codes<'a> {
    rest: Iter<'a, [u8; 2]>,
    /// The next bits, the first one uppermost; zeros behind the last one that was read.
    window: u32,
    /// How many of [`MAX_BITS`] are missing in the window; below zero if it has more.
    missing: i32,
}

impl<'a> Codes<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Codes {
            rest: bytes.as_chunks().0.iter(),
            window: 0,
            missing: MAX_BITS as i32,
        }
    }

    /// Sees to it that the window has a whole code. No more than [`MAX_BITS`] are missing.
    #[inline(always)]
    fn refill(&mut self) {
        if self.missing > 0 {
            if let Some(next) = self.rest.next() {
                let next = u32::from(u16::from_be_bytes(*next));
                self.window |= next.unbounded_shl(self.missing as u32);
            }
            self.missing = self.missing.wrapping_sub(16);
        }
    }

    /// `bits` of the window are read.
    #[inline(always)]
    fn skip(&mut self, bits: u32) {
        self.window = self.window.unbounded_shl(bits);
        self.missing = self.missing.wrapping_add(bits as i32);
    }

    /// What the next eight bits begin with.
    #[inline(always)]
    fn entry(&self, table: &Table) -> u32 {
        table[(self.window >> 24) as usize]
    }

    /// Two weights, if the next eight bits are enough for both.
    #[cfg(not(any(kinglet_dsp, kinglet_armv7m)))]
    #[inline(always)]
    fn both(&mut self, entry: u32) -> Option<u16> {
        let bits = entry >> 28;
        if bits == 0 {
            return None;
        }
        self.skip(bits);
        Some(entry as u16)
    }

    /// One weight.
    #[inline(always)]
    fn one(&mut self, entry: u32, order: u32) -> i32 {
        let bits = (entry >> 24) & 15;
        if bits == 0 {
            return self.long(order);
        }
        self.skip(bits);
        first(entry)
    }

    /// One weight, however long its code is.
    #[inline(always)]
    fn long(&mut self, order: u32) -> i32 {
        let zeros = self.window.leading_zeros().min(7);
        let digits = zeros.wrapping_add(1).wrapping_add(order);
        let code = self.window.unbounded_shl(zeros).unbounded_shr(32 - digits);
        self.skip(zeros.wrapping_add(digits).min(MAX_BITS));
        signed(code.wrapping_sub(1 << order))
    }

    /// Two weights, one by one.
    #[inline(always)]
    fn pair(&mut self, table: &Table, order: u32, mask: i32) -> u16 {
        self.refill();
        let first = self.one(self.entry(table), order);
        self.refill();
        let second = self.one(self.entry(table), order);
        join(first, second, mask)
    }
}

impl<'a> Levels<'a> {
    /// For codes of an order up to [`MAX_ORDER`]; larger ones count as that. Fills the table.
    pub fn new(order: u32, pair: Pair, table: &'a mut Table) -> Self {
        let (order, mask) = (order.min(MAX_ORDER), pair.mask());
        fill(table, order, mask);
        Levels {
            table,
            order,
            mask,
            codes: Codes::new(&[]),
        }
    }

    /// Goes on at the first code of `bytes`. Of an odd number the last one is not looked at.
    pub fn start(&mut self, bytes: &'a [u8]) {
        self.codes = Codes::new(bytes);
    }

    /// Decodes the next two weights for each element of `out`.
    #[inline(never)]
    pub fn decode(&mut self, out: &mut [u16]) {
        // A copy stays in registers.
        let mut codes = self.codes.clone();
        let (table, order, mask) = (self.table, self.order, self.mask);
        let (fours, rest) = out.as_chunks_mut::<2>();
        decode_fours(&mut codes, table, order, mask, fours);
        for pair in rest {
            *pair = codes.pair(table, order, mask);
        }
        self.codes = codes;
    }
}

#[cfg(not(any(kinglet_dsp, kinglet_armv7m)))]
#[inline(always)]
fn decode_fours(codes: &mut Codes<'_>, table: &Table, order: u32, mask: i32, out: &mut [[u16; 2]]) {
    for [first, second] in out {
        codes.refill();
        *first = match codes.both(codes.entry(table)) {
            Some(pair) => pair,
            None => codes.pair(table, order, mask),
        };
        // Behind a pair of eight bits there are eight left at least: if they are not enough, `pair` gets more.
        if codes.missing > 8 {
            codes.refill();
        }
        *second = match codes.both(codes.entry(table)) {
            Some(pair) => pair,
            None => codes.pair(table, order, mask),
        };
    }
}

/// The first weight of a table's entry.
#[inline(always)]
fn first(entry: u32) -> i32 {
    i32::from((entry >> 16) as i8)
}

/// Makes the table.
fn fill(table: &mut Table, order: u32, mask: i32) {
    *table = [0; 256];
    let mut u = 0u32;
    // Codes with this many zeros in front are the numbers from 2⁷⁻ᶻ to 2⁸⁻ᶻ, in their order.
    for zeros in 0..4u32 {
        let bits = 2 * zeros + 1 + order;
        let (Some(free), Some(entries)) = (
            8u32.checked_sub(bits),
            table.get_mut(128 >> zeros..256 >> zeros),
        ) else {
            break;
        };
        let same = NonZeroUsize::MIN.saturating_add((1 << free) - 1);
        for entries in parts_mut(entries, same) {
            for entry in entries {
                *entry = u32::from(signed(u) as u8) << 16 | bits << 24;
            }
            u = u.wrapping_add(1);
        }
    }
    for index in 0..256usize {
        let entry = table[index & 255];
        let bits = (entry >> 24) & 15;
        let next = table[index.wrapping_shl(bits) & 255];
        let next_bits = (next >> 24) & 15;
        let both = bits.wrapping_add(next_bits);
        if bits != 0 && next_bits != 0 && both <= 8 {
            let pair = join(first(entry), first(next), mask);
            table[index & 255] = entry | u32::from(pair) | both << 28;
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use crate::formats::golomb::BitReader;
    use proptest::prelude::*;
    use std::vec;
    use std::vec::Vec;

    /// Codes of order `k`, bit by bit as [`crate::formats::golomb`] defines them, to an even number of bytes.
    fn coded(levels: &[i8], k: u32) -> Vec<u8> {
        let mut bits: Vec<u8> = Vec::new();
        for &q in levels {
            let q = i32::from(q);
            let u = if q > 0 { 2 * q - 1 } else { -2 * q } as u32;
            let v = (u >> k) + 1;
            bits.extend(vec![0; v.ilog2() as usize]);
            bits.extend((0..=v.ilog2()).rev().map(|i| (v >> i & 1) as u8));
            bits.extend((0..k).rev().map(|i| (u >> i & 1) as u8));
        }
        bits.resize(bits.len().next_multiple_of(16), 0);
        let byte = |bits: &[u8]| bits.iter().fold(0, |byte, bit| byte << 1 | bit);
        bits.chunks(8).map(byte).collect()
    }

    fn decoded(bytes: &[u8], k: u32, pair: Pair, pairs: usize) -> Vec<u16> {
        let mut table = [0; 256];
        let mut levels = Levels::new(k, pair, &mut table);
        levels.start(bytes);
        let mut out = vec![0; pairs];
        levels.decode(&mut out);
        out
    }

    /// Mostly small, as weights are.
    fn levels() -> impl Strategy<Value = Vec<i8>> {
        let level = prop_oneof![6 => -3i8..=3, 2 => -20i8..=20, 1 => -127i8..=127];
        prop::collection::vec(level, 0..300).prop_map(|mut levels| {
            levels.truncate(levels.len() & !1);
            levels
        })
    }

    #[test]
    fn every_weight_has_a_code_of_every_order() {
        for k in 0..=MAX_ORDER {
            for q in -127..=127i8 {
                let bytes = coded(&[q, -q], k);
                let [a, b] = decoded(&bytes, k, Pair::Bytes, 1)[0].to_le_bytes();
                assert_eq!([a as i8, b as i8], [q, -q], "order {k}");
                let sum = decoded(&bytes, k, Pair::Sum, 1)[0] as i16;
                assert_eq!(
                    i32::from(sum),
                    i32::from(q) - 256 * i32::from(q),
                    "order {k}"
                );
            }
        }
    }

    /// The table finds whole codes only: its entries' bits, decoded one by one, are what the entries say.
    #[test]
    fn the_table_has_what_eight_bits_begin_with() {
        for k in 0..=MAX_ORDER {
            let mut table = [0; 256];
            fill(&mut table, k, 0xff);
            for (bits, entry) in (0u8..=255).zip(table) {
                let mut reader = BitReader::new(core::slice::from_ref(&bits));
                let one = reader.signed(k);
                assert_eq!(
                    (entry >> 24) & 15 != 0,
                    one.is_some(),
                    "order {k}: {bits:08b}"
                );
                let two = one.and_then(|_| reader.signed(k));
                assert_eq!(entry >> 28 != 0, two.is_some(), "order {k}: {bits:08b}");
                if let (Some(a), Some(b)) = (one, two) {
                    assert_eq!(entry as u16, join(a, b, 0xff), "order {k}: {bits:08b}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn weights_come_back(levels in levels(), k in 0..=MAX_ORDER, cut in 0usize..150) {
            let bytes = coded(&levels, k);
            let mut slow = vec![0; levels.len()];
            prop_assert_eq!(BitReader::new(&bytes).read_int8(k, &mut slow), Some(()));
            prop_assert_eq!(&slow, &levels);
            let pairs = levels.len() / 2;
            let fast: Vec<i8> = decoded(&bytes, k, Pair::Bytes, pairs)
                .into_iter()
                .flat_map(|pair| pair.to_le_bytes().map(|b| b as i8))
                .collect();
            prop_assert_eq!(&fast, &levels);
            let sums: Vec<i32> = decoded(&bytes, k, Pair::Sum, pairs)
                .into_iter()
                .map(|sum| i32::from(sum as i16))
                .collect();
            // Where 16 bits are too few, the sum is cut off, as nothing that the compiler packs is.
            let wanted = levels.as_chunks::<2>().0.iter().map(|[a, b]| {
                i32::from((i32::from(*a) + 256 * i32::from(*b)) as i16)
            });
            prop_assert_eq!(sums, wanted.collect::<Vec<_>>());
            // In two goes.
            let mut table = [0; 256];
            let mut reader = Levels::new(k, Pair::Bytes, &mut table);
            reader.start(&bytes);
            let mut out = vec![0; pairs];
            let (first, second) = out.split_at_mut(cut.min(pairs));
            reader.decode(first);
            reader.decode(second);
            prop_assert_eq!(out, decoded(&bytes, k, Pair::Bytes, pairs));
        }

        #[test]
        fn any_bytes_decode(bytes in prop::collection::vec(any::<u8>(), 0..64), k in 0u32..40, pairs in 0usize..300) {
            let out = decoded(&bytes, k, Pair::Sum, pairs);
            prop_assert_eq!(out.len(), pairs);
            // The last byte of an odd number is not looked at.
            let even = &bytes[..bytes.len() & !1];
            prop_assert_eq!(decoded(even, k, Pair::Sum, pairs), out);
        }
    }
}
