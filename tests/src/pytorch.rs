//! One training step in PyTorch, by `tests/train_reference.py`. It needs a Python with torch, onnx and numpy, which the
//! variable `KINGLET_TORCH` names.

use kinglet_export::files;
use kinglet_export::graph::{Data, Graph};
use kinglet_export::onnx::write;
use kinglet_export::train::arch::Arch;
use kinglet_export::train::tape::{Tensor, stored_shape};
use kinglet_export::train::tensor::Real;
use ndarray::Array;
use ndarray_npy::NpzWriter;
use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::File;
use std::path::Path;
use std::process::Command;

/// Classes of every network here.
pub const CLASSES: usize = 10;

/// Samples and labels that are the same everywhere.
pub struct Batch {
    /// In ONNX's layout.
    pub x: Vec<f32>,
    /// Samples, then a sample's dimensions.
    pub shape: Vec<usize>,
    /// One a sample.
    pub labels: Vec<u16>,
}

impl Batch {
    /// That many samples of that shape.
    pub fn new(samples: usize, sample: &[usize]) -> Self {
        let shape = [&[samples], sample].concat();
        let len: usize = shape.iter().product();
        // A fixed, uneven sequence in [-1, 1).
        let x = (0..len).map(|i| ((i * 7919 + i * i % 101) % 1000) as f32 / 500.0 - 1.0);
        Batch {
            x: x.collect(),
            shape,
            labels: (0..samples).map(|i| (i * 3 % CLASSES) as u16).collect(),
        }
    }

    /// As a program takes it.
    pub fn stored<T: Real>(&self) -> Tensor<T> {
        let of = |&x: &f32| T::of(x.into());
        let [n, c, h, w] = self.shape[..] else {
            return Tensor::new(self.shape.clone(), self.x.iter().map(of).collect());
        };
        let at = |i: usize| {
            let (sample, pixel, channel) = (i / (c * h * w), i / c % (h * w), i % c);
            of(&self.x[(sample * c + channel) * h * w + pixel])
        };
        Tensor::new(
            stored_shape(&self.shape),
            (0..n * c * h * w).map(at).collect(),
        )
    }
}

/// The Python with PyTorch, if there is one.
pub fn python() -> Option<OsString> {
    std::env::var_os("KINGLET_TORCH")
}

/// The network that a batch is for.
pub fn network(arch: Arch, batch: &Batch) -> Graph {
    arch.build(&batch.shape[1..], CLASSES, 5).unwrap()
}

/// PyTorch's arrays by name: see `tests/train_reference.py`.
pub fn reference(
    python: &OsString,
    graph: &Graph,
    batch: &Batch,
    threads: usize,
    steps: usize,
) -> HashMap<String, Vec<f32>> {
    let folder = tempfile::tempdir().unwrap();
    let [model, samples, gradients] =
        ["model.onnx", "batch.npz", "gradients.npz"].map(|f| folder.path().join(f));
    write::write(graph, &model).unwrap();
    let mut file = NpzWriter::new(File::create(&samples).unwrap());
    let x = Array::from_shape_vec(batch.shape.clone(), batch.x.clone()).unwrap();
    file.add_array("x", &x).unwrap();
    let labels: Vec<i64> = batch.labels.iter().map(|&l| l.into()).collect();
    file.add_array("y", &Array::from_vec(labels)).unwrap();
    file.finish().unwrap();
    let status = Command::new(python)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("train_reference.py"))
        .args([model, samples, gradients.clone()])
        .args([threads.to_string(), steps.to_string()])
        .status()
        .unwrap_or_else(|e| panic!("{}: {e}", python.to_string_lossy()));
    assert!(
        status.success(),
        "tests/train_reference.py needs torch, onnx and numpy: set KINGLET_TORCH to a Python that has them"
    );
    let arrays = files::read_archive(&gradients).unwrap();
    let floats = arrays.into_iter().map(|(name, tensor)| match tensor.data {
        Data::F32(v) => (name, v),
        other => panic!("{name}: {other:?}"),
    });
    floats.collect()
}
