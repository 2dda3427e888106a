//! Float layers for phones and desktops: sixteen output channels at a time, several pixels at once.
//!
//! A layer's weights are panels of sixteen output channels, filled up with zeros; biases as well:
//!
//! ```text
//! [panels][kernel height][kernel width][input channels][16 channels] × f32
//! ```
//!
//! A tap's sixteen weights meet one element of each pixel. Channels and pixels are what is computed side by side; each sum is made
//! in memory order, one rounding a product and one a sum, as the reference kernels do. So the results are theirs, bit for bit.
//! (Fused multiplication and addition would be faster by up to a half, but round otherwise than a device without it.)
//!
//! Windows are read from where the input is; nothing is copied. At the borders they have fewer taps.

pub mod arm;
mod portable;
#[cfg(test)]
mod tests;

pub use portable::Portable;

use super::parts::{parts, parts_mut};
use super::{Float, Geometry, Taps};
use arm::{Arm, Results, Tile};
use core::num::NonZeroUsize;
use core::ops::Range;

/// Output channels of a panel.
pub const CHANNELS: usize = 16;

/// Whether this machine is one that float layers are vectorised for.
pub const VECTORS: bool = cfg!(any(target_arch = "aarch64", target_arch = "x86_64"));

/// Most runs of taps, each of which lies together in memory, that a window may have.
pub const MOST_RUNS: usize = 64;

/// Numbers of a layer's weights; `None` where the window has more than [`MOST_RUNS`].
pub fn layer_len(g: &Geometry) -> Option<usize> {
    let window = g.window_len().filter(|_| few_runs(g))?;
    window.get().checked_mul(filled(g.output[2].get())?)
}

/// So many channels in whole panels.
pub fn filled(channels: usize) -> Option<usize> {
    channels.checked_next_multiple_of(CHANNELS)
}

/// A row of the kernel is one run where nothing lies between its columns.
fn runs_of_row(g: &Geometry) -> usize {
    match g.dilation[1].get() {
        1 => 1,
        _ => g.kernel[1].get(),
    }
}

fn few_runs(g: &Geometry) -> bool {
    let runs = g.kernel[0].get().checked_mul(runs_of_row(g));
    runs.is_some_and(|runs| runs <= MOST_RUNS)
}

/// Calls `$function` with the fastest arm of this machine first.
macro_rules! dispatch {
    ($function:path, $($argument:expr),*) => {{
        #[cfg(target_arch = "x86_64")]
        if let Some(arm) = super::x86::Avx512::detect() {
            return $function(arm, $($argument),*);
        }
        #[cfg(target_arch = "x86_64")]
        if let Some(arm) = super::x86::Avx2::detect() {
            return $function(arm, $($argument),*);
        }
        #[cfg(target_arch = "aarch64")]
        if let Some(arm) = super::neon::Neon::detect() {
            return $function(arm, $($argument),*);
        }
        $function(Portable, $($argument),*)
    }};
}

/// Convolution of one group; `layer` has its weights and biases in panels.
#[inline(never)]
pub fn conv_panel(g: &Geometry, layer: &Float<'_>, x: &[f32], y: &mut [f32]) -> Option<()> {
    dispatch!(conv, g, layer, x, y)
}

/// Fully connected layer over rows; `layer` has its weights and biases in panels.
#[inline(never)]
pub fn dense_panel(shape: [usize; 2], layer: &Float<'_>, x: &[f32], y: &mut [f32]) -> Option<()> {
    dispatch!(dense, shape, layer, x, y)
}

/// Depthwise convolution of one output channel each; weights `[kh][kw][channels]`.
#[inline(never)]
pub fn depthwise_lanes(g: &Geometry, layer: &Float<'_>, x: &[f32], y: &mut [f32]) -> Option<()> {
    dispatch!(depthwise, g, layer, x, y)
}

/// Whether [`depthwise_lanes`] takes the layer.
pub fn has_lanes(g: &Geometry) -> bool {
    g.input[2] == g.output[2] && few_runs(g)
}

