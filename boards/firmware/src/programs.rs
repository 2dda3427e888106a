//! The three programs of every board, each one line in the board's package.

use crate::board::Board;
use crate::calibrate::calibrate;
use crate::counter::Calibrated;
use crate::failure::Failure;
use crate::host::{self, File, Name};
use crate::serve::serve;
use kinglet::{DynSession, Plan, Session, SessionError};

/// The firmware with its model linked in, the plan that the environment variable `KINGLET_PLAN` names.
#[macro_export]
macro_rules! run {
    ($board:ty) => {
        $crate::kinglet::model!(
            Model,
            env!(
                "KINGLET_PLAN",
                "set KINGLET_PLAN to the absolute path of the plan to link in (`kinglet compile` makes one)"
            )
        );

        #[unsafe(no_mangle)]
        extern "C" fn main() -> ! {
            // The host finds this symbol, to tell the arena from the rest of the RAM.
            static mut KINGLET_ARENA: $crate::kinglet::Arena<{ Model::ARENA_LEN }> = Model::arena();
            // SAFETY: the start-up code calls `main` once, so this is the only reference.
            let arena = unsafe { &mut *(&raw mut KINGLET_ARENA) };
            $crate::programs::run::<$board, _>(Model::new(arena).as_mut().map(Model::session))
        }
    };
}

/// The firmware without a model: it loads `plan.bin` from the host and runs it with all operators, in an arena of this
/// many bytes.
#[macro_export]
macro_rules! loader {
    ($board:ty, $arena_len:expr) => {
        #[unsafe(no_mangle)]
        extern "C" fn main() -> ! {
            // The host finds this symbol, to tell the arena from the rest of the RAM.
            static mut KINGLET_ARENA: $crate::kinglet::Arena<{ $arena_len }> =
                $crate::kinglet::Arena::new();
            // SAFETY: the start-up code calls `main` once, so this is the only reference.
            let arena = unsafe { &mut *(&raw mut KINGLET_ARENA) };
            // SAFETY: as above.
            unsafe { $crate::programs::load::<$board>(arena.bytes_mut()) }
        }
    };
}

/// Counts loops whose length is known, to prove the instruction counter.
#[macro_export]
macro_rules! calibrate {
    ($board:ty) => {
        #[unsafe(no_mangle)]
        extern "C" fn main() -> ! {
            $crate::programs::calibrate_board::<$board>()
        }
    };
}

/// Runs a model that is linked in; see [`run!`](crate::run).
pub fn run<B: Board, const OPS: u128>(
    session: Result<&mut Session<'static, '_, OPS>, &mut SessionError>,
) -> ! {
    let (counter, mut busy) = B::start();
    let mut counter = Calibrated::new(counter);
    finish(match session {
        Ok(session) => serve(session, &mut counter, &mut busy),
        // A description of every error would be a tenth of a small firmware.
        Err(_) => Err(Failure::Start),
    })
}

/// Loads a plan and runs it; see [`loader!`](crate::loader).
///
/// # Safety
/// Called at most once: it takes the board's memory for plans.
pub unsafe fn load<B: Board>(arena: &mut [u8]) -> ! {
    let (counter, mut busy) = B::start();
    let mut counter = Calibrated::new(counter);
    let (address, available) = B::PLANS.unwrap_or((size_of::<u128>(), 0));
    let memory = core::ptr::with_exposed_provenance_mut(address);
    // SAFETY: by the contract of `Board` this memory exists and nothing else uses it, and it is taken once; the emulator
    // starts with it zeroed, and any bytes would be valid. Without one the slice is empty.
    let memory = unsafe { core::slice::from_raw_parts_mut(memory, available) };
    let result = read_plan(memory).and_then(|plan| {
        let mut session = DynSession::new(plan, arena).map_err(describe)?;
        serve(&mut session, &mut counter, &mut busy)
    });
    finish(result)
}

fn read_plan(memory: &mut [u8]) -> Result<Plan<'_>, Failure> {
    let file = File::open(Name::Plan)?;
    let (found, available) = (file.len()?, memory.len());
    let bytes = memory.get_mut(..found).ok_or_else(|| {
        defmt::error!(
            "a plan of {=usize} bytes, there is room for {=usize}",
            found,
            available
        );
        Failure::Start
    })?;
    let read = file.read(bytes)?;
    let bytes = bytes.get(..read).ok_or(Failure::Read(Name::Plan))?;
    Plan::parse(bytes).map_err(describe)
}

/// Logs what is wrong with a plan or its arena.
fn describe(error: impl defmt::Format) -> Failure {
    defmt::error!("{}", error);
    Failure::Start
}

/// Proves a board's counter; see [`calibrate!`](crate::calibrate).
pub fn calibrate_board<B: Board>() -> ! {
    let (counter, _) = B::start();
    finish(calibrate(&mut Calibrated::new(counter)))
}

/// Logs a failure and ends the emulator, with exit status 0 if there was none.
pub(crate) fn finish(result: Result<(), Failure>) -> ! {
    match result {
        Ok(()) => host::exit(0),
        Err(failure) => {
            defmt::error!("{}", failure);
            host::exit(1)
        }
    }
}
