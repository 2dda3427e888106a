//! Running the float model to see its values.

use super::{Calibration, Calibrator, QuantizeError, Ranges};
use crate::compile::{CompileOptions, Compiled, compile};
use crate::graph::{Data, Graph};
use crate::host::Runner;
use crate::samples::decode;
use kinglet::Observer;

/// What is shown a tensor's name and elements, and may refuse them.
pub type See<'a> = dyn FnMut(&str, &[f32]) -> Result<(), QuantizeError> + 'a;

/// Ranges of all values that [`super::quantize`] asks for, from running `graph` on this machine.
///
/// A sample is the bytes of all inputs, back to back (see [`crate::samples::read`]).
///
/// # Errors
/// The graph does not compile, a sample does not fit it, or a value is not finite.
pub fn calibrate<'s>(
    graph: &Graph,
    method: Calibration,
    samples: impl IntoIterator<Item = &'s [u8]>,
) -> Result<Ranges, QuantizeError> {
    let mut calibrator = Calibrator::new(graph, method)?;
    observe(graph, samples, &mut |name, values| {
        calibrator.observe(name, values)
    })?;
    calibrator.finish()
}

/// Runs `graph` on every sample and shows each float tensor, by name: inputs, then results in order of execution.
///
/// The elements are in the order in which the plan stores them, which for feature maps is not ONNX's.
///
/// # Errors
/// The graph does not compile, a sample does not fit it, or `see` says so.
pub fn observe<'s>(
    graph: &Graph,
    samples: impl IntoIterator<Item = &'s [u8]>,
    see: &mut See<'_>,
) -> Result<(), QuantizeError> {
    let compiled = compile(graph, &CompileOptions::default())?;
    let mut runner = Runner::new(compiled.core())?;
    let inputs: Vec<(String, usize, kinglet::format::DType)> = {
        let plan = runner.plan()?;
        let infos = (0..plan.input_count()).filter_map(|i| plan.input(i));
        infos.map(|i| (i.name.to_owned(), i.len, i.dtype)).collect()
    };
    for sample in samples {
        let mut rest = sample;
        for (name, len, dtype) in &inputs {
            // A sample that is too short is the runner's to refuse.
            let Some((bytes, tail)) = rest.split_at_checked(*len) else {
                break;
            };
            if let Data::F32(values) = decode(*dtype, bytes) {
                see(name, &values)?;
            }
            rest = tail;
        }
        let mut steps = Steps {
            compiled: &compiled,
            see,
            result: Ok(()),
        };
        runner.run(sample, &mut steps)?;
        steps.result?;
    }
    Ok(())
}

struct Steps<'a, 'b> {
    compiled: &'a Compiled,
    see: &'a mut See<'b>,
    /// The first refusal.
    result: Result<(), QuantizeError>,
}

impl Observer for Steps<'_, '_> {
    fn after(&mut self, index: usize, output: &mut [u8]) {
        let Some(step) = self.compiled.steps.get(index).filter(|s| s.complete) else {
            return;
        };
        if self.result.is_ok()
            && let Data::F32(values) = decode(step.dtype, output)
        {
            self.result = (self.see)(&step.output, &values);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Options, quantize};
    use super::*;
    use crate::train::digits::{self, Samples};
    use crate::train::{accuracy, scores};

    fn rows(samples: &Samples) -> Vec<Vec<u8>> {
        (0..samples.len())
            .map(|i| {
                samples
                    .image(i)
                    .iter()
                    .flat_map(|v| v.to_le_bytes())
                    .collect()
            })
            .collect()
    }

    fn run(graph: &Graph, rows: &[Vec<u8>]) -> Vec<f32> {
        let compiled = compile(graph, &CompileOptions::default()).expect("compiled");
        let mut runner = Runner::new(compiled.core()).expect("a plan");
        let outputs = runner
            .run_all(rows.iter().map(Vec::as_slice), &mut ())
            .expect("run");
        outputs
            .iter()
            .flat_map(|o| o[0].as_chunks().0.iter().map(|&w| f32::from_le_bytes(w)))
            .collect()
    }

    /// The trained float graph as the compiler takes it.
    fn trained() -> Graph {
        let mut graph = digits::quickly_trained().to_graph();
        crate::passes::prepare(&mut graph);
        graph
    }

    #[test]
    fn the_compiled_float_graph_agrees_with_the_trainers_own_forward_pass() {
        let test = digits::load().test;
        let expected = scores(digits::quickly_trained(), &test);
        let scale = expected.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        for (ours, theirs) in run(&trained(), &rows(&test)).iter().zip(&expected) {
            assert!((ours - theirs).abs() <= 1e-5 * scale, "{ours} and {theirs}");
        }
    }

    #[test]
    fn an_int8_model_classifies_as_well_as_its_float_model() {
        let data = digits::load();
        let (graph, test) = (trained(), rows(&data.test));
        let float = run(&graph, &test);
        let calibration = rows(&data.calibration);
        for method in [Calibration::MinMax, Calibration::Percentile(99.99)] {
            let ranges = calibrate(&graph, method, calibration.iter().map(Vec::as_slice))
                .expect("calibrated");
            let quantised = quantize(&graph, &ranges, &Options::default()).expect("quantised");
            let int8 = run(&quantised, &test);
            assert_ne!(int8, float);
            let [float, int8] = [&float, &int8].map(|s| accuracy(s, &data.test.labels));
            assert!(
                (float - int8).abs() <= 0.01,
                "{method:?}: {float} and {int8}"
            );
        }
    }

    #[test]
    fn a_nan_within_the_model_is_reported_by_name() {
        let error =
            calibrate(&trained(), Calibration::MinMax, [&[0xff; 256][..]]).expect_err("NaN");
        assert!(
            matches!(&error, QuantizeError::NotFinite { value, .. } if value == "input"),
            "{error}"
        );
    }
}
