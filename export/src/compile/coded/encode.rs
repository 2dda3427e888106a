//! From packed weights to codes.

use super::{Code, adds};
use crate::compile::layers::Layer;
use crate::compile::packing::{Packed, Weights};
use crate::compress::gaussian::golomb::{best_order, encode_with, length};
use kinglet::format::OpCode;
use kinglet::formats::levels::MAX_ORDER;
use kinglet::kernels::helium;
use kinglet::kernels::scratch::Form;
use std::collections::BTreeSet;

/// Size of a layer's weights.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Shape {
    pub(super) taps: usize,
    pub(super) channels: usize,
}

impl Shape {
    pub(super) fn weights(self) -> usize {
        self.taps * self.channels
    }
}

/// Weights that have codes, block by block as their kernel reads them; plain ones channel by channel.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) form: Form,
    pub(super) adds: bool,
    pub(super) shape: Shape,
    blocks: Vec<Vec<i32>>,
    bias: Vec<i32>,
    multipliers: Vec<f32>,
}

/// The codes of a layer.
pub(super) struct Codes {
    /// Where each tile's codes begin, then the codes.
    pub(super) bytes: Vec<u8>,
    /// Pairs of weights whose codes are found with one look.
    pub(super) short: u64,
    /// Pairs that are read one by one.
    pub(super) long: u64,
}

impl Source {
    /// `None` for layers that have no coded form: depthwise and grouped ones, and those with weights that have no code, which are
    /// −128 where they are bytes. `shape` is that of the weights, `[channels, …]`.
    pub(super) fn new(layer: &Layer, shape: &[usize]) -> Option<Source> {
        use OpCode as O;
        let code = layer.code;
        let form = Form::of(code);
        let codable = matches!(
            code,
            O::ConvI8
                | O::ConvI8Split
                | O::ConvI8Quad
                | O::ConvI8Helium
                | O::ConvI8Wide
                | O::FullyConnectedI8Wide
                | O::FullyConnectedI8
                | O::FullyConnectedI8Split
                | O::FullyConnectedI8Quad
                | O::FullyConnectedI8Helium
        ) || adds(code);
        let channels = *shape.first()?;
        let taps = shape[1..].iter().product::<usize>();
        if !codable || layer.grouped || channels == 0 || taps == 0 {
            return None;
        }
        let constants = &layer.constants;
        let (mut bias, mut multipliers) = (constants.bias.clone(), constants.multipliers.clone());
        let blocks: Vec<Vec<i32>> = match (form, &constants.weights) {
            (Form::Plain, Weights::I8(w)) => wide(w).chunks(taps).map(<[i32]>::to_vec).collect(),
            (Form::Quad, Weights::I8(w)) => wide(w).chunks(taps * 4).map(<[i32]>::to_vec).collect(),
            (Form::Split, Weights::I16(w)) => {
                let pair = |&w: &i16| {
                    let low = i32::from(w as i8);
                    [low, (i32::from(w) - low) >> 8]
                };
                let levels: Vec<i32> = w.iter().flat_map(pair).collect();
                let block = taps.next_multiple_of(4) * 4;
                levels.chunks(block).map(<[i32]>::to_vec).collect()
            }
            (Form::Wide, Weights::I16(w)) => {
                let block = taps.next_multiple_of(4) * 4;
                w.chunks(block)
                    .map(|w| w.iter().map(|&w| w.into()).collect())
                    .collect()
            }
            (Form::Helium, Weights::I8(w)) => {
                let (mut blocks, words) = (Vec::new(), 4 * helium::CHANNELS);
                // The last block comes first.
                for block in w.chunks(helium::block_len(taps)?).rev() {
                    let (head, rest) = block.split_at_checked(words)?;
                    let (weights, tail) = rest.split_at_checked(rest.len().checked_sub(words)?)?;
                    blocks.push(wide(weights));
                    let word = |w: &[i8; 4]| w.map(|b| b as u8);
                    bias.extend(
                        head.as_chunks()
                            .0
                            .iter()
                            .map(|w| i32::from_le_bytes(word(w))),
                    );
                    multipliers.extend(
                        tail.as_chunks()
                            .0
                            .iter()
                            .map(|w| f32::from_le_bytes(word(w))),
                    );
                }
                blocks
            }
            _ => return None,
        };
        let has_code = |&level: &i32| form == Form::Wide || (-127..=127).contains(&level);
        blocks.iter().flatten().all(has_code).then_some(Source {
            form,
            adds: adds(code),
            shape: Shape { taps, channels },
            blocks,
            bias,
            multipliers,
        })
    }

    /// Bytes of the weights as they are, without biases and multipliers.
    pub(super) fn plain_bytes(&self) -> usize {
        let size = if self.form == Form::Wide { 2 } else { 1 };
        self.blocks.iter().map(Vec::len).sum::<usize>() * size
    }

    /// The weights that there are.
    pub(super) fn values(&self) -> BTreeSet<i32> {
        self.blocks.iter().flatten().copied().collect()
    }

    /// The exp-Golomb code with the fewest bits.
    pub(super) fn best_order(&self) -> Code {
        Code::Golomb(best_order(&self.blocks.concat()).0.min(MAX_ORDER))
    }

    /// The codes for tiles of so many channels.
    pub(super) fn codes(&self, code: &Code, tile: usize) -> Codes {
        match code {
            Code::Golomb(order) => self.golomb(*order, tile),
            Code::Codebook(values) => {
                let place = |w: &i32| values.binary_search(&(*w as i16)).unwrap_or(0);
                let bytes = self.blocks.iter().flatten().map(|w| place(w) as u8);
                Codes {
                    bytes: bytes.collect(),
                    short: 0,
                    long: 0,
                }
            }
        }
    }

    fn golomb(&self, order: u32, tile: usize) -> Codes {
        let blocks = match self.form {
            Form::Plain => tile,
            _ => tile.div_ceil(4),
        };
        let mut starts: Vec<u32> = Vec::new();
        let (mut codes, mut short, mut long) = (Vec::new(), 0, 0);
        let first = self.blocks.len().div_ceil(blocks.max(1)) * 4;
        for tile in self.blocks.chunks(blocks.max(1)) {
            starts.push((first + codes.len()) as u32);
            let mut levels: Vec<i32> = match self.form {
                Form::Helium => tile.iter().rev().flatten().copied().collect(),
                _ => tile.concat(),
            };
            levels.resize(levels.len().next_multiple_of(2), 0);
            for pair in levels.as_chunks::<2>().0 {
                match pair.iter().map(|&q| length(q, order)).sum::<u64>() {
                    0..=8 => short += 1,
                    _ => long += 1,
                }
            }
            codes.extend(encode_with(&levels, order).bytes);
            codes.resize(codes.len().next_multiple_of(2), 0);
        }
        let mut bytes: Vec<u8> = starts.iter().flat_map(|s| s.to_le_bytes()).collect();
        bytes.extend(codes);
        Codes { bytes, short, long }
    }

    /// The layer's constants with its weights coded.
    pub(super) fn encoded(&self, code: &Code, tile: usize) -> Packed {
        Packed {
            weights: Weights::Codes(self.codes(code, tile).bytes),
            bias: self.bias.clone(),
            multipliers: self.multipliers.clone(),
        }
    }
}

fn wide(weights: &[i8]) -> Vec<i32> {
    weights.iter().map(|&w| w.into()).collect()
}
