//! Certificates hold: what adversarial inputs take on the emulated boards is at most what `kinglet compile --certify` says.
//!
//! `KINGLET_UPDATE_ALLOWANCES=1 cargo test --release -p kinglet-tests --test bounds allowances -- --include-ignored` measures how
//! far the instructions of each operator depend on values, on every board, and raises `export/src/certify/allowance.json` to that
//! (`=functions`: functions of one operator and steps by bands only, `=bands`: only these).

use kinglet_export::certify::{Certificate, allowances, board, certify, inputs};
use kinglet_export::compile::cost::name;
use kinglet_export::compile::sparse::Sparse;
use kinglet_export::compile::{CompileOptions, Compiled, Kernels, Target, compile};
use kinglet_export::emulate::{Board, Emulation, Mode, Request, emulate};
use kinglet_export::graph::Graph;
use kinglet_export::host::AlignedBytes;
use kinglet_export::model::load_graph;
use kinglet_export::onnx::LoadOptions;
use kinglet_export::passes::prepare;
use kinglet_tests::bounds::{adversarial, banded, networks, spreads, write};
use kinglet_tests::networks::everything;
use kinglet_tests::ties::with_sums_of;
use kinglet_tests::wide_network::wide_network;
use kinglet_tests::zoo::{self, Golden};
use kinglet_tests::zoo_claims;
use std::path::Path;

fn run(board: &'static Board, plan: &Compiled, samples: &[Vec<u8>], loaded: bool) -> Emulation {
    let request = Request {
        board,
        plan: &plan.file,
        samples,
        mode: Mode::Run,
        loaded,
    };
    emulate(&request, &|_| {}).unwrap()
}

/// Adversarial inputs against the certificate of a model; bound / most measured.
fn holds(model: &Path, target: Target) -> (Certificate, f64) {
    let (graph, _) = load_graph(model, &LoadOptions::default()).unwrap();
    let options = CompileOptions {
        target,
        ..CompileOptions::default()
    };
    let compiled = compile(&graph, &options).unwrap();
    let certificate = certify("model", &compiled, target, &|_| {}).unwrap();
    let mut samples = adversarial(&graph, 2);
    samples.extend(adversarial(&graph, 3).into_iter().skip(8));
    let device = run(board(target).unwrap(), &compiled, &samples, false);
    let most = *device.instructions.iter().max().unwrap();
    let instructions = &certificate.instructions;
    let ratio = instructions.bound as f64 / most as f64;
    println!(
        "{} on {}: instructions {most}, bound {} ({ratio:.3}); stack {}, bound {}; arena {}",
        model.display(),
        certificate.board,
        instructions.bound,
        device.stack_peak_bytes,
        certificate.stack.bound_bytes,
        certificate.arena_bytes,
    );
    assert!(most <= instructions.bound);
    assert!(device.stack_peak_bytes <= certificate.stack.bound_bytes);
    assert_eq!(device.arena_bytes, certificate.arena_bytes);
    assert_eq!(
        instructions.bound,
        instructions.counted + instructions.allowance
    );
    (certificate, ratio)
}

fn digits(target: Target, most: f64) {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/digits_int8.onnx");
    let (certificate, ratio) = holds(&model, target);
    assert!(
        ratio <= most,
        "the bound is {ratio} times what was measured"
    );
    assert_eq!(certificate.multiply_accumulates, 65_408);
    // Every layer, each channel.
    assert!(certificate.layers.len() >= 3);
    for layer in &certificate.layers {
        assert!(layer.accumulators.iter().all(|[low, high]| low <= high));
    }
}

#[test]
fn digits_hold_on_cortex_m4() {
    digits(Target::CortexM4f, 1.2);
}

#[test]
fn digits_hold_on_cortex_m7() {
    digits(Target::CortexM7, 1.2);
}

#[test]
fn digits_hold_on_cortex_m33() {
    digits(Target::CortexM33, 1.2);
}

#[test]
fn digits_hold_on_cortex_m3() {
    // Every tie of the quad kernels takes 480 instructions there.
    digits(Target::CortexM3, 8.0);
}

#[test]
fn digits_hold_on_cortex_m55() {
    digits(Target::CortexM55, 1.2);
}

#[test]
fn digits_hold_on_cortex_m0() {
    digits(Target::CortexM0, 4.0);
}

#[test]
fn digits_hold_on_risc_v() {
    digits(Target::Riscv32imc, 4.0);
}

/// Networks that the table was not made from, among them some whose every result is a tie.
fn unseen(target: Target) {
    let board = board(target).unwrap();
    let (mut worst, mut least) = (f64::INFINITY, 1.0f64);
    for seed in 3000..3006u64 {
        let graph: Graph = match seed % 3 {
            0 => wide_network(seed),
            1 => with_sums_of(wide_network(seed), 2),
            _ => with_sums_of(everything(true), 2),
        };
        let mut graph = graph;
        prepare(&mut graph);
        let options = CompileOptions {
            target,
            kernels: Kernels::Packed,
            sparse: if seed % 2 == 0 {
                Sparse::Never
            } else {
                Sparse::Auto
            },
            keep_dead_channels: true,
            ..CompileOptions::default()
        };
        let compiled = compile(&graph, &options).unwrap();
        let allowed = allowances(&compiled, target).unwrap();
        let allowed: u64 = allowed.values().map(|(_, allowed)| allowed).sum();
        let bytes = AlignedBytes::from(compiled.core());
        let tried = inputs(&kinglet::Plan::parse(bytes.bytes()).unwrap());
        let count = |samples: &[Vec<u8>]| {
            let device = run(board, &compiled, samples, true);
            let (peak, bound) = (device.stack_peak_bytes, compiled.stack_bound.unwrap());
            let operators: Vec<&str> = compiled.steps.iter().map(|s| s.operator).collect();
            assert!(peak <= bound, "stack {peak}, bound {bound}: {operators:?}");
            device.instructions.into_iter().max().unwrap()
        };
        let (counted, most) = (count(&tried), count(&adversarial(&graph, seed)));
        let ratio = (counted + allowed) as f64 / most as f64;
        assert!(ratio >= 1.0, "{}, seed {seed}: {ratio}", board.name);
        (worst, least) = (worst.min(ratio), least.max(ratio));
    }
    println!(
        "{}: bound / measured from {worst:.3} to {least:.3}",
        board.name
    );
}

