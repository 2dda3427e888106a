//! The gate module: forward, and backward with straight-through gradients.

use rand::Rng;
use rand_distr::{Distribution, Normal};

/// Logits are taken as within ±4 for the gradient of the sigmoid, so that a decided gate can still change.
const LOGIT_LIMIT: f32 = 4.0;

/// Two small fully connected layers from pooled channels to gates. Its parameters take no weight decay.
#[derive(Clone, PartialEq, Debug)]
pub struct GateModule {
    /// `[hidden, channels]`.
    pub w1: Vec<f32>,
    /// `[hidden]`.
    pub b1: Vec<f32>,
    /// `[gates, hidden]`.
    pub w2: Vec<f32>,
    /// `[gates]`.
    pub b2: Vec<f32>,
}

/// What a forward pass leaves for the backward one.
#[derive(Clone, PartialEq, Debug)]
pub struct GateForward {
    /// `[batch, hidden]`, after Relu.
    hidden: Vec<f32>,
    /// `[batch, gates]`: logits.
    pub logits: Vec<f32>,
    /// `[batch, gates]`: 0 or 1.
    pub gates: Vec<f32>,
}

/// Gradients, in the shapes of the parameters. There is none of the pooled input: gates are to choose among features, while their
/// terms of the loss, which are larger than its own at times, would bend the features instead.
#[derive(Clone, PartialEq, Debug)]
pub struct GateGradients {
    /// `[hidden, channels]`.
    pub w1: Vec<f32>,
    /// `[hidden]`.
    pub b1: Vec<f32>,
    /// `[gates, hidden]`.
    pub w2: Vec<f32>,
    /// `[gates]`.
    pub b2: Vec<f32>,
}

impl GateModule {
    /// A module with `max(8, channels/4)` hidden units whose gates are all open: small `W2`, `b2 = 2`.
    pub fn new<R: Rng + ?Sized>(channels: usize, gates: usize, random: &mut R) -> Self {
        let hidden = (channels / 4).max(8);
        let mut normal = |count: usize, deviation: f32| -> Vec<f32> {
            match Normal::new(0.0, deviation) {
                Ok(normal) => normal.sample_iter(&mut *random).take(count).collect(),
                Err(_) => vec![0.0; count],
            }
        };
        GateModule {
            w1: normal(hidden * channels, (2.0 / channels.max(1) as f32).sqrt()),
            b1: vec![0.0; hidden],
            w2: normal(gates * hidden, 0.01),
            b2: vec![2.0; gates],
        }
    }

    fn hidden(&self) -> usize {
        self.b1.len().max(1)
    }

    /// Gates of a batch from pooled inputs `[batch, channels]`.
    pub fn forward(&self, input: &[f32]) -> GateForward {
        let channels = (self.w1.len() / self.hidden()).max(1);
        let hidden: Vec<f32> = input
            .chunks(channels)
            .flat_map(|u| affine(&self.w1, &self.b1, u))
            .map(|h| h.max(0.0))
            .collect();
        let logits: Vec<f32> = hidden
            .chunks(self.hidden())
            .flat_map(|h| affine(&self.w2, &self.b2, h))
            .collect();
        // sigmoid(z) ≥ ½ where z ≥ 0.
        let gates = logits
            .iter()
            .map(|&z| if z >= 0.0 { 1.0 } else { 0.0 })
            .collect();
        GateForward {
            hidden,
            logits,
            gates,
        }
    }

    /// Gradients from that of the gates, `[batch, gates]`: straight through the binarisation, then through the sigmoid.
    pub fn backward(&self, input: &[f32], forward: &GateForward, gates: &[f32]) -> GateGradients {
        let logits: Vec<f32> = gates
            .iter()
            .zip(&forward.logits)
            .map(|(g, &z)| g * sigmoid_slope(z))
            .collect();
        let channels = (self.w1.len() / self.hidden()).max(1);
        let (w2, b2, mut hidden) = affine_backward(
            &self.w2,
            self.b2.len(),
            self.hidden(),
            &forward.hidden,
            &logits,
        );
        for (d, &h) in hidden.iter_mut().zip(&forward.hidden) {
            if h <= 0.0 {
                *d = 0.0;
            }
        }
        let (w1, b1, _) = affine_backward(&self.w1, self.hidden(), channels, input, &hidden);
        GateGradients { w1, b1, w2, b2 }
    }
}

