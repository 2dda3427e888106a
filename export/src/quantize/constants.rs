//! Real numbers to integers: activations' parameters, weights, biases, other constants.

use crate::compress::formats::{Granularity, Layer, WeightFormat};
use crate::compress::gaussian::Moments;
use crate::graph::{Data, Quantization};

/// Smallest scale used: what is smaller than this everywhere is as good as zero, and products and quotients of scales
/// stay normal single-precision numbers.
const MIN_SCALE: f64 = 1e-12;

/// Largest magnitude of a quantised bias, a quarter of the accumulator's range.
const MAX_BIAS: f64 = (1u32 << 29) as f64;

/// Asymmetric int8 for `[min, max]`, widened to include 0, which is then exact.
pub(super) fn activation(min: f32, max: f32) -> Quantization {
    let (min, max) = (f64::from(min).min(0.0), f64::from(max).max(0.0));
    if min == max {
        return Quantization::per_tensor(1.0, 0);
    }
    let scale = ((max - min) / 255.0).max(MIN_SCALE) as f32;
    let zero_point = (-128.0 - min / f64::from(scale))
        .round_ties_even()
        .clamp(-128.0, 127.0);
    Quantization::per_tensor(scale, zero_point as i32)
}

/// `saturate(round_half_even(value / scale) + zero_point)`, per tensor, divided in single precision as ONNX does.
pub(super) fn quantize(values: &[f32], q: &Quantization) -> Vec<i8> {
    let scale = q.scales.first().copied().unwrap_or(1.0);
    let zero_point = q.zero_point as f32;
    let one = |&v: &f32| ((v / scale).round_ties_even() + zero_point).clamp(-128.0, 127.0) as i8;
    values.iter().map(one).collect()
}

/// Weights and bias of a convolution or fully connected layer, one row an output channel.
pub(super) struct Weights {
    pub(super) weight: Data,
    pub(super) weight_scales: Vec<f32>,
    /// Zeros if there are no biases.
    pub(super) bias: Vec<i32>,
    pub(super) bias_scales: Vec<f32>,
}

/// Symmetric int8 a channel, bias as int32 at the product of scales.
///
/// A channel whose weights are so small that its bias would not fit gets a larger scale. `least_step` is the least scale, in
/// root mean squares of each channel.
pub(super) fn weights(
    weight: &[f32],
    layer: &Layer<'_>,
    channels: usize,
    least_step: f64,
) -> Weights {
    let row_len = weight.len().checked_div(channels).unwrap_or(0).max(1);
    let (mut integers, mut scales) = (Vec::with_capacity(weight.len()), Vec::new());
    for (channel, row) in weight.chunks_exact(row_len).enumerate() {
        let b = layer.bias.get(channel).copied().unwrap_or(0.0);
        let largest = row.iter().fold(0.0f32, |m, w| m.max(w.abs()));
        let for_bias = f64::from(b.abs()) / (f64::from(layer.input_scale) * MAX_BIAS);
        let step = least_step * Moments::of(row).deviation();
        let scale = (f64::from(largest) / 127.0)
            .max(step)
            .max(for_bias)
            .max(MIN_SCALE) as f32;
        let round = |&w: &f32| (w / scale).round_ties_even().clamp(-127.0, 127.0) as i8;
        integers.extend(row.iter().map(round));
        scales.push(scale);
    }
    with_bias(Data::I8(integers), scales, layer)
}

/// Weights as the integers of an eight-bit float format, a scale a channel; bias as in [`weights()`].
pub(super) fn format_weights(
    format: WeightFormat,
    weight: &[f32],
    shape: &[usize],
    layer: &Layer<'_>,
) -> Weights {
    let coded = format.encode(weight, shape, Granularity::Channel);
    let integers = coded.integers(layer);
    with_bias(Data::I32(integers.values), integers.scales, layer)
}

fn with_bias(weight: Data, weight_scales: Vec<f32>, layer: &Layer<'_>) -> Weights {
    let bias_scales: Vec<f32> = weight_scales
        .iter()
        .map(|s| layer.input_scale * s)
        .collect();
    let one = |(channel, &scale): (usize, &f32)| {
        let b = layer.bias.get(channel).copied().unwrap_or(0.0);
        // In double precision: single cannot hold 2^31 steps. `as` saturates.
        (f64::from(b) / f64::from(scale)).round_ties_even() as i32
    };
    Weights {
        weight,
        weight_scales,
        bias: bias_scales.iter().enumerate().map(one).collect(),
        bias_scales,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn layer(bias: &[f32], input_scale: f32) -> Layer<'_> {
        Layer {
            bias,
            input_scale,
            input_zero_point: 0,
        }
    }

    #[test]
    fn the_range_of_an_activation_always_holds_zero() {
        assert_eq!(activation(1.0, 2.55), Quantization::per_tensor(0.01, -128));
        assert_eq!(activation(-2.55, -1.0), Quantization::per_tensor(0.01, 127));
        assert_eq!(activation(0.0, 0.0), Quantization::per_tensor(1.0, 0));
        assert!(activation(f32::MIN, f32::MAX).scales[0].is_finite());
    }

    #[test]
    fn rounding_is_half_to_even() {
        let q = Quantization::per_tensor(1.0, 1);
        assert_eq!(
            quantize(&[0.5, 1.5, -0.5, -1.5, 1e9, -1e9], &q),
            [1, 3, 1, -1, 127, -128]
        );
    }

    #[test]
    fn each_channel_uses_the_whole_of_its_range() {
        let w = weights(
            &[1.0, -0.25, 0.02, 0.006],
            &layer(&[2.0, -0.3], 0.5),
            2,
            0.0,
        );
        assert_eq!(w.weight, Data::I8(vec![127, -32, 127, 38]));
        assert_eq!(
            w.weight_scales,
            [(1.0f64 / 127.0) as f32, (f64::from(0.02f32) / 127.0) as f32]
        );
        assert_eq!(w.bias, vec![508, -3810]);
    }

    #[test]
    fn a_larger_step_has_smaller_codes() {
        let w = weights(&[3.0, -4.0, 0.1, 0.0], &layer(&[], 0.5), 2, 0.5);
        let root = 12.5f32.sqrt();
        assert!((w.weight_scales[0] - root / 2.0).abs() < 1e-6);
        assert_eq!(w.weight, Data::I8(vec![2, -2, 3, 0]));
    }

    #[test]
    fn a_channel_without_weights_keeps_its_bias() {
        let w = weights(&[0.0, 0.0], &layer(&[3.0, 0.0], 0.1), 2, 0.0);
        let bias = &w.bias;
        assert!((f64::from(bias[0]) * f64::from(w.bias_scales[0]) - 3.0).abs() < 1e-6);
        assert_eq!(bias[1], 0);
        assert!(w.weight_scales.iter().all(|s| s.is_normal()));
    }

    proptest! {
        #[test]
        fn a_value_in_range_comes_back_to_within_half_a_step(min in -100.0f32..0.0, max in 0.01f32..100.0, at in 0.0f32..1.0) {
            let q = activation(min, max);
            let value = min + (max - min) * at;
            let back = f32::from(quantize(&[value], &q)[0]) - q.zero_point as f32;
            // Half a step of rounding, and half a step of the zero point's own rounding at the ends.
            prop_assert!((back * q.scales[0] - value).abs() <= 1.001 * q.scales[0]);
            prop_assert_eq!(i32::from(quantize(&[0.0], &q)[0]), q.zero_point);
        }
    }
}
