//! Plans on emulated boards, against this machine.

use crate::random::Random;
use crate::random_network::{outputs, sample};
use kinglet_export::compile::{Compiled, Target};
use kinglet_export::emulate::{Board, Emulation, Mode, Request, emulate};
use kinglet_export::graph::Graph;

/// What plans are compiled for, besides this machine.
pub const TARGETS: [Target; 7] = [
    Target::CortexM0,
    Target::CortexM3,
    Target::CortexM4f,
    Target::CortexM7,
    Target::CortexM33,
    Target::CortexM55,
    Target::Riscv32imc,
];

/// Runs two samples of `graph`'s inputs on the board; the outputs must be those of `expected` on this machine. `loaded` as in
/// [`Request`].
pub fn gives_the_bytes_of(
    expected: &Compiled,
    board: &'static Board,
    plan: &Compiled,
    graph: &Graph,
    seed: u64,
    loaded: bool,
) -> Emulation {
    let mut random = Random::new(seed);
    let samples = [sample(graph, &mut random), sample(graph, &mut random)];
    let request = Request {
        board,
        plan: &plan.file,
        samples: &samples,
        mode: Mode::Run,
        loaded,
    };
    let device = emulate(&request, &|_| {}).expect("it runs");
    assert_eq!(device.outputs.len(), samples.len());
    for (sample, device) in samples.iter().zip(&device.outputs) {
        assert_eq!(&outputs(expected, sample).concat(), device);
    }
    device
}

/// A test for each board: `test(board, loaded)`.
#[macro_export]
macro_rules! on_boards {
    ($test:ident { $($claim:ident: $name:literal, $loaded:literal;)* }) => {
        $(
            #[test]
            fn $claim() {
                $test($name, $loaded);
            }
        )*
    };
}
