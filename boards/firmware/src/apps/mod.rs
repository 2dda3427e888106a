//! The applications on recordings: `input.bin` in the place of a sensor, `output.bin` in that of a user.
//!
//! | file | contents |
//! |---|---|
//! | `input.bin` | recordings: a `u32` length in bytes, and the bytes; the application starts anew with each |
//! | `output.bin` | looks of the model: `u32` recording, `u32` values taken so far, `i32` decision or −1, and the scores, `f32` each |
//! | `report.bin` | [`Counts`] of the part before the model, then of the model, then the peak stack in bytes |
//!
//! All numbers are little-endian. The values are hops of 20 ms, measurements, or frames.

mod activity;
mod images;
mod keywords;
mod recording;

pub use activity::activity;
pub use images::images;
pub use keywords::keywords;

use crate::counter::InstructionCounter;
use crate::failure::Failure;
use crate::host::{File, Name};
use crate::serve::write_word;

impl From<kinglet_apps::Error> for Failure {
    fn from(error: kinglet_apps::Error) -> Self {
        match error {
            kinglet_apps::Error::Run(error) => error.into(),
            _ => Failure::AnotherModel,
        }
    }
}

/// Instructions of something that is done again and again.
#[derive(Default)]
struct Counts {
    total: u64,
    most: u64,
    times: u64,
}

impl Counts {
    fn add(&mut self, instructions: u64) {
        self.total += instructions;
        self.most = self.most.max(instructions);
        self.times += 1;
    }

    fn write(&self, report: &File) -> Result<(), Failure> {
        write_word(report, self.total)?;
        write_word(report, self.most)?;
        write_word(report, self.times)
    }
}

/// What an application's run leaves.
struct Results<'a, C> {
    counter: &'a mut C,
    output: File,
    before: Counts,
    model: Counts,
    stack: usize,
}

impl<'a, C: InstructionCounter> Results<'a, C> {
    fn new(counter: &'a mut C) -> Result<Self, Failure> {
        Ok(Results {
            counter,
            output: File::create(Name::Output)?,
            before: Counts::default(),
            model: Counts::default(),
            stack: 0,
        })
    }

    /// Counts a step before the model.
    fn before<T>(&mut self, step: impl FnOnce() -> T) -> T {
        self.counter.start();
        let result = step();
        self.before.add(self.counter.stop());
        result
    }

    /// Counts a look of the model.
    fn look<T>(&mut self, step: impl FnOnce() -> T) -> T {
        self.counter.start();
        let result = step();
        self.model.add(self.counter.stop());
        result
    }

    fn write(
        &self,
        recording: u32,
        taken: u32,
        decision: Option<usize>,
        scores: &[f32],
    ) -> Result<(), Failure> {
        let decision = decision.map_or(-1, |class| class as i32);
        let (recording, taken) = (recording.to_le_bytes(), taken.to_le_bytes());
        self.output.write(&recording)?;
        self.output.write(&taken)?;
        self.output.write(&decision.to_le_bytes())?;
        for score in scores {
            self.output.write(&score.to_le_bytes())?;
        }
        Ok(())
    }

    fn finish(self) -> Result<(), Failure> {
        defmt::info!(
            "{=u64} steps, {=u64} looks",
            self.before.times,
            self.model.times
        );
        let report = File::create(Name::Report)?;
        self.before.write(&report)?;
        self.model.write(&report)?;
        write_word(&report, self.stack as u64)
    }
}

/// An application with its model linked in, the plan that the environment variable `KINGLET_PLAN` names.
///
/// `app!(keywords, Board)`, `app!(activity, Board)`, or `app!(images, Board, bytes of the largest frame)`.
#[macro_export]
macro_rules! app {
    (keywords, $board:ty) => {
        $crate::app!(@ keywords, $board, $crate::kinglet_apps::keywords::Keywords<CLASSES>,
            $crate::kinglet_apps::keywords::Keywords::new($crate::kinglet_apps::keywords::Settings::TINY));
    };
    (activity, $board:ty) => {
        $crate::app!(@ activity, $board,
            $crate::kinglet_apps::activity::Activity<CLASSES, { $crate::kinglet_apps::activity::LENGTH }>,
            $crate::kinglet_apps::activity::Activity::new($crate::kinglet_apps::activity::RULE));
    };
    (images, $board:ty, $len:expr) => {
        $crate::app!(@ images, $board, [u8; $len], [0; $len]);
    };
    (@ $program:ident, $board:ty, $state:ty, $start:expr) => {
        $crate::kinglet::model!(
            Model,
            env!(
                "KINGLET_PLAN",
                "set KINGLET_PLAN to the absolute path of the plan to link in (`kinglet compile` makes one)"
            )
        );

        /// Elements of the first output.
        const CLASSES: usize =
            $crate::kinglet::header::elements(Model::PLAN, $crate::kinglet::header::input_count(Model::PLAN));

        #[unsafe(no_mangle)]
        extern "C" fn main() -> ! {
            // The host finds this symbol, to tell the arena from the rest of the RAM.
            static mut KINGLET_ARENA: $crate::kinglet::Arena<{ Model::ARENA_LEN }> = Model::arena();
            static mut STATE: $state = $start;
            // SAFETY: the start-up code calls `main` once, so these are the only references.
            let (arena, state) = unsafe { (&mut *(&raw mut KINGLET_ARENA), &mut *(&raw mut STATE)) };
            $crate::apps::$program::<$board, { Model::OPS }, CLASSES>(
                Model::new(arena).as_mut().map(Model::session),
                state,
            )
        }
    };
}
