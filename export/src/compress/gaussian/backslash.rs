//! BackSlash: the rate term of the loss and its gradient (arXiv 2504.16968).
//!
//! ```text
//! J = D + λ·R,    R = (1/N)·Σ(|θ| + ε)^ν
//! ```
//!
//! [`authors_step`] is the update of the authors' code. Its ε of 1 is far larger than a weight, so that the factor
//! `(|θ| + 1)^(ν−1)` is close to 1: it acts as a soft shrinkage by `λν/N` a step. [`step`] is our own form, in units of each
//! layer's deviation, where the exponent matters and no weight crosses zero.

use super::shape::Moments;

/// Shapes are kept within these bounds: a layer of zeros would drive ν to the estimate's floor.
pub const SHAPES: (f64, f64) = (0.3, 2.0);

/// ε of [`step`], in deviations.
pub const SMOOTHING: f64 = 0.1;

/// `(1/n)·Σ(|θ| + ε)^ν`.
pub fn rate(weights: &[f32], nu: f64, epsilon: f64) -> f64 {
    let terms = weights
        .iter()
        .map(|&w| (f64::from(w).abs() + epsilon).powf(nu));
    terms.sum::<f64>() / weights.len().max(1) as f64
}

/// Adds `factor·∂R/∂θ` to `gradient`, with `R` as [`rate`] has it and 0 as its derivative at 0. For those who want the term
/// in the loss, before the optimiser.
pub fn add_rate_gradient(
    weights: &[f32],
    nu: f64,
    epsilon: f64,
    factor: f64,
    gradient: &mut [f32],
) {
    let factor = factor * nu / weights.len().max(1) as f64;
    for (g, &w) in gradient.iter_mut().zip(weights) {
        *g += (factor * sign(w) * (f64::from(w).abs() + epsilon).powf(nu - 1.0)) as f32;
    }
}

/// The update of the authors' code, made after every optimiser step, outside of it: `θ −= (λν/N)·sign(θ)·(|θ| + ε)^(ν−1)`,
/// with `N` the number of all parameters. Their defaults are λ = 2000 and ε = 1 for 10⁸ parameters: keep `λ/N` within
/// 1e-6 … 2e-5.
pub fn authors_step(weights: &mut [f32], nu: f64, lambda: f64, epsilon: f64, parameters: usize) {
    let factor = lambda * nu / parameters.max(1) as f64;
    for w in weights {
        let pull = factor * sign(*w) * (f64::from(*w).abs() + epsilon).powf(nu - 1.0);
        *w = (f64::from(*w) - pull) as f32;
    }
}

/// Our update of one layer, made after every optimiser step:
///
/// ```text
/// u = |θ|/σ,    θ −= sign(θ)·min(|θ|, k·σ·ν·(u + 0.1)^(ν−1))
/// ```
///
/// with σ the layer's deviation and `k` 1e-5 … 1e-4.
pub fn step(weights: &mut [f32], nu: f64, k: f64) {
    let deviation = Moments::of(weights).deviation();
    if deviation == 0.0 || !deviation.is_finite() {
        return;
    }
    for w in weights {
        let magnitude = f64::from(*w).abs();
        let pull = k * deviation * nu * (magnitude / deviation + SMOOTHING).powf(nu - 1.0);
        *w = (sign(*w) * (magnitude - pull).max(0.0)) as f32;
    }
}

fn sign(w: f32) -> f64 {
    if w == 0.0 { 0.0 } else { f64::from(w).signum() }
}

/// A layer's shape, estimated again every so many steps.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct AdaptiveShape {
    every: usize,
    next: usize,
    shape: f64,
    fixed: bool,
}

impl AdaptiveShape {
    /// Estimates every `every` steps (the authors: 1; we: 100).
    pub fn new(every: usize) -> Self {
        AdaptiveShape {
            every: every.max(1),
            next: 0,
            shape: SHAPES.1,
            fixed: false,
        }
    }

    /// Never estimates: ν = 1 and 2 are L1 and L2, which BackSlash is compared with.
    pub fn fixed(shape: f64) -> Self {
        AdaptiveShape {
            every: 1,
            next: 0,
            shape,
            fixed: true,
        }
    }

