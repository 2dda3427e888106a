//! One training step against PyTorch: loss, gradients and running statistics agree, and the time of a step is measured
//! side by side.
//!
//! `tests/train_reference.py` makes the reference; it needs a Python with torch, onnx and numpy, which the variable
//! `KINGLET_PYTHON` names (`python3` by default).

use kinglet_export::files;
use kinglet_export::graph::{Data, Graph};
use kinglet_export::onnx::write;
use kinglet_export::train::arch::Arch;
use kinglet_export::train::objective::{Targets, cross_entropy};
use kinglet_export::train::optimizer::{Decay, Optimizer, Rule};
use kinglet_export::train::tape::{Mode, Program, Tensor, stored_shape};
use kinglet_export::train::tensor::Real;
use ndarray::Array;
use ndarray_npy::NpzWriter;
use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

const CLASSES: usize = 10;

struct Batch {
    /// In ONNX's layout.
    x: Vec<f32>,
    shape: Vec<usize>,
    labels: Vec<u16>,
}

impl Batch {
    fn new(samples: usize, sample: &[usize]) -> Self {
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
    fn stored<T: Real>(&self) -> Tensor<T> {
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

/// PyTorch's arrays by name.
fn reference(
    arch: Arch,
    batch: &Batch,
    threads: usize,
    steps: usize,
) -> (Graph, HashMap<String, Vec<f32>>) {
    let folder = tempfile::tempdir().unwrap();
    let [model, samples, gradients] =
        ["model.onnx", "batch.npz", "gradients.npz"].map(|f| folder.path().join(f));
    let graph = arch.build(&batch.shape[1..], CLASSES, 5).unwrap();
    write::write(&graph, &model).unwrap();
    let mut file = NpzWriter::new(File::create(&samples).unwrap());
    let x = Array::from_shape_vec(batch.shape.clone(), batch.x.clone()).unwrap();
    file.add_array("x", &x).unwrap();
    let labels: Vec<i64> = batch.labels.iter().map(|&l| l.into()).collect();
    file.add_array("y", &Array::from_vec(labels)).unwrap();
    file.finish().unwrap();
    let python = std::env::var_os("KINGLET_PYTHON").unwrap_or_else(|| "python3".into());
    let status = Command::new(&python)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("train_reference.py"))
        .args([model, samples, gradients.clone()])
        .args([threads.to_string(), steps.to_string()])
        .status()
        .unwrap_or_else(|e| panic!("{}: {e}", python.to_string_lossy()));
    assert!(
        status.success(),
        "tests/train_reference.py needs torch, onnx and numpy: set KINGLET_PYTHON to a Python that has them"
    );
    let arrays = files::read_archive(&gradients).unwrap();
    let floats = arrays.into_iter().map(|(name, tensor)| match tensor.data {
        Data::F32(v) => (name, v),
        other => panic!("{name}: {other:?}"),
    });
    (graph, floats.collect())
}

/// The largest difference, relative to the largest element.
fn difference(a: &[f64], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let largest = b.iter().fold(1e-6, |m, &v| f64::max(m, v.abs().into()));
    let pairs = a.iter().zip(b);
    pairs.fold(0.0, |m: f64, (a, &b)| m.max((a - f64::from(b)).abs())) / largest
}

/// In double precision, so that no Relu decides otherwise because of rounding.
fn gradients_agree(arch: Arch, samples: usize, sample: &[usize]) {
    let batch = Batch::new(samples, sample);
    let (graph, expected) = reference(arch, &batch, 1, 0);
    let mut program = Program::<f64>::new(&graph).unwrap();
    program.forward(batch.stored(), Mode::Train);
    let targets = Targets::from_labels(&batch.labels, CLASSES);
    let (loss, gradient) = cross_entropy(program.logits().unwrap(), &targets);
    assert!((loss - f64::from(expected["loss"][0])).abs() < 1e-6 * loss);
    let gradients = program.backward(vec![(program.output(), gradient)]);
    let mut worst = (0.0, "");
    let mut compared = 0;
    for (id, gradient) in gradients.iter() {
        let name = program.name(id);
        // A bias before a batch-norm has no effect: its gradient is rounding noise in both.
        if name.ends_with("conv.bias")
            || name.contains(".conv1.bias")
            || name.contains(".conv2.bias")
        {
            continue;
        }
        let difference = difference(&gradient.data, &expected[name]);
        compared += 1;
        if difference > worst.0 {
            worst = (difference, name);
        }
    }
    for (id, state) in program.state() {
        let difference = difference(
            &state.data,
            &expected[&format!("after/{}", program.name(id))],
        );
        assert!(difference < 1e-6, "{}: {difference}", program.name(id));
    }
    println!(
        "{}: {compared} gradients compared, worst {worst:?}",
        arch.name()
    );
    assert!(compared > 5 && worst.0 < 1e-5, "{worst:?}");
}

#[test]
#[ignore = "needs PyTorch"]
fn gradients_of_resnet8_equal_pytorch() {
    gradients_agree(Arch::ResNet8, 16, &[3, 32, 32]);
}

#[test]
#[ignore = "needs PyTorch"]
fn gradients_of_resnet20_equal_pytorch() {
    gradients_agree(Arch::ResNet20, 16, &[3, 32, 32]);
}

#[test]
#[ignore = "needs PyTorch"]
fn gradients_of_ds_cnn_equal_pytorch() {
    gradients_agree(Arch::DsCnn, 16, &[1, 49, 10]);
}

#[test]
#[ignore = "needs PyTorch"]
fn gradients_of_mobilenet_equal_pytorch() {
    gradients_agree(Arch::MobileNetV1, 8, &[3, 96, 96]);
}

#[test]
#[ignore = "needs PyTorch"]
fn gradients_of_an_mlp_equal_pytorch() {
    gradients_agree(Arch::Mlp, 16, &[1, 28, 28]);
}

/// The bound is 5; the machine should do nothing else.
#[test]
#[ignore = "needs PyTorch"]
fn a_step_of_resnet8_takes_at_most_five_times_as_long_as_in_pytorch() {
    const STEPS: usize = 15;
    for threads in [1, 2] {
        let batch = Batch::new(64, &[3, 32, 32]);
        let (graph, expected) = reference(Arch::ResNet8, &batch, threads, STEPS);
        let mut program = Program::<f32>::new(&graph).unwrap();
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        let rule = Rule::Sgd {
            momentum: 0.9,
            nesterov: false,
        };
        let mut optimizer = Optimizer::new(
            rule,
            Decay {
                weights: 0.0,
                others: 0.0,
            },
        );
        let targets = Targets::from_labels(&batch.labels, CLASSES);
        let x = batch.stored();
        let mut own: Vec<f32> = (0..=STEPS)
            .map(|_| {
                let start = Instant::now();
                pool.install(|| {
                    program.forward(x.clone(), Mode::Train);
                    let (_, gradient) = cross_entropy(program.logits().unwrap(), &targets);
                    let gradients = program.backward(vec![(program.output(), gradient)]);
                    optimizer.step(&mut program, &gradients, 1e-3);
                });
                start.elapsed().as_secs_f32()
            })
            .skip(1)
            .collect();
        let figures = |seconds: &mut [f32]| {
            seconds.sort_by(f32::total_cmp);
            [seconds[0], seconds[seconds.len() / 2]].map(|s| (10_000.0 * s).round() / 10.0)
        };
        let own = figures(&mut own);
        let mut seconds = expected["seconds"].clone();
        let (usual, last) = seconds.split_at_mut(STEPS);
        let (usual, last) = (figures(usual), figures(last));
        println!(
            "ResNet-8, batch 64, {threads} threads, least and median milliseconds a step: Kinglet {own:?}, PyTorch {usual:?}, PyTorch channels last {last:?}"
        );
        assert!(own[1] <= 5.0 * usual[1].min(last[1]));
    }
}
