//! Finite differences: the judge of every hand-written gradient.

use super::network::Layer;
use super::tensor::Tensor;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Seeded numbers in `[-1, 1]`, none so near 0 that a finite difference would cross a kink there.
pub(super) fn random(n: usize, seed: u64) -> Vec<f64> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut draw = || rng.random_range(0.01..1.0) * if rng.random() { 1.0 } else { -1.0 };
    (0..n).map(|_| draw()).collect()
}

/// Fails unless the layer's gradients, with respect to its input and its parameters, equal central differences of
/// `Σ r·y` with random `r`.
pub(super) fn gradients_agree(layer: &mut Layer<f64>, shape: [usize; 4]) {
    const H: f64 = 1e-5;
    let x = Tensor {
        shape,
        data: random(shape.iter().product(), 11),
    };
    let y = layer.forward(&x);
    let r = Tensor {
        shape: y.shape,
        data: random(y.data.len(), 12),
    };
    let loss = |layer: &Layer<f64>, x: &Tensor<f64>| -> f64 {
        layer
            .forward(x)
            .data
            .iter()
            .zip(&r.data)
            .map(|(y, r)| y * r)
            .sum()
    };
    let agree = |difference: f64, gradient: f64| {
        assert!(
            (difference - gradient).abs() < 1e-8 * (1.0 + gradient.abs()),
            "{difference} and {gradient}"
        );
    };
    let dx = layer.backward(&x, &r);
    assert!(dx.data.iter().any(|&d| d != 0.0));
    for i in 0..x.data.len() {
        let shifted = |h: f64| {
            let mut x = x.clone();
            x.data[i] += h;
            loss(layer, &x)
        };
        agree((shifted(H) - shifted(-H)) / (2.0 * H), dx.data[i]);
    }
    for p in 0..layer.parameters_mut().len() {
        for i in 0..layer.parameters_mut()[p].value.len() {
            let original = layer.parameters_mut()[p].value[i];
            let mut shifted = |h: f64| {
                layer.parameters_mut()[p].value[i] = original + h;
                loss(layer, &x)
            };
            let difference = (shifted(H) - shifted(-H)) / (2.0 * H);
            layer.parameters_mut()[p].value[i] = original;
            agree(difference, layer.parameters_mut()[p].gradient[i]);
        }
    }
}
