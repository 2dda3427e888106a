//! Small networks, made here with random weights, give the same bytes on the host and on the emulated board.

use kinglet::Observer;
use kinglet_export::compile::{CompileOptions, compile};
use kinglet_export::emulate::{Emulation, Mode, Request, board, emulate};
use kinglet_export::host::Runner;
use kinglet_tests::networks::classifier;
use kinglet_tests::random::Random;
use kinglet_tests::random_network::sample;

const SAMPLES: usize = 3;

/// The output of every step on the host.
#[derive(Default)]
struct Outputs(Vec<Vec<u8>>);

impl Observer for Outputs {
    fn after(&mut self, _: usize, output: &mut [u8]) {
        self.0.push(output.to_vec());
    }
}

fn device_equals_host(quantized: bool, loaded: bool) -> Emulation {
    let network = classifier(quantized);
    let board = board("mps2-an386").unwrap();
    let options = CompileOptions {
        target: board.plan_target,
        ..CompileOptions::default()
    };
    let compiled = compile(&network, &options).unwrap();
    let mut random = Random::new(0xfeed);
    let samples: Vec<Vec<u8>> = (0..SAMPLES)
        .map(|_| sample(&network, &mut random))
        .collect();

    let request = Request {
        board,
        plan: &compiled.file,
        samples: &samples,
        mode: Mode::Steps,
        loaded,
    };
    let device = emulate(&request, &|_| {}).unwrap();
    let mut host = Runner::new(&compiled.file).unwrap();
    for (index, sample) in samples.iter().enumerate() {
        let mut steps = Outputs::default();
        let outputs = host.run(sample, &mut steps).unwrap().concat();
        assert_eq!(
            steps.0, device.step_outputs[index],
            "steps of sample {index}"
        );
        assert_eq!(outputs, device.outputs[index], "sample {index}");
        assert_eq!(compiled.steps.len(), device.step_instructions[index].len());
    }
    assert!(
        device.outputs.windows(2).any(|pair| pair[0] != pair[1]),
        "the samples differ"
    );
    device
}

#[test]
fn an_int8_network_gives_the_hosts_bytes_in_every_step() {
    device_equals_host(true, false);
}

#[test]
fn a_float_network_gives_the_hosts_bytes_in_every_step() {
    device_equals_host(false, false);
}

#[test]
fn a_loaded_plan_gives_the_hosts_bytes_in_every_step() {
    device_equals_host(true, true);
}

#[test]
fn the_steps_add_up_to_the_whole() {
    let device = device_equals_host(true, false);
    for (steps, whole) in device.step_instructions.iter().zip(&device.instructions) {
        let steps: u64 = steps.iter().sum();
        assert!(
            steps < *whole && *whole - steps < *whole / 10,
            "{steps} of {whole}"
        );
    }
}
