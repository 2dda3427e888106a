//! Writes exp-Golomb codes; [`kinglet::formats::golomb`] reads them, here and on the device.

use kinglet::formats::golomb::{BitReader, MAX_ORDER};

/// Orders that [`best_order`] tries.
pub const ORDERS: std::ops::Range<u32> = 0..8;

/// Integers under exp-Golomb codes of one order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Coded {
    /// The order `k`; one byte in a container.
    pub order: u32,
    /// Number of levels.
    pub len: usize,
    /// Bits in `bytes` that count; the last byte is filled with zeros.
    pub bits: u64,
    /// The codes, most significant bit first.
    pub bytes: Vec<u8>,
}

/// Bytes that are no code.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GolombError {
    /// The order is above what the format allows.
    #[error("exp-Golomb order {0} is above {MAX_ORDER}")]
    Order(u32),
    /// The bits end before all levels are read, or hold a code of more than 32 bits.
    #[error("the exp-Golomb code is damaged or too short at level {level} of {len}")]
    Damaged {
        /// Levels read before.
        level: usize,
        /// Levels expected.
        len: usize,
    },
}

/// `2q − 1` for positive `q`, `−2q` otherwise: small numbers for small magnitudes.
fn unsigned(level: i32) -> u64 {
    let level = i64::from(level);
    if level > 0 {
        (2 * level - 1) as u64
    } else {
        (-2 * level) as u64
    }
}

/// Bits of one level: `2·⌊log2(⌊u/2^k⌋ + 1)⌋ + 1 + k`.
pub fn length(level: i32, order: u32) -> u64 {
    let v = (unsigned(level) >> order) + 1;
    u64::from(2 * v.ilog2() + 1 + order)
}

/// The order in 0 … 7 with the fewest bits, and these bits.
pub fn best_order(levels: &[i32]) -> (u32, u64) {
    let bits = |order: u32| levels.iter().map(|&q| length(q, order)).sum::<u64>();
    ORDERS
        .map(|order| (order, bits(order)))
        .min_by_key(|&(_, bits)| bits)
        .unwrap_or_default()
}

/// Codes `levels` with the best order. `i32::MIN` has no code of 32 bits; it is coded as its neighbour.
pub fn encode(levels: &[i32]) -> Coded {
    let (order, _) = best_order(levels);
    encode_with(levels, order)
}

/// Codes `levels` with this order (at most 15).
pub fn encode_with(levels: &[i32], order: u32) -> Coded {
    let order = order.min(MAX_ORDER);
    let mut writer = BitWriter::default();
    for &level in levels {
        let u = unsigned(level.max(-i32::MAX));
        let v = (u >> order) + 1;
        let digits = v.ilog2();
        writer.put(0, digits);
        writer.put(v, digits + 1);
        writer.put(u & ((1 << order) - 1), order);
    }
    Coded {
        order,
        len: levels.len(),
        bits: writer.bits,
        bytes: writer.bytes,
    }
}

impl Coded {
    /// The levels.
    ///
    /// # Errors
    /// The bytes are damaged; no bytes make it panic or take more than their length's time.
    pub fn decode(&self) -> Result<Vec<i32>, GolombError> {
        decode(&self.bytes, self.order, self.len)
    }

    /// Bytes in a container: the order and the codes.
    pub fn stored_bytes(&self) -> u64 {
        1 + self.bytes.len() as u64
    }
}

/// Reads `len` levels of order `order` from any bytes.
///
/// # Errors
/// The order is above 15, or the bytes hold no such levels.
pub fn decode(bytes: &[u8], order: u32, len: usize) -> Result<Vec<i32>, GolombError> {
    if order > MAX_ORDER {
        return Err(GolombError::Order(order));
    }
    let mut reader = BitReader::new(bytes);
    // A level has at least one bit: more than that cannot be true, and must not be allocated.
    let mut levels = Vec::with_capacity(len.min(bytes.len() * 8));
    for level in 0..len {
        levels.push(
            reader
                .signed(order)
                .ok_or(GolombError::Damaged { level, len })?,
        );
    }
    Ok(levels)
}

