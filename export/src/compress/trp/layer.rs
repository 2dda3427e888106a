//! One convolution's weight as matrices: decomposed, truncated, put together again.

use super::{RankRule, Scheme, TrpError, stable_rank};
use faer::{Mat, MatRef};

/// The singular value decomposition of a convolution's weight `[N, C, kH, kW]` under a scheme.
pub struct LayerSvd {
    scheme: Scheme,
    shape: [usize; 4],
    /// One matrix, or for ND one a filter.
    parts: Vec<Part>,
}

struct Part {
    u: Mat<f64>,
    sigma: Vec<f64>,
    v: Mat<f64>,
}

/// Weights of the two convolutions that replace one.
#[derive(Clone, PartialEq, Debug)]
pub struct Factors {
    /// Weight of the first.
    pub first: Vec<f32>,
    /// Its shape.
    pub first_shape: [usize; 4],
    /// Weight of the second.
    pub second: Vec<f32>,
    /// Its shape.
    pub second_shape: [usize; 4],
    /// Groups of the second; the first has one.
    pub groups: usize,
}

/// Row and column of a weight's element in its (part's) matrix, and which part.
fn place(
    scheme: Scheme,
    [_, _, kh, kw]: [usize; 4],
    [n, c, y, x]: [usize; 4],
) -> (usize, usize, usize) {
    match scheme {
        Scheme::Channel => (0, n, (c * kh + y) * kw + x),
        Scheme::Spatial => (0, c * kh + y, n * kw + x),
        Scheme::Decoupled => (n, c, y * kw + x),
    }
}

fn matrix_shape(scheme: Scheme, [n, c, kh, kw]: [usize; 4]) -> (usize, usize, usize) {
    match scheme {
        Scheme::Channel => (1, n, c * kh * kw),
        Scheme::Spatial => (1, c * kh, n * kw),
        Scheme::Decoupled => (n, c, kh * kw),
    }
}

/// All indices of a tensor, row-major.
fn indices([n, c, kh, kw]: [usize; 4]) -> impl Iterator<Item = [usize; 4]> {
    (0..n).flat_map(move |n| {
        (0..c).flat_map(move |c| (0..kh).flat_map(move |y| (0..kw).map(move |x| [n, c, y, x])))
    })
}

impl LayerSvd {
    /// Decomposes a weight.
    ///
    /// # Errors
    /// The weight does not fit its shape, or is not finite.
    pub fn new(weight: &[f32], shape: [usize; 4], scheme: Scheme) -> Result<Self, TrpError> {
        let len = weight.len();
        if len == 0 || shape.iter().product::<usize>() != len {
            return Err(TrpError::Shape { shape, len });
        }
        if weight.iter().any(|w| !w.is_finite()) {
            return Err(TrpError::Svd);
        }
        let (count, rows, columns) = matrix_shape(scheme, shape);
        let mut matrices = vec![Mat::<f64>::zeros(rows, columns); count];
        for (index, &w) in indices(shape).zip(weight) {
            let (part, row, column) = place(scheme, shape, index);
            matrices[part][(row, column)] = w.into();
        }
        let decompose = |m: Mat<f64>| {
            let svd = m.thin_svd().map_err(|_| TrpError::Svd)?;
            let sigma = svd.S().column_vector().iter().copied().collect();
            Ok(Part {
                u: svd.U().to_owned(),
                sigma,
                v: svd.V().to_owned(),
            })
        };
        let parts = matrices
            .into_iter()
            .map(decompose)
            .collect::<Result<_, _>>()?;
        Ok(LayerSvd {
            scheme,
            shape,
            parts,
        })
    }

    /// The smaller side of the matrix.
    pub fn full_rank(&self) -> usize {
        self.parts.first().map_or(0, |p| p.sigma.len())
    }

    /// Singular values, descending; for ND the root of the sum of squares over all filters.
    pub fn sigma(&self) -> Vec<f64> {
        let squares = |i: usize| self.parts.iter().map(|p| p.sigma[i].powi(2)).sum::<f64>();
        (0..self.full_rank()).map(|i| squares(i).sqrt()).collect()
    }

    /// `Σσ² / σ₁²`.
    pub fn stable_rank(&self) -> f64 {
        stable_rank(&self.sigma())
    }

    /// The rank under `rule`; for ND the largest over all filters.
    pub fn rank(&self, rule: RankRule) -> usize {
        self.parts
            .iter()
            .map(|p| rule.rank(&p.sigma))
            .max()
            .unwrap_or(1)
    }

