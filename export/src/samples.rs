//! Tensors of samples: from files to the bytes a plan takes, and back.
//!
//! Every input file has a leading sample axis; row `i` of every input is inference `i`.

use crate::files::{self, FileError, Tensor};
use crate::graph::{DType as GraphType, Data};
use kinglet::format::DType;
use kinglet::{Plan, TensorInfo};
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::path::{Path, PathBuf};

/// Inputs for a plan.
#[derive(Debug)]
pub struct Samples {
    /// For each inference the bytes of all inputs, back to back.
    pub rows: Vec<Vec<u8>>,
    /// Whether the rows hold the model's own leading axis of 1 as well.
    pub keeps_batch: bool,
}

/// Why inputs or outputs do not fit the model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SampleError {
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// `--input` is not as the model needs it.
    #[error("{0}")]
    Arguments(String),
    /// Wrong shape.
    #[error("{}: each sample has shape {found:?}, input `{input}` takes {expected:?}", path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// The input.
        input: String,
        /// The model's shape.
        expected: Vec<usize>,
        /// The shape of a row.
        found: Vec<usize>,
    },
    /// Wrong element type.
    #[error("{}: elements are {found}, input `{input}` takes {expected}", path.display())]
    Type {
        /// The file.
        path: PathBuf,
        /// The input.
        input: String,
        /// The model's type.
        expected: &'static str,
        /// The file's type.
        found: String,
    },
    /// NaN or infinity.
    #[error("{}: element {element} of sample {sample} is {value}; inputs must be finite", path.display())]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// Which sample.
        sample: usize,
        /// Which element.
        element: usize,
        /// NaN or an infinity.
        value: f32,
    },
    /// Inputs disagree on the number of samples.
    #[error("input `{input}` has {found} samples, the first one has {expected}")]
    Count {
        /// The input.
        input: String,
        /// Samples of the first input.
        expected: usize,
        /// Samples of this one.
        found: usize,
    },
}

fn type_name(dtype: DType) -> &'static str {
    match dtype {
        DType::F32 => "float32",
        DType::I8 => "int8",
        DType::U8 => "uint8",
        DType::I32 => "int32",
    }
}

/// Reads the inputs of `plan`: `arguments` are `FILE` (a single input) or `NAME=FILE`.
///
/// # Errors
/// A file is missing or does not fit: see [`SampleError`].
pub fn read(plan: &Plan<'_>, arguments: &[String]) -> Result<Samples, SampleError> {
    let infos: Vec<TensorInfo<'_>> = (0..plan.input_count())
        .filter_map(|i| plan.input(i))
        .collect();
    let names = || {
        infos
            .iter()
            .map(|i| format!("--input {}=FILE", i.name))
            .collect::<Vec<_>>()
            .join(" ")
    };
    let mut tensors = Vec::new();
    // States that are not given are carried from run to run.
    let named = |info: &TensorInfo<'_>| {
        let mut names = arguments.iter().filter_map(|a| a.strip_prefix(info.name));
        names.any(|rest| rest.starts_with('='))
    };
    let carried =
        infos.iter().any(|i| i.state > 0) && !infos.iter().any(|i| i.state > 0 && named(i));
    let infos: Vec<_> = infos.iter().filter(|i| i.state == 0 || !carried).collect();
    for info in &infos {
        let named = arguments
            .iter()
            .find_map(|a| a.strip_prefix(info.name)?.strip_prefix('='));
        let path = match (named, arguments) {
            (Some(path), _) => path,
            (None, [only]) if infos.len() == 1 => only,
            _ => {
                return Err(SampleError::Arguments(format!(
                    "give every input of the model: {}",
                    names()
                )));
            }
        };
        let (rows, keeps_batch) = read_input(Path::new(path), info)?;
        tensors.push((*info, rows, keeps_batch));
    }
    if arguments.len() != infos.len() {
        let message = format!("the model has {} input(s): {}", infos.len(), names());
        return Err(SampleError::Arguments(message));
    }
    together(tensors)
}