#[test]
fn unseen_networks_hold_on_cortex_m4() {
    unseen(Target::CortexM4f);
}

#[test]
fn unseen_networks_hold_on_cortex_m7() {
    unseen(Target::CortexM7);
}

#[test]
fn unseen_networks_hold_on_cortex_m33() {
    unseen(Target::CortexM33);
}

#[test]
fn unseen_networks_hold_on_cortex_m3() {
    unseen(Target::CortexM3);
}

#[test]
fn unseen_networks_hold_on_risc_v() {
    unseen(Target::Riscv32imc);
}

#[test]
fn nothing_emulates_the_host() {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/digits_int8.onnx");
    let (graph, _) = load_graph(&model, &LoadOptions::default()).unwrap();
    let compiled = compile(&graph, &CompileOptions::default()).unwrap();
    let error = certify("digits", &compiled, Target::Host, &|_| {}).unwrap_err();
    assert!(error.to_string().contains("host"), "{error}");
}

/// The accumulators that inputs really reach lie within the ranges, and the extreme input of a channel reaches its end.
#[test]
fn accumulators_reach_their_ranges_and_no_more() {
    use kinglet_export::graph::{Data, Op};
    let graph = wide_network(7);
    let options = CompileOptions {
        kernels: Kernels::Plain,
        keep_dead_channels: true,
        ..CompileOptions::default()
    };
    let compiled = compile(&graph, &options).unwrap();
    let mut layers = 0;
    for node in &graph.nodes {
        if !matches!(node.op, Op::Conv2d { .. } | Op::FullyConnected { .. }) {
            continue;
        }
        let step = compiled.steps.iter().find(|s| s.name == node.name).unwrap();
        let ranges = step.accumulators.as_ref().unwrap();
        let Some(Data::I8(w)) = &graph[node.inputs[1]].data else {
            panic!("weights are bytes");
        };
        let zero = graph[node.inputs[0]]
            .quantization
            .as_ref()
            .unwrap()
            .zero_point;
        let bias = match node.inputs.get(2).map(|&b| &graph[b].data) {
            Some(Some(Data::I32(b))) => b.clone(),
            _ => vec![0; ranges.len()],
        };
        for ((w, b), range) in w.chunks(w.len() / ranges.len()).zip(bias).zip(ranges) {
            // The literal sum, for the input that has the worst value at each tap.
            let sum = |worst: &dyn Fn(i8) -> i32| -> i32 {
                let product = |&w: &i8| i32::from(w) * (worst(w) - zero);
                b + w.iter().map(product).sum::<i32>()
            };
            let low = sum(&|w| if w > 0 { -128 } else { 127 });
            let high = sum(&|w| if w > 0 { 127 } else { -128 });
            assert_eq!(*range, [low, high], "{}", node.name);
            layers += 1;
        }
    }
    assert!(layers > 10);
}

/// Measures, or does nothing: the table's own test is the certificates.
fn table(target: Target, count: u64) {
    let Some(wanted) = std::env::var_os("KINGLET_UPDATE_ALLOWANCES") else {
        return;
    };
    let board = board(target).unwrap();
    let mut all = banded(board, count);
    if wanted != "bands" {
        let others = if wanted == "functions" { 0 } else { count };
        all.extend(networks(board, others));
    }
    write(name(target), spreads(board, &all), wanted == "1");
}

macro_rules! tables {
    ($($test:ident: $target:expr, $count:literal;)*) => {
        $(
            #[test]
            #[ignore = "long; `KINGLET_UPDATE_ALLOWANCES=1` makes the table"]
            fn $test() {
                table($target, $count);
            }
        )*
    };
}

tables! {
    allowances_of_cortex_m4: Target::CortexM4f, 8;
    allowances_of_cortex_m7: Target::CortexM7, 8;
    allowances_of_cortex_m33: Target::CortexM33, 8;
    allowances_of_cortex_m55: Target::CortexM55, 8;
    allowances_of_cortex_m3: Target::CortexM3, 8;
    allowances_of_risc_v: Target::Riscv32imc, 8;
    allowances_of_cortex_m0: Target::CortexM0, 0;
}

fn zoo_holds(golden: Golden, most: [f64; 2]) {
    for (target, most) in [Target::CortexM4f, Target::Riscv32imc]
        .into_iter()
        .zip(most)
    {
        let (_, ratio) = holds(&golden.path(), target);
        assert!(ratio <= most, "{}: {ratio}", golden.model);
    }
}

zoo_claims! {
    zoo_kws_holds: zoo_holds(zoo::KWS_INT8, [1.05, 6.0]);
    zoo_resnet_holds: zoo_holds(zoo::RESNET_INT8, [1.05, 6.0]);
    zoo_vww_holds: zoo_holds(zoo::VWW_INT8, [1.05, 6.0]);
    zoo_ad_holds: zoo_holds(zoo::AD_INT8, [1.05, 6.0]);
}
