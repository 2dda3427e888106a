//! The plan files that the runtime's own tests damage are those that the compiler makes today.

use kinglet::{OpCode, Plan};
use kinglet_export::compile::sparse::Sparse;
use kinglet_export::compile::{
    CompileOptions, Kernels, Rounding, StoredWeights, Target, Tiling, compile,
};
use kinglet_export::compress::formats::WeightFormat;
use kinglet_export::graph::{Data, Graph};
use kinglet_export::host::AlignedBytes;
use kinglet_tests::formats::{in_format, many_valued, thinned};
use kinglet_tests::general_network::general;
use kinglet_tests::networks::everything;
use kinglet_tests::wide_network::wide_network;
use std::path::Path;

/// Set it to write the files anew.
const UPDATE: &str = "KINGLET_UPDATE_FIXTURES";

/// A network, what to compile it for, and how its weights are stored.
type Fixture = (&'static str, fn() -> Graph, Target, StoredWeights);

/// One plan for each form of weights.
const FIXTURES: [Fixture; 16] = [
    (
        "int8.kinglet",
        || everything(true),
        Target::Host,
        StoredWeights::Plain,
    ),
    (
        "int8_octet.kinglet",
        || everything(true),
        Target::Host,
        StoredWeights::Plain,
    ),
    (
        "int8_patches.kinglet",
        || unsplit(everything(true)),
        Target::CortexM4f,
        StoredWeights::Plain,
    ),
    (
        "int8_split.kinglet",
        || everything(true),
        Target::CortexM4f,
        StoredWeights::Plain,
    ),
    (
        "int8_quad.kinglet",
        || everything(true),
        Target::CortexM0,
        StoredWeights::Plain,
    ),
    (
        "int8_helium.kinglet",
        || everything(true),
        Target::CortexM55,
        StoredWeights::Plain,
    ),
    (
        "float.kinglet",
        || everything(false),
        Target::Host,
        StoredWeights::Plain,
    ),
    (
        "float_panel.kinglet",
        || everything(false),
        Target::Host,
        StoredWeights::Plain,
    ),
    (
        "general.kinglet",
        general,
        Target::Host,
        StoredWeights::Plain,
    ),
    (
        "coded.kinglet",
        || small(everything(true)),
        Target::Host,
        StoredWeights::Coded,
    ),
    (
        "coded_split.kinglet",
        || small(everything(true)),
        Target::CortexM4f,
        StoredWeights::Coded,
    ),
    (
        "coded_helium.kinglet",
        || small(everything(true)),
        Target::CortexM55,
        StoredWeights::Coded,
    ),
    (
        "codebook.kinglet",
        || in_format(everything(true), WeightFormat::Rf8),
        Target::CortexM4f,
        StoredWeights::Plain,
    ),
    (
        "wide.kinglet",
        || many_valued(wide_network(240)),
        Target::CortexM4f,
        StoredWeights::Plain,
    ),
    (
        SPARSE,
        || thinned(everything(true), 1),
        Target::CortexM4f,
        StoredWeights::Plain,
    ),
    (
        TFLITE,
        || everything(true),
        Target::Host,
        StoredWeights::Plain,
    ),
];

/// The one with sparse weights.
const SPARSE: &str = "sparse.kinglet";
/// The one in TensorFlow Lite's rounding.
const TFLITE: &str = "tflite.kinglet";

/// Packed for the target, with nothing left out.
fn options(&(name, _, target, weights): &Fixture) -> CompileOptions {
    CompileOptions {
        strip: true,
        tiling: Tiling::Off,
        kernels: match name {
            "int8.kinglet" | "float.kinglet" => Kernels::Plain,
            _ => Kernels::Packed,
        },
        target,
        keep_dead_channels: true,
        weights,
        rounding: match name == TFLITE {
            true => Rounding::Tflite,
            false => Rounding::Kinglet,
        },
        sparse: match name == SPARSE {
            true => Sparse::Always,
            false => Sparse::Never,
        },
        ..CompileOptions::default()
    }
}

/// With weights whose codes are short.
fn small(mut graph: Graph) -> Graph {
    for value in &mut graph.values {
        if let Some(Data::I8(weights)) = &mut value.data {
            weights.iter_mut().for_each(|w| *w /= 32);
        }
    }
    graph
}

/// With weights of which two do not fit into 16 bits, so that convolutions keep them plain.
fn unsplit(mut graph: Graph) -> Graph {
    for value in &mut graph.values {
        let ([_, a, b, c], Some(Data::I8(weights))) = (&value.shape[..], &mut value.data) else {
            continue;
        };
        let second = a * b * c;
        if weights.len() > second {
            (weights[0], weights[second]) = (-128, -1);
        }
    }
    graph
}

#[test]
fn the_fixtures_are_what_the_compiler_makes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../runtime/tests/fixtures");
    for fixture in &FIXTURES {
        let (name, graph, ..) = fixture;
        let options = options(fixture);
        let made = compile(&graph(), &options).unwrap().file;
        assert!(made.len() < 30_000, "{name} is small: {}", made.len());
        let path = folder.join(name);
        if std::env::var_os(UPDATE).is_some() {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&path, &made).unwrap();
        }
        let committed = std::fs::read(&path).unwrap();
        assert!(
            committed == made,
            "{} is not what the compiler makes: run this test with {UPDATE}=1",
            path.display()
        );
    }
}

#[test]
fn the_fixtures_use_nearly_every_operator() {
    let mut unused: Vec<OpCode> = OpCode::ALL.to_vec();
    for fixture in &FIXTURES {
        let file = compile(&fixture.1(), &options(fixture)).unwrap().file;
        let bytes = AlignedBytes::from(file.as_slice());
        let plan = Plan::parse(bytes.bytes()).unwrap();
        for (used, _) in plan.operators() {
            unused.retain(|op| *op != used);
        }
    }
    println!("unused: {unused:?}");
    // 16-bit weights of targets without working memory have the narrow ones' kernels, with another type. Planes of kernels other
    // than 3×3 have the records and checks of `DepthwiseI8Small`.
    let known = [
        OpCode::ConvI8W16,
        OpCode::DepthwiseI8W16,
        OpCode::FullyConnectedI8W16,
        OpCode::ConvI8W16Tflite,
        OpCode::DepthwiseI8W16Tflite,
        OpCode::FullyConnectedI8W16Tflite,
        OpCode::Copy,
        OpCode::DepthwiseI8Planes,
    ];
    assert!(unused.iter().all(|op| known.contains(op)), "{unused:?}");
}
