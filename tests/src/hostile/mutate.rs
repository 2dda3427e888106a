//! Damage that knows nothing of the format.

use crate::random::Random;

/// Numbers at which arithmetic goes wrong.
pub const EXTREMES: [u64; 20] = [
    0,
    1,
    2,
    7,
    8,
    127,
    128,
    255,
    256,
    32_767,
    65_535,
    65_536,
    1 << 24,
    (1 << 31) - 1,
    1 << 31,
    (1 << 32) - 1,
    1 << 32,
    (1 << 62) + 1,
    i64::MAX as u64,
    u64::MAX,
];

/// Longest input that is made.
const MOST: usize = 1 << 20;

/// Damages `bytes` in one to six places: flips bits, sets bytes and whole numbers in both byte orders and as varints, cuts,
/// repeats, and splices parts of other input in.
pub fn mutate(bytes: &mut Vec<u8>, others: &[Vec<u8>], random: &mut Random) {
    for _ in 0..=random.below(6) {
        if bytes.is_empty() {
            bytes.push(random.byte() as u8);
        }
        let at = random.below(bytes.len());
        match random.below(11) {
            0 | 1 => bytes[at] ^= 1 << random.below(8),
            2 => bytes[at] = random.byte() as u8,
            3 => bytes[at] = random.pick(&[0, 1, 0x7f, 0x80, 0xff, b' ', b'\n', b'9']),
            4 => number(bytes, at, random),
            5 => varint(bytes, at, random),
            6 => bytes.truncate(at),
            7 => {
                let end = (at + 1 + random.below(64)).min(bytes.len());
                bytes.drain(at..end);
            }
            8 => {
                let end = (at + 1 + random.below(64)).min(bytes.len());
                let part = bytes[at..end].to_vec();
                insert(bytes, at, &part);
            }
            9 => {
                let other = &others[random.below(others.len())];
                let from = random.below(other.len());
                let to = (from + 1 + random.below(256)).min(other.len());
                insert(bytes, at, &other[from.min(to)..to]);
            }
            _ => {
                let part: Vec<u8> = (0..random.between(1, 16))
                    .map(|_| random.byte() as u8)
                    .collect();
                insert(bytes, at, &part);
            }
        }
    }
}

fn insert(bytes: &mut Vec<u8>, at: usize, part: &[u8]) {
    if bytes.len() + part.len() <= MOST {
        bytes.splice(at..at, part.iter().copied());
    }
}

/// Overwrites a number of 2, 4 or 8 bytes.
fn number(bytes: &mut [u8], at: usize, random: &mut Random) {
    let value = random.pick(&EXTREMES);
    let len = random.pick(&[2, 4, 8]);
    let whole = if random.one_in(2) {
        value.to_le_bytes()
    } else {
        // The low bytes, the highest first.
        (value << (64 - 8 * len)).to_be_bytes()
    };
    for (byte, new) in bytes[at..].iter_mut().zip(&whole[..len]) {
        *byte = *new;
    }
}

/// Replaces a varint, at whatever looks like one, by another, which may be longer.
fn varint(bytes: &mut Vec<u8>, at: usize, random: &mut Random) {
    let old = bytes[at..].iter().take_while(|&&b| b >= 0x80).count() + 1;
    let end = (at + old).min(bytes.len());
    let mut value = random.pick(&EXTREMES);
    let mut new = Vec::new();
    while value >= 0x80 {
        new.push(value as u8 | 0x80);
        value >>= 7;
    }
    new.push(value as u8);
    bytes.splice(at..end, new);
}
