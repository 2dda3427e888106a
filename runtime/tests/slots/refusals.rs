//! Images that are refused, each for its reason, while the model before goes on running.

use super::flash::Flash;
use super::images::{Choice, PLANS, aligned, device, failing, image, key, outputs, sign};
use ed25519_dalek::SigningKey;
use kinglet::DynSession;
use kinglet::slots::{
    Error, Fault, HEADER_LEN, ImageHeader, Layout, Receiver, Refusal, Slot, Slots, State, Target,
    flags,
};
use proptest::prelude::*;
use std::mem::offset_of;
use zerocopy::IntoBytes;

type Nor = Flash<8, 4096>;

const LAYOUT: Layout = Layout {
    a: 0,
    b: 0x4000,
    len: 0x4000,
};

fn boot(slots: &mut Slots<Nor>) -> Option<u32> {
    let mut arena = vec![0u128; 1 << 12];
    let bytes = |flash: &mut Nor, model: &kinglet::slots::Model| {
        Some(aligned(
            &flash.memory[model.plan_offset as usize..][..model.plan_len as usize],
        ))
    };
    let started = slots.start(bytes, arena.as_mut_bytes())?;
    assert_eq!(started.plan.core_len(), started.model.plan_len as usize);
    Some(started.model.version)
}

fn receive(slots: &mut Slots<Nor>, image: &[u8]) -> Result<u32, Error> {
    let mut receiver = Receiver::begin(slots, image.len() as u32)?;
    for part in image.chunks(200) {
        receiver.write(slots, part)?;
    }
    receiver.finish(slots)
}

/// A device that runs version 10.
fn device_with_10() -> Slots<Nor> {
    let mut slots = Slots::new(Nor::new(0x8000), LAYOUT, device()).unwrap();
    receive(&mut slots, &image(PLANS[0], 10)).unwrap();
    assert_eq!(boot(&mut slots), Some(10));
    slots.confirm().unwrap();
    slots
}

fn choice(key: &SigningKey) -> Choice<'_> {
    Choice {
        key,
        target: Target::CortexM4f,
        flags: 0,
    }
}

/// What is received is refused; version 10 runs on, before and after a reset.
fn refused(image: &[u8], expected: Refusal) {
    let mut slots = device_with_10();
    // The old model works while the other one comes.
    let mut arena = vec![0u128; 1 << 12];
    let plan = kinglet::Plan::parse(aligned(PLANS[0])).unwrap();
    let answer = outputs(&plan, arena.as_mut_bytes());
    let mut session = DynSession::new(plan, arena.as_mut_bytes()).unwrap();
    assert_eq!(receive(&mut slots, image), Err(Error::Refused(expected)));
    session.self_test().unwrap();
    assert_eq!(outputs(&plan, arena.as_mut_bytes()), answer);
    assert_eq!(slots.running().map(|model| model.version), Some(10));
    assert_eq!(boot(&mut slots), Some(10));
    // And the next good one is taken.
    assert_eq!(
        receive(&mut slots, &super::images::image(PLANS[1], 11)),
        Ok(11)
    );
    assert_eq!(boot(&mut slots), Some(11));
}

#[test]
fn a_forged_signature_is_refused() {
    let mut forged = image(PLANS[1], 11);
    forged[offset_of!(ImageHeader, signature) + 3] ^= 1;
    refused(&forged, Refusal::BadSignature);
    // `s` above the group's order: the same signature in another form.
    let mut other = image(PLANS[1], 11);
    other[offset_of!(ImageHeader, signature) + 63] |= 0xf0;
    refused(&other, Refusal::BadSignature);
}

#[test]
fn another_key_is_refused() {
    let stranger = SigningKey::from_bytes(&[8; 32]);
    refused(&sign(PLANS[1], 11, choice(&stranger)), Refusal::WrongKey);
    // The name of the right key does not help.
    let mut renamed = sign(PLANS[1], 11, choice(&stranger));
    let place = offset_of!(ImageHeader, key);
    let right = image(PLANS[1], 11);
    renamed[..HEADER_LEN - 64].copy_from_slice(&right[..HEADER_LEN - 64]);
    assert_eq!(renamed[place..][..8], right[place..][..8]);
    refused(&renamed, Refusal::BadSignature);
}

#[test]
fn another_core_is_refused() {
    let key = key();
    let target = Target::CortexM55;
    let image = sign(
        PLANS[1],
        11,
        Choice {
            target,
            ..choice(&key)
        },
    );
    let found = Target::CortexM55.code();
    let device = Target::CortexM4f.code();
    refused(&image, Refusal::WrongTarget { found, device });
    let target = Target::Any;
    let image = sign(
        PLANS[1],
        11,
        Choice {
            target,
            ..choice(&key)
        },
    );
    assert_eq!(receive(&mut device_with_10(), &image), Ok(11));
}

