//! Every arm that this machine has, beside the kernels for plain weights.

extern crate std;
use super::arm::Arm;
use super::*;
use crate::kernels::scratch::{self, Form};
use crate::kernels::testing::{Case, bytes, cases};
use crate::kernels::{
    Int8, conv as plain_conv, dense as plain_dense, depthwise as plain_depthwise,
};
use proptest::prelude::*;
use std::vec;
use std::vec::Vec;

/// A layer's constants in octets, packed by the definition in the module's text.
struct Packed {
    weights: Vec<i8>,
    bias: Vec<i32>,
    multipliers: Vec<f32>,
}

impl Packed {
    fn filled(weights: Vec<i8>, bias: &[i32], multipliers: &[f32]) -> Packed {
        let filled = bias.len().next_multiple_of(CHANNELS);
        let mut packed = Packed {
            weights,
            bias: bias.to_vec(),
            multipliers: multipliers.to_vec(),
        };
        // What fills up must not matter.
        packed.bias.resize(filled, i32::MIN);
        packed.multipliers.resize(filled, f32::NAN);
        packed
    }

    /// From `[channels][runs][taps]`.
    fn new(runs: Runs, w: &[i8], bias: &[i32], multipliers: &[f32]) -> Packed {
        let count = runs.count[0] * runs.count[1];
        let groups = runs.taps.div_ceil(TAPS);
        let mut weights = vec![0; runs.layer_len(bias.len()).expect("small")];
        for (i, w) in w.iter().enumerate() {
            let (channel, rest) = (i / (count * runs.taps), i % (count * runs.taps));
            let (run, tap) = (rest / runs.taps, rest % runs.taps);
            let group = (channel / CHANNELS * count + run) * groups + tap / TAPS;
            weights[(group * CHANNELS + channel % CHANNELS) * TAPS + tap % TAPS] = *w;
        }
        let mut packed = Packed::filled(weights, bias, multipliers);
        let sums = w
            .chunks(count * runs.taps)
            .map(|w| w.iter().map(|&w| i32::from(w)).sum::<i32>());
        let unsigned: Vec<i32> = bias
            .iter()
            .zip(sums)
            .map(|(b, sum)| b.wrapping_sub(128 * sum))
            .collect();
        packed.bias.extend(unsigned);
        packed.bias.resize(packed.multipliers.len() * 2, i32::MAX);
        packed
    }

    /// From `[channels][height][width]`.
    fn depthwise(g: &Geometry, w: &[i8], bias: &[i32], multipliers: &[f32]) -> Packed {
        let [height, width] = g.kernel.map(NonZeroUsize::get);
        let mut weights = vec![0; depthwise_len(g).expect("small")];
        for (i, w) in w.iter().enumerate() {
            let (channel, row, column) = (i / (height * width), i / width % height, i % width);
            for odd in [0, 1] {
                let block = channel / CHANNELS * 2 + odd;
                let pair = (row + odd) / 2;
                let vector = (block * pairs(height) + pair) * width + column;
                weights[(vector * CHANNELS + channel % CHANNELS) * 2 + (row + odd) % 2] = *w;
            }
        }
        Packed::filled(weights, bias, multipliers)
    }

    fn octet(&self, zero_point: i8, output: Output) -> Octet<'_> {
        Octet {
            weights: &self.weights,
            bias: &self.bias,
            multipliers: &self.multipliers,
            zero_point,
            output,
        }
    }
}

/// What the values of a layer are like.
#[derive(Clone, Copy, Debug)]
enum Values {
    /// All bytes alike.
    Random,
    /// The least and the greatest ones only, where sums are largest and narrow arithmetic would saturate.
    Extreme,
}

impl Values {
    fn bytes(self, seed: u64, len: usize) -> Vec<i8> {
        let mut bytes = bytes(seed, len);
        if let Values::Extreme = self {
            for byte in &mut bytes {
                *byte = if *byte % 5 == 0 { i8::MAX } else { i8::MIN };
            }
        }
        bytes
    }

