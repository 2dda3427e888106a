//! Labelled samples to train on: where they come from, and how they become batches.
//!
//! | dataset | what [`open`] takes |
//! |---|---|
//! | CIFAR-10 | a folder with the original `data_batch_*.bin` and `test_batch.bin`, or with the zoo's grids of images (`train_*.webp`, `*.labels.u8`) |
//! | MNIST and its like | a folder with `*images-idx3-ubyte` and `*labels-idx1-ubyte`, plain or `.gz` |
//! | arrays | an `.npz` with `x` and `y`, or with `x_train`, `y_train`, `x_test`, `y_test` |
//! | images | a folder of `.png` and `.webp` files, a folder a class, perhaps below `train` and `test` |
//!
//! A name instead of a path means a folder of the model zoo's `datasets`.

pub mod augment;
pub mod batches;
mod cifar;
mod error;
mod folder;
mod idx;
mod npz;
pub(crate) mod picture;

pub use error::DataError;

use crate::limits;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use std::path::{Path, PathBuf};

/// Elements as they were stored.
#[derive(Clone, PartialEq, Debug)]
pub enum Elements {
    /// Pixels.
    U8(Vec<u8>),
    /// Quantised features.
    I8(Vec<i8>),
    /// Anything else.
    F32(Vec<f32>),
}

impl Elements {
    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            Elements::U8(v) => v.len(),
            Elements::I8(v) => v.len(),
            Elements::F32(v) => v.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn select(&self, indices: &[usize], len: usize) -> Elements {
        fn rows<T: Copy>(v: &[T], indices: &[usize], len: usize) -> Vec<T> {
            let rows = indices.iter().map(|&i| &v[i * len..(i + 1) * len]);
            rows.flatten().copied().collect()
        }
        match self {
            Elements::U8(v) => Elements::U8(rows(v, indices, len)),
            Elements::I8(v) => Elements::I8(rows(v, indices, len)),
            Elements::F32(v) => Elements::F32(rows(v, indices, len)),
        }
    }
}

/// How stored bytes become reals. Floats stay what they are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, clap::ValueEnum)]
pub enum Scaling {
    /// `(pixel − 128) / 64`, and `byte / 64` if signed: near mean 0 and deviation 1 for photographs, and exactly what an
    /// int8 input with scale 1/64 and zero point 0 means.
    #[default]
    Centered,
    /// `pixel / 255`.
    Unit,
    /// The numbers themselves.
    Raw,
}

/// Samples and their classes.
#[derive(Clone, PartialEq, Debug)]
pub struct Split {
    /// A sample after the other; images with their channels last.
    pub elements: Elements,
    /// Class of each sample.
    pub labels: Vec<u16>,
}

impl Split {
    /// Number of samples.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Appends one sample as reals, in the order of storage.
    pub fn sample(&self, index: usize, len: usize, scaling: Scaling, out: &mut Vec<f32>) {
        let range = index * len..(index + 1) * len;
        match (&self.elements, scaling) {
            (Elements::U8(v), Scaling::Centered) => {
                out.extend(v[range].iter().map(|&p| (f32::from(p) - 128.0) / 64.0));
            }
            (Elements::U8(v), Scaling::Unit) => {
                out.extend(v[range].iter().map(|&p| f32::from(p) / 255.0));
            }
            (Elements::U8(v), Scaling::Raw) => {
                out.extend(v[range].iter().map(|&p| f32::from(p)));
            }
            (Elements::I8(v), Scaling::Centered) => {
                out.extend(v[range].iter().map(|&b| f32::from(b) / 64.0));
            }
            (Elements::I8(v), Scaling::Unit) => {
                out.extend(v[range].iter().map(|&b| (f32::from(b) + 128.0) / 255.0));
            }
            (Elements::I8(v), Scaling::Raw) => out.extend(v[range].iter().map(|&b| f32::from(b))),
            (Elements::F32(v), _) => out.extend_from_slice(&v[range]),
        }
    }

    pub(crate) fn select(&self, indices: &[usize], len: usize) -> Split {
        Split {
            elements: self.elements.select(indices, len),
            labels: indices.iter().map(|&i| self.labels[i]).collect(),
        }
    }
}

/// A classification task.
#[derive(Clone, PartialEq, Debug)]
pub struct Dataset {
    /// What it is called.
    pub name: String,
    /// Shape of a sample as ONNX has it: `[channels, height, width]` for images.
    pub shape: Vec<usize>,
    /// Number of classes.
    pub classes: usize,
    /// What is trained on.
    pub train: Split,
    /// What is never trained on.
    pub test: Split,
}

/// Share of the samples that is set aside where a dataset has no test set of its own.
const HELD_OUT: f64 = 0.2;

impl Dataset {
    /// Elements of a sample.
    pub fn sample_len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Keeps the first so many training samples.
    pub fn limit(&mut self, samples: usize) {
        let kept: Vec<usize> = (0..self.train.len().min(samples)).collect();
        self.train = self.train.select(&kept, self.sample_len());
    }

