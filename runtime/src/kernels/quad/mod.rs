//! Quad weights: four output channels interleaved, for scalar cores that keep several sums in registers.
//!
//! `[blocks][taps][4]` bytes: the weights of channels `4·block … 4·block + 3` for one tap lie side by side. Biases and multipliers are
//! filled up to whole blocks with zeros.
//!
//! Results are requantised with integers, on every machine: see [`crate::requantize::fixed`].

mod conv;
mod dense;
mod portable;
mod tile;

pub use conv::conv_quad;
pub use dense::dense_quad;
#[cfg(kinglet_armv7m)]
pub(super) use tile::{Layer, Pairs, Scales};

/// Weights, biases and multipliers in this form.
#[derive(Clone, Copy, Debug)]
pub struct Quad<'d> {
    /// `[blocks][taps][4]`.
    pub weights: &'d [i8],
    /// `[blocks][4]`.
    pub bias: &'d [i32],
    /// `[blocks][4]`.
    pub multipliers: &'d [f32],
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::kernels::patch::Residual;
    use crate::kernels::testing::{Case, bytes, cases};
    use crate::kernels::{Int8, Io, conv, dense, scratch};
    use crate::requantize::Output;
    use proptest::prelude::*;
    use std::vec;
    use std::vec::Vec;

    /// Weights `[channels][taps]` with their constants, filled up to whole blocks.
    struct Packed {
        weights: Vec<i8>,
        bias: Vec<i32>,
        multipliers: Vec<f32>,
    }

    impl Packed {
        fn new(w: &[i8], bias: &[i32], multipliers: &[f32]) -> Packed {
            let (channels, blocks) = (bias.len(), bias.len().div_ceil(4));
            let taps = w.len() / channels;
            let weight = |i: usize| {
                let channel = i / (4 * taps) * 4 + i % 4;
                if channel < channels {
                    w[channel * taps + i / 4 % taps]
                } else {
                    0
                }
            };
            let mut packed = Packed {
                weights: (0..blocks * 4 * taps).map(weight).collect(),
                bias: bias.to_vec(),
                multipliers: multipliers.to_vec(),
            };
            packed.bias.resize(blocks * 4, 0);
            packed.multipliers.resize(blocks * 4, 0.0);
            packed
        }

        fn quad(&self) -> Quad<'_> {
            Quad {
                weights: &self.weights,
                bias: &self.bias,
                multipliers: &self.multipliers,
            }
        }
    }

    /// Most of an ordinary size, some tiny, some beyond what integers do.
    fn multipliers(seed: u64, count: usize) -> Vec<f32> {
        let one = |b: i8| match b {
            0..=3 => 0.7,
            4..=9 => 1e-11,
            10..=19 => 3.3e-5,
            b => 0.0005 * (1.0 + f32::from(b).abs() / 31.0),
        };
        bytes(seed, count).into_iter().map(one).collect()
    }

    /// Four bytes at a time are aligned.
    fn scratch(len: usize) -> Vec<u32> {
        assert_eq!(len % 4, 0);
        vec![0x5a5a_5a5a; len / 4]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn convolutions_equal_the_plain_ones(
            case in cases(), wide in 0usize..3, seed: u64, zero in -128i32..=127, narrow: bool, adds: bool,
        ) {
            let depth = case.in_c / case.groups + 9 * wide;
            let case = Case { groups: 1, in_c: depth, ..case };
            let g = case.geometry();
            let x = bytes(seed, case.input_len());
            let w = bytes(seed ^ 1, case.weight_len());
            let bias: Vec<i32> = bytes(seed ^ 2, case.out_c).iter().map(|&b| i32::from(b) * 40).collect();
            let multipliers = multipliers(seed ^ 3, case.out_c);
            let output = if narrow { Output::new(zero / 2, -90, 77) } else { Output::saturating(zero / 2) };
            let plain = Int8 { weights: &w, input_zero_point: zero, bias: &bias, multipliers: &multipliers, output };
            let mut want = vec![0; case.output_len()];
            prop_assert!(conv(&g, 1, &plain, &x, &mut want).is_some());
            let residual = Residual {
                factor: 1 << 21,
                factor_b: 1_234_567,
                offset: -98_765,
                multiplier: 0.8 / (1 << 21) as f32,
                output: Output::new(3, -100, 120),
            };
            let other = bytes(seed ^ 4, case.output_len());
            if adds {
                for (y, b) in want.iter_mut().zip(&other) {
                    *y = residual.add(*y, *b);
                }
            }
            let packed = Packed::new(&w, &bias, &multipliers);
            let len = scratch::conv(scratch::Form::Quad, &g, adds).expect("small");
            let mut working = scratch(len);
            let working: &mut [i8] = zerocopy::transmute_mut!(&mut working[..]);
            let mut y = other.clone();
            let residual = adds.then_some(&residual);
            let mut io = Io::Apart { x: &x, y: &mut y };
            prop_assert!(conv_quad(&g, &packed.quad(), zero as i8, output, &mut io, working, residual).is_some());
            prop_assert_eq!(&y, &want);
            if g.pointwise() && !adds && case.out_c <= case.in_c {
                let mut both = x.clone();
                let mut io = Io::InPlace(&mut both);
                prop_assert!(conv_quad(&g, &packed.quad(), zero as i8, output, &mut io, working, None).is_some());
                prop_assert_eq!(&both[..want.len()], &want);
            }
        }

        #[test]
        fn pointwise_convolutions_run_in_place(
            size in [1usize..6, 1..6], in_c in 1usize..40, fewer in 0usize..40, seed: u64,
        ) {
            let case = Case { in_size: size, in_c, out_c: in_c.saturating_sub(fewer).max(1), ..Case::POINT };
            let g = case.geometry();
            let x = bytes(seed, case.input_len());
            let w = bytes(seed ^ 1, case.weight_len());
            let (bias, multipliers) = (vec![-77; case.out_c], multipliers(seed ^ 3, case.out_c));
            let output = Output::saturating(-128);
            let plain = Int8 { weights: &w, input_zero_point: 0, bias: &bias, multipliers: &multipliers, output };
            let mut want = vec![0; case.output_len()];
            prop_assert!(conv(&g, 1, &plain, &x, &mut want).is_some());
            let packed = Packed::new(&w, &bias, &multipliers);
            let mut working = scratch(scratch::conv(scratch::Form::Quad, &g, false).expect("small"));
            let working: &mut [i8] = zerocopy::transmute_mut!(&mut working[..]);
            let mut both = x.clone();
            let mut io = Io::InPlace(&mut both);
            prop_assert!(conv_quad(&g, &packed.quad(), 0, output, &mut io, working, None).is_some());
            prop_assert_eq!(&both[..want.len()], &want);
        }

        #[test]
        fn fully_connected_layers_equal_the_plain_ones(rows in 1usize..4, inputs in 1usize..40, outputs in 1usize..30, seed: u64) {
            let (x, w) = (bytes(seed, rows * inputs), bytes(seed ^ 1, inputs * outputs));
            let bias: Vec<i32> = bytes(seed ^ 2, outputs).iter().map(|&b| i32::from(b) * 40).collect();
            let multipliers = multipliers(seed ^ 3, outputs);
            let output = Output::new(-3, -120, 99);
            let plain = Int8 { weights: &w, input_zero_point: 0, bias: &bias, multipliers: &multipliers, output };
            let mut want = vec![0; rows * outputs];
            prop_assert!(dense(inputs, outputs, &plain, &x, &mut want).is_some());
            let packed = Packed::new(&w, &bias, &multipliers);
            let mut y = vec![0; rows * outputs];
            prop_assert!(dense_quad(inputs, outputs, &packed.quad(), output, &x, &mut y).is_some());
            prop_assert_eq!(y, want);
        }
    }
}