    /// Multipliers of all sizes, negative ones and what is no number among them.
    fn multipliers(self, seed: u64, count: usize) -> Vec<f32> {
        let one = |b: i8| match (self, b) {
            (Values::Extreme, 0..=9) => f32::NAN,
            (Values::Extreme, 10..=19) => f32::INFINITY,
            (Values::Extreme, 20..=29) => -0.25,
            (Values::Extreme, 30..=49) => 3.0e5,
            (_, 50..=59) => 1e-11,
            (_, b) => 0.0004 * (1.0 + f32::from(b).abs() / 31.0),
        };
        bytes(seed, count).into_iter().map(one).collect()
    }
}

fn values() -> impl Strategy<Value = Values> {
    prop_oneof![3 => Just(Values::Random), 1 => Just(Values::Extreme)]
}

fn output(zero: i32, narrow: bool) -> Output {
    match narrow {
        true => Output::new(zero / 2, -90, 77),
        false => Output::saturating(zero / 2),
    }
}

/// Four bytes at a time are aligned.
fn working(len: Option<usize>) -> Vec<u32> {
    let len = len.expect("small");
    assert_eq!(len % 4, 0);
    vec![0x5a5a_5a5a; len / 4]
}

fn as_bytes(words: &mut [u32]) -> &mut [i8] {
    zerocopy::transmute_mut!(words)
}

/// Calls the example's `$check` with every arm that this machine has.
macro_rules! on_every_arm {
    ($example:expr, $check:ident) => {{
        $example.$check("portable", Portable)?;
        #[cfg(target_arch = "x86_64")]
        if let Some(arm) = crate::kernels::x86::Avx2::detect() {
            $example.$check("AVX2", arm)?;
        }
        #[cfg(target_arch = "x86_64")]
        if let Some(arm) = crate::kernels::x86::Vnni::detect() {
            $example.$check("VNNI", arm)?;
        }
        #[cfg(target_arch = "aarch64")]
        if let Some(arm) = crate::kernels::neon::Neon::detect() {
            $example.$check("NEON", arm)?;
        }
        #[cfg(target_arch = "aarch64")]
        if let Some(arm) = crate::kernels::neon::Dotprod::detect() {
            $example.$check("dot products", arm)?;
        }
        #[cfg(target_arch = "aarch64")]
        if let Some(arm) = crate::kernels::neon::I8mm::detect() {
            $example.$check("products of matrices", arm)?;
        }
    }};
}

/// A layer with what it must give.
struct Example {
    g: Geometry,
    x: Vec<i8>,
    packed: Packed,
    zero: i8,
    output: Output,
    want: Vec<i8>,
    /// What is added to and what is in the output before, where something is.
    residual: Option<(Residual, Vec<i8>)>,
}

impl Example {
    fn conv(&self, name: &str, arm: impl Arm) -> Result<(), TestCaseError> {
        let adds = self.residual.is_some();
        let mut scratch = working(scratch::conv(Form::Octet, &self.g, adds));
        let mut y = match &self.residual {
            Some((_, before)) => before.clone(),
            None => vec![0; self.want.len()],
        };
        let layer = self.packed.octet(self.zero, self.output);
        let residual = self.residual.as_ref().map(|(r, _)| r);
        let scratch = as_bytes(&mut scratch);
        let done = conv::conv(arm, &self.g, &layer, &self.x, &mut y, scratch, residual);
        prop_assert!(done.is_some(), "{name}");
        prop_assert!(y == self.want, "{name}: {y:?} {:?}", self.want);
        Ok(())
    }

    fn dense(&self, name: &str, arm: impl Arm) -> Result<(), TestCaseError> {
        let shape = [self.g.input[2].get(), self.g.output[2].get()];
        let mut scratch = working(scratch::dense(Form::Octet, shape[0], shape[1]));
        let mut y = vec![0; self.want.len()];
        let layer = self.packed.octet(self.zero, self.output);
        let done = conv::dense(arm, shape, &layer, &self.x, &mut y, as_bytes(&mut scratch));
        prop_assert!(done.is_some(), "{name}");
        prop_assert!(y == self.want, "{name}: {y:?} {:?}", self.want);
        Ok(())
    }