    /// The closest weight of this rank: `U_r·Σ_r·V_rᵀ`.
    pub fn truncated(&self, rank: usize) -> Vec<f32> {
        self.assembled(rank, |sigma| sigma)
    }

    /// The sub-gradient of the nuclear norm on the kept rank, `U_r·V_rᵀ`. Directions without weight have none.
    pub fn nuclear_subgradient(&self, rank: usize) -> Vec<f32> {
        let floor = 1e-8 * self.sigma().first().copied().unwrap_or(0.0);
        self.assembled(rank, |sigma| if sigma > floor { 1.0 } else { 0.0 })
    }

    fn assembled(&self, rank: usize, f: impl Fn(f64) -> f64) -> Vec<f32> {
        let product = |part: &Part| {
            let rank = rank.min(part.sigma.len());
            let (rows, columns) = (part.u.nrows(), part.v.nrows());
            let scaled = Mat::from_fn(rows, rank, |i, r| part.u[(i, r)] * f(part.sigma[r]));
            let v: MatRef<'_, f64> = part.v.get(0..columns, 0..rank);
            scaled * v.transpose()
        };
        let matrices: Vec<Mat<f64>> = self.parts.iter().map(product).collect();
        let element = |index| {
            let (part, row, column) = place(self.scheme, self.shape, index);
            matrices[part][(row, column)] as f32
        };
        indices(self.shape).map(element).collect()
    }

