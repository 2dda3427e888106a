//! Layers whose weights are stored otherwise than their kernel reads them, entropy-coded or as indices into a codebook: a tile of
//! output channels at a time is decoded into working memory, packed as the kernel wants it, and the kernel makes the tile's
//! channels of the whole output.
//!
//! Here are the lengths of everything, the one definition for the compiler, the checks and the execution. The working memory
//! holds, in this order: what the decoder takes, the tile's weights, what the kernel itself takes, and the tile's results where the
//! output has other channels beside them.

use super::scratch::{self, Form};
use super::{Geometry, helium};
use crate::formats::levels::Table;
use core::num::NonZeroUsize;

/// Working memory of a coded layer, in bytes, each a multiple of four.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Memory {
    /// The decoder's table; a codebook is read where it is stored.
    pub table: usize,
    /// The packed weights of a tile.
    pub weights: usize,
    /// What the kernel takes.
    pub kernel: usize,
    /// A tile's results; 0 where they go to the output at once.
    pub results: usize,
}

impl Memory {
    /// All bytes; `None` when the number does not fit.
    pub fn bytes(&self) -> Option<usize> {
        let parts = [self.weights, self.kernel, self.results];
        parts.into_iter().try_fold(self.table, usize::checked_add)
    }

    /// For a convolution of one group by tiles of so many channels, whose results are added to a residual or not.
    pub fn conv(form: Form, g: &Geometry, adds: bool, tile: NonZeroUsize) -> Option<Memory> {
        let [height, width, channels] = g.output;
        let tile = tile.min(channels);
        let pixels = g.batch.checked_mul(height.checked_mul(width)?.get())?;
        let results = match tile == channels {
            true => 0,
            false => pixels.checked_mul(tile.get())?,
        };
        Some(Memory {
            table: table_len(form),
            weights: packed_len(form, g.window_len()?.get(), tile.get())?,
            kernel: filled(scratch::conv(form, &of_channels(g, tile), adds)?)?,
            results: filled(results)?,
        })
    }

    /// For a fully connected layer by tiles of so many channels.
    pub fn dense(form: Form, inputs: usize, outputs: usize, tile: NonZeroUsize) -> Option<Memory> {
        let tile = tile.get().min(outputs);
        Some(Memory {
            table: table_len(form),
            weights: packed_len(form, inputs, tile)?,
            kernel: filled(scratch::dense(form, inputs, tile)?)?,
            results: 0,
        })
    }
}

/// Weights of bytes are entropy-coded, wide ones have a codebook.
fn table_len(form: Form) -> usize {
    match form {
        Form::Wide => 0,
        _ => size_of::<Table>(),
    }
}

fn filled(len: usize) -> Option<usize> {
    len.checked_next_multiple_of(4)
}

/// The convolution that makes so many of the channels.
pub fn of_channels(g: &Geometry, channels: NonZeroUsize) -> Geometry {
    let [height, width, _] = g.output;
    Geometry {
        output: [height, width, channels],
        ..*g
    }
}

/// Number of codes for that many channels of `taps` weights: those that fill up blocks included, and always an even number.
pub fn codes(form: Form, taps: usize, channels: usize) -> Option<usize> {
    let blocks = channels.div_ceil(4);
    let block = |taps: usize| taps.checked_mul(4);
    match form {
        Form::Plain => channels.checked_mul(taps)?.checked_next_multiple_of(2),
        Form::Quad => blocks.checked_mul(block(taps)?),
        Form::Split | Form::Wide => blocks.checked_mul(block(filled(taps)?)?),
        Form::Helium => blocks.checked_mul(block(taps.checked_next_multiple_of(helium::TAPS)?)?),
        // Depends on the weights; never coded.
        Form::Sparse => None,
        Form::Octet => None,
    }
}

/// Bytes of that many channels' weights in the memory of a tile, a multiple of four; Helium's biases and multipliers included.
pub fn packed_len(form: Form, taps: usize, channels: usize) -> Option<usize> {
    match form {
        Form::Helium => helium::layer_len(taps, channels),
        Form::Wide => codes(form, taps, channels)?.checked_mul(2),
        _ => filled(codes(form, taps, channels)?),
    }
}
