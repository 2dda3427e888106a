//! Weights in the eight-bit formats of [`kinglet::formats`]: coded, measured, simulated in training, written to ONNX.
//!
//! A tensor is coded with one scale or one for each output channel (its first axis): `w ≈ scale·TABLE[code]`. RF8's scales
//! are powers of two, so that decoding is exact in f32, f16 and bf16.

mod integers;
mod onnx;

pub use integers::{Integers, Layer, recognise};
pub use onnx::dequantized;

use super::gaussian::Moments;
use kinglet::formats::{E3M4, E4M3, Format, Int8, Rf8, Table};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Which format.
#[derive(
    Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum WeightFormat {
    /// Symmetric int8.
    #[default]
    Int8,
    /// The residual format: two powers of two a weight.
    Rf8,
    /// OCP's FP8 with four exponent bits.
    E4m3,
    /// Three exponent bits and four fraction bits.
    E3m4,
}

/// How many scales a tensor has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Granularity {
    /// One.
    #[default]
    Tensor,
    /// One for each index of the first axis.
    Channel,
}

/// Where the scales of a tensor lie.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Grid {
    /// How many there are.
    pub granularity: Granularity,
    /// The least scale, in root mean squares of the weights that share it; 0 for the scale that just does not saturate.
    /// For int8, whose levels are one scale apart: a larger step has smaller codes, which take fewer bits when they are
    /// entropy-coded.
    pub relative_step: f64,
}

impl From<Granularity> for Grid {
    fn from(granularity: Granularity) -> Self {
        Grid {
            granularity,
            relative_step: 0.0,
        }
    }
}

/// Runs `$body` with `$F` as the format's type.
macro_rules! with_format {
    ($format:expr, $F:ident => $body:expr) => {
        match $format {
            WeightFormat::Int8 => {
                type $F = Int8;
                $body
            }
            WeightFormat::Rf8 => {
                type $F = Rf8;
                $body
            }
            WeightFormat::E4m3 => {
                type $F = E4M3;
                $body
            }
            WeightFormat::E3m4 => {
                type $F = E3M4;
                $body
            }
        }
    };
}

impl WeightFormat {
    /// All of them.
    pub const ALL: [WeightFormat; 4] = [
        WeightFormat::Int8,
        WeightFormat::Rf8,
        WeightFormat::E4m3,
        WeightFormat::E3m4,
    ];

    /// Those whose values are no multiples of one step.
    pub const FLOATS: [WeightFormat; 3] =
        [WeightFormat::Rf8, WeightFormat::E4m3, WeightFormat::E3m4];

    /// As in reports.
    pub fn name(self) -> &'static str {
        with_format!(self, F => F::NAME)
    }

    /// The value of each code at scale 1.
    pub fn table(self) -> &'static Table {
        with_format!(self, F => F::TABLE)
    }

    /// Largest value at scale 1.
    pub fn max(self) -> f32 {
        with_format!(self, F => F::MAX)
    }

    fn scale(self, amax: f32) -> f32 {
        with_format!(self, F => F::scale(amax))
    }

    fn encode_one(self, x: f32) -> u8 {
        with_format!(self, F => F::encode(x))
    }

    /// The scales of a grid, which do not saturate: one, or one for each index of the first axis of `shape`.
    pub fn scales(self, weights: &[f32], shape: &[usize], grid: impl Into<Grid>) -> Vec<f32> {
        let grid = grid.into();
        let scale = |w: &[f32]| {
            let amax = w.iter().fold(0.0f32, |m, w| m.max(w.abs()));
            let least = grid.relative_step * Moments::of(w).deviation();
            self.scale(amax).max(least as f32)
        };
        match grid.granularity {
            Granularity::Tensor => vec![scale(weights)],
            Granularity::Channel => {
                let channel = channel_len(weights.len(), shape.first().copied().unwrap_or(1));
                weights.chunks(channel).map(scale).collect()
            }
        }
    }

    /// Codes `weights` with scales of their own.
    pub fn encode(self, weights: &[f32], shape: &[usize], grid: impl Into<Grid>) -> Coded {
        self.encode_with(weights, shape, self.scales(weights, shape, grid))
    }

    /// Codes `weights` with given scales, as many as divide them evenly; what lies outside saturates.
    pub fn encode_with(self, weights: &[f32], shape: &[usize], scales: Vec<f32>) -> Coded {
        let channel = channel_len(weights.len(), scales.len());
        let code = |(w, &scale): (&[f32], &f32)| -> Vec<u8> {
            w.iter().map(|w| self.encode_one(w / scale)).collect()
        };
        let codes = weights
            .chunks(channel)
            .zip(&scales)
            .flat_map(code)
            .collect();
        Coded {
            format: self,
            shape: shape.to_vec(),
            codes,
            scales,
        }
    }

    /// What training sees instead of `weights`: their values after coding with `scales`, and where the gradient passes
    /// straight through (everywhere but where a weight saturates).
    pub fn fake_quantize(self, weights: &[f32], scales: &[f32]) -> (Vec<f32>, Vec<bool>) {
        let channel = channel_len(weights.len(), scales.len());
        let table = self.table();
        weights
            .chunks(channel)
            .zip(scales)
            .flat_map(|(w, &scale)| {
                // The division that made the scale was rounded: the largest weight itself must pass.
                let limit = self.max() * scale * (1.0 + 2.0 * f32::EPSILON);
                w.iter().map(move |&w| {
                    let value = table[usize::from(self.encode_one(w / scale))] * scale;
                    (value, w.abs() <= limit)
                })
            })
            .unzip()
    }
}

