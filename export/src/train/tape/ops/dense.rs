//! Dense and grouped convolution.

use super::conv::Sizes;
use crate::graph::Window;
use crate::train::tape::kernels::dense::{
    Grid, LANES, Run, correlate, pack, runs, weight_gradient,
};
use crate::train::tape::kernels::pad::Frame;
use crate::train::tape::kernels::samples_a_task;
use crate::train::tensor::Real;
use rayon::prelude::*;

/// Where windows lie in the framed input: runs of a window, and the grid of windows for the first group.
fn windows(s: &Sizes, row_len: usize) -> (Vec<Run>, Grid) {
    let Window {
        kernel,
        strides,
        dilations,
        ..
    } = s.window;
    let starts = (0..kernel[0]).flat_map(|ky| {
        (0..kernel[1]).map(move |kx| ky * dilations[0] * row_len + kx * dilations[1] * s.c)
    });
    let grid = Grid {
        base: 0,
        row_step: strides[0] * row_len,
        col_step: strides[1] * s.c,
    };
    (runs(starts, s.group()[0]), grid)
}

/// Calls `f` with a sample inside its border; `frame` is scratch that is zero outside the plane.
fn framed<'a, T: Real>(frame: &Frame, x: &'a [T], scratch: &'a mut Vec<T>, c: usize) -> &'a [T] {
    if frame.is_plane() {
        return x;
    }
    scratch.resize(frame.len(c), T::zero());
    frame.enter(x, scratch, c);
    scratch
}

pub(super) fn forward<T: Real>(s: &Sizes, x: &[T], w: &[T], bias: &[T], y: &mut [T]) {
    let ([cg, mg], taps) = (s.group(), s.taps());
    let depth = taps * cg;
    let weights: Vec<_> = (0..s.groups)
        .map(|g| {
            pack(depth, mg, |k, m| {
                w[((g * mg + m) * cg + k % cg) * taps + k / cg]
            })
        })
        .collect();
    let frame = s.frame(1);
    let (runs, grid) = windows(s, frame.row_len(s.c));
    let places = Grid {
        base: 0,
        row_step: s.output[1] * s.m,
        col_step: s.m,
    };
    let samples = samples_a_task(x.len() / s.input_len(), 1);
    y.par_chunks_mut(samples * s.output_len())
        .zip(x.par_chunks(samples * s.input_len()))
        .for_each(|(y, x)| {
            let mut scratch = Vec::new();
            for (y, x) in y
                .chunks_exact_mut(s.output_len())
                .zip(x.chunks_exact(s.input_len()))
            {
                let x = framed(&frame, x, &mut scratch, s.c);
                for (g, weights) in weights.iter().enumerate() {
                    let windows = Grid {
                        base: g * cg,
                        ..grid
                    };
                    let places = Grid {
                        base: g * mg,
                        ..places
                    };
                    let bias = if bias.is_empty() {
                        bias
                    } else {
                        &bias[g * mg..(g + 1) * mg]
                    };
                    correlate(
                        x, windows, &runs, weights, depth, bias, y, places, s.output, mg,
                    );
                }
            }
        });
}

/// One of `stride²` sets of input pixels that meet the same taps: their gradient is a plain correlation of the output's.
struct Phase<T> {
    runs: Vec<Run>,
    /// Windows in the framed gradient, places in the input's gradient, their number.
    windows: Grid,
    places: Grid,
    size: [usize; 2],
    /// Packed weights, a group each.
    weights: Vec<Vec<[T; LANES]>>,
    depth: usize,
}

/// Along one axis: the taps of a phase with their distance in outputs, and the first pixel, its output and the count.
struct AxisPhase {
    taps: Vec<(usize, usize)>,
    pixel: usize,
    output: usize,
    count: usize,
}

