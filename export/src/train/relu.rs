//! Rectified linear unit.

use super::tensor::{Real, Tensor};

/// `max(0, x)`.
pub fn forward<T: Real>(x: &Tensor<T>) -> Tensor<T> {
    let data = x.data.iter().map(|&v| v.max(T::zero())).collect();
    Tensor {
        shape: x.shape,
        data,
    }
}

/// The input's gradient: the output's where the input is positive.
pub fn backward<T: Real>(x: &Tensor<T>, dy: &Tensor<T>) -> Tensor<T> {
    let pass = |(&x, &d): (&T, &T)| if x > T::zero() { d } else { T::zero() };
    Tensor {
        shape: x.shape,
        data: x.data.iter().zip(&dy.data).map(pass).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::gradients_agree;
    use super::super::network::Layer;

    #[test]
    fn gradients_equal_finite_differences() {
        gradients_agree(&mut Layer::Relu, [2, 3, 4, 5]);
    }
}
