//! Counts loops whose length is known.

use crate::arch::spin;
use crate::counter::InstructionCounter;
use crate::failure::Failure;
use crate::host::{File, Name};
use crate::serve::write_word;

/// Writes pairs to `report.bin`: instructions executed, instructions counted.
///
/// # Errors
/// The host cannot write.
pub(crate) fn calibrate(counter: &mut impl InstructionCounter) -> Result<(), Failure> {
    let report = File::create(Name::Report)?;
    let counted = [
        count::<1>(counter),
        count::<2>(counter),
        count::<3>(counter),
        count::<5>(counter),
        count::<8>(counter),
        count::<1_000>(counter),
        count::<123_457>(counter),
        count::<10_000_019>(counter),
        // Longer than the range of the FPGA boards' cycle counter.
        count::<900_000_001>(counter),
    ];
    for (executed, counted) in counted {
        write_word(&report, executed)?;
        write_word(&report, counted)?;
    }
    Ok(())
}

/// Runs a loop of `TURNS` turns: instructions executed, instructions counted.
fn count<const TURNS: u32>(counter: &mut impl InstructionCounter) -> (u64, u64) {
    counter.start();
    let executed = spin::<TURNS>();
    (executed, counter.stop())
}
