//! What training makes small: cross-entropy with soft targets, and the distance to a teacher.

use super::tape::Tensor;
use super::tensor::Real;

/// For every sample, how probable each class should be.
#[derive(Clone, PartialEq, Debug)]
pub struct Targets<T> {
    /// Number of classes.
    pub classes: usize,
    /// A row a sample; each sums to 1.
    pub probabilities: Vec<T>,
}

impl<T: Real> Targets<T> {
    /// One class a sample. Labels of `classes` and above have no target: their rows are 0.
    pub fn from_labels(labels: &[u16], classes: usize) -> Self {
        let mut probabilities = vec![T::zero(); labels.len() * classes];
        for (row, &label) in probabilities.chunks_exact_mut(classes.max(1)).zip(labels) {
            if let Some(p) = row.get_mut(usize::from(label)) {
                *p = T::one();
            }
        }
        Targets {
            classes,
            probabilities,
        }
    }

    /// Moves this share of the probability to all classes alike (label smoothing).
    #[must_use]
    pub fn smoothed(mut self, share: f64) -> Self {
        let (keep, add) = (T::of(1.0 - share), T::of(share / self.classes as f64));
        for p in &mut self.probabilities {
            *p = *p * keep + add;
        }
        self
    }
}

/// The softmax of a row, in double precision, and the logarithm of its denominator plus the maximum.
fn softmax<T: Real>(row: &[T], scale: f64) -> (Vec<f64>, f64) {
    let scaled: Vec<f64> = row.iter().map(|v| v.double() * scale).collect();
    let max = scaled.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let exps: Vec<f64> = scaled.iter().map(|v| (v - max).exp()).collect();
    let sum: f64 = exps.iter().sum();
    (exps.iter().map(|e| e / sum).collect(), max + sum.ln())
}

/// Mean cross-entropy of the softmax of `logits` (a row a sample) with the targets, and its gradient.
pub fn cross_entropy<T: Real>(logits: &Tensor<T>, targets: &Targets<T>) -> (f64, Tensor<T>) {
    let mut gradient = Tensor::zeros(logits.shape.clone());
    let n = logits.rows().max(1) as f64;
    let classes = targets.classes.max(1);
    let mut loss = 0.0;
    let rows = logits
        .data
        .chunks_exact(classes)
        .zip(targets.probabilities.chunks_exact(classes));
    for ((row, target), gradient) in rows.zip(gradient.data.chunks_exact_mut(classes)) {
        let (p, log_sum) = softmax(row, 1.0);
        let mass: f64 = target.iter().map(|t| t.double()).sum();
        for ((g, p), (t, v)) in gradient.iter_mut().zip(&p).zip(target.iter().zip(row)) {
            loss += t.double() * (log_sum - v.double()) / n;
            *g = T::of((p * mass - t.double()) / n);
        }
    }
    (loss, gradient)
}

/// Mean Kullback-Leibler divergence of the teacher's softened predictions from the student's, times the square of the
/// temperature (Hinton et al.), and its gradient.
pub fn distillation<T: Real>(
    logits: &Tensor<T>,
    teacher: &Tensor<T>,
    temperature: f64,
) -> (f64, Tensor<T>) {
    let mut gradient = Tensor::zeros(logits.shape.clone());
    let n = logits.rows().max(1) as f64;
    let classes = logits.row_len().max(1);
    let mut loss = 0.0;
    let rows = logits
        .data
        .chunks_exact(classes)
        .zip(teacher.data.chunks_exact(classes));
    for ((row, teacher), gradient) in rows.zip(gradient.data.chunks_exact_mut(classes)) {
        let scale = 1.0 / temperature;
        let ((p, log_p), (q, log_q)) = (softmax(row, scale), softmax(teacher, scale));
        for (i, g) in gradient.iter_mut().enumerate() {
            let log_ratio = (teacher[i].double() - row[i].double()) * scale - log_q + log_p;
            loss += temperature * temperature * q[i] * log_ratio / n;
            *g = T::of(temperature * (p[i] - q[i]) / n);
        }
    }
    (loss, gradient)
}

#[cfg(test)]
mod tests {
    use super::super::check::random;
    use super::*;

    fn logits(seed: u64) -> Tensor<f64> {
        Tensor::new([4, 3], random(12, seed).iter().map(|v| 3.0 * v).collect())
    }

    fn agrees(f: impl Fn(&Tensor<f64>) -> (f64, Tensor<f64>)) {
        let x = logits(1);
        let gradient = f(&x).1;
        for i in 0..x.data.len() {
            let at = |h: f64| {
                let mut x = x.clone();
                x.data[i] += h;
                f(&x).0
            };
            let difference = (at(1e-5) - at(-1e-5)) / 2e-5;
            assert!((difference - gradient.data[i]).abs() < 1e-9);
        }
    }

    #[test]
    fn gradients_equal_finite_differences() {
        let targets = Targets::from_labels(&[2, 0, 1, 1], 3);
        agrees(|x| cross_entropy(x, &targets));
        let smoothed = targets.smoothed(0.1);
        assert!((smoothed.probabilities[2] - (0.9 + 0.1 / 3.0)).abs() < 1e-12);
        agrees(|x| cross_entropy(x, &smoothed));
        agrees(|x| distillation(x, &logits(2), 4.0));
    }

    #[test]
    fn equal_logits_cost_the_logarithm_of_the_classes_and_a_like_teacher_nothing() {
        let targets = Targets::from_labels(&[3, 1], 5);
        let (loss, _) = cross_entropy(&Tensor::<f64>::zeros([2, 5]), &targets);
        assert!((loss - 5f64.ln()).abs() < 1e-12);
        let (loss, gradient) = distillation(&logits(1), &logits(1), 2.0);
        assert!(loss.abs() < 1e-12 && gradient.data.iter().all(|g| g.abs() < 1e-12));
    }
}
