//! Reads exp-Golomb codes of order `k`, the universal code of entropy-coded weights (BackSlash, arXiv 2504.16968).
//!
//! ```text
//! u ≥ 0:  v = ⌊u / 2^k⌋ + 1;  bits(v) − 1 zeros, v in binary, the k low bits of u       most significant bit first
//! q signed:  u = 2q − 1 for q > 0,  −2q otherwise
//! ```

/// Largest order.
pub const MAX_ORDER: u32 = 15;

/// Bits, most significant first in each byte. Reading past the end gives `None`, whatever the bytes are.
#[derive(Clone, Debug)]
pub struct BitReader<'a> {
    bytes: &'a [u8],
    /// Bits read of the first byte.
    used: u32,
}

impl<'a> BitReader<'a> {
    /// Starts at the first bit.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        BitReader { bytes, used: 0 }
    }

    /// The next bit.
    #[inline]
    pub fn bit(&mut self) -> Option<bool> {
        let byte = *self.bytes.first()?;
        let bit = byte << self.used >= 0x80;
        self.used += 1;
        if self.used == 8 {
            self.used = 0;
            self.bytes = self.bytes.get(1..)?;
        }
        Some(bit)
    }

    /// The next `count ≤ 32` bits as a number.
    #[inline]
    pub fn bits(&mut self, count: u32) -> Option<u32> {
        let mut value = 0u32;
        for _ in 0..count {
            value = value << 1 | u32::from(self.bit()?);
        }
        Some(value)
    }

    /// The next code of order `k ≤ 15` as a number. `None` where the bits end, and for a code above 2³² − 1.
    #[inline]
    pub fn unsigned(&mut self, k: u32) -> Option<u32> {
        if k > MAX_ORDER {
            return None;
        }
        let mut zeros = 0;
        while !self.bit()? {
            zeros += 1;
            if zeros > 32 {
                return None;
            }
        }
        let v = 1u64 << zeros | u64::from(self.bits(zeros)?);
        let u = (v - 1) << k | u64::from(self.bits(k)?);
        u32::try_from(u).ok()
    }

    /// The next code of order `k` as a signed number.
    #[inline]
    pub fn signed(&mut self, k: u32) -> Option<i32> {
        let u = self.unsigned(k)?;
        let half = (u / 2) as i32;
        Some(if u.is_multiple_of(2) {
            half.wrapping_neg()
        } else {
            half.checked_add(1)?
        })
    }

    /// Decodes signed codes of order `k` into `out`; `None` if the bits end before, or a level is no int8.
    pub fn read_int8(&mut self, k: u32, out: &mut [i8]) -> Option<()> {
        for level in out {
            *level = i8::try_from(self.signed(k)?).ok()?;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_codes() {
        // 1 | 010 | 011 | 00100 | 00101: u = 0, 1, 2, 3, 4 at order 0.
        let bytes = [0b1010_0110, 0b0100_0010, 0b1000_0000];
        let mut reader = BitReader::new(&bytes);
        for u in 0..5 {
            assert_eq!(reader.unsigned(0), Some(u));
        }
        let mut reader = BitReader::new(&bytes);
        for q in [0, 1, -1, 2, -2] {
            assert_eq!(reader.signed(0), Some(q));
        }
        // Order 2: 1|01 is 1, 0 0 1 0 0|1 0 is …
        assert_eq!(BitReader::new(&[0b1010_0000]).unsigned(2), Some(1));
        assert_eq!(BitReader::new(&[0b0110_0000]).unsigned(2), Some(8));
    }

    #[test]
    fn the_last_bit_is_read_and_no_more() {
        let mut reader = BitReader::new(&[0xFF]);
        assert_eq!((0..8).filter(|_| reader.bit() == Some(true)).count(), 8);
        assert_eq!(reader.bit(), None);
        assert_eq!(BitReader::new(&[]).unsigned(0), None);
        assert_eq!(BitReader::new(&[1]).unsigned(16), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..64), k in 0u32..40) {
            let mut reader = BitReader::new(&bytes);
            let mut codes = 0;
            while reader.signed(k).is_some() {
                codes += 1;
            }
            prop_assert!(codes <= bytes.len() * 8);
            let _ = BitReader::new(&bytes).read_int8(k, &mut [0; 100]);
        }
    }
}
