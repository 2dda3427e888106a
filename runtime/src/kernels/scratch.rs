//! How much working memory a step takes: the one definition for the compiler, which reserves it, and for the checks.

use super::{Geometry, helium, octet, sparse};
use crate::format::OpCode;
use crate::requantize::fixed::Block;

/// How an int8 layer's weights are stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// `[out_c][kh][kw][in_c/groups]`.
    Plain,
    /// See [`super::split`].
    Split,
    /// See [`super::quad`].
    Quad,
    /// See [`super::helium`].
    Helium,
    /// See [`super::wide`].
    Wide,
    /// See [`super::sparse`].
    Sparse,
    /// See [`super::octet`].
    Octet,
}

impl Form {
    /// How the layer's operator wants its weights; `Plain` also for all other operators.
    pub fn of(code: OpCode) -> Form {
        use OpCode as O;
        match code {
            O::ConvI8Split | O::ConvAddI8Split | O::FullyConnectedI8Split => Form::Split,
            O::ConvI8Quad | O::ConvAddI8Quad | O::FullyConnectedI8Quad => Form::Quad,
            O::ConvI8Helium
            | O::ConvAddI8Helium
            | O::FullyConnectedI8Helium
            | O::DepthwiseI8Helium => Form::Helium,
            O::ConvI8Wide | O::ConvAddI8Wide | O::FullyConnectedI8Wide => Form::Wide,
            O::ConvI8Sparse | O::ConvAddI8Sparse | O::FullyConnectedI8Sparse => Form::Sparse,
            O::ConvI8Octet | O::ConvAddI8Octet | O::FullyConnectedI8Octet | O::DepthwiseI8Octet => {
                Form::Octet
            }
            _ => Form::Plain,
        }
    }
}

/// Bytes for a convolution with weights of `form`, whose results are added to a residual or not. `None` when the
/// number does not fit.
///
/// A plain convolution may also run without scratch, but then neither in place nor by its fastest kernel.
pub fn conv(form: Form, g: &Geometry, adds: bool) -> Option<usize> {
    let taps = g.window_len()?.get();
    let patch = match form {
        Form::Plain => taps.checked_next_multiple_of(16)?.checked_mul(2)?,
        // Bytes, and the same, or columns of a row, as pairs of 16-bit numbers.
        Form::Split | Form::Wide => {
            let patch = taps.checked_next_multiple_of(4)?;
            let columns = match row_pairs(g) {
                Some(pairs) => row_columns(g, pairs)?.checked_mul(g.input[2].get())?,
                None => patch,
            };
            patch.checked_mul(2)?.checked_add(columns.checked_mul(4)?)?
        }
        // Two patches, and the multipliers in fixed point.
        Form::Quad => {
            let blocks = g.output[2].get().div_ceil(4);
            let patches = taps.checked_next_multiple_of(4)?.checked_mul(2)?;
            patches.checked_add(blocks.checked_mul(size_of::<Block>())?)?
        }
        Form::Helium => return helium::conv_scratch(g, adds),
        Form::Sparse => return sparse::conv_scratch(g),
        Form::Octet => return octet::conv_scratch(g),
    };
    let results = if adds {
        g.output[2].get().checked_mul(2)?
    } else {
        0
    };
    patch.checked_add(results)?.checked_next_multiple_of(4)
}

/// For kernels of one line and several columns, with split or wide weights: how many pairs of pixels of a row have their columns
/// expanded at once. `None` for all others.
pub(super) fn row_pairs(g: &Geometry) -> Option<usize> {
    /// More take more memory than they save time.
    const MOST: usize = 4;
    let line = g.kernel[0].get() == 1
        && g.kernel[1].get() > 1
        && g.dilation[1].get() == 1
        && g.pad[0] == 0
        && (g.output[0].get() - 1).checked_mul(g.stride[0].get())? < g.input[0].get()
        && g.input[2].get().is_multiple_of(4);
    line.then(|| (g.output[1].get() / 2).clamp(1, MOST))
}

/// Columns that the patches of so many pairs of pixels take, side by side.
pub(super) fn row_columns(g: &Geometry, pairs: usize) -> Option<usize> {
    pairs
        .checked_sub(1)?
        .checked_mul(g.stride[1].get())?
        .checked_mul(2)?
        .checked_add(g.kernel[1].get())
}

/// Bytes for a depthwise convolution with weights of `form`, by planes or as Helium does it; `None` where it cannot run so, and
/// then it can neither have scratch nor run in place. See [`super::planes`], [`super::helium`].
pub fn depthwise(form: Form, g: &Geometry) -> Option<usize> {
    match form {
        Form::Helium => helium::depthwise_scratch(g),
        Form::Octet => octet::depthwise_scratch(g),
        _ => super::planes::Planes::new(g)?.bytes(),
    }
}

/// Whether a depthwise convolution with scratch may write where it reads.
pub fn depthwise_in_place(form: Form, g: &Geometry) -> bool {
    match form {
        Form::Helium => helium::depthwise_in_place(g),
        form => form != Form::Octet,
    }
}

/// Bytes for a fully connected layer with rows of `inputs` and `outputs` elements.
pub fn dense(form: Form, inputs: usize, outputs: usize) -> Option<usize> {
    match form {
        // Rows are read in words.
        Form::Split if !inputs.is_multiple_of(4) => inputs.checked_next_multiple_of(4),
        Form::Helium => helium::dense_scratch(inputs, outputs),
        Form::Octet => octet::dense_scratch(inputs),
        _ => Some(0),
    }
}
