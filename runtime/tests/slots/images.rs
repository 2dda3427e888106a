//! Signed images of the fixtures.

use ed25519_dalek::{Signer, SigningKey};
use kinglet::format::{CRC, CRC_START, Header};
use kinglet::slots::{Device, ImageHeader, Target, key_id};
use kinglet::{DynSession, Plan};
use std::mem::offset_of;
use zerocopy::IntoBytes;

/// Plans with outputs of their own.
pub(crate) const PLANS: [&[u8]; 3] = [
    include_bytes!("../fixtures/int8.kinglet"),
    include_bytes!("../fixtures/wide.kinglet"),
    include_bytes!("../fixtures/sparse.kinglet"),
];

pub(crate) fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

pub(crate) fn device() -> Device {
    Device {
        key: key().verifying_key().to_bytes(),
        target: Target::CortexM4f,
        arena_len: 1 << 16,
    }
}

/// Bytes at a multiple of 16, for as long as the test runs.
pub(crate) fn aligned(bytes: &[u8]) -> &'static [u8] {
    let words = vec![0u128; bytes.len().div_ceil(16)].leak();
    words.as_mut_bytes()[..bytes.len()].copy_from_slice(bytes);
    &words.as_bytes()[..bytes.len()]
}

/// What an image may be besides right.
#[derive(Clone, Copy)]
pub(crate) struct Choice<'a> {
    pub(crate) key: &'a SigningKey,
    pub(crate) target: Target,
    pub(crate) flags: u32,
}

pub(crate) fn sign(plan: &[u8], version: u32, choice: Choice<'_>) -> Vec<u8> {
    let plan = aligned(plan);
    let id = key_id(&choice.key.verifying_key().to_bytes());
    let mut header = ImageHeader::unsigned(plan, version, choice.target, choice.flags, id).unwrap();
    let core = &plan[..header.plan_len.get() as usize];
    let message = [header.signed(), core].concat();
    header.signature = choice.key.sign(&message).to_bytes();
    [header.as_bytes(), core].concat()
}

/// An image that the device takes.
pub(crate) fn image(plan: &[u8], version: u32) -> Vec<u8> {
    let choice = Choice {
        key: &key(),
        target: Target::CortexM4f,
        flags: 0,
    };
    sign(plan, version, choice)
}

/// The plan with a self-test that fails.
pub(crate) fn failing(plan: &[u8]) -> Vec<u8> {
    let mut plan = plan.to_vec();
    plan[offset_of!(Header, self_test_digest)] ^= 1;
    let len = offset_of!(Header, core_len);
    let len = u32::from_le_bytes(plan[len..][..4].try_into().unwrap()) as usize;
    let crc = CRC.checksum(&plan[CRC_START..len]);
    plan[offset_of!(Header, crc)..][..4].copy_from_slice(&crc.to_le_bytes());
    plan
}

/// The outputs of a plan for an input of its own.
pub(crate) fn outputs(plan: &Plan<'_>, arena: &mut [u8]) -> Vec<u8> {
    let mut session = DynSession::new(*plan, arena).unwrap();
    for index in 0..plan.input_count() {
        let input = session.input_mut(index).unwrap();
        for (place, byte) in input.iter_mut().enumerate() {
            *byte = (place * 37 % 101) as u8;
        }
    }
    session.run().unwrap();
    (0..plan.output_count())
        .flat_map(|index| session.output(index).unwrap().to_vec())
        .collect()
}
