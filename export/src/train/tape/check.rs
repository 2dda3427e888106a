//! Finite differences: the judge of every hand-written gradient.

use super::operation::{Context, Mode, Operation};
use super::tensor::{Buffers, Tensor};
use crate::train::check::random;

/// An operation with operands that its gradients are checked at.
pub(crate) struct Case {
    op: Box<dyn Operation<f64>>,
    inputs: Vec<Tensor<f64>>,
    wanted: Vec<bool>,
}

impl Case {
    pub(crate) fn new(op: impl Operation<f64>) -> Self {
        Case {
            op: Box::new(op),
            inputs: Vec::new(),
            wanted: Vec::new(),
        }
    }

    /// A random operand, none of whose elements is near 0.
    pub(crate) fn input(mut self, shape: impl Into<Vec<usize>>) -> Self {
        let shape = shape.into();
        let data = random(shape.iter().product(), 11 + self.inputs.len() as u64);
        self.inputs.push(Tensor::new(shape, data));
        self.wanted.push(true);
        self
    }

    /// Moves the last operand's elements away from 0, for functions that are steep there.
    pub(crate) fn spread(mut self) -> Self {
        for v in self
            .inputs
            .iter_mut()
            .rev()
            .take(1)
            .flat_map(|t| &mut t.data)
        {
            *v += 0.5 * v.signum();
        }
        self
    }

    /// An operand that has no gradient.
    pub(crate) fn constant(mut self, tensor: Tensor<f64>) -> Self {
        self.inputs.push(tensor);
        self.wanted.push(false);
        self
    }
}

fn context() -> Context<f64> {
    Context {
        mode: Mode::Train,
        buffers: Buffers::default(),
    }
}

/// The result in training mode.
pub(crate) fn run(op: &mut dyn Operation<f64>, inputs: &[Tensor<f64>]) -> Tensor<f64> {
    op.forward(&inputs.iter().collect::<Vec<_>>(), &mut context())
}

/// Fails unless the gradients of all operands equal central differences of `Σ r·y` with random `r`. Returns the operands
/// and the result.
pub(crate) fn agrees(case: Case) -> (Vec<Tensor<f64>>, Tensor<f64>) {
    const H: f64 = 1e-5;
    let Case {
        mut op,
        inputs,
        wanted,
    } = case;
    let y = run(&mut *op, &inputs);
    let r = random(y.data.len(), 5);
    let refs: Vec<&Tensor<f64>> = inputs.iter().collect();
    let gradient = Tensor::new(y.shape.clone(), r.clone());
    let gradients = op.backward(&refs, &y, gradient, &wanted, &mut context());
    assert_eq!(gradients.len(), inputs.len());
    let mut loss = |inputs: &[Tensor<f64>]| -> f64 {
        let y = run(&mut *op, inputs);
        y.data.iter().zip(&r).map(|(y, r)| y * r).sum()
    };
    for (operand, gradient) in gradients.iter().enumerate() {
        let Some(gradient) = gradient else {
            assert!(!wanted[operand]);
            continue;
        };
        assert_eq!(gradient.shape, inputs[operand].shape);
        // A spread of elements: each costs two forward passes.
        let len = gradient.data.len();
        for i in (0..len).step_by((len / 24).max(1)) {
            let mut shifted = |h: f64| {
                let mut inputs = inputs.clone();
                inputs[operand].data[i] += h;
                loss(&inputs)
            };
            let difference = (shifted(H) - shifted(-H)) / (2.0 * H);
            let gradient = gradient.data[i];
            assert!(
                (difference - gradient).abs() < 1e-7 * (1.0 + gradient.abs()),
                "operand {operand}, element {i}: difference {difference}, gradient {gradient}"
            );
        }
    }
    (inputs, y)
}

/// A random tensor.
pub(crate) fn random_tensor(shape: &[usize], seed: u64) -> Tensor<f64> {
    Tensor::new(shape, random(shape.iter().product(), seed))
}
