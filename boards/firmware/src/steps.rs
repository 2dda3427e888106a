//! Looking into a run: every step's output and instruction count.

use crate::counter::InstructionCounter;
use crate::failure::Failure;
use crate::host::File;
use crate::serve::write_word;
use heapless::Vec;
use kinglet::{Observer, Session};

/// Steps that can be counted in one run.
const MAX_STEPS: usize = 1024;

struct Steps<'a, C> {
    counter: &'a mut C,
    counts: Vec<u64, MAX_STEPS>,
    dump: &'a File,
    result: Result<(), Failure>,
}

impl<C: InstructionCounter> Steps<'_, C> {
    fn record(&mut self, instructions: u64, output: &[u8]) -> Result<(), Failure> {
        self.counts
            .push(instructions)
            .map_err(|_| Failure::TooManySteps)?;
        self.dump.write(&(output.len() as u32).to_le_bytes())?;
        self.dump.write(output)
    }
}

impl<C: InstructionCounter> Observer for Steps<'_, C> {
    fn before(&mut self, _: usize) {
        self.counter.start();
    }

    fn after(&mut self, _: usize, output: &mut [u8]) {
        // First of all, so that what is done here is not counted.
        let instructions = self.counter.stop();
        self.result = self.result.and_then(|()| self.record(instructions, output));
    }
}

/// Runs `session`, whose inputs are set, and writes the steps' outputs to `dump` and their counts to `report`.
// Not inlined: the counts would be part of the stack that the inference before is charged with.
#[inline(never)]
pub(crate) fn observe<const OPS: u64>(
    session: &mut Session<'_, '_, OPS>,
    counter: &mut impl InstructionCounter,
    dump: &File,
    report: &File,
) -> Result<(), Failure> {
    let mut steps = Steps {
        counter,
        counts: Vec::new(),
        dump,
        result: Ok(()),
    };
    session.run_observed(&mut steps)?;
    steps.result?;
    steps
        .counts
        .iter()
        .try_for_each(|count| write_word(report, *count))
}
