//! From samples to batches: shuffled, augmented, one ahead of the training step.
//!
//! A batch is a function of the seed, the epoch and its number alone, so a run that is resumed sees what it would have
//! seen.

use super::augment::{Augment, Mix, blank, mix, move_and_mirror};
use super::{Dataset, Scaling, Split};
use crate::train::objective::Targets;
use crate::train::tape::{Tensor, stored_shape};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use std::sync::mpsc;

/// Samples ready for a training step.
#[derive(Clone, PartialEq, Debug)]
pub struct Batch {
    /// The samples, as a program takes them.
    pub x: Tensor<f32>,
    /// What the output should be.
    pub targets: Targets<f32>,
    /// The samples' own classes.
    pub labels: Vec<u16>,
}

/// How batches are made.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Plan {
    /// Samples a batch; an epoch's last may be smaller.
    pub batch: usize,
    /// Where all randomness comes from.
    pub seed: u64,
    /// How bytes become reals.
    pub scaling: Scaling,
    /// What is done to samples.
    pub augment: Augment,
}

/// The two kinds of randomness; each draws from streams of its own.
const SHUFFLE: u64 = 1 << 62;
const AUGMENT: u64 = 2 << 62;

fn rng(seed: u64, kind: u64, epoch: usize, step: usize) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(kind | (epoch as u64) << 32 | step as u64);
    rng
}

/// The samples at `indices`, as a program takes them, unchanged.
pub fn plain(
    data: &Dataset,
    split: &Split,
    indices: impl ExactSizeIterator<Item = usize>,
    scaling: Scaling,
) -> Tensor<f32> {
    let len = data.sample_len();
    let n = indices.len();
    let mut x = Vec::with_capacity(n * len);
    indices.for_each(|i| split.sample(i, len, scaling, &mut x));
    Tensor::new(stored_shape(&[&[n], &data.shape[..]].concat()), x)
}

impl Plan {
    /// Batches of an epoch.
    pub fn steps(&self, data: &Dataset) -> usize {
        data.train.len().div_ceil(self.batch.max(1))
    }

    /// The order of samples in an epoch.
    fn order(&self, data: &Dataset, epoch: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..data.train.len()).collect();
        order.shuffle(&mut rng(self.seed, SHUFFLE, epoch, 0));
        order
    }

    fn batch(&self, data: &Dataset, indices: &[usize], epoch: usize, step: usize) -> Batch {
        let mut x = plain(data, &data.train, indices.iter().copied(), self.scaling);
        let labels: Vec<u16> = indices.iter().map(|&i| data.train.labels[i]).collect();
        let mut rng = rng(self.seed, AUGMENT, epoch, step);
        let image = match data.shape[..] {
            [c, h, w] => Some([h, w, c]),
            _ => None,
        };
        if let Some(image) = image
            && (self.augment.crop > 0 || self.augment.flip)
        {
            let mut scratch = Vec::new();
            for sample in x.data.chunks_exact_mut(data.sample_len()) {
                move_and_mirror(sample, image, &self.augment, &mut scratch, &mut rng);
            }
        }
        if let Some(image) = image
            && self.augment.cutout > 0
        {
            for sample in x.data.chunks_exact_mut(data.sample_len()) {
                blank(sample, image, self.augment.cutout, &mut rng);
            }
        }
        let mixes = mix(&mut x.data, labels.len(), image, &self.augment, &mut rng);
        let mut targets = Targets::from_labels(&labels, data.classes);
        if let Some(mixes) = mixes {
            blend(&mut targets, &mixes);
        }
        Batch { x, targets, labels }
    }

    /// Calls `step` with each batch of an epoch, from number `first` on, while a thread makes the next ones. Stops early
    /// when `step` says so.
    pub fn each(
        &self,
        data: &Dataset,
        epoch: usize,
        first: usize,
        mut step: impl FnMut(usize, Batch) -> std::ops::ControlFlow<()>,
    ) {
        let order = self.order(data, epoch);
        std::thread::scope(|scope| {
            // One batch waits, one is being made.
            let (sender, receiver) = mpsc::sync_channel(1);
            scope.spawn(move || {
                let batches = order.chunks(self.batch.max(1)).enumerate().skip(first);
                for (number, indices) in batches {
                    let batch = self.batch(data, indices, epoch, number);
                    if sender.send((number, batch)).is_err() {
                        return;
                    }
                }
            });
            // The receiver is dropped when this returns, which ends the thread.
            for (number, batch) in receiver {
                if step(number, batch).is_break() {
                    return;
                }
            }
        });
    }
}

fn blend(targets: &mut Targets<f32>, mixes: &[Mix]) {
    let classes = targets.classes.max(1);
    let original = targets.probabilities.clone();
    for (row, mix) in targets.probabilities.chunks_exact_mut(classes).zip(mixes) {
        let partner = &original[mix.partner * classes..][..classes];
        for (p, o) in row.iter_mut().zip(partner) {
            *p = mix.own * *p + (1.0 - mix.own) * o;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Elements;
    use super::*;
    use std::ops::ControlFlow;

    fn data() -> Dataset {
        let split = |n: usize| Split {
            elements: Elements::U8((0..n * 12).map(|i| i as u8).collect()),
            labels: (0..n).map(|i| (i % 3) as u16).collect(),
        };
        Dataset {
            name: "test".into(),
            shape: vec![3, 2, 2],
            classes: 3,
            train: split(10),
            test: split(2),
        }
    }

    fn plan() -> Plan {
        Plan {
            batch: 4,
            seed: 5,
            scaling: Scaling::Raw,
            augment: Augment {
                crop: 1,
                flip: true,
                cutout: 1,
                cutmix: 1.0,
                mixup: 0.2,
            },
        }
    }

    fn epoch(plan: &Plan, epoch: usize, first: usize) -> Vec<(usize, Batch)> {
        let mut all = Vec::new();
        plan.each(&data(), epoch, first, |i, batch| {
            all.push((i, batch));
            ControlFlow::Continue(())
        });
        all
    }

    #[test]
    fn a_resumed_epoch_goes_on_with_the_same_batches() {
        let whole = epoch(&plan(), 2, 0);
        assert_eq!(whole.len(), plan().steps(&data()));
        assert_eq!(whole[1..], epoch(&plan(), 2, 1));
        assert_ne!(whole[0], epoch(&plan(), 3, 0)[0]);
        for (_, batch) in whole {
            let rows = batch.targets.probabilities.chunks(3);
            assert!(
                rows.into_iter()
                    .all(|r| (r.iter().sum::<f32>() - 1.0).abs() < 1e-6)
            );
        }
    }

    #[test]
    fn every_sample_comes_once_an_epoch_and_the_thread_can_be_stopped() {
        let plan = Plan {
            augment: Augment::default(),
            ..plan()
        };
        let mut first: Vec<u32> = epoch(&plan, 0, 0)
            .iter()
            .flat_map(|(_, b)| b.x.data.chunks(12).map(|s| s[0] as u32).collect::<Vec<_>>())
            .collect();
        first.sort_unstable();
        assert_eq!(first, (0..10).map(|i| i * 12).collect::<Vec<_>>());
        let mut steps = 0;
        plan.each(&data(), 0, 0, |_, _| {
            steps += 1;
            ControlFlow::Break(())
        });
        assert_eq!(steps, 1);
    }
}
