//! The `defmt` logger: encoded frames on the emulator's standard output.

use crate::host::{self, File, Name};
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

/// What is done to a frame.
enum Part<'a> {
    Start,
    Bytes(&'a [u8]),
    End,
}

/// Encodes a part of a frame and writes it. One function for all parts, so that the encoder is in the program once.
#[inline(never)]
fn write(part: Part<'_>) {
    // SAFETY: `defmt` calls `write` and `release` only between `acquire` and `release`, and `acquire` lets only one
    // caller in; the firmware uses no interrupts.
    let (encoder, output) = unsafe { &mut *STATE.0.get() };
    if output.is_none() {
        *output = File::create(Name::StandardOutput).ok();
    }
    let output = *output;
    // A log that cannot be written cannot be reported either; the results have their own files.
    let emit = |bytes: &[u8]| {
        let _ = output.map(|file| file.write(bytes));
    };
    match part {
        Part::Start => encoder.start_frame(emit),
        Part::Bytes(bytes) => encoder.write(bytes, emit),
        Part::End => encoder.end_frame(emit),
    }
}

// SAFETY: `acquire` admits one frame at a time, and a second one ends the program.
unsafe impl defmt::Logger for Logger {
    fn acquire() {
        // A fault inside a log call is the only way to come here twice.
        if TAKEN.load(Ordering::Relaxed) {
            host::exit(REENTERED);
        }
        TAKEN.store(true, Ordering::Relaxed);
        write(Part::Start);
    }

    unsafe fn flush() {}

    unsafe fn release() {
        write(Part::End);
        TAKEN.store(false, Ordering::Relaxed);
    }

    unsafe fn write(bytes: &[u8]) {
        write(Part::Bytes(bytes));
    }
}
