//! Reference kernels: one per operator, in safe, portable Rust. They are the specification and the oracle; faster ones
//! are compared with them byte for byte.
//!
//! Layout is `[batch, height, width, channels]`. Kernels return `None` instead of panicking when slices do not fit the
//! geometry; for a parsed plan that cannot happen.

pub mod coded;
mod conv;
#[cfg(kinglet_dsp)]
mod dsp;
mod elementwise;
mod functions;
mod gather;
pub mod helium;
mod io;
mod matmul;
mod movement;
#[cfg(kinglet_mve)]
mod mve;
#[cfg(target_arch = "aarch64")]
mod neon;
pub mod octet;
pub mod panel;
pub(crate) mod parts;
pub mod patch;
#[cfg(any(test, feature = "std"))]
pub mod peak;
pub mod planes;
mod pool;
pub mod quad;
mod recurrent;
mod reduce;
#[cfg(kinglet_rv32m)]
mod riscv;
mod runs;
pub mod scratch;
mod select;
mod softmax;
pub mod sparse;
pub mod split;
#[cfg(test)]
mod testing;
mod tflite;
#[cfg(kinglet_armv7m)]
mod thumb;
pub mod wide;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use conv::{Arithmetic, Float, Int8, conv, dense, depthwise};
#[cfg(kinglet_dsp)]
pub use dsp::{Dsp as DepthwiseLanes, conv_split, conv_wide, dense_split};
pub use elementwise::{
    add_i8, binary_f32, clamp, dequantize, lookup_i8, mul_i8, quantize, unary_f32,
};
pub use elementwise::{hard_sigmoid, hard_swish, leaky_relu, sigmoid};
pub use functions::{maximum, minimum, sign, truth};
#[cfg(not(kinglet_mve))]
pub use helium::{conv_helium, dense_helium, depthwise_helium};
pub use io::Io;
pub use matmul::matmul_f32;
pub use movement::{pad, place, take, transpose};
#[cfg(kinglet_mve)]
pub use mve::{conv_helium, dense_helium, depthwise_helium};
#[cfg(not(any(kinglet_dsp, kinglet_armv7m)))]
pub use planes::Portable as DepthwiseLanes;
pub use pool::{Average, average_pool, average_pool_i8, max_pool};
pub use recurrent::{Cell, Recurrent};
pub use reduce::{index_of, reduce, resample};
pub use select::{gather, pick, select_f32, strided};
pub use softmax::{softmax_f32, softmax_i8};
pub use sparse::{conv_sparse, dense_sparse};
#[cfg(not(kinglet_dsp))]
pub use split::{conv_split, dense_split};
pub use tflite::{
    SUM_SHIFT, Term, Tflite, add_i8_tflite, average_pool_i8_tflite, mean_i8_tflite, mul_i8_tflite,
    quantize_tflite, softmax_i8_tflite,
};
#[cfg(kinglet_armv7m)]
pub use thumb::Thumb as DepthwiseLanes;
#[cfg(not(kinglet_dsp))]
pub use wide::conv_wide;

use crate::format::Window;
use core::num::NonZeroUsize;
use core::ops::Range;

/// A [`Window`] in the machine's own numbers; dimensions are positive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Geometry {
    /// Batch.
    pub batch: usize,
    /// Input height, width, channels.
    pub input: [NonZeroUsize; 3],
    /// Output height, width, channels.
    pub output: [NonZeroUsize; 3],
    /// Kernel, vertical and horizontal.
    pub kernel: [NonZeroUsize; 2],
    /// Stride, vertical and horizontal.
    pub stride: [NonZeroUsize; 2],
    /// Dilation, vertical and horizontal.
    pub dilation: [NonZeroUsize; 2],
    /// Padding before, vertical and horizontal.
    pub pad: [usize; 2],
}

/// The part of a kernel that meets the input, along one axis, for one output position.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Taps {
    /// First kernel index inside the input.
    pub start: usize,
    /// One past the last kernel index inside the input.
    pub end: usize,
    /// Input position of kernel index `start`; 0 when there is none.
    pub position: usize,
}

