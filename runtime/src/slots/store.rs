//! The two slots: which model starts, and what becomes of it.

use super::error::{Error, Fault, Refusal};
use super::header::{Device, HEADER_LEN, ImageHeader};
use super::mark::{self, Found, MARK_LEN, MARKS, Mark, State};
use super::signature::Verification;
use crate::format::{ALL_OPS, CRC};
use crate::plan::Plan;
use crate::session::Session;
use embedded_storage::nor_flash::NorFlash;

/// Bytes that are read, checked or written at once; the largest word of a flash that is taken.
pub(super) const PAGE: usize = 256;

/// One of the two slots.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Slot {
    /// The first.
    A,
    /// The second.
    B,
}

impl Slot {
    /// Both.
    pub const BOTH: [Slot; 2] = [Slot::A, Slot::B];

    /// The one that this is not.
    pub fn other(self) -> Slot {
        match self {
            Slot::A => Slot::B,
            Slot::B => Slot::A,
        }
    }
}

/// Where the slots are in the flash: offsets and lengths in bytes, multiples of its erase size and of 16.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layout {
    /// Start of slot A.
    pub a: u32,
    /// Start of slot B.
    pub b: u32,
    /// Bytes of each.
    pub len: u32,
}

/// A model in a slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Model {
    /// In which slot.
    pub slot: Slot,
    /// Its version.
    pub version: u32,
    /// Whether it has not been confirmed yet.
    pub on_trial: bool,
    /// Where its plan begins, in the flash; a multiple of 16.
    pub plan_offset: u32,
    /// Bytes of the plan.
    pub plan_len: u32,
}

/// A model that has started: see [`Slots::start`].
#[derive(Clone, Copy, Debug)]
pub struct Started<'p> {
    /// Which one.
    pub model: Model,
    /// Its plan.
    pub plan: Plan<'p>,
}

/// Two slots for models in a flash.
#[derive(Debug)]
pub struct Slots<F> {
    flash: F,
    layout: Layout,
    device: Device,
    running: Option<Model>,
    failed: Option<(u32, Fault)>,
}

/// A slot's marks.
#[derive(Clone, Copy)]
struct Record {
    slot: Slot,
    state: State,
    sequence: u32,
    fault: Fault,
}

impl<F: NorFlash> Slots<F> {
    /// Bytes of a mark in flash: one word, or several.
    const UNIT: usize = if F::WRITE_SIZE > MARK_LEN {
        F::WRITE_SIZE
    } else {
        MARK_LEN
    };
    /// Offset of the image in its slot.
    pub(super) const IMAGE: u32 = MARKS * Self::UNIT as u32;

    /// The slots of `layout` in `flash`, for models that `device` takes. Touches nothing.
    ///
    /// # Errors
    /// [`Error::Layout`].
    pub fn new(flash: F, layout: Layout, device: Device) -> Result<Self, Error> {
        let fits = |start: u32| {
            let end = u64::from(start) + u64::from(layout.len);
            let aligned = |n: u32| n.is_multiple_of(F::ERASE_SIZE as u32) && n.is_multiple_of(16);
            end <= flash.capacity() as u64
                && end <= u64::from(u32::MAX)
                && aligned(start)
                && aligned(layout.len)
        };
        let word = |size: usize, most: usize| size.is_power_of_two() && size <= most;
        let ok = word(F::WRITE_SIZE, PAGE)
            && word(F::READ_SIZE, MARK_LEN)
            && F::ERASE_SIZE.is_multiple_of(Self::UNIT)
            && layout.a.abs_diff(layout.b) >= layout.len
            && layout.len > Self::IMAGE + HEADER_LEN as u32
            && fits(layout.a)
            && fits(layout.b);
        ok.then_some(Slots {
            flash,
            layout,
            device,
            running: None,
            failed: None,
        })
        .ok_or(Error::Layout)
    }

    /// Bytes of the longest image.
    pub fn room(&self) -> u32 {
        self.layout.len - Self::IMAGE
    }

    /// What the device takes.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The model that [`boot`](Self::boot) chose.
    pub fn running(&self) -> Option<Model> {
        self.running
    }

