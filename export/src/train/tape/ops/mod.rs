//! The graph's operators, forward and backward, one family a file.

pub(crate) mod batch_norm;
pub(crate) mod binary;
pub(crate) mod conv;
mod dense;
mod depthwise;
pub(crate) mod linear;
pub(crate) mod movement;
pub(crate) mod pool;
pub(crate) mod softmax;
pub(crate) mod unary;

use super::kernels::{rows, samples_a_task, vectorized};
use crate::graph::Clamp;
use crate::train::tensor::Real;
use rayon::prelude::*;

/// A clamp's bounds in the scalar type.
fn bounds<T: Real>(clamp: Clamp) -> [T; 2] {
    [clamp.min, clamp.max].map(|b| T::of(b.into()))
}

vectorized! {
    fn clamp_slice<'a, T>(y: &'a mut [T], bounds: [T; 2]) {
        let [min, max] = bounds;
        for y in y {
            // Written so that a NaN stays one.
            let v = if *y < min { min } else { *y };
            *y = if v > max { max } else { v };
        }
    }
}

/// Applies a fused clamp, if there is one.
fn clamp_in_place<T: Real>(y: &mut [T], clamp: Clamp) {
    if !clamp.is_none() {
        let bounds = bounds(clamp);
        y.par_chunks_mut(1 << 14)
            .for_each(|y| clamp_slice(y, bounds));
    }
}

/// Takes a fused clamp, if there is one, out of the gradient of its result `y`.
fn mask_clamped<T: Real>(gradient: &mut [T], y: &[T], clamp: Clamp) {
    if !clamp.is_none() {
        rows::mask(gradient, y, bounds(clamp));
    }
}

/// Sums over everything but the channels, which lie last. `sample_len` sets the tasks' size.
fn channel_totals<T: Real>(data: &[T], channels: usize, sample_len: usize) -> Vec<f64> {
    let samples = samples_a_task(data.len() / sample_len.max(1), 1);
    let partial: Vec<Vec<f64>> = data
        .par_chunks((samples * sample_len).max(1))
        .map(|data| {
            let mut sums = vec![T::zero(); channels * rows::repeats(channels)];
            rows::sum_channels(data, &mut sums);
            rows::fold(&sums, channels)
        })
        .collect();
    let mut total = vec![0.0; channels];
    for partial in &partial {
        for (total, partial) in total.iter_mut().zip(partial) {
            *total += partial;
        }
    }
    total
}
