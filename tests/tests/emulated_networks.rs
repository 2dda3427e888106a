//! Random networks, loaded by a board's firmware with every operator, give the same bytes on the host and on the emulated board.

use kinglet_export::compile::{CompileOptions, compile};
use kinglet_export::emulate::{BOARDS, Mode, Request, board, emulate};
use kinglet_export::graph::Graph;
use kinglet_export::host::Runner;
use kinglet_export::passes::prepare;
use kinglet_export::verify::Recorder;
use kinglet_tests::networks::everything;
use kinglet_tests::random::Random;
use kinglet_tests::random_network::{network, sample};
use kinglet_tests::split_network::split_network;
use kinglet_tests::wide_network::wide_network;

const NETWORKS: u64 = 40;
const WIDE_NETWORKS: u64 = 40;
const SPLIT_NETWORKS: u64 = 40;

fn device_equals_host(board_name: &str, name: &str, mut graph: Graph) {
    prepare(&mut graph);
    let board = board(board_name).unwrap();
    let options = CompileOptions {
        target: board.plan_target,
        ..CompileOptions::default()
    };
    let compiled = compile(&graph, &options).unwrap();
    let mut random = Random::new(7);
    let samples = [sample(&graph, &mut random), sample(&graph, &mut random)];
    let request = Request {
        board,
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

fn int8_networks_give_the_hosts_bytes(board: &str) {
    for seed in 0..NETWORKS {
        device_equals_host(board, &format!("seed {seed}"), network(seed, true));
    }
}

fn float_networks_give_the_hosts_bytes(board: &str) {
    for seed in 0..NETWORKS {
        device_equals_host(board, &format!("seed {seed}"), network(seed, false));
    }
}

fn every_operator_gives_the_hosts_bytes(board: &str) {
    device_equals_host(board, "int8", everything(true));
    device_equals_host(board, "float", everything(false));
}

fn wide_layers_give_the_hosts_bytes(board: &str) {
    for seed in 0..WIDE_NETWORKS {
        device_equals_host(board, &format!("wide, seed {seed}"), wide_network(seed));
    }
}

fn split_layers_give_the_hosts_bytes(board: &str) {
    for seed in 0..SPLIT_NETWORKS {
        device_equals_host(board, &format!("split, seed {seed}"), split_network(seed));
    }
}

macro_rules! on_boards {
    ($($module:ident: $name:literal $([$claim:ident])*;)*) => {
        $(
            mod $module {
                $(
                    #[test]
                    fn $claim() {
                        super::$claim($name);
                    }
                )*
            }
        )*

        #[test]
        fn every_board_with_a_loader_is_tested() {
            let loaders = BOARDS.iter().filter(|b| b.load_len.is_some());
            assert!(loaders.map(|b| b.name).eq([$($name),*]));
        }
    };
}

// Floats where an FPU computes them and where a library does.
on_boards! {
    m4f: "mps2-an386" [split_layers_give_the_hosts_bytes] [wide_layers_give_the_hosts_bytes] [int8_networks_give_the_hosts_bytes] [float_networks_give_the_hosts_bytes]
        [every_operator_gives_the_hosts_bytes];
    m7: "mps2-an500" [every_operator_gives_the_hosts_bytes];
    m33: "mps2-an505" [int8_networks_give_the_hosts_bytes] [every_operator_gives_the_hosts_bytes];
    m55: "mps3-an547" [wide_layers_give_the_hosts_bytes] [int8_networks_give_the_hosts_bytes] [every_operator_gives_the_hosts_bytes];
    m3: "mps2-an385" [split_layers_give_the_hosts_bytes] [wide_layers_give_the_hosts_bytes] [int8_networks_give_the_hosts_bytes] [float_networks_give_the_hosts_bytes]
        [every_operator_gives_the_hosts_bytes];
    riscv: "riscv32-virt" [int8_networks_give_the_hosts_bytes] [every_operator_gives_the_hosts_bytes];
    a53: "cortex-a53-virt" [int8_networks_give_the_hosts_bytes] [float_networks_give_the_hosts_bytes] [every_operator_gives_the_hosts_bytes];
    a76: "cortex-a76-virt" [split_layers_give_the_hosts_bytes] [int8_networks_give_the_hosts_bytes] [every_operator_gives_the_hosts_bytes];
    i8mm: "aarch64-i8mm-virt" [split_layers_give_the_hosts_bytes] [int8_networks_give_the_hosts_bytes] [every_operator_gives_the_hosts_bytes];
}
