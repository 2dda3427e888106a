//! Real models on the host against ONNX Runtime's golden outputs.
//!
//! Float: the largest absolute error is at most 10⁻⁴ of the largest golden magnitude. Int8: the class is that of the
//! literal QDQ graph on every golden input, and at least the stated share of output elements is equal: the shares are
//! what was measured, and only a change of rounding lowers them.

use kinglet_export::samples::decode;
use kinglet_tests::zoo::{self, Golden, class, reals};
use kinglet_tests::zoo_claims;

/// Our outputs and the golden ones, one row a sample.
fn rows(golden: &Golden) -> (Vec<Vec<f64>>, Vec<Vec<f64>>) {
    let model = golden.open();
    let runner = model.runner().unwrap();
    let dtype = runner.plan().unwrap().output(0).unwrap().dtype;
    let ours = zoo::run_on_host(&model, &golden.samples(&model));
    let ours: Vec<Vec<f64>> = ours
        .iter()
        .map(|bytes| reals(&decode(dtype, bytes)))
        .collect();
    let tensor = golden.outputs();
    let all = reals(&tensor.data);
    assert_eq!(
        tensor.shape[0],
        ours.len(),
        "a row of golden outputs for every sample"
    );
    let theirs: Vec<Vec<f64>> = all
        .chunks(all.len() / ours.len())
        .map(<[f64]>::to_vec)
        .collect();
    assert!(ours.iter().zip(&theirs).all(|(a, b)| a.len() == b.len()));
    (ours, theirs)
}

fn float(golden: Golden) {
    let (ours, theirs) = rows(&golden);
    let (ours, theirs) = (ours.concat(), theirs.concat());
    let magnitude = theirs.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    let pairs = ours.iter().zip(&theirs);
    let error = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max) / magnitude;
    println!("{}: largest error {error:.2e} of {magnitude}", golden.model);
    assert!(ours.iter().all(|v| v.is_finite()));
    assert!(error <= 1e-4, "{}: {error:e}", golden.model);
}

/// `share` of the elements are equal, none differs by more than `most` steps.
fn int8(golden: Golden, share: f64, most: f64) {
    let (ours, theirs) = rows(&golden);
    for (sample, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
        // With one output there is no class, with a reconstruction it means nothing, but equality holds all the same.
        assert_eq!(
            class(ours),
            class(theirs),
            "{}: class of sample {sample}",
            golden.model
        );
    }
    let (ours, theirs) = (ours.concat(), theirs.concat());
    let equal = ours.iter().zip(&theirs).filter(|(a, b)| a == b).count() as f64 / ours.len() as f64;
    let largest = ours
        .iter()
        .zip(&theirs)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f64::max);
    println!(
        "{}: {:.3} % equal, largest difference {largest}",
        golden.model,
        100.0 * equal
    );
    assert!(
        equal >= share,
        "{}: {equal} of the elements are equal",
        golden.model
    );
    assert!(
        largest <= most,
        "{}: an element differs by {largest}",
        golden.model
    );
}

zoo_claims! {
    kws_float_equals_the_reference: float(zoo::KWS_FLOAT);
    resnet_float_equals_the_reference: float(zoo::RESNET_FLOAT);
    resnet_channels_last_equals_the_reference: float(zoo::RESNET_NHWC);
    vww_float_equals_the_reference: float(zoo::VWW_FLOAT);
    ad_float_equals_the_reference: float(zoo::AD_FLOAT);
    sine_float_equals_the_reference: float(zoo::SINE_FLOAT);
    mnist_float_equals_the_reference: float(zoo::MNIST_FLOAT);

    kws_int8_keeps_class_and_bytes: int8(zoo::KWS_INT8, 1.0, 0.0);
    resnet_int8_keeps_class_and_bytes: int8(zoo::RESNET_INT8, 0.985, 1.0);
    vww_int8_keeps_class_and_bytes: int8(zoo::VWW_INT8, 1.0, 0.0);
    ad_int8_keeps_class_and_bytes: int8(zoo::AD_INT8, 1.0, 0.0);
    sine_int8_keeps_class_and_bytes: int8(zoo::SINE_INT8, 1.0, 0.0);
    micro_speech_int8_keeps_class_and_bytes: int8(zoo::MICRO_SPEECH_INT8, 1.0, 0.0);
    person_int8_keeps_class_and_bytes: int8(zoo::PERSON_INT8, 1.0, 0.0);
    mnist_int8_keeps_class_and_values: int8(zoo::MNIST_INT8, 1.0, 0.0);
    // Rounding amplifies over 52 layers: ONNX Runtime with and without its own fusions differs on 43 % of the bytes.
    mobilenet_v2_int8_keeps_the_class: int8(zoo::MOBILENET_V2_INT8, 0.0, 17.0);
}
