//! Entropy-coded weights: the bytes of the plain plan, from fewer bytes of weights, on the host and on emulated boards.

use kinglet::OpCode;
use kinglet_export::compile::sparse::Sparse;
use kinglet_export::compile::{CompileOptions, Compiled, StoredWeights, Target, Tiling, compile};
use kinglet_export::emulate::board;
use kinglet_export::graph::{Data, Graph};
use kinglet_export::passes::prepare;
use kinglet_tests::device::gives_the_bytes_of;
use kinglet_tests::networks::{classifier, everything};
use kinglet_tests::on_boards;
use kinglet_tests::random::Random;
use kinglet_tests::random_network::{network, outputs, sample};
use kinglet_tests::wide_network::wide_network;

const NETWORKS: u64 = 150;
const WIDE_NETWORKS: u64 = 60;

const TARGETS: [Target; 5] = [
    Target::Host,
    Target::CortexM0,
    Target::CortexM4f,
    Target::CortexM55,
    Target::Riscv32imc,
];

/// With weights as large as those of trained networks with wide steps, so that codes are shorter than bytes.
fn small_weights(mut graph: Graph) -> Graph {
    for value in &mut graph.values {
        if let Some(Data::I8(weights)) = &mut value.data {
            for (index, w) in weights.iter_mut().enumerate() {
                // One in a hundred stays as large as it is, but for the one number that has no code.
                *w = if index % 100 == 57 {
                    (*w).max(-127)
                } else {
                    *w / 32
                };
            }
        }
    }
    graph
}

fn compiled(graph: &Graph, target: Target, weights: StoredWeights, tiling: Tiling) -> Compiled {
    let options = CompileOptions {
        target,
        weights,
        tiling,
        sparse: Sparse::Never,
        ..CompileOptions::default()
    };
    compile(graph, &options).unwrap()
}

/// How many layers were coded, and how many of them by several tiles.
fn same_bytes(name: &str, graph: &Graph, random: &mut Random) -> [usize; 2] {
    let mut seen = [0; 2];
    for target in TARGETS {
        let tiling = match random.one_in(3) {
            true => Tiling::Smallest,
            false => Tiling::Off,
        };
        let plain = compiled(graph, target, StoredWeights::Plain, tiling);
        let coded = compiled(graph, target, StoredWeights::Coded, tiling);
        for _ in 0..2 {
            let inputs = sample(graph, random);
            assert_eq!(
                outputs(&plain, &inputs),
                outputs(&coded, &inputs),
                "{name} for {target:?}"
            );
        }
        // On the host other kernels read plain weights, with other memory, so that other rows may be left out by bands.
        if target != Target::Host || tiling == Tiling::Off {
            assert_eq!(plain.macs(), coded.macs(), "{name} for {target:?}");
        }
        let report = coded.coding.as_ref().unwrap();
        for layer in report.layers.iter().filter(|l| l.coded) {
            assert!(layer.coded_bytes < layer.plain_bytes, "{name}: {layer:?}");
            seen[0] += 1;
            seen[1] += usize::from(layer.tile < layer.channels);
        }
        let steps = coded.steps.iter().filter(|s| s.coded.is_some()).count();
        assert!(steps >= report.layers.iter().filter(|l| l.coded).count());
        assert!(plain.coding.is_none() && plain.steps.iter().all(|s| s.coded.is_none()));
    }
    seen
}

#[test]
fn coded_plans_give_the_plain_plans_bytes() {
    let mut random = Random::new(11);
    let mut seen = [0; 2];
    let mut add = |name: String, graph: Graph| {
        let found = same_bytes(&name, &small_weights(graph), &mut random);
        seen = [seen[0] + found[0], seen[1] + found[1]];
    };
    add("everything".into(), everything(true));
    add("classifier".into(), classifier(true));
    for seed in 0..NETWORKS {
        add(format!("network {seed}"), network(seed, true));
    }
    for seed in 0..WIDE_NETWORKS {
        add(format!("wide network {seed}"), wide_network(seed));
    }
    println!("{} coded layers, {} by several tiles", seen[0], seen[1]);
    assert!(seen[0] > 300 && seen[1] > 100, "{seen:?}");
}

