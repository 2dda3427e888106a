//! 16-bit weights, with a codebook or without: the bytes of the reference kernels, on the host and on emulated boards.

use kinglet::OpCode;
use kinglet_export::compile::coded::CodeName;
use kinglet_export::compile::sparse::Sparse;
use kinglet_export::compile::{CompileOptions, Compiled, Kernels, Target, Tiling, compile};
use kinglet_export::compress::formats::WeightFormat;
use kinglet_export::emulate::board;
use kinglet_export::graph::Graph;
use kinglet_export::onnx::write::to_model_proto;
use kinglet_export::onnx::{LoadOptions, load_model};
use kinglet_export::passes::prepare;
use kinglet_tests::device::gives_the_bytes_of;
use kinglet_tests::formats::{in_format, many_valued};
use kinglet_tests::networks::{classifier, everything};
use kinglet_tests::on_boards;
use kinglet_tests::random::Random;
use kinglet_tests::random_network::{network, outputs, sample};
use kinglet_tests::wide_network::wide_network;

const NETWORKS: usize = 120;
const WIDE_NETWORKS: usize = 60;

const TARGETS: [Target; 5] = [
    Target::CortexM0,
    Target::CortexM3,
    Target::CortexM4f,
    Target::CortexM55,
    Target::Riscv32imc,
];

fn compiled(graph: &Graph, target: Target, kernels: Kernels, tiling: Tiling) -> Compiled {
    let options = CompileOptions {
        target,
        kernels,
        tiling,
        sparse: Sparse::Never,
        ..CompileOptions::default()
    };
    compile(graph, &options).unwrap()
}

/// Every layer's weights as they are, by the kernel that is the definition.
fn reference(graph: &Graph) -> Compiled {
    let plan = compiled(graph, Target::Host, Kernels::Plain, Tiling::Off);
    assert!(plan.steps.iter().all(|s| s.coded.is_none()));
    plan
}

/// How many layers have a codebook, how many of them run by several tiles, and how many have wide weights without.
fn same_bytes(name: &str, graph: &Graph, random: &mut Random) -> [usize; 3] {
    let mut seen = [0; 3];
    let expected = reference(graph);
    for target in TARGETS {
        let tiling = match random.one_in(3) {
            true => Tiling::Smallest,
            false => Tiling::Off,
        };
        let plan = compiled(graph, target, Kernels::Packed, tiling);
        for _ in 0..2 {
            let inputs = sample(graph, random);
            assert_eq!(
                outputs(&expected, &inputs),
                outputs(&plan, &inputs),
                "{name} for {target:?}"
            );
        }
        // Bands leave out rows that nobody needs.
        if tiling == Tiling::Off {
            assert_eq!(plan.macs(), expected.macs(), "{name} for {target:?}");
        }
        for layer in plan.coding.iter().flat_map(|report| &report.layers) {
            assert!(layer.coded && layer.code == CodeName::Codebook, "{layer:?}");
            assert_eq!(layer.coded_bytes * 2, layer.plain_bytes, "{layer:?}");
            seen[0] += 1;
            seen[1] += usize::from(layer.tile < layer.channels);
        }
        let wide = |s: &&kinglet_export::compile::StepInfo| {
            s.coded.is_none() && s.operator.ends_with("wide weights")
        };
        seen[2] += plan.steps.iter().filter(wide).count();
    }
    seen
}

#[test]
fn wide_weights_give_the_reference_kernels_bytes() {
    let mut random = Random::new(12);
    let mut seen = [0; 3];
    let mut add = |name: String, kind: usize, graph: Graph| {
        let graph = match WeightFormat::FLOATS.get(kind % 4) {
            Some(&format) => in_format(graph, format),
            None => many_valued(graph),
        };
        let found = same_bytes(&name, &graph, &mut random);
        seen = std::array::from_fn(|i| seen[i] + found[i]);
    };
    for kind in 0..4 {
        add("everything".into(), kind, everything(true));
        add("classifier".into(), kind, classifier(true));
    }
    for seed in 0..NETWORKS {
        add(format!("network {seed}"), seed, network(seed as u64, true));
    }
    for seed in 0..WIDE_NETWORKS {
        add(
            format!("wide network {seed}"),
            seed,
            wide_network(seed as u64),
        );
    }
    println!("codebooks, by several tiles, without: {seen:?}");
    assert!(seen[0] > 300 && seen[1] > 20 && seen[2] > 20, "{seen:?}");
}

