//! Weights of int8 layers in the order that a target's kernels read them.

use kinglet::kernels::octet::{self, Runs};
use kinglet::kernels::scratch::Form;
use kinglet::kernels::{Geometry, helium, panel};

/// An int8 layer's constants, ready for the data section.
#[derive(Clone)]
pub(super) struct Packed {
    pub(super) weights: Weights,
    pub(super) bias: Vec<i32>,
    pub(super) multipliers: Vec<f32>,
}

/// Weights of either width, or their codes.
#[derive(Clone)]
pub(super) enum Weights {
    /// Bytes.
    I8(Vec<i8>),
    /// 16-bit numbers.
    I16(Vec<i16>),
    /// What they are decoded from: see [`super::coded`].
    Codes(Vec<u8>),
}

/// Packs `weights` `[channels][taps]` in `form`; `None` when they cannot be, so that the plain form has to do.
pub(super) fn pack(
    form: Form,
    weights: &[i16],
    bias: &[i32],
    multipliers: &[f32],
) -> Option<Packed> {
    let channels = bias.len();
    let taps = weights.len().checked_div(channels)?;
    let blocks = channels.div_ceil(4);
    let at = |channel: usize, tap: usize| {
        if channel < channels && tap < taps {
            weights[channel * taps + tap]
        } else {
            0
        }
    };
    let filled = |c: usize| bias.get(c).copied().unwrap_or(0);
    let factor = |c: usize| multipliers.get(c).copied().unwrap_or(1.0);
    match form {
        // Others pack these: see [`pack_octet`].
        Form::Plain | Form::Sparse | Form::Octet => None,
        Form::Wide => {
            let mut packed = Vec::with_capacity(blocks * taps.next_multiple_of(4) * 4);
            for block in 0..blocks {
                for group in 0..taps.div_ceil(4) {
                    for first in [0, 1] {
                        for channel in 0..4 {
                            let w = |tap| at(block * 4 + channel, group * 4 + tap);
                            packed.extend([w(first), w(first + 2)]);
                        }
                    }
                }
            }
            Some(Packed {
                weights: Weights::I16(packed),
                bias: (0..blocks * 4).map(filled).collect(),
                multipliers: (0..blocks * 4).map(factor).collect(),
            })
        }
        Form::Quad => {
            let weights = (0..blocks * taps).flat_map(|i| {
                let (block, tap) = (i / taps, i % taps);
                (0..4).map(move |c| i8::try_from(at(block * 4 + c, tap)))
            });
            Some(Packed {
                weights: Weights::I8(weights.collect::<Result<_, _>>().ok()?),
                bias: (0..blocks * 4).map(filled).collect(),
                // No multiplier of channels that fill up keeps the others from being requantised in integers.
                multipliers: (0..blocks * 4)
                    .map(|c| multipliers.get(c).copied().unwrap_or(0.0))
                    .collect(),
            })
        }
        Form::Helium => {
            let mut packed = Vec::with_capacity(helium::layer_len(taps, channels)?);
            for block in (0..blocks).rev() {
                let words = |f: &dyn Fn(usize) -> [u8; 4]| {
                    let words = (0..helium::CHANNELS).flat_map(|c| f(block * 4 + c));
                    words.map(|b| b as i8).collect::<Vec<_>>()
                };
                packed.extend(words(&|c| filled(c).to_le_bytes()));
                for group in 0..taps.div_ceil(helium::TAPS) {
                    for c in 0..helium::CHANNELS {
                        for tap in 0..helium::TAPS {
                            let w = at(block * 4 + c, group * helium::TAPS + tap);
                            packed.push(i8::try_from(w).ok()?);
                        }
                    }
                }
                packed.extend(words(&|c| factor(c).to_le_bytes()));
            }
            Some(Packed {
                weights: Weights::I8(packed),
                bias: Vec::new(),
                multipliers: Vec::new(),
            })
        }
        Form::Split => {
            let mut packed = Vec::with_capacity(blocks * taps.next_multiple_of(4) * 2);
            for block in 0..blocks {
                if [0, 2]
                    .iter()
                    .any(|c| !splits(weights, taps, filled(block * 4 + c), block * 4 + c))
                {
                    return None;
                }
                for group in 0..taps.div_ceil(4) {
                    for (pair, first) in [(0, 0), (2, 0), (0, 1), (2, 1)] {
                        for tap in [first, first + 2] {
                            let w = |c| at(block * 4 + pair + c, group * 4 + tap);
                            // −128 in the upper channel may leave 16 bits.
                            packed
                                .push(i16::try_from(i32::from(w(0)) * 256 + i32::from(w(1))).ok()?);
                        }
                    }
                }
            }
            let bias = (0..blocks * 4).map(|c| match c % 2 {
                0 => filled(c).wrapping_mul(256).wrapping_add(filled(c + 1)),
                _ => filled(c),
            });
            let scaled = |c: usize| {
                if c.is_multiple_of(2) {
                    factor(c) / 256.0
                } else {
                    factor(c)
                }
            };
            Some(Packed {
                weights: Weights::I16(packed),
                bias: bias.collect(),
                multipliers: (0..blocks * 4).map(scaled).collect(),
            })
        }
    }
}

