//! One step of a plan, and the checks that make it safe to run.

mod coded;
mod general;
mod octet;
mod panel;
mod sparse;
mod tflite;

use crate::error::StepError;
use crate::format::{self, OpCode, Operand, Span, Window};
use crate::kernels::Geometry;
use crate::kernels::helium;
use crate::kernels::planes;
use crate::kernels::scratch::{self, Form};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// A step record, split into its parts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step<'p> {
    pub(crate) code: OpCode,
    pub(crate) input: Span,
    pub(crate) output: Span,
    pub(crate) parameters: &'p [u8],
}

/// What a step may refer to, in bytes.
pub(crate) struct Limits<'p> {
    pub(crate) arena: usize,
    pub(crate) data: &'p [u8],
}

type Check = Result<(), StepError>;

/// What a step may do with its input's memory.
#[derive(PartialEq)]
enum Sharing {
    /// Input and output are apart.
    Nothing,
    /// They are apart or the same.
    Whole,
    /// They are apart or begin at the same byte.
    Start,
}

impl<'p> Step<'p> {
    /// The parameters as the record `T`; `None` when the sizes differ.
    pub(crate) fn parameters<T: FromBytes + KnownLayout + Immutable + Unaligned>(
        &self,
    ) -> Option<&'p T> {
        T::ref_from_bytes(self.parameters).ok()
    }

    fn record<T: FromBytes + KnownLayout + Immutable + Unaligned>(
        &self,
    ) -> Result<&'p T, StepError> {
        self.parameters().ok_or(StepError::Size)
    }

    /// The operators that it takes to run this step.
    pub(crate) fn op_set(&self) -> u128 {
        let layer = match self.code {
            OpCode::Coded | OpCode::Codebook => {
                self.coded().map_or(0, |(_, layer)| layer.code.bit())
            }
            _ => 0,
        };
        self.code.bit() | layer
    }

    /// Multiply-accumulates, padding counted: every weight is used once for each output pixel or row. `u64::MAX` where a forged
    /// record of a plan that is linked in has more.
    pub(crate) fn macs(&self) -> u64 {
        use OpCode as O;
        let weights = |span: Span, size: u64| u64::from(span.len.get()) / size;
        // Packed weights are filled up; the multiplications that count are those of the true channels and taps.
        let one_group = |w: &Window| u64::from(conv_weights(w, 1).unwrap_or(0));
        let macs = match self.code {
            O::ConvI8
            | O::DepthwiseI8
            | O::DepthwiseI8Planes
            | O::DepthwiseI8Small
            | O::ConvI8W16
            | O::DepthwiseI8W16
            | O::ConvI8Tflite
            | O::DepthwiseI8Tflite
            | O::ConvI8W16Tflite
            | O::DepthwiseI8W16Tflite => {
                let p = self.parameters::<format::ConvI8>();
                p.map(|p| {
                    let weights = weights(p.weights, self.weight_size().into());
                    pixels(&p.window).saturating_mul(weights)
                })
            }
            O::ConvI8Split | O::ConvI8Quad | O::ConvI8Helium | O::ConvI8Wide | O::ConvI8Octet => {
                let p = self.parameters::<format::ConvI8>();
                p.map(|p| pixels(&p.window).saturating_mul(one_group(&p.window)))
            }
            O::DepthwiseI8Helium | O::DepthwiseI8Octet => {
                let p = self.parameters::<format::ConvI8>();
                p.map(|p| {
                    let weights = conv_weights(&p.window, p.groups.get()).unwrap_or(0);
                    pixels(&p.window).saturating_mul(weights.into())
                })
            }
            O::ConvAddI8
            | O::ConvAddI8Split
            | O::ConvAddI8Quad
            | O::ConvAddI8Helium
            | O::ConvAddI8Wide
            | O::ConvAddI8Octet => {
                let p = self.parameters::<format::ConvAddI8>();
                p.map(|p| pixels(&p.conv.window).saturating_mul(one_group(&p.conv.window)))
            }
            O::FullyConnectedI8Split
            | O::FullyConnectedI8Quad
            | O::FullyConnectedI8Helium
            | O::FullyConnectedI8Wide
            | O::FullyConnectedI8Octet => {
                let p = self.parameters::<format::FullyConnectedI8>();
                p.map(|p| macs_of(&p.shape))
            }
            O::ConvF32 | O::DepthwiseF32 => {
                let p = self.parameters::<format::ConvF32>();
                p.map(|p| pixels(&p.window).saturating_mul(weights(p.weights, 4)))
            }
            O::ConvF32Panel => {
                let p = self.parameters::<format::ConvF32>();
                p.map(|p| pixels(&p.window).saturating_mul(one_group(&p.window)))
            }
            O::FullyConnectedF32Panel => {
                let p = self.parameters::<format::FullyConnectedF32>();
                p.map(|p| macs_of(&p.shape))
            }
            O::FullyConnectedI8
            | O::FullyConnectedI8W16
            | O::FullyConnectedI8Tflite
            | O::FullyConnectedI8W16Tflite => {
                let p = self.parameters::<format::FullyConnectedI8>();
                p.map(|p| {
                    let weights = weights(p.weights, self.weight_size().into());
                    u64::from(p.shape[0].get()).saturating_mul(weights)
                })
            }
            O::FullyConnectedF32 => {
                let p = self.parameters::<format::FullyConnectedF32>();
                p.map(|p| u64::from(p.shape[0].get()).saturating_mul(weights(p.weights, 4)))
            }
            O::Coded | O::Codebook => self.coded_macs(),
            O::ConvI8Sparse | O::ConvAddI8Sparse | O::FullyConnectedI8Sparse => self.sparse_macs(),
            O::MatMulF32 => {
                let p = self.parameters::<format::MatMulF32>();
                p.map(|p| macs_of(&p.shape))
            }
            O::LstmF32 | O::GruF32 | O::RnnF32 => {
                let p = self.parameters::<format::RecurrentF32>();
                p.map(|p| {
                    let [steps, batch, _] = p.shape;
                    macs_of(&[steps, batch]).saturating_mul(weights(p.weights, 4))
                })
            }
            O::ResampleF32 => {
                let p = self.parameters::<format::ResampleF32>();
                p.map(|p| weights(self.output, 4).saturating_mul(p.taps.get().into()))
            }
            _ => None,
        };
        macs.unwrap_or(0)
    }

    /// Everything the kernels rely on.
    ///
    /// Operators outside `OPS` are refused, and the checks of their records are dead code to the linker.
    pub(crate) fn check<const OPS: u128>(&self, limits: &Limits<'_>) -> Check {
        use OpCode as O;
        if OPS & self.code.bit() == 0 {
            return Err(StepError::NotLinked);
        }
        if self.is::<OPS>(&[
            O::ConvI8,
            O::DepthwiseI8,
            O::DepthwiseI8Planes,
            O::DepthwiseI8Small,
            O::ConvI8W16,
            O::DepthwiseI8W16,
            O::ConvI8Split,
            O::ConvI8Quad,
            O::ConvI8Helium,
            O::ConvI8Wide,
            O::DepthwiseI8Helium,
        ]) {
            let p = self.record::<format::ConvI8>()?;
            self.conv_i8(limits, p, false)
        } else if self.is::<OPS>(&[
            O::ConvAddI8,
            O::ConvAddI8Split,
            O::ConvAddI8Quad,
            O::ConvAddI8Helium,
            O::ConvAddI8Wide,
        ]) {
            let p = self.record::<format::ConvAddI8>()?;
            self.conv_i8(limits, &p.conv, true)?;
            int8(&p.residual.int8)
        } else if self.is::<OPS>(&[
            O::ConvI8Octet,
            O::ConvAddI8Octet,
            O::DepthwiseI8Octet,
            O::FullyConnectedI8Octet,
        ]) {
            self.octet(limits)
        } else if self.is::<OPS>(&[O::ConvF32Panel, O::FullyConnectedF32Panel]) {
            self.panel(limits)
        } else if self.is::<OPS>(&[O::ConvF32, O::DepthwiseF32]) {
            let p = self.record::<format::ConvF32>()?;
            self.operands(limits, 4, 4, Sharing::Nothing)?;
            self.conv(&p.window, p.groups.get(), 4)?;
            limits.constant(p.weights, conv_weights(&p.window, p.groups.get())?, 4)?;
            limits.constant(p.bias, p.window.output[2].get(), 4)
        } else if self.is::<OPS>(&[O::FullyConnectedI8, O::FullyConnectedI8W16]) {
            let p = self.record::<format::FullyConnectedI8>()?;
            self.operands(limits, 1, 1, Sharing::Nothing)?;
            self.dense(&p.shape, 1)?;
            int8(&p.int8)?;
            limits.constant(p.weights, product(&p.shape[1..])?, self.weight_size())?;
            limits.constant(p.bias, p.shape[2].get(), 4)?;
            limits.constant(p.multipliers, p.shape[2].get(), 4)
        } else if self.is::<OPS>(&[
            O::FullyConnectedI8Split,
            O::FullyConnectedI8Quad,
            O::FullyConnectedI8Helium,
            O::FullyConnectedI8Wide,
        ]) {
            let p = self.record::<format::FullyConnectedI8>()?;
            self.operands(limits, 1, 1, Sharing::Nothing)?;
            self.dense(&p.shape, 1)?;
            int8(&p.int8)?;
            let [_, inputs, outputs] = p.shape.map(|d| d.get());
            self.packed(
                limits,
                [inputs, outputs],
                [p.weights, p.bias, p.multipliers],
            )?;
            let needed = scratch::dense(self.form(), inputs as usize, outputs as usize);
            self.scratch(limits, p.scratch, needed)
        } else if self.is::<OPS>(&[O::FullyConnectedF32]) {
            let p = self.record::<format::FullyConnectedF32>()?;
            self.operands(limits, 4, 4, Sharing::Nothing)?;
            self.dense(&p.shape, 4)?;
            limits.constant(p.weights, product(&p.shape[1..])?, 4)?;
            limits.constant(p.bias, p.shape[2].get(), 4)
        } else if self.is::<OPS>(&[O::AddI8]) {
            let p = self.record::<format::AddI8>()?;
            self.operands(limits, 1, 1, Sharing::Whole)?;
            self.second(limits, &p.b, 1)?;
            int8(&p.int8)
        } else if self.is::<OPS>(&[O::MulI8]) {
            let p = self.record::<format::MulI8>()?;
            self.operands(limits, 1, 1, Sharing::Whole)?;
            self.second(limits, &p.b, 1)?;
            int8(&p.int8)
        } else if self.is::<OPS>(&[O::AddF32, O::SubF32, O::MulF32, O::DivF32]) {
            let p = self.record::<format::BinaryF32>()?;
            self.operands(limits, 4, 4, Sharing::Whole)?;
            self.second(limits, &p.b, 4)
        } else if self.is::<OPS>(&[O::AveragePoolI8, O::MaxPoolI8]) {
            self.pool(limits, 1)
        } else if self.is::<OPS>(&[O::AveragePoolF32, O::MaxPoolF32]) {
            self.pool(limits, 4)
        } else if self.is::<OPS>(&[O::LookupI8]) {
            let p = self.record::<format::LookupI8>()?;
            self.operands(limits, 1, 1, Sharing::Whole)?;
            self.same_length()?;
            limits.constant(p.table, 256, 1)
        } else if self.is::<OPS>(&[
            O::ClampF32,
            O::SigmoidF32,
            O::TanhF32,
            O::LeakyReluF32,
            O::HardSigmoidF32,
            O::HardSwishF32,
        ]) {
            self.record::<format::UnaryF32>()?;
            self.operands(limits, 4, 4, Sharing::Whole)?;
            self.same_length()
        } else if self.is::<OPS>(&[O::SoftmaxI8]) {
            let p = self.record::<format::SoftmaxI8>()?;
            limits.constant(p.table, 256, 4)?;
            positive(p.output_scale.get())?;
            byte(p.output_zero_point.get())?;
            self.softmax(limits, p.row.get(), 1)
        } else if self.is::<OPS>(&[O::SoftmaxF32]) {
            let p = self.record::<format::SoftmaxF32>()?;
            self.softmax(limits, p.row.get(), 4)
        } else if self.is::<OPS>(&[O::TransposeI8]) {
            self.transpose(limits, 1)
        } else if self.is::<OPS>(&[O::TransposeF32]) {
            self.transpose(limits, 4)
        } else if self.is::<OPS>(&[O::PadI8]) {
            self.pad(limits, 1)
        } else if self.is::<OPS>(&[O::PadF32]) {
            self.pad(limits, 4)
        } else if self.is::<OPS>(&[O::Place]) {
            self.blocks(limits, self.input, self.output)
        } else if self.is::<OPS>(&[O::Take]) {
            self.blocks(limits, self.output, self.input)
        } else if self.is::<OPS>(&[O::Quantize]) {
            let p = self.record::<format::Affine>()?;
            self.operands(limits, 4, 1, Sharing::Nothing)?;
            affine(p)?;
            length(self.input, self.output.len.get(), 4)
        } else if self.is::<OPS>(&[O::Dequantize]) {
            let p = self.record::<format::Affine>()?;
            self.operands(limits, 1, 4, Sharing::Nothing)?;
            affine(p)?;
            length(self.output, self.input.len.get(), 4)
        } else if self.is::<OPS>(&[O::Copy]) {
            self.record::<format::Nothing>()?;
            self.operands(limits, 1, 1, Sharing::Whole)?;
            self.same_length()
        } else if self.is::<OPS>(&[O::ConvI8Sparse]) {
            self.sparse_conv(limits, self.record::<format::ConvI8>()?)
        } else if self.is::<OPS>(&[O::ConvAddI8Sparse]) {
            let p = self.record::<format::ConvAddI8>()?;
            self.sparse_conv(limits, &p.conv)?;
            int8(&p.residual.int8)
        } else if self.is::<OPS>(&[O::FullyConnectedI8Sparse]) {
            self.sparse_dense(limits, self.record::<format::FullyConnectedI8>()?)
        } else if self.is::<OPS>(&[O::Coded, O::Codebook]) {
            self.coded_layer::<OPS>(limits)
        } else if OPS & format::TFLITE_OPS & self.code.bit() != 0 {
            self.tflite::<OPS>(limits)
        } else {
            self.general::<OPS>(limits)
        }
    }

    /// Whether this is one of `codes`; a constant for the compiler if none of them is in `OPS`.
    #[inline(always)]
    fn is<const OPS: u128>(&self, codes: &[OpCode]) -> bool {
        let set = codes.iter().fold(0, |set, code| set | code.bit());
        OPS & set & self.code.bit() != 0
    }

    fn operands(
        &self,
        limits: &Limits<'_>,
        input_size: usize,
        output_size: usize,
        sharing: Sharing,
    ) -> Check {
        limits.arena(self.input, input_size)?;
        limits.arena(self.output, output_size)?;
        let same = self.input.offset == self.output.offset && self.input.len == self.output.len;
        let allowed = match sharing {
            Sharing::Nothing => false,
            Sharing::Whole => same,
            Sharing::Start => self.input.offset == self.output.offset,
        };
        if overlap(self.input, self.output) && !allowed {
            return Err(StepError::Overlap);
        }
        Ok(())
    }

    /// An int8 convolution, with or without a residual in its output.
    fn conv_i8(&self, limits: &Limits<'_>, p: &format::ConvI8, adds: bool) -> Check {
        self.conv(&p.window, p.groups.get(), 1)?;
        int8(&p.int8)?;
        let channels = p.window.output[2].get();
        let weights = conv_weights(&p.window, p.groups.get())?;
        let form = self.form();
        let geometry = Geometry::new(&p.window).ok_or(StepError::Parameter)?;
        let by_rows = matches!(
            self.code,
            OpCode::DepthwiseI8Planes | OpCode::DepthwiseI8Small | OpCode::DepthwiseI8Helium
        );
        if self.code == OpCode::DepthwiseI8Helium {
            let len = helium::depthwise_len(channels as usize).ok_or(StepError::Parameter)?;
            let len = u32::try_from(len).map_err(|_| StepError::Parameter)?;
            limits.constant(p.weights, len / 4, 4)?;
            limits.constant(p.bias, channels, 4)?;
            limits.constant(p.multipliers, channels, 4)?;
        } else if form == Form::Plain {
            limits.constant(p.weights, weights, self.weight_size())?;
            limits.constant(p.bias, channels, 4)?;
            limits.constant(p.multipliers, channels, 4)?;
        } else {
            let taps = weights.checked_div(channels).ok_or(StepError::Parameter)?;
            self.packed(limits, [taps, channels], [p.weights, p.bias, p.multipliers])?;
        }
        if self.code == OpCode::DepthwiseI8Small && !planes::is_small(&geometry) {
            return Err(StepError::Parameter);
        }
        let needed = if by_rows {
            scratch::depthwise(form, &geometry)
        } else {
            scratch::conv(form, &geometry, adds)
        };
        let plain = form == Form::Plain && !adds && !by_rows;
        if plain && p.scratch.len.get() == 0 {
            return self.operands(limits, 1, 1, Sharing::Nothing);
        }
        if !by_rows && p.groups.get() != 1 || self.weight_size() != 1 {
            return Err(StepError::Parameter);
        }
        let in_place = if by_rows {
            scratch::depthwise_in_place(form, &geometry)
        } else {
            geometry.pointwise() && !adds
        };
        let sharing = if in_place {
            Sharing::Start
        } else {
            Sharing::Nothing
        };
        self.operands(limits, 1, 1, sharing)?;
        self.scratch(limits, p.scratch, needed)
    }

    /// Packed weights of `[taps, channels]`, biases and multipliers.
    fn packed(&self, limits: &Limits<'_>, [taps, channels]: [u32; 2], spans: [Span; 3]) -> Check {
        let [weights, bias, multipliers] = spans;
        if self.form() == Form::Helium {
            let len = helium::layer_len(taps as usize, channels as usize);
            let len = len.and_then(|len| u32::try_from(len).ok());
            limits.constant(weights, len.ok_or(StepError::Parameter)? / 4, 4)?;
            // Biases and multipliers are among the weights.
            return match [bias, multipliers] == [Span::new(0, 0); 2] {
                true => Ok(()),
                false => Err(StepError::Length),
            };
        }
        let filled = |n: u32| n.checked_next_multiple_of(4).ok_or(StepError::Parameter);
        let channels = filled(channels)?;
        let halves = match self.form() {
            // Two channels share 16 bits.
            Form::Split => times(filled(taps)?, channels)? / 2,
            Form::Wide => times(filled(taps)?, channels)?,
            _ => times(taps, channels)? / 2,
        };
        limits.constant(weights, halves, 2)?;
        self.factors(limits, channels, bias, multipliers)
    }

    /// Biases and multipliers of so many channels; split fully connected layers may have the same four for every block.
    fn factors(&self, limits: &Limits<'_>, channels: u32, bias: Span, multipliers: Span) -> Check {
        limits.constant(bias, channels, 4)?;
        let shared = self.code == OpCode::FullyConnectedI8Split && multipliers.len.get() == 16;
        limits.constant(multipliers, if shared { 4 } else { channels }, 4)
    }

    fn form(&self) -> Form {
        Form::of(self.code)
    }

    /// Working memory: of the length needed, and apart from input and output.
    fn scratch(&self, limits: &Limits<'_>, span: Span, needed: Option<usize>) -> Check {
        if needed != Some(span.len.get() as usize) {
            return Err(StepError::Scratch);
        }
        if needed == Some(0) {
            return Ok(());
        }
        limits.arena(span, 4)?;
        if overlap(span, self.input) || overlap(span, self.output) {
            return Err(StepError::Overlap);
        }
        Ok(())
    }

    /// Bytes of one weight of an int8 layer.
    fn weight_size(&self) -> u32 {
        match self.code {
            OpCode::ConvI8W16
            | OpCode::DepthwiseI8W16
            | OpCode::FullyConnectedI8W16
            | OpCode::ConvI8W16Tflite
            | OpCode::DepthwiseI8W16Tflite
            | OpCode::FullyConnectedI8W16Tflite => 2,
            _ => 1,
        }
    }

    fn same_length(&self) -> Check {
        if self.input.len == self.output.len {
            Ok(())
        } else {
            Err(StepError::Length)
        }
    }

    fn conv(&self, window: &Window, groups: u32, size: u32) -> Check {
        let [_, _, in_c] = window.input;
        let [_, _, out_c] = window.output;
        self.window(window, size)?;
        let depthwise = matches!(
            self.code,
            OpCode::DepthwiseI8
                | OpCode::DepthwiseI8Planes
                | OpCode::DepthwiseI8Small
                | OpCode::DepthwiseI8Helium
                | OpCode::DepthwiseI8Octet
                | OpCode::DepthwiseI8W16
                | OpCode::DepthwiseI8Tflite
                | OpCode::DepthwiseI8W16Tflite
                | OpCode::DepthwiseF32
        );
        let whole = |c: u32| c.checked_rem(groups) == Some(0);
        if !whole(in_c.get()) || !whole(out_c.get()) || (depthwise && groups != in_c.get()) {
            return Err(StepError::Parameter);
        }
        Ok(())
    }

    fn window(&self, window: &Window, size: u32) -> Check {
        Geometry::new(window).ok_or(StepError::Parameter)?;
        let batch = window.batch.get();
        length(self.input, times(batch, product(&window.input)?)?, size)?;
        length(self.output, times(batch, product(&window.output)?)?, size)
    }

    fn dense(&self, [rows, input, output]: &[zerocopy::little_endian::U32; 3], size: u32) -> Check {
        length(self.input, product(&[*rows, *input])?, size)?;
        length(self.output, product(&[*rows, *output])?, size)
    }

    fn second(&self, limits: &Limits<'_>, b: &Operand, size: usize) -> Check {
        self.same_length()?;
        match b.constant.get() {
            0 => {
                limits.arena(b.span, size)?;
                if overlap(b.span, self.output) {
                    return Err(StepError::Overlap);
                }
            }
            1 => limits.constant(b.span, elements(b.span, size), size as u32)?,
            _ => return Err(StepError::Parameter),
        }
        // One period of the second operand must divide the first one.
        let period = times(b.span.len.get(), b.repeat.get())?;
        if self.input.len.get().checked_rem(period) != Some(0) {
            return Err(StepError::Length);
        }
        Ok(())
    }

    fn pool(&self, limits: &Limits<'_>, size: usize) -> Check {
        let p = self.record::<format::Pool>()?;
        self.operands(limits, size, size, Sharing::Nothing)?;
        self.window(&p.window, size as u32)?;
        if p.window.input[2] != p.window.output[2] {
            return Err(StepError::Parameter);
        }
        if self.code == OpCode::AveragePoolI8 {
            positive(p.input_scale.get())?;
            positive(p.output_scale.get())?;
            int8(&p.int8)?;
        }
        Ok(())
    }

    fn softmax(&self, limits: &Limits<'_>, row: u32, size: usize) -> Check {
        self.operands(limits, size, size, Sharing::Whole)?;
        self.same_length()?;
        let row = times(row, size as u32)?;
        if self.input.len.get().checked_rem(row) != Some(0) {
            return Err(StepError::Length);
        }
        Ok(())
    }

    fn transpose(&self, limits: &Limits<'_>, size: usize) -> Check {
        let p = self.record::<format::Transpose>()?;
        self.operands(limits, size, size, Sharing::Nothing)?;
        self.same_length()?;
        length(self.output, product(&p.dims)?, size as u32)?;
        // The last element read bounds all others.
        let mut last = 0;
        for (d, s) in p.dims.iter().zip(&p.strides) {
            last =
                u32::checked_add(last, times(d.get() - 1, s.get())?).ok_or(StepError::Parameter)?;
        }
        let elements = elements(self.input, size);
        if last < elements {
            Ok(())
        } else {
            Err(StepError::Length)
        }
    }

    fn pad(&self, limits: &Limits<'_>, size: usize) -> Check {
        let p = self.record::<format::Pad>()?;
        self.operands(limits, size, size, Sharing::Nothing)?;
        length(self.input, product(&p.dims)?, size as u32)?;
        let mut out = 1u32;
        for ((d, b), a) in p.dims.iter().zip(&p.before).zip(&p.after) {
            out = times(out, plus(d.get(), plus(b.get(), a.get())?)?)?;
        }
        length(self.output, out, size as u32)
    }

    /// Blocks that are back to back in `dense` and at their distances in `spread`.
    fn blocks(&self, limits: &Limits<'_>, dense: Span, spread: Span) -> Check {
        let p = self.record::<format::Blocks>()?;
        self.operands(limits, 1, 1, Sharing::Nothing)?;
        let [block, stride, offset] = [p.block, p.stride, p.offset].map(|v| v.get());
        let (dense, spread) = (dense.len.get(), spread.len.get());
        let blocks = dense.checked_div(block).ok_or(StepError::Parameter)?;
        let fits = plus(offset, block)? <= stride
            && blocks * block == dense
            && times(blocks, stride)? == spread;
        if fits { Ok(()) } else { Err(StepError::Length) }
    }
}