#[test]
fn an_older_version_is_refused_unless_it_is_signed_to_be_taken() {
    for offered in [0, 9, 10] {
        let running = 10;
        refused(
            &image(PLANS[1], offered),
            Refusal::NotNewer { offered, running },
        );
    }
    let key = key();
    let flags = flags::ALLOW_OLDER;
    let older = sign(
        PLANS[1],
        9,
        Choice {
            flags,
            ..choice(&key)
        },
    );
    let mut slots = device_with_10();
    assert_eq!(receive(&mut slots, &older), Ok(9));
    assert_eq!(boot(&mut slots), Some(9));
    slots.confirm().unwrap();
    assert_eq!(boot(&mut slots), Some(9));
    // The flag is signed.
    let mut forged = image(PLANS[1], 9);
    forged[offset_of!(ImageHeader, flags)] = 1;
    refused(&forged, Refusal::Corrupt);
}

#[test]
fn truncated_and_longer_images_are_refused() {
    let image = image(PLANS[1], 11);
    let len = image.len() as u32;
    refused(
        &image[..image.len() - 7],
        Refusal::Length {
            expected: len,
            found: len - 7,
        },
    );
    refused(
        &[&image[..], &[0]].concat(),
        Refusal::Length {
            expected: len,
            found: len + 1,
        },
    );
    refused(&image[..HEADER_LEN - 1], Refusal::NotAnImage);
    refused(&[0; 300], Refusal::NotAnImage);
    refused(PLANS[0], Refusal::NotAnImage);
    // Ended before its time.
    let mut slots = device_with_10();
    let mut receiver = Receiver::begin(&mut slots, len).unwrap();
    receiver.write(&mut slots, &image[..1000]).unwrap();
    assert_eq!(
        receiver.finish(&mut slots),
        Err(Error::Refused(Refusal::Length {
            expected: len,
            found: 1000
        }))
    );
    assert_eq!(slots.state(Slot::B), State::Receiving);
    assert_eq!(boot(&mut slots), Some(10));
}

#[test]
fn damage_anywhere_behind_the_header_is_found() {
    let image = image(PLANS[1], 11);
    for at in (HEADER_LEN..image.len()).step_by(61) {
        let mut damaged = image.clone();
        damaged[at] ^= 0x10;
        let mut slots = device_with_10();
        assert_eq!(
            receive(&mut slots, &damaged),
            Err(Refusal::Corrupt.into()),
            "byte {at}"
        );
        assert_eq!(boot(&mut slots), Some(10));
    }
}

#[test]
fn too_large_for_the_device_is_refused() {
    let room = 0x4000 - 128;
    let long = vec![0; room + 1];
    let len = long.len() as u32;
    refused(
        &long,
        Refusal::TooLong {
            len,
            room: room as u32,
        },
    );
    let mut small = device();
    small.arena_len = 16;
    let mut slots = Slots::new(Nor::new(0x8000), LAYOUT, small).unwrap();
    let result = receive(&mut slots, &image(PLANS[1], 1));
    assert!(
        matches!(
            result,
            Err(Error::Refused(Refusal::Arena { given: 16, .. }))
        ),
        "{result:?}"
    );
}

#[test]
fn a_header_for_a_later_device_is_refused() {
    let later = |field: usize, value: u8| {
        let mut image = image(PLANS[1], 11);
        image[field] = value;
        image
    };
    refused(
        &later(offset_of!(ImageHeader, version), 2),
        Refusal::HeaderVersion {
            found: 2,
            supported: 1,
        },
    );
    refused(
        &later(offset_of!(ImageHeader, features), 4),
        Refusal::Features { missing: 4 },
    );
    refused(
        &later(offset_of!(ImageHeader, flags), 8),
        Refusal::Features { missing: 8 },
    );
    let supported = u32::from(kinglet::format::VERSION);
    refused(
        &later(offset_of!(ImageHeader, plan_format), 99),
        Refusal::PlanFormat {
            found: 99,
            supported,
        },
    );
}

#[test]
fn nothing_is_received_while_a_model_is_on_trial() {
    let mut slots = device_with_10();
    receive(&mut slots, &image(PLANS[1], 11)).unwrap();
    assert_eq!(boot(&mut slots), Some(11));
    assert_eq!(
        receive(&mut slots, &image(PLANS[2], 12)),
        Err(Refusal::OnTrial.into())
    );
    slots.confirm().unwrap();
    assert_eq!(receive(&mut slots, &image(PLANS[2], 12)), Ok(12));
}

