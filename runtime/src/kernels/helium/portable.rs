//! Layers with Helium weights on any core.

use super::{Depthwise, Helium, TAPS, block_len};
use crate::format;
use crate::kernels::patch::{Packed, Residual, conv_packed, dense_packed};
use crate::kernels::{Geometry, Io};
use crate::requantize::Output;
use core::num::NonZeroUsize;

impl Packed for Helium<'_> {
    fn block(&self, block: usize, patch: &[i8]) -> Option<[(i32, f32); 4]> {
        let [kernel_h, kernel_w, depth] = self.window;
        let len = NonZeroUsize::new(block_len(patch.len())?)?;
        let block = self.blocks.rchunks_exact(len.get()).nth(block)?;
        let (bias, rest) = block.split_first_chunk::<16>()?;
        let (weights, multipliers) = rest.split_last_chunk::<16>()?;
        let words = |bytes: &[u8; 16]| {
            let [a, b, c, d] = *bytes.as_chunks::<4>().0 else {
                return None;
            };
            Some([a, b, c, d])
        };
        let mut sums = words(bias)?.map(i32::from_le_bytes);
        // The patch is `[kernel height][kernel width][channels]`.
        let mut taps = patch.iter();
        for ky in 0..kernel_h.get() {
            for kx in 0..kernel_w.get() {
                for (c, &x) in taps.by_ref().take(depth.get()).enumerate() {
                    let tap = (kx * kernel_h.get() + ky) * depth.get() + c;
                    let group = weights.as_chunks::<64>().0.get(tap / TAPS)?;
                    for (sum, w) in sums.iter_mut().zip(group.as_chunks::<TAPS>().0) {
                        let w = i32::from(*w.get(tap % TAPS)? as i8);
                        *sum = sum.wrapping_add(w.wrapping_mul(x.into()));
                    }
                }
            }
        }
        let [m0, m1, m2, m3] = words(multipliers)?.map(f32::from_le_bytes);
        let [s0, s1, s2, s3] = sums;
        Some([(s0, m0), (s1, m1), (s2, m2), (s3, m3)])
    }
}

/// Convolution with Helium weights, in place if it is pointwise; `residual` is added if there is one. `scratch` has the
/// bytes that [`crate::kernels::scratch::conv`] says.
#[inline(never)]
pub fn conv_helium(
    g: &Geometry,
    weights: &Helium<'_>,
    int8: &format::Int8,
    residual: Option<&format::Residual>,
    io: &mut Io<'_>,
    scratch: &mut [i8],
) -> Option<()> {
    let (zero_point, output) = (int8.input_zero_point.get() as i8, Output::from(int8));
    let residual = residual.map(Residual::from);
    conv_packed(
        g,
        weights,
        zero_point,
        output,
        io,
        scratch,
        residual.as_ref(),
    )
}

/// Fully connected layer with Helium weights over rows of `inputs` elements. `scratch` has the bytes that
/// [`crate::kernels::scratch::dense`] says.
#[inline(never)]
pub fn dense_helium(
    [inputs, outputs]: [usize; 2],
    weights: &Helium<'_>,
    int8: &format::Int8,
    x: &[i8],
    y: &mut [i8],
    _: &mut [i8],
) -> Option<()> {
    dense_packed(inputs, outputs, weights, Output::from(int8), x, y)
}

/// Depthwise convolution with Helium weights, channel by channel. `scratch` has the bytes that
/// [`crate::kernels::scratch::depthwise`] says.
#[inline(never)]
pub fn depthwise_helium(
    g: &Geometry,
    layer: &Depthwise<'_>,
    io: &mut Io<'_>,
    scratch: &mut [i8],
) -> Option<()> {
    let [in_h, in_w, channels] = g.input.map(NonZeroUsize::get);
    let [out_h, out_w, _] = g.output.map(NonZeroUsize::get);
    let output = Output::from(layer.int8);
    let padding = layer.int8.input_zero_point.get() as i8;
    let in_place = matches!(io, Io::InPlace(_));
    // In place, the input rows that this row of outputs and the one before have overwritten.
    let (above, rest) = scratch.split_at_mut_checked(in_w)?;
    let here = rest.get_mut(..in_w)?;
    let out_image_len = out_h.checked_mul(out_w)?.checked_mul(channels)?;
    for batch in 0..g.batch {
        let image = batch.checked_mul(g.image_len())?;
        let out_image = batch.checked_mul(out_image_len)?;
        for c in 0..channels {
            let first = c.checked_mul(TAPS)?.checked_add(4)?;
            let weights: &[i8; TAPS] = layer.weights.get(first..)?.first_chunk()?;
            let (bias, multiplier) = (*layer.bias.get(c)?, *layer.multipliers.get(c)?);
            for oy in 0..out_h {
                if in_place {
                    above.copy_from_slice(here);
                    for (x, here) in here.iter_mut().enumerate() {
                        *here = *io.input().get(image + (oy * in_w + x) * channels + c)?;
                    }
                }
                for ox in 0..out_w {
                    let mut sum = bias;
                    for (kx, column) in weights.as_chunks::<4>().0.iter().take(3).enumerate() {
                        for (ky, w) in column.iter().take(3).enumerate() {
                            let iy = (oy * g.stride[0].get() + ky).wrapping_sub(g.pad[0]);
                            let ix = (ox * g.stride[1].get() + kx).wrapping_sub(g.pad[1]);
                            let x = if iy >= in_h || ix >= in_w {
                                padding
                            } else if in_place && iy <= oy {
                                *if iy == oy { &*here } else { &*above }.get(ix)?
                            } else {
                                *io.input().get(image + (iy * in_w + ix) * channels + c)?
                            };
                            sum = sum.wrapping_add(i32::from(*w).wrapping_mul(x.into()));
                        }
                    }
                    let at = out_image + (oy * out_w + ox) * channels + c;
                    *io.output().get_mut(at)? = output.requantize(sum, multiplier);
                }
            }
        }
    }
    Some(())
}
