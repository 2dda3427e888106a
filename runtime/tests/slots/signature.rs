//! Our verification against `ed25519-dalek`'s, and against RFC 8032.

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use kinglet::slots::{key_id, verify};
use proptest::prelude::*;

fn bytes<const N: usize>(hex: &str) -> [u8; N] {
    std::array::from_fn(|i| u8::from_str_radix(&hex[2 * i..][..2], 16).unwrap())
}

#[test]
fn the_rfc_s_signatures_are_right() {
    // RFC 8032, 7.1: tests 1 to 3.
    let cases: [(&str, &[u8], &str); 3] = [
        (
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            &[],
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        ),
        (
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            &[0x72],
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        ),
        (
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            &[0xaf, 0x82],
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
        ),
    ];
    for (key, message, signature) in cases {
        let (key, mut signature) = (bytes(key), bytes::<64>(signature));
        assert!(verify(&key, message, &signature));
        assert!(!verify(&key, &[message, &[0]].concat(), &signature));
        signature[5] ^= 1;
        assert!(!verify(&key, message, &signature));
    }
}

#[test]
fn keys_of_small_order_are_refused() {
    // The neutral element: `R = identity, s = 0` would sign everything.
    let mut key = [0; 32];
    key[0] = 1;
    let mut signature = [0; 64];
    signature[0] = 1;
    assert!(!verify(&key, b"anything", &signature));
}

#[test]
fn a_key_s_name_is_the_start_of_its_hash() {
    // SHA-512 of 32 zeroes, by `sha512sum`.
    assert_eq!(
        key_id(&[0; 32]),
        bytes("5046adc1dba838867b2bbbfdd0c3423e"[..16].as_ref())
    );
}

proptest! {
    #[test]
    fn both_say_the_same(
        seed in any::<[u8; 32]>(),
        message in proptest::collection::vec(any::<u8>(), 0..600),
        change in proptest::option::of((0usize..96, 0u8..8)),
    ) {
        let secret = SigningKey::from_bytes(&seed);
        let mut signature = secret.sign(&message).to_bytes();
        let mut key = secret.verifying_key().to_bytes();
        match change {
            Some((at, bit)) if at < 64 => signature[at] ^= 1 << bit,
            Some((at, bit)) => key[at - 64] ^= 1 << bit,
            None => {}
        }
        let theirs = VerifyingKey::from_bytes(&key).is_ok_and(|key| {
            key.verify_strict(&message, &Signature::from_bytes(&signature)).is_ok()
        });
        prop_assert_eq!(verify(&key, &message, &signature), theirs);
        prop_assert_eq!(theirs, change.is_none());
    }
}
