//! Looking into a run: every step's output and instruction count.

use crate::counter::InstructionCounter;
use crate::failure::Failure;
use crate::host::File;
use crate::serve::write_word;
use kinglet::{Observer, Session};

struct Steps<'a, C> {
    counter: &'a mut C,
    dump: &'a File,
    report: &'a File,
    result: Result<(), Failure>,
}

impl<C: InstructionCounter> Steps<'_, C> {
    fn record(&self, instructions: u64, output: &[u8]) -> Result<(), Failure> {
        write_word(self.report, instructions)?;
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
// Not inlined: its frame would be part of the stack that the inference before is charged with.
#[inline(never)]
pub(crate) fn observe<const OPS: u128>(
    session: &mut Session<'_, '_, OPS>,
    counter: &mut impl InstructionCounter,
    dump: &File,
    report: &File,
) -> Result<(), Failure> {
    let mut steps = Steps {
        counter,
        dump,
        report,
        result: Ok(()),
    };
    session.run_observed(&mut steps)?;
    steps.result
}
