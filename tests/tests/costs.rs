//! The compiler's cost table, measured: `KINGLET_UPDATE_COSTS=1 cargo test --release -p kinglet-tests --test costs --
//! --include-ignored` counts the steps of seeded random networks on every emulated board and writes
//! `export/src/compile/cost/table.json` (`=sparse`: the operators with that in their names only). Without the variable each board's predictions are compared with a few other networks.
//!
//! How well real models are predicted is a claim of `performance.rs`.

use kinglet_export::compile::cost::name;
use kinglet_export::compile::sparse::Sparse;
use kinglet_export::compile::{CompileOptions, Compiled, Kernels, compile};
use kinglet_export::emulate::{Board, Emulation, Mode, Request, board, emulate};
use kinglet_export::graph::Graph;
use kinglet_export::passes::prepare;
use kinglet_tests::costs::{Measurements, change_table, costs, insert, updating};
use kinglet_tests::formats::thinned;
use kinglet_tests::networks::everything;
use kinglet_tests::random::Random;
use kinglet_tests::random_network::{network, sample};
use kinglet_tests::wide_network::{wide_network, wide_network_within};

/// Networks that the table is made from.
const WIDE_NETWORKS: u64 = 90;
const NETWORKS: u64 = 25;
/// On boards whose firmware is built anew for each.
const LINKED_NETWORKS: u64 = 12;
/// The seed of the first network that the table has never seen.
const UNSEEN: u64 = 1000;

/// Compiles and emulates; `None` for a network that is too large for the board, or has no operator whose name contains `wanted`.
fn run(
    board: &Board,
    mut graph: Graph,
    kernels: Kernels,
    sparse: Sparse,
    wanted: &str,
) -> Option<(Compiled, Emulation)> {
    prepare(&mut graph);
    let options = CompileOptions {
        target: board.plan_target,
        kernels,
        sparse,
        ..CompileOptions::default()
    };
    let compiled = compile(&graph, &options).unwrap();
    if !compiled.steps.iter().any(|s| s.operator.contains(wanted)) {
        return None;
    }
    if compiled.arena_len + board.stack_reserve > board.ram_len {
        return None;
    }
    let samples = [sample(&graph, &mut Random::new(7))];
    let request = Request {
        board,
        plan: &compiled.file,
        samples: &samples,
        mode: Mode::Profile,
        loaded: board.load_len.is_some(),
    };
    let emulation = emulate(&request, &|_| {}).unwrap();
    Some((compiled, emulation))
}

/// Steps of random networks with operators whose names contain `wanted`.
fn measure(board: &Board, wanted: &str) -> Measurements {
    let mut measured = Measurements::default();
    let mut add = |graph: Graph, kernels: Kernels, sparse: Sparse| {
        let Some((compiled, emulation)) = run(board, graph, kernels, sparse, wanted) else {
            return;
        };
        // A network may be nothing but views.
        let Some(counts) = emulation.step_instructions.first() else {
            return;
        };
        let (instructions, stack) = (emulation.instructions[0], emulation.stack_peak_bytes);
        measured.add(&compiled, counts, instructions, stack);
    };
    let (wide, any) = match board.load_len {
        Some(_) => (WIDE_NETWORKS, NETWORKS),
        None => (LINKED_NETWORKS, LINKED_NETWORKS / 2),
    };
    for seed in 0..wide {
        // Real models have larger planes than random networks elsewhere.
        let large = if board.load_len.is_some() { 48 } else { 16 };
        let side = if seed % 3 == 0 { 12 } else { large };
        let network = || wide_network_within(seed, side);
        add(network(), Kernels::Packed, Sparse::Never);
        if seed % 2 == 0 {
            add(network(), Kernels::Plain, Sparse::Never);
        }
        if seed % 2 == 1 {
            add(thinned(network(), seed), Kernels::Packed, Sparse::Always);
        }
    }
    for seed in 0..any {
        add(network(seed, true), Kernels::Packed, Sparse::Never);
        add(network(seed, false), Kernels::Packed, Sparse::Never);
    }
    add(everything(true), Kernels::Packed, Sparse::Never);
    add(everything(true), Kernels::Plain, Sparse::Never);
    measured
}

fn update(board: &Board, wanted: &str) {
    let compiler = board.toolchain(&|_| {}).unwrap().rustc_version().to_owned();
    let made = costs(&measure(board, wanted), &compiler);
    change_table(|table| insert(table, name(board.plan_target), made, wanted));
}

/// Networks that the table was not made from: instructions as predicted, stack within its bound.
fn check(board: &Board) {
    let (mut predicted, mut counted, mut worst) = (0, 0, 1.0f64);
    let wide = (UNSEEN..UNSEEN + 8).map(wide_network);
    let thin = (UNSEEN..UNSEEN + 4).map(|seed| thinned(wide_network(seed), seed));
    for graph in wide
        .chain(thin)
        .chain([network(UNSEEN, true), network(UNSEEN + 1, true)])
    {
        let Some((compiled, emulation)) = run(board, graph, Kernels::Cheapest, Sparse::Auto, "")
        else {
            continue;
        };
        let bound = compiled.stack_bound.expect("all operators are measured");
        assert!(
            emulation.stack_peak_bytes <= bound,
            "{}: {} bytes of stack, bound {bound}",
            board.name,
            emulation.stack_peak_bytes
        );
        let prediction = compiled.instructions.expect("all operators are measured");
        let count = emulation.instructions[0];
        let ratio = prediction as f64 / count as f64;
        worst = worst.max(ratio.max(1.0 / ratio));
        predicted += prediction;
        counted += count;
    }
    let ratio = predicted as f64 / counted as f64;
    println!(
        "{}: predicted / counted {ratio:.3} over all unseen networks, worst factor {worst:.2}",
        board.name
    );
    // Random shapes are odder than those of real models, which the factors are refined with.
    assert!((0.6..1.6).contains(&ratio) && worst < 3.0, "{}", board.name);
}

macro_rules! boards {
    ($($test:ident: $board:literal;)*) => {
        $(
            #[test]
            fn $test() {
                let board = board($board).unwrap();
                match updating() {
                    Some(wanted) => update(board, &wanted),
                    None => check(board),
                }
            }
        )*
    };
}

boards! {
    costs_on_cortex_m4: "mps2-an386";
    costs_on_cortex_m55: "mps3-an547";
    costs_on_cortex_m3: "mps2-an385";
    costs_on_risc_v: "riscv32-virt";
}

macro_rules! more_boards {
    ($($test:ident: $board:literal;)*) => {
        $(
            /// As its sister core, so only when the table is made.
            #[test]
            #[ignore = "long; `KINGLET_UPDATE_COSTS=1` makes the table"]
            fn $test() {
                let board = board($board).unwrap();
                match updating() {
                    Some(wanted) => update(board, &wanted),
                    None => check(board),
                }
            }
        )*
    };
}

more_boards! {
    costs_on_cortex_m7: "mps2-an500";
    costs_on_cortex_m33: "mps2-an505";
    costs_on_cortex_m0: "microbit";
}
