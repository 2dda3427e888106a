//! An emulated device that gets its models by its UART: the program of `boards/firmware/src/slots`, with the UART on a TCP port of
//! this machine.

use super::firmware::{Build, Program};
use super::{Board, EmulateError, file_error, firmware, qemu};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

const START: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);

/// An emulated device; it ends when it is dropped.
pub struct SlotsDevice {
    // Ended before its folder is removed.
    _emulator: qemu::Emulator,
    work: tempfile::TempDir,
    elf: Vec<u8>,
    port: String,
}

impl SlotsDevice {
    /// Its port, as `kinglet push` takes it.
    pub fn port(&self) -> &str {
        &self.port
    }

    /// What it has logged so far, one line a message.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn log(&self) -> Result<Vec<String>, EmulateError> {
        qemu::log(&self.elf, self.work.path())
    }

    /// The linked firmware.
    pub fn image(&self) -> PathBuf {
        self.work.path().join("firmware.elf")
    }
}

/// Builds the firmware with the public key of its models' images, and starts it without a model. `progress` hears of everything
/// that takes time.
///
/// # Errors
///
/// As [`super::emulate`]; [`EmulateError::NoSlots`].
pub fn start_slots(
    board: &Board,
    key: &[u8; 32],
    progress: &dyn Fn(&str),
) -> Result<SlotsDevice, EmulateError> {
    if !board.has_slots {
        return Err(EmulateError::NoSlots { board: board.name });
    }
    let toolchain = board.toolchain(progress)?;
    let work =
        tempfile::tempdir().map_err(file_error("creating a folder in", std::env::temp_dir()))?;
    let image = work.path().join("firmware.elf");
    let build = Build {
        board,
        program: Program::Slots,
        plan: None,
        key: Some(key),
        steps: false,
    };
    firmware::build(&toolchain, &build, &image, progress)?;
    let elf = std::fs::read(&image).map_err(file_error("reading", &image))?;
    // A free port: the system gives one, which the emulator takes over.
    let listener = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let address = listener.map_err(file_error("binding", "127.0.0.1"))?;
    let serial = format!("tcp:{address},server=on,wait=off");
    let emulator = qemu::start(&toolchain, board, &image, work.path(), &serial)?;
    let device = SlotsDevice {
        _emulator: emulator,
        work,
        elf,
        port: format!("tcp:{address}"),
    };
    let started = Instant::now();
    while TcpStream::connect(address).is_err() {
        if started.elapsed() > START {
            let log = qemu::everything(&device.log()?, device.work.path());
            return Err(EmulateError::NotListening {
                board: board.name,
                log,
            });
        }
        thread::sleep(POLL);
    }
    Ok(device)
}
