//! The `defmt` logger: encoded frames on the emulator's standard output.

use crate::host::{self, File};
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, Ordering};

/// The exit status when the firmware logs while it is logging.
const REENTERED: u8 = 3;

#[defmt::global_logger]
struct Logger;

struct State(UnsafeCell<(defmt::Encoder, Option<File>)>);

// SAFETY: one core, and `TAKEN` lets one frame at a time through.
unsafe impl Sync for State {}

static TAKEN: AtomicBool = AtomicBool::new(false);
static STATE: State = State(UnsafeCell::new((defmt::Encoder::new(), None)));

/// Calls `f` with the encoder and what writes a frame's bytes.
fn with_state(f: impl FnOnce(&mut defmt::Encoder, &dyn Fn(&[u8]))) {
    // SAFETY: `defmt` calls `write` and `release` only between `acquire` and `release`, and `acquire` lets only one
    // caller in; the firmware uses no interrupts.
    let (encoder, output) = unsafe { &mut *STATE.0.get() };
    if output.is_none() {
        *output = File::standard_output().ok();
    }
    let output = *output;
    f(encoder, &|bytes| {
        // A log that cannot be written cannot be reported either; the results have their own files.
        let _ = output.map(|file| file.write(bytes));
    });
}

// SAFETY: `acquire` admits one frame at a time, and a second one ends the program.
unsafe impl defmt::Logger for Logger {
    fn acquire() {
        // A fault inside a log call is the only way to come here twice.
        if TAKEN.load(Ordering::Relaxed) {
            host::exit(REENTERED);
        }
        TAKEN.store(true, Ordering::Relaxed);
        with_state(|encoder, write| encoder.start_frame(write));
    }

    unsafe fn flush() {}

    unsafe fn release() {
        with_state(|encoder, write| encoder.end_frame(write));
        TAKEN.store(false, Ordering::Relaxed);
    }

    unsafe fn write(bytes: &[u8]) {
        with_state(|encoder, write| encoder.write(bytes, write));
    }
}
