//! The generalised Gaussian and the estimation of its shape by matching moments.

/// `p(x) = ν / (2·α·Γ(1/ν)) · exp(−(|x|/α)^ν)`: ν = 2 is a Gaussian, ν = 1 Laplace's distribution, smaller is more peaked
/// with heavier tails.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct GeneralizedGaussian {
    /// ν, positive.
    pub shape: f64,
    /// α, positive.
    pub scale: f64,
}

/// Smallest and largest shape that [`Moments::shape`] finds, and its resolution.
const SHAPES: (f64, f64, f64) = (0.10, 3.00, 0.01);

fn log_gamma(x: f64) -> f64 {
    libm::lgamma(x)
}

/// `Γ(1/ν)·Γ(3/ν) / Γ(2/ν)² = E[x²] / E[|x|]²`, decreasing in ν.
pub fn moment_ratio(shape: f64) -> f64 {
    (log_gamma(1.0 / shape) + log_gamma(3.0 / shape) - 2.0 * log_gamma(2.0 / shape)).exp()
}

impl GeneralizedGaussian {
    /// The distribution with this shape and variance.
    pub fn with_variance(shape: f64, variance: f64) -> Self {
        let ratio = (log_gamma(1.0 / shape) - log_gamma(3.0 / shape)).exp();
        GeneralizedGaussian {
            shape,
            scale: (variance * ratio).sqrt(),
        }
    }

    /// The distribution that fits `values` (of mean 0); `None` if they are all zero, or not finite.
    pub fn fit(values: &[f32]) -> Option<Self> {
        Moments::of(values).fit()
    }

    /// `α²·Γ(3/ν)/Γ(1/ν)`.
    pub fn variance(&self) -> f64 {
        self.scale.powi(2) * (log_gamma(3.0 / self.shape) - log_gamma(1.0 / self.shape)).exp()
    }

    /// `E|x| = α·Γ(2/ν)/Γ(1/ν)`.
    pub fn mean_magnitude(&self) -> f64 {
        self.scale * (log_gamma(2.0 / self.shape) - log_gamma(1.0 / self.shape)).exp()
    }

    /// Differential entropy in nats: `1/ν + ln(2·α·Γ(1/ν)/ν)`.
    pub fn entropy(&self) -> f64 {
        1.0 / self.shape + (2.0 * self.scale / self.shape).ln() + log_gamma(1.0 / self.shape)
    }

    /// The density at `x`.
    pub fn density(&self, x: f64) -> f64 {
        let peak = self.shape / (2.0 * self.scale);
        peak * (-(x.abs() / self.scale).powf(self.shape) - log_gamma(1.0 / self.shape)).exp()
    }
}

/// What the estimate needs of a set of weights; sums of several tensors add up.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Moments {
    /// Number of weights.
    pub count: usize,
    /// `Σ|x|`.
    pub magnitudes: f64,
    /// `Σx²`.
    pub squares: f64,
}

impl Moments {
    /// Moments of one tensor.
    pub fn of(values: &[f32]) -> Self {
        let mut moments = Moments::default();
        moments.add(values);
        moments
    }

    /// Adds a tensor.
    pub fn add(&mut self, values: &[f32]) {
        self.count += values.len();
        for &x in values {
            let x = f64::from(x);
            self.magnitudes += x.abs();
            self.squares += x * x;
        }
    }

    /// Root of the mean square.
    pub fn deviation(&self) -> f64 {
        (self.squares / self.count.max(1) as f64).sqrt()
    }

    /// The shape in 0.10, 0.11, … 3.00 whose moment ratio is closest to `n·Σx² / (Σ|x|)²`; `None` where all weights are
    /// zero or one is not finite.
    pub fn shape(&self) -> Option<f64> {
        let measured = self.count as f64 * self.squares / self.magnitudes.powi(2);
        if !measured.is_finite() {
            return None;
        }
        let (low, high, step) = SHAPES;
        let shape = |i: usize| low + step * i as f64;
        // The ratio falls with the shape: `first` is the first entry that is not above the measured one.
        let (mut first, mut last) = (0, ((high - low) / step).round() as usize);
        let end = last;
        while first < last {
            let middle = usize::midpoint(first, last);
            if moment_ratio(shape(middle)) > measured {
                first = middle + 1;
            } else {
                last = middle;
            }
        }
        let distance = |i: usize| (moment_ratio(shape(i)) - measured).abs();
        let before = first.saturating_sub(1);
        let closest = if distance(before) < distance(first.min(end)) {
            before
        } else {
            first.min(end)
        };
        Some(shape(closest))
    }

