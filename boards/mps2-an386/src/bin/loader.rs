//! The firmware without a model: it loads `plan.bin` from the host and runs it with all operators.
#![no_std]
#![no_main]

use cortex_m_rt::entry;
use kinglet::{Arena, DynSession, Plan};
use kinglet_firmware::host::{self, File};
use kinglet_firmware::{Failure, finish, serve};
use mps2_an386::Board;

/// Nearly all RAM; the rest is for the stack.
const ARENA_LEN: usize = 0x40_0000 - 0x1_0000;

#[entry]
fn main() -> ! {
    // The host finds this symbol, to tell the arena from the rest of the RAM.
    static mut KINGLET_ARENA: Arena<ARENA_LEN> = Arena::new();
    match Board::take() {
        Some(board) => finish(load(board, KINGLET_ARENA)),
        None => host::exit(1),
    }
}

fn load(mut board: Board, arena: &mut Arena<ARENA_LEN>) -> Result<(), Failure> {
    let file = File::open(c"plan.bin")?;
    let (found, available) = (file.len()?, board.psram.len());
    let bytes = board
        .psram
        .get_mut(..found)
        .ok_or(Failure::PlanTooLong { found, available })?;
    let read = file.read(bytes)?;
    let plan = Plan::parse(bytes.get(..read).ok_or(Failure::Read("plan.bin"))?)?;
    let mut session = DynSession::new(plan, arena.bytes_mut())?;
    serve(&mut session, &mut board.timer, &mut board.led)
}
