//! Checks of layers with octet weights: see [`crate::kernels::octet`].

use super::{Check, Limits, Sharing, Step, int8, times};
use crate::error::StepError;
use crate::format::{self, OpCode, Span};
use crate::kernels::Geometry;
use crate::kernels::octet::{CHANNELS, Runs, depthwise_len, is_depthwise};
use crate::kernels::scratch::{self, Form};

impl Step<'_> {
    pub(super) fn octet(&self, limits: &Limits<'_>) -> Check {
        self.operands(limits, 1, 1, Sharing::Nothing)?;
        match self.code {
            OpCode::FullyConnectedI8Octet => {
                let p = self.record::<format::FullyConnectedI8>()?;
                self.dense(&p.shape, 1)?;
                int8(&p.int8)?;
                let [_, inputs, outputs] = p.shape.map(|d| d.get() as usize);
                let len = Runs::row(inputs).layer_len(outputs);
                constants(limits, len, outputs, 2, [p.weights, p.bias, p.multipliers])?;
                self.scratch(
                    limits,
                    p.scratch,
                    scratch::dense(Form::Octet, inputs, outputs),
                )
            }
            OpCode::ConvAddI8Octet => {
                let p = self.record::<format::ConvAddI8>()?;
                int8(&p.residual.int8)?;
                self.octet_conv(limits, &p.conv)
            }
            _ => self.octet_conv(limits, self.record::<format::ConvI8>()?),
        }
    }

    fn octet_conv(&self, limits: &Limits<'_>, p: &format::ConvI8) -> Check {
        self.conv(&p.window, p.groups.get(), 1)?;
        int8(&p.int8)?;
        let g = Geometry::new(&p.window).ok_or(StepError::Parameter)?;
        let channels = g.output[2].get();
        let depthwise = self.code == OpCode::DepthwiseI8Octet;
        let (len, needed) = match depthwise {
            true => (depthwise_len(&g), scratch::depthwise(Form::Octet, &g)),
            false => {
                let len = Runs::of(&g).and_then(|runs| runs.layer_len(channels));
                (len, scratch::conv(Form::Octet, &g, false))
            }
        };
        if (depthwise && !is_depthwise(&g)) || (!depthwise && p.groups.get() != 1) {
            return Err(StepError::Parameter);
        }
        let spans = [p.weights, p.bias, p.multipliers];
        constants(limits, len, channels, if depthwise { 1 } else { 2 }, spans)?;
        self.scratch(limits, p.scratch, needed)
    }
}

/// Weights of so many bytes, and so many biases and a multiplier for each channel, in whole blocks.
fn constants(
    limits: &Limits<'_>,
    len: Option<usize>,
    channels: usize,
    biases: u32,
    spans: [Span; 3],
) -> Check {
    let [weights, bias, multipliers] = spans;
    let number = |n: Option<usize>| {
        n.and_then(|n| u32::try_from(n).ok())
            .ok_or(StepError::Parameter)
    };
    let filled = number(channels.checked_next_multiple_of(CHANNELS))?;
    limits.constant(weights, number(len)?, 1)?;
    limits.constant(bias, times(filled, biases)?, 4)?;
    limits.constant(multipliers, filled, 4)
}
