//! Depthwise convolution by planes, in place.
//!
//! Channels are taken apart, four at a time: each channel's pixels go as 16-bit numbers into a plane of its own, with the
//! padding around them. There a row of taps is one run of memory, and products pair up. Since each channel's results depend on
//! that channel only, they may replace its pixels: no other output needs them any more.
//!
//! A plane that is too large for the budget holds a band of rows; the rows that the next band needs as well move up.

use super::conv::{Arithmetic, Int8};
use super::parts::parts_mut;
use super::{Geometry, Io};
use crate::requantize::{Multiplier, Output};
use core::num::NonZeroUsize;
use zerocopy::{FromBytes, IntoBytes};

/// Channels taken apart at a time.
pub const LANES: usize = 4;
/// Bytes of planes that are never exceeded but for a kernel's own height.
const BUDGET: usize = 6144;

/// One direction of a depthwise convolution.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Axis {
    /// Input positions.
    pub input: usize,
    /// Output positions.
    pub output: usize,
    /// Taps.
    pub kernel: usize,
    /// Input positions from one output to the next.
    pub stride: NonZeroUsize,
    /// Padding before.
    pub pad: usize,
    /// Bytes from one input position to the next.
    pub x_step: usize,
    /// Bytes from one output position to the next.
    pub y_step: usize,
    /// Weights from one tap to the next.
    pub w_step: usize,
}

/// How a depthwise convolution is cut into planes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Planes {
    /// Direction across the rows of a plane.
    pub outer: Axis,
    /// Direction along a row of a plane: the longer one, if whole planes fit.
    pub inner: Axis,
    /// Elements of a row, an even number.
    pub pitch: usize,
    /// Rows of a plane.
    pub rows: usize,
    /// Output rows that a plane is good for.
    pub band: usize,
}

impl Planes {
    /// `None` for convolutions that cannot run so: dilated ones, those with several output channels an input channel, and
    /// those whose output is larger than their input.
    pub fn new(g: &Geometry) -> Option<Planes> {
        let [in_h, in_w, in_c] = g.input.map(NonZeroUsize::get);
        let [out_h, out_w, out_c] = g.output.map(NonZeroUsize::get);
        let [kernel_h, kernel_w] = g.kernel.map(NonZeroUsize::get);
        let [pad_h, pad_w] = g.pad;
        let small = out_h <= in_h && out_w <= in_w && pad_h < kernel_h && pad_w < kernel_w;
        if g.dilation.map(NonZeroUsize::get) != [1; 2] || in_c != out_c || !small {
            return None;
        }
        let vertical = Axis {
            input: in_h,
            output: out_h,
            kernel: kernel_h,
            stride: g.stride[0],
            pad: pad_h,
            x_step: in_w.checked_mul(in_c)?,
            y_step: out_w.checked_mul(in_c)?,
            w_step: kernel_w.checked_mul(in_c)?,
        };
        let horizontal = Axis {
            input: in_w,
            output: out_w,
            kernel: kernel_w,
            stride: g.stride[1],
            pad: pad_w,
            x_step: in_c,
            y_step: in_c,
            w_step: in_c,
        };
        // Upright planes are better for what is taller than wide.
        let first = if out_h > out_w { 0 } else { 1 };
        for (outer, inner) in [(horizontal, vertical), (vertical, horizontal)]
            .iter()
            .skip(first)
        {
            let planes = Planes::with_band(*outer, *inner, outer.output)?;
            if planes.bytes()? <= BUDGET {
                return Some(planes);
            }
        }
        let least = Planes::with_band(vertical, horizontal, 1)?;
        let row = least.pitch.checked_mul(LANES * 2)?;
        let more = BUDGET.saturating_sub(least.bytes()?).checked_div(row)?;
        let band = (more / vertical.stride).checked_add(1)?.min(out_h);
        Planes::with_band(vertical, horizontal, band)
    }

