//! Pooling.

use super::Geometry;
use super::Taps;
use super::parts::{parts, parts_mut};
use crate::requantize::Output;
use crate::requantize::fixed::Scale;
use core::num::NonZeroUsize;

/// Channels whose sums are kept at once.
const BLOCK: usize = if cfg!(target_arch = "x86_64") { 32 } else { 8 };

/// The elements under the window of one output pixel.
pub(super) struct Under<'a, T> {
    g: &'a Geometry,
    image: &'a [T],
    rows: Taps,
    columns: Taps,
}

impl<T: Copy> Under<'_, T> {
    pub(super) fn count(&self) -> usize {
        self.rows.len() * self.columns.len()
    }

    /// Calls `visit` with what lies from `channel` on, in ONNX Runtime's order: rows, then columns.
    #[inline(always)]
    fn visit(&self, channel: usize, mut visit: impl FnMut(&[T]) -> Option<()>) -> Option<()> {
        let [_, in_w, channels] = self.g.input;
        let [down, right] = self.g.dilation;
        for row in 0..self.rows.len() {
            let iy = self.rows.position + row * down.get();
            let mut at = (iy * in_w.get() + self.columns.position) * channels.get() + channel;
            for _ in 0..self.columns.len() {
                visit(self.image.get(at..)?)?;
                at += right.get() * channels.get();
            }
        }
        Some(())
    }
}

/// Sums the elements under the window for every output element, and stores `finish(sum, under, channel)`.
#[inline(always)]
pub(super) fn pool<T: Copy, S: Copy>(
    g: &Geometry,
    x: &[T],
    y: &mut [T],
    start: S,
    add: impl Fn(S, T) -> S,
    mut finish: impl FnMut(S, &Under<'_, T>, usize) -> Option<T>,
) -> Option<()> {
    let [out_h, out_w, _] = g.output;
    let mut pixels = parts_mut(y, g.input[2]);
    for image in parts(x, NonZeroUsize::new(g.image_len())?) {
        for oy in 0..out_h.get() {
            let rows = g.vertical(oy);
            for ox in 0..out_w.get() {
                let columns = g.horizontal(ox);
                let under = Under {
                    g,
                    image,
                    rows,
                    columns,
                };
                // A block of channels at a time: their sums stay in registers.
                let mut rest = pixels.next()?;
                let mut channel = 0;
                while !rest.is_empty() {
                    let (y, later) = rest.split_at_mut_checked(rest.len().min(BLOCK))?;
                    rest = later;
                    let mut sums = [start; BLOCK];
                    if cfg!(target_arch = "x86_64") && y.len() == BLOCK {
                        // A number of channels that the compiler knows becomes vectors.
                        under.visit(channel, |pixel| {
                            for (sum, &x) in sums.iter_mut().zip(pixel.first_chunk::<BLOCK>()?) {
                                *sum = add(*sum, x);
                            }
                            Some(())
                        })?;
                    } else {
                        under.visit(channel, |pixel| {
                            for (sum, &x) in sums.iter_mut().zip(pixel.get(..y.len())?) {
                                *sum = add(*sum, x);
                            }
                            Some(())
                        })?;
                    }
                    for (y, sum) in y.iter_mut().zip(sums) {
                        *y = finish(sum, &under, channel)?;
                        channel = channel.wrapping_add(1);
                    }
                }
            }
        }
    }
    Some(())
}

fn divide(sum: f32, divisor: usize, count: usize) -> f32 {
    sum / if divisor == 0 { count } else { divisor } as f32
}

/// Mean under the window, summed as reals in single precision, in ONNX Runtime's order: for int8, `load` dequantises and
/// `store` quantises.
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
        |sum, under, _| Some(store(divide(sum, divisor, under.count()))),
    )
}

/// How an int8 average is meant: the mean of the dequantised elements, quantised.
#[derive(Clone, Copy, Debug)]
pub struct Average {
    /// Divisor, or 0 for the number of elements under the window.
    pub divisor: usize,
    /// Zero point and scale of the input; the scale is positive and finite, as is the output's.
    pub input: (i32, f32),
    /// Scale of the output.
    pub output_scale: f32,
    /// Zero point and bounds of the output.
    pub output: Output,
}

impl Average {
    fn load(&self, x: i8) -> f32 {
        let (zero_point, scale) = self.input;
        i32::from(x).wrapping_sub(zero_point) as f32 * scale
    }

    fn store(&self, mean: f32) -> i8 {
        self.output.quantize(mean / self.output_scale)
    }

    /// The literal mean of one channel.
    #[cold]
    #[inline(never)]
    fn exact(&self, under: &Under<'_, i8>, channel: usize) -> Option<i8> {
        let mut sum = 0.0;
        under.visit(channel, |x| {
            sum += self.load(*x.first()?);
            Some(())
        })?;
        Some(self.store(divide(sum, self.divisor, under.count())))
    }

