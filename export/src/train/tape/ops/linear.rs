//! Fully connected layers.

use crate::graph::Clamp;
use crate::train::tape::kernels::dense::{Grid, LANES, Run, correlate, pack, weight_gradient};
use crate::train::tape::operation::{Context, Operation};
use crate::train::tape::tensor::Tensor;
use crate::train::tensor::Real;
use rayon::prelude::*;

/// `x [rows, K]`, `w [M, K]`, optional `b [M]` → `[rows, M]`.
pub(crate) struct FullyConnected {
    pub(crate) clamp: Clamp,
}

/// Rows a task takes.
const ROWS: usize = 12;
/// Columns of the weights whose gradient a task computes.
const COLUMNS: usize = 60;

/// `out = x · weights + bias`, rows in parallel.
fn multiply<T: Real>(
    x: &[T],
    [k, m]: [usize; 2],
    weights: &[[T; LANES]],
    bias: &[T],
    out: &mut [T],
) {
    let runs = [Run { x: 0, w: 0, len: k }];
    let grid = |step| Grid {
        base: 0,
        row_step: 0,
        col_step: step,
    };
    out.par_chunks_mut(ROWS * m)
        .zip(x.par_chunks(ROWS * k))
        .for_each(|(out, x)| {
            let size = [1, out.len() / m];
            correlate(x, grid(k), &runs, weights, k, bias, out, grid(m), size, m);
        });
}

impl<T: Real> Operation<T> for FullyConnected {
    fn forward(&mut self, inputs: &[&Tensor<T>], context: &mut Context<T>) -> Tensor<T> {
        let (x, w) = (inputs[0], inputs[1]);
        let bias = inputs.get(2).map_or(&[][..], |b| &b.data);
        let (k, m) = (w.shape[1], w.shape[0]);
        let mut y = context.buffers.tensor([x.rows(), m]);
        let weights = pack(k, m, |k_, m| w.data[m * k + k_]);
        multiply(&x.data, [k, m], &weights, bias, &mut y.data);
        super::clamp_in_place(&mut y.data, self.clamp);
        y
    }

    fn backward(
        &mut self,
        inputs: &[&Tensor<T>],
        output: &Tensor<T>,
        mut gradient: Tensor<T>,
        wanted: &[bool],
        context: &mut Context<T>,
    ) -> Vec<Option<Tensor<T>>> {
        let (x, w) = (inputs[0], inputs[1]);
        let (k, m) = (w.shape[1], w.shape[0]);
        super::mask_clamped(&mut gradient.data, &output.data, self.clamp);
        let dx = wanted[0].then(|| {
            let mut dx = context.buffers.tensor(x.shape.clone());
            let weights = pack(m, k, |m, k_| w.data[m * k + k_]);
            multiply(&gradient.data, [m, k], &weights, &[], &mut dx.data);
            dx
        });
        let dw = wanted[1].then(|| {
            let data = weights_gradient(&x.data, &gradient.data, [k, m]);
            Tensor::new([m, k], data)
        });
        let mut gradients = vec![dx, dw];
        if let Some(&wanted) = wanted.get(2) {
            gradients.push(wanted.then(|| {
                let db = super::channel_totals(&gradient.data, m, m);
                Tensor::new([m], db.into_iter().map(T::of).collect::<Vec<_>>())
            }));
        }
        context.buffers.give(gradient.data);
        gradients
    }
}

fn weights_gradient<T: Real>(x: &[T], dy: &[T], [k, m]: [usize; 2]) -> Vec<T> {
    let rows = dy.len() / m.max(1);
    let blocks = m.div_ceil(LANES);
    // A block of channels after the other, a row a vector.
    let lanes = pack(rows, m, |row, m_| dy[row * m + m_]);
    let lanes = lanes.as_flattened();
    let grid = |base, step| Grid {
        base,
        row_step: 0,
        col_step: step,
    };
    let parts: Vec<(usize, Vec<[T; LANES]>)> = (0..k)
        .into_par_iter()
        .step_by(COLUMNS)
        .map(|first| {
            let len = COLUMNS.min(k - first);
            let mut dw = vec![[T::zero(); LANES]; blocks * len];
            let runs = [Run { x: 0, w: 0, len }];
            weight_gradient(
                x,
                grid(first, k),
                &runs,
                lanes,
                grid(0, LANES),
                rows * LANES,
                [1, rows],
                &mut dw,
                len,
            );
            (first, dw)
        })
        .collect();
    let mut dw = vec![T::zero(); k * m];
    for (first, part) in &parts {
        let len = part.len() / blocks.max(1);
        for (m_, dw) in dw.chunks_exact_mut(k).enumerate() {
            let part = &part[m_ / LANES * len..][..len];
            for (dw, part) in dw[*first..].iter_mut().zip(part) {
                *dw = part[m_ % LANES];
            }
        }
    }
    dw
}

#[cfg(test)]
mod tests {
    use super::super::super::check::{Case, agrees};
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20))]
        #[test]
        fn any_size_equals_its_definition_and_its_finite_differences(
            rows in 1usize..15, k in 1usize..70, m in 1usize..20, bias in any::<bool>(), relu in any::<bool>(),
        ) {
            let clamp = if relu { Clamp::RELU } else { Clamp::NONE };
            let mut case = Case::new(FullyConnected { clamp }).input([rows, k]).input([m, k]);
            if bias {
                case = case.input([m]);
            }
            let (inputs, y) = agrees(case);
            for (i, &y) in y.data.iter().enumerate() {
                let (r, m_) = (i / m, i % m);
                let sum: f64 = (0..k).map(|j| inputs[0].data[r * k + j] * inputs[1].data[m_ * k + j]).sum();
                let sum = sum + inputs.get(2).map_or(0.0, |b| b.data[m_]);
                let expected = if relu { sum.max(0.0) } else { sum };
                prop_assert!((y - expected).abs() < 1e-12);
            }
        }
    }
}
