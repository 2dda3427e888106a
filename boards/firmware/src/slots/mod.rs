//! Models that are replaced while the firmware runs: two slots, the serial protocol on the board's UART, and inferences for whoever
//! asks by it.
//!
//! The emulated boards have no flash that could be written, so a part of their RAM takes its place, with the rules of NOR flash.
//! It keeps its contents over a reset.
//!
//! | frame of the application | contents | reply |
//! |---|---|---|
//! | [`INFER`] | all inputs back to back | all outputs back to back; nothing when no model runs or the length is wrong |
//! | [`EXIT`] | nothing | none: the emulator ends |

mod flash;

use crate::board::Board;
use crate::failure::Failure;
use crate::programs::finish;
use flash::RamFlash;
use kinglet::DynSession;
use kinglet::slots::{Device, Endpoint, Event, Fault, MAX_PAYLOAD, Slots, Started, Target};

/// Runs the model.
pub const INFER: u8 = 0x40;
/// Ends the emulator.
pub const EXIT: u8 = 0x41;

/// A board that can talk and reset itself.
pub trait Connected: Board {
    /// The UART.
    type Port: embedded_io::Read + embedded_io::ReadReady + embedded_io::Write;

    /// The core, by which images are chosen.
    const TARGET: Target;

    /// Puts the UART to work. Called once, at the start.
    fn port() -> Self::Port;
}

/// The firmware without a model, which gets its models by the UART: signed by the owner of the key that the file of the
/// environment variable `KINGLET_KEY` holds. Its arena has this many bytes.
#[macro_export]
macro_rules! slots {
    ($board:ty, $arena_len:expr) => {
        #[unsafe(no_mangle)]
        extern "C" fn main() -> ! {
            // The host finds this symbol, to tell the arena from the rest of the RAM.
            static mut KINGLET_ARENA: $crate::kinglet::Arena<{ $arena_len }> =
                $crate::kinglet::Arena::new();
            // SAFETY: the start-up code calls `main` once, so this is the only reference.
            let arena = unsafe { &mut *(&raw mut KINGLET_ARENA) };
            let key = include_bytes!(env!(
                "KINGLET_KEY",
                "set KINGLET_KEY to the absolute path of the public key (`kinglet keygen` makes one)"
            ));
            // SAFETY: as above.
            unsafe { $crate::slots::run::<$board>(arena.bytes_mut(), key) }
        }
    };
}

/// The program; see [`slots!`](crate::slots).
///
/// # Safety
/// Called at most once: it takes the board's memory for plans.
pub unsafe fn run<B: Connected>(arena: &mut [u8], key: &[u8; 32]) -> ! {
    // SAFETY: by the caller's contract.
    finish(unsafe { serve::<B>(arena, key) })
}

/// # Safety
/// As [`run`].
unsafe fn serve<B: Connected>(arena: &mut [u8], key: &[u8; 32]) -> Result<(), Failure> {
    let _ = B::start();
    let device = Device {
        key: *key,
        target: B::TARGET,
        arena_len: arena.len() as u32,
    };
    // SAFETY: by the contract of `Board` nothing else uses this memory, and it is taken once.
    let flash = unsafe { RamFlash::new(B::PLANS.ok_or(Failure::Start)?) }.ok_or(Failure::Start)?;
    let mut slots = Slots::new(flash, flash::LAYOUT, device).map_err(|_| Failure::Start)?;
    // SAFETY: the slots write to the slot that does not run only.
    let started = slots.start(|flash, model| unsafe { flash.mapped(model) }, arena);
    if let Some((version, fault)) = slots.failed() {
        defmt::warn!("version {=u32} was given up: {}", version, fault);
    }
    let mut session = None;
    if let Some(Started { model, plan }) = started {
        defmt::info!(
            "version {=u32} runs, on trial: {=bool}",
            model.version,
            model.on_trial
        );
        let mut started = DynSession::new(plan, arena).map_err(|_| Failure::Start)?;
        // What an application wants to see before it keeps a model; here, that it can answer.
        match started.run() {
            Ok(()) => slots.confirm().map_err(|_| Failure::Start)?,
            Err(_) => drop(slots.reject(Fault::Rejected)),
        }
        session = Some(started);
    } else {
        defmt::info!("no model");
    }

    let mut port = B::port();
    let mut endpoint = Endpoint::new();
    loop {
        // The UART of the board has no errors.
        let Ok(Some(event)) = endpoint.poll(&mut port, &mut slots) else {
            continue;
        };
        match event {
            Event::Received(version) => defmt::info!("version {=u32} has come", version),
            Event::Restart => {
                defmt::info!("reset");
                crate::arch::reset()
            }
            Event::Application(frame) if frame.kind == EXIT => return Ok(()),
            Event::Application(frame) => {
                let mut reply = [0; MAX_PAYLOAD];
                let outputs = session
                    .as_mut()
                    .and_then(|session| infer(session, frame.payload, &mut reply));
                let (kind, sequence) = (frame.kind, frame.sequence);
                let _ = Endpoint::reply(&mut port, (kind, sequence), outputs.unwrap_or(&[]));
            }
        }
    }
}

/// One inference: all inputs in, all outputs out.
fn infer<'r>(
    session: &mut DynSession<'_, '_>,
    inputs: &[u8],
    reply: &'r mut [u8; MAX_PAYLOAD],
) -> Option<&'r [u8]> {
    let mut rest = inputs;
    for index in 0..session.plan().input_count() {
        let input = session.input_mut(index)?;
        let (bytes, tail) = rest.split_at_checked(input.len())?;
        for (to, from) in input.iter_mut().zip(bytes) {
            *to = *from;
        }
        rest = tail;
    }
    session.run().ok()?;
    let mut len = 0;
    for index in 0..session.plan().output_count() {
        let output = session.output(index)?;
        for (to, from) in reply.get_mut(len..)?.iter_mut().zip(output) {
            *to = *from;
        }
        len += output.len();
    }
    reply.get(..len).filter(|_| rest.is_empty())
}
