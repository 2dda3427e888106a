//! Ed25519 (RFC 8032), of which devices only verify.
//!
//! The group and the hash function are `curve25519-dalek`'s and `sha2`'s. What is written here is what joins them, since
//! `ed25519-dalek`'s own verification looks up tables by index, where the compiler cannot prove that no panic is reachable, and
//! firmware with a reachable panic does not link. Tests compare both.

use curve25519_dalek::edwards::CompressedEdwardsY;
use curve25519_dalek::{EdwardsPoint, Scalar};
use sha2::block_api::compress512;

const BLOCK: usize = 128;

/// SHA-512 (FIPS 180-4) of bytes that come in parts.
#[derive(Clone)]
pub struct Sha512 {
    state: [u64; 8],
    block: [u8; BLOCK],
    len: u64,
}

impl Sha512 {
    /// Of no bytes.
    pub fn new() -> Self {
        Sha512 {
            state: [
                0x6a09_e667_f3bc_c908,
                0xbb67_ae85_84ca_a73b,
                0x3c6e_f372_fe94_f82b,
                0xa54f_f53a_5f1d_36f1,
                0x510e_527f_ade6_82d1,
                0x9b05_688c_2b3e_6c1f,
                0x1f83_d9ab_fb41_bd6b,
                0x5be0_cd19_137e_2179,
            ],
            block: [0; BLOCK],
            len: 0,
        }
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let at = self.len as usize % BLOCK;
            let taken = rest.len().min(BLOCK - at);
            let (now, later) = rest.split_at_checked(taken).unwrap_or((rest, &[]));
            for (to, from) in self.block.iter_mut().skip(at).zip(now) {
                *to = *from;
            }
            self.len = self.len.wrapping_add(taken as u64);
            if at + taken == BLOCK {
                compress512(&mut self.state, &[self.block]);
            }
            rest = later;
        }
    }

    /// The digest.
    pub fn finish(mut self) -> [u8; 64] {
        let bits = u128::from(self.len) * 8;
        self.update(&[0x80]);
        while self.len as usize % BLOCK != BLOCK - 16 {
            self.update(&[0]);
        }
        self.update(&bits.to_be_bytes());
        let mut digest = [0; 64];
        for (to, word) in digest.as_chunks_mut().0.iter_mut().zip(self.state) {
            *to = word.to_be_bytes();
        }
        digest
    }
}

impl Default for Sha512 {
    fn default() -> Self {
        Sha512::new()
    }
}

/// Names a public key: the first bytes of its SHA-512.
pub fn key_id(key: &[u8; 32]) -> [u8; 8] {
    let mut hash = Sha512::new();
    hash.update(key);
    hash.finish().first_chunk().copied().unwrap_or_default()
}

/// A signature whose message comes in parts.
pub(super) struct Verification {
    hash: Sha512,
    key: EdwardsPoint,
    commitment: CompressedEdwardsY,
    response: Scalar,
}

impl Verification {
    /// `None` for a key or a signature that is none.
    pub(super) fn new(key: &[u8; 32], signature: &[u8; 64]) -> Option<Self> {
        let commitment = CompressedEdwardsY(*signature.first_chunk()?);
        let response = Option::from(Scalar::from_canonical_bytes(*signature.last_chunk()?))?;
        let point = CompressedEdwardsY(*key).decompress()?;
        // With such a key many signatures fit any message.
        if point.is_small_order() {
            return None;
        }
        let mut hash = Sha512::new();
        hash.update(commitment.as_bytes());
        hash.update(key);
        Some(Verification {
            hash,
            key: point,
            commitment,
            response,
        })
    }

    /// Takes the next bytes of the message.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
    }

    /// Whether the signature is the message's: `response · B − challenge · key` is the commitment.
    pub(super) fn finish(self) -> bool {
        let challenge = Scalar::from_bytes_mod_order_wide(&self.hash.finish());
        let expected = EdwardsPoint::mul_base(&self.response) - self.key * challenge;
        expected.compress() == self.commitment
    }
}

/// Whether `signature` is that of `message` by the owner of `key`.
pub fn verify(key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    Verification::new(key, signature).is_some_and(|mut verification| {
        verification.update(message);
        verification.finish()
    })
}
