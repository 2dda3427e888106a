//! Batches of feature maps, trainable parameters, and the three matrix products that the layers are made of.
//!
//! The products are plain loops in a fixed order, without fused multiply-add: the same seed gives the same weights on
//! every machine whose compiler follows IEEE 754.

use num_traits::{Float, NumAssign};
use std::fmt::Debug;

/// Scalar type: `f32` to train, `f64` to check gradients.
pub trait Real: Float + NumAssign + Default + Debug + Send + Sync + 'static {
    /// The nearest value of this type.
    fn of(value: f64) -> Self;
    /// The value in double precision.
    fn double(self) -> f64;
}

impl Real for f32 {
    fn of(value: f64) -> Self {
        value as f32
    }
    fn double(self) -> f64 {
        self.into()
    }
}

impl Real for f64 {
    fn of(value: f64) -> Self {
        value
    }
    fn double(self) -> f64 {
        self
    }
}

/// A batch of feature maps, `[N, C, H, W]`, row-major.
#[derive(Clone, PartialEq, Debug)]
pub struct Tensor<T> {
    /// Samples, channels, height, width.
    pub shape: [usize; 4],
    /// Elements.
    pub data: Vec<T>,
}

impl<T: Real> Tensor<T> {
    /// All zeros.
    pub fn zeros(shape: [usize; 4]) -> Self {
        Tensor {
            shape,
            data: vec![T::zero(); shape.iter().product()],
        }
    }

    /// Elements of one sample.
    pub fn sample_len(&self) -> usize {
        self.shape[1..].iter().product()
    }
}

/// A trainable tensor and what its gradient has summed up to.
#[derive(Clone, PartialEq, Debug)]
pub struct Parameter<T> {
    /// Current value.
    pub value: Vec<T>,
    /// Gradient of the loss, accumulated by `backward` until the optimiser clears it.
    pub gradient: Vec<T>,
}

impl<T: Real> Parameter<T> {
    /// A parameter that starts at `value`.
    pub fn new(value: Vec<T>) -> Self {
        let gradient = vec![T::zero(); value.len()];
        Parameter { value, gradient }
    }
}

/// `c[m, n] += a[m, k] · b[k, n]`.
pub(crate) fn multiply<T: Real>(c: &mut [T], a: &[T], b: &[T], k: usize, n: usize) {
    for (c, a) in c.chunks_exact_mut(n).zip(a.chunks_exact(k)) {
        for (&a, b) in a.iter().zip(b.chunks_exact(n)) {
            for (c, &b) in c.iter_mut().zip(b) {
                *c += a * b;
            }
        }
    }
}

/// `c[k, n] += a[m, k]ᵀ · b[m, n]`.
pub(crate) fn multiply_transposed_left<T: Real>(c: &mut [T], a: &[T], b: &[T], k: usize, n: usize) {
    for (a, b) in a.chunks_exact(k).zip(b.chunks_exact(n)) {
        for (&a, c) in a.iter().zip(c.chunks_exact_mut(n)) {
            for (c, &b) in c.iter_mut().zip(b) {
                *c += a * b;
            }
        }
    }
}

/// `c[m, n] += a[m, k] · b[n, k]ᵀ`.
pub(crate) fn multiply_transposed_right<T: Real>(
    c: &mut [T],
    a: &[T],
    b: &[T],
    k: usize,
    n: usize,
) {
    for (c, a) in c.chunks_exact_mut(n).zip(a.chunks_exact(k)) {
        for (c, b) in c.iter_mut().zip(b.chunks_exact(k)) {
            *c += dot(a, b);
        }
    }
}

/// Eight partial sums, so that the compiler can use vector registers without reordering anything.
fn dot<T: Real>(a: &[T], b: &[T]) -> T {
    const LANES: usize = 8;
    let mut lanes = [T::zero(); LANES];
    let (a, b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let mut sum = T::zero();
    for (&x, &y) in a.remainder().iter().zip(b.remainder()) {
        sum += x * y;
    }
    for (x, y) in a.zip(b) {
        for i in 0..LANES {
            lanes[i] += x[i] * y[i];
        }
    }
    lanes.into_iter().fold(sum, |s, l| s + l)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_products_agree_with_their_definition() {
        let (m, k, n) = (3, 19, 5);
        let at = |i: usize, j: usize, s: usize| ((i * 7 + j * 3 + s) % 11) as f64 - 5.0;
        let a = |i, p| at(i, p, 1);
        let b = |p, j| at(p, j, 4);
        let expected: Vec<f64> = (0..m * n)
            .map(|x| (0..k).map(|p| a(x / n, p) * b(p, x % n)).sum::<f64>() + 1.0)
            .collect();
        let a_rows: Vec<f64> = (0..m * k).map(|x| a(x / k, x % k)).collect();
        let a_columns: Vec<f64> = (0..m * k).map(|x| a(x % m, x / m)).collect();
        let b_rows: Vec<f64> = (0..k * n).map(|x| b(x / n, x % n)).collect();
        let b_columns: Vec<f64> = (0..k * n).map(|x| b(x % k, x / k)).collect();
        let mut c = vec![1.0; m * n];
        multiply(&mut c, &a_rows, &b_rows, k, n);
        assert_eq!(c, expected);
        let mut c = vec![1.0; m * n];
        multiply_transposed_left(&mut c, &a_columns, &b_rows, m, n);
        assert_eq!(c, expected);
        let mut c = vec![1.0; m * n];
        multiply_transposed_right(&mut c, &a_rows, &b_columns, k, n);
        assert_eq!(c, expected);
    }
}
