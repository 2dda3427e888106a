//! A NOR flash whose power fails.

use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash, check_erase, check_read, check_write,
};

/// What power leaves of the operation that it cut off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Cut {
    /// Nothing was done.
    Before,
    /// Every other byte was done.
    Half,
    /// Any bit may have been done.
    Garbled,
    /// All was done, and nobody was told.
    After,
}

pub(crate) const CUTS: [Cut; 4] = [Cut::Before, Cut::Half, Cut::Garbled, Cut::After];

/// A flash with words of `WORD` and blocks of `BLOCK` bytes. It panics when the rules are broken: a word is written once between
/// two erases.
#[derive(Clone)]
pub(crate) struct Flash<const WORD: usize, const BLOCK: usize> {
    pub(crate) memory: Vec<u8>,
    /// Operations so far: words written and blocks erased.
    pub(crate) operations: usize,
    /// The operation at which power fails.
    pub(crate) cut: Option<(usize, Cut)>,
    /// Power has failed.
    pub(crate) off: bool,
    random: u64,
}

impl<const WORD: usize, const BLOCK: usize> Flash<WORD, BLOCK> {
    pub(crate) fn new(len: usize) -> Self {
        Flash {
            memory: vec![0xff; len],
            operations: 0,
            cut: None,
            off: false,
            random: 1,
        }
    }

    /// Power comes back.
    pub(crate) fn on(&mut self) {
        self.off = false;
        self.cut = None;
    }

    fn bits(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    /// Changes `memory[at]` to `to` byte by byte, as far as the power reaches.
    fn change(&mut self, at: usize, to: &[u8]) -> Result<(), NorFlashErrorKind> {
        if self.off {
            return Err(NorFlashErrorKind::Other);
        }
        let cut = self.cut.filter(|(when, _)| *when == self.operations);
        self.operations += 1;
        for (index, &to) in to.iter().enumerate() {
            let done = match cut.map(|(_, cut)| cut) {
                None | Some(Cut::After) => 0xff,
                Some(Cut::Before) => 0,
                Some(Cut::Half) => 0xff * (index as u8 & 1),
                Some(Cut::Garbled) => (self.bits() >> 32) as u8,
            };
            let byte = &mut self.memory[at + index];
            *byte = (*byte & !done) | (to & done);
        }
        match cut {
            None => Ok(()),
            Some(_) => {
                self.off = true;
                Err(NorFlashErrorKind::Other)
            }
        }
    }
}

impl<const WORD: usize, const BLOCK: usize> ErrorType for Flash<WORD, BLOCK> {
    type Error = NorFlashErrorKind;
}

impl<const WORD: usize, const BLOCK: usize> ReadNorFlash for Flash<WORD, BLOCK> {
    const READ_SIZE: usize = if WORD < 16 { WORD } else { 16 };

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NorFlashErrorKind> {
        check_read(self, offset, bytes.len()).expect("reads are aligned and inside");
        if self.off {
            return Err(NorFlashErrorKind::Other);
        }
        bytes.copy_from_slice(&self.memory[offset as usize..][..bytes.len()]);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.memory.len()
    }
}

impl<const WORD: usize, const BLOCK: usize> NorFlash for Flash<WORD, BLOCK> {
    const WRITE_SIZE: usize = WORD;
    const ERASE_SIZE: usize = BLOCK;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFlashErrorKind> {
        check_erase(self, from, to).expect("erases are aligned and inside");
        for block in (from..to).step_by(BLOCK) {
            self.change(block as usize, &[0xff; BLOCK])?;
        }
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
        check_write(self, offset, bytes.len()).expect("writes are aligned and inside");
        for (index, word) in bytes.chunks(WORD).enumerate() {
            let at = offset as usize + index * WORD;
            assert!(
                self.off || self.memory[at..][..WORD].iter().all(|b| *b == 0xff),
                "the word at {at:#x} is written twice"
            );
            self.change(at, word)?;
        }
        Ok(())
    }
}