#[test]
fn a_failed_self_test_rolls_back_and_says_why() {
    let mut slots = device_with_10();
    receive(&mut slots, &image(&failing(PLANS[1]), 11)).unwrap();
    assert_eq!(slots.state(Slot::B), State::Pending);
    assert_eq!(boot(&mut slots), Some(10));
    assert_eq!(slots.failed(), Some((11, Fault::SelfTest)));
    assert_eq!(slots.state(Slot::B), State::Bad);
    // Also after a reset.
    let mut slots = Slots::new(slots.release(), LAYOUT, device()).unwrap();
    assert_eq!(boot(&mut slots), Some(10));
    assert_eq!(slots.failed(), Some((11, Fault::SelfTest)));
    // A better one of the same version is taken, for it never ran.
    assert_eq!(receive(&mut slots, &image(PLANS[1], 11)), Ok(11));
    assert_eq!(boot(&mut slots), Some(11));
    assert_eq!(slots.failed(), None);
}

#[test]
fn a_reset_on_trial_rolls_back_and_says_why() {
    let mut slots = device_with_10();
    receive(&mut slots, &image(PLANS[1], 11)).unwrap();
    assert_eq!(boot(&mut slots), Some(11));
    let mut slots = Slots::new(slots.release(), LAYOUT, device()).unwrap();
    assert_eq!(boot(&mut slots), Some(10));
    assert_eq!(slots.failed(), Some((11, Fault::Unconfirmed)));
}

#[test]
fn flash_that_loses_a_bit_brings_the_model_before_it_back() {
    let mut slots = device_with_10();
    receive(&mut slots, &image(PLANS[1], 11)).unwrap();
    assert_eq!(boot(&mut slots), Some(11));
    slots.confirm().unwrap();
    let mut flash = slots.release();
    flash.memory[0x4000 + 128 + HEADER_LEN + 700] ^= 2;
    let mut slots = Slots::new(flash, LAYOUT, device()).unwrap();
    assert_eq!(boot(&mut slots), Some(10));
    assert_eq!(slots.failed(), Some((11, Fault::Damaged)));
}

#[test]
fn layouts_that_do_not_fit_are_refused() {
    let fits = |a, b, len| Slots::new(Nor::new(0x8000), Layout { a, b, len }, device()).is_ok();
    assert!(fits(0, 0x4000, 0x4000) && fits(0x4000, 0, 0x4000));
    for (a, b, len) in [
        (0, 0x3000, 0x4000),
        (0, 0x4000, 0x5000),
        (0x10, 0x4000, 0x3000),
        (0, 0x4000, 0x3010),
        (0, 0, 0),
        (0, u32::MAX - 0xfff, 0x1000),
    ] {
        assert!(!fits(a, b, len), "{a:#x} {b:#x} {len:#x}");
    }
}

proptest! {
    /// Headers of any bytes, and of good ones with some bytes changed.
    #[test]
    fn any_header_is_read_or_refused(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..300),
        start in 0usize..2,
        changes in proptest::collection::vec((0usize..HEADER_LEN, any::<u8>()), 0..4),
    ) {
        if start == 1 {
            bytes = image(PLANS[0], 1);
            for (at, value) in changes {
                bytes[at] = value;
            }
        }
        if let Ok(header) = ImageHeader::parse(&bytes) {
            let _ = header.check(&device(), 1 << 20);
            let _ = header.image_len();
        }
    }

    /// A flash of any bytes: a boot that ends, and nothing that runs.
    #[test]
    fn any_flash_boots(seed in any::<u64>(), image_there in any::<bool>(), changes in proptest::collection::vec((0usize..0x8000, any::<u8>()), 0..40)) {
        let mut flash = Nor::new(0x8000);
        if image_there {
            flash = device_with_10().release();
            for (at, value) in &changes {
                flash.memory[*at] = *value;
            }
        } else {
            let mut bits = seed | 1;
            for byte in &mut flash.memory {
                bits ^= bits << 13;
                bits ^= bits >> 7;
                bits ^= bits << 17;
                *byte = bits as u8;
            }
        }
        let mut slots = Slots::new(flash, LAYOUT, device()).unwrap();
        let version = boot(&mut slots);
        prop_assert!(version.is_none() || image_there);
        // Whatever was there, an image can be received.
        prop_assert_eq!(receive(&mut slots, &image(PLANS[1], 11)), Ok(11));
    }
}
