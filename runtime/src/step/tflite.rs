//! Checks of operators in TensorFlow Lite's rounding.

use super::{
    Check, Limits, Sharing, Step, affine, byte, conv_weights, int8, length, product, times,
};
use crate::error::StepError;
use crate::format::{self, OpCode, Rescale, Span};
use crate::requantize::tflite::{LEAST_SHIFT, MOST_SHIFT};
use zerocopy::FromBytes;
use zerocopy::little_endian::{F64, I32};

impl Step<'_> {
    /// As [`Step::check`].
    pub(super) fn tflite<const OPS: u128>(&self, limits: &Limits<'_>) -> Check {
        use OpCode as O;
        if self.is::<OPS>(&[
            O::ConvI8Tflite,
            O::DepthwiseI8Tflite,
            O::ConvI8W16Tflite,
            O::DepthwiseI8W16Tflite,
        ]) {
            let p = self.record::<format::ConvI8>()?;
            self.operands(limits, 1, 1, Sharing::Nothing)?;
            self.conv(&p.window, p.groups.get(), 1)?;
            int8(&p.int8)?;
            let weights = conv_weights(&p.window, p.groups.get())?;
            limits.constant(p.weights, weights, self.weight_size())?;
            let channels = p.window.output[2].get();
            limits.constant(p.bias, channels, 4)?;
            rescales(limits, p.multipliers, channels)?;
            self.scratch(limits, p.scratch, Some(0))
        } else if self.is::<OPS>(&[O::FullyConnectedI8Tflite, O::FullyConnectedI8W16Tflite]) {
            let p = self.record::<format::FullyConnectedI8>()?;
            self.operands(limits, 1, 1, Sharing::Nothing)?;
            self.dense(&p.shape, 1)?;
            int8(&p.int8)?;
            limits.constant(p.weights, product(&p.shape[1..])?, self.weight_size())?;
            limits.constant(p.bias, p.shape[2].get(), 4)?;
            limits.constant(p.multipliers, times(p.shape[2].get(), 2)?, 4)?;
            let scales = constants::<F64>(limits, p.multipliers)?;
            if !scales
                .iter()
                .all(|scale| scale.get() >= 0.0 && scale.get().is_finite())
            {
                return Err(StepError::Parameter);
            }
            self.scratch(limits, p.scratch, Some(0))
        } else if self.is::<OPS>(&[O::AddI8Tflite]) {
            let p = self.record::<format::AddI8Tflite>()?;
            self.operands(limits, 1, 1, Sharing::Whole)?;
            self.second(limits, &p.b, 1)?;
            byte(p.b_zero_point.get())?;
            p.signs.iter().try_for_each(sign)?;
            p.scales.iter().try_for_each(rescale)?;
            rescale(&p.rescale)?;
            int8(&p.int8)
        } else if self.is::<OPS>(&[O::MulI8Tflite]) {
            let p = self.record::<format::MulI8Tflite>()?;
            self.operands(limits, 1, 1, Sharing::Whole)?;
            self.second(limits, &p.b, 1)?;
            byte(p.b_zero_point.get())?;
            rescale(&p.rescale)?;
            int8(&p.int8)
        } else if self.is::<OPS>(&[O::AveragePoolI8Tflite]) {
            let p = self.record::<format::Pool>()?;
            self.pool(limits, 1)?;
            int8(&p.int8)
        } else if self.is::<OPS>(&[O::MeanI8Tflite]) {
            let p = self.record::<format::MeanI8Tflite>()?;
            self.operands(limits, 1, 1, Sharing::Nothing)?;
            self.window(&p.window, 1)?;
            if p.window.input[2] != p.window.output[2] {
                return Err(StepError::Parameter);
            }
            rescale(&p.rescale)?;
            int8(&p.int8)
        } else if self.is::<OPS>(&[O::SoftmaxI8Tflite]) {
            let p = self.record::<format::SoftmaxI8Tflite>()?;
            limits.constant(p.table, 256, 4)?;
            let table = constants::<I32>(limits, p.table)?;
            if table.iter().any(|weight| weight.get() < 0) {
                return Err(StepError::Parameter);
            }
            self.softmax(limits, p.row.get(), 1)
        } else if self.is::<OPS>(&[O::QuantizeTflite]) {
            let p = self.record::<format::Affine>()?;
            self.operands(limits, 4, 1, Sharing::Nothing)?;
            affine(p)?;
            length(self.input, self.output.len.get(), 4)
        } else {
            Err(StepError::NotLinked)
        }
    }
}

/// What [`Limits::constant`] has found to lie in the data section.
fn constants<'d, T: FromBytes + zerocopy::Immutable + zerocopy::KnownLayout>(
    limits: &Limits<'d>,
    span: Span,
) -> Result<&'d [T], StepError> {
    let bytes = span.range().and_then(|range| limits.data.get(range));
    let constants = bytes.and_then(|bytes| <[T]>::ref_from_bytes(bytes).ok());
    constants.ok_or(StepError::OutsideData)
}

/// One record a channel.
fn rescales(limits: &Limits<'_>, span: Span, channels: u32) -> Check {
    limits.constant(span, times(channels, 2)?, 4)?;
    constants(limits, span)?.iter().try_for_each(rescale)
}

fn rescale(record: &Rescale) -> Check {
    let shifts = LEAST_SHIFT..=MOST_SHIFT;
    match record.multiplier.get() >= 0 && shifts.contains(&record.shift.get()) {
        true => Ok(()),
        false => Err(StepError::Parameter),
    }
}

fn sign(sign: &I32) -> Check {
    match sign.get() {
        1 | -1 => Ok(()),
        _ => Err(StepError::Parameter),
    }
}