    fn with_band(outer: Axis, inner: Axis, band: usize) -> Option<Planes> {
        let reach = |axis: &Axis, outputs: usize| {
            (outputs.checked_sub(1)?.checked_mul(axis.stride.get())?).checked_add(axis.kernel)
        };
        // Outputs are made in pairs; the last one's partner reads beyond what is needed.
        let pairs = inner.output.checked_next_multiple_of(2)?;
        let padded = inner.input.checked_add(inner.pad)?;
        Some(Planes {
            outer,
            inner,
            pitch: reach(&inner, pairs)?
                .max(padded)
                .checked_next_multiple_of(2)?,
            rows: reach(&outer, band)?,
            band,
        })
    }

    /// Bytes of all planes.
    pub fn bytes(&self) -> Option<usize> {
        self.pitch.checked_mul(self.rows)?.checked_mul(LANES * 2)
    }
}

/// Pixels to take apart: a rectangle of the input, and where it goes.
#[derive(Clone, Copy, Debug)]
pub struct Patch {
    /// First byte in the input.
    pub from: usize,
    /// Rows and pixels of a row.
    pub size: [usize; 2],
    /// Bytes from one row to the next, and from one pixel to the next.
    pub step: [usize; 2],
    /// First element in the first plane.
    pub to: usize,
    /// Elements from one row of a plane to the next.
    pub pitch: usize,
    /// Elements from one plane to the next.
    pub plane: usize,
    /// Channels, at most [`LANES`].
    pub lanes: usize,
}

/// Planes of some channels, and where their results go.
#[derive(Debug)]
pub struct Band<'a> {
    /// `[LANES][rows][pitch]`, from the first output's first tap on.
    pub buffer: &'a [i16],
    /// How planes are cut.
    pub planes: &'a Planes,
    /// Output rows.
    pub outputs: usize,
    /// The first channel.
    pub channel: usize,
    /// Channels, at most [`LANES`].
    pub lanes: usize,
    /// Where in `y` the first result goes.
    pub at: usize,
}

impl Band<'_> {
    /// Applies the layer's bounds to results that have saturated to int8 already.
    #[cfg(any(kinglet_dsp, kinglet_armv7m))]
    pub(super) fn clamp(&self, layer: &Int8<'_, i8>, y: &mut [i8]) -> Option<()> {
        let Planes { outer, inner, .. } = self.planes;
        if layer.output.saturates() {
            return Some(());
        }
        let mut at = self.at;
        for _ in 0..self.outputs {
            let mut to = at;
            for _ in 0..inner.output {
                layer.output.clamp(y.get_mut(to..)?.get_mut(..self.lanes)?);
                to = to.wrapping_add(inner.y_step);
            }
            at = at.wrapping_add(outer.y_step);
        }
        Some(())
    }
}

/// Whether a depthwise convolution is of the shape that instruction sets have loops for: kernels of 3×3, strides of 1 or 2.
pub fn is_small(g: &Geometry) -> bool {
    g.kernel.map(NonZeroUsize::get) == [3, 3] && g.stride.iter().all(|s| s.get() <= 2)
}

/// The two inner loops, which instruction sets have their own of. With `SMALL` the convolution [`is_small`], and what others need is not
/// linked.
pub trait Lanes {
    /// Copies pixels to planes.
    fn take_apart(x: &[i8], patch: &Patch, planes: &mut [i16]) -> Option<()> {
        portable_take_apart(x, patch, planes)
    }

    /// Results of a band.
    fn convolve<const SMALL: bool>(
        layer: &Int8<'_, i8>,
        band: &Band<'_>,
        y: &mut [i8],
    ) -> Option<()> {
        portable_convolve::<SMALL>(layer, band, y)
    }
}

/// The loops in portable Rust.
#[derive(Debug)]
pub struct Portable;

impl Lanes for Portable {}

#[inline(never)]
pub(super) fn portable_take_apart(x: &[i8], patch: &Patch, planes: &mut [i16]) -> Option<()> {
    let [rows, count] = patch.size;
    let [down, right] = patch.step;
    for row in 0..rows {
        let from = patch.from.wrapping_add(row.wrapping_mul(down));
        let to = patch.to.wrapping_add(row.wrapping_mul(patch.pitch));
        for i in 0..count {
            let pixel = x
                .get(from.wrapping_add(i.wrapping_mul(right))..)?
                .get(..patch.lanes)?;
            for (lane, &value) in pixel.iter().enumerate() {
                let element = to
                    .wrapping_add(i)
                    .wrapping_add(lane.wrapping_mul(patch.plane));
                *planes.get_mut(element)? = value.into();
            }
        }
    }
    Some(())
}

