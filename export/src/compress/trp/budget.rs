//! Ranks for a budget of multiply-accumulates over the whole network.

use super::TrpError;
use std::num::NonZeroUsize;

/// What the choice of ranks needs of a layer.
#[derive(Clone, PartialEq, Debug)]
pub struct Cost {
    /// Singular values, descending.
    pub sigma: Vec<f64>,
    /// Multiply-accumulates of the layer as it is.
    pub macs: u64,
    /// Multiply-accumulates of both convolutions, for each rank.
    pub macs_per_rank: u64,
    /// Ranks below full are multiples of this.
    pub multiple: NonZeroUsize,
}

impl Cost {
    /// The least rank above `rank`.
    fn above(&self, rank: usize) -> usize {
        let next = (rank / self.multiple + 1) * self.multiple.get();
        next.min(self.sigma.len())
    }
}

/// Ranks of all layers.
#[derive(Clone, PartialEq, Debug)]
pub struct Allocation {
    /// The rank, or `None` where the layer stays whole.
    pub ranks: Vec<Option<usize>>,
    /// Multiply-accumulates of these layers then.
    pub macs: u64,
}

/// Starts with the least rank everywhere and adds the ranks that keep most of their layer's energy, `σ_i²/Σσ²`, for a
/// multiply-accumulate, until none fit `budget`. A layer that would cost as much split as whole stays whole.
///
/// # Errors
/// The least rank everywhere is above the budget.
pub fn allocate(layers: &[Cost], budget: u64) -> Result<Allocation, TrpError> {
    let saves = |l: &Cost, rank: usize| (rank as u64 * l.macs_per_rank < l.macs).then_some(rank);
    let first = |l: &Cost| saves(l, l.above(0));
    let mut ranks: Vec<Option<usize>> = layers.iter().map(first).collect();
    let cost = |l: &Cost, rank: Option<usize>| rank.map_or(l.macs, |r| r as u64 * l.macs_per_rank);
    let mut macs: u64 = layers.iter().zip(&ranks).map(|(l, &r)| cost(l, r)).sum();
    if macs > budget {
        return Err(TrpError::Budget {
            budget,
            least: macs,
        });
    }
    let energies: Vec<f64> = layers
        .iter()
        .map(|l| energy(&l.sigma).max(f64::MIN_POSITIVE))
        .collect();
    loop {
        let steps = (0..layers.len()).filter_map(|i| {
            let (layer, rank) = (&layers[i], ranks[i]?);
            if rank >= layer.sigma.len() {
                return None;
            }
            let next = saves(layer, layer.above(rank));
            let extra = cost(layer, next) - cost(layer, Some(rank));
            let gained = match next {
                Some(next) => energy(&layer.sigma[rank..next]),
                None => energy(&layer.sigma[rank..]),
            };
            let worth = gained / energies[i] / extra.max(1) as f64;
            (macs + extra <= budget).then_some((worth, i, next, extra))
        });
        let Some((_, i, next, extra)) = steps.max_by(|a, b| a.0.total_cmp(&b.0)) else {
            return Ok(Allocation { ranks, macs });
        };
        ranks[i] = next;
        macs += extra;
    }
}

fn energy(sigma: &[f64]) -> f64 {
    sigma.iter().map(|s| s * s).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(sigma: &[f64], macs: u64, macs_per_rank: u64) -> Cost {
        Cost {
            sigma: sigma.to_vec(),
            macs,
            macs_per_rank,
            multiple: NonZeroUsize::MIN,
        }
    }

    #[test]
    fn ranks_are_multiples_or_full() {
        let four = |sigma: &[f64], macs| Cost {
            multiple: NonZeroUsize::new(4).unwrap(),
            ..layer(sigma, macs, 100)
        };
        let steep = [1.0, 1.0, 1.0, 1.0, 0.1, 0.1, 0.1, 0.1, 0.1];
        let layers = [four(&[1.0; 10], 2000), four(&steep, 700)];
        let ranks = |budget| allocate(&layers, budget).map(|found| found.ranks);
        assert_eq!(ranks(900).unwrap(), vec![Some(4), Some(4)]);
        assert_eq!(ranks(1299).unwrap(), vec![Some(8), Some(4)]);
        // Rank 8 of the second one would cost more than the whole.
        assert_eq!(ranks(5000).unwrap(), vec![Some(10), None]);
        let least = TrpError::Budget {
            budget: 799,
            least: 800,
        };
        assert_eq!(ranks(799), Err(least));
    }

    #[test]
    fn energy_for_a_multiplication_decides() {
        let layers = [
            // Nearly rank 1; and flat, so that every rank is worth the same.
            layer(&[10.0, 0.1, 0.1, 0.1], 1000, 100),
            layer(&[1.0, 1.0, 1.0, 1.0], 1000, 100),
            // Cannot be split with profit.
            layer(&[1.0, 1.0], 50, 60),
        ];
        let found = allocate(&layers, 450).unwrap();
        assert_eq!(
            (found.ranks, found.macs),
            (vec![Some(1), Some(3), None], 450)
        );
        // All fits: at full rank the split is exact, and cheaper than the whole.
        let found = allocate(&layers, 5000).unwrap();
        assert_eq!(
            (found.ranks, found.macs),
            (vec![Some(4), Some(4), None], 850)
        );
        // Rank 3 would cost as much as the whole.
        let found = allocate(&[layer(&[1.0, 1.0, 1.0, 1.0], 300, 100)], 300).unwrap();
        assert_eq!((found.ranks, found.macs), (vec![None], 300));
    }

    #[test]
    fn budgets_are_kept_and_more_is_never_worse() {
        let layers: Vec<Cost> = (1..6u32)
            .map(|i| {
                let sigma: Vec<f64> = (0..16)
                    .map(|j| (-f64::from(i) * 0.1 * f64::from(j)).exp())
                    .collect();
                layer(&sigma, 16_000, 1500 + u64::from(i) * 100)
            })
            .collect();
        let mut before = 0;
        for budget in (9_000..90_000).step_by(500) {
            let found = allocate(&layers, budget).unwrap();
            assert!(found.macs <= budget);
            let ranks = found.ranks.iter().map(|r| r.unwrap_or(16)).sum::<usize>();
            assert!(ranks >= before, "{budget}");
            before = ranks;
        }
        assert_eq!(before, 80);
    }

    #[test]
    fn what_cannot_be_is_said_with_the_least() {
        let error = allocate(&[layer(&[1.0, 1.0], 100, 10)], 9).err();
        assert_eq!(
            error,
            Some(TrpError::Budget {
                budget: 9,
                least: 10
            })
        );
    }
}
