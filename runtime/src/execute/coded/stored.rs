//! How weights are stored: each way is a [`Stored`].

use super::Run;
use crate::arena::part;
use crate::execute::typed;
use crate::formats::levels::{Levels, Pair, Table};
use crate::kernels::scratch::Form;
use core::slice::Iter;
use zerocopy::FromBytes;

/// Weights in flash, which are decoded from the first to the last.
pub(super) trait Stored<'t>: Sized {
    /// For weights packed in `form`. `table` is as long as [`crate::kernels::coded::Memory`] says.
    fn new(run: &Run<'t>, form: Form, stored: &'t [u8], table: &'t mut [u8]) -> Option<Self>;

    /// The next tile begins.
    fn tile(&mut self) -> Option<()>;

    /// Decodes as many of the tile's weights as `weights` has room for.
    fn decode(&mut self, weights: &mut [u8]) -> Option<()>;
}

/// exp-Golomb codes of bytes, those of each tile behind a place of their own.
pub(super) struct EntropyCoded<'t> {
    levels: Levels<'t>,
    codes: &'t [u8],
    starts: Iter<'t, [u8; 4]>,
}

impl<'t> Stored<'t> for EntropyCoded<'t> {
    fn new(run: &Run<'t>, form: Form, stored: &'t [u8], table: &'t mut [u8]) -> Option<Self> {
        let table = Table::mut_from_bytes(table).ok()?;
        let pair = match form {
            Form::Split => Pair::Sum,
            _ => Pair::Bytes,
        };
        Some(EntropyCoded {
            levels: Levels::new(run.coding.order.get().into(), pair, table),
            codes: stored,
            starts: stored.as_chunks().0.iter(),
        })
    }

    fn tile(&mut self) -> Option<()> {
        let start = u32::from_le_bytes(*self.starts.next()?) as usize;
        self.levels.start(self.codes.get(start..)?);
        Some(())
    }

    fn decode(&mut self, weights: &mut [u8]) -> Option<()> {
        self.levels.decode(<[u16]>::mut_from_bytes(weights).ok()?);
        Some(())
    }
}

/// A byte a weight, and a table of 16-bit numbers.
pub(super) struct Codebook<'t> {
    table: &'t [i16; 256],
    codes: &'t [u8],
}

impl<'t> Stored<'t> for Codebook<'t> {
    fn new(run: &Run<'t>, _: Form, stored: &'t [u8], _: &'t mut [u8]) -> Option<Self> {
        let table: &[i16] = typed(part(run.data, run.coding.table)?)?;
        Some(Codebook {
            table: table.first_chunk()?,
            codes: stored,
        })
    }

    fn tile(&mut self) -> Option<()> {
        Some(())
    }

    #[inline(never)]
    fn decode(&mut self, weights: &mut [u8]) -> Option<()> {
        let weights = <[i16]>::mut_from_bytes(weights).ok()?;
        let (codes, rest) = self.codes.split_at_checked(weights.len())?;
        self.codes = rest;
        let (fours, last) = weights.as_chunks_mut::<4>();
        let (codes, last_codes) = codes.as_chunks::<4>();
        let look = |code: u8| self.table[usize::from(code)];
        for (w, codes) in fours.iter_mut().zip(codes) {
            *w = codes.map(look);
        }
        for (w, code) in last.iter_mut().zip(last_codes) {
            *w = look(*code);
        }
        Some(())
    }
}
