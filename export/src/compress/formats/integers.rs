//! Weights of an eight-bit float format as 16-bit integers, which is how a device multiplies them with int8 activations.
//!
//! The values of a format are multiples of a small power of two, so that all of them (E3M4), or all but the smallest (RF8, E4M3),
//! are integers of 16 bits. A layer's accumulators must fit 32 bits: where they would not, the integers lose bits at their lower end.

use super::{Coded, WeightFormat};

/// Most bits that the integers may lose.
const MAX_SHIFT: u32 = 8;

/// The integers of a tensor's weights.
#[derive(Clone, PartialEq, Debug)]
pub struct Integers {
    /// One a weight, row-major: `w ≈ scale·value`.
    pub values: Vec<i32>,
    /// One for each index of the first axis.
    pub scales: Vec<f32>,
    /// How many weights were rounded; the others are exact.
    pub rounded: usize,
}

/// What else goes into an accumulator.
#[derive(Clone, Copy, Debug)]
pub struct Layer<'a> {
    /// Real biases, one for each index of the first axis; may be empty.
    pub bias: &'a [f32],
    /// Scale of the layer's input.
    pub input_scale: f32,
    /// Zero point of the layer's input.
    pub input_zero_point: i32,
}

/// The weights in the first of the float formats of which all of them are values.
pub fn recognise(weights: &[f32], shape: &[usize]) -> Option<Coded> {
    let mut formats = WeightFormat::FLOATS.iter();
    formats.find_map(|format| format.recognise(weights, shape))
}

impl WeightFormat {
    /// `u`, so that the format's values times `2^u` are integers of 16 bits, as far as they can be.
    fn unit(self) -> i32 {
        match self {
            WeightFormat::Int8 => 0,
            // 1.5·2¹⁴ is the largest.
            WeightFormat::Rf8 => 14,
            // 448·2⁶.
            WeightFormat::E4m3 => 6,
            // 15.5·2⁶: subnormals are multiples of 2⁻⁶.
            WeightFormat::E3m4 => 6,
        }
    }

    /// The weights in this format, if each of them is exactly what one of its codes means: with a scale for each index of the
    /// first axis, or else with one for all.
    pub fn recognise(self, weights: &[f32], shape: &[usize]) -> Option<Coded> {
        let channels = shape.first().copied().unwrap_or(1).max(1);
        let rows = weights.chunks(super::channel_len(weights.len(), channels));
        let scales: Option<Vec<f32>> = rows.map(|row| self.exact_scale(row)).collect();
        let scales = scales.or_else(|| Some(vec![self.exact_scale(weights)?]))?;
        Some(self.encode_with(weights, shape, scales))
    }

    /// A scale at which all of `weights` are values of the format.
    fn exact_scale(self, weights: &[f32]) -> Option<f32> {
        let amax = weights.iter().fold(0.0f32, |m, w| m.max(w.abs()));
        let scale = self.scale(amax);
        let near = match self {
            // The largest weight may be a power of two, which only the next scale has.
            WeightFormat::Rf8 => [scale, scale * 2.0, scale],
            // The product that made the largest weight was rounded.
            _ => [scale, scale.next_up(), scale.next_down()],
        };
        let exact = |scale: f32| {
            let value = |w: f32| self.table()[usize::from(self.encode_one(w / scale))] * scale;
            weights.iter().all(|&w| value(w) == w)
        };
        near.into_iter().find(|&scale| exact(scale))
    }
}

impl Coded {
    /// The weights as integers so large that no accumulator of the layer leaves 32 bits.
    pub fn integers(&self, layer: &Layer<'_>) -> Integers {
        let all = |shift| self.shifted(shift);
        (0..MAX_SHIFT)
            .map(all)
            .find(|integers| integers.fit(layer))
            .unwrap_or_else(|| all(MAX_SHIFT))
    }

    fn shifted(&self, shift: u32) -> Integers {
        let unit = 2f64.powi(self.format.unit() - shift as i32);
        let channels = self.shape.first().copied().unwrap_or(1).max(1);
        let table = self.format.table();
        let mut rounded = 0;
        let integer = |&code: &u8| {
            let exact = f64::from(table[usize::from(code)]) * unit;
            let value = exact.round_ties_even();
            rounded += usize::from(value != exact);
            value as i32
        };
        let values = self.codes.iter().map(integer).collect();
        let scale = |channel: usize| {
            let scale = self.scales[if self.scales.len() > 1 { channel } else { 0 }];
            (f64::from(scale) / unit) as f32
        };
        Integers {
            values,
            scales: (0..channels).map(scale).collect(),
            rounded,
        }
    }
}

