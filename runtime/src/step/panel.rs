//! Checks of float layers in panels: see [`crate::kernels::panel`].

use super::{Check, Limits, Sharing, Step};
use crate::error::StepError;
use crate::format::{self, OpCode, Span};
use crate::kernels::Geometry;
use crate::kernels::panel::{filled, layer_len};

impl Step<'_> {
    // Not part of the caller, whose frame would grow on every board.
    #[inline(never)]
    pub(super) fn panel(&self, limits: &Limits<'_>) -> Check {
        self.operands(limits, 4, 4, Sharing::Nothing)?;
        if self.code == OpCode::FullyConnectedF32Panel {
            let p = self.record::<format::FullyConnectedF32>()?;
            self.dense(&p.shape, 4)?;
            let [_, inputs, outputs] = p.shape.map(|d| d.get() as usize);
            let len = filled(outputs).and_then(|filled| filled.checked_mul(inputs));
            return constants(limits, len, outputs, [p.weights, p.bias]);
        }
        let p = self.record::<format::ConvF32>()?;
        self.conv(&p.window, p.groups.get(), 4)?;
        if p.groups.get() != 1 {
            return Err(StepError::Parameter);
        }
        let g = Geometry::new(&p.window).ok_or(StepError::Parameter)?;
        constants(
            limits,
            layer_len(&g),
            g.output[2].get(),
            [p.weights, p.bias],
        )
    }
}

/// So many weights, and a bias for each channel, in whole panels.
fn constants(
    limits: &Limits<'_>,
    len: Option<usize>,
    channels: usize,
    [weights, bias]: [Span; 2],
) -> Check {
    let number = |n: Option<usize>| {
        n.and_then(|n| u32::try_from(n).ok())
            .ok_or(StepError::Parameter)
    };
    limits.constant(weights, number(len)?, 4)?;
    limits.constant(bias, number(filled(channels))?, 4)
}