/// Nothing of a decoder in plans that have no coded layer: what firmware links follows from the operators' set.
#[test]
fn plain_plans_take_no_decoder() {
    for target in TARGETS {
        let graph = small_weights(everything(true));
        let op_set = |weights| {
            let file = compiled(&graph, target, weights, Tiling::Off).file;
            kinglet::header::op_set(&file)
        };
        let plain = op_set(StoredWeights::Plain);
        assert_eq!(plain & OpCode::Coded.bit(), 0);
        let coded = op_set(StoredWeights::Coded);
        if target == Target::Host {
            // Codes are of plain weights there, which other kernels read.
            assert_ne!(coded & OpCode::Coded.bit(), 0);
            continue;
        }
        assert_eq!(
            coded,
            plain | OpCode::Coded.bit(),
            "{target:?}: and the layers' operators"
        );
    }
}

#[test]
fn auto_adds_no_more_than_its_shares() {
    let (mut some, mut fewer) = (0, 0);
    for seed in 0..40 {
        let mut graph = small_weights(wide_network(seed));
        prepare(&mut graph);
        for target in [Target::CortexM0, Target::CortexM4f, Target::CortexM55] {
            let of = |weights| compiled(&graph, target, weights, Tiling::Auto);
            let [plain, auto, coded] = [
                StoredWeights::Plain,
                StoredWeights::Auto,
                StoredWeights::Coded,
            ]
            .map(of);
            assert!(
                auto.arena_len * 4 <= plain.arena_len * 5,
                "seed {seed} for {target:?}"
            );
            assert!(
                auto.core_len <= plain.core_len,
                "seed {seed} for {target:?}"
            );
            if let (Some(before), Some(after)) = (plain.instructions, auto.instructions) {
                let share = after as f64 / before as f64;
                assert!(
                    share <= 1.351,
                    "seed {seed} for {target:?}: {before}, {after}"
                );
            }
            let count = |c: &Compiled| {
                let layers = &c.coding.as_ref().unwrap().layers;
                layers.iter().filter(|l| l.coded).count()
            };
            some += count(&auto);
            fewer += usize::from(count(&auto) < count(&coded));
        }
    }
    println!("{some} layers coded, {fewer} plans with fewer than all");
    assert!(
        some > 20 && fewer > 20,
        "it takes some and leaves some: {some}, {fewer}"
    );
}

/// Weights of −128 have no code: their layer stays plain.
#[test]
fn what_has_no_code_stays_plain() {
    let mut graph = small_weights(classifier(true));
    for value in &mut graph.values {
        if let Some(Data::I8(weights)) = &mut value.data {
            weights[0] = -128;
        }
    }
    let plan = compiled(&graph, Target::Host, StoredWeights::Coded, Tiling::Off);
    assert!(plan.coding.unwrap().layers.is_empty());
    assert!(plan.steps.iter().all(|s| s.coded.is_none()));
}

fn device_equals_host(board_name: &str, loaded: bool) {
    let mut graph = small_weights(everything(true));
    prepare(&mut graph);
    let board = board(board_name).unwrap();
    let plan = |weights| compiled(&graph, board.plan_target, weights, Tiling::Off);
    let [plain, coded] = [StoredWeights::Plain, StoredWeights::Coded].map(plan);
    assert!(coded.steps.iter().any(|s| s.coded.is_some()));
    let device = gives_the_bytes_of(&plain, board, &coded, &graph, 5, loaded);
    let bound = coded.stack_bound.unwrap();
    let used = device.stack_peak_bytes;
    assert!(
        loaded || used <= bound,
        "the stack's bound is {bound}, its peak {used}"
    );
}

on_boards! {
    device_equals_host {
        m4f_gives_the_plain_plans_bytes: "mps2-an386", false;
        a_loaded_plan_gives_the_plain_plans_bytes: "mps2-an386", true;
        m7_gives_the_plain_plans_bytes: "mps2-an500", false;
        m33_gives_the_plain_plans_bytes: "mps2-an505", false;
        m55_gives_the_plain_plans_bytes: "mps3-an547", false;
        m3_gives_the_plain_plans_bytes: "mps2-an385", false;
        riscv_gives_the_plain_plans_bytes: "riscv32-virt", false;
    }
}