fn axis_phase(s: &Sizes, axis: usize, phase: usize) -> AxisPhase {
    let (stride, dilation) = (s.window.strides[axis], s.window.dilations[axis]);
    let (pad, size) = (s.window.pads[axis], s.input[axis]);
    // Pixel `stride·q + phase − pad` meets, at tap `k`, output `q − (k·dilation − phase)/stride`.
    let taps = (0..s.window.kernel[axis]).rev();
    let taps = taps
        .filter(|k| k * dilation % stride == phase)
        .map(|k| (k, (k * dilation - phase) / stride))
        .collect();
    let output = pad.saturating_sub(phase).div_ceil(stride);
    let pixel = stride * output + phase - pad;
    AxisPhase {
        taps,
        pixel,
        output,
        count: size.saturating_sub(pixel).div_ceil(stride),
    }
}

fn phases<T: Real>(s: &Sizes, w: &[T]) -> (Frame, Vec<Phase<T>>) {
    let [cg, mg] = s.group();
    let Window {
        kernel,
        strides,
        dilations,
        pads,
    } = s.window;
    let at: [usize; 2] = std::array::from_fn(|i| (kernel[i] - 1) * dilations[i] / strides[i]);
    let frame = Frame {
        plane: s.output,
        frame: std::array::from_fn(|i| at[i] + (s.input[i] - 1 + pads[i]) / strides[i] + 1),
        at,
        split: 1,
    };
    let row_len = frame.row_len(s.m);
    let mut phases = Vec::new();
    for y in 0..strides[0] {
        for x in 0..strides[1] {
            let (y, x) = (axis_phase(s, 0, y), axis_phase(s, 1, x));
            let taps: Vec<[usize; 2]> = y
                .taps
                .iter()
                .flat_map(|&(ky, ty)| {
                    let row = (at[0] - ty) * row_len;
                    let tap = move |&(kx, tx): &(usize, usize)| {
                        [ky * kernel[1] + kx, row + (at[1] - tx) * s.m]
                    };
                    x.taps.iter().map(tap)
                })
                .collect();
            let weights = (0..s.groups).map(|g| {
                pack(taps.len() * mg, cg, |k, c| {
                    w[((g * mg + k % mg) * cg + c) * s.taps() + taps[k / mg][0]]
                })
            });
            phases.push(Phase {
                weights: weights.collect(),
                depth: taps.len() * mg,
                runs: runs(taps.iter().map(|t| t[1]), mg),
                windows: Grid {
                    base: y.output * row_len + x.output * s.m,
                    row_step: row_len,
                    col_step: s.m,
                },
                places: Grid {
                    base: (y.pixel * s.input[1] + x.pixel) * s.c,
                    row_step: strides[0] * s.input[1] * s.c,
                    col_step: strides[1] * s.c,
                },
                size: [y.count, x.count],
            });
        }
    }
    (frame, phases)
}

