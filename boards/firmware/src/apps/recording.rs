//! Reading recordings from the host.

use crate::failure::Failure;
use crate::host::{File, Name};

/// `input.bin`, read from its start.
pub(super) struct Recordings {
    file: File,
    number: u32,
}

/// What is left of one recording.
pub(super) struct Recording {
    file: File,
    rest: usize,
}

impl Recordings {
    pub(super) fn open() -> Result<Self, Failure> {
        let file = File::open(Name::Input)?;
        Ok(Recordings { file, number: 0 })
    }

    /// A recording of one `f32`.
    pub(super) fn number(&mut self) -> Result<f32, Failure> {
        let mut bytes = [0; 4];
        let (_, mut recording) = self.next()?.ok_or(Failure::SampleCutOff)?;
        if recording.read(&mut bytes)? {
            Ok(f32::from_le_bytes(bytes))
        } else {
            Err(Failure::SampleCutOff)
        }
    }

    /// The next recording and its number, from 0.
    ///
    /// Recordings are read to their end before the next one is asked for.
    pub(super) fn next(&mut self) -> Result<Option<(u32, Recording)>, Failure> {
        let mut length = [0; 4];
        match self.file.read(&mut length)? {
            0 => return Ok(None),
            4 => {}
            _ => return Err(Failure::SampleCutOff),
        }
        let rest = u32::from_le_bytes(length) as usize;
        let file = self.file;
        let number = self.number;
        self.number += 1;
        Ok(Some((number, Recording { file, rest })))
    }
}

impl Recording {
    /// Bytes left.
    pub(super) fn rest(&self) -> usize {
        self.rest
    }

    /// Fills `bytes`; `false` when there are fewer left, which are skipped.
    pub(super) fn read(&mut self, bytes: &mut [u8]) -> Result<bool, Failure> {
        let count = bytes.len().min(self.rest);
        let part = bytes.get_mut(..count).ok_or(Failure::SampleCutOff)?;
        if self.file.read(part)? != count {
            return Err(Failure::SampleCutOff);
        }
        self.rest -= count;
        Ok(count == bytes.len())
    }
}