    fn depthwise(&self, name: &str, arm: impl Arm) -> Result<(), TestCaseError> {
        let mut scratch = working(scratch::depthwise(Form::Octet, &self.g));
        let mut y = vec![0; self.want.len()];
        let layer = self.packed.octet(self.zero, self.output);
        let scratch = as_bytes(&mut scratch);
        let done = depthwise::depthwise(arm, &self.g, &layer, &self.x, &mut y, scratch);
        prop_assert!(done.is_some(), "{name}");
        prop_assert!(y == self.want, "{name}: {y:?} {:?}", self.want);
        Ok(())
    }
}

/// A depthwise convolution on every arm.
fn depthwise_example(
    case: &Case,
    values: Values,
    seed: u64,
    zero: i32,
    narrow: bool,
) -> Result<(), TestCaseError> {
    let channels = case.in_c;
    let g = case.geometry();
    let x = values.bytes(seed, case.input_len());
    let w = values.bytes(seed ^ 1, case.weight_len());
    let bias: Vec<i32> = bytes(seed ^ 2, channels)
        .iter()
        .map(|&b| i32::from(b) * 40)
        .collect();
    let multipliers = values.multipliers(seed ^ 3, channels);
    let output = output(zero, narrow);
    let taps = w.len() / channels;
    let by_taps: Vec<i8> = (0..w.len())
        .map(|i| w[i % channels * taps + i / channels])
        .collect();
    let plain = Int8 {
        weights: &by_taps[..],
        input_zero_point: zero,
        bias: &bias,
        multipliers: &multipliers,
        output,
    };
    let mut want = vec![0; case.output_len()];
    prop_assert!(plain_depthwise(&g, &plain, &x, &mut want).is_some());
    let packed = Packed::depthwise(&g, &w, &bias, &multipliers);
    let example = Example {
        g,
        x,
        packed,
        zero: zero as i8,
        output,
        want,
        residual: None,
    };
    on_every_arm!(example, depthwise);
    Ok(())
}