    /// Version of the model that was given up last, if it was newer than the one that runs, and why.
    pub fn failed(&self) -> Option<(u32, Fault)> {
        self.failed
    }

    /// The state of a slot.
    pub fn state(&mut self, slot: Slot) -> State {
        self.record(slot).state
    }

    /// The flash, to read plans from.
    pub fn flash(&mut self) -> &mut F {
        &mut self.flash
    }

    /// The flash back.
    pub fn release(self) -> F {
        self.flash
    }

    /// Chooses the model to run: the newest that is confirmed, or one that has not been started yet, which is then on trial.
    /// Checksum and signature of what is chosen have been checked. A model that was on trial and has not been confirmed since is
    /// given up. `None` when there is no model.
    ///
    /// A slot that cannot be read is passed over: a device whose flash fails in one slot runs the other one.
    pub fn boot(&mut self) -> Option<Model> {
        self.running = None;
        let mut records = Slot::BOTH.map(|slot| self.record(slot));
        records.sort_unstable_by_key(|record| core::cmp::Reverse(record.sequence));
        self.failed = None;
        for record in records {
            let slot = record.slot;
            match record.state {
                State::Pending => match self.verify(slot) {
                    // One that cannot be marked as tried would be tried for ever.
                    Ok(header) => match self.mark(slot, Mark::Tried, 0) {
                        Ok(()) => return Some(self.run(slot, &header, true)),
                        Err(_) => self.failed = Some((header.model_version.get(), Fault::Damaged)),
                    },
                    Err(_) => self.give_up(slot, Fault::Damaged),
                },
                State::Testing => self.give_up(slot, Fault::Unconfirmed),
                State::Confirmed => match self.verify(slot) {
                    Ok(header) => return Some(self.run(slot, &header, false)),
                    Err(_) => self.note(slot, Fault::Damaged),
                },
                State::Bad => self.note(slot, record.fault),
                State::Empty | State::Receiving => {}
            }
        }
        None
    }

