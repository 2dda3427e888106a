//! Real models as firmware on the emulated boards against the host.

use kinglet_export::emulate::{DEFAULT_BOARD, Emulation, Mode, Request, board, emulate};
use kinglet_export::model::Model;
use kinglet_export::samples::decode;
use kinglet_tests::zoo::{self, Golden, reals};
use kinglet_tests::zoo_claims;

fn on_device(name: &str, model: &Model, samples: &[Vec<u8>], loaded: bool) -> Emulation {
    let request = Request {
        board: board(name).unwrap(),
        plan: &model.plan,
        samples,
        mode: Mode::Run,
        loaded,
    };
    emulate(&request, &|_| {}).unwrap_or_else(|error| panic!("{}: {error}", model.name))
}

/// The model compiled for the board.
fn open(golden: Golden, name: &str) -> Model {
    golden.open_for(board(name).unwrap().plan_target)
}

/// Every golden input gives the host's bytes.
fn same_bytes(golden: Golden, name: &str, loaded: bool) {
    let host = golden.open();
    let samples = golden.samples(&host);
    assert_eq!(samples.len(), 8, "all golden inputs");
    let device = on_device(name, &open(golden, name), &samples, loaded);
    let host = zoo::run_on_host(&host, &samples);
    assert_eq!(device.outputs, host, "{} on {name}", golden.model);
    println!(
        "{} on {name}: {:?} instructions",
        golden.model, device.instructions
    );
}

/// The benchmark's models, loaded: one firmware runs all four.
fn benchmark_gives_the_hosts_bytes(name: &str) {
    for golden in [zoo::KWS_INT8, zoo::RESNET_INT8, zoo::VWW_INT8, zoo::AD_INT8] {
        same_bytes(golden, name, true);
    }
}

/// The first two golden inputs give the host's values up to 10⁻⁵ of the largest.
fn same_values(golden: Golden) {
    let model = open(golden, DEFAULT_BOARD);
    let samples = &golden.samples(&model)[..2];
    let device = on_device(DEFAULT_BOARD, &model, samples, false)
        .outputs
        .concat();
    let host = zoo::run_on_host(&model, samples).concat();
    let values = |bytes: &[u8]| reals(&decode(kinglet::format::DType::F32, bytes));
    let (device, host) = (values(&device), values(&host));
    assert!(device.len() == host.len() && device.iter().all(|v| v.is_finite()));
    let magnitude = host.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    let error = device
        .iter()
        .zip(&host)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f64::max)
        / magnitude;
    println!("{}: largest relative error {error:.2e}", golden.model);
    assert!(error <= 1e-5, "{}: {error:e}", golden.model);
}

zoo_claims! {
    kws_int8_gives_the_hosts_bytes: same_bytes(zoo::KWS_INT8, DEFAULT_BOARD, false);
    resnet_int8_gives_the_hosts_bytes: same_bytes(zoo::RESNET_INT8, DEFAULT_BOARD, false);
    vww_int8_gives_the_hosts_bytes: same_bytes(zoo::VWW_INT8, DEFAULT_BOARD, false);
    ad_int8_gives_the_hosts_bytes: same_bytes(zoo::AD_INT8, DEFAULT_BOARD, false);
    sine_int8_gives_the_hosts_bytes: same_bytes(zoo::SINE_INT8, DEFAULT_BOARD, false);
    micro_speech_int8_gives_the_hosts_bytes: same_bytes(zoo::MICRO_SPEECH_INT8, DEFAULT_BOARD, false);
    person_int8_gives_the_hosts_bytes: same_bytes(zoo::PERSON_INT8, DEFAULT_BOARD, false);
    // Float at its border, int8 inside: bytes all the same.
    mnist_int8_gives_the_hosts_bytes: same_bytes(zoo::MNIST_INT8, DEFAULT_BOARD, false);
    the_benchmark_gives_an_m7_the_hosts_bytes: benchmark_gives_the_hosts_bytes("mps2-an500");
    the_benchmark_gives_an_m33_the_hosts_bytes: benchmark_gives_the_hosts_bytes("mps2-an505");
    the_benchmark_gives_an_m55_the_hosts_bytes: benchmark_gives_the_hosts_bytes("mps3-an547");
    the_benchmark_gives_an_m3_the_hosts_bytes: benchmark_gives_the_hosts_bytes("mps2-an385");
    the_benchmark_gives_riscv_the_hosts_bytes: benchmark_gives_the_hosts_bytes("riscv32-virt");
    sine_int8_gives_an_m0_the_hosts_bytes: same_bytes(zoo::SINE_INT8, "microbit", false);
    // 16 KiB of RAM are enough.
    kws_int8_gives_an_m0_the_hosts_bytes: same_bytes(zoo::KWS_INT8, "microbit", false);
    a_loaded_kws_gives_the_hosts_bytes: same_bytes(zoo::KWS_INT8, DEFAULT_BOARD, true);

    kws_float_gives_the_hosts_values: same_values(zoo::KWS_FLOAT);
    resnet_float_gives_the_hosts_values: same_values(zoo::RESNET_FLOAT);
    resnet_channels_last_gives_the_hosts_values: same_values(zoo::RESNET_NHWC);
    vww_float_gives_the_hosts_values: same_values(zoo::VWW_FLOAT);
    ad_float_gives_the_hosts_values: same_values(zoo::AD_FLOAT);
    sine_float_gives_the_hosts_values: same_values(zoo::SINE_FLOAT);
    mnist_float_gives_the_hosts_values: same_values(zoo::MNIST_FLOAT);
}

#[test]
#[ignore = "needs the model zoo"]
fn two_runs_of_a_model_count_the_same_instructions() {
    let model = open(zoo::SINE_INT8, DEFAULT_BOARD);
    let samples = zoo::SINE_INT8.samples(&model);
    let first = on_device(DEFAULT_BOARD, &model, &samples, false).instructions;
    assert!(
        first.len() == samples.len() && first.iter().all(|count| *count > 100),
        "{first:?}"
    );
    assert_eq!(
        first,
        on_device(DEFAULT_BOARD, &model, &samples, false).instructions
    );
}
