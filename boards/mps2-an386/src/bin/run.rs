//! The firmware with its model linked in.
#![no_std]
#![no_main]

use cortex_m_rt::entry;
use kinglet::Arena;
use kinglet_firmware::{Failure, finish, host, serve};
use mps2_an386::Board;

kinglet::model!(
    Model,
    env!(
        "KINGLET_PLAN",
        "set KINGLET_PLAN to the absolute path of the plan to link in (`kinglet compile` makes one)"
    )
);

#[entry]
fn main() -> ! {
    // The host finds this symbol, to tell the arena from the rest of the RAM.
    static mut KINGLET_ARENA: Arena<{ Model::ARENA_LEN }> = Model::arena();
    match Board::take() {
        Some(board) => finish(run(board, KINGLET_ARENA)),
        None => host::exit(1),
    }
}

fn run(mut board: Board, arena: &mut Arena<{ Model::ARENA_LEN }>) -> Result<(), Failure> {
    let mut model = Model::new(arena)?;
    serve(model.session(), &mut board.timer, &mut board.led)
}
