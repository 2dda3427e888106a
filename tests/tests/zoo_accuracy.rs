//! Accuracy on 1,000 labelled samples: within 0.3 points of ONNX Runtime's.
//!
//! The reference figures are ONNX Runtime 1.32's, one sample at a time, the int8 files with optimisations disabled:
//! keyword spotting as in the zoo's own table, CIFAR-10 on the first 1,000 test images (the table's figures, 87.07 %
//! int8 and 87.19 % float, are for all 10,000).

use kinglet_export::files::Tensor;
use kinglet_export::graph::Data;
use kinglet_export::samples::decode;
use kinglet_tests::zoo::{self, Golden, class, reals};
use std::fs::File;
use std::io::BufReader;

const SAMPLES: usize = 1000;
/// Three of a thousand samples.
const TOLERANCE: usize = 3;

fn accuracy_is(golden: Golden, expected: usize, samples: &[Vec<u8>], labels: &[u8]) {
    assert_eq!((samples.len(), labels.len()), (SAMPLES, SAMPLES));
    let model = golden.open();
    let dtype = model
        .runner()
        .unwrap()
        .plan()
        .unwrap()
        .output(0)
        .unwrap()
        .dtype;
    let outputs = zoo::run_on_host(&model, samples);
    let scores = outputs.iter().map(|bytes| reals(&decode(dtype, bytes)));
    let right = scores
        .zip(labels)
        .filter(|(scores, label)| class(scores) == usize::from(**label))
        .count();
    println!(
        "{}: {right} of {SAMPLES} right, reference {expected}",
        golden.model
    );
    assert!(
        right.abs_diff(expected) <= TOLERANCE,
        "{}: {right} instead of {expected}",
        golden.model
    );
}

/// Elements of a tensor of int8, a row a sample.
fn int8_rows(tensor: &Tensor) -> Vec<Vec<i8>> {
    let Data::I8(data) = &tensor.data else {
        panic!("int8 features are expected")
    };
    data.chunks(data.len() / tensor.shape[0])
        .map(<[i8]>::to_vec)
        .collect()
}

fn floats(row: impl Iterator<Item = f32>) -> Vec<u8> {
    row.flat_map(f32::to_le_bytes).collect()
}

fn keywords() -> (Vec<Vec<i8>>, Vec<u8>) {
    let file = zoo::root().join("datasets/mlperf_tiny_kws01/kws01_mfcc_int8.npz");
    let member = |name: &str| zoo::tensor(format!("{}:{name}", file.display()).as_ref());
    let Data::U8(labels) = member("y").data else {
        panic!("labels are bytes")
    };
    (int8_rows(&member("x")), labels)
}

/// The first thousand test images, rows of `[32][32][3]`: tiles of one large picture, a hundred a line.
fn cifar() -> (Vec<Vec<u8>>, Vec<u8>) {
    let folder = zoo::root().join("datasets/cifar10");
    let file = File::open(folder.join("test.webp")).unwrap();
    let mut decoder = image_webp::WebPDecoder::new(BufReader::new(file)).unwrap();
    assert_eq!(
        (decoder.dimensions(), decoder.has_alpha()),
        ((3200, 3200), false)
    );
    let mut picture = vec![0; decoder.output_buffer_size().unwrap()];
    decoder.read_image(&mut picture).unwrap();
    let tile = |k: usize| -> Vec<u8> {
        let line = |y: usize| ((k / 100 * 32 + y) * 3200 + k % 100 * 32) * 3;
        (0..32)
            .flat_map(|y| picture[line(y)..line(y) + 32 * 3].iter().copied())
            .collect()
    };
    let labels = std::fs::read(folder.join("test.labels.u8")).unwrap();
    ((0..SAMPLES).map(tile).collect(), labels[..SAMPLES].to_vec())
}

#[test]
#[ignore = "needs the model zoo"]
fn int8_keyword_spotting_is_as_accurate_as_the_reference() {
    let (features, labels) = keywords();
    let samples: Vec<Vec<u8>> = features
        .iter()
        .map(|row| row.iter().map(|&v| v as u8).collect())
        .collect();
    accuracy_is(zoo::KWS_INT8, 902, &samples, &labels);
}

#[test]
#[ignore = "needs the model zoo"]
fn float_keyword_spotting_is_as_accurate_as_the_reference() {
    let (features, labels) = keywords();
    let real = |v: &i8| (f32::from(*v) - 83.0) * 0.584_702_9;
    let samples: Vec<Vec<u8>> = features
        .iter()
        .map(|row| floats(row.iter().map(real)))
        .collect();
    accuracy_is(zoo::KWS_FLOAT, 913, &samples, &labels);
}

#[test]
#[ignore = "needs the model zoo"]
fn int8_image_classification_is_as_accurate_as_the_reference() {
    let (images, labels) = cifar();
    // The model takes pixel − 128.
    let samples: Vec<Vec<u8>> = images
        .iter()
        .map(|image| image.iter().map(|v| v ^ 0x80).collect())
        .collect();
    accuracy_is(zoo::RESNET_INT8, 877, &samples, &labels);
}

#[test]
#[ignore = "needs the model zoo"]
fn float_image_classification_is_as_accurate_as_the_reference() {
    let (images, labels) = cifar();
    // Channels first, pixels as they are.
    let planes =
        |image: &Vec<u8>| floats((0..3 * 1024).map(|i| f32::from(image[i % 1024 * 3 + i / 1024])));
    let samples: Vec<Vec<u8>> = images.iter().map(planes).collect();
    accuracy_is(zoo::RESNET_FLOAT, 881, &samples, &labels);
}
