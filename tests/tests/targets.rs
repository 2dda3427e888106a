//! A plan for any target runs on any machine with the same bytes: weights packed in every form, layers in place or not,
//! residuals in the epilogue or not.

use kinglet_export::compile::sparse::Sparse;
use kinglet_export::compile::{CompileOptions, Compiled, Kernels, Target, Tiling, compile};
use kinglet_export::graph::Graph;
use kinglet_tests::device::TARGETS;
use kinglet_tests::networks::{classifier, everything};
use kinglet_tests::random::Random;
use kinglet_tests::random_network::{network, outputs, sample};
use kinglet_tests::wide_network::wide_network;

const NETWORKS: u64 = 600;
const WIDE_NETWORKS: u64 = 150;

fn compiled(graph: &Graph, target: Target) -> Compiled {
    let options = CompileOptions {
        target,
        tiling: Tiling::Off,
        // They have as many multiplications only where all weights are multiplied.
        sparse: Sparse::Never,
        ..CompileOptions::default()
    };
    compile(graph, &options).unwrap()
}

/// Compares all targets with the host on a few samples; how many steps had packed weights or an addition within, and how many
/// copies of concatenations there were on the host only.
fn same_everywhere(name: &str, graph: &Graph, random: &mut Random) -> [usize; 3] {
    let host = compiled(graph, Target::Host);
    let mut seen = [0; 3];
    let options = CompileOptions {
        kernels: Kernels::Plain,
        ..CompileOptions::default()
    };
    let plain = compile(graph, &options).unwrap();
    for _ in 0..3 {
        let inputs = sample(graph, random);
        assert_eq!(
            outputs(&host, &inputs),
            outputs(&plain, &inputs),
            "{name} with plain weights"
        );
    }
    let octets = host.steps.iter().filter(|s| s.operator.contains("octet"));
    seen[0] += octets.count();
    for target in TARGETS {
        let plan = compiled(graph, target);
        for _ in 0..3 {
            let inputs = sample(graph, random);
            assert_eq!(
                outputs(&plan, &inputs),
                outputs(&host, &inputs),
                "{name} for {target:?}"
            );
        }
        let in_plan = |plan: &Compiled, what: &str| {
            let steps = plan.steps.iter();
            steps.filter(|s| s.operator.contains(what)).count()
        };
        let count = |what: &str| in_plan(&plan, what);
        seen[0] += count("split") + count("quad") + count("Helium");
        seen[1] += count("and add");
        seen[2] += in_plan(&host, "place") - count("place");
        assert_eq!(plan.macs(), host.macs(), "{name} for {target:?}");
    }
    seen
}

#[test]
fn every_target_s_plan_gives_the_same_bytes() {
    let mut random = Random::new(7);
    let mut seen = [0; 3];
    let mut add = |counts: [usize; 3]| {
        for (seen, count) in seen.iter_mut().zip(counts) {
            *seen += count;
        }
    };
    add(same_everywhere(
        "everything",
        &everything(true),
        &mut random,
    ));
    add(same_everywhere(
        "classifier",
        &classifier(true),
        &mut random,
    ));
    for seed in 0..NETWORKS {
        let graph = network(seed, true);
        add(same_everywhere(
            &format!("network {seed}"),
            &graph,
            &mut random,
        ));
    }
    for seed in 0..WIDE_NETWORKS {
        add(same_everywhere(
            &format!("wide network {seed}"),
            &wide_network(seed),
            &mut random,
        ));
    }
    println!(
        "{} packed layers, {} additions in a layer, {} operands made in a concatenation",
        seen[0], seen[1], seen[2]
    );
    assert!(seen[0] > 1000 && seen[1] > 100 && seen[2] > 20, "{seen:?}");
}

#[test]
fn floats_are_the_same_plan_for_every_device_and_the_same_bits_on_the_host() {
    let graph = everything(false);
    let first = compiled(&graph, TARGETS[0]);
    for target in TARGETS {
        assert!(compiled(&graph, target).file == first.file, "{target:?}");
    }
    let host = compiled(&graph, Target::Host);
    assert!(host.steps.iter().any(|s| s.operator.contains("panels")));
    let count: usize = graph.inputs.iter().map(|&id| graph[id].len()).sum();
    let wave = |i: usize| (0.37 * i as f32).sin().to_le_bytes();
    let inputs: Vec<u8> = (0..count).flat_map(wave).collect();
    assert_eq!(outputs(&host, &inputs), outputs(&first, &inputs));
}