#[inline(never)]
pub(super) fn portable_convolve<const SMALL: bool>(
    layer: &Int8<'_, i8>,
    band: &Band<'_>,
    y: &mut [i8],
) -> Option<()> {
    let Planes {
        outer,
        inner,
        pitch,
        rows,
        ..
    } = band.planes;
    let (pitch, rows) = (*pitch, *rows);
    let planes = band
        .buffer
        .chunks_exact(NonZeroUsize::new(pitch.checked_mul(rows)?)?.get());
    for (lane, plane) in planes.take(band.lanes).enumerate() {
        let channel = band.channel.wrapping_add(lane);
        let weights = layer.weights.get(channel..)?;
        let results = Results {
            bias: layer.start(channel)?,
            multiplier: Multiplier::new(*layer.multipliers.get(channel)?),
            output: &layer.output,
            count: inner.output,
            step: inner.y_step,
        };
        let small = small_kernel(outer, inner, weights);
        for o in 0..band.outputs {
            let row = plane.get(o.wrapping_mul(outer.stride.get()).wrapping_mul(pitch)..)?;
            let at = band
                .at
                .wrapping_add(lane)
                .wrapping_add(o.wrapping_mul(outer.y_step));
            let y = y.get_mut(at..)?;
            match &small {
                Some(weights) => results.small(weights, row, pitch, inner.stride.get(), y)?,
                None if SMALL => return None,
                None => results.any(weights, outer, inner, row, pitch, y)?,
            }
        }
    }
    Some(())
}

/// The weights of a 3×3 kernel, rows first; `None` for other kernels, and where such kernels have a loop in assembly.
fn small_kernel(outer: &Axis, inner: &Axis, weights: &[i8]) -> Option<[[i32; 3]; 3]> {
    let elsewhere = cfg!(any(kinglet_dsp, kinglet_armv7m));
    if elsewhere || [outer.kernel, inner.kernel] != [3, 3] {
        return None;
    }
    let mut small = [[0; 3]; 3];
    for (k, row) in small.iter_mut().enumerate() {
        for (l, w) in row.iter_mut().enumerate() {
            let at = k
                .wrapping_mul(outer.w_step)
                .wrapping_add(l.wrapping_mul(inner.w_step));
            *w = (*weights.get(at)?).into();
        }
    }
    Some(small)
}

/// One row of a channel's results.
struct Results<'a> {
    bias: i32,
    multiplier: Multiplier,
    output: &'a Output,
    count: usize,
    /// Bytes from one result to the next.
    step: usize,
}

