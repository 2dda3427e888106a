//! Batch normalisation, with the clamp that follows it.

use crate::graph::Clamp;
use crate::train::tape::kernels::{rows, samples_a_task};
use crate::train::tape::operation::{Context, Mode, Operation};
use crate::train::tape::tensor::Tensor;
use crate::train::tensor::Real;
use rayon::prelude::*;

/// `x`, scale, bias, running mean, running variance → `clamp(scale·(x − mean)/√(variance + ε) + bias)`, channels last.
///
/// In training mode mean and variance are the batch's, and the running ones follow them.
pub struct BatchNorm {
    pub(crate) epsilon: f64,
    pub(crate) clamp: Clamp,
    /// Weight of the batch in the running statistics.
    pub momentum: f64,
    /// Uses the running statistics, and leaves them alone, also when training.
    pub frozen: bool,
    statistics: Option<Statistics>,
}

struct Statistics {
    mean: Vec<f64>,
    variance: Vec<f64>,
    /// Elements a channel; 0 if these are not the batch's.
    count: f64,
    /// Running mean and variance after this batch.
    running: [Vec<f64>; 2],
}

impl BatchNorm {
    pub(crate) fn new(epsilon: f32) -> Self {
        BatchNorm {
            epsilon: epsilon.into(),
            clamp: Clamp::NONE,
            momentum: 0.1,
            frozen: false,
            statistics: None,
        }
    }

    /// Repeated factors and offsets: the normalisation is `x·factor + offset`.
    fn affine<T: Real>(&self, s: &Statistics, scale: &[T], bias: &[T]) -> [Vec<T>; 2] {
        let factor = |c: usize| scale[c].double() / (s.variance[c] + self.epsilon).sqrt();
        let offset = |c: usize| bias[c].double() - factor(c) * s.mean[c];
        [
            rows::repeated(|c| T::of(factor(c)), scale.len()),
            rows::repeated(|c| T::of(offset(c)), scale.len()),
        ]
    }
}

fn doubles<T: Real>(x: &Tensor<T>) -> Vec<f64> {
    x.data.iter().map(|v| v.double()).collect()
}

/// Elements a task takes.
fn task_len<T: Real>(x: &Tensor<T>) -> usize {
    samples_a_task(x.rows(), 1) * x.row_len()
}

/// Mean, variance and count of every channel. Each task centres its own part, so nothing cancels.
fn moments<T: Real>(x: &Tensor<T>, channels: usize) -> (Vec<f64>, Vec<f64>, f64) {
    let parts: Vec<(f64, Vec<f64>, Vec<f64>)> = x
        .data
        .par_chunks(task_len(x).max(1))
        .map(|x| {
            let n = (x.len() / channels) as f64;
            let mut sums = vec![T::zero(); channels * rows::repeats(channels)];
            rows::sum_channels(x, &mut sums);
            let mean: Vec<f64> = rows::fold(&sums, channels).iter().map(|s| s / n).collect();
            let repeated = rows::repeated(|c| T::of(mean[c]), channels);
            sums.fill(T::zero());
            rows::sum_squares(x, &repeated, &mut sums);
            (n, mean, rows::fold(&sums, channels))
        })
        .collect();
    let (mut count, mut mean, mut squares) = (0.0, vec![0.0; channels], vec![0.0; channels]);
    for (n, part_mean, part_squares) in &parts {
        let total = count + n;
        for c in 0..channels {
            let d = part_mean[c] - mean[c];
            mean[c] += d * n / total;
            squares[c] += part_squares[c] + d * d * count * n / total;
        }
        count = total;
    }
    (mean, squares.iter().map(|s| s / count).collect(), count)
}

impl<T: Real> Operation<T> for BatchNorm {
    fn forward(&mut self, inputs: &[&Tensor<T>], context: &mut Context<T>) -> Tensor<T> {
        let &[x, scale, bias, mean, variance] = inputs else {
            return Tensor::default();
        };
        let channels = scale.data.len();
        let running = [doubles(mean), doubles(variance)];
        let statistics = if context.mode == Mode::Train && !self.frozen {
            let (mean, variance, count) = moments(x, channels);
            let m = self.momentum;
            let unbiased = count / (count - 1.0).max(1.0);
            let follow = |old: &[f64], new: &[f64], factor: f64| -> Vec<f64> {
                let pairs = old.iter().zip(new);
                pairs
                    .map(|(old, new)| (1.0 - m) * old + m * factor * new)
                    .collect()
            };
            Statistics {
                running: [
                    follow(&running[0], &mean, 1.0),
                    follow(&running[1], &variance, unbiased),
                ],
                mean,
                variance,
                count,
            }
        } else {
            let [mean, variance] = running.clone();
            Statistics {
                mean,
                variance,
                count: 0.0,
                running,
            }
        };
        let [factor, offset] = self.affine(&statistics, &scale.data, &bias.data);
        let bounds = super::bounds(self.clamp);
        let mut y = context.buffers.tensor(x.shape.clone());
        let len = task_len(x).max(1);
        y.data
            .par_chunks_mut(len)
            .zip(x.data.par_chunks(len))
            .for_each(|(y, x)| rows::affine(x, &factor, &offset, bounds, y));
        self.statistics = Some(statistics);
        y
    }

