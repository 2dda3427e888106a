//! Checks of layers with entropy-coded weights and of those with codebooks.

use super::{Check, Limits, Sharing, Step, conv_weights, int8, macs_of, pixels, product};
use crate::error::StepError;
use crate::format::{self, Coding, OpCode, Span};
use crate::formats::levels::MAX_ORDER;
use crate::kernels::Geometry;
use crate::kernels::coded::{Memory, codes};
use crate::kernels::scratch::Form;
use core::num::NonZeroUsize;
use zerocopy::FromBytes;
use zerocopy::little_endian::U32;

/// The size of a layer's weights, and where its constants are.
struct Constants {
    taps: u32,
    channels: u32,
    weights: Span,
    bias: Span,
    multipliers: Span,
}

impl<'p> Step<'p> {
    /// How the weights are coded, and the layer as if they were not; `None` if this is no coded layer.
    pub(crate) fn coded(&self) -> Option<(&'p Coding, Step<'p>)> {
        let (coding, parameters) = Coding::ref_from_prefix(self.parameters).ok()?;
        let code = OpCode::from_code(coding.layer.get())?;
        let layer = Step {
            code,
            parameters,
            ..*self
        };
        Some((coding, layer))
    }

    pub(super) fn coded_layer<const OPS: u128>(&self, limits: &Limits<'_>) -> Check {
        use OpCode as O;
        let (coding, layer) = self.coded().ok_or(StepError::Size)?;
        if OPS & layer.code.bit() == 0 {
            return Err(StepError::NotLinked);
        }
        let codebook = self.is::<OPS>(&[OpCode::Codebook]);
        if codebook != (layer.form() == Form::Wide) {
            return Err(StepError::Parameter);
        }
        if codebook {
            limits.constant(coding.table, 256, 2)?;
        }
        let orders = if codebook { 0 } else { MAX_ORDER };
        if u32::from(coding.order.get()) > orders || !codebook && coding.table.len.get() != 0 {
            return Err(StepError::Parameter);
        }
        self.operands(limits, 1, 1, Sharing::Nothing)?;
        if layer.is::<OPS>(&[
            O::ConvI8,
            O::ConvI8Split,
            O::ConvI8Quad,
            O::ConvI8Helium,
            O::ConvI8Wide,
        ]) {
            layer.coded_conv(limits, coding, layer.record()?, false)
        } else if layer.is::<OPS>(&[
            O::ConvAddI8,
            O::ConvAddI8Split,
            O::ConvAddI8Quad,
            O::ConvAddI8Helium,
            O::ConvAddI8Wide,
        ]) {
            let p = layer.record::<format::ConvAddI8>()?;
            layer.coded_conv(limits, coding, &p.conv, true)?;
            int8(&p.residual.int8)
        } else if layer.is::<OPS>(&[
            O::FullyConnectedI8,
            O::FullyConnectedI8Split,
            O::FullyConnectedI8Quad,
            O::FullyConnectedI8Helium,
            O::FullyConnectedI8Wide,
        ]) {
            layer.coded_dense(limits, coding, layer.record()?)
        } else {
            Err(StepError::Parameter)
        }
    }

    /// Multiply-accumulates of a coded layer.
    pub(super) fn coded_macs(&self) -> Option<u64> {
        let (_, layer) = self.coded()?;
        let conv = layer.parameters::<format::ConvI8>();
        let add = layer.parameters::<format::ConvAddI8>();
        if let Some(conv) = conv.or(add.map(|p| &p.conv)) {
            let weights = conv_weights(&conv.window, 1).unwrap_or(0);
            return Some(pixels(&conv.window).saturating_mul(weights.into()));
        }
        let dense = layer.parameters::<format::FullyConnectedI8>()?;
        Some(macs_of(&dense.shape))
    }

