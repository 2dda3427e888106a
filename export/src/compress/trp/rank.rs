//! How many singular values stay.

use serde::{Deserialize, Serialize};

/// A rule for a layer's rank, from its singular values in descending order.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RankRule {
    /// The smallest rank that keeps this share of `Σσ²`.
    Energy(f64),
    /// Singular values of at least this. Depends on the weights' scale, which a batch normalisation leaves free.
    Value(f64),
    /// Singular values of at least this share of the largest.
    RelativeValue(f64),
    /// This share of the full rank, rounded down.
    Linear(f64),
    /// This rank.
    Fixed(usize),
}

impl RankRule {
    /// The rank, at least 1 and at most the number of singular values.
    pub fn rank(self, sigma: &[f64]) -> usize {
        let at_least = |limit: f64| sigma.iter().filter(|&&s| s >= limit).count();
        let rank = match self {
            RankRule::Energy(share) => {
                let needed = share * sigma.iter().map(|s| s * s).sum::<f64>();
                let mut kept = 0.0;
                let short = |s: &&f64| {
                    let before = kept;
                    kept += **s * **s;
                    before < needed
                };
                sigma.iter().take_while(short).count()
            }
            RankRule::Value(limit) => at_least(limit),
            RankRule::RelativeValue(share) => {
                at_least(share * sigma.first().copied().unwrap_or(0.0))
            }
            RankRule::Linear(share) => (share * sigma.len() as f64) as usize,
            RankRule::Fixed(rank) => rank,
        };
        rank.clamp(1, sigma.len().max(1))
    }
}

/// `Σσ² / σ₁²`: a smooth measure of rank, which training towards low rank lowers.
pub fn stable_rank(sigma: &[f64]) -> f64 {
    let largest = sigma.iter().fold(0.0f64, |m, &s| m.max(s));
    if largest == 0.0 {
        return 0.0;
    }
    sigma.iter().map(|s| (s / largest).powi(2)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_keep_what_they_say() {
        // Squares 16, 9, 4, 1 of 30.
        let sigma = [4.0, 3.0, 2.0, 1.0];
        let cases = [
            (RankRule::Energy(0.5), 1),
            (RankRule::Energy(0.54), 2),
            (RankRule::Energy(25.0 / 30.0), 2),
            (RankRule::Energy(0.9), 3),
            (RankRule::Energy(1.0), 4),
            (RankRule::Energy(0.0), 1),
            (RankRule::Value(2.0), 3),
            (RankRule::Value(9.0), 1),
            (RankRule::RelativeValue(0.7), 2),
            (RankRule::Linear(0.6), 2),
            (RankRule::Linear(0.1), 1),
            (RankRule::Fixed(3), 3),
            (RankRule::Fixed(9), 4),
        ];
        for (rule, rank) in cases {
            assert_eq!(rule.rank(&sigma), rank, "{rule:?}");
        }
        assert_eq!(RankRule::Energy(0.9).rank(&[0.0; 3]), 1);
    }

    #[test]
    fn the_stable_rank_counts_equal_values_and_ignores_small_ones() {
        assert_eq!(stable_rank(&[2.0; 5]), 5.0);
        assert!((stable_rank(&[1.0, 0.1, 0.1]) - 1.02).abs() < 1e-12);
        assert_eq!(stable_rank(&[0.0; 3]), 0.0);
    }
}