/// Packs `weights` `[channels][runs of taps]` in octets; `None` when they do not fit bytes.
pub(super) fn pack_octet(
    runs: Runs,
    weights: &[i16],
    bias: &[i32],
    multipliers: &[f32],
) -> Option<Packed> {
    let channels = bias.len();
    let count = runs.count.iter().product::<usize>();
    let mut packed = Vec::with_capacity(runs.layer_len(channels)?);
    let unsigned = bias.iter().zip(weights.chunks(count * runs.taps));
    let unsigned: Vec<i32> = unsigned
        .map(|(bias, w)| bias.wrapping_sub(128 * w.iter().map(|&w| i32::from(w)).sum::<i32>()))
        .collect();
    for block in 0..channels.div_ceil(octet::CHANNELS) {
        for run in 0..count {
            for group in 0..runs.taps.div_ceil(octet::TAPS) {
                for channel in (0..octet::CHANNELS).map(|c| block * octet::CHANNELS + c) {
                    for tap in (0..octet::TAPS).map(|t| group * octet::TAPS + t) {
                        let inside = channel < channels && tap < runs.taps;
                        let at = (channel * count + run) * runs.taps + tap;
                        let w = if inside { *weights.get(at)? } else { 0 };
                        packed.push(i8::try_from(w).ok()?);
                    }
                }
            }
        }
    }
    let mut packed = octets(packed, bias, multipliers);
    packed.bias.extend(unsigned);
    packed.bias.resize(packed.multipliers.len() * 2, 0);
    Some(packed)
}

/// Float `weights` `[channels][taps]` and biases in panels: see [`kinglet::kernels::panel`].
pub(super) fn panels(weights: &[f32], mut bias: Vec<f32>) -> (Vec<f32>, Vec<f32>) {
    let channels = bias.len();
    let taps = weights.len() / channels.max(1);
    let mut packed = Vec::with_capacity(taps * channels.next_multiple_of(panel::CHANNELS));
    for first in (0..channels).step_by(panel::CHANNELS) {
        for tap in 0..taps {
            let column = (first..first + panel::CHANNELS).map(|channel| match channel < channels {
                true => weights[channel * taps + tap],
                false => 0.0,
            });
            packed.extend(column);
        }
    }
    bias.resize(channels.next_multiple_of(panel::CHANNELS), 0.0);
    (packed, bias)
}

/// Packs depthwise `weights` `[channels][height][width]` in octets; `None` when they do not fit bytes.
pub(super) fn pack_depthwise_octet(
    g: &Geometry,
    weights: &[i16],
    bias: &[i32],
    multipliers: &[f32],
) -> Option<Packed> {
    let [height, width] = g.kernel.map(std::num::NonZeroUsize::get);
    let channels = bias.len();
    let mut packed = Vec::with_capacity(octet::depthwise_len(g)?);
    for block in 0..channels.div_ceil(octet::CHANNELS) {
        for odd in [0, 1] {
            for pair in 0..octet::pairs(height) {
                for column in 0..width {
                    for channel in (0..octet::CHANNELS).map(|c| block * octet::CHANNELS + c) {
                        for row in [2 * pair, 2 * pair + 1] {
                            let row = row.checked_sub(odd).filter(|&row| row < height);
                            let w = match row.filter(|_| channel < channels) {
                                Some(row) => {
                                    *weights.get((channel * height + row) * width + column)?
                                }
                                None => 0,
                            };
                            packed.push(i8::try_from(w).ok()?);
                        }
                    }
                }
            }
        }
    }
    Some(octets(packed, bias, multipliers))
}

/// Packed weights with constants in whole blocks.
fn octets(weights: Vec<i8>, bias: &[i32], multipliers: &[f32]) -> Packed {
    let filled = bias.len().next_multiple_of(octet::CHANNELS);
    let (mut bias, mut multipliers) = (bias.to_vec(), multipliers.to_vec());
    bias.resize(filled, 0);
    multipliers.resize(filled, 0.0);
    Packed {
        weights: Weights::I8(weights),
        bias,
        multipliers,
    }
}

/// Packs 3×3 depthwise `weights` `[channels][3][3]` for Helium; `None` when they do not fit bytes.
pub(super) fn pack_depthwise(weights: &[i16], bias: &[i32], multipliers: &[f32]) -> Option<Packed> {
    let mut packed = vec![0; 4];
    for kernel in weights.as_chunks::<9>().0 {
        for column in 0..4 {
            for row in 0..4 {
                let inside = column < 3 && row < 3;
                let w = if inside { kernel[row * 3 + column] } else { 0 };
                packed.push(i8::try_from(w).ok()?);
            }
        }
    }
    Some(Packed {
        weights: Weights::I8(packed),
        bias: bias.to_vec(),
        multipliers: multipliers.to_vec(),
    })
}

/// Whether the accumulator of `channel`, the upper one of its pair, stays within 24 bits, so that its sum can be split off.
fn splits(weights: &[i16], taps: usize, bias: i32, channel: usize) -> bool {
    let row = weights.chunks(taps.max(1)).nth(channel).unwrap_or(&[]);
    let largest =
        i64::from(bias).abs() + 128 * row.iter().map(|&w| i64::from(w).abs()).sum::<i64>();
    largest < 1 << 23
}