    fn backward(
        &mut self,
        inputs: &[&Tensor<T>],
        _: &Tensor<T>,
        mut gradient: Tensor<T>,
        wanted: &[bool],
        _: &mut Context<T>,
    ) -> Vec<Option<Tensor<T>>> {
        let (&[x, scale, bias, ..], Some(s)) = (inputs, &self.statistics) else {
            return vec![None; inputs.len()];
        };
        let channels = scale.data.len();
        let [factor, offset] = self.affine(s, &scale.data, &bias.data);
        let mean = rows::repeated(|c| T::of(s.mean[c]), channels);
        let bounds = super::bounds(self.clamp);
        let len = task_len(x).max(1);
        let parts: Vec<[Vec<f64>; 2]> = gradient
            .data
            .par_chunks_mut(len)
            .zip(x.data.par_chunks(len))
            .map(|(dy, x)| {
                let mut sums = vec![T::zero(); factor.len()];
                let mut products = sums.clone();
                rows::affine_sums(
                    x,
                    dy,
                    &factor,
                    &offset,
                    &mean,
                    bounds,
                    &mut sums,
                    &mut products,
                );
                [sums, products].map(|s| rows::fold(&s, channels))
            })
            .collect();
        let mut totals = [vec![0.0; channels], vec![0.0; channels]];
        for part in &parts {
            for (total, part) in totals.iter_mut().flatten().zip(part.iter().flatten()) {
                *total += part;
            }
        }
        let [sums, products] = totals;
        let inverse: Vec<f64> = s
            .variance
            .iter()
            .map(|v| 1.0 / (v + self.epsilon).sqrt())
            .collect();
        if wanted[0] {
            // dx = factor·(dy − mean(dy) − x̂·mean(dy·x̂)), or factor·dy when the statistics are constants.
            let share = if s.count > 0.0 { 1.0 / s.count } else { 0.0 };
            let factor_of = |c: usize| scale.data[c].double() * inverse[c];
            let slope = |c: usize| -factor_of(c) * inverse[c] * inverse[c] * products[c] * share;
            let constant = |c: usize| -factor_of(c) * sums[c] * share - slope(c) * s.mean[c];
            let slope_row = rows::repeated(|c| T::of(slope(c)), channels);
            let constant_row = rows::repeated(|c| T::of(constant(c)), channels);
            gradient
                .data
                .par_chunks_mut(len)
                .zip(x.data.par_chunks(len))
                .for_each(|(dy, x)| rows::combine(x, dy, &factor, &slope_row, &constant_row));
        }
        let vector = |f: &dyn Fn(usize) -> f64| {
            Some(Tensor::new(
                [channels],
                (0..channels).map(|c| T::of(f(c))).collect::<Vec<_>>(),
            ))
        };
        let d_scale = vector(&|c| products[c] * inverse[c]);
        let d_bias = vector(&|c| sums[c]);
        vec![wanted[0].then_some(gradient), d_scale, d_bias, None, None]
    }

    fn updates(&mut self) -> Vec<(usize, Tensor<T>)> {
        let Some(s) = self.statistics.as_ref().filter(|s| s.count > 0.0) else {
            return Vec::new();
        };
        let tensor = |v: &[f64]| Tensor::new([v.len()], v.iter().map(|&v| T::of(v)).collect());
        vec![(3, tensor(&s.running[0])), (4, tensor(&s.running[1]))]
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::check::{Case, agrees};
    use super::*;

    fn case(op: BatchNorm, shape: &[usize]) -> Case {
        let c = shape[shape.len() - 1];
        Case::new(op)
            .input(shape)
            .input([c])
            .input([c])
            .constant(Tensor::new([c], vec![0.3; c]))
            .constant(Tensor::new([c], vec![1.7; c]))
    }

    #[test]
    fn gradients_equal_finite_differences_in_both_modes_and_under_a_clamp() {
        for clamp in [
            Clamp::NONE,
            Clamp::RELU,
            Clamp {
                min: -0.5,
                max: 0.7,
            },
        ] {
            for frozen in [false, true] {
                for shape in [&[3, 4, 2, 5][..], &[7, 3]] {
                    let op = BatchNorm {
                        clamp,
                        frozen,
                        ..BatchNorm::new(1e-3)
                    };
                    agrees(case(op, shape));
                }
            }
        }
    }

    #[test]
    fn training_normalises_the_batch_and_moves_the_running_statistics() {
        let x = Tensor::new([4, 1], vec![1.0, 2.0, 3.0, 6.0]);
        let one = |v: f64| Tensor::new([1], vec![v]);
        let inputs = [x, one(1.0), one(0.0), one(10.0), one(5.0)];
        let mut op = BatchNorm::new(0.0);
        let y = super::super::super::check::run(&mut op, &inputs);
        assert!(y.data.iter().sum::<f64>().abs() < 1e-12);
        let updates = Operation::<f64>::updates(&mut op);
        assert!((updates[0].1.data[0] - (0.9 * 10.0 + 0.1 * 3.0)).abs() < 1e-12);
        // The running variance is the unbiased one: 14 / 3.
        assert!((updates[1].1.data[0] - (0.9 * 5.0 + 0.1 * 14.0 / 3.0)).abs() < 1e-12);
    }
}
