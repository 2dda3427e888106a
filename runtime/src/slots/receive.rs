//! Receiving an image, in parts of any length, from anywhere.

use super::error::{Error, Refusal};
use super::header::{HEADER_LEN, ImageHeader};
use super::mark::Mark;
use super::store::{PAGE, Slot, Slots};
use embedded_storage::nor_flash::NorFlash;

/// An image that is being received into the slot that does not run.
///
/// The header is checked before the slot is touched, so that an image for another device costs nothing. Blocks are erased one
/// by one when they are needed. To give up, drop it.
#[derive(Debug)]
pub struct Receiver {
    slot: Slot,
    len: u32,
    /// Bytes in flash.
    written: u32,
    /// First byte of the flash that is not erased yet.
    erased: u32,
    page: [u8; PAGE],
    filled: usize,
}

impl Receiver {
    /// Begins an image of `len` bytes.
    ///
    /// # Errors
    /// [`Refusal::OnTrial`], [`Refusal::TooLong`], [`Refusal::NotAnImage`] for one that is shorter than a header.
    pub fn begin<F: NorFlash>(slots: &mut Slots<F>, len: u32) -> Result<Self, Error> {
        if slots.running().is_some_and(|model| model.on_trial) {
            return Err(Refusal::OnTrial.into());
        }
        let room = slots.room();
        if len > room {
            return Err(Refusal::TooLong { len, room }.into());
        }
        if (len as usize) < HEADER_LEN {
            return Err(Refusal::NotAnImage.into());
        }
        let slot = slots.free_slot();
        Ok(Receiver {
            slot,
            len,
            written: 0,
            erased: slots.start_of(slot),
            page: [0xff; PAGE],
            filled: 0,
        })
    }

    /// Bytes that have come.
    pub fn received(&self) -> u32 {
        self.written + self.filled as u32
    }

    /// Takes the next bytes of the image.
    ///
    /// # Errors
    /// [`Refusal::Length`] for more than was announced, everything that [`ImageHeader::check`] refuses,
    /// [`Refusal::NotNewer`], [`Error::Flash`]. The image is lost then.
    pub fn write<F: NorFlash>(&mut self, slots: &mut Slots<F>, bytes: &[u8]) -> Result<(), Error> {
        let rest = self.len - self.received();
        if bytes.len() > rest as usize {
            return Err(Refusal::Length {
                expected: self.len,
                found: self.received().saturating_add(bytes.len() as u32),
            }
            .into());
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let count = rest.len().min(PAGE - self.filled);
            let (now, later) = rest.split_at_checked(count).unwrap_or((rest, &[]));
            for (to, from) in self.page.iter_mut().skip(self.filled).zip(now) {
                *to = *from;
            }
            self.filled += count;
            if self.filled == PAGE {
                self.flush(slots)?;
            }
            rest = later;
        }
        Ok(())
    }

    /// Ends the image: checks what is in flash, and makes it the one that the next boot tries. Its version.
    ///
    /// # Errors
    /// [`Refusal::Length`] when bytes are missing, [`Refusal::Corrupt`], [`Refusal::BadSignature`], and what
    /// [`write`](Self::write) says.
    pub fn finish<F: NorFlash>(mut self, slots: &mut Slots<F>) -> Result<u32, Error> {
        if self.received() != self.len {
            return Err(Refusal::Length {
                expected: self.len,
                found: self.received(),
            }
            .into());
        }
        if self.filled > 0 {
            self.flush(slots)?;
        }
        let header = slots.verify(self.slot)?;
        // What was checked first came over the wire; this is what will run.
        slots.check(&header)?;
        slots.mark(self.slot, Mark::Complete, 0)?;
        Ok(header.model_version.get())
    }

    /// Writes the page.
    fn flush<F: NorFlash>(&mut self, slots: &mut Slots<F>) -> Result<(), Error> {
        let image = slots.start_of(self.slot) + Slots::<F>::IMAGE;
        if self.written == 0 {
            self.check_header(slots)?;
            let sequence = slots.next_sequence(self.slot);
            // The marks go first: from here on the slot holds nothing.
            while self.erased < image {
                self.erased = slots.erase(self.erased)?;
            }
            slots.mark(self.slot, Mark::Begun, sequence)?;
        }
        let offset = image + self.written;
        let words = self.filled.next_multiple_of(F::WRITE_SIZE);
        while self.erased < offset + words as u32 {
            self.erased = slots.erase(self.erased)?;
        }
        slots.write(offset, self.page.get(..words).unwrap_or(&[]))?;
        self.written += self.filled as u32;
        self.filled = 0;
        self.page = [0xff; PAGE];
        Ok(())
    }

    fn check_header<F: NorFlash>(&self, slots: &Slots<F>) -> Result<(), Error> {
        let header = ImageHeader::parse(&self.page)?;
        slots.check(&header)?;
        match header.image_len() {
            Some(len) if len == self.len => Ok(()),
            len => Err(Refusal::Length {
                expected: len.unwrap_or(u32::MAX),
                found: self.len,
            }
            .into()),
        }
    }
}