    /// Boots, and starts the model that was chosen: parses its plan and, when it is on trial, runs its self-test in `arena`. One
    /// that fails is given up and the next one chosen. `None` when there is no model that works.
    ///
    /// `bytes` gives the plan's bytes: of flash that is mapped into memory, or copied from there with [`read`](Self::read) to an
    /// address that is a multiple of 16. They must not change while the model runs; the slots write to the other one only.
    ///
    /// A model on trial is then for [`confirm`](Self::confirm), when the application has seen what it wants to see.
    pub fn start<'p>(
        &mut self,
        bytes: impl FnMut(&mut F, &Model) -> Option<&'p [u8]>,
        arena: &mut [u8],
    ) -> Option<Started<'p>> {
        self.start_for::<ALL_OPS>(bytes, arena)
    }

    /// As [`start`](Self::start), for models with operators of the set `OPS` only.
    pub fn start_for<'p, const OPS: u128>(
        &mut self,
        mut bytes: impl FnMut(&mut F, &Model) -> Option<&'p [u8]>,
        arena: &mut [u8],
    ) -> Option<Started<'p>> {
        // Each turn gives a slot up, or ends.
        for _ in Slot::BOTH {
            let model = self.boot()?;
            let started = bytes(&mut self.flash, &model)
                .ok_or(Fault::Damaged)
                .and_then(|bytes| try_out::<OPS>(&model, bytes, arena));
            match started {
                Ok(plan) => return Some(Started { model, plan }),
                // What cannot be marked is given up at the next boot.
                Err(fault) => drop(self.reject(fault)),
            }
        }
        None
    }

    /// The model on trial stays. Does nothing for one that is not on trial.
    ///
    /// # Errors
    /// [`Error::Flash`]: the next boot gives the model up. [`Refusal::NotReceiving`] when no model runs.
    pub fn confirm(&mut self) -> Result<(), Error> {
        let mut model = self.running.ok_or(Refusal::NotReceiving)?;
        if model.on_trial {
            self.mark(model.slot, Mark::Confirmed, 0)?;
            model.on_trial = false;
            self.running = Some(model);
        }
        Ok(())
    }

    /// Gives the running model up: the next boot chooses the one before it.
    ///
    /// # Errors
    /// [`Error::Flash`]. [`Refusal::NotReceiving`] when no model runs.
    pub fn reject(&mut self, fault: Fault) -> Result<(), Error> {
        let model = self.running.take().ok_or(Refusal::NotReceiving)?;
        self.failed = Some((model.version, fault));
        self.mark(model.slot, Mark::Bad, fault as u32)
    }

    /// Copies the first bytes of `model`'s plan to `bytes`, or the whole plan when there is room.
    ///
    /// # Errors
    /// [`Error::Flash`].
    pub fn read<'b>(&mut self, model: &Model, bytes: &'b mut [u8]) -> Result<&'b [u8], Error> {
        let len = (model.plan_len as usize).min(bytes.len());
        let (plan, _) = bytes.split_at_mut_checked(len).ok_or(Error::Layout)?;
        let mut offset = model.plan_offset;
        for part in plan.chunks_mut(PAGE) {
            let mut page = [0; PAGE];
            self.read_page(offset, &mut page, part.len())?;
            for (to, from) in part.iter_mut().zip(&page) {
                *to = *from;
            }
            offset += PAGE as u32;
        }
        Ok(plan)
    }

    /// The slot for the next image: the one that does not run.
    pub(super) fn free_slot(&mut self) -> Slot {
        if let Some(model) = self.running {
            return model.slot.other();
        }
        // Without a model that runs, what looks most like one is kept.
        let [a, b] = Slot::BOTH.map(|slot| self.record(slot));
        let worth = |record: &Record| match record.state {
            State::Confirmed => 2,
            State::Pending => 1,
            _ => 0,
        };
        match (worth(&a), a.sequence) > (worth(&b), b.sequence) {
            true => Slot::B,
            false => Slot::A,
        }
    }

    /// The sequence number for the next image in `slot`: above that of the other slot.
    pub(super) fn next_sequence(&mut self, slot: Slot) -> u32 {
        self.record(slot.other()).sequence.saturating_add(1)
    }

    /// Offset in the flash of a slot.
    pub(super) fn start_of(&self, slot: Slot) -> u32 {
        match slot {
            Slot::A => self.layout.a,
            Slot::B => self.layout.b,
        }
    }

    /// Whether the header's model may come after the one that runs.
    pub(super) fn check(&self, header: &ImageHeader) -> Result<(), Refusal> {
        header.check(&self.device, self.room())?;
        match self.running {
            Some(running)
                if header.model_version.get() <= running.version && !header.allows_older() =>
            {
                Err(Refusal::NotNewer {
                    offered: header.model_version.get(),
                    running: running.version,
                })
            }
            _ => Ok(()),
        }
    }

    /// Checks the image in `slot` as it is in flash: header, checksum, signature.
    pub(super) fn verify(&mut self, slot: Slot) -> Result<ImageHeader, Error> {
        let start = self.start_of(slot) + Self::IMAGE;
        let header = self.header(slot)?;
        header.check(&self.device, self.room())?;
        let mut crc = CRC.digest();
        crc.update(header.checked());
        let mut verification =
            Verification::new(&self.device.key, &header.signature).ok_or(Refusal::BadSignature);
        if let Ok(verification) = &mut verification {
            verification.update(header.signed());
        }
        let (mut offset, mut rest) = (start + HEADER_LEN as u32, header.plan_len.get() as usize);
        while rest > 0 {
            let mut page = [0; PAGE];
            let count = rest.min(PAGE);
            self.read_page(offset, &mut page, count)?;
            let part = page.get(..count).unwrap_or(&[]);
            crc.update(part);
            if let Ok(verification) = &mut verification {
                verification.update(part);
            }
            offset += count as u32;
            rest -= count;
        }
        if crc.finalize() != header.crc.get() {
            return Err(Refusal::Corrupt.into());
        }
        match verification?.finish() {
            true => Ok(header),
            false => Err(Refusal::BadSignature.into()),
        }
    }

    /// Writes a mark, and looks whether it is there.
    pub(super) fn mark(&mut self, slot: Slot, mark: Mark, value: u32) -> Result<(), Error> {
        let offset = self.mark_offset(slot, mark);
        let mut unit = [0xff; PAGE];
        for (to, from) in unit.iter_mut().zip(mark::encode(mark, value)) {
            *to = from;
        }
        // A mark that power cut off counts as bad, tried or not there: a second write would be against the flash's rules.
        if self.find(slot, mark) == Found::Erased {
            self.write(offset, unit.get(..Self::UNIT).unwrap_or(&[]))?;
        }
        match self.find(slot, mark) {
            Found::Set(found) if found == value => Ok(()),
            _ => Err(Error::Flash { offset }),
        }
    }

    pub(super) fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Error> {
        let failed = Error::Flash { offset };
        self.flash.write(offset, bytes).map_err(|_| failed)
    }

    /// Erases the block at `offset`; where the next one begins.
    pub(super) fn erase(&mut self, offset: u32) -> Result<u32, Error> {
        let end = offset + F::ERASE_SIZE as u32;
        let failed = Error::Flash { offset };
        self.flash.erase(offset, end).map_err(|_| failed)?;
        Ok(end)
    }

    fn run(&mut self, slot: Slot, header: &ImageHeader, on_trial: bool) -> Model {
        let model = Model {
            slot,
            version: header.model_version.get(),
            on_trial,
            plan_offset: self.start_of(slot) + Self::IMAGE + HEADER_LEN as u32,
            plan_len: header.plan_len.get(),
        };
        self.running = Some(model);
        model
    }

    fn give_up(&mut self, slot: Slot, fault: Fault) {
        self.note(slot, fault);
        // It is not chosen without the mark, either.
        let _ = self.mark(slot, Mark::Bad, fault as u32);
    }

    /// Remembers that the model in `slot`, which is newer than the one that will run, does not.
    fn note(&mut self, slot: Slot, fault: Fault) {
        let version = self.header(slot).map_or(0, |h| h.model_version.get());
        self.failed = Some((version, fault));
    }

    fn header(&mut self, slot: Slot) -> Result<ImageHeader, Error> {
        let mut page = [0; PAGE];
        let offset = self.start_of(slot) + Self::IMAGE;
        self.read_page(offset, &mut page, HEADER_LEN)?;
        Ok(ImageHeader::parse(&page)?)
    }

    fn record(&mut self, slot: Slot) -> Record {
        let marks = [
            Mark::Begun,
            Mark::Complete,
            Mark::Tried,
            Mark::Confirmed,
            Mark::Bad,
        ]
        .map(|mark| self.find(slot, mark));
        let [begun, .., bad] = marks;
        let value = |found| match found {
            Found::Set(value) => value,
            _ => 0,
        };
        Record {
            slot,
            state: mark::state(marks),
            sequence: value(begun),
            fault: Fault::from_code(value(bad)),
        }
    }

    /// A mark; one that cannot be read is torn.
    fn find(&mut self, slot: Slot, mark: Mark) -> Found {
        let mut bytes = [0; MARK_LEN];
        let offset = self.mark_offset(slot, mark);
        match self.flash.read(offset, &mut bytes) {
            Ok(()) => mark::decode(mark, &bytes),
            Err(_) => Found::Torn,
        }
    }

    fn mark_offset(&self, slot: Slot, mark: Mark) -> u32 {
        self.start_of(slot) + mark as u32 * Self::UNIT as u32
    }

    /// Reads `len` bytes, and those behind them that fill the last word.
    fn read_page(&mut self, offset: u32, page: &mut [u8; PAGE], len: usize) -> Result<(), Error> {
        let failed = Error::Flash { offset };
        let words = len.next_multiple_of(MARK_LEN);
        let part = page.get_mut(..words).ok_or(failed)?;
        self.flash.read(offset, part).map_err(|_| failed)
    }
}

/// Parses the plan and, when it is on trial, runs its self-test.
fn try_out<'p, const OPS: u128>(
    model: &Model,
    bytes: &'p [u8],
    arena: &mut [u8],
) -> Result<Plan<'p>, Fault> {
    let plan = Plan::parse_for::<OPS>(bytes).map_err(|_| Fault::Plan)?;
    let mut session = Session::<OPS>::new(plan, arena).map_err(|_| Fault::Plan)?;
    if model.on_trial {
        session.self_test().map_err(|_| Fault::SelfTest)?;
        // States begin with zeroes.
        arena.fill(0);
    }
    Ok(plan)
}
