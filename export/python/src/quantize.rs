//! From a float model to an int8 one.

use crate::compile::{Shapes, choice, load_options};
use crate::error::{failure, refuse};
use crate::interrupt::Interrupt;
use kinglet::format::DType;
use kinglet_export::compile::CompileOptions;
use kinglet_export::compress::formats::WeightFormat;
use kinglet_export::diagnose::calibration;
use kinglet_export::files::Tensor;
use kinglet_export::host::Runner;
use kinglet_export::model::load_graph;
use kinglet_export::onnx::write;
use kinglet_export::quantize::{Calibration, Calibrator, Options, observe};
use kinglet_export::samples;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use std::path::PathBuf;

/// An array: the input's name, NumPy's name of its type, shape, bytes.
type Array = (String, String, Vec<usize>, PyBackedBytes);

fn tensor((name, dtype, shape, bytes): Array) -> PyResult<(String, Tensor)> {
    let dtype = match dtype.as_str() {
        "float32" => DType::F32,
        "int8" => DType::I8,
        "uint8" => DType::U8,
        "int32" => DType::I32,
        other => {
            return Err(refuse(format!(
                "samples of input `{name}` are {other}: convert them to the input's type"
            )));
        }
    };
    let data = samples::decode(dtype, &bytes);
    Ok((name, Tensor { shape, data }))
}

/// Quantises `model` with ranges of `arrays`, or of `files` as the command line takes them; gives the warnings.
#[pyfunction]
#[pyo3(signature = (model, output, *, arrays, files, shapes, percentile, int8_io, weights, weight_step))]
#[expect(clippy::too_many_arguments, reason = "Python passes them by name")]
pub(crate) fn quantize(
    py: Python<'_>,
    model: PathBuf,
    output: PathBuf,
    arrays: Vec<Array>,
    files: Vec<String>,
    shapes: Shapes,
    percentile: Option<f64>,
    int8_io: bool,
    weights: &str,
    weight_step: f64,
) -> PyResult<Vec<String>> {
    let weights = choice::<WeightFormat>("weights", weights)?;
    let arrays = arrays
        .into_iter()
        .map(tensor)
        .collect::<PyResult<Vec<_>>>()?;
    if weights != WeightFormat::Int8 && weight_step != 0.0 {
        return Err(refuse("weight_step is for int8 weights only".into()));
    }
    if !(weight_step >= 0.0 && weight_step.is_finite()) {
        let text = format!("weight_step must be 0 or more, not {weight_step}");
        return Err(refuse(text));
    }
    let options = Options {
        int8_io,
        weight_step,
        weights,
    };
    py.detach(|| {
        let load = load_options(shapes, Vec::new());
        let (graph, warnings) = load_graph(&model, &load).map_err(failure)?;
        let mut warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
        let method = percentile.map_or(Calibration::MinMax, Calibration::Percentile);
        let mut calibrator = Calibrator::new(&graph, method).map_err(failure)?;
        let compiled = kinglet_export::compile::compile(&graph, &CompileOptions::default());
        let runner = Runner::new(compiled.map_err(failure)?.core()).map_err(failure)?;
        let plan = runner.plan().map_err(failure)?;
        let rows = if files.is_empty() {
            samples::of_tensors(&plan, &arrays)
        } else {
            samples::read(&plan, &files)
        };
        let rows = rows.map_err(failure)?.rows;
        if rows.is_empty() {
            return Err(refuse("there are no samples: give at least one".into()));
        }
        if let Some((what, diagnosis)) = calibration(&rows) {
            warnings.push(format!("{what}; {}", diagnosis.help));
        }
        let mut interrupt = Interrupt::new();
        let wanted = rows
            .iter()
            .map(Vec::as_slice)
            .take_while(|_| !interrupt.wanted());
        observe(&graph, wanted, &mut |name, values| {
            calibrator.observe(name, values)
        })
        .map_err(failure)?;
        interrupt.check()?;
        let ranges = calibrator.finish().map_err(failure)?;
        let quantized =
            kinglet_export::quantize::quantize(&graph, &ranges, &options).map_err(failure)?;
        write::write(&quantized, &output).map_err(failure)?;
        Ok(warnings)
    })
}
