//! Power fails at every write and every erase of updates that succeed, fail and are given up.

use super::flash::{CUTS, Cut, Flash};
use super::images::{PLANS, aligned, device, failing, image, outputs};
use kinglet::Plan;
use kinglet::slots::{Error, Layout, Receiver, Slots, Started};
use zerocopy::IntoBytes;

const SLOT: usize = 16 << 10;

/// Images of one life, and what the good ones answer.
struct World {
    images: Vec<Vec<u8>>,
    answers: Vec<Vec<u8>>,
    arena: Vec<u128>,
}

/// The model of version `FAILS` fails its self-test, that of `UNCONFIRMED` is never confirmed.
const FAILS: u32 = 3;
const UNCONFIRMED: u32 = 4;
const LAST: u32 = 5;

impl World {
    fn new() -> Self {
        let mut world = World {
            images: vec![Vec::new()],
            answers: vec![Vec::new()],
            arena: vec![0; 1 << 12],
        };
        for version in 1..=LAST {
            let plan = PLANS[version as usize % PLANS.len()];
            let bytes = match version {
                FAILS => failing(plan),
                _ => plan.to_vec(),
            };
            world.images.push(image(&bytes, version));
            let plan = Plan::parse(aligned(plan)).unwrap();
            let answer = outputs(&plan, world.arena.as_mut_bytes());
            world.answers.push(answer);
        }
        world
    }

    fn boot<const W: usize, const B: usize>(
        &mut self,
        slots: &mut Slots<Flash<W, B>>,
    ) -> Option<Started<'static>> {
        let bytes = |flash: &mut Flash<W, B>, model: &kinglet::slots::Model| {
            let plan = flash.memory.get(model.plan_offset as usize..)?;
            Some(aligned(plan.get(..model.plan_len as usize)?))
        };
        slots.start(bytes, self.arena.as_mut_bytes())
    }

    /// The model that runs answers as it should; its version.
    fn answers<const W: usize, const B: usize>(&mut self, slots: &mut Slots<Flash<W, B>>) -> u32 {
        let started = self.boot(slots).expect("a model runs");
        let answer = outputs(&started.plan, self.arena.as_mut_bytes());
        let version = started.model.version;
        assert_ne!(version, FAILS, "a model that fails its self-test runs");
        assert_eq!(answer, self.answers[version as usize], "version {version}");
        version
    }

    fn receive<const W: usize, const B: usize>(
        &self,
        slots: &mut Slots<Flash<W, B>>,
        version: u32,
    ) -> Result<(), Error> {
        let image = &self.images[version as usize];
        let mut receiver = Receiver::begin(slots, image.len() as u32)?;
        for part in image.chunks(97) {
            receiver.write(slots, part)?;
        }
        assert_eq!(receiver.finish(slots)?, version);
        Ok(())
    }

    /// The life of a device with version 1: an update, one whose self-test fails, one that is reset before it is confirmed.
    /// `confirmed` is the last version whose confirmation was seen. An error is a power cut.
    fn life<const W: usize, const B: usize>(
        &mut self,
        slots: &mut Slots<Flash<W, B>>,
        confirmed: &mut u32,
    ) -> Result<(), Error> {
        self.receive(slots, 2)?;
        let started = self.boot(slots).ok_or(Error::Layout)?;
        if started.model.version == 2 {
            slots.confirm()?;
            *confirmed = 2;
        }
        self.receive(slots, FAILS)?;
        // Power may fail while it is given up.
        let version = self.boot(slots).ok_or(Error::Layout)?.model.version;
        assert_eq!(version, *confirmed);
        self.receive(slots, UNCONFIRMED)?;
        let version = self.boot(slots).ok_or(Error::Layout)?.model.version;
        if slots.flash().off {
            return Err(Error::Layout);
        }
        assert_eq!(version, UNCONFIRMED);
        // The reset.
        let version = self.boot(slots).ok_or(Error::Layout)?.model.version;
        assert_eq!(version, *confirmed);
        Ok(())
    }
}

fn layout<const B: usize>() -> Layout {
    Layout {
        a: B as u32,
        b: (B + SLOT) as u32,
        len: SLOT as u32,
    }
}

/// A device with version 1.
fn delivered<const W: usize, const B: usize>(world: &mut World) -> Flash<W, B> {
    let flash = Flash::new(B + 2 * SLOT);
    let mut slots = Slots::new(flash, layout::<B>(), device()).unwrap();
    assert!(world.boot(&mut slots).is_none());
    world.receive(&mut slots, 1).unwrap();
    assert_eq!(world.answers(&mut slots), 1);
    slots.confirm().unwrap();
    assert_eq!(world.answers(&mut slots), 1);
    slots.release()
}

