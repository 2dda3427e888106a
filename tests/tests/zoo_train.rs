//! Trained models of the zoo as programs: they classify real data as well as their authors say, before a step and after
//! training has gone on a little.

use kinglet_export::data::batches::Plan;
use kinglet_export::data::{self, Scaling};
use kinglet_export::model::load_trainable;
use kinglet_export::onnx::LoadOptions;
use kinglet_export::train::evaluate::{evaluate, reestimate_statistics};
use kinglet_export::train::tape::Program;
use kinglet_tests::{zoo, zoo_claims};

fn program(model: &str) -> Program<f32> {
    let path = zoo::root().join("models").join(model).join("model.onnx");
    let graph = load_trainable(&path, &LoadOptions::default()).unwrap();
    Program::new(&graph).unwrap()
}

/// The folder's datasets are there by name, whatever the current directory is.
fn dataset(name: &str) -> data::Dataset {
    data::open(&zoo::root().join("datasets").join(name)).unwrap()
}

fn resnet8_classifies_cifar10_as_published() {
    let data = dataset("cifar10");
    assert_eq!(
        (data.train.len(), data.test.len(), data.classes),
        (50_000, 10_000, 10)
    );
    assert_eq!(data.shape, [3, 32, 32]);
    for class in 0..10 {
        assert_eq!(
            data.train.labels.iter().filter(|&&l| l == class).count(),
            5_000
        );
    }
    let mut program = program("resnet8_cifar10");
    // ONNX Runtime measured 87.19 %.
    let accuracy = evaluate(&mut program, &data, &data.test, Scaling::Raw).accuracy;
    assert!((accuracy - 0.8719).abs() < 2e-4, "{accuracy}");
    // Statistics computed anew on the training set are as good as those that came with the model.
    let plan = Plan {
        batch: 250,
        seed: 1,
        scaling: Scaling::Raw,
        augment: Default::default(),
    };
    reestimate_statistics(&mut program, &data, &plan, 20);
    let accuracy = evaluate(&mut program, &data, &data.test, Scaling::Raw).accuracy;
    assert!(accuracy > 0.86, "{accuracy}");
}

fn a_small_convolutional_network_classifies_digits_as_published() {
    let data = dataset("mnist_10k");
    let mut program = program("mnist_cnn");
    let mut right = 0.0;
    for split in [&data.train, &data.test] {
        right += evaluate(&mut program, &data, split, Scaling::Raw).accuracy * split.len() as f64;
    }
    assert_eq!(right.round(), 9_933.0);
}

fn the_other_datasets_are_read() {
    let data = dataset("fashion_mnist");
    assert_eq!(
        (data.train.len(), data.test.len(), data.classes),
        (60_000, 10_000, 10)
    );
    let data = dataset("mlperf_tiny_kws01");
    assert_eq!(
        (data.shape.as_slice(), data.classes),
        (&[1, 49, 10][..], 12)
    );
    assert_eq!(dataset("uci_digits").shape, [1, 8, 8]);
    assert_eq!(dataset("uci_tabular/wine.npz").shape, [13]);
    let data = dataset("uea_ucr_timeseries/BasicMotions.npz");
    assert_eq!(
        (data.shape.as_slice(), data.test.len()),
        (&[6, 100][..], 40)
    );
}

zoo_claims! {
    zoo_resnet8_classifies_cifar10_as_published: resnet8_classifies_cifar10_as_published();
    zoo_mnist_cnn_classifies_digits_as_published: a_small_convolutional_network_classifies_digits_as_published();
    zoo_datasets_are_read: the_other_datasets_are_read();
}