/// All layers of a network share their table.
#[test]
fn a_weight_takes_a_byte_and_the_table_is_there_once() {
    let graph = in_format(everything(true), WeightFormat::Rf8);
    let plan = compiled(&graph, Target::CortexM4f, Kernels::Packed, Tiling::Off);
    let layers = &plan.coding.as_ref().unwrap().layers;
    assert!(layers.len() > 1);
    let int8 = compiled(
        &everything(true),
        Target::CortexM4f,
        Kernels::Packed,
        Tiling::Off,
    );
    // Biases and multipliers are filled up to blocks, and everything to 16 bytes.
    let others = layers.len() * 100;
    assert!(
        plan.constant_bytes <= int8.constant_bytes + 512 + others,
        "{} against {}",
        plan.constant_bytes,
        int8.constant_bytes
    );
    let op_set = |plan: &Compiled| kinglet::header::op_set(&plan.file);
    assert_ne!(op_set(&plan) & OpCode::Codebook.bit(), 0);
    assert_eq!(op_set(&plan) & OpCode::Coded.bit(), 0, "no other decoder");
    assert_eq!(op_set(&int8) & OpCode::Codebook.bit(), 0);
}

/// In ONNX the weights are codes with a table; they come back as the same integers.
#[test]
fn formats_survive_onnx() {
    for format in WeightFormat::FLOATS {
        for seed in 0..8 {
            let mut graph = in_format(wide_network(seed), format);
            prepare(&mut graph);
            let model = to_model_proto(&graph);
            let initializers = &model.graph.as_ref().unwrap().initializer;
            assert!(
                initializers.iter().any(|t| t.name.ends_with("_codes")),
                "{format:?}, {seed}: {:?}",
                initializers
                    .iter()
                    .map(|t| (&t.name, &t.dims, t.data_type))
                    .collect::<Vec<_>>()
            );
            let mut back = load_model(&model, &LoadOptions::default()).unwrap();
            let warnings = prepare(&mut back);
            assert!(warnings.is_empty(), "{format:?}, {seed}: {warnings:?}");
            let mut random = Random::new(seed);
            let inputs = sample(&graph, &mut random);
            let [before, after] = [&graph, &back].map(|g| outputs(&reference(g), &inputs));
            assert_eq!(before, after, "{format:?}, {seed}");
        }
    }
}

fn device_equals_host(board_name: &str, loaded: bool) {
    let mut graph = in_format(everything(true), WeightFormat::Rf8);
    prepare(&mut graph);
    let board = board(board_name).unwrap();
    let plan = compiled(&graph, board.plan_target, Kernels::Packed, Tiling::Off);
    assert!(plan.steps.iter().any(|s| s.coded.is_some()));
    gives_the_bytes_of(&reference(&graph), board, &plan, &graph, 6, loaded);
}

on_boards! {
    device_equals_host {
        m0_gives_the_reference_kernels_bytes: "microbit", false;
        m4f_gives_the_reference_kernels_bytes: "mps2-an386", false;
        a_loaded_plan_gives_the_reference_kernels_bytes: "mps2-an386", true;
        m7_gives_the_reference_kernels_bytes: "mps2-an500", false;
        m33_gives_the_reference_kernels_bytes: "mps2-an505", false;
        m55_gives_the_reference_kernels_bytes: "mps3-an547", false;
        m3_gives_the_reference_kernels_bytes: "mps2-an385", false;
        riscv_gives_the_reference_kernels_bytes: "riscv32-virt", false;
    }
}