fn channel_len(weights: usize, channels: usize) -> usize {
    weights.div_ceil(channels.max(1)).max(1)
}

/// A tensor in an eight-bit format.
#[derive(Clone, PartialEq, Debug)]
pub struct Coded {
    /// The format of the codes.
    pub format: WeightFormat,
    /// The tensor's dimensions.
    pub shape: Vec<usize>,
    /// One code a weight, row-major.
    pub codes: Vec<u8>,
    /// One scale, or one for each index of the first axis.
    pub scales: Vec<f32>,
}

impl Coded {
    /// The weights as training and float runtimes see them.
    pub fn decode(&self) -> Vec<f32> {
        let (table, channel) = (
            self.format.table(),
            channel_len(self.codes.len(), self.scales.len()),
        );
        let values = |(codes, &scale): (&[u8], &f32)| -> Vec<f32> {
            codes
                .iter()
                .map(|&c| table[usize::from(c)] * scale)
                .collect()
        };
        self.codes
            .chunks(channel)
            .zip(&self.scales)
            .flat_map(values)
            .collect()
    }

    /// RF8's top exponents `b`, one byte each; `None` for other formats.
    pub fn top_exponents(&self) -> Option<Vec<i8>> {
        let exponent = |s: &f32| f64::from(*s).log2().round() as i8;
        (self.format == WeightFormat::Rf8).then(|| self.scales.iter().map(exponent).collect())
    }

    /// Bytes in a container: the codes, and a byte (RF8) or a single a scale.
    pub fn stored_bytes(&self) -> usize {
        let scale = if self.format == WeightFormat::Rf8 {
            1
        } else {
            4
        };
        self.codes.len() + scale * self.scales.len()
    }

    /// Entropy of the codes in bits.
    pub fn entropy(&self) -> f64 {
        let mut counts: HashMap<u8, usize> = HashMap::new();
        for &code in &self.codes {
            *counts.entry(code).or_default() += 1;
        }
        let n = self.codes.len() as f64;
        counts
            .values()
            .map(|&c| c as f64 / n)
            .map(|p| -p * p.log2())
            .sum()
    }
}

/// Signal to quantisation noise in dB: `10·log10(Σw² / Σ(w − q)²)`.
pub fn sqnr(weights: &[f32], quantized: &[f32]) -> f64 {
    let square = |x: f64| x * x;
    let signal: f64 = weights.iter().map(|&w| square(w.into())).sum();
    let noise: f64 = weights
        .iter()
        .zip(quantized)
        .map(|(&w, &q)| square(f64::from(w) - f64::from(q)))
        .sum();
    10.0 * (signal / noise).log10()
}

#[cfg(test)]
mod tests;
