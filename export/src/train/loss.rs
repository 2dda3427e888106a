//! Softmax cross-entropy.

use super::tensor::{Real, Tensor};

/// Mean over the batch of `−log softmax(scores)[label]`, and its gradient with respect to the scores.
///
/// Each label is below the number of scores of a sample.
pub fn softmax_cross_entropy<T: Real>(scores: &Tensor<T>, labels: &[u8]) -> (f64, Tensor<T>) {
    let classes = scores.sample_len();
    let count = labels.len() as f64;
    let mut gradient = Tensor::zeros(scores.shape);
    let mut loss = 0.0;
    for ((scores, gradient), &label) in scores
        .data
        .chunks_exact(classes)
        .zip(gradient.data.chunks_exact_mut(classes))
        .zip(labels)
    {
        // In double precision, from the maximum: neither overflow nor a library's f32 `exp` changes the result.
        let max = scores
            .iter()
            .fold(f64::NEG_INFINITY, |m, s| m.max(s.double()));
        let exponentials: Vec<f64> = scores.iter().map(|s| (s.double() - max).exp()).collect();
        let sum: f64 = exponentials.iter().sum();
        let label = usize::from(label);
        loss += sum.ln() - (scores[label].double() - max);
        for (i, (g, e)) in gradient.iter_mut().zip(&exponentials).enumerate() {
            let target = if i == label { 1.0 } else { 0.0 };
            *g = T::of((e / sum - target) / count);
        }
    }
    (loss / count, gradient)
}

#[cfg(test)]
mod tests {
    use super::super::check::random;
    use super::*;

    #[test]
    fn the_gradient_equals_finite_differences() {
        let labels = [3, 0];
        let scores = Tensor {
            shape: [2, 4, 1, 1],
            data: random(8, 1),
        };
        let (_, gradient) = softmax_cross_entropy(&scores, &labels);
        for i in 0..8 {
            let shifted = |h: f64| {
                let mut s = scores.clone();
                s.data[i] += h;
                softmax_cross_entropy(&s, &labels).0
            };
            let difference = (shifted(1e-5) - shifted(-1e-5)) / 2e-5;
            assert!((difference - gradient.data[i]).abs() < 1e-9);
        }
    }

    #[test]
    fn equal_scores_cost_the_logarithm_of_the_number_of_classes_however_large_they_are() {
        let scores = Tensor {
            shape: [1, 4, 1, 1],
            data: vec![1e30f32; 4],
        };
        assert!((softmax_cross_entropy(&scores, &[2]).0 - 4f64.ln()).abs() < 1e-12);
    }
}
