//! Plans that run by bands of rows give the bytes of those that do not, in less memory.

use kinglet_export::compile::sparse::Sparse;
use kinglet_export::compile::{CompileError, CompileOptions, Compiled, Target, Tiling, compile};
use kinglet_export::graph::Graph;
use kinglet_export::model::{Model, load_graph};
use kinglet_export::onnx::LoadOptions;
use kinglet_tests::random::Random;
use kinglet_tests::random_network::{chain, network, outputs, sample};
use kinglet_tests::zoo::{self, Golden};
use kinglet_tests::zoo_claims;

const TARGETS: [Target; 4] = [
    Target::Host,
    Target::CortexM0,
    Target::CortexM4f,
    Target::CortexM55,
];

fn compiled(graph: &Graph, target: Target, tiling: Tiling) -> Compiled {
    let options = CompileOptions {
        target,
        tiling,
        sparse: Sparse::Never,
        ..CompileOptions::default()
    };
    compile(graph, &options).unwrap()
}

#[derive(Default, Debug)]
struct Seen {
    tiled: usize,
    copies: usize,
    limited: usize,
}

/// The smallest plan, and some under a limit, against the untiled one.
fn same_bytes(name: &str, graph: &Graph, random: &mut Random, seen: &mut Seen) {
    for target in TARGETS {
        let plain = compiled(graph, target, Tiling::Off);
        let smallest = compiled(graph, target, Tiling::Smallest);
        let Some(tiled) = &smallest.tiled else {
            assert_eq!(smallest.file, plain.file, "{name} for {target:?}");
            continue;
        };
        seen.tiled += 1;
        seen.copies += usize::from(tiled.copied_bytes > 0);
        assert!(smallest.arena_len < plain.arena_len, "{name}");
        assert_eq!(tiled.untiled_arena_len, plain.arena_len, "{name}");
        let extra = (smallest.steps.len() - plain.steps.len()) as u64;
        assert_eq!(extra, tiled.extra_steps, "{name}: {tiled:?}");
        // Nothing is computed twice, and rows that nobody reads are not computed at all.
        assert!(smallest.macs() <= plain.macs(), "{name}");
        let mut plans = vec![smallest.clone()];
        for _ in 0..2 {
            let limit = random.between(smallest.arena_len, plain.arena_len - 1);
            let options = CompileOptions {
                target,
                arena_limit: Some(limit),
                sparse: Sparse::Never,
                ..CompileOptions::default()
            };
            let limited = compile(graph, &options).unwrap();
            assert!(limited.arena_len <= limit, "{name} for {target:?}");
            seen.limited += usize::from(limited.file != smallest.file);
            plans.push(limited);
        }
        for _ in 0..2 {
            let inputs = sample(graph, random);
            let want = outputs(&plain, &inputs);
            for plan in &plans {
                let chains = &plan.tiled;
                assert_eq!(
                    outputs(plan, &inputs),
                    want,
                    "{name} for {target:?}: {chains:?}"
                );
            }
        }
    }
}

#[test]
fn chains_by_bands_give_the_same_bytes() {
    let (mut random, mut seen) = (Random::new(11), Seen::default());
    for seed in 0..100 {
        for quantized in [true, false] {
            let graph = chain(seed, quantized);
            same_bytes(
                &format!("chain {seed} {quantized}"),
                &graph,
                &mut random,
                &mut seen,
            );
        }
    }
    println!("{seen:?}");
    assert!(
        seen.tiled > 200 && seen.copies > 80 && seen.limited > 80,
        "{seen:?}"
    );
}

#[test]
fn networks_by_bands_give_the_same_bytes() {
    let (mut random, mut seen) = (Random::new(12), Seen::default());
    for seed in 0..150 {
        let graph = network(seed, seed % 2 == 0);
        same_bytes(&format!("network {seed}"), &graph, &mut random, &mut seen);
    }
    println!("{seen:?}");
    assert!(seen.tiled > 50, "{seen:?}");
}

#[test]
fn an_arena_that_cannot_be_is_refused_with_the_smallest_that_can() {
    let graph = chain(3, true);
    let smallest = compiled(&graph, Target::CortexM4f, Tiling::Smallest);
    let options = CompileOptions {
        target: Target::CortexM4f,
        arena_limit: Some(10),
        ..CompileOptions::default()
    };
    let error = compile(&graph, &options).unwrap_err();
    assert!(
        matches!(error, CompileError::ArenaLimit { smallest: found, limit: 10, .. } if found <= smallest.arena_len),
        "{error}"
    );
}

#[test]
fn the_host_does_not_tile_unasked() {
    let tiled = |seed, tiling| {
        let plan = compiled(&chain(seed, true), Target::Host, tiling);
        plan.tiled.is_some()
    };
    assert!((0..10).all(|seed| !tiled(seed, Tiling::Auto)));
    assert!((0..10).any(|seed| tiled(seed, Tiling::Smallest)));
}

/// A model of the zoo, tiled, gives the untiled model's bytes in at most `share` of its arena.
fn in_less_memory(golden: Golden, target: Target, share: f64) {
    let (graph, _) = load_graph(&golden.path(), &LoadOptions::default()).unwrap();
    let plain = compiled(&graph, target, Tiling::Off);
    let model: Model = golden.open();
    let samples = golden.samples(&model);
    for tiling in [Tiling::Auto, Tiling::Smallest] {
        let tiled = compiled(&graph, target, tiling);
        println!(
            "{} {tiling:?}: arena {} of {}, {} of {} steps, {:?}",
            golden.model,
            tiled.arena_len,
            plain.arena_len,
            tiled.steps.len(),
            plain.steps.len(),
            tiled.tiled
        );
        for sample in &samples[..2] {
            assert_eq!(
                outputs(&tiled, sample),
                outputs(&plain, sample),
                "{}",
                golden.model
            );
        }
        assert!(
            tiled.arena_len as f64 <= share * plain.arena_len as f64,
            "{}: {} of {}",
            golden.model,
            tiled.arena_len,
            plain.arena_len
        );
    }
}

zoo_claims! {
    // Depthwise planes of up to 6 KiB, which save instructions, are a part of both.
    vww_takes_less_memory: in_less_memory(zoo::VWW_INT8, Target::CortexM4f, 0.65);
    person_detection_takes_less_memory: in_less_memory(zoo::PERSON_INT8, Target::CortexM4f, 0.55);
    resnet_takes_less_memory: in_less_memory(zoo::RESNET_INT8, Target::CortexM4f, 0.6);
    float_resnet_takes_less_memory: in_less_memory(zoo::RESNET_FLOAT, Target::CortexM4f, 0.6);
    kws_takes_no_more_memory: in_less_memory(zoo::KWS_INT8, Target::CortexM4f, 1.0);
    mobilenet_v2_takes_no_more_memory: in_less_memory(zoo::MOBILENET_V2_INT8, Target::CortexM4f, 1.0);
}
