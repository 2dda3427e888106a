//! Depthwise convolution: every channel has its own window.

use super::conv::Sizes;
use crate::train::tape::kernels::depthwise::{backward_row, forward_row, period, weight_row};
use crate::train::tape::kernels::samples_a_task;
use crate::train::tensor::Real;
use rayon::prelude::*;

pub(super) fn applies(s: &Sizes) -> bool {
    s.groups == s.c && s.c == s.m && s.groups > 1
}

/// `[tap][channel]` from ONNX's `[channel][tap]`, channels repeated to a whole period.
fn weights<T: Real>(s: &Sizes, w: &[T]) -> Vec<T> {
    let period = period(s.c);
    (0..s.taps() * period)
        .map(|i| w[i % period % s.c * s.taps() + i / period])
        .collect()
}

/// Where the taps of an output row start in the framed input.
fn taps(s: &Sizes, row_len: usize, row: usize) -> Vec<usize> {
    let frame = s.frame(s.window.strides[1]);
    let ([kh, kw], dilations) = (s.window.kernel, s.window.dilations);
    let start = |tap: usize| {
        let (ky, kx) = (tap / kw, tap % kw);
        let y = row * s.window.strides[0] + ky * dilations[0];
        y * row_len + frame.column(kx * dilations[1]) * s.c
    };
    (0..kh * kw).map(start).collect()
}

pub(super) fn forward<T: Real>(s: &Sizes, x: &[T], w: &[T], bias: &[T], y: &mut [T]) {
    let frame = s.frame(s.window.strides[1]);
    let row_len = frame.row_len(s.c);
    let weights = weights(s, w);
    let bias: Vec<T> = (0..period(s.c))
        .map(|i| bias.get(i % s.c).copied().unwrap_or_default())
        .collect();
    let samples = samples_a_task(x.len() / s.input_len(), 1);
    y.par_chunks_mut(samples * s.output_len())
        .zip(x.par_chunks(samples * s.input_len()))
        .for_each(|(y, x)| {
            let mut framed = vec![T::zero(); frame.len(s.c)];
            for (y, x) in y
                .chunks_exact_mut(s.output_len())
                .zip(x.chunks_exact(s.input_len()))
            {
                frame.enter(x, &mut framed, s.c);
                for (row, y) in y.chunks_exact_mut(s.output[1] * s.c).enumerate() {
                    forward_row(&framed, &taps(s, row_len, row), &weights, &bias, y);
                }
            }
        });
}

/// Gradients of the input, into `dx`, and of the weights.
pub(super) fn backward<T: Real>(
    s: &Sizes,
    x: &[T],
    w: &[T],
    dy: &[T],
    dx: Option<&mut [T]>,
    weights_wanted: bool,
) -> Option<Vec<T>> {
    let frame = s.frame(s.window.strides[1]);
    let row_len = frame.row_len(s.c);
    let period = period(s.c);
    let weights = weights(s, w);
    let packed = s.taps() * period;
    let samples = samples_a_task(x.len() / s.input_len(), packed);
    let task = |x: &[T], dy: &[T], mut dx: Option<&mut [T]>| {
        let mut dw = vec![T::zero(); if weights_wanted { packed } else { 0 }];
        let mut framed = vec![T::zero(); frame.len(s.c)];
        let mut d_framed = vec![T::zero(); if dx.is_some() { frame.len(s.c) } else { 0 }];
        let operands = x
            .chunks_exact(s.input_len())
            .zip(dy.chunks_exact(s.output_len()));
        for (i, (x, dy)) in operands.enumerate() {
            if weights_wanted {
                frame.enter(x, &mut framed, s.c);
            }
            d_framed.fill(T::zero());
            for (row, dy) in dy.chunks_exact(s.output[1] * s.c).enumerate() {
                let taps = taps(s, row_len, row);
                if weights_wanted {
                    weight_row(&framed, &taps, &mut dw, period, dy);
                }
                if dx.is_some() {
                    backward_row(&mut d_framed, &taps, &weights, period, dy);
                }
            }
            if let Some(dx) = dx.as_deref_mut() {
                let dx = &mut dx[i * s.input_len()..][..s.input_len()];
                frame.leave(&d_framed, dx, s.c);
            }
        }
        dw
    };
    let operands = x
        .par_chunks(samples * s.input_len())
        .zip(dy.par_chunks(samples * s.output_len()));
    let partial: Vec<Vec<T>> = match dx {
        Some(dx) => operands
            .zip(dx.par_chunks_mut(samples * s.input_len()))
            .map(|((x, dy), dx)| task(x, dy, Some(dx)))
            .collect(),
        None => operands.map(|(x, dy)| task(x, dy, None)).collect(),
    };
    weights_wanted.then(|| {
        let mut dw = vec![T::zero(); w.len()];
        for partial in &partial {
            for (tap, partial) in partial.chunks_exact(period).enumerate() {
                for (i, &partial) in partial.iter().enumerate() {
                    dw[i % s.c * s.taps() + tap] += partial;
                }
            }
        }
        dw
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::check::{Case, agrees};
    use super::super::conv::Conv2d;
    use crate::graph::{Clamp, Window};
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(30))]
        #[test]
        fn any_depthwise_window_equals_finite_differences_and_the_dense_form(
            kernel in [1usize..4, 1usize..4],
            strides in [1usize..4, 1usize..4],
            dilations in [1usize..3, 1usize..3],
            pads in [0usize..3, 0usize..3, 0usize..3, 0usize..3],
            extra in [0usize..6, 0usize..6],
            channels in prop::sample::select(vec![2usize, 3, 8, 16, 20]),
        ) {
            let window = Window { kernel, strides, dilations, pads };
            let size: [usize; 2] = std::array::from_fn(|i| {
                ((kernel[i] - 1) * dilations[i] + 1 + extra[i]).saturating_sub(pads[i] + pads[i + 2]).max(1)
            });
            let op = |groups| Conv2d { window, groups, clamp: Clamp::NONE };
            let case = Case::new(op(channels))
                .input([2, size[0], size[1], channels])
                .input([channels, 1, kernel[0], kernel[1]])
                .input([channels]);
            let (mut inputs, y) = agrees(case);
            // The same weights as a dense convolution, zeros between channels.
            let taps = kernel[0] * kernel[1];
            let mut dense = vec![0.0; channels * channels * taps];
            for (i, &w) in inputs[1].data.iter().enumerate() {
                let c = i / taps;
                dense[(c * channels + c) * taps + i % taps] = w;
            }
            inputs[1] = crate::train::tape::Tensor::new([channels, channels, kernel[0], kernel[1]], dense);
            let expected = super::super::super::check::run(&mut op(1), &inputs);
            for (y, expected) in y.data.iter().zip(&expected.data) {
                prop_assert!((y - expected).abs() < 1e-12);
            }
        }
    }
}