impl Limits<'_> {
    fn arena(&self, span: Span, size: usize) -> Check {
        inside(span, self.arena, size, StepError::OutsideArena)
    }

    /// `span` holds `count` elements of `size` bytes in the data section.
    fn constant(&self, span: Span, count: u32, size: u32) -> Check {
        inside(span, self.data.len(), size as usize, StepError::OutsideData)?;
        length(span, count, size)
    }
}

fn inside(span: Span, limit: usize, size: usize, outside: StepError) -> Check {
    let range = span.range().ok_or(outside)?;
    if range.is_empty() || range.end > limit {
        return Err(outside);
    }
    // `size` is 1, 2 or 4: a mask, since a remainder by a variable would need a zero check.
    if (range.start | range.len()) & (size - 1) != 0 {
        return Err(StepError::Misaligned);
    }
    Ok(())
}

fn overlap(a: Span, b: Span) -> bool {
    match (a.range(), b.range()) {
        (Some(a), Some(b)) => a.start < b.end && b.start < a.end,
        _ => true,
    }
}

fn times(a: u32, b: u32) -> Result<u32, StepError> {
    a.checked_mul(b).ok_or(StepError::Parameter)
}

fn plus(a: u32, b: u32) -> Result<u32, StepError> {
    a.checked_add(b).ok_or(StepError::Parameter)
}

