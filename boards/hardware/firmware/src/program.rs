//! The program of every board.

use crate::board::Board;
use crate::panic::stop;
use embedded_hal::digital::OutputPin;
use kinglet::{Session, SessionError};

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
            $crate::program::run::<$board, _>(Model::new(arena).as_mut().map(Model::session))
        }
    };
}

/// Runs the model on zeros once a second, and logs the cycles and the output: see [`run!`](crate::run).
pub fn run<B: Board, const OPS: u128>(
    session: Result<&mut Session<'static, '_, OPS>, &mut SessionError>,
) -> ! {
    let (cycles, mut busy) = B::start();
    let session = match session {
        Ok(session) => session,
        Err(error) => {
            defmt::error!("{}", error);
            stop()
        }
    };
    let plan = session.plan();
    defmt::info!(
        "plan: {=usize} steps, arena {=usize} bytes; clock {=u32} Hz",
        plan.step_count(),
        plan.arena_len(),
        B::HZ
    );
    loop {
        for index in 0..session.plan().input_count() {
            if let Some(input) = session.input_mut(index) {
                input.fill(0);
            }
        }
        // A pin that cannot be switched must not stop the inference.
        let _ = busy.set_high();
        let (count, result) = cycles.of(|| session.run());
        let _ = busy.set_low();
        if let Err(error) = result {
            defmt::error!("{}", error);
            stop()
        }
        defmt::info!("{=u32} cycles", count);
        for index in 0..session.plan().output_count() {
            if let Some(output) = session.output(index) {
                defmt::info!("output {=usize}: {=[u8]:02x}", index, output);
            }
        }
        cycles.wait(B::HZ);
    }
}
