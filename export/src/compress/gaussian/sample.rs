//! Drawing from a generalised Gaussian, and initialising weights with it (arXiv 2506.00486).

use super::GeneralizedGaussian;
use rand::Rng;
use rand_distr::{Distribution, Gamma};

impl GeneralizedGaussian {
    /// `count` independent draws: `±α·G^(1/ν)` with `G ~ Gamma(1/ν, 1)`.
    pub fn draw<R: Rng + ?Sized>(&self, count: usize, random: &mut R) -> Vec<f32> {
        let Ok(gamma) = Gamma::new(1.0 / self.shape, 1.0) else {
            // A shape that is no positive number: there is no such distribution.
            return vec![f32::NAN; count];
        };
        let inverse = 1.0 / self.shape;
        let one = |_| {
            let magnitude = self.scale * gamma.sample(random).powf(inverse);
            (if random.random::<bool>() {
                magnitude
            } else {
                -magnitude
            }) as f32
        };
        (0..count).map(one).collect()
    }
}

/// Which dimension of a weight sets the variance of its initial values.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fan {
    /// `C·kH·kW`, as He's initialisation has it; our default for convolutions.
    In,
    /// `N·kH·kW`.
    Out,
    /// The first dimension, as the authors' code has it for matrices.
    First,
}

/// What follows the layer; sets the gain ξ of the variance `ξ/n`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Follows {
    /// Nothing, or a sigmoid: ξ = 1.
    Linear,
    /// ξ = 2.
    Relu,
    /// ξ = 2/(1 + k²) for slope k.
    LeakyRelu(f64),
}

impl Follows {
    fn gain(self) -> f64 {
        match self {
            Follows::Linear => 1.0,
            Follows::Relu => 2.0,
            Follows::LeakyRelu(slope) => 2.0 / (1.0 + slope * slope),
        }
    }
}

/// Initial weights of `shape` (`[M, C/g, kH, kW]` or `[M, K]`): a generalised Gaussian with variance `ξ/n`. A shape ν of 2
/// gives He's normal initialisation.
pub fn initialize<R: Rng + ?Sized>(
    shape: &[usize],
    fan: Fan,
    follows: Follows,
    nu: f64,
    random: &mut R,
) -> Vec<f32> {
    let outputs = shape.first().copied().unwrap_or(1);
    let window: usize = shape.iter().skip(2).product();
    let fan = match fan {
        Fan::In => shape.iter().skip(1).product(),
        Fan::Out => outputs * window,
        Fan::First => outputs,
    };
    let variance = follows.gain() / fan.max(1) as f64;
    GeneralizedGaussian::with_variance(nu, variance).draw(shape.iter().product(), random)
}

#[cfg(test)]
mod tests {
    use super::super::Moments;
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn draws_have_the_moments_of_the_distribution() {
        let mut random = ChaCha8Rng::seed_from_u64(7);
        for shape in [0.3, 0.5, 1.0, 1.5, 2.0, 3.0] {
            let d = GeneralizedGaussian { shape, scale: 0.25 };
            let x = d.draw(200_000, &mut random);
            let moments = Moments::of(&x);
            let mean = x.iter().map(|&v| f64::from(v)).sum::<f64>() / 200_000.0;
            assert!(
                mean.abs() < 5.0 * d.variance().sqrt() / 200_000f64.sqrt(),
                "ν = {shape}: {mean}"
            );
            let magnitude = moments.magnitudes / 200_000.0 / d.mean_magnitude();
            assert!((magnitude - 1.0).abs() < 0.03, "ν = {shape}: {magnitude}");
        }
    }

    #[test]
    fn a_shape_of_two_is_hes_initialisation() {
        let mut random = ChaCha8Rng::seed_from_u64(3);
        let shape = [64, 32, 3, 3];
        let w = initialize(&shape, Fan::In, Follows::Relu, 2.0, &mut random);
        let moments = Moments::of(&w);
        assert!((moments.deviation() / (2.0f64 / 288.0).sqrt() - 1.0).abs() < 0.02);
        assert!((moments.shape().unwrap() - 2.0).abs() < 0.1);
        // Normal kurtosis.
        let fourth = w.iter().map(|&v| f64::from(v).powi(4)).sum::<f64>() / w.len() as f64;
        assert!((fourth / moments.deviation().powi(4) - 3.0).abs() < 0.25);
    }

    #[test]
    fn fans_and_gains_set_the_variance() {
        let mut random = ChaCha8Rng::seed_from_u64(4);
        let shape = [128, 64, 3, 3];
        let cases = [
            (Fan::Out, Follows::Linear, 1.0 / (128.0 * 9.0)),
            (Fan::First, Follows::Relu, 2.0 / 128.0),
            (Fan::In, Follows::LeakyRelu(1.0), 1.0 / (64.0 * 9.0)),
        ];
        for (fan, follows, variance) in cases {
            let w = initialize(&shape, fan, follows, 1.0, &mut random);
            assert!(
                (Moments::of(&w).deviation().powi(2) / variance - 1.0).abs() < 0.03,
                "{fan:?}"
            );
        }
    }
}