/// As [`read`], of tensors by input name that errors call `samples`; the name of a model's only input may be empty.
///
/// # Errors
/// A tensor is missing or does not fit.
pub fn of_tensors(plan: &Plan<'_>, tensors: &[(String, Tensor)]) -> Result<Samples, SampleError> {
    let infos: Vec<TensorInfo<'_>> = (0..plan.input_count())
        .filter_map(|i| plan.input(i))
        .collect();
    let mut inputs = Vec::new();
    for info in &infos {
        let only = infos.len() == 1;
        let found = tensors
            .iter()
            .find(|(name, _)| name == info.name || (only && name.is_empty()))
            .filter(|_| tensors.len() == infos.len());
        let Some((_, tensor)) = found else {
            let names: Vec<_> = infos.iter().map(|i| format!("`{}`", i.name)).collect();
            return Err(SampleError::Arguments(format!(
                "give samples of every input of the model by its name: {}",
                names.join(", ")
            )));
        };
        let (rows, keeps_batch) = rows(tensor, Path::new("samples"), info)?;
        inputs.push((info, rows, keeps_batch));
    }
    together(inputs)
}

/// The samples of all inputs, and whether they hold the model's own leading axis.
fn together(tensors: Vec<(&TensorInfo<'_>, Vec<Vec<u8>>, bool)>) -> Result<Samples, SampleError> {
    let none = || SampleError::Arguments("the model has no inputs".into());
    let (_, first, keeps_batch) = tensors
        .iter()
        .find(|(info, ..)| info.state == 0)
        .or(tensors.first())
        .ok_or_else(none)?;
    let (expected, keeps_batch) = (first.len(), *keeps_batch);
    let mut all = vec![Vec::new(); expected];
    for (info, rows, _) in tensors {
        // One row of a state is what it begins with.
        let begins = info.state > 0 && rows.len() == 1;
        if rows.len() != expected && !begins {
            return Err(SampleError::Count {
                input: info.name.into(),
                expected,
                found: rows.len(),
            });
        }
        for (all, row) in all.iter_mut().zip(rows) {
            all.extend(row);
        }
    }
    Ok(Samples {
        rows: all,
        keeps_batch,
    })
}

fn read_input(path: &Path, info: &TensorInfo<'_>) -> Result<(Vec<Vec<u8>>, bool), SampleError> {
    rows(&files::read_tensor(path)?, path, info)
}

/// The samples of an input in `tensor`, which errors call `path`, and whether they hold the model's own leading axis of 1.
fn rows(
    tensor: &Tensor,
    path: &Path,
    info: &TensorInfo<'_>,
) -> Result<(Vec<Vec<u8>>, bool), SampleError> {
    let expected = info.shape();
    let row = tensor.shape.get(1..).unwrap_or_default();
    let keeps_batch = row == expected;
    let without_batch = expected.first() == Some(&1) && row == &expected[1..];
    if !keeps_batch && !without_batch {
        let (expected, found) = (expected.to_vec(), row.to_vec());
        return Err(SampleError::Shape {
            path: path.into(),
            input: info.name.into(),
            expected,
            found,
        });
    }
    let len = info.len / info.dtype.size();
    let rows = match (&tensor.data, info.dtype) {
        (Data::F32(values), DType::F32) => {
            if let Some(at) = files::first_non_finite(values) {
                let (sample, element, value) = (at / len, at % len, values[at]);
                return Err(SampleError::NotFinite {
                    path: path.into(),
                    sample,
                    element,
                    value,
                });
            }
            values
                .chunks(len)
                .map(|row| row.iter().flat_map(|v| v.to_le_bytes()).collect())
                .collect()
        }
        (Data::I8(values), DType::I8) => values
            .chunks(len)
            .map(|row| row.iter().map(|&v| v as u8).collect())
            .collect(),
        (Data::I32(values), DType::I32) => values
            .chunks(len)
            .map(|row| row.iter().flat_map(|v| v.to_le_bytes()).collect())
            .collect(),
        (Data::U8(values), DType::U8) => values.chunks(len).map(<[u8]>::to_vec).collect(),
        (data, dtype) => {
            let found = match data.dtype() {
                GraphType::F32 => "float32",
                GraphType::I8 => "int8",
                GraphType::U8 => "uint8",
                GraphType::I32 => "int32",
                GraphType::I64 => "int64",
            };
            return Err(SampleError::Type {
                path: path.into(),
                input: info.name.into(),
                expected: type_name(dtype),
                found: found.into(),
            });
        }
    };
    Ok((rows, keeps_batch))
}

/// One seeded random inference: random bytes, or floats in −1 … 1.
pub fn random(plan: &Plan<'_>) -> Vec<u8> {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let mut sample = Vec::new();
    for info in (0..plan.input_count()).filter_map(|i| plan.input(i)) {
        let mut bytes = vec![0; info.len];
        random.fill_bytes(&mut bytes);
        if info.dtype == DType::F32 {
            for word in bytes.as_chunks_mut::<4>().0 {
                *word = (i32::from_le_bytes(*word) as f32 / 2f32.powi(31)).to_le_bytes();
            }
        }
        sample.extend(bytes);
    }
    sample
}

/// Bytes of one tensor as typed elements.
pub fn decode(dtype: DType, bytes: &[u8]) -> Data {
    match dtype {
        DType::F32 => Data::F32(
            bytes
                .as_chunks()
                .0
                .iter()
                .map(|&word| f32::from_le_bytes(word))
                .collect(),
        ),
        DType::I8 => Data::I8(bytes.iter().map(|&b| b as i8).collect()),
        DType::U8 => Data::U8(bytes.to_vec()),
        DType::I32 => Data::I32(
            bytes
                .as_chunks()
                .0
                .iter()
                .map(|&word| i32::from_le_bytes(word))
                .collect(),
        ),
    }
}

/// Output `index` of all inferences as one tensor with a leading sample axis. `outputs[sample][index]` are bytes.
pub fn gather(
    info: &TensorInfo<'_>,
    index: usize,
    outputs: &[Vec<Vec<u8>>],
    keeps_batch: bool,
) -> Tensor {
    let row = match info.shape() {
        [1, rest @ ..] if !keeps_batch => rest,
        all => all,
    };
    let bytes: Vec<u8> = outputs
        .iter()
        .flat_map(|o| o.get(index).into_iter().flatten().copied())
        .collect();
    let mut shape = vec![outputs.len()];
    shape.extend(row);
    Tensor {
        shape,
        data: decode(info.dtype, &bytes),
    }
}

/// Writes all outputs: to `path` itself for a single one, into the folder `path` otherwise (or when it is one).
/// Returns name, file and shape of each.
///
/// # Errors
/// A file cannot be written; files are whole or absent.
pub fn write(
    plan: &Plan<'_>,
    outputs: &[Vec<Vec<u8>>],
    keeps_batch: bool,
    path: &Path,
) -> Result<Vec<(String, PathBuf, Vec<usize>)>, SampleError> {
    let into_folder = plan.output_count() > 1 || path.is_dir();
    if into_folder {
        std::fs::create_dir_all(path).map_err(|source| FileError::Write {
            path: path.into(),
            source,
        })?;
    }
    let mut written = Vec::new();
    for index in 0..plan.output_count() {
        let Some(info) = plan.output(index) else {
            continue;
        };
        let tensor = gather(&info, index, outputs, keeps_batch);
        let file = if into_folder {
            path.join(format!("{}.npy", file_name(info.name)))
        } else {
            path.into()
        };
        files::write_tensor(&file, &tensor)?;
        written.push((info.name.to_owned(), file, tensor.shape));
    }
    Ok(written)
}

fn file_name(tensor: &str) -> String {
    tensor
        .chars()
        .map(|c| {
            if c.is_alphanumeric() || "-_.".contains(c) {
                c
            } else {
                '_'
            }
        })
        .collect()
}
