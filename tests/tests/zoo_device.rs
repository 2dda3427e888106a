//! Real models as firmware on the emulated board against the host.

use kinglet_export::emulate::{Emulation, Mode, Request, board, emulate};
use kinglet_export::model::Model;
use kinglet_export::samples::decode;
use kinglet_tests::zoo::{self, Golden, reals};

fn on_device(model: &Model, samples: &[Vec<u8>], loaded: bool) -> Emulation {
    let board = board("mps2-an386").unwrap();
    let request = Request {
        board,
        plan: &model.plan,
        samples,
        mode: Mode::Run,
        loaded,
    };
    emulate(&request, &|_| {}).unwrap_or_else(|error| panic!("{}: {error}", model.name))
}

/// Every golden input gives the host's bytes.
fn same_bytes(golden: Golden, loaded: bool) -> Emulation {
    let model = golden.open();
    let samples = golden.samples(&model);
    assert_eq!(samples.len(), 8, "all golden inputs");
    let device = on_device(&model, &samples, loaded);
    let host = zoo::run_on_host(&model, &samples);
    assert_eq!(device.outputs, host, "{}", golden.model);
    println!("{}: {:?} instructions", golden.model, device.instructions);
    device
}

/// The first two golden inputs give the host's values up to 10⁻⁵ of the largest.
fn same_values(golden: Golden) {
    let model = golden.open();
    let samples = &golden.samples(&model)[..2];
    let device = on_device(&model, samples, false).outputs.concat();
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

macro_rules! claims {
    ($($name:ident: $claim:expr;)*) => {
        $(
            #[test]
            #[ignore = "needs the model zoo"]
            fn $name() {
                $claim;
            }
        )*
    };
}

claims! {
    kws_int8_gives_the_hosts_bytes: same_bytes(zoo::KWS_INT8, false);
    resnet_int8_gives_the_hosts_bytes: same_bytes(zoo::RESNET_INT8, false);
    vww_int8_gives_the_hosts_bytes: same_bytes(zoo::VWW_INT8, false);
    ad_int8_gives_the_hosts_bytes: same_bytes(zoo::AD_INT8, false);
    sine_int8_gives_the_hosts_bytes: same_bytes(zoo::SINE_INT8, false);
    micro_speech_int8_gives_the_hosts_bytes: same_bytes(zoo::MICRO_SPEECH_INT8, false);
    person_int8_gives_the_hosts_bytes: same_bytes(zoo::PERSON_INT8, false);
    // Float at its border, int8 inside: bytes all the same.
    mnist_int8_gives_the_hosts_bytes: same_bytes(zoo::MNIST_INT8, false);
    a_loaded_kws_gives_the_hosts_bytes: same_bytes(zoo::KWS_INT8, true);

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
    let model = zoo::SINE_INT8.open();
    let samples = zoo::SINE_INT8.samples(&model);
    let first = on_device(&model, &samples, false).instructions;
    assert!(
        first.len() == samples.len() && first.iter().all(|count| *count > 100),
        "{first:?}"
    );
    assert_eq!(first, on_device(&model, &samples, false).instructions);
}