impl Integers {
    fn fit(&self, layer: &Layer<'_>) -> bool {
        let row_len = super::channel_len(self.values.len(), self.scales.len());
        let inputs = 128 + i64::from(layer.input_zero_point).abs();
        let rows = self.values.chunks(row_len).zip(&self.scales);
        rows.enumerate().all(|(channel, (row, &scale))| {
            let bias = layer.bias.get(channel).copied().unwrap_or(0.0);
            let bias = f64::from(bias) / (f64::from(layer.input_scale) * f64::from(scale));
            let sum: i64 = row.iter().map(|&w| i64::from(w).abs()).sum();
            bias.abs() + (inputs * sum) as f64 <= f64::from(i32::MAX)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Granularity;
    use super::*;
    use proptest::prelude::*;

    const FORMATS: [WeightFormat; 3] = WeightFormat::FLOATS;

    const LAYER: Layer<'_> = Layer {
        bias: &[],
        input_scale: 0.1,
        input_zero_point: -128,
    };

    fn weights() -> impl Strategy<Value = Vec<f32>> {
        prop::collection::vec(-2.0f32..2.0, 24)
    }

    proptest! {
        #[test]
        fn what_a_format_says_is_recognised(
            mut weights in weights(), exponent in -12i32..4, which in 0usize..3, by_channel: bool,
        ) {
            let format = FORMATS[which];
            for w in &mut weights {
                *w *= (exponent as f32).exp2();
            }
            let granularity = if by_channel { Granularity::Channel } else { Granularity::Tensor };
            let coded = format.encode(&weights, &[4, 6], granularity);
            let found = format.recognise(&coded.decode(), &[4, 6]).unwrap();
            prop_assert_eq!(found.decode(), coded.decode());
            // And what the integers mean is recognised, with the same integers.
            let integers = found.integers(&LAYER);
            let real = |(i, &v): (usize, &i32)| v as f32 * integers.scales[i / 6];
            let real: Vec<f32> = integers.values.iter().enumerate().map(real).collect();
            if format == WeightFormat::Rf8 {
                let again = format.recognise(&real, &[4, 6]).unwrap().integers(&LAYER);
                let back = |(i, &v): (usize, &i32)| v as f32 * again.scales[i / 6];
                prop_assert_eq!(again.values.iter().enumerate().map(back).collect::<Vec<f32>>(), real);
                prop_assert_eq!(again.rounded, 0);
            }
        }

        #[test]
        fn integers_are_near_and_fit(weights in weights(), which in 0usize..3) {
            let format = FORMATS[which];
            let coded = format.encode(&weights, &[4, 6], Granularity::Channel);
            let integers = coded.integers(&LAYER);
            for (i, (&v, w)) in integers.values.iter().zip(coded.decode()).enumerate() {
                prop_assert!(i16::try_from(v).is_ok());
                let scale = integers.scales[i / 6];
                prop_assert!((v as f32 * scale - w).abs() <= scale / 2.0);
            }
            prop_assert!(format != WeightFormat::E3m4 || integers.rounded == 0);
        }
    }

    #[test]
    fn any_floats_are_no_format() {
        for format in FORMATS {
            assert_eq!(format.recognise(&[0.1, 0.2, 0.3, 0.77], &[2, 2]), None);
            assert_eq!(format.recognise(&[f32::NAN, 1.0], &[1, 2]), None);
        }
    }

    #[test]
    fn many_large_weights_lose_bits_rather_than_overflow() {
        let row = vec![1.5f32; 4000];
        let coded = WeightFormat::Rf8.encode(&row, &[1, 4000], Granularity::Tensor);
        let integers = coded.integers(&LAYER);
        let sum: i64 = integers.values.iter().map(|&v| i64::from(v)).sum();
        assert!(sum * 256 <= i64::from(i32::MAX) && sum * 1024 > i64::from(i32::MAX));
        assert_eq!(integers.rounded, 0);
        assert_eq!(integers.values[0] as f32 * integers.scales[0], 1.5);
    }
}
