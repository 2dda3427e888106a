//! The ONNX reference: every tensor of the model's own file by name, computed by tract without optimisation, or read from
//! a file that another engine wrote.
//!
//! tract computes the literal graph: floats between `DequantizeLinear` and `QuantizeLinear`. Its quantised tensors can
//! differ from ONNX Runtime's by one where a value lies on a rounding boundary (it multiplies by the reciprocal of the
//! scale). tract's own optimiser is left out: with it, a quantised Softmax at the end of a graph is wrong.

use crate::files::{self, FileError, Tensor as FileTensor};
use crate::graph::Data;
use crate::onnx::{self, OnnxError};
use std::collections::HashMap;
use std::path::Path;
use tract_onnx::prelude::*;

/// Why there is no reference.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReferenceError {
    /// The file cannot be read.
    #[error(transparent)]
    Onnx(#[from] OnnxError),
    /// The file of reference values cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file of reference values has too few samples.
    #[error("the reference values of `{name}` have {found} samples, sample {sample} is asked for")]
    Samples {
        /// The tensor.
        name: String,
        /// Samples in the file.
        found: usize,
        /// The sample.
        sample: usize,
    },
    /// tract does not run the model.
    #[error("the reference (tract) does not run this model: {0}")]
    Tract(String),
}

/// Tensors of one inference, by ONNX name.
pub type Values = HashMap<String, Data>;

/// Where reference values come from.
pub enum Reference {
    /// tract runs the model.
    Tract(Box<Tract>),
    /// Arrays with a leading sample axis, by tensor name.
    Recorded(Vec<(String, FileTensor)>),
}

impl Reference {
    /// Values that another engine (ONNX Runtime, say) computed: an `.npz` of arrays, each named as its tensor.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn recorded(path: &Path) -> Result<Reference, ReferenceError> {
        Ok(Reference::Recorded(files::read_archive(path)?))
    }

    /// See [`Tract::load`].
    ///
    /// # Errors
    /// As there.
    pub fn tract(
        path: &Path,
        inputs: &[(String, Vec<usize>)],
        names: &[String],
    ) -> Result<Reference, ReferenceError> {
        Ok(Reference::Tract(Box::new(Tract::load(
            path, inputs, names,
        )?)))
    }

    /// All known tensors of inference `sample`, whose inputs are the bytes `inputs`.
    ///
    /// # Errors
    /// tract fails, or the recording is too short.
    pub fn values(&self, sample: usize, inputs: &[u8]) -> Result<Values, ReferenceError> {
        match self {
            Reference::Tract(tract) => tract.run(inputs),
            Reference::Recorded(tensors) => {
                let one = |(name, tensor): &(String, FileTensor)| {
                    let found = tensor.shape.first().copied().unwrap_or(0);
                    let len = tensor.data.len() / found.max(1);
                    let data = tensor.data.slice(sample * len..(sample + 1) * len);
                    let missing = || ReferenceError::Samples {
                        name: name.clone(),
                        found,
                        sample,
                    };
                    Ok((name.clone(), data.ok_or_else(missing)?))
                };
                tensors.iter().map(one).collect()
            }
        }
    }
}

/// A model under tract.
pub struct Tract {
    plan: Arc<TypedRunnableModel>,
    names: Vec<String>,
    inputs: Vec<(Vec<usize>, DatumType)>,
}

fn tract(error: impl std::fmt::Display) -> ReferenceError {
    ReferenceError::Tract(format!("{error:#}"))
}

impl Tract {
    /// Loads `path` so that the tensors in `names` (those that exist) are computed. `inputs` are the shapes of the
    /// model's inputs.
    ///
    /// # Errors
    /// The file cannot be read, or tract refuses it.
    pub fn load(
        path: &Path,
        inputs: &[(String, Vec<usize>)],
        names: &[String],
    ) -> Result<Tract, ReferenceError> {
        let proto = onnx::read(path)?;
        let parsed = tract_onnx::onnx()
            .with_ignore_value_info(true)
            .parse(&proto, None)
            .map_err(tract)?;
        let mut model = parsed.model;
        let outlets = model.input_outlets().map_err(tract)?.to_vec();
        for outlet in outlets {
            let name = model.node(outlet.node).name.clone();
            if let Some((_, shape)) = inputs.iter().find(|(n, _)| *n == name) {
                let fact = model
                    .outlet_fact(outlet)
                    .map_err(tract)?
                    .clone()
                    .with_shape(shape.as_slice());
                model.set_outlet_fact(outlet, fact).map_err(tract)?;
            }
        }
        let found = names
            .iter()
            .filter_map(|name| Some((name.clone(), *parsed.outlets_by_name.get(name)?)));
        let (names, outlets): (Vec<_>, Vec<_>) = found.unzip();
        model.select_output_outlets(&outlets).map_err(tract)?;
        let typed = model.into_typed().map_err(tract)?;
        let mut described = Vec::new();
        for outlet in typed.input_outlets().map_err(tract)? {
            let fact = typed.outlet_fact(*outlet).map_err(tract)?;
            let shape = fact
                .shape
                .as_concrete()
                .ok_or_else(|| tract("an input has an open shape"))?;
            described.push((shape.to_vec(), fact.datum_type));
        }
        let plan = typed.into_runnable().map_err(tract)?;
        Ok(Tract {
            plan,
            names,
            inputs: described,
        })
    }

    /// Runs one inference on the bytes of all inputs, back to back.
    ///
    /// # Errors
    /// tract fails, or the bytes are too few.
    pub fn run(&self, sample: &[u8]) -> Result<Values, ReferenceError> {
        let mut rest = sample;
        let mut inputs = tvec!();
        for (shape, dtype) in &self.inputs {
            let len = shape.iter().product::<usize>() * dtype.size_of();
            let (bytes, tail) = rest
                .split_at_checked(len)
                .ok_or_else(|| tract("the sample is too short"))?;
            let tensor = match dtype {
                DatumType::F32 => {
                    let v: Vec<f32> = bytes
                        .as_chunks()
                        .0
                        .iter()
                        .map(|&w| f32::from_le_bytes(w))
                        .collect();
                    Tensor::from_shape(shape, &v)
                }
                DatumType::I8 => {
                    Tensor::from_shape(shape, &bytes.iter().map(|&b| b as i8).collect::<Vec<_>>())
                }
                DatumType::U8 => Tensor::from_shape(shape, bytes),
                other => return Err(tract(format!("input type {other:?}"))),
            };
            inputs.push(tensor.map_err(tract)?.into_tvalue());
            rest = tail;
        }
        let outputs = self.plan.run(inputs).map_err(tract)?;
        let mut values = Values::new();
        for (name, tensor) in self.names.iter().zip(outputs) {
            if let Some(data) = onnx::tensor_data(&tensor) {
                values.insert(name.clone(), data);
            }
        }
        Ok(values)
    }
}