    /// The distribution that fits.
    pub fn fit(&self) -> Option<GeneralizedGaussian> {
        let variance = self.squares / self.count.max(1) as f64;
        Some(GeneralizedGaussian::with_variance(self.shape()?, variance))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn moment_ratios_are_those_measured() {
        let cases = [
            (0.1, 216.827, 1e-3),
            (0.3, 6.66105, 1e-5),
            (0.5, 10.0 / 3.0, 1e-10),
            (0.8, 2.26863, 1e-5),
            (1.0, 2.0, 1e-10),
            (1.5, 1.69814, 1e-5),
            (2.0, std::f64::consts::FRAC_PI_2, 1e-10),
            (3.0, 1.46100, 1e-5),
        ];
        for (shape, ratio, tolerance) in cases {
            assert!(
                (moment_ratio(shape) - ratio).abs() < tolerance,
                "{shape}: {}",
                moment_ratio(shape)
            );
        }
    }

    #[test]
    fn special_cases_are_the_normal_and_laplaces_distribution() {
        let normal = GeneralizedGaussian::with_variance(2.0, 4.0);
        assert!(
            (normal.scale - 8f64.sqrt()).abs() < 1e-12 && (normal.variance() - 4.0).abs() < 1e-12
        );
        let peak = 1.0 / (2.0 * (2.0 * std::f64::consts::PI).sqrt());
        assert!((normal.density(0.0) - peak).abs() < 1e-12);
        let entropy = 0.5 * (2.0 * std::f64::consts::PI * std::f64::consts::E * 4.0).ln();
        assert!((normal.entropy() - entropy).abs() < 1e-12);
        let laplace = GeneralizedGaussian {
            shape: 1.0,
            scale: 3.0,
        };
        assert!(
            (laplace.mean_magnitude() - 3.0).abs() < 1e-12
                && (laplace.variance() - 18.0).abs() < 1e-12
        );
        assert!((laplace.density(3.0) - (-1f64).exp() / 6.0).abs() < 1e-12);
    }

    /// Mean and spread over 20 draws, against the table measured for the specification.
    #[test]
    fn the_estimator_spreads_as_measured() {
        let cases = [
            (2304, 0.5, 0.504, 0.033),
            (2304, 1.0, 1.017, 0.030),
            (2304, 2.0, 2.02, 0.105),
            (36864, 0.5, 0.502, 0.010),
            (36864, 1.0, 1.004, 0.009),
            (36864, 2.0, 2.000, 0.025),
        ];
        let mut random = ChaCha8Rng::seed_from_u64(1);
        for (n, shape, mean, spread) in cases {
            let distribution = GeneralizedGaussian::with_variance(shape, 1.0);
            let estimates: Vec<f64> = (0..20)
                .filter_map(|_| Moments::of(&distribution.draw(n, &mut random)).shape())
                .collect();
            assert_eq!(estimates.len(), 20);
            let found = estimates.iter().sum::<f64>() / 20.0;
            let deviation =
                (estimates.iter().map(|e| (e - found).powi(2)).sum::<f64>() / 19.0).sqrt();
            // The mean of 20 has a standard error of spread/√20; the spread itself is known to about a sixth.
            assert!(
                (found - mean).abs() < spread,
                "n = {n}, ν = {shape}: {found}"
            );
            assert!(
                (0.5 * spread..2.0 * spread).contains(&deviation),
                "n = {n}, ν = {shape}: ±{deviation}"
            );
        }
    }

    #[test]
    fn degenerate_weights_have_no_shape() {
        for values in [&[][..], &[0.0, 0.0], &[f32::NAN, 1.0], &[f32::INFINITY]] {
            assert_eq!(Moments::of(values).shape(), None, "{values:?}");
        }
        // All of one magnitude: flatter than anything in the table.
        assert_eq!(Moments::of(&[1.0, -1.0]).shape(), Some(3.0));
        // One weight among a million zeros: the table's floor.
        let mut sparse = vec![0.0; 1_000_000];
        sparse[0] = 1.0;
        assert_eq!(Moments::of(&sparse).shape(), Some(0.1));
    }
}
