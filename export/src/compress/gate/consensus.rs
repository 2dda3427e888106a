//! What gates agree on: running means while training, exact means for the read-off.

use super::loss::batch_means;

/// Running mean of each gate. Batches are small and their means noisy.
#[derive(Clone, PartialEq, Debug)]
pub struct Consensus {
    momentum: f64,
    means: Vec<f64>,
    batches: u64,
    /// Sums of the exact read-off.
    sums: Vec<f64>,
    samples: u64,
}

impl Consensus {
    /// For `count` gates, with a momentum of 0.99.
    pub fn new(count: usize) -> Self {
        Consensus {
            momentum: 0.99,
            means: vec![1.0; count],
            batches: 0,
            sums: vec![0.0; count],
            samples: 0,
        }
    }

    /// Goes on from the running means of an interrupted training.
    pub fn resume(means: Vec<f64>) -> Self {
        let mut consensus = Consensus::new(means.len());
        (consensus.means, consensus.batches) = (means, 1);
        consensus
    }

    /// Lets the running means look back over about `1/(1 − momentum)` steps. Short trainings need less than 0.99: otherwise
    /// the mask is frozen with what gates were long before.
    pub fn set_momentum(&mut self, momentum: f64) {
        self.momentum = momentum;
    }

    /// Takes in the gates `[batch, gates]` of a training step.
    pub fn update(&mut self, gates: &[f32]) {
        let momentum = if self.batches == 0 {
            0.0
        } else {
            self.momentum
        };
        for (mean, batch) in self
            .means
            .iter_mut()
            .zip(batch_means(gates, self.sums.len()))
        {
            *mean = momentum * *mean + (1.0 - momentum) * batch;
        }
        self.batches += 1;
    }

    /// Running means.
    pub fn means(&self) -> &[f64] {
        &self.means
    }

    /// The mask to freeze: running means of at least ½.
    pub fn mask(&self) -> Vec<bool> {
        self.means.iter().map(|&m| m >= 0.5).collect()
    }

    /// Takes in the gates `[batch, gates]` of a pass over the training set in evaluation mode.
    pub fn read(&mut self, gates: &[f32]) {
        let count = self.sums.len().max(1);
        for sample in gates.chunks(count) {
            self.sums
                .iter_mut()
                .zip(sample)
                .for_each(|(s, &g)| *s += f64::from(g));
            self.samples += 1;
        }
    }

    /// Exact means of all samples read; running means if there were none.
    pub fn read_off(&self) -> Vec<f64> {
        if self.samples == 0 {
            return self.means.clone();
        }
        self.sums.iter().map(|s| s / self.samples as f64).collect()
    }
}

/// The share of units that nearly all samples agree on: means below 0.02 or above 0.98. 1 where there are no units.
pub fn consensus_rate(means: &[f64]) -> f64 {
    if means.is_empty() {
        return 1.0;
    }
    means
        .iter()
        .filter(|&&m| !(0.02..=0.98).contains(&m))
        .count() as f64
        / means.len() as f64
}

/// The mask of one layer's channels, means of at least ½; the largest stays if none does.
pub fn guarded(means: &[f64]) -> Vec<bool> {
    let mut mask: Vec<bool> = means.iter().map(|&m| m >= 0.5).collect();
    if !mask.contains(&true)
        && let Some(best) = (0..means.len()).max_by(|&a, &b| means[a].total_cmp(&means[b]))
    {
        mask[best] = true;
    }
    mask
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn running_means_start_with_the_first_batch_and_move_slowly() {
        let mut consensus = Consensus::new(2);
        consensus.update(&[1.0, 0.0, 1.0, 0.0]);
        assert_eq!(
            (consensus.means(), consensus.mask()),
            (&[1.0, 0.0][..], vec![true, false])
        );
        consensus.update(&[0.0, 1.0]);
        assert!(
            (consensus.means()[0] - 0.99).abs() < 1e-12
                && (consensus.means()[1] - 0.01).abs() < 1e-12
        );
        assert_eq!(consensus.read_off(), consensus.means());
        let mut resumed = Consensus::resume(consensus.means().to_vec());
        let mut whole = consensus.clone();
        resumed.update(&[1.0, 1.0]);
        whole.update(&[1.0, 1.0]);
        assert_eq!(resumed.means(), whole.means());
        consensus.read(&[1.0, 1.0, 0.0, 1.0]);
        assert_eq!(consensus.read_off(), [0.5, 1.0]);
    }

    #[test]
    fn the_rate_counts_agreement_either_way() {
        assert_eq!(consensus_rate(&[0.0, 0.01, 0.5, 1.0]), 0.75);
        assert_eq!(consensus_rate(&[]), 1.0);
    }

    #[test]
    fn one_channel_of_a_layer_stays() {
        assert_eq!(guarded(&[0.5, 0.4]), [true, false]);
        assert_eq!(guarded(&[0.1, 0.3, 0.2]), [false, true, false]);
        assert!(guarded(&[]).is_empty());
    }
}
