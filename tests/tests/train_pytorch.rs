//! One training step against PyTorch: loss, gradients and running statistics agree.
//!
//! PyTorch's figures are recorded in `tests/models/pytorch_gradients.json`: of every gradient its norm and its product with
//! a fixed sequence, in double precision, so that no Relu decides otherwise because of rounding. With the variable
//! `KINGLET_TORCH` naming a Python that has torch, onnx and numpy, they are computed and recorded anew.

use kinglet_export::train::arch::Arch;
use kinglet_export::train::objective::{Targets, cross_entropy};
use kinglet_export::train::tape::{Mode, Program};
use kinglet_tests::pytorch::{Batch, CLASSES, network, python, reference};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// Norm and product with [`pattern`].
type Digest = [f64; 2];
/// Of each network: the digest of every array.
type Record = BTreeMap<String, BTreeMap<String, Digest>>;

/// Tests run side by side and may write one file.
static FILE: Mutex<()> = Mutex::new(());

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models/pytorch_gradients.json")
}

fn read() -> Record {
    let text = fs::read_to_string(path()).unwrap_or_else(|_| "{}".into());
    serde_json::from_str(&text).unwrap()
}

/// Numbers between 0.5 and 1.5 of either sign, which no permutation or sign error leaves alone.
fn pattern(i: usize) -> f64 {
    let x = (i * 7919 % 1009) as f64 / 1009.0 + 0.5;
    if i % 3 == 1 { -x } else { x }
}

fn digest(values: impl Iterator<Item = f64>) -> Digest {
    let (mut squares, mut product) = (0.0, 0.0);
    for (i, v) in values.enumerate() {
        squares += v * v;
        product += v * pattern(i);
    }
    [squares.sqrt(), product]
}

/// The difference of two digests, relative to the norm of the second and to that of an array in which it may hide.
fn difference(ours: Digest, theirs: Digest, len: usize) -> f64 {
    let scale = theirs[0].max(1e-6);
    let norm = (ours[0] - theirs[0]).abs() / scale;
    norm.max((ours[1] - theirs[1]).abs() / (scale * (len as f64).sqrt()))
}

fn gradients_agree(arch: Arch, samples: usize, sample: &[usize]) {
    let batch = Batch::new(samples, sample);
    let graph = network(arch, &batch);
    if let Some(python) = python() {
        let arrays = reference(&python, &graph, &batch, 1, 0);
        let digests = arrays.iter().filter(|(name, _)| *name != "seconds");
        let digests = digests.map(|(n, v)| (n.clone(), digest(v.iter().map(|&v| v.into()))));
        let _one = FILE.lock().unwrap();
        let mut record = read();
        record.insert(arch.name().to_owned(), digests.collect());
        fs::write(
            path(),
            serde_json::to_string_pretty(&record).unwrap() + "\n",
        )
        .unwrap();
    }
    let expected = &read()[arch.name()];
    let mut program = Program::<f64>::new(&graph).unwrap();
    program.forward(batch.stored(), Mode::Train);
    let targets = Targets::from_labels(&batch.labels, CLASSES);
    let (loss, gradient) = cross_entropy(program.logits().unwrap(), &targets);
    assert!((loss - expected["loss"][0]).abs() < 1e-6 * loss);
    let gradients = program.backward(vec![(program.output(), gradient)]);
    let (mut worst, mut compared) = ((0.0, ""), 0);
    for (id, gradient) in gradients.iter() {
        let name = program.name(id);
        // A bias before a batch-norm has no effect: its gradient is rounding noise in both.
        if name.ends_with("conv.bias")
            || name.contains(".conv1.bias")
            || name.contains(".conv2.bias")
        {
            continue;
        }
        let ours = digest(gradient.data.iter().copied());
        let difference = difference(ours, expected[name], gradient.data.len());
        compared += 1;
        if difference > worst.0 {
            worst = (difference, name);
        }
    }
    for (id, state) in program.state() {
        let name = format!("after/{}", program.name(id));
        let ours = digest(state.data.iter().copied());
        let difference = difference(ours, expected[&name], state.data.len());
        assert!(difference < 1e-6, "{name}: {difference}");
    }
    println!(
        "{}: {compared} gradients compared, worst {worst:?}",
        arch.name()
    );
    assert!(compared > 5 && worst.0 < 1e-6, "{worst:?}");
}

#[test]
fn gradients_of_resnet8_equal_pytorch() {
    gradients_agree(Arch::ResNet8, 16, &[3, 32, 32]);
}

#[test]
fn gradients_of_resnet20_equal_pytorch() {
    gradients_agree(Arch::ResNet20, 16, &[3, 32, 32]);
}

#[test]
fn gradients_of_ds_cnn_equal_pytorch() {
    gradients_agree(Arch::DsCnn, 16, &[1, 49, 10]);
}

#[test]
fn gradients_of_mobilenet_equal_pytorch() {
    gradients_agree(Arch::MobileNetV1, 8, &[3, 96, 96]);
}

#[test]
fn gradients_of_an_mlp_equal_pytorch() {
    gradients_agree(Arch::Mlp, 16, &[1, 28, 28]);
}