impl Taps {
    /// Kernel indices inside the input.
    pub fn range(&self) -> Range<usize> {
        self.start..self.end
    }

    /// Number of kernel indices inside the input.
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether the kernel lies wholly in the padding.
    pub fn is_empty(&self) -> bool {
        self.start >= self.end
    }
}

impl Geometry {
    /// From a record; `None` when a dimension, stride, dilation or kernel size is 0.
    pub fn new(window: &Window) -> Option<Geometry> {
        let three = |a: [zerocopy::little_endian::U32; 3]| {
            let [h, w, c] = a.map(|v| NonZeroUsize::new(v.get() as usize));
            Some([h?, w?, c?])
        };
        let two = |a: [zerocopy::little_endian::U16; 2]| {
            let [v, h] = a.map(|v| NonZeroUsize::new(v.get().into()));
            Some([v?, h?])
        };
        Some(Geometry {
            batch: window.batch.get() as usize,
            input: three(window.input)?,
            output: three(window.output)?,
            kernel: two(window.kernel)?,
            stride: two(window.stride)?,
            dilation: two(window.dilation)?,
            pad: window.pad.map(|v| v.get().into()),
        })
    }

    /// Taps of one output pixel over all input channels; `None` when the number does not fit.
    pub fn window_len(&self) -> Option<NonZeroUsize> {
        let [height, width] = self.kernel;
        height.checked_mul(width)?.checked_mul(self.input[2])
    }

    /// Whether each output pixel depends on the input pixel at the same place only.
    pub fn pointwise(&self) -> bool {
        let ones = |a: [NonZeroUsize; 2]| a == [NonZeroUsize::MIN; 2];
        ones(self.kernel)
            && ones(self.stride)
            && self.pad == [0; 2]
            && self.input.first_chunk::<2>() == self.output.first_chunk::<2>()
    }

    /// The same pointwise convolution with all pixels in one row.
    pub fn as_row(&self) -> Option<Geometry> {
        let [in_h, in_w, in_c] = self.input;
        let width = in_h
            .checked_mul(in_w)?
            .checked_mul(NonZeroUsize::new(self.batch)?)?;
        Some(Geometry {
            batch: 1,
            input: [NonZeroUsize::MIN, width, in_c],
            output: [NonZeroUsize::MIN, width, self.output[2]],
            ..*self
        })
    }

    /// Which rows of the kernel meet the input for output row `y`.
    pub fn vertical(&self, y: usize) -> Taps {
        self.taps(0, y)
    }

    /// Which columns of the kernel meet the input for output column `x`.
    pub fn horizontal(&self, x: usize) -> Taps {
        self.taps(1, x)
    }

    #[inline(never)]
    fn taps(&self, axis: usize, output: usize) -> Taps {
        let (input, kernel) = match axis {
            0 => (self.input[0].get(), self.kernel[0].get()),
            _ => (self.input[1].get(), self.kernel[1].get()),
        };
        let (stride, dilation, pad) = match axis {
            0 => (self.stride[0], self.dilation[0], self.pad[0]),
            _ => (self.stride[1], self.dilation[1], self.pad[1]),
        };
        // In coordinates shifted by `pad`, the input is pad .. pad + input and the kernel starts at `origin`.
        let origin = output.wrapping_mul(stride.get());
        let ceil = |n: usize| n.wrapping_add(dilation.get() - 1) / dilation;
        let start = ceil(pad.saturating_sub(origin)).min(kernel);
        let end = ceil(input.wrapping_add(pad).saturating_sub(origin)).min(kernel);
        if start >= end {
            return Taps {
                start,
                end: start,
                position: 0,
            };
        }
        let position = origin
            .wrapping_add(start.wrapping_mul(dilation.get()))
            .wrapping_sub(pad);
        Taps {
            start,
            end,
            position,
        }
    }

    /// Elements of one input image.
    pub fn image_len(&self) -> usize {
        let [h, w, c] = self.input;
        h.get().wrapping_mul(w.get()).wrapping_mul(c.get())
    }
}
