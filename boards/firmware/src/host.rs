//! The host's files and the emulator's exit, by semihosting: the operations and numbers are Arm's, on every architecture.

use crate::arch;
use crate::failure::Failure;
use core::ffi::CStr;

const SYS_OPEN: usize = 0x01;
const SYS_WRITE: usize = 0x05;
const SYS_READ: usize = 0x06;
const SYS_SEEK: usize = 0x0a;
const SYS_FLEN: usize = 0x0c;
const SYS_EXIT_EXTENDED: usize = 0x20;
/// `ADP_Stopped_ApplicationExit`.
const APPLICATION_EXIT: usize = 0x2_0026;

/// How a file is opened: the mode numbers of semihosting.
#[derive(Clone, Copy)]
enum Mode {
    Read = 1,
    Write = 5,
}

/// One request to the host; every parameter block has at most three words.
fn call(operation: usize, block: [usize; 3]) -> usize {
    // SAFETY: the host reads the block and, for SYS_READ, writes the buffer that the block names; both outlive the
    // request, and the methods below borrow the buffers accordingly.
    unsafe { arch::request(operation, &block) }
}

/// The files that the firmware and the host exchange, in the emulator's working directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, defmt::Format)]
pub enum Name {
    /// `plan.bin`.
    Plan,
    /// `input.bin`.
    Input,
    /// `output.bin`.
    Output,
    /// `report.bin`.
    Report,
    /// `steps.bin`.
    Steps,
    /// The emulator's standard output.
    StandardOutput,
}

impl Name {
    fn path(self) -> &'static CStr {
        match self {
            Name::Plan => c"plan.bin",
            Name::Input => c"input.bin",
            Name::Output => c"output.bin",
            Name::Report => c"report.bin",
            Name::Steps => c"steps.bin",
            Name::StandardOutput => c":tt",
        }
    }
}

/// A file of the host. It stays open until the emulator exits.
#[derive(Clone, Copy)]
pub struct File {
    handle: usize,
    name: Name,
}

impl File {
    /// Opens a file to read.
    ///
    /// # Errors
    /// The host cannot open it.
    pub fn open(name: Name) -> Result<File, Failure> {
        Self::with_mode(name, Mode::Read)
    }

    /// Makes a file to write.
    ///
    /// # Errors
    /// The host cannot make it.
    pub fn create(name: Name) -> Result<File, Failure> {
        Self::with_mode(name, Mode::Write)
    }

    fn with_mode(name: Name, mode: Mode) -> Result<File, Failure> {
        let path = name.path();
        let handle = call(
            SYS_OPEN,
            [path.as_ptr().addr(), mode as usize, path.count_bytes()],
        );
        if handle == usize::MAX {
            Err(Failure::Open(name))
        } else {
            Ok(File { handle, name })
        }
    }

    /// Fills as much of `bytes` as the file still has; the number of bytes filled.
    ///
    /// # Errors
    /// The host cannot read.
    pub fn read(&self, bytes: &mut [u8]) -> Result<usize, Failure> {
        let mut filled = 0;
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let missing = call(
                SYS_READ,
                [
                    self.handle,
                    rest.as_mut_ptr().expose_provenance(),
                    rest.len(),
                ],
            );
            match rest.len().checked_sub(missing) {
                None => return Err(Failure::Read(self.name)),
                Some(0) => break,
                Some(read) => filled += read,
            }
        }
        Ok(filled)
    }

    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// The host cannot write.
    #[inline(never)]
    pub fn write(&self, bytes: &[u8]) -> Result<(), Failure> {
        // Nothing is written to standard output by an empty request, and some hosts call it an error.
        if bytes.is_empty() {
            return Ok(());
        }
        match call(
            SYS_WRITE,
            [self.handle, bytes.as_ptr().expose_provenance(), bytes.len()],
        ) {
            0 => Ok(()),
            _ => Err(Failure::Write(self.name)),
        }
    }

    /// Goes to byte `position`.
    ///
    /// # Errors
    /// The host cannot seek.
    pub fn seek(&self, position: usize) -> Result<(), Failure> {
        match call(SYS_SEEK, [self.handle, position, 0]) {
            0 => Ok(()),
            _ => Err(Failure::Read(self.name)),
        }
    }

    /// Bytes in the file.
    ///
    /// # Errors
    /// The host cannot tell.
    pub fn len(&self) -> Result<usize, Failure> {
        match call(SYS_FLEN, [self.handle, 0, 0]) {
            usize::MAX => Err(Failure::Read(self.name)),
            length => Ok(length),
        }
    }

    /// Whether the file has no bytes.
    ///
    /// # Errors
    /// The host cannot tell.
    pub fn is_empty(&self) -> Result<bool, Failure> {
        self.len().map(|length| length == 0)
    }
}

/// Ends the emulator with this exit status.
pub fn exit(status: u8) -> ! {
    loop {
        call(SYS_EXIT_EXTENDED, [APPLICATION_EXIT, status.into(), 0]);
    }
}