#[derive(Default)]
struct BitWriter {
    bytes: Vec<u8>,
    bits: u64,
}

impl BitWriter {
    /// The `count ≤ 64` low bits of `value`, the highest first.
    fn put(&mut self, value: u64, count: u32) {
        for i in (0..count).rev() {
            let bit = (value >> i & 1) as u8;
            let place = 7 - (self.bits % 8) as u32;
            match self.bytes.last_mut() {
                Some(byte) if place < 7 => *byte |= bit << place,
                _ => self.bytes.push(bit << 7),
            }
            self.bits += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compress::gaussian::{
        GeneralizedGaussian,
        rate::{entropy, levels},
    };
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    proptest! {
        #[test]
        fn levels_come_back(
            levels in prop::collection::vec(prop_oneof![
                -3i32..=3,
                any::<i16>().prop_map(i32::from),
                (-i32::MAX..=i32::MAX),
                Just(1 << 15),
                Just(0),
            ], 0..200),
            order in 0u32..=15,
        ) {
            for coded in [encode_with(&levels, order), encode(&levels)] {
                prop_assert_eq!(coded.decode().unwrap(), levels.clone());
                prop_assert_eq!(coded.bits.div_ceil(8), coded.bytes.len() as u64);
                let bits: u64 = levels.iter().map(|&q| length(q, coded.order)).sum();
                prop_assert_eq!(coded.bits, bits);
            }
        }

        #[test]
        fn any_bytes_decode_or_are_refused(
            bytes in prop::collection::vec(any::<u8>(), 0..64), order in 0u32..20, len in 0usize..2000
        ) {
            if let Ok(levels) = decode(&bytes, order, len) {
                prop_assert_eq!(levels.len(), len);
            }
        }
    }

    #[test]
    fn a_length_that_cannot_be_is_not_allocated() {
        assert_eq!(
            decode(&[0xFF; 4], 0, usize::MAX),
            Err(GolombError::Damaged {
                level: 32,
                len: usize::MAX
            })
        );
        assert_eq!(decode(&[], 16, 0), Err(GolombError::Order(16)));
    }

    /// Bits a weight of unit-deviation generalised Gaussians: entropy, order 0, best order; as the specification measured.
    #[test]
    fn codes_are_as_efficient_as_measured() {
        let cases = [
            (0.5, 1.0, 1.64, 1.84, 1.84, 0),
            (0.5, 0.25, 3.46, 3.64, 3.64, 0),
            (0.5, 0.0625, 5.42, 6.43, 5.61, 3),
            (1.0, 1.0, 2.01, 2.24, 2.24, 0),
            (1.0, 0.25, 3.94, 4.58, 4.26, 2),
            (1.0, 0.0625, 5.94, 7.80, 6.24, 4),
            (2.0, 0.25, 4.05, 5.10, 4.51, 2),
        ];
        let mut random = ChaCha8Rng::seed_from_u64(21);
        for (nu, step, h, zero, best, k) in cases {
            let weights = GeneralizedGaussian::with_variance(nu, 1.0).draw(1 << 19, &mut random);
            let levels = levels(&weights, step);
            let per_weight = |bits: u64| bits as f64 / levels.len() as f64;
            let (order, bits) = best_order(&levels);
            let found = (
                entropy(&levels),
                per_weight(levels.iter().map(|&q| length(q, 0)).sum()),
                per_weight(bits),
            );
            let close = |a: f64, b: f64| (a - b).abs() < 0.03;
            assert!(
                close(found.0, h) && close(found.1, zero) && close(found.2, best),
                "ν = {nu}, step {step}: {found:?}"
            );
            assert_eq!(order, k, "ν = {nu}, step {step}");
        }
    }
}
