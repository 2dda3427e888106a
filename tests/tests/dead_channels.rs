//! Constant and dead channels go, and every output keeps every byte: random networks with planted zero filters, on random
//! and extreme inputs, compared with the same network compiled with all its channels.

use kinglet_export::compile::sparse::Sparse;
use kinglet_export::compile::{CompileOptions, Compiled, Target, Tiling, compile};
use kinglet_export::graph::{Data, Graph, Op, ValueId};
use kinglet_export::host::Runner;
use kinglet_export::model::Model;
use kinglet_export::onnx::LoadOptions;
use kinglet_tests::random::Random;
use kinglet_tests::random_network::{deep_network, network, sample};
use kinglet_tests::zoo::{self, Golden};

const NETWORKS: u64 = 600;

fn compiled(graph: &Graph, target: Target, keep_dead_channels: bool) -> Compiled {
    let options = CompileOptions {
        target,
        keep_dead_channels,
        // Its search would take most of this test's time.
        tiling: Tiling::Off,
        // Its steps count the weights that are not zero.
        sparse: Sparse::Never,
        ..CompileOptions::default()
    };
    compile(graph, &options).unwrap()
}

/// What training leaves behind: filters of zeroes, inputs that no filter reads, biases that saturate an output.
fn plant(graph: &mut Graph, random: &mut Random) {
    let layers: Vec<(ValueId, Option<ValueId>)> = (graph.nodes.iter())
        .filter(|n| matches!(n.op, Op::Conv2d { .. } | Op::FullyConnected { .. }))
        .map(|n| (n.inputs[1], n.inputs.get(2).copied()))
        .collect();
    for (w, b) in layers {
        let shape = graph[w].shape.clone();
        let taps: usize = shape[2..].iter().product();
        if let Some(Data::I8(weights)) = &mut graph[w].data {
            let mut zero = |one_in: usize, range: &dyn Fn(usize) -> Vec<usize>, count: usize| {
                for i in 0..count {
                    if random.one_in(one_in) {
                        range(i).into_iter().for_each(|at| weights[at] = 0);
                    }
                }
            };
            let row = shape[1] * taps;
            zero(3, &|o| (o * row..(o + 1) * row).collect(), shape[0]);
            let column = |i: usize| {
                (0..shape[0])
                    .flat_map(|o| (o * shape[1] + i) * taps..(o * shape[1] + i + 1) * taps)
                    .collect()
            };
            zero(4, &column, shape[1]);
            zero(5, &|at| vec![at], shape[0] * row);
        }
        if let Some(Data::I32(bias)) = b.and_then(|b| graph[b].data.as_mut()) {
            for each in bias {
                *each *= random.pick(&[1, 1, 1, -1, 100, -100, 10_000, 0]);
            }
        }
    }
}

/// Random samples, and those at the ends of the inputs' range.
fn samples(graph: &Graph, random: &mut Random) -> Vec<Vec<u8>> {
    let mut samples: Vec<Vec<u8>> = (0..4).map(|_| sample(graph, random)).collect();
    let len = samples[0].len();
    samples.push(vec![0x80; len]);
    samples.push(vec![0x7f; len]);
    samples.push((0..len).map(|i| [0x80, 0x7f][i % 2]).collect());
    samples.push((0..len).map(|_| random.pick(&[0x80, 0x7f])).collect());
    samples
}

/// Compares all outputs; how many channels went.
fn same_outputs(name: &str, graph: &Graph, target: Target, random: &mut Random) -> usize {
    let (all, live) = (
        compiled(graph, target, true),
        compiled(graph, target, false),
    );
    let run = |plan: &Compiled, inputs: &[u8]| {
        let mut runner = Runner::new(&plan.file).unwrap();
        runner.run(inputs, &mut ()).unwrap()
    };
    for inputs in samples(graph, random) {
        assert_eq!(
            run(&all, &inputs),
            run(&live, &inputs),
            "{name} for {target:?}"
        );
    }
    let report = live.channels.as_ref().unwrap();
    assert_eq!(report.macs, [all.macs(), live.macs()], "{name}");
    for layer in &report.layers {
        let gone = layer.channels[0] - layer.channels[1];
        assert_eq!(gone, layer.removed.len(), "{name}: {layer:?}");
    }
    report.layers.iter().map(|l| l.removed.len()).sum()
}

fn no_output_changes(make: impl Fn(u64) -> Graph) {
    let mut random = Random::new(11);
    let (mut removed, mut touched) = (0, 0);
    for seed in 0..NETWORKS {
        let mut graph = make(seed);
        plant(&mut graph, &mut random);
        let target = random.pick(&[Target::Host, Target::CortexM0, Target::CortexM4f]);
        let count = same_outputs(&format!("network {seed}"), &graph, target, &mut random);
        removed += count;
        touched += usize::from(count > 0);
    }
    println!("{removed} channels of {touched} of {NETWORKS} networks are gone");
    assert!(touched > NETWORKS as usize / 4 && removed > 2 * touched);
}

#[test]
fn outputs_of_random_networks_keep_their_bytes() {
    no_output_changes(|seed| network(seed, true));
}

#[test]
fn outputs_of_deep_networks_keep_their_bytes() {
    no_output_changes(deep_network);
}

/// What is known of a model: multiply-accumulates and weights, all and live.
fn keeps(golden: Golden, macs: [u64; 2], weights: [u64; 2]) {
    let open = |keep_dead_channels| {
        let options = CompileOptions {
            keep_dead_channels,
            ..CompileOptions::default()
        };
        Model::open(&golden.path(), &LoadOptions::default(), &options).unwrap()
    };
    let (all, live) = (open(true), open(false));
    let report = live.compiled.as_ref().unwrap().channels.as_ref().unwrap();
    assert_eq!((report.macs, report.weights), (macs, weights));
    let mut samples = golden.samples(&live);
    let mut random = Random::new(5);
    samples.extend(self::samples(live.graph.as_ref().unwrap(), &mut random));
    assert!(zoo::run_on_host(&all, &samples) == zoo::run_on_host(&live, &samples));
}

#[test]
#[ignore = "needs the model zoo"]
fn half_of_visual_wake_words_is_dead() {
    keeps(zoo::VWW_INT8, [7_489_664, 3_727_313], [208_112, 29_066]);
}

#[test]
#[ignore = "needs the model zoo"]
fn keyword_spotting_resnet_and_anomaly_detection_keep_everything() {
    keeps(zoo::KWS_INT8, [2_656_768; 2], [22_016; 2]);
    keeps(zoo::RESNET_INT8, [12_501_632; 2], [77_360; 2]);
    keeps(zoo::AD_INT8, [264_192; 2], [264_192; 2]);
}
