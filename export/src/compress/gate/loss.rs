//! The two terms of the loss, of the batch means `ḡ_j` of the gates.

/// A term and its gradient with respect to each `ḡ_j`.
#[derive(Clone, PartialEq, Debug)]
pub struct Term {
    /// The value.
    pub value: f64,
    /// `∂/∂ḡ_j`.
    pub gradient: Vec<f64>,
}

/// `ḡ_j`: means of `[batch, gates]` over the batch.
pub fn batch_means(gates: &[f32], count: usize) -> Vec<f64> {
    let batch = (gates.len() / count.max(1)).max(1) as f64;
    let of = |j: usize| {
        gates
            .iter()
            .skip(j)
            .step_by(count.max(1))
            .map(|&g| f64::from(g))
            .sum::<f64>()
            / batch
    };
    (0..count).map(of).collect()
}

/// Polarisation, `(4/J)·Σ ḡ_j·(1 − ḡ_j)`: 0 where all samples of the batch agree, 1 where half of them do. It is across
/// samples: each sample's own certainty is no matter.
pub fn polarisation(means: &[f64]) -> Term {
    let factor = 4.0 / means.len().max(1) as f64;
    Term {
        value: factor * means.iter().map(|g| g * (1.0 - g)).sum::<f64>(),
        gradient: means.iter().map(|g| factor * (1.0 - 2.0 * g)).collect(),
    }
}

/// What the open gates cost: `max(0, Σ c_j·ḡ_j − τ)²`, with `c_j` the share of each unit in the multiply-accumulates of all
/// units, and τ the share that may stay.
pub fn activation(means: &[f64], costs: &[f64], target: f64) -> Term {
    let open: f64 = means.iter().zip(costs).map(|(g, c)| g * c).sum();
    let excess = (open - target).max(0.0);
    Term {
        value: excess * excess,
        gradient: costs.iter().map(|c| 2.0 * excess * c).collect(),
    }
}

/// Adds `factor·∂/∂ḡ` to the gradient of the gates, `[batch, gates]`: every sample has its share.
pub fn add_to_gates(term: &Term, factor: f64, gates: &mut [f32]) {
    let count = term.gradient.len().max(1);
    let share = factor * count as f64 / gates.len().max(1) as f64;
    for sample in gates.chunks_mut(count) {
        for (g, d) in sample.iter_mut().zip(&term.gradient) {
            *g += (share * d) as f32;
        }
    }
}

/// Shares of the units' multiply-accumulates.
pub fn costs(macs: &[u64]) -> Vec<f64> {
    let total: u64 = macs.iter().sum();
    macs.iter()
        .map(|&m| m as f64 / total.max(1) as f64)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_gradient(term: impl Fn(&[f64]) -> Term, at: &[f64]) {
        for i in 0..at.len() {
            let moved = |by: f64| {
                let mut means = at.to_vec();
                means[i] += by;
                term(&means).value
            };
            let quotient = (moved(1e-6) - moved(-1e-6)) / 2e-6;
            assert!((quotient - term(at).gradient[i]).abs() < 1e-6, "{i}");
        }
    }

    #[test]
    fn gradients_are_difference_quotients() {
        let means = [0.9, 0.5, 0.2];
        assert_gradient(polarisation, &means);
        let costs = costs(&[10, 30, 60]);
        assert_eq!(costs, [0.1, 0.3, 0.6]);
        assert_gradient(|m| activation(m, &costs, 0.2), &means);
        assert_eq!(
            activation(&means, &costs, 0.9),
            Term {
                value: 0.0,
                gradient: vec![0.0; 3]
            }
        );
    }

    /// Confident gates that disagree between samples are what polarisation is against; per-sample certainty would be 0 here.
    #[test]
    fn polarisation_is_across_samples() {
        let confident_and_torn = [1.0, 0.0, 0.0, 1.0];
        assert_eq!(
            polarisation(&batch_means(&confident_and_torn, 2)).value,
            1.0
        );
        let agreed = [1.0, 0.0, 1.0, 0.0];
        assert_eq!(polarisation(&batch_means(&agreed, 2)).value, 0.0);
    }

    #[test]
    fn every_sample_has_its_share_of_the_gradient() {
        let term = Term {
            value: 0.0,
            gradient: vec![1.0, -2.0],
        };
        let mut gates = [0.0; 8];
        add_to_gates(&term, 2.0, &mut gates);
        assert_eq!(gates, [0.5, -1.0, 0.5, -1.0, 0.5, -1.0, 0.5, -1.0]);
    }
}
