//! The plan files that the runtime's own tests damage are those that the compiler makes today.

use kinglet::{OpCode, Plan};
use kinglet_export::compile::{CompileOptions, Target, Tiling, compile};
use kinglet_export::host::AlignedBytes;
use kinglet_tests::networks::everything;
use std::path::Path;

/// Set it to write the files anew.
const UPDATE: &str = "KINGLET_UPDATE_FIXTURES";

/// One plan for each form of weights, and one in float.
const FIXTURES: [(&str, bool, Target); 5] = [
    ("int8.kinglet", true, Target::Host),
    ("int8_patches.kinglet", true, Target::CortexM55),
    ("int8_split.kinglet", true, Target::CortexM4f),
    ("int8_quad.kinglet", true, Target::CortexM0),
    ("float.kinglet", false, Target::Host),
];

#[test]
fn the_fixtures_are_what_the_compiler_makes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../runtime/tests/fixtures");
    for (name, quantized, target) in FIXTURES {
        let options = CompileOptions {
            strip: true,
            tiling: Tiling::Off,
            arena_limit: None,
            target,
            keep_dead_channels: true,
        };
        let made = compile(&everything(quantized), &options).unwrap().file;
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
    for (_, quantized, target) in FIXTURES {
        let options = CompileOptions {
            target,
            keep_dead_channels: true,
            ..CompileOptions::default()
        };
        let file = compile(&everything(quantized), &options).unwrap().file;
        let bytes = AlignedBytes::from(file.as_slice());
        let plan = Plan::parse(bytes.bytes()).unwrap();
        for (used, _) in plan.operators() {
            unused.retain(|op| *op != used);
        }
    }
    println!("unused: {unused:?}");
    // Wide weights come from asymmetric models only; their kernels are the narrow ones' with another type.
    let known = [
        OpCode::ConvI8W16,
        OpCode::DepthwiseI8W16,
        OpCode::FullyConnectedI8W16,
        OpCode::Copy,
    ];
    assert!(unused.iter().all(|op| known.contains(op)), "{unused:?}");
}
