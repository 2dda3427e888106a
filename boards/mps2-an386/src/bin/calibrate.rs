//! Counts loops whose length is known, to prove the instruction counter. `report.bin` receives pairs: instructions
//! executed, instructions counted.
#![no_std]
#![no_main]

use core::arch::asm;
use cortex_m_rt::entry;
use kinglet_firmware::host::{self, File};
use kinglet_firmware::{Failure, InstructionCounter, finish};
use mps2_an386::Board;

/// Two instructions a turn. The last one takes longer than the timer's whole range.
const TURNS: [u32; 9] = [1, 2, 3, 5, 8, 1_000, 123_457, 10_000_019, 700_000_001];

#[entry]
fn main() -> ! {
    match Board::take() {
        Some(board) => finish(calibrate(board)),
        None => host::exit(1),
    }
}

fn calibrate(mut board: Board) -> Result<(), Failure> {
    let report = File::create(c"report.bin")?;
    for turns in TURNS {
        board.timer.start();
        // SAFETY: counts a register of its own down to zero.
        unsafe { asm!("0:", "subs {0}, #1", "bne 0b", inout(reg) turns => _, options(nostack)) };
        let counted = board.timer.stop();
        report.write(&(2 * u64::from(turns)).to_le_bytes())?;
        report.write(&counted.to_le_bytes())?;
    }
    Ok(())
}