/// Elements of `size` bytes, 1, 2 or 4, in a span.
fn elements(span: Span, size: usize) -> u32 {
    span.len.get().wrapping_shr(size.trailing_zeros())
}

/// The product of dimensions, all of which must be positive.
fn product(dims: &[zerocopy::little_endian::U32]) -> Result<u32, StepError> {
    let n = dims.iter().try_fold(1u32, |n, d| n.checked_mul(d.get()));
    n.filter(|&n| n > 0).ok_or(StepError::Parameter)
}

/// Output pixels of all images.
fn pixels(window: &Window) -> u64 {
    let [height, width, _] = window.output;
    macs_of(&[window.batch, height, width])
}

fn macs_of(dims: &[zerocopy::little_endian::U32]) -> u64 {
    dims.iter()
        .fold(1, |n: u64, d| n.saturating_mul(d.get().into()))
}

fn length(span: Span, count: u32, size: u32) -> Check {
    if times(count, size)? == span.len.get() {
        Ok(())
    } else {
        Err(StepError::Length)
    }
}

fn conv_weights(window: &Window, groups: u32) -> Result<u32, StepError> {
    let [kh, kw] = window.kernel;
    let per_group = window.input[2]
        .get()
        .checked_div(groups)
        .ok_or(StepError::Parameter)?;
    product(&[
        window.output[2],
        u32::from(kh.get()).into(),
        u32::from(kw.get()).into(),
        per_group.into(),
    ])
}

fn byte(value: i32) -> Check {
    i8::try_from(value)
        .map(|_| ())
        .map_err(|_| StepError::Parameter)
}

fn int8(p: &format::Int8) -> Check {
    for value in [p.input_zero_point, p.output_zero_point, p.min, p.max] {
        byte(value.get())?;
    }
    if p.min.get() <= p.max.get() {
        Ok(())
    } else {
        Err(StepError::Parameter)
    }
}

fn positive(scale: f32) -> Check {
    if scale > 0.0 && scale.is_finite() {
        Ok(())
    } else {
        Err(StepError::Parameter)
    }
}

fn affine(p: &format::Affine) -> Check {
    positive(p.scale.get())?;
    byte(p.zero_point.get())
}