/// `[rows, inner] · [inner, columns]`, of [`CHANNELS`] columns or more.
#[inline(never)]
pub fn matmul_lanes(shape: [usize; 3], a: &[f32], b: &[f32], y: &mut [f32]) -> Option<()> {
    dispatch!(matmul, shape, a, b, y)
}

/// Where the next [`CHANNELS`] of so many columns begin, one after the other. The last ones overlap those before them: they are
/// computed twice, to the same results.
fn lanes(columns: usize) -> impl Iterator<Item = usize> {
    let last = columns.saturating_sub(CHANNELS);
    (0..columns)
        .step_by(CHANNELS)
        .map(move |first| first.min(last))
}

/// What a window meets of the input.
struct Windows<'g> {
    g: &'g Geometry,
    /// Output columns whose windows lie inside the input from left to right.
    inside: Range<usize>,
}

impl Windows<'_> {
    fn of(g: &Geometry) -> Windows<'_> {
        let width = g.output[1].get();
        let first = g.pad[1].div_ceil(g.stride[1].get()).min(width);
        let reach = (g.kernel[1].get() - 1).saturating_mul(g.dilation[1].get());
        let room = g.input[1].get().saturating_add(g.pad[1]);
        let end = match room.checked_sub(reach.saturating_add(1)) {
            Some(last) => (last / g.stride[1]).saturating_add(1).min(width),
            None => first,
        };
        Windows {
            g,
            inside: first..end.max(first),
        }
    }

    /// Output columns with the same taps, from `column` on.
    fn segment(&self, column: usize) -> (usize, Taps) {
        let end = match self.inside.contains(&column) {
            true => self.inside.end,
            false => column.saturating_add(1),
        };
        (end, self.g.horizontal(column))
    }

    /// Runs of the windows that begin at `columns` in the row of outputs whose taps are `rows`: where in the image, and how many
    /// taps of the kernel come before. The second number is columns of a run.
    fn runs<'r>(
        &self,
        rows: &Taps,
        columns: &Taps,
        runs: &'r mut [[usize; 2]; MOST_RUNS],
    ) -> Option<(&'r mut [[usize; 2]], usize)> {
        let g = self.g;
        let width = g.input[1];
        let (pieces, len) = match runs_of_row(g) {
            1 => (1, columns.len()),
            _ => (columns.len(), 1),
        };
        let mut count = 0;
        for ky in rows.range() {
            let down = ky
                .checked_sub(rows.start)?
                .checked_mul(g.dilation[0].get())?;
            let row = rows.position.checked_add(down)?.checked_mul(width.get())?;
            for piece in 0..pieces {
                let right = piece.checked_mul(g.dilation[1].get())?;
                let pixel = row.checked_add(columns.position)?.checked_add(right)?;
                let before = ky.checked_mul(g.kernel[1].get())?;
                let before = before.checked_add(columns.start)?.checked_add(piece)?;
                let pixel = pixel.checked_mul(g.input[2].get())?;
                *runs.get_mut(count)? = [pixel, before];
                count = count.checked_add(1)?;
            }
        }
        // Where the window lies in the padding there are no taps.
        let count = if columns.is_empty() { 0 } else { count };
        Some((runs.get_mut(..count)?, len))
    }
}

/// Consecutive outputs of a row whose windows meet the input alike.
struct Segment<'s> {
    image: &'s [f32],
    /// Where each run of the first window begins in `image`, and how many taps of the kernel come before it.
    runs: &'s mut [[usize; 2]],
    /// Columns of a run.
    len: usize,
    pixels: usize,
    /// Results from the first pixel on.
    y: &'s mut [f32],
}