impl Results<'_> {
    /// A 3×3 kernel, whose weights stay in registers.
    fn small(
        &self,
        weights: &[[i32; 3]; 3],
        row: &[i16],
        pitch: usize,
        stride: usize,
        y: &mut [i8],
    ) -> Option<()> {
        let [w0, w1, w2] = weights;
        let (above, below) = row.split_at_checked(pitch)?;
        let (below, last) = below.split_at_checked(pitch)?;
        let dot = |row: &[i16], at: usize, w: &[i32; 3]| {
            let x = row.get(at..)?.first_chunk::<3>()?;
            let products = x.iter().zip(w).map(|(&x, w)| i32::from(x).wrapping_mul(*w));
            Some(products.fold(0, i32::wrapping_add))
        };
        let (mut at, mut to) = (0usize, 0usize);
        for _ in 0..self.count {
            let sum = self.bias.wrapping_add(dot(above, at, w0)?);
            let sum = sum
                .wrapping_add(dot(below, at, w1)?)
                .wrapping_add(dot(last, at, w2)?);
            *y.get_mut(to)? = self.multiplier.requantize(sum, self.output);
            at = at.wrapping_add(stride);
            to = to.wrapping_add(self.step);
        }
        Some(())
    }

    /// Any kernel.
    fn any(
        &self,
        weights: &[i8],
        outer: &Axis,
        inner: &Axis,
        row: &[i16],
        pitch: usize,
        y: &mut [i8],
    ) -> Option<()> {
        for i in 0..self.count {
            let mut sum = self.bias;
            for k in 0..outer.kernel {
                let start = k
                    .wrapping_mul(pitch)
                    .wrapping_add(i.wrapping_mul(inner.stride.get()));
                let taps = row.get(start..)?.get(..inner.kernel)?;
                for (l, &x) in taps.iter().enumerate() {
                    let w = k
                        .wrapping_mul(outer.w_step)
                        .wrapping_add(l.wrapping_mul(inner.w_step));
                    let product = i32::from(x).wrapping_mul((*weights.get(w)?).into());
                    sum = sum.wrapping_add(product);
                }
            }
            let y = y.get_mut(i.wrapping_mul(self.step))?;
            *y = self.multiplier.requantize(sum, self.output);
        }
        Some(())
    }
}

/// Depthwise convolution, in place or not. Weights are `[kh][kw][c]`; `scratch` has [`super::scratch::depthwise`] bytes.
#[inline(never)]
pub fn depthwise_planes<L: Lanes, const SMALL: bool>(
    g: &Geometry,
    layer: &Int8<'_, i8>,
    io: &mut Io<'_>,
    scratch: &mut [i8],
) -> Option<()> {
    let planes = Planes::new(g)?;
    let Planes {
        outer,
        inner,
        pitch,
        rows,
        band,
    } = planes;
    let buffer = <[i16]>::mut_from_bytes(scratch.as_mut_bytes()).ok()?;
    let plane = NonZeroUsize::new(pitch.checked_mul(rows)?)?;
    let buffer = buffer.get_mut(..plane.get().checked_mul(LANES)?)?;
    let channels = g.input[2].get();
    let images = [
        g.image_len(),
        outer
            .output
            .checked_mul(inner.output)?
            .checked_mul(channels)?,
    ];
    let zero = layer.input_zero_point as i16;
    let stride = outer.stride.get();
    let advance = band.checked_mul(stride).filter(|&rows| rows > 0)?;
    let keep = rows.saturating_sub(advance);
    // Padding beside the rows, and around whole planes, stays where it is.
    buffer.fill(zero);
    for batch in 0..g.batch {
        let [x_at, y_at] = images.map(|image| batch.wrapping_mul(image));
        // Loops with steps of their own take a fraction of the code that iterators do here.
        let mut channel = 0;
        while channel < channels {
            let lanes = (channels - channel).min(LANES);
            let mut first = 0;
            while first < outer.output {
                // Buffer row 0 is this row of the padded input; rows before `fresh` are there already.
                let top = first.wrapping_mul(stride);
                let fresh = if first > 0 { keep } else { 0 };
                let inside = outer.pad.saturating_sub(top).max(fresh)
                    ..outer
                        .pad
                        .wrapping_add(outer.input)
                        .saturating_sub(top)
                        .min(rows);
                if band < outer.output {
                    for plane in parts_mut(buffer, plane) {
                        if first > 0 {
                            shift(plane, pitch, advance);
                        }
                        let mut pad = |from: usize, to: usize| {
                            let rows = from.wrapping_mul(pitch)..to.wrapping_mul(pitch);
                            if let Some(rows) = plane.get_mut(rows) {
                                rows.fill(zero);
                            }
                        };
                        pad(fresh, inside.start);
                        pad(inside.end.max(fresh), rows);
                    }
                }
                if !inside.is_empty() {
                    let line = top.wrapping_add(inside.start).wrapping_sub(outer.pad);
                    let patch = Patch {
                        from: x_at
                            .wrapping_add(line.wrapping_mul(outer.x_step))
                            .wrapping_add(channel),
                        size: [inside.len(), inner.input],
                        step: [outer.x_step, inner.x_step],
                        to: inside.start.wrapping_mul(pitch).wrapping_add(inner.pad),
                        pitch,
                        plane: plane.get(),
                        lanes,
                    };
                    L::take_apart(io.input(), &patch, buffer)?;
                }
                let at = y_at.wrapping_add(first.wrapping_mul(outer.y_step));
                let outputs = band.min(outer.output - first);
                let results = Band {
                    buffer,
                    planes: &planes,
                    outputs,
                    channel,
                    lanes,
                    at: at.wrapping_add(channel),
                };
                L::convolve::<SMALL>(layer, &results, io.output())?;
                first += outputs;
            }
            channel += lanes;
        }
    }
    Some(())
}

