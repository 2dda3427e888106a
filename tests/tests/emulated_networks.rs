//! Random networks, loaded by one firmware with every operator, give the same bytes on the host and on the emulated board.

use kinglet_export::compile::{CompileOptions, compile};
use kinglet_export::emulate::{Mode, Request, board, emulate};
use kinglet_export::graph::Graph;
use kinglet_export::host::Runner;
use kinglet_export::passes::prepare;
use kinglet_export::verify::Recorder;
use kinglet_tests::networks::everything;
use kinglet_tests::random::Random;
use kinglet_tests::random_network::{network, sample};

const NETWORKS: u64 = 40;

fn device_equals_host(name: &str, mut graph: Graph) {
    prepare(&mut graph);
    let compiled = compile(&graph, &CompileOptions::default()).unwrap();
    let mut random = Random::new(7);
    let samples = [sample(&graph, &mut random), sample(&graph, &mut random)];
    let request = Request {
        board: board("mps2-an386").unwrap(),
        plan: &compiled.file,
        samples: &samples,
        mode: Mode::Steps,
        loaded: true,
    };
    let device = emulate(&request, &|_| {}).unwrap();
    let mut host = Runner::new(&compiled.file).unwrap();
    for (index, sample) in samples.iter().enumerate() {
        let mut steps = Recorder::default();
        let outputs = host.run(sample, &mut steps).unwrap().concat();
        let device_steps = &device.step_outputs[index];
        assert_eq!(steps.outputs.len(), device_steps.len(), "{name}");
        for (step, (host, device)) in compiled
            .steps
            .iter()
            .zip(steps.outputs.iter().zip(device_steps))
        {
            // What an unfinished concatenation has not written yet is left over from other steps.
            assert!(
                !step.complete || host == device,
                "{name}, sample {index}: {}",
                step.name
            );
        }
        assert_eq!(outputs, device.outputs[index], "{name}: sample {index}");
    }
}

#[test]
fn int8_networks_give_the_hosts_bytes_in_every_step() {
    for seed in 0..NETWORKS {
        device_equals_host(&format!("seed {seed}"), network(seed, true));
    }
}

#[test]
fn float_networks_give_the_hosts_bytes_in_every_step() {
    for seed in 0..NETWORKS {
        device_equals_host(&format!("seed {seed}"), network(seed, false));
    }
}

#[test]
fn every_operator_gives_the_hosts_bytes() {
    device_equals_host("int8", everything(true));
    device_equals_host("float", everything(false));
}
