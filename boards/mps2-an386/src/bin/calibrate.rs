//! Counts loops whose length is known, to prove the instruction counter. `report.bin` receives pairs: instructions
//! executed, instructions counted.
#![no_std]
#![no_main]

use core::arch::asm;
use cortex_m_rt::entry;
use kinglet_firmware::host::{self, File};
use kinglet_firmware::{Failure, InstructionCounter, finish};
use mps2_an386::{Board, Timer};

#[entry]
fn main() -> ! {
    match Board::take() {
        Some(board) => finish(calibrate(board)),
        None => host::exit(1),
    }
}

fn calibrate(mut board: Board) -> Result<(), Failure> {
    let report = File::create(c"report.bin")?;
    let timer = &mut board.timer;
    let counted = [
        count::<1>(timer),
        count::<2>(timer),
        count::<3>(timer),
        count::<5>(timer),
        count::<8>(timer),
        count::<1_000>(timer),
        count::<123_457>(timer),
        count::<10_000_019>(timer),
        // Longer than the timer's whole range.
        count::<700_000_001>(timer),
    ];
    for (executed, counted) in counted {
        report.write(&executed.to_le_bytes())?;
        report.write(&counted.to_le_bytes())?;
    }
    Ok(())
}

/// Runs a loop of `TURNS` turns: instructions executed, instructions counted.
fn count<const TURNS: u32>(timer: &mut Timer) -> (u64, u64) {
    timer.start();
    // SAFETY: counts a register of its own down to zero.
    unsafe {
        asm!(
            "movw {turns}, #{low}",
            "movt {turns}, #{high}",
            "0:",
            "subs {turns}, #1",
            "bne 0b",
            low = const TURNS & 0xffff,
            high = const TURNS >> 16,
            turns = out(reg) _,
            options(nostack),
        );
    }
    let counted = timer.stop();
    (2 + 2 * u64::from(TURNS), counted)
}
