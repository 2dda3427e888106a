//! Real int8 models, step by step against tract, which runs the literal QDQ graph: each step is fed with tract's own
//! values, so that it shows its own error only.
//!
//! At least 99.9 % of each step's bytes are equal and none differs by more than 1.

use kinglet_export::compile::{CompileOptions, Tiling};
use kinglet_export::model::Model;
use kinglet_export::onnx::LoadOptions;
use kinglet_export::reference::Tract;
use kinglet_export::verify::{Comparison, Forced};
use kinglet_tests::zoo::{self, Golden};
use kinglet_tests::zoo_claims;

/// tract is compiled without optimisation here, so two samples have to do: one real, one random.
fn every_step_equals_tract(golden: Golden) {
    steps_equal_tract(golden, golden.open());
}

/// Each band of a tiled plan is compared with its rows of the tensor.
fn every_band_equals_tract(golden: Golden) {
    let options = CompileOptions {
        tiling: Tiling::Smallest,
        ..CompileOptions::default()
    };
    let model = Model::open(&golden.path(), &LoadOptions::default(), &options).unwrap();
    let tiled = model.compiled.as_ref().and_then(|c| c.tiled.as_ref());
    assert!(tiled.is_some(), "{}", golden.model);
    steps_equal_tract(golden, model);
}

fn steps_equal_tract(golden: Golden, model: Model) {
    let steps = model.steps().unwrap();
    let mut runner = model.runner().unwrap();
    let plan = runner.plan().unwrap();
    let inputs: Vec<(String, Vec<usize>)> = (0..plan.input_count())
        .filter_map(|i| plan.input(i))
        .map(|i| (i.name.to_owned(), i.shape().to_vec()))
        .collect();
    let names: Vec<String> = steps.iter().map(|s| s.output.clone()).collect();
    let tract = Tract::load(&golden.path(), &inputs, &names).unwrap();
    let mut rows = vec![Comparison::default(); steps.len()];
    let samples = golden.samples(&model);
    for sample in [&samples[0], &samples[samples.len() - 1]] {
        let values = tract.run(sample).unwrap();
        runner
            .run(sample, &mut Forced::new(steps, &mut rows, &values))
            .unwrap();
    }
    let compared: u64 = rows.iter().map(|row| row.elements).sum();
    let different: u64 = rows.iter().map(|row| row.different).sum();
    let unnamed = rows.iter().filter(|row| row.elements == 0).count();
    println!(
        "{}: {different} of {compared} elements differ; {unnamed} of {} steps have no reference",
        golden.model,
        rows.len()
    );
    assert!(
        unnamed
            <= 1 + steps
                .iter()
                .filter(|step| !step.complete || step.reordered)
                .count(),
        "every step is compared"
    );
    for (step, row) in steps.iter().zip(&rows) {
        assert!(
            row.holds(step.dtype),
            "{}: `{}` ({}): {row:?}",
            golden.model,
            step.name,
            step.operator
        );
    }
}

#[test]
#[ignore = "needs the model zoo"]
fn every_band_of_vww_equals_tract() {
    every_band_equals_tract(zoo::VWW_INT8);
}

#[test]
#[ignore = "needs the model zoo"]
fn every_band_of_float_resnet_equals_tract() {
    every_band_equals_tract(zoo::RESNET_FLOAT);
}

zoo_claims! {
    every_step_of_kws_equals_tract: every_step_equals_tract(zoo::KWS_INT8);
    every_step_of_resnet_equals_tract: every_step_equals_tract(zoo::RESNET_INT8);
    every_step_of_vww_equals_tract: every_step_equals_tract(zoo::VWW_INT8);
    every_step_of_ad_equals_tract: every_step_equals_tract(zoo::AD_INT8);
    every_step_of_sine_equals_tract: every_step_equals_tract(zoo::SINE_INT8);
    every_step_of_micro_speech_equals_tract: every_step_equals_tract(zoo::MICRO_SPEECH_INT8);
    every_step_of_person_equals_tract: every_step_equals_tract(zoo::PERSON_INT8);
    every_step_of_mnist_equals_tract: every_step_equals_tract(zoo::MNIST_INT8);
    every_step_of_mobilenet_v2_equals_tract: every_step_equals_tract(zoo::MOBILENET_V2_INT8);
    every_step_of_float_resnet_equals_tract: every_step_equals_tract(zoo::RESNET_FLOAT);
    every_step_of_float_kws_equals_tract: every_step_equals_tract(zoo::KWS_FLOAT);
}
