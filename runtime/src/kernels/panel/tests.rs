//! Every arm that this machine has, beside the reference kernels: bit for bit.

extern crate std;
use super::arm::Arm;
use super::*;
use crate::kernels::testing::{Case, bytes, cases};
use crate::kernels::{conv as plain_conv, dense as plain_dense, depthwise as plain_depthwise};
use proptest::prelude::*;
use std::vec;
use std::vec::Vec;

/// Numbers whose products and sums are rounded.
fn reals(seed: u64, len: usize) -> Vec<f32> {
    let (coarse, fine) = (bytes(seed, len), bytes(seed ^ 0x5555, len));
    let both = coarse.into_iter().zip(fine);
    both.map(|(a, b)| f32::from(a) / 7.0 + f32::from(b) / 1013.0)
        .collect()
}

/// `[channels][taps]` in panels. What fills up must not matter.
fn panels(w: &[f32], channels: usize) -> Vec<f32> {
    let taps = w.len() / channels;
    let mut packed = vec![f32::NAN; taps * channels.next_multiple_of(CHANNELS)];
    for (i, w) in w.iter().enumerate() {
        let (channel, tap) = (i / taps, i % taps);
        packed[(channel / CHANNELS * taps + tap) * CHANNELS + channel % CHANNELS] = *w;
    }
    packed
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

/// Runs `$body` with each arm that this machine has.
macro_rules! with_arms {
    ($arm:ident => $body:expr) => {{
        let $arm = Portable;
        $body;
        #[cfg(target_arch = "x86_64")]
        if let Some($arm) = crate::kernels::x86::Avx2::detect() {
            $body;
        }
        #[cfg(target_arch = "x86_64")]
        if let Some($arm) = crate::kernels::x86::Avx512::detect() {
            $body;
        }
        #[cfg(target_arch = "aarch64")]
        if let Some($arm) = crate::kernels::neon::Neon::detect() {
            $body;
        }
    }};
}

fn layer<'a>(weights: &'a [f32], bias: &'a [f32], [min, max]: [f32; 2]) -> Float<'a> {
    Float {
        weights,
        bias,
        min,
        max,
    }
}

/// More channels, wider rows: what fills several panels and groups of pixels.
fn larger() -> impl Strategy<Value = Case> {
    (cases(), 1usize..50, 1usize..40).prop_map(|(case, out_c, width)| Case {
        groups: 1,
        out_c,
        in_size: [case.in_size[0], case.in_size[1].max(width)],
        ..case
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn convolutions_equal_the_reference(case in larger(), seed: u64, bounded: bool) {
        let g = case.geometry();
        prop_assume!(layer_len(&g).is_some());
        let (x, w) = (reals(seed, case.input_len()), reals(seed ^ 1, case.weight_len()));
        let mut bias = reals(seed ^ 2, case.out_c);
        let bounds = if bounded { [-40.0, 90.5] } else { [f32::NEG_INFINITY, f32::INFINITY] };
        let mut want = vec![0.0; case.output_len()];
        plain_conv(&g, 1, &layer(&w, &bias, bounds), &x, &mut want).expect("it fits");
        let packed = panels(&w, case.out_c);
        prop_assert_eq!(Some(packed.len()), layer_len(&g));
        bias.resize(case.out_c.next_multiple_of(CHANNELS), f32::NAN);
        with_arms!(arm => {
            let mut y = vec![0.0; case.output_len()];
            prop_assert!(conv(arm, &g, &layer(&packed, &bias, bounds), &x, &mut y).is_some());
            prop_assert_eq!(bits(&y), bits(&want), "{:?}", arm);
        });
    }

    #[test]
    fn depthwise_convolutions_equal_the_reference(case in larger(), channels in 1usize..60, seed: u64) {
        let case = Case { in_c: channels, out_c: channels, groups: channels, ..case };
        let g = case.geometry();
        prop_assume!(has_lanes(&g));
        let (x, w) = (reals(seed, case.input_len()), reals(seed ^ 1, case.weight_len()));
        let bias = reals(seed ^ 2, channels);
        let layer = layer(&w, &bias, [-100.0, 60.0]);
        let mut want = vec![0.0; case.output_len()];
        plain_depthwise(&g, &layer, &x, &mut want).expect("it fits");
        with_arms!(arm => {
            let mut y = vec![0.0; case.output_len()];
            prop_assert!(depthwise(arm, &g, &layer, &x, &mut y).is_some());
            prop_assert_eq!(bits(&y), bits(&want), "{:?}", arm);
        });
    }

    #[test]
    fn fully_connected_layers_equal_the_reference(
        rows in 1usize..20, inputs in 1usize..40, outputs in 1usize..70, seed: u64
    ) {
        let (x, w) = (reals(seed, rows * inputs), reals(seed ^ 1, inputs * outputs));
        let mut bias = reals(seed ^ 2, outputs);
        let bounds = [0.0, f32::INFINITY];
        let mut want = vec![0.0; rows * outputs];
        plain_dense(inputs, outputs, &layer(&w, &bias, bounds), &x, &mut want).expect("it fits");
        let packed = panels(&w, outputs);
        bias.resize(outputs.next_multiple_of(CHANNELS), f32::NAN);
        with_arms!(arm => {
            let mut y = vec![0.0; rows * outputs];
            let layer = layer(&packed, &bias, bounds);
            prop_assert!(dense(arm, [inputs, outputs], &layer, &x, &mut y).is_some());
            prop_assert_eq!(bits(&y), bits(&want), "{:?}", arm);
        });
    }

    #[test]
    fn products_of_matrices_equal_sums_in_order(
        rows in 1usize..20, inner in 1usize..40, columns in 16usize..70, seed: u64, nan: bool
    ) {
        let (mut a, b) = (reals(seed, rows * inner), reals(seed ^ 1, inner * columns));
        if nan {
            a[0] = f32::NAN;
        }
        let mut want = Vec::new();
        for i in 0..rows * columns {
            let (row, column) = (i / columns, i % columns);
            want.push((0..inner).fold(0.0, |sum, k| sum + a[row * inner + k] * b[k * columns + column]));
        }
        with_arms!(arm => {
            let mut y = vec![0.0; rows * columns];
            prop_assert!(matmul(arm, [rows, inner, columns], &a, &b, &mut y).is_some());
            prop_assert_eq!(bits(&y), bits(&want), "{:?}", arm);
        });
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let tile = Tile {
        x: &[0.0; 40],
        weights: &[0.0; 48],
        runs: &[[4, 0]],
        taps: 3,
        tap: [2, CHANNELS],
        pixel: 10,
        pixels: 4,
        start: &[0.0; CHANNELS],
        bounds: None,
    };
    let tried = |tile: &Tile<'_>, len: usize, channels: usize| {
        let mut all = Vec::new();
        with_arms!(arm => {
            let mut y = vec![0.0; len];
            let mut results = Results { y: &mut y, step: 20, channels };
            all.push(arm.shared(tile, &mut results).is_some());
        });
        all.dedup();
        all
    };
    assert_eq!(tried(&tile, 76, 16), [true]);
    assert_eq!(tried(&tile, 75, 16), [false]);
    assert_eq!(tried(&tile, 99, 17), [false]);
    let with = |change: fn(&mut Tile<'_>)| {
        let mut tile = tile;
        change(&mut tile);
        tried(&tile, 76, 16)
    };
    assert_eq!(with(|t| t.pixel = 11), [false]);
    assert_eq!(with(|t| t.runs = &[[6, 0]]), [false]);
    assert_eq!(with(|t| t.runs = &[[5, 0]]), [true]);
    assert_eq!(with(|t| t.runs = &[[4, 1]]), [false]);
    assert_eq!(with(|t| t.taps = 4), [false]);
    assert_eq!(with(|t| t.taps = 0), [false]);
    assert_eq!(with(|t| t.tap = [usize::MAX, CHANNELS]), [false]);
}