    /// Checks what came out of a file; sets samples aside, by a fixed shuffle, if there is no test set.
    fn new(
        path: &Path,
        name: String,
        shape: Vec<usize>,
        train: Split,
        test: Option<Split>,
    ) -> Result<Dataset, DataError> {
        let len: usize = shape.iter().product();
        let malformed = |reason: String| DataError::Malformed {
            path: path.into(),
            reason,
        };
        for split in [Some(&train), test.as_ref()].into_iter().flatten() {
            if split.elements.len() != split.len() * len {
                return Err(malformed(format!(
                    "{} labels for {} samples",
                    split.len(),
                    split.elements.len() / len.max(1)
                )));
            }
            if let Elements::F32(v) = &split.elements
                && let Some(i) = v.iter().position(|v| !v.is_finite())
            {
                return Err(malformed(format!(
                    "sample {} holds a NaN or an infinity",
                    i / len.max(1)
                )));
            }
        }
        if train.is_empty() || len == 0 {
            return Err(malformed("there are no samples".into()));
        }
        let (train, test) = match test {
            Some(test) => (train, test),
            None => {
                let mut order: Vec<usize> = (0..train.len()).collect();
                order.shuffle(&mut ChaCha8Rng::seed_from_u64(0));
                let held = ((train.len() as f64 * HELD_OUT).round() as usize).max(1);
                let (test, rest) = order.split_at(held.min(train.len() - 1));
                (train.select(rest, len), train.select(test, len))
            }
        };
        let labels = train.labels.iter().chain(&test.labels);
        let classes = labels.max().map_or(0, |&l| usize::from(l) + 1);
        Ok(Dataset {
            name,
            shape,
            classes,
            train,
            test,
        })
    }
}

/// Reads a dataset: a path, or a name in the zoo (`KINGLET_ZOO`, by default `../shared`).
///
/// # Errors
/// There is no such thing, its form is none that is known, or its contents are not what its form promises.
pub fn open(what: &Path) -> Result<Dataset, DataError> {
    let path = locate(what)?;
    let name = path
        .file_stem()
        .unwrap_or(path.as_os_str())
        .to_string_lossy()
        .into_owned();
    if path.is_file() {
        return npz::read(&path, name);
    }
    if let Some(folder) = cifar::binary_folder(&path) {
        return cifar::read_binary(&folder, name);
    }
    if cifar::has_grids(&path) {
        return cifar::read_grids(&path, name);
    }
    if let Some(files) = idx::find(&path)? {
        return idx::read(&path, name, &files);
    }
    if let Some(archive) = only_archive(&path)? {
        return npz::read(&archive, name);
    }
    folder::read(&path, name)
}

fn locate(what: &Path) -> Result<PathBuf, DataError> {
    if what.exists() {
        return Ok(what.into());
    }
    let zoo = std::env::var_os("KINGLET_ZOO").map_or_else(|| "../shared".into(), PathBuf::from);
    let in_zoo = zoo.join("datasets").join(what);
    if what.components().count() == 1 && in_zoo.exists() {
        return Ok(in_zoo);
    }
    Err(DataError::Missing {
        what: what.into(),
        zoo,
    })
}

fn list(path: &Path) -> Result<Vec<PathBuf>, DataError> {
    let failed = |source| DataError::Read {
        path: path.into(),
        source,
    };
    let entries = std::fs::read_dir(path).map_err(failed)?;
    let mut paths = entries
        .map(|e| e.map(|e| e.path()).map_err(failed))
        .collect::<Result<Vec<_>, _>>()?;
    paths.sort();
    Ok(paths)
}

fn read(path: &Path) -> Result<Vec<u8>, DataError> {
    limits::read(path, limits::DATA_BYTES).map_err(|source| DataError::Read {
        path: path.into(),
        source,
    })
}

/// Width, height, channels and pixels of a PNG or WebP image in memory, of at most `limit` pixels.
///
/// # Errors
/// What is wrong with it.
pub fn decode_picture(bytes: &[u8], limit: u64) -> Result<(usize, usize, usize, Vec<u8>), String> {
    picture::decode(bytes, limit).map(|p| (p.width, p.height, p.channels, p.pixels))
}

/// Dimensions and elements of an `idx` file of bytes in memory, with gzip around it if `packed`.
///
/// # Errors
/// What is wrong with it.
pub fn decode_idx(
    bytes: Vec<u8>,
    packed: bool,
    rank: usize,
) -> Result<(Vec<usize>, Vec<u8>), String> {
    idx::decode(bytes, packed, rank)
}

fn only_archive(path: &Path) -> Result<Option<PathBuf>, DataError> {
    let mut archives = list(path)?;
    archives.retain(|p| p.extension().is_some_and(|e| e == "npz"));
    Ok(match archives.len() {
        1 => archives.pop(),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_named_with_the_place_that_was_searched() {
        let error = open(Path::new("no_such_data")).expect_err("nothing there");
        assert!(error.to_string().contains("no_such_data"));
    }

    #[test]
    fn samples_are_set_aside_the_same_way_every_time() {
        let split = || Split {
            elements: Elements::U8((0..40).collect()),
            labels: (0..20).map(|i| i % 3).collect(),
        };
        let read = || {
            Dataset::new(Path::new("x"), "x".into(), vec![2], split(), None).expect("well formed")
        };
        let data = read();
        assert_eq!(
            (data.train.len(), data.test.len(), data.classes),
            (16, 4, 3)
        );
        assert_eq!(data, read());
        let mut row = Vec::new();
        data.test.sample(0, 2, Scaling::Raw, &mut row);
        assert_eq!(row[1], row[0] + 1.0);
    }

    #[test]
    fn centred_pixels_are_what_int8_means() {
        let split = Split {
            elements: Elements::U8(vec![0, 128, 255]),
            labels: vec![0],
        };
        let mut row = Vec::new();
        split.sample(0, 3, Scaling::Centered, &mut row);
        assert_eq!(row, [-2.0, 0.0, 127.0 / 64.0]);
    }
}
