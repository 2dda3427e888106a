//! The demo's task: hand-written digits, 8 × 8 pixels.
//!
//! The data are the 1,797 images of the test half of UCI's "Optical Recognition of Handwritten Digits", which the
//! `smartcore` package carries. They are shuffled with a fixed seed and split once and for all: 400 to test, 100 to
//! calibrate quantisation, the remaining 1,297 to train. Pixels, 0 to 16 in the data, are divided by 16.

use super::network::{Layer, Network};
use super::{Epoch, Options, fit};
use crate::graph::Data;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use std::sync::OnceLock;

/// Height and width of an image.
pub const SIDE: usize = 8;
/// Digits.
pub const CLASSES: usize = 10;

const TEST: usize = 400;
const CALIBRATION: usize = 100;
const SPLIT_SEED: u64 = 1797;

/// Labelled images.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Samples {
    /// `[len, 1, SIDE, SIDE]`, pixels 0 to 1.
    pub images: Vec<f32>,
    /// The digit of each image.
    pub labels: Vec<u8>,
}

impl Samples {
    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Pixels of one image.
    pub fn image(&self, index: usize) -> &[f32] {
        &self.images[index * SIDE * SIDE..][..SIDE * SIDE]
    }

    /// The images as a `[len, 1, SIDE, SIDE]` tensor file, a sample a row.
    pub fn image_tensor(&self) -> crate::files::Tensor {
        crate::files::Tensor::f32(vec![self.len(), 1, SIDE, SIDE], self.images.clone())
    }

    /// The labels as a tensor file.
    pub fn label_tensor(&self) -> crate::files::Tensor {
        crate::files::Tensor {
            shape: vec![self.len()],
            data: Data::U8(self.labels.clone()),
        }
    }
}

/// The three parts of the data; no image is in two of them.
#[derive(Clone, PartialEq, Debug)]
pub struct Digits {
    /// To train on.
    pub train: Samples,
    /// To calibrate quantisation with.
    pub calibration: Samples,
    /// To measure accuracy on; never seen before.
    pub test: Samples,
}

/// Loads and splits the data, always in the same way.
pub fn load() -> Digits {
    let data = smartcore::dataset::digits::load_dataset();
    let mut order: Vec<usize> = (0..data.num_samples).collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(SPLIT_SEED));
    let part = |indices: &[usize]| {
        let mut samples = Samples::default();
        for &i in indices {
            let pixels = &data.data[i * data.num_features..][..data.num_features];
            samples.images.extend(pixels.iter().map(|p| p / 16.0));
            samples.labels.push(data.target[i] as u8);
        }
        samples
    };
    let (test, rest) = order.split_at(TEST);
    let (calibration, train) = rest.split_at(CALIBRATION);
    Digits {
        train: part(train),
        calibration: part(calibration),
        test: part(test),
    }
}

/// The untrained network: two convolutions, a depthwise-separable one, pooling and a classifier.
pub fn network(seed: u64) -> Network {
    let rng = &mut ChaCha8Rng::seed_from_u64(seed);
    let layers = vec![
        Layer::conv2d([1, 12], 3, 1, 1, rng),
        Layer::Relu,
        Layer::conv2d([12, 24], 3, 2, 1, rng),
        Layer::Relu,
        Layer::conv2d([24, 24], 3, 1, 24, rng),
        Layer::Relu,
        Layer::conv2d([24, 32], 1, 1, 1, rng),
        Layer::Relu,
        Layer::AveragePool(2),
        Layer::linear(32 * 4, CLASSES, rng),
    ];
    Network {
        name: "digits".into(),
        input: [1, SIDE, SIDE],
        layers,
    }
}

/// Trains the demo's network: the same seed, the same weights.
pub fn train(digits: &Digits, seed: u64, progress: &mut dyn FnMut(Epoch)) -> Network {
    train_with(digits, seed, &Options::default(), progress)
}

/// [`train`] with other options.
pub fn train_with(
    digits: &Digits,
    seed: u64,
    options: &Options,
    progress: &mut dyn FnMut(Epoch),
) -> Network {
    let mut network = network(seed);
    fit(&mut network, &digits.train, seed, options, progress);
    network
}

/// A network of seed 1 trained for two epochs only, made once a process: for tests that need plausible weights.
pub fn quickly_trained() -> &'static Network {
    static NETWORK: OnceLock<Network> = OnceLock::new();
    NETWORK.get_or_init(|| {
        train_with(
            &load(),
            1,
            &Options {
                epochs: 2,
                ..Options::default()
            },
            &mut |_| (),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::{accuracy, scores};
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn the_parts_are_complete_and_balanced() {
        let digits = load();
        let lengths = [&digits.train, &digits.calibration, &digits.test].map(Samples::len);
        assert_eq!(lengths, [1297, 100, 400]);
        for part in [&digits.train, &digits.calibration, &digits.test] {
            assert!(part.images.iter().all(|p| (0.0..=1.0).contains(p)));
            assert_eq!(part.labels.iter().collect::<HashSet<_>>().len(), CLASSES);
        }
        assert_eq!(load(), digits);
    }

    #[test]
    fn two_epochs_already_read_most_digits() {
        let digits = load();
        let scores = scores(quickly_trained(), &digits.test);
        let accuracy = accuracy(&scores, &digits.test.labels);
        assert!(accuracy > 0.8, "{accuracy}");
    }

    #[test]
    fn the_same_seed_gives_the_same_weights_and_another_seed_others() {
        let mut digits = load();
        digits.train.images.truncate(100 * SIDE * SIDE);
        digits.train.labels.truncate(100);
        let options = Options {
            epochs: 2,
            ..Options::default()
        };
        let run = |seed| train_with(&digits, seed, &options, &mut |_| ());
        assert_eq!(run(5), run(5));
        assert_ne!(run(5), run(6));
    }
}