/// Gives `work` all outputs, segment by segment.
fn segments(
    g: &Geometry,
    x: &[f32],
    y: &mut [f32],
    mut work: impl FnMut(Segment<'_>) -> Option<()>,
) -> Option<()> {
    let windows = Windows::of(g);
    let mut out_rows = parts_mut(y, g.output[1].checked_mul(g.output[2])?);
    let mut places = [[0; 2]; MOST_RUNS];
    for image in parts(x, NonZeroUsize::new(g.image_len())?).take(g.batch) {
        for oy in 0..g.output[0].get() {
            let (rows, y) = (g.vertical(oy), out_rows.next()?);
            let mut column = 0;
            while column < g.output[1].get() {
                let (end, columns) = windows.segment(column);
                let (runs, len) = windows.runs(&rows, &columns, &mut places)?;
                work(Segment {
                    image,
                    runs,
                    len,
                    pixels: end.checked_sub(column)?,
                    y: y.get_mut(column.checked_mul(g.output[2].get())?..)?,
                })?;
                column = end;
            }
        }
    }
    Some(())
}

fn conv<A: Arm>(arm: A, g: &Geometry, layer: &Float<'_>, x: &[f32], y: &mut [f32]) -> Option<()> {
    let row = g.pointwise().then(|| g.as_row());
    let g = match &row {
        Some(row) => row.as_ref()?,
        None => g,
    };
    let (depth, channels) = (g.input[2].get(), g.output[2].get());
    let panel = g.window_len()?.checked_mul(NonZeroUsize::new(CHANNELS)?)?;
    segments(g, x, y, |segment| {
        for run in segment.runs.iter_mut() {
            run[1] = run[1].checked_mul(depth)?.checked_mul(CHANNELS)?;
        }
        let tile = Tile {
            x: segment.image,
            weights: layer.weights,
            runs: &*segment.runs,
            taps: segment.len.checked_mul(depth)?,
            tap: [1, CHANNELS],
            pixel: g.stride[1].get().checked_mul(depth)?,
            pixels: segment.pixels,
            start: &[0.0; CHANNELS],
            bounds: Some([layer.min, layer.max]),
        };
        let mut results = Results {
            y: segment.y,
            step: channels,
            channels,
        };
        arm.shared_panels(&tile, panel.get(), layer.bias.as_chunks().0, &mut results)
    })
}

fn dense<A: Arm>(
    arm: A,
    [inputs, outputs]: [usize; 2],
    layer: &Float<'_>,
    x: &[f32],
    y: &mut [f32],
) -> Option<()> {
    let tile = Tile {
        x,
        weights: layer.weights,
        runs: &[[0; 2]],
        taps: inputs,
        tap: [1, CHANNELS],
        pixel: inputs,
        pixels: x.len().checked_div(inputs)?,
        start: &[0.0; CHANNELS],
        bounds: Some([layer.min, layer.max]),
    };
    let mut results = Results {
        y,
        step: outputs,
        channels: outputs,
    };
    let panel = inputs.checked_mul(CHANNELS)?;
    arm.shared_panels(&tile, panel, layer.bias.as_chunks().0, &mut results)
}

fn matmul<A: Arm>(
    arm: A,
    [rows, inner, columns]: [usize; 3],
    a: &[f32],
    b: &[f32],
    y: &mut [f32],
) -> Option<()> {
    for first in lanes(columns) {
        let tile = Tile {
            x: a,
            weights: b,
            runs: &[[0, first]],
            taps: inner,
            tap: [1, columns],
            pixel: inner,
            pixels: rows,
            start: &[0.0; CHANNELS],
            bounds: None,
        };
        let mut results = Results {
            y: y.get_mut(first..)?,
            step: columns,
            channels: CHANNELS,
        };
        arm.shared(&tile, &mut results)?;
    }
    Some(())
}

fn depthwise<A: Arm>(
    arm: A,
    g: &Geometry,
    layer: &Float<'_>,
    x: &[f32],
    y: &mut [f32],
) -> Option<()> {
    let channels = g.input[2].get();
    segments(g, x, y, |segment| {
        for run in segment.runs.iter_mut() {
            run[1] = run[1].checked_mul(channels)?;
        }
        let tile = Tile {
            x: segment.image,
            weights: layer.weights,
            runs: &*segment.runs,
            taps: segment.len,
            tap: [channels, channels],
            pixel: g.stride[1].get().checked_mul(channels)?,
            pixels: segment.pixels,
            start: &[0.0; CHANNELS],
            bounds: Some([layer.min, layer.max]),
        };
        let mut results = Results {
            y: segment.y,
            step: channels,
            channels,
        };
        arm.own_all(&tile, layer.bias, &mut results)
    })
}