#[test]
fn windows_may_lie_in_the_padding_all_of_them() {
    let case = Case {
        in_size: [2, 1],
        in_c: 8,
        out_c: 8,
        groups: 8,
        kernel: [1, 2],
        stride: [1, 2],
        pads: [0, 2, 0, 0],
        ..Case::POINT
    };
    depthwise_example(&case, Values::Random, 1, 3, false).expect("equal");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn convolutions_equal_the_plain_ones(
        case in cases(), deep in 0usize..4, wide in 0usize..4, long in 0usize..4,
        values in values(), seed: u64, zero in -128i32..=127, narrow: bool, adds: bool,
    ) {
        let case = Case {
            groups: 1,
            in_c: case.in_c / case.groups + 13 * deep,
            out_c: case.out_c + 7 * wide,
            in_size: [case.in_size[0], case.in_size[1] + 5 * long],
            ..case
        };
        let g = case.geometry();
        let x = values.bytes(seed, case.input_len());
        let w = values.bytes(seed ^ 1, case.weight_len());
        let bias: Vec<i32> = bytes(seed ^ 2, case.out_c).iter().map(|&b| i32::from(b) * 40).collect();
        let multipliers = values.multipliers(seed ^ 3, case.out_c);
        let output = output(zero, narrow);
        let plain = Int8 { weights: &w[..], input_zero_point: zero, bias: &bias, multipliers: &multipliers, output };
        let mut want = vec![0; case.output_len()];
        prop_assert!(plain_conv(&g, 1, &plain, &x, &mut want).is_some());
        let residual = adds.then(|| {
            let residual = Residual {
                factor: 1 << 21,
                factor_b: 1_234_567,
                offset: -98_765,
                multiplier: 0.8 / (1 << 21) as f32,
                output: Output::new(3, -100, 120),
            };
            (residual, values.bytes(seed ^ 4, case.output_len()))
        });
        if let Some((residual, before)) = &residual {
            for (y, b) in want.iter_mut().zip(before) {
                *y = residual.add(*y, *b);
            }
        }
        let packed = Packed::new(Runs::of(&g).expect("small"), &w, &bias, &multipliers);
        let example = Example { g, x, packed, zero: zero as i8, output, want, residual };
        on_every_arm!(example, conv);
    }

    #[test]
    fn depthwise_convolutions_equal_the_plain_ones(
        case in cases(), channels in 1usize..90, long in 0usize..4,
        values in values(), seed: u64, zero in -128i32..=127, narrow: bool,
    ) {
        let case = Case {
            groups: channels,
            in_c: channels,
            out_c: channels,
            in_size: [case.in_size[0], case.in_size[1] + 40 * long],
            dilation: [1, 1],
            ..case
        };
        depthwise_example(&case, values, seed, zero, narrow)?;
    }

    #[test]
    fn fully_connected_layers_equal_the_plain_ones(
        rows in 1usize..9, inputs in 1usize..300, outputs in 1usize..40,
        values in values(), seed: u64, zero in -128i32..=127, narrow: bool,
    ) {
        let (x, w) = (values.bytes(seed, rows * inputs), values.bytes(seed ^ 1, inputs * outputs));
        let bias: Vec<i32> = bytes(seed ^ 2, outputs).iter().map(|&b| i32::from(b) * 40).collect();
        let multipliers = values.multipliers(seed ^ 3, outputs);
        let output = output(zero, narrow);
        let plain = Int8 { weights: &w[..], input_zero_point: 0, bias: &bias, multipliers: &multipliers, output };
        let mut want = vec![0; rows * outputs];
        prop_assert!(plain_dense(inputs, outputs, &plain, &x, &mut want).is_some());
        let packed = Packed::new(Runs::row(inputs), &w, &bias, &multipliers);
        let g = Case { in_c: inputs, out_c: outputs, in_size: [rows, 1], ..Case::POINT }.geometry();
        let example = Example { g, x, packed, zero: 0, output, want, residual: None };
        on_every_arm!(example, dense);
    }
}

/// What lies behind slices that are too short is never touched.
#[test]
fn short_slices_are_refused() {
    let case = Case {
        in_size: [5, 6],
        in_c: 3,
        out_c: 9,
        kernel: [3, 2],
        ..Case::POINT
    };
    let g = case.geometry();
    let runs = Runs::of(&g).expect("small");
    let packed = Packed::new(runs, &bytes(1, case.weight_len()), &[0; 9], &[0.01; 9]);
    let x = bytes(2, case.input_len());
    let mut y = vec![0; case.output_len()];
    let mut scratch = working(scratch::conv(Form::Octet, &g, false));
    let scratch = as_bytes(&mut scratch);
    let whole = packed.octet(0, Output::saturating(0));
    let run = |x: &[i8], y: &mut [i8], scratch: &mut [i8], layer: &Octet<'_>| {
        conv_octet(&g, layer, &mut Io::Apart { x, y }, scratch, None)
    };
    assert!(run(&x, &mut y, scratch, &whole).is_some());
    let fewer = y.len() - 1;
    assert!(run(&x, &mut y[..fewer], scratch, &whole).is_none());
    // Arms with bytes in the ring take half of it.
    let quarter = scratch.len() / 4;
    assert!(run(&x, &mut y, &mut scratch[..quarter], &whole).is_none());
    let weights = &packed.weights[..packed.weights.len() - 1];
    assert!(run(&x, &mut y, scratch, &Octet { weights, ..whole }).is_none());
    let bias = &packed.bias[..15];
    assert!(run(&x, &mut y, scratch, &Octet { bias, ..whole }).is_none());
}
