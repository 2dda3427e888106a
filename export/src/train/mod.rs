//! Training a small network on the processor, in plain Rust.
//!
//! Each layer has its own file with a hand-written forward and backward, generic over the scalar so that its gradient
//! is checked against finite differences in double precision. [`digits`] is the demo's task.

pub mod adam;
pub mod arch;
#[cfg(test)]
mod check;
pub mod checkpoint;
pub mod conv;
pub mod digits;
pub mod evaluate;
pub mod linear;
pub mod loss;
pub mod method;
pub mod network;
pub mod objective;
pub mod optimizer;
pub mod pool;
pub mod relu;
pub mod tape;
pub mod tensor;
pub mod trainer;

pub use network::{Layer, Network};

use adam::Adam;
use digits::{SIDE, Samples};
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tensor::Tensor;

/// How to train.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Options {
    /// Passes over the training data.
    pub epochs: usize,
    /// Samples a step.
    pub batch: usize,
    /// Adam's step size at the start; it falls linearly to 0.
    pub learning_rate: f64,
    /// Whether each image is moved by up to a pixel in both directions, anew in each epoch.
    pub shift: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            epochs: 60,
            batch: 16,
            learning_rate: 5e-3,
            shift: true,
        }
    }
}

/// Progress after a pass over the training data.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Epoch {
    /// Passes done.
    pub number: usize,
    /// Passes in all.
    pub of: usize,
    /// Mean loss over the pass.
    pub loss: f64,
    /// Share of (shifted) training images classified rightly during the pass.
    pub accuracy: f64,
}

/// Trains a classifier of images in place: mini-batches, softmax cross-entropy, Adam.
pub fn fit(
    network: &mut Network,
    samples: &Samples,
    seed: u64,
    options: &Options,
    progress: &mut dyn FnMut(Epoch),
) {
    // A stream of its own: the network's initial weights come from the same seed.
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(1);
    let mut adam = Adam::default();
    let batch = options.batch.max(1);
    let steps = (options.epochs * samples.len().div_ceil(batch)) as f64;
    let mut step = 0.0;
    let mut order: Vec<usize> = (0..samples.len()).collect();
    for number in 1..=options.epochs {
        order.shuffle(&mut rng);
        let (mut loss, mut right) = (0.0, 0.0);
        for indices in order.chunks(batch) {
            let labels: Vec<u8> = indices.iter().map(|&i| samples.labels[i]).collect();
            let mut images = Vec::with_capacity(indices.len() * SIDE * SIDE);
            for &i in indices {
                let [dy, dx] = if options.shift {
                    [(); 2].map(|()| rng.random_range(-1i32..=1) as isize)
                } else {
                    [0; 2]
                };
                shifted(samples.image(i), dy, dx, &mut images);
            }
            let trace = network.trace(Tensor {
                shape: [indices.len(), 1, SIDE, SIDE],
                data: images,
            });
            let scores = &trace[trace.len() - 1];
            let (batch_loss, gradient) = loss::softmax_cross_entropy(scores, &labels);
            loss += batch_loss * labels.len() as f64;
            right += accuracy(&scores.data, &labels) * labels.len() as f64;
            network.backward(&trace, gradient);
            adam.step(
                network.parameters_mut(),
                options.learning_rate * (1.0 - step / steps),
            );
            step += 1.0;
        }
        let n = samples.len() as f64;
        progress(Epoch {
            number,
            of: options.epochs,
            loss: loss / n,
            accuracy: right / n,
        });
    }
}

/// Appends the image moved by `dy` rows and `dx` columns; what enters is blank.
fn shifted(image: &[f32], dy: isize, dx: isize, out: &mut Vec<f32>) {
    for y in 0..SIDE {
        for x in 0..SIDE {
            let from = |at: usize, by: isize| at.checked_add_signed(-by).filter(|&i| i < SIDE);
            out.push(
                from(y, dy)
                    .zip(from(x, dx))
                    .map_or(0.0, |(y, x)| image[y * SIDE + x]),
            );
        }
    }
}

/// The network's scores for every sample, a sample a row.
pub fn scores(network: &Network, samples: &Samples) -> Vec<f32> {
    let x = Tensor {
        shape: [samples.len(), 1, SIDE, SIDE],
        data: samples.images.clone(),
    };
    network.forward(&x).data
}

/// Share of rows of `scores` whose greatest element, the first of equals, is at the row's label.
///
/// Works on integers as on floats; 0 if there are no labels.
pub fn accuracy<T: PartialOrd>(scores: &[T], labels: &[u8]) -> f64 {
    let classes = scores.len().checked_div(labels.len()).unwrap_or(0);
    if classes == 0 {
        return 0.0;
    }
    let right = scores
        .chunks_exact(classes)
        .zip(labels)
        .filter(|(row, label)| {
            let best = (1..classes).fold(0, |best, i| if row[i] > row[best] { i } else { best });
            best == usize::from(**label)
        });
    right.count() as f64 / labels.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accuracy_counts_the_first_of_equal_scores() {
        assert_eq!(accuracy(&[1, 5, 5, 0, 0, 0], &[1, 2]), 0.5);
        assert_eq!(accuracy::<f32>(&[], &[]), 0.0);
    }

    #[test]
    fn a_shift_moves_every_pixel_and_blanks_the_edge() {
        let image: Vec<f32> = (1..=SIDE * SIDE).map(|i| i as f32).collect();
        let mut out = Vec::new();
        shifted(&image, 1, -1, &mut out);
        assert!(out[..SIDE].iter().all(|&p| p == 0.0));
        assert_eq!((out[SIDE], out[2 * SIDE - 1]), (2.0, 0.0));
    }

    #[test]
    fn progress_reports_every_epoch_and_a_falling_loss() {
        let data = digits::load();
        let mut seen = Vec::new();
        let options = Options {
            epochs: 2,
            ..Options::default()
        };
        digits::train_with(&data, 1, &options, &mut |e| seen.push(e));
        assert_eq!(
            seen.iter().map(|e| (e.number, e.of)).collect::<Vec<_>>(),
            [(1, 2), (2, 2)]
        );
        assert!(seen[1].loss < seen[0].loss);
    }

    /// The demo's promise; run on request because it trains in full.
    #[test]
    #[ignore = "trains in full, for some seconds"]
    fn full_training_reads_97_of_100_digits() {
        let data = digits::load();
        for seed in 0..3 {
            let start = std::time::Instant::now();
            let network = digits::train(&data, seed, &mut |_| ());
            let accuracy = accuracy(&scores(&network, &data.test), &data.test.labels);
            println!(
                "seed {seed}: {accuracy:.4} in {:.1} s",
                start.elapsed().as_secs_f64()
            );
            assert!(accuracy >= 0.97, "seed {seed}: {accuracy}");
        }
    }
}