    /// Weights of two convolutions of this rank whose composition is [`LayerSvd::truncated`].
    pub fn factors(&self, rank: usize) -> Factors {
        let [n, c, kh, kw] = self.shape;
        let rank = rank.clamp(1, self.full_rank().max(1));
        let (first_shape, second_shape, groups) = match self.scheme {
            Scheme::Channel => ([rank, c, kh, kw], [n, rank, 1, 1], 1),
            Scheme::Spatial => ([rank, c, kh, 1], [n, rank, 1, kw], 1),
            Scheme::Decoupled => ([n * rank, c, 1, 1], [n, rank, kh, kw], n),
        };
        let left = |part: usize, row: usize, r: usize| {
            let part = &self.parts[part];
            (part.u[(row, r)] * part.sigma[r].sqrt()) as f32
        };
        let right = |part: usize, column: usize, r: usize| {
            let part = &self.parts[part];
            (part.v[(column, r)] * part.sigma[r].sqrt()) as f32
        };
        let first = |[o, c, y, x]: [usize; 4]| match self.scheme {
            Scheme::Channel => right(0, (c * kh + y) * kw + x, o),
            Scheme::Spatial => left(0, c * kh + y, o),
            Scheme::Decoupled => left(o / rank, c, o % rank),
        };
        let second = |[n, r, y, x]: [usize; 4]| match self.scheme {
            Scheme::Channel => left(0, n, r),
            Scheme::Spatial => right(0, n * kw + x, r),
            Scheme::Decoupled => right(n, y * kw + x, r),
        };
        Factors {
            first: indices(first_shape).map(first).collect(),
            first_shape,
            second: indices(second_shape).map(second).collect(),
            second_shape,
            groups,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compress::testing::distance;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    const SCHEMES: [Scheme; 3] = [Scheme::Channel, Scheme::Spatial, Scheme::Decoupled];
    const SHAPE: [usize; 4] = [6, 4, 3, 5];

    fn weight(seed: u64) -> Vec<f32> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        (0..360).map(|_| random.random_range(-1.0..1.0)).collect()
    }

    /// The weight of the composition of both convolutions.
    fn composed(f: &Factors, scheme: Scheme, [n, c, kh, kw]: [usize; 4]) -> Vec<f32> {
        let rank = f.second_shape[1];
        let at = |data: &[f32], s: [usize; 4], [a, b, y, x]: [usize; 4]| {
            data[((a * s[1] + b) * s[2] + y) * s[3] + x]
        };
        let element = |[n, c, y, x]: [usize; 4]| {
            let term = |r: usize| match scheme {
                Scheme::Channel => {
                    at(&f.first, f.first_shape, [r, c, y, x])
                        * at(&f.second, f.second_shape, [n, r, 0, 0])
                }
                Scheme::Spatial => {
                    at(&f.first, f.first_shape, [r, c, y, 0])
                        * at(&f.second, f.second_shape, [n, r, 0, x])
                }
                Scheme::Decoupled => {
                    at(&f.first, f.first_shape, [n * rank + r, c, 0, 0])
                        * at(&f.second, f.second_shape, [n, r, y, x])
                }
            };
            (0..rank).map(term).sum()
        };
        indices([n, c, kh, kw]).map(element).collect()
    }

    #[test]
    fn full_rank_loses_nothing_and_factors_compose_to_the_truncation() {
        for scheme in SCHEMES {
            let w = weight(1);
            let svd = LayerSvd::new(&w, SHAPE, scheme).unwrap();
            let full = svd.full_rank();
            assert!(distance(&svd.truncated(full), &w) < 1e-6, "{scheme:?}");
            for rank in 1..=full {
                let product = composed(&svd.factors(rank), scheme, SHAPE);
                assert!(
                    distance(&product, &svd.truncated(rank)) < 1e-5,
                    "{scheme:?} {rank}"
                );
            }
        }
    }

    #[test]
    fn the_truncation_error_is_the_energy_left_out() {
        for scheme in SCHEMES {
            let w = weight(2);
            let svd = LayerSvd::new(&w, SHAPE, scheme).unwrap();
            for rank in 1..=svd.full_rank() {
                let error: f64 = svd
                    .truncated(rank)
                    .iter()
                    .zip(&w)
                    .map(|(a, b)| f64::from(a - b).powi(2))
                    .sum();
                let left: f64 = svd.sigma()[rank..].iter().map(|s| s * s).sum();
                assert!(
                    (error - left).abs() < 1e-4 * (1.0 + left),
                    "{scheme:?} {rank}"
                );
            }
        }
    }

    #[test]
    fn projecting_twice_is_projecting_once() {
        for scheme in SCHEMES {
            let once = LayerSvd::new(&weight(3), SHAPE, scheme)
                .unwrap()
                .truncated(2);
            let again = LayerSvd::new(&once, SHAPE, scheme).unwrap();
            assert_eq!(again.rank(RankRule::RelativeValue(1e-4)), 2, "{scheme:?}");
            assert!(distance(&again.truncated(2), &once) < 1e-6);
        }
    }

    /// `‖M + t·D‖_* − ‖M‖_* ≥ t·⟨U·Vᵀ, D⟩`, with equality in the limit where M has full rank.
    #[test]
    fn the_subgradient_is_the_derivative_of_the_nuclear_norm() {
        let nuclear = |w: &[f32], scheme| -> f64 {
            LayerSvd::new(w, SHAPE, scheme)
                .unwrap()
                .parts
                .iter()
                .flat_map(|p| p.sigma.clone())
                .sum()
        };
        for scheme in SCHEMES {
            let (w, d) = (weight(4), weight(5));
            let svd = LayerSvd::new(&w, SHAPE, scheme).unwrap();
            let g = svd.nuclear_subgradient(svd.full_rank());
            let slope: f64 = g.iter().zip(&d).map(|(g, d)| f64::from(g * d)).sum();
            let t = 1e-3f32;
            let moved = |t: f32| {
                nuclear(
                    &w.iter().zip(&d).map(|(w, d)| w + t * d).collect::<Vec<_>>(),
                    scheme,
                )
            };
            let quotient = (moved(t) - moved(-t)) / f64::from(2.0 * t);
            assert!(
                (quotient - slope).abs() < 1e-2 * (1.0 + slope.abs()),
                "{scheme:?}: {quotient} {slope}"
            );
        }
    }

    #[test]
    fn decoupling_takes_the_largest_rank_of_all_filters() {
        let mut w = vec![0.0; 360];
        // Filter 0 has rank 3, all others rank 1.
        for i in 0..3 {
            w[i * 15 + i] = 1.0;
        }
        for n in 1..6 {
            w[n * 60] = 1.0;
        }
        let svd = LayerSvd::new(&w, SHAPE, Scheme::Decoupled).unwrap();
        assert_eq!((svd.rank(RankRule::Energy(0.99)), svd.full_rank()), (3, 4));
    }

    #[test]
    fn weights_that_are_no_weights_are_refused() {
        assert_eq!(
            LayerSvd::new(&[1.0; 3], [1, 1, 2, 2], Scheme::Channel).err(),
            Some(TrpError::Shape {
                shape: [1, 1, 2, 2],
                len: 3
            })
        );
        assert_eq!(
            LayerSvd::new(&[f32::NAN; 4], [1, 1, 2, 2], Scheme::Channel).err(),
            Some(TrpError::Svd)
        );
        assert!(LayerSvd::new(&[], [0, 1, 2, 2], Scheme::Spatial).is_err());
        let zero = LayerSvd::new(&[0.0; 4], [1, 1, 2, 2], Scheme::Spatial).unwrap();
        assert_eq!(
            (zero.truncated(2), zero.nuclear_subgradient(2)),
            (vec![0.0; 4], vec![0.0; 4])
        );
    }
}
