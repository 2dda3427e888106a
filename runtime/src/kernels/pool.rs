//! Pooling.

use super::Geometry;
use core::num::NonZeroUsize;

/// Channels whose sums are kept at once.
const BLOCK: usize = 8;

/// Visits the elements under the window for every output element, in ONNX Runtime's order (rows, then columns), and
/// stores `finish(sum, count)`.
#[inline(always)]
fn pool<T: Copy, S: Copy>(
    g: &Geometry,
    x: &[T],
    y: &mut [T],
    start: S,
    add: impl Fn(S, T) -> S,
    finish: impl Fn(S, usize) -> T,
) -> Option<()> {
    let [_, in_w, channels] = g.input;
    let [out_h, out_w, _] = g.output;
    let mut pixels = y.chunks_exact_mut(channels.get());
    for image in x
        .chunks_exact(NonZeroUsize::new(g.image_len())?.get())
        .take(g.batch)
    {
        for oy in 0..out_h.get() {
            let rows = g.vertical(oy);
            for ox in 0..out_w.get() {
                let columns = g.horizontal(ox);
                let count = rows.len() * columns.len();
                // A block of channels at a time: their sums stay in registers.
                for (block, y) in pixels.next()?.chunks_mut(BLOCK).enumerate() {
                    let mut sums = [start; BLOCK];
                    for row in 0..rows.len() {
                        let iy = rows.position + row * g.dilation[0].get();
                        let mut at =
                            (iy * in_w.get() + columns.position) * channels.get() + block * BLOCK;
                        for _ in 0..columns.len() {
                            let pixel = image.get(at..)?;
                            if let (BLOCK, Some(pixel)) = (y.len(), pixel.first_chunk::<BLOCK>()) {
                                for (sum, &x) in sums.iter_mut().zip(pixel) {
                                    *sum = add(*sum, x);
                                }
                            } else {
                                for (sum, &x) in sums.iter_mut().zip(pixel.get(..y.len())?) {
                                    *sum = add(*sum, x);
                                }
                            }
                            at += g.dilation[1].get() * channels.get();
                        }
                    }
                    for (y, sum) in y.iter_mut().zip(sums) {
                        *y = finish(sum, count);
                    }
                }
            }
        }
    }
    Some(())
}

/// Mean under the window, summed as reals in single precision: for int8, `load` dequantises and `store` quantises.
///
/// This is the literal QDQ meaning. An exact integer mean would differ from it by one where the mean is a tie, which
/// for a window of 64 is one output in 64.
#[inline]
pub fn average_pool<T: Copy>(
    g: &Geometry,
    divisor: usize,
    x: &[T],
    y: &mut [T],
    load: impl Fn(T) -> f32,
    store: impl Fn(f32) -> T,
) -> Option<()> {
    pool(
        g,
        x,
        y,
        0.0,
        |sum: f32, x| sum + load(x),
        |sum, count| store(sum / if divisor == 0 { count } else { divisor } as f32),
    )
}

/// Maximum under the window; `least` where the window is empty.
#[inline]
pub fn max_pool<T: Copy + PartialOrd>(g: &Geometry, least: T, x: &[T], y: &mut [T]) -> Option<()> {
    pool(
        g,
        x,
        y,
        least,
        |max, x| if x > max { x } else { max },
        |max, _| max,
    )
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::kernels::testing::{Case, bytes, cases};
    use proptest::prelude::*;
    use std::vec;
    use std::vec::Vec;

    proptest! {
        #[test]
        fn pooling_equals_the_definition(case in cases(), seed: u64) {
            let case = Case { out_c: case.in_c, ..case };
            let g = case.geometry();
            let x = bytes(seed, case.input_len());
            let [in_h, in_w, c] = g.input.map(|d| d.get() as isize);
            let [out_h, out_w, _] = g.output.map(NonZeroUsize::get);
            let (mut maxima, mut means) = (Vec::new(), Vec::new());
            for b in 0..g.batch as isize {
                for oy in 0..out_h {
                    for ox in 0..out_w {
                        for channel in 0..c {
                            let (mut max, mut sum, mut count) = (i8::MIN, 0.0f32, 0);
                            for ky in 0..g.kernel[0].get() {
                                for kx in 0..g.kernel[1].get() {
                                    let iy = (oy * g.stride[0].get() + ky * g.dilation[0].get()) as isize - g.pad[0] as isize;
                                    let ix = (ox * g.stride[1].get() + kx * g.dilation[1].get()) as isize - g.pad[1] as isize;
                                    if (0..in_h).contains(&iy) && (0..in_w).contains(&ix) {
                                        let v = x[(((b * in_h + iy) * in_w + ix) * c + channel) as usize];
                                        max = max.max(v);
                                        sum += f32::from(v);
                                        count += 1;
                                    }
                                }
                            }
                            maxima.push(max);
                            means.push(if count == 0 { f32::NAN } else { sum / count as f32 });
                        }
                    }
                }
            }
            let mut y = vec![0; case.output_len()];
            prop_assert!(max_pool(&g, i8::MIN, &x, &mut y).is_some());
            prop_assert_eq!(y, maxima);
            let x: Vec<f32> = x.iter().map(|&v| f32::from(v)).collect();
            let mut y = vec![0.0; case.output_len()];
            prop_assert!(average_pool(&g, 0, &x, &mut y, |x| x, |mean| mean).is_some());
            for (y, mean) in y.iter().zip(means) {
                prop_assert!(*y == mean || (y.is_nan() && mean.is_nan()));
            }
        }
    }
}