fn slots_of<const W: usize, const B: usize>(flash: Flash<W, B>) -> Slots<Flash<W, B>> {
    Slots::new(flash, layout::<B>(), device()).unwrap()
}

/// Every cut point, in every way.
fn every_cut<const W: usize, const B: usize>() {
    let mut world = World::new();
    let delivered: Flash<W, B> = delivered(&mut world);
    let first = delivered.operations;
    let mut slots = slots_of(delivered.clone());
    world.boot(&mut slots);
    world.life(&mut slots, &mut 1).unwrap();
    let last = slots.release().operations;
    let mut after = [0; LAST as usize + 1];
    for point in first..last {
        for cut in CUTS {
            let mut flash = delivered.clone();
            flash.cut = Some((point, cut));
            let mut slots = slots_of(flash);
            world.boot(&mut slots);
            let mut confirmed = 1;
            let ended = world.life(&mut slots, &mut confirmed);
            let mut flash = slots.release();
            assert!(flash.off, "power failed at {point}: {ended:?}");
            flash.on();
            let mut slots = slots_of(flash);
            let version = world.answers(&mut slots);
            assert!(
                version >= confirmed,
                "{cut:?} at {point}: version {version} runs after {confirmed} was confirmed"
            );
            after[version as usize] += 1;
            // A model on trial that nobody confirms is gone; then the one before it answers, and takes the next image.
            let version = world.answers(&mut slots);
            assert!(version >= confirmed && version < UNCONFIRMED);
            world.receive(&mut slots, LAST).unwrap();
            assert_eq!(world.answers(&mut slots), LAST);
            slots.confirm().unwrap();
            assert_eq!(world.answers(&mut slots), LAST);
        }
    }
    println!(
        "words of {W}, blocks of {B}: {} cut points, each in {} ways; booted next: {}",
        last - first,
        CUTS.len(),
        (1..=LAST)
            .filter(|version| after[*version as usize] > 0)
            .map(|version| format!("version {version} {} times", after[version as usize]))
            .collect::<Vec<_>>()
            .join(", ")
    );
}

#[test]
fn a_power_cut_anywhere_leaves_a_working_model_words_of_4() {
    every_cut::<4, 4096>();
}

#[test]
fn a_power_cut_anywhere_leaves_a_working_model_words_of_8() {
    every_cut::<8, 2048>();
}

#[test]
fn a_power_cut_anywhere_leaves_a_working_model_words_of_32() {
    every_cut::<32, 4096>();
}

#[test]
fn a_power_cut_anywhere_leaves_a_working_model_pages_of_256() {
    every_cut::<256, 4096>();
}

/// Many cuts one after the other, also while the device recovers from the one before.
#[test]
fn many_power_cuts_leave_a_working_model() {
    let mut world = World::new();
    let mut flash: Flash<8, 2048> = delivered(&mut world);
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    let mut bits = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let (mut cuts, mut lives) = (0, 0);
    let delivered = flash.clone();
    for _ in 0..200 {
        let mut confirmed = 1;
        flash = delivered.clone();
        // Up to six cuts in one life.
        for _ in 0..bits() % 6 + 1 {
            let ahead = match bits() % 4 {
                // Soon: while it boots or erases.
                0 => bits() % 8,
                _ => bits() % 3000,
            };
            let cut: Cut = CUTS[bits() as usize % CUTS.len()];
            flash.cut = Some((flash.operations + ahead as usize, cut));
            let mut slots = slots_of(flash);
            if world
                .boot(&mut slots)
                .is_some_and(|started| started.model.version < UNCONFIRMED)
            {
                let _ = slots.confirm().map(|()| {
                    confirmed = slots.running().map_or(confirmed, |model| model.version);
                });
                if confirmed == 1 {
                    let _ = world.life(&mut slots, &mut confirmed);
                } else {
                    let _ = world
                        .receive(&mut slots, FAILS)
                        .map(|()| world.boot(&mut slots).is_some());
                }
            }
            flash = slots.release();
            cuts += usize::from(flash.off);
            flash.on();
        }
        let mut slots = slots_of(flash.clone());
        assert!(world.answers(&mut slots) >= confirmed);
        lives += 1;
    }
    println!("{lives} lives with {cuts} power cuts");
}
