//! A corrupted byte anywhere in a plan file is detected, or it is harmless: which bytes are which, tried exhaustively.
//!
//! The checksum covers a plan's core from [`CRC_START`] on; before it are the magic number, the version, the header's length and
//! the checksum itself, each compared. Behind the core are step names, which the runtime never reads: a file may end there.

mod fixtures;

use fixtures::{Aligned, FIXTURES};
use kinglet::format::{CRC, CRC_START, Header};
use kinglet::{DynSession, Plan};
use std::mem::offset_of;
use zerocopy::IntoBytes;

/// Not stripped: it has step names behind its core.
const DIGITS: (&str, &[u8]) = (
    "digits",
    include_bytes!("../../tests/models/digits_int8.kinglet"),
);

fn plans() -> impl Iterator<Item = (&'static str, &'static [u8])> {
    FIXTURES.into_iter().chain([DIGITS])
}

fn core_len(file: &[u8]) -> usize {
    let at = offset_of!(Header, core_len);
    u32::from_le_bytes(file[at..at + 4].try_into().expect("the fixtures are whole")) as usize
}

/// The outputs for inputs of zeroes and of the self-test.
fn outputs(file: &[u8]) -> Vec<u8> {
    let plan = Plan::parse(file).expect("the fixtures are whole");
    let mut arena = vec![0u128; plan.arena_len().div_ceil(16)];
    let mut session = DynSession::new(plan, arena.as_mut_bytes()).expect("the fixtures are whole");
    session.run().expect("the fixtures are whole");
    let mut all: Vec<u8> = (0..plan.output_count())
        .flat_map(|i| session.output(i).expect("the fixtures are whole").to_vec())
        .collect();
    all.extend(
        session
            .self_test_digest(1)
            .expect("the fixtures are whole")
            .to_le_bytes(),
    );
    all
}

#[test]
fn a_corrupted_byte_is_detected_or_harmless() {
    let (mut detected, mut harmless) = (0u64, 0u64);
    for (name, file) in plans() {
        let core = core_len(file);
        let good = outputs(Aligned::new(file).bytes());
        let mut damaged = Aligned::new(file);
        for (at, &was) in file.iter().enumerate() {
            // The lowest and the highest bit, all of them, and the byte gone.
            for value in [was ^ 1, was ^ 0x80, !was, if was == 0 { 0x55 } else { 0 }] {
                damaged.bytes_mut()[at] = value;
                let bytes = damaged.bytes();
                let refused = [Plan::parse(bytes).is_err(), Plan::linked(bytes).is_err()];
                if at < core {
                    assert_eq!(refused, [true; 2], "{name}: byte {at} = {value}");
                    detected += 1;
                } else {
                    assert_eq!(refused, [false; 2], "{name}: byte {at} = {value}");
                    harmless += 1;
                }
            }
            // Running takes longer than parsing: one value of each.
            if at >= core {
                assert_eq!(outputs(damaged.bytes()), good, "{name}: byte {at}");
            }
            damaged.bytes_mut()[at] = was;
        }
    }
    println!("{detected} corruptions detected, {harmless} harmless (step names)");
    assert!(
        detected > 300_000 && harmless > 300,
        "{detected}, {harmless}"
    );
}

/// Why the values that were not tried are detected, too: a checksum is linear, so that a change is missed only if the change alone,
/// with zeroes elsewhere, has the checksum that zeroes have. No change of one byte has.
#[test]
fn no_value_of_any_byte_keeps_the_checksum() {
    let longest = plans()
        .map(|(_, file)| core_len(file))
        .max()
        .expect("the fixtures are whole")
        - CRC_START;
    // Zeroes behind the changed byte are all that counts: zeroes before it leave the checksum's state of zeroes alone.
    let zeroes = vec![0u8; longest];
    let of = |byte: u8, behind: usize| {
        let mut digest = CRC.digest_with_initial(0);
        digest.update(&[byte]);
        digest.update(&zeroes[..behind]);
        digest.finalize() ^ CRC.algorithm.xorout
    };
    for byte in 1..=255u8 {
        // Zeroes behind it multiply by a power of x, which has an inverse: if one distance does not vanish, none does.
        for behind in [0, 1, longest - 1] {
            assert_ne!(of(byte, behind), 0, "{byte} before {behind} zeroes");
        }
    }
}
