//! Layers with sparse weights compute the bytes of the kernels that multiply all weights, here and on emulated boards.

use kinglet_export::compile::sparse::Sparse;
use kinglet_export::compile::{CompileOptions, Compiled, Kernels, Target, Tiling, compile};
use kinglet_export::emulate::board;
use kinglet_export::graph::Graph;
use kinglet_export::passes::prepare;
use kinglet_tests::device::gives_the_bytes_of;
use kinglet_tests::formats::{thinned, with_zeros};
use kinglet_tests::networks::{Builder, everything};
use kinglet_tests::on_boards;
use kinglet_tests::random::Random;
use kinglet_tests::random_network::{network, outputs, sample};
use kinglet_tests::wide_network::{wide_network, wide_network_within};

fn compiled(graph: &Graph, target: Target, sparse: Sparse, tiling: Tiling) -> Compiled {
    let options = CompileOptions {
        target,
        sparse,
        tiling,
        kernels: Kernels::Packed,
        ..CompileOptions::default()
    };
    compile(graph, &options).unwrap()
}

fn reference(graph: &Graph) -> Compiled {
    compiled(graph, Target::Host, Sparse::Never, Tiling::Off)
}

fn sparse_steps(plan: &Compiled) -> usize {
    let sparse = |s: &&kinglet_export::compile::StepInfo| s.operator.ends_with("sparse weights");
    plan.steps.iter().filter(sparse).count()
}

#[test]
fn sparse_weights_give_the_dense_kernels_bytes() {
    let mut random = Random::new(5);
    let mut seen = 0;
    let mut check = |name: String, mut graph: Graph| {
        prepare(&mut graph);
        let expected = reference(&graph);
        for target in [Target::Host, Target::CortexM4f, Target::CortexM0] {
            let tiling = match random.one_in(3) {
                true => Tiling::Smallest,
                false => Tiling::Off,
            };
            let plan = compiled(&graph, target, Sparse::Always, tiling);
            seen += sparse_steps(&plan);
            let inputs = sample(&graph, &mut random);
            assert_eq!(
                outputs(&expected, &inputs),
                outputs(&plan, &inputs),
                "{name} for {target:?}"
            );
            // As many multiplications as there are weights; some more entries where gaps are long.
            if tiling == Tiling::Off {
                assert!(
                    plan.macs() <= expected.macs() + expected.macs() / 50,
                    "{name} for {target:?}"
                );
            }
        }
    };
    for seed in 0..60 {
        check(
            format!("network {seed}"),
            thinned(network(seed, true), seed),
        );
        check(
            format!("wide network {seed}"),
            thinned(wide_network(seed), seed),
        );
    }
    check("everything".into(), thinned(everything(true), 1));
    println!("{seen} sparse steps");
    assert!(seen > 200, "{seen}");
}

fn device_equals_host(board_name: &str, loaded: bool) {
    let board = board(board_name).unwrap();
    let mut seen = 0;
    for seed in 0..if loaded { 12 } else { 2 } {
        let mut graph = match seed {
            0 => thinned(everything(true), 1),
            _ => thinned(wide_network_within(seed, 8), seed),
        };
        prepare(&mut graph);
        let plan = compiled(&graph, board.plan_target, Sparse::Always, Tiling::Off);
        seen += sparse_steps(&plan);
        gives_the_bytes_of(&reference(&graph), board, &plan, &graph, 6, loaded);
    }
    assert!(seen > 2, "{seen}");
}

on_boards! {
    device_equals_host {
        m0_gives_the_dense_kernels_bytes: "microbit", false;
        m4f_gives_the_dense_kernels_bytes: "mps2-an386", true;
        m55_gives_the_dense_kernels_bytes: "mps3-an547", true;
        m3_gives_the_dense_kernels_bytes: "mps2-an385", true;
        riscv_gives_the_dense_kernels_bytes: "riscv32-virt", true;
    }
}

/// A layer as real ones are, with so many of its weights zero, out of a hundred.
fn layer(zeros: usize) -> Graph {
    let mut b = Builder::new(9, true);
    let x = b.input("x", &[1, 16, 12, 12], 0.02, 3);
    let y = b.conv(x, 1, 1, [1, 32, 12, 12]);
    b.graph.outputs.push(y);
    with_zeros(b.graph, 1, &[zeros])
}

/// What the compiler promises, on the device: a layer is sparse only where that takes fewer instructions, and then it does.
#[test]
fn the_compiler_takes_what_takes_fewer_instructions() {
    let mut taken = Vec::new();
    for name in ["mps2-an386", "mps3-an547", "mps2-an385"] {
        let board = board(name).unwrap();
        let mut chosen = Vec::new();
        for zeros in [0, 50, 80, 90, 97, 99] {
            let mut graph = layer(zeros);
            prepare(&mut graph);
            let run = |sparse: Sparse| {
                let plan = compiled(&graph, board.plan_target, sparse, Tiling::Off);
                let device = gives_the_bytes_of(&reference(&graph), board, &plan, &graph, 3, true);
                (sparse_steps(&plan) > 0, device.instructions[0])
            };
            let [(_, dense), (_, sparse), (is_sparse, auto)] =
                [Sparse::Never, Sparse::Always, Sparse::Auto].map(run);
            println!("{name}, {zeros} % zeros: {dense} dense, {sparse} sparse, auto: {is_sparse}");
            assert_eq!(auto, if is_sparse { sparse } else { dense });
            // Between the two a tenth decides, and predictions are not counts.
            assert!(!is_sparse || sparse < dense, "{name}, {zeros} %");
            assert!(
                is_sparse || sparse as f64 > 0.75 * dense as f64,
                "{name}, {zeros} %"
            );
            chosen.push(is_sparse);
        }
        assert!(!chosen[0], "{name}: nothing is zero");
        taken.extend(chosen[5].then_some(name));
    }
    // Of a hundred weights one is left.
    assert_eq!(taken, ["mps2-an385"]);
}