    fn coded_conv(
        &self,
        limits: &Limits<'_>,
        coding: &Coding,
        p: &format::ConvI8,
        adds: bool,
    ) -> Check {
        self.conv(&p.window, p.groups.get(), 1)?;
        int8(&p.int8)?;
        if p.groups.get() != 1 {
            return Err(StepError::Parameter);
        }
        let geometry = Geometry::new(&p.window).ok_or(StepError::Parameter)?;
        let channels = p.window.output[2].get();
        let weights = conv_weights(&p.window, 1)?;
        let constants = Constants {
            taps: weights.checked_div(channels).ok_or(StepError::Parameter)?,
            channels,
            weights: p.weights,
            bias: p.bias,
            multipliers: p.multipliers,
        };
        let tile = self.tiles(limits, coding, &constants)?;
        let memory = Memory::conv(self.form(), &geometry, adds, tile);
        self.scratch(limits, p.scratch, memory.and_then(|m| m.bytes()))
    }

    fn coded_dense(
        &self,
        limits: &Limits<'_>,
        coding: &Coding,
        p: &format::FullyConnectedI8,
    ) -> Check {
        self.dense(&p.shape, 1)?;
        int8(&p.int8)?;
        product(&p.shape)?;
        let [_, taps, channels] = p.shape.map(U32::get);
        let constants = Constants {
            taps,
            channels,
            weights: p.weights,
            bias: p.bias,
            multipliers: p.multipliers,
        };
        let tile = self.tiles(limits, coding, &constants)?;
        let memory = Memory::dense(self.form(), taps as usize, channels as usize, tile);
        self.scratch(limits, p.scratch, memory.and_then(|m| m.bytes()))
    }

    /// A coded layer's constants. With a codebook there is a byte for each weight. Otherwise, where each tile's codes begin and end
    /// is inside of the weights, and there is a bit at least for each code, so that decoding takes no longer than the file's
    /// length allows. The codes themselves may be anything.
    fn tiles(
        &self,
        limits: &Limits<'_>,
        coding: &Coding,
        constants: &Constants,
    ) -> Result<NonZeroUsize, StepError> {
        let form = self.form();
        let tile = NonZeroUsize::new(coding.tile.get() as usize).ok_or(StepError::Parameter)?;
        if !tile.get().is_multiple_of(4) {
            return Err(StepError::Parameter);
        }
        let filled = match form {
            Form::Plain => Some(constants.channels),
            _ => constants.channels.checked_next_multiple_of(4),
        };
        let filled = filled.ok_or(StepError::Parameter)?;
        self.factors(limits, filled, constants.bias, constants.multipliers)?;
        if form == Form::Wide {
            let codes = codes(form, constants.taps as usize, constants.channels as usize);
            let codes = codes.and_then(|n| u32::try_from(n).ok());
            limits.constant(constants.weights, codes.ok_or(StepError::Parameter)?, 1)?;
            return Ok(tile);
        }
        let range = constants.weights.range().ok_or(StepError::OutsideData)?;
        let weights = limits.data.get(range).ok_or(StepError::OutsideData)?;
        let mut left = constants.channels as usize;
        let tiles = left.div_ceil(tile.get());
        let mut begin = tiles.checked_mul(4).ok_or(StepError::Length)?;
        let starts = weights.get(..begin).ok_or(StepError::Length)?;
        let starts = starts.as_chunks().0.iter();
        let mut starts = starts.map(|start| u32::from_le_bytes(*start) as usize);
        if starts.next() != Some(begin) {
            return Err(StepError::Length);
        }
        while left > 0 {
            let channels = left.min(tile.get());
            left -= channels;
            let end = starts.next().unwrap_or(weights.len());
            let bytes = weights.get(begin..end).ok_or(StepError::Length)?.len();
            let codes = codes(form, constants.taps as usize, channels);
            if bytes < codes.ok_or(StepError::Parameter)?.div_ceil(8) {
                return Err(StepError::Length);
            }
            begin = end;
        }
        Ok(tile)
    }
}