fn sigmoid_slope(z: f32) -> f32 {
    let p = 1.0 / (1.0 + (-z.clamp(-LOGIT_LIMIT, LOGIT_LIMIT)).exp());
    p * (1.0 - p)
}

fn affine(w: &[f32], b: &[f32], x: &[f32]) -> Vec<f32> {
    let rows = w.chunks(x.len().max(1)).zip(b);
    rows.map(|(row, b)| b + row.iter().zip(x).map(|(w, x)| w * x).sum::<f32>())
        .collect()
}

/// Gradients of weight, bias and input of `y = W·x + b`, summed over the batch.
fn affine_backward(
    w: &[f32],
    outputs: usize,
    inputs: usize,
    x: &[f32],
    dy: &[f32],
) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
    let (mut dw, mut db, mut dx) = (vec![0.0; w.len()], vec![0.0; outputs], vec![0.0; x.len()]);
    let batch = x
        .chunks(inputs.max(1))
        .zip(dx.chunks_mut(inputs.max(1)))
        .zip(dy.chunks(outputs.max(1)));
    for ((x, dx), dy) in batch {
        for (o, &dy) in dy.iter().enumerate() {
            db[o] += dy;
            let row = o * inputs..(o + 1) * inputs;
            for ((dw, &x), (dx, &w)) in dw[row.clone()]
                .iter_mut()
                .zip(x)
                .zip(dx.iter_mut().zip(&w[row]))
            {
                *dw += dy * x;
                *dx += dy * w;
            }
        }
    }
    (dw, db, dx)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn gates_start_open() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let module = GateModule::new(16, 5, &mut random);
        assert_eq!(
            (module.b1.len(), module.w1.len(), module.w2.len()),
            (8, 128, 40)
        );
        let input: Vec<f32> = (0..64).map(|_| random.random_range(-1.0..1.0)).collect();
        assert_eq!(module.forward(&input).gates, [1.0; 20]);
    }

    /// The straight-through estimate is the gradient of the same module with sigmoids for gates (whose logits are within the
    /// limit).
    #[test]
    fn the_gradient_is_that_of_the_sigmoids() {
        let mut random = ChaCha8Rng::seed_from_u64(2);
        let mut module = GateModule::new(6, 3, &mut random);
        module
            .w2
            .iter_mut()
            .for_each(|w| *w = random.random_range(-0.5..0.5));
        module.b2 = vec![0.3, -0.2, 0.1];
        let input: Vec<f32> = (0..24).map(|_| random.random_range(-1.0..1.0)).collect();
        let upstream: Vec<f32> = (0..12).map(|_| random.random_range(-1.0..1.0)).collect();
        let value = |m: &GateModule| -> f64 {
            let logits = m.forward(&input).logits;
            let terms = logits
                .iter()
                .zip(&upstream)
                .map(|(&z, &d)| f64::from(d) / (1.0 + f64::from(-z).exp()));
            terms.sum()
        };
        let gradients = module.backward(&input, &module.forward(&input), &upstream);
        let check = |found: f32, up: f64, down: f64| {
            let quotient = (up - down) / 2e-3;
            assert!(
                (quotient - f64::from(found)).abs() < 2e-3,
                "{quotient} {found}"
            );
        };
        type Field = fn(&mut GateModule) -> &mut Vec<f32>;
        let fields: [(Field, &Vec<f32>); 4] = [
            (|m| &mut m.w1, &gradients.w1),
            (|m| &mut m.b1, &gradients.b1),
            (|m| &mut m.w2, &gradients.w2),
            (|m| &mut m.b2, &gradients.b2),
        ];
        for (field, found) in fields {
            for (i, &found) in found.iter().enumerate() {
                let moved = |by: f32| {
                    let mut m = module.clone();
                    field(&mut m)[i] += by;
                    value(&m)
                };
                check(found, moved(1e-3), moved(-1e-3));
            }
        }
    }

    #[test]
    fn decided_gates_still_feel_a_gradient() {
        assert_eq!(sigmoid_slope(100.0), sigmoid_slope(4.0));
        assert!(sigmoid_slope(-100.0) > 0.017);
    }
}