    /// From a quarter of the sum of `count` elements, less their zero points, to the output.
    ///
    /// With `u = 2⁻²⁴`, `D ≤ 255` the greatest distance from the zero point and `r` the ratio of the scales, the literal sum of
    /// products is off by less than `1.01·count·u` of the sum of magnitudes, which is at most `count·D`; two divisions and the
    /// two roundings of this multiplier add at most `u·D·r` each, and a little. All that is less than
    /// `u·D·r·(1.02·count + 5)`, or `256·D·r·(1.02·count + 5)` in units of 2⁻³²; where a fixed number divides, times
    /// `count/divisor`. It holds as long as no product is subnormal or infinite.
    fn scale(&self, count: usize) -> Scale {
        let (_, scale) = self.input;
        let ordinary = |scale: f32| (1e-30..1e30).contains(&scale);
        let divisor = if self.divisor == 0 {
            count
        } else {
            self.divisor
        };
        if !ordinary(scale) || !ordinary(self.output_scale) || count > 1 << 16 {
            return Scale::UNDECIDED;
        }
        let (count, divisor) = (count as f32, divisor as f32);
        let ratio = scale / self.output_scale;
        let window = 256.0 * 255.0 * ratio * (1.02 * count + 5.0) * (count / divisor);
        // Beyond 32 bits, `as` saturates, and so nothing is decided.
        Scale::within(ratio / divisor / 4.0, (window as u32).saturating_add(2))
    }
}

/// Int8 mean under the window, as [`average_pool`] makes it.
#[inline(never)]
pub fn average_pool_i8(g: &Geometry, average: &Average, x: &[i8], y: &mut [i8]) -> Option<()> {
    if cfg!(kinglet_soft_float) {
        return average_pool_integer(g, average, x, y);
    }
    let (load, store) = (|x| average.load(x), |mean| average.store(mean));
    average_pool(g, average.divisor, x, y, load, store)
}

/// As [`average_pool_i8`], in integers but for means next to a tie.
fn average_pool_integer(g: &Geometry, average: &Average, x: &[i8], y: &mut [i8]) -> Option<()> {
    let mut known = (0, Scale::UNDECIDED);
    pool(
        g,
        x,
        y,
        0i32,
        |sum, x| sum.wrapping_add(x.into()),
        |sum, under, channel| {
            let count = under.count();
            if known.0 != count {
                known = (count, average.scale(count));
            }
            let sum = sum.wrapping_sub(average.input.0.wrapping_mul(count as i32));
            match known.1.round(sum.wrapping_mul(4)) {
                Some(mean) => Some(average.output.saturate(mean)),
                None => average.exact(under, channel),
            }
        },
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
        |max, _, _| Some(max),
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

        #[test]
        fn integer_averages_equal_the_literal_ones(
            case in cases(), wide in 0usize..12, seed: u64, zero in -128i32..=127, zero_y in -128i32..=127, scales in (1e-3f32..1.0, 0.2f32..6.0), fixed: bool, narrow in 0u32..6,
        ) {
            let case = Case { out_c: case.in_c, in_size: [case.in_size[0] + wide, case.in_size[1] + wide], ..case };
            let kernel = if wide > 0 { [case.kernel[0] + wide, case.kernel[1] + wide] } else { case.kernel };
            let case = Case { kernel, dilation: [1, 1], ..case };
            let g = case.geometry();
            // Few different values make ties.
            let x: Vec<i8> = bytes(seed, case.input_len()).into_iter().map(|v| v >> narrow).collect();
            // Equal scales, too: the ones that pooling has in most models.
            let output_scale = if narrow > 2 { scales.0 } else { scales.0 * scales.1 };
            let average = Average {
                divisor: if fixed { kernel[0] * kernel[1] } else { 0 },
                input: (zero, scales.0),
                output_scale,
                output: Output::new(zero_y, -120, 127),
            };
            let (mut want, mut y) = (vec![0; case.output_len()], vec![0; case.output_len()]);
            let (load, store) = (|x| average.load(x), |mean| average.store(mean));
            prop_assert!(average_pool(&g, average.divisor, &x, &mut want, load, store).is_some());
            prop_assert!(average_pool_integer(&g, &average, &x, &mut y).is_some());
            prop_assert_eq!(y, want);
        }
    }

    #[test]
    fn scales_of_any_size_give_the_literal_average() {
        let g = Case {
            in_size: [8, 8],
            kernel: [8, 8],
            in_c: 5,
            out_c: 5,
            ..Case::POINT
        }
        .geometry();
        let x = bytes(3, 320);
        for (scale, output_scale) in [
            (1e-38, 1e-38),
            (1e-45, 1e-40),
            (3e38, 1e38),
            (1.0, 1e-38),
            (1e-3, 7.0),
            (2.0, 0.5),
        ] {
            let average = Average {
                divisor: 0,
                input: (-7, scale),
                output_scale,
                output: Output::saturating(1),
            };
            let (mut want, mut y) = ([0; 5], [0; 5]);
            let (load, store) = (|x| average.load(x), |mean| average.store(mean));
            assert!(average_pool(&g, 0, &x, &mut want, load, store).is_some());
            assert!(average_pool_integer(&g, &average, &x, &mut y).is_some());
            assert_eq!(y, want, "{scale} {output_scale}");
        }
    }

    #[test]
    fn averages_are_nearly_always_decided_by_integers() {
        for (count, undecided) in [(64usize, 320), (125, 3)] {
            let average = Average {
                divisor: 0,
                input: (-128, 0.02),
                output_scale: 0.02,
                output: Output::saturating(-128),
            };
            let scale = average.scale(count);
            let most = 255 * count as i32;
            let open = (0..=most)
                .filter(|sum| scale.round(sum * 4).is_none())
                .count();
            assert!(open <= undecided, "{open} of {most} sums of {count}");
        }
    }
}