/// Gradients of the input, into `dx`, and of the weights.
pub(super) fn backward<T: Real>(
    s: &Sizes,
    x: &[T],
    w: &[T],
    dy: &[T],
    dx: Option<&mut [T]>,
    weights_wanted: bool,
) -> Option<Vec<T>> {
    let ([cg, mg], taps) = (s.group(), s.taps());
    let depth = taps * cg;
    let blocks = mg.div_ceil(LANES);
    let packed = s.groups * blocks * depth;
    let samples = samples_a_task(x.len() / s.input_len(), packed * LANES);
    let tasks = (x.len() / s.input_len()).div_ceil(samples);
    let x_frame = s.frame(1);
    let (x_runs, x_grid) = windows(s, x_frame.row_len(s.c));
    let (dy_frame, phases) = if dx.is_some() {
        phases(s, w)
    } else {
        (s.frame(1), Vec::new())
    };
    let whole_blocks = s.groups == 1 && s.m.is_multiple_of(LANES);
    let task = |x: &[T], dy: &[T], mut dx: Option<&mut [T]>, dw: &mut [[T; LANES]]| {
        let (mut x_scratch, mut dy_scratch) = (Vec::new(), Vec::new());
        let mut lanes = Vec::new();
        let samples = x
            .chunks_exact(s.input_len())
            .zip(dy.chunks_exact(s.output_len()));
        for (i, (x, dy)) in samples.enumerate() {
            if !dw.is_empty() {
                let x = framed(&x_frame, x, &mut x_scratch, s.c);
                let pixels = s.output[0] * s.output[1];
                let (dy, step, block_step) = if whole_blocks {
                    (dy, s.m, LANES)
                } else {
                    in_blocks(s, dy, &mut lanes);
                    (&lanes[..], LANES, pixels * LANES)
                };
                for (g, dw) in dw.chunks_exact_mut(blocks * depth).enumerate() {
                    let windows = Grid {
                        base: g * cg,
                        ..x_grid
                    };
                    let places = Grid {
                        base: g * blocks * block_step,
                        row_step: s.output[1] * step,
                        col_step: step,
                    };
                    weight_gradient(
                        x, windows, &x_runs, dy, places, block_step, s.output, dw, depth,
                    );
                }
            }
            if let Some(dx) = dx.as_deref_mut() {
                let dx = &mut dx[i * s.input_len()..][..s.input_len()];
                let dy = framed(&dy_frame, dy, &mut dy_scratch, s.m);
                for phase in &phases {
                    for (g, weights) in phase.weights.iter().enumerate() {
                        let shifted = |grid: Grid, by: usize| Grid {
                            base: grid.base + by,
                            ..grid
                        };
                        correlate(
                            dy,
                            shifted(phase.windows, g * mg),
                            &phase.runs,
                            weights,
                            phase.depth,
                            &[],
                            dx,
                            shifted(phase.places, g * cg),
                            phase.size,
                            cg,
                        );
                    }
                }
            }
        }
    };
    let mut partial = vec![[T::zero(); LANES]; if weights_wanted { tasks * packed } else { 0 }];
    let mut dws: Vec<&mut [[T; LANES]]> = partial.chunks_mut(packed.max(1)).collect();
    dws.resize_with(tasks, Default::default);
    let operands = x
        .par_chunks(samples * s.input_len())
        .zip(dy.par_chunks(samples * s.output_len()));
    match dx {
        Some(dx) => operands
            .zip(dx.par_chunks_mut(samples * s.input_len()))
            .zip(dws)
            .for_each(|(((x, dy), dx), dw)| task(x, dy, Some(dx), dw)),
        None => operands
            .zip(dws)
            .for_each(|((x, dy), dw)| task(x, dy, None, dw)),
    }
    weights_wanted.then(|| {
        let (sum, others) = partial.split_at_mut(packed);
        for other in others.chunks_exact(packed) {
            for (sum, other) in sum.iter_mut().zip(other) {
                for n in 0..LANES {
                    sum[n] += other[n];
                }
            }
        }
        let mut dw = vec![T::zero(); w.len()];
        for (i, dw) in dw.iter_mut().enumerate() {
            let (m, c, tap) = (i / depth, i / taps % cg, i % taps);
            let (g, m) = (m / mg, m % mg);
            *dw = sum[(g * blocks + m / LANES) * depth + tap * cg + c][m % LANES];
        }
        dw
    })
}

/// Copies a sample's gradient to blocks of [`LANES`] channels, zeros after each group's last.
fn in_blocks<T: Real>(s: &Sizes, dy: &[T], lanes: &mut Vec<T>) {
    let mg = s.group()[1];
    let blocks = mg.div_ceil(LANES);
    let pixels = s.output[0] * s.output[1];
    lanes.resize(s.groups * blocks * pixels * LANES, T::zero());
    for (i, block) in lanes.chunks_exact_mut(pixels * LANES).enumerate() {
        let (g, first) = (i / blocks, i % blocks * LANES);
        let n = (mg - first).min(LANES);
        for (to, from) in block.chunks_exact_mut(LANES).zip(dy.chunks_exact(s.m)) {
            to[..n].copy_from_slice(&from[g * mg + first..][..n]);
        }
    }
}
