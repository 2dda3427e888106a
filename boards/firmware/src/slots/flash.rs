//! RAM with the rules of NOR flash: erasing sets the bits of a block, writing clears bits of words that are erased.

use core::ptr::with_exposed_provenance_mut;
use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash, check_erase, check_read, check_write,
};
use kinglet::slots::{Layout, Model};

const BLOCK: usize = 4096;
const WORD: usize = 8;
const SLOT: u32 = 512 << 10;
const LEN: usize = 2 * SLOT as usize;

/// Where the slots are in it.
pub(super) const LAYOUT: Layout = Layout {
    a: 0,
    b: SLOT,
    len: SLOT,
};

/// Tells memory that has been made flash from memory that has just got power.
const FORMATTED: u64 = 0x6d61_6c66_5f6d_6172;

/// The flash.
pub(super) struct RamFlash {
    start: *mut u8,
}

impl RamFlash {
    /// A flash in the memory at an address with so many bytes; erased when it has just got power. `None` where there is too
    /// little.
    ///
    /// # Safety
    /// The memory exists, is aligned to 16 bytes, and nothing else uses it, ever.
    pub(super) unsafe fn new((address, available): (usize, usize)) -> Option<Self> {
        if available < LEN + BLOCK {
            return None;
        }
        let start = with_exposed_provenance_mut::<u8>(address);
        let note = start.wrapping_add(LEN).cast::<u64>();
        // SAFETY: inside the memory, by the length above; volatile, for the memory keeps what was there before the program.
        unsafe {
            if note.read_volatile() != FORMATTED {
                start.write_bytes(0xff, LEN);
                note.write_volatile(FORMATTED);
            }
        }
        Some(RamFlash { start })
    }

    /// The plan of `model`.
    ///
    /// # Safety
    /// Its slot is not written to while the plan is used.
    pub(super) unsafe fn mapped(&self, model: &Model) -> Option<&'static [u8]> {
        let (offset, len) = (model.plan_offset as usize, model.plan_len as usize);
        check_read(self, model.plan_offset, len).ok()?;
        // SAFETY: inside the memory, and not written to by the caller's contract.
        Some(unsafe { core::slice::from_raw_parts(self.start.wrapping_add(offset), len) })
    }
}

impl ErrorType for RamFlash {
    type Error = NorFlashErrorKind;
}

impl ReadNorFlash for RamFlash {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NorFlashErrorKind> {
        check_read(self, offset, bytes.len())?;
        let from = self.start.wrapping_add(offset as usize);
        // SAFETY: inside the memory, which the buffer is no part of.
        unsafe { from.copy_to_nonoverlapping(bytes.as_mut_ptr(), bytes.len()) };
        Ok(())
    }

    fn capacity(&self) -> usize {
        LEN
    }
}

impl NorFlash for RamFlash {
    const WRITE_SIZE: usize = WORD;
    const ERASE_SIZE: usize = BLOCK;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFlashErrorKind> {
        check_erase(self, from, to)?;
        let start = self.start.wrapping_add(from as usize);
        // SAFETY: inside the memory, and of no plan that is used.
        unsafe { start.write_bytes(0xff, (to - from) as usize) };
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
        check_write(self, offset, bytes.len())?;
        let start = self.start.wrapping_add(offset as usize);
        for (index, byte) in bytes.iter().enumerate() {
            let to = start.wrapping_add(index);
            // SAFETY: inside the memory, and of no plan that is used.
            unsafe {
                if to.read() != 0xff {
                    return Err(NorFlashErrorKind::Other);
                }
                to.write(*byte);
            }
        }
        Ok(())
    }
}