    /// Goes on from an interrupted training's [`AdaptiveShape::state`].
    pub fn resume(mut self, (next, shape): (usize, f64)) -> Self {
        (self.next, self.shape) = (next, shape);
        self
    }

    /// The step of the next estimate, and the shape until then.
    pub fn state(&self) -> (usize, f64) {
        (self.next, self.shape)
    }

    /// The shape at training step `step`, within [`SHAPES`] unless it is fixed.
    pub fn at(&mut self, step: usize, weights: &[f32]) -> f64 {
        if !self.fixed && step >= self.next {
            self.next = step + self.every;
            if let Some(shape) = Moments::of(weights).shape() {
                self.shape = shape.clamp(SHAPES.0, SHAPES.1);
            }
        }
        self.shape
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compress::gaussian::GeneralizedGaussian;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn the_gradient_is_the_difference_quotient_of_the_rate() {
        let weights = [0.3f32, -0.2, 0.01, -1.5];
        for nu in [0.5, 1.0, 1.3, 2.0] {
            let mut gradient = [0.0; 4];
            add_rate_gradient(&weights, nu, 0.05, 1.0, &mut gradient);
            for i in 0..weights.len() {
                let moved = |by: f32| {
                    let mut w = weights;
                    w[i] += by;
                    (rate(&w, nu, 0.05), w[i])
                };
                let ((up, high), (down, low)) = (moved(1e-3), moved(-1e-3));
                let quotient = (up - down) / f64::from(high - low);
                assert!(
                    (quotient - f64::from(gradient[i])).abs() < 1e-3 * (1.0 + quotient.abs()),
                    "ν = {nu}, {i}"
                );
            }
        }
    }

    #[test]
    fn with_an_epsilon_of_one_the_authors_step_is_soft_shrinkage() {
        let mut weights = [0.02f32, -0.03, 0.0];
        authors_step(&mut weights, 0.8, 5.0, 1.0, 270_000);
        let pull = 5.0 * 0.8 / 270_000.0;
        assert!((f64::from(0.02 - weights[0]) / pull - 1.0).abs() < 0.01);
        assert!((f64::from(weights[1] + 0.03) / pull - 1.0).abs() < 0.01);
        assert_eq!(weights[2], 0.0);
    }

    #[test]
    fn the_step_is_free_of_scale_and_crosses_no_zero() {
        let mut random = ChaCha8Rng::seed_from_u64(5);
        let weights = GeneralizedGaussian::with_variance(1.0, 1.0).draw(4000, &mut random);
        let (mut a, mut b) = (
            weights.clone(),
            weights.iter().map(|w| w * 0.0625).collect::<Vec<_>>(),
        );
        for _ in 0..100 {
            step(&mut a, 0.5, 1e-3);
            step(&mut b, 0.5, 1e-3);
        }
        for ((&before, &a), &b) in weights.iter().zip(&a).zip(&b) {
            assert!((a * 0.0625 - b).abs() < 1e-5);
            assert!(a == 0.0 || a.signum() == before.signum());
            assert!(a.abs() <= before.abs());
        }
        assert!(a.contains(&0.0));
        let shape = |w: &[f32]| Moments::of(w).shape().unwrap();
        assert!(
            shape(&a) < shape(&weights),
            "small weights shrink faster than large ones"
        );
        let mut zeros = [0.0; 3];
        step(&mut zeros, 0.5, 1e-3);
        assert_eq!(zeros, [0.0; 3]);
    }

    #[test]
    fn a_shape_is_estimated_now_and_then_and_clamped() {
        let mut shape = AdaptiveShape::new(10);
        let sparse: Vec<f32> = (0..1000).map(|i| if i < 3 { 1.0 } else { 0.0 }).collect();
        assert_eq!(shape.at(0, &sparse), 0.3);
        assert_eq!(shape.at(9, &[1.0, -1.0]), 0.3);
        assert_eq!(shape.at(10, &[1.0, -1.0]), 2.0);
        assert_eq!(shape.at(25, &[0.0]), 2.0);
        assert_eq!(
            AdaptiveShape::new(10).resume(shape.state()).at(26, &sparse),
            2.0
        );
        assert_eq!(AdaptiveShape::fixed(1.0).at(0, &sparse), 1.0);
    }
}