/// Moves all rows but the first `by` to the front, `by` rows at a time.
fn shift(plane: &mut [i16], pitch: usize, by: usize) {
    let Some(distance) = pitch.checked_mul(by).filter(|&d| d > 0) else {
        return;
    };
    let mut rest = plane;
    while let Some((row, later)) = rest.split_at_mut_checked(distance) {
        // A piece of `distance` elements takes the place of the one before.
        for (to, from) in row.iter_mut().zip(later.iter()) {
            *to = *from;
        }
        rest = later;
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::kernels::testing::{Case, bytes, cases};
    use crate::kernels::{depthwise, scratch};
    use crate::requantize::Output;
    use proptest::prelude::*;
    use std::vec;
    use std::vec::Vec;

    fn depthwise_cases() -> impl Strategy<Value = Case> {
        let small = proptest::bool::ANY;
        (cases(), 1usize..=9, 1usize..=40, small).prop_map(|(case, channels, width, small)| Case {
            kernel: if small { [3, 3] } else { case.kernel },
            in_c: channels,
            out_c: channels,
            groups: channels,
            dilation: [1, 1],
            in_size: [
                case.in_size[0].max(if small { 3 } else { 1 }),
                case.in_size[1].max(width).max(if small { 3 } else { 1 }),
            ],
            ..case
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        #[test]
        fn planes_give_the_bytes_of_the_definition(case in depthwise_cases(), seed: u64, zero in -128i32..=127) {
            let g = case.geometry();
            let Some(len) = scratch::depthwise(scratch::Form::Plain, &g) else { return Ok(()) };
            let x = bytes(seed, case.input_len());
            let weights = bytes(seed ^ 1, case.weight_len());
            let bias: Vec<i32> = bytes(seed ^ 2, case.out_c).iter().map(|&b| i32::from(b) * 40).collect();
            let multipliers: Vec<f32> = (0..case.out_c).map(|c| 0.004 + 0.0009 * c as f32).collect();
            let layer = Int8 {
                weights: &weights,
                input_zero_point: zero,
                bias: &bias,
                multipliers: &multipliers,
                output: Output::new(zero / 2, -120, 115),
            };
            let mut want = vec![0; case.output_len()];
            prop_assert!(depthwise(&g, &layer, &x, &mut want).is_some());
            // Words, for the alignment.
            let mut words = vec![0u32; len.div_ceil(4)];
            let scratch = &mut <[i8]>::mut_from_bytes(words.as_mut_bytes()).expect("bytes")[..len];

            let mut y = vec![0; case.output_len()];
            let mut io = Io::Apart { x: &x, y: &mut y };
            prop_assert!(depthwise_planes::<Portable, false>(&g, &layer, &mut io, scratch).is_some());
            prop_assert_eq!(&y, &want);

            let mut both = x.clone();
            prop_assert!(depthwise_planes::<Portable, false>(&g, &layer, &mut Io::InPlace(&mut both), scratch).is_some());
            prop_assert_eq!(&both[..want.len()], &want[..]);

            let mut y = vec![0; case.output_len()];
            let mut io = Io::Apart { x: &x, y: &mut y };
            let small = depthwise_planes::<Portable, true>(&g, &layer, &mut io, scratch);
            prop_assert_eq!(small.is_some(), case.kernel == [3, 3]);
            if small.is_some() {
                prop_assert_eq!(&y, &want);
            }
        }
    }
}
