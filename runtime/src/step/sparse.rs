//! Checks of layers with sparse weights.

use super::{Check, Limits, Sharing, Step, conv_weights, int8, pixels, product};
use crate::error::StepError;
use crate::format::{self, Span};
use crate::kernels::{Geometry, sparse};
use zerocopy::FromBytes;

impl Step<'_> {
    pub(super) fn sparse_conv(&self, limits: &Limits<'_>, p: &format::ConvI8) -> Check {
        self.conv(&p.window, p.groups.get(), 1)?;
        int8(&p.int8)?;
        if p.groups.get() != 1 {
            return Err(StepError::Parameter);
        }
        let channels = p.window.output[2].get();
        let weights = conv_weights(&p.window, 1)?;
        let taps = weights.checked_div(channels).ok_or(StepError::Parameter)?;
        sparse(limits, [taps, channels], [p.weights, p.bias, p.multipliers])?;
        self.operands(limits, 1, 1, Sharing::Nothing)?;
        let geometry = Geometry::new(&p.window).ok_or(StepError::Parameter)?;
        self.scratch(limits, p.scratch, sparse::conv_scratch(&geometry))
    }

    pub(super) fn sparse_dense(&self, limits: &Limits<'_>, p: &format::FullyConnectedI8) -> Check {
        self.operands(limits, 1, 1, Sharing::Nothing)?;
        self.dense(&p.shape, 1)?;
        int8(&p.int8)?;
        product(&p.shape)?;
        let [_, taps, channels] = p.shape.map(|d| d.get());
        sparse(limits, [taps, channels], [p.weights, p.bias, p.multipliers])?;
        self.scratch(limits, p.scratch, Some(0))
    }

    /// Multiply-accumulates of a layer with sparse weights: those of its entries.
    pub(super) fn sparse_macs(&self) -> Option<u64> {
        let conv = self.parameters::<format::ConvI8>();
        let add = self.parameters::<format::ConvAddI8>();
        let entries = |weights: Span, channels: u32| {
            u64::from(weights.len.get() / 2).saturating_sub(channels.into())
        };
        if let Some(p) = conv.or(add.map(|p| &p.conv)) {
            let entries = entries(p.weights, p.window.output[2].get());
            return Some(pixels(&p.window).saturating_mul(entries));
        }
        let p = self.parameters::<format::FullyConnectedI8>()?;
        let [rows, _, channels] = p.shape.map(|d| d.get());
        Some(u64::from(rows).saturating_mul(entries(p.weights, channels)))
    }
}

/// Entries of `[taps, channels]`, biases and multipliers.
fn sparse(limits: &Limits<'_>, [taps, channels]: [u32; 2], spans: [Span; 3]) -> Check {
    let [weights, bias, multipliers] = spans;
    limits.constant(weights, weights.len.get() / 2, 2)?;
    limits.constant(bias, channels, 4)?;
    limits.constant(multipliers, channels, 4)?;
    let bytes = weights.range().and_then(|range| limits.data.get(range));
    let entries = bytes.and_then(|bytes| <[i16]>::ref_from_bytes(bytes).ok());
    let entries = entries.ok_or(StepError::OutsideData)?;
    match sparse::count(entries, channels as usize, taps as usize) {
        Some(_) => Ok(()),
        None => Err(StepError::Parameter),
    }
}
