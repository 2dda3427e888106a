//! Real int8 models, step by step against ONNX Runtime with optimisations off, on all golden inputs: each step is fed with
//! ONNX Runtime's own values. At least 99.9 % of each step's bytes are equal and none differs by more than 1.
//!
//! `tests/reference.py` writes the values; it needs a Python with onnx, onnxruntime and numpy, which the variable
//! `KINGLET_PYTHON` names (`python3` by default).

use kinglet_export::reference::Reference;
use kinglet_export::verify::{Comparison, Forced};
use kinglet_tests::command::script;
use kinglet_tests::zoo::{self, Golden};

fn every_step_equals_onnxruntime(golden: Golden) {
    let folder = tempfile::tempdir().unwrap();
    let values = folder.path().join("values.npz");
    let mut reference = script("reference.py");
    reference.args([golden.path(), golden.inputs_path(), values.clone()]);
    let status = reference.status();
    let status = status.unwrap_or_else(|e| panic!("{reference:?}: {e}"));
    assert!(
        status.success(),
        "tests/reference.py needs onnx, onnxruntime and numpy: set KINGLET_PYTHON to a Python that has them"
    );
    let reference = Reference::recorded(&values).unwrap();
    let model = golden.open();
    let steps = model.steps().unwrap();
    let mut runner = model.runner().unwrap();
    let mut rows = vec![Comparison::default(); steps.len()];
    for (i, sample) in golden.samples(&model).iter().enumerate() {
        let values = reference.values(i, sample).unwrap();
        runner
            .run(sample, &mut Forced::new(steps, &mut rows, &values))
            .unwrap();
    }
    let least = rows.iter().map(Comparison::equal_share).fold(1.0, f64::min);
    let missed: Vec<_> = steps
        .iter()
        .zip(&rows)
        .filter(|(_, row)| row.elements == 0)
        .map(|(step, _)| step)
        .collect();
    println!(
        "{}: {} of {} steps compared, least share {least:.5}",
        golden.model,
        rows.len() - missed.len(),
        rows.len()
    );
    assert!(missed.is_empty(), "never compared: {missed:#?}");
    for (step, row) in steps.iter().zip(&rows) {
        assert!(
            row.holds(step.dtype),
            "{}: `{}` ({}): {row:?}",
            golden.model,
            step.name,
            step.operator
        );
        assert!(
            row.equal_share() >= 0.999,
            "{}: `{}`: {row:?}",
            golden.model,
            step.name
        );
    }
}

macro_rules! claims {
    ($($name:ident: $golden:expr;)*) => {
        $(
            #[test]
            #[ignore = "needs the model zoo and onnxruntime"]
            fn $name() {
                every_step_equals_onnxruntime($golden);
            }
        )*
    };
}

claims! {
    every_step_of_kws_equals_onnxruntime: zoo::KWS_INT8;
    every_step_of_resnet_equals_onnxruntime: zoo::RESNET_INT8;
    every_step_of_vww_equals_onnxruntime: zoo::VWW_INT8;
    every_step_of_ad_equals_onnxruntime: zoo::AD_INT8;
    every_step_of_sine_equals_onnxruntime: zoo::SINE_INT8;
    every_step_of_micro_speech_equals_onnxruntime: zoo::MICRO_SPEECH_INT8;
    every_step_of_person_equals_onnxruntime: zoo::PERSON_INT8;
    every_step_of_mnist_equals_onnxruntime: zoo::MNIST_INT8;
    every_step_of_mobilenet_v2_equals_onnxruntime: zoo::MOBILENET_V2_INT8;
}
