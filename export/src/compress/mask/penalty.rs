//! The sparsity term on γ, as a gradient.

use serde::{Deserialize, Serialize};

/// The form of the penalty.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Penalty {
    /// `s·sign(γ)`.
    #[default]
    L1,
    /// `s·γ`.
    L2,
    /// `s·γ` where `|γ| < lr·s`, `s·sign(γ)` elsewhere.
    SmoothL1 {
        /// The learning rate.
        lr: f32,
    },
    /// No gradient: after each step [`shrink`], which gives exact zeros, of γ and β, so that nothing is left of the channel.
    Proximal,
}

/// Soft threshold of the entries that go: `sign(x)·max(0, |x| − by)`, the proximal step of the L1 penalty.
pub fn shrink(values: &mut [f32], keep: &[bool], by: f32) {
    for (value, _) in values.iter_mut().zip(keep).filter(|(_, keep)| !**keep) {
        *value = value.signum() * (value.abs() - by).max(0.0);
    }
}

/// The entries that go, times `factor`.
pub fn fade(values: &mut [f32], keep: &[bool], factor: f32) {
    for (value, _) in values.iter_mut().zip(keep).filter(|(_, keep)| !**keep) {
        *value *= factor;
    }
}

/// Adds the penalty to the gradient of γ, after the backward pass and before momentum.
///
/// `keep` is the mask of channels that stay: only the others are penalised. Without a mask all are ("network slimming",
/// which finds a first mask). Normalisations that no mask is known for get no penalty: do not call this for them.
pub fn add_penalty(
    gamma: &[f32],
    keep: Option<&[bool]>,
    s: f32,
    penalty: Penalty,
    gradient: &mut [f32],
) {
    for (i, (g, &gamma)) in gradient.iter_mut().zip(gamma).enumerate() {
        if keep.is_some_and(|keep| keep.get(i).copied().unwrap_or(true)) {
            continue;
        }
        // As in the authors' code, sign(0) = 0: a γ of zero feels no pull.
        let sign = if gamma == 0.0 { 0.0 } else { gamma.signum() };
        *g += match penalty {
            Penalty::L1 => s * sign,
            Penalty::L2 => s * gamma,
            Penalty::SmoothL1 { lr } if gamma.abs() < lr * s => s * gamma,
            Penalty::SmoothL1 { .. } => s * sign,
            Penalty::Proximal => 0.0,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shrinking_ends_at_zero_and_spares_what_stays() {
        let mut values = [0.3, -0.3, 0.05, -0.05, 0.0];
        shrink(&mut values, &[true, false, false, false, false], 0.1);
        assert_eq!(values[0], 0.3);
        assert!((values[1] + 0.2).abs() < 1e-6);
        assert_eq!(values[2..].iter().map(|v| v.abs()).sum::<f32>(), 0.0);
    }

    #[test]
    fn fading_spares_what_stays() {
        let mut values = [0.5, -0.5, 0.25];
        fade(&mut values, &[true, false, false], 0.5);
        assert_eq!(values, [0.5, -0.25, 0.125]);
        fade(&mut values, &[true, false, false], 0.0);
        assert_eq!(values, [0.5, 0.0, 0.0]);
    }

    #[test]
    fn only_channels_that_go_are_penalised() {
        let gamma = [0.5, -0.5, 0.0, 2.0];
        let gradient = |keep: Option<&[bool]>, penalty| {
            let mut g = [1.0f32; 4];
            add_penalty(&gamma, keep, 0.25, penalty, &mut g);
            g
        };
        assert_eq!(gradient(None, Penalty::L1), [1.25, 0.75, 1.0, 1.25]);
        let keep = [true, false, false, true];
        assert_eq!(gradient(Some(&keep), Penalty::L1), [1.0, 0.75, 1.0, 1.0]);
        assert_eq!(gradient(Some(&keep), Penalty::L2), [1.0, 0.875, 1.0, 1.0]);
        assert_eq!(
            gradient(None, Penalty::SmoothL1 { lr: 4.0 }),
            [1.125, 0.875, 1.0, 1.25]
        );
        assert_eq!(
            gradient(Some(&[]), Penalty::L1),
            [1.0; 4],
            "what the mask does not know is kept"
        );
    }
}
