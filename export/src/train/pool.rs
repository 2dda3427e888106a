//! Average pooling over windows that tile the plane.

use super::tensor::{Real, Tensor};

/// Means of `size × size` windows, `size` apart; rows and columns that fill no window are left out.
pub fn forward<T: Real>(x: &Tensor<T>, size: usize) -> Tensor<T> {
    let [n, c, h, w] = x.shape;
    let mut y = Tensor::zeros([n, c, h / size, w / size]);
    let scale = T::of(1.0 / (size * size) as f64);
    windows(x.shape, size, |i, o| y.data[o] += x.data[i] * scale);
    y
}

/// The input's gradient: the output's, shared equally within each window.
pub fn backward<T: Real>(x: &Tensor<T>, dy: &Tensor<T>, size: usize) -> Tensor<T> {
    let mut dx = Tensor::zeros(x.shape);
    let scale = T::of(1.0 / (size * size) as f64);
    windows(x.shape, size, |i, o| dx.data[i] = dy.data[o] * scale);
    dx
}

/// Calls `visit(input, output)` for every input element within a window.
fn windows([n, c, h, w]: [usize; 4], size: usize, mut visit: impl FnMut(usize, usize)) {
    let (out_h, out_w) = (h / size, w / size);
    for map in 0..n * c {
        for y in 0..out_h * size {
            for x in 0..out_w * size {
                visit(
                    (map * h + y) * w + x,
                    (map * out_h + y / size) * out_w + x / size,
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::gradients_agree;
    use super::super::network::Layer;
    use super::*;

    #[test]
    fn gradients_equal_finite_differences() {
        gradients_agree(&mut Layer::AveragePool(2), [2, 3, 4, 5]);
    }

    #[test]
    fn a_known_mean() {
        let x = Tensor {
            shape: [1, 1, 2, 4],
            data: vec![1.0, 2.0, 5.0, 5.0, 3.0, 6.0, 5.0, 7.0],
        };
        assert_eq!(forward(&x, 2).data, [3.0, 5.5]);
    }
}
