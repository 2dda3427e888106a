//! From a model's file to a plan.

use crate::error::{failure, refuse};
use clap::ValueEnum;
use kinglet_export::compile::{CompileOptions, StoredWeights, Target, Tiling, sparse::Sparse};
use kinglet_export::files::write_atomic;
use kinglet_export::model::Model;
use kinglet_export::onnx::LoadOptions;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::io::Write;
use std::path::PathBuf;

/// Shapes of inputs by name.
pub(crate) type Shapes = Vec<(String, Vec<usize>)>;

/// How a model's file is read.
pub(crate) fn load_options(shapes: Shapes, states: Vec<(String, String)>) -> LoadOptions {
    LoadOptions {
        input_shapes: shapes,
        states,
        ..LoadOptions::default()
    }
}

/// One of an option's values, by the name that the command line has for it.
pub(crate) fn choice<T: ValueEnum>(option: &str, name: &str) -> PyResult<T> {
    T::from_str(name, false).map_err(|_| {
        let all = T::value_variants().iter();
        let names: Vec<String> = all
            .filter_map(|v| Some(v.to_possible_value()?.get_name().to_owned()))
            .collect();
        refuse(format!("{option}={name:?} is none of {}", names.join(", ")))
    })
}

/// A plan and what the compiler knows about it.
#[pyclass(frozen, module = "kinglet._kinglet")]
pub(crate) struct Compiled {
    file: Vec<u8>,
    #[pyo3(get)]
    arena_bytes: usize,
    #[pyo3(get)]
    flash_bytes: usize,
    #[pyo3(get)]
    macs: u64,
    #[pyo3(get)]
    instructions: Option<u64>,
    #[pyo3(get)]
    stack_bytes: Option<u64>,
    #[pyo3(get)]
    peak_layer: String,
    #[pyo3(get)]
    warnings: Vec<String>,
}

#[pymethods]
impl Compiled {
    fn file<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.file)
    }

    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        py.detach(|| write_atomic(&path, |file| file.write_all(&self.file)))
            .map_err(failure)
    }
}

/// Compiles an ONNX or TensorFlow Lite file; a plan's file is taken as it is.
#[pyfunction]
#[pyo3(signature = (path, *, target, weights, tile, sparse, shapes, states, int8_io, strip, arena_limit, decoding))]
#[expect(clippy::too_many_arguments, reason = "Python passes them by name")]
pub(crate) fn compile(
    py: Python<'_>,
    path: PathBuf,
    target: &str,
    weights: &str,
    tile: &str,
    sparse: &str,
    shapes: Shapes,
    states: Vec<(String, String)>,
    int8_io: bool,
    strip: bool,
    arena_limit: Option<usize>,
    decoding: Option<f64>,
) -> PyResult<Compiled> {
    let options = CompileOptions {
        target: choice::<Target>("target", target)?,
        weights: choice::<StoredWeights>("weights", weights)?,
        tiling: choice::<Tiling>("tile", tile)?,
        sparse: choice::<Sparse>("sparse", sparse)?,
        int8_io,
        strip,
        arena_limit,
        decoding_share: decoding.map(|percent| percent / 100.0),
        ..CompileOptions::default()
    };
    let load = load_options(shapes, states);
    let model = py
        .detach(|| Model::open(&path, &load, &options))
        .map_err(failure)?;
    let Some(compiled) = model.compiled else {
        return Err(refuse(format!(
            "{} is a plan already: give it to kinglet.load",
            path.display()
        )));
    };
    let peak = compiled.steps.get(compiled.peak_step);
    Ok(Compiled {
        arena_bytes: compiled.arena_len,
        flash_bytes: compiled.core_len,
        macs: compiled.macs(),
        instructions: compiled.instructions,
        stack_bytes: compiled.stack_bound,
        peak_layer: peak.map_or_else(String::new, |s| s.name.clone()),
        warnings: model.warnings.iter().map(ToString::to_string).collect(),
        file: compiled.file,
    })
}
