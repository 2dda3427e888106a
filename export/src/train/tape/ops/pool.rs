//! Maximum and mean of windows.

use crate::graph::{Pool as Kind, Window};
use crate::train::tape::operation::{Context, Operation};
use crate::train::tape::tensor::Tensor;
use crate::train::tensor::Real;
use rayon::prelude::*;
use std::ops::Range;

/// `x [N,H,W,C]` → `[N,oH,oW,C]`.
pub(crate) struct Pool {
    pool: Kind,
    window: Window,
    /// Where each maximum was, by sample.
    winners: Vec<u32>,
}

impl Pool {
    pub(crate) fn new(pool: Kind, window: Window) -> Self {
        Pool {
            pool,
            window,
            winners: Vec::new(),
        }
    }

    fn output(&self, input: [usize; 2]) -> [usize; 2] {
        let w = &self.window;
        std::array::from_fn(|i| {
            let extent = (w.kernel[i] - 1) * w.dilations[i] + 1;
            (input[i] + w.pads[i] + w.pads[i + 2] - extent) / w.strides[i] + 1
        })
    }

    /// Input rows or columns under the window of one output.
    fn under(
        &self,
        axis: usize,
        output: usize,
        size: usize,
    ) -> impl Iterator<Item = usize> + Clone {
        let w = &self.window;
        let (start, dilation) = (output * w.strides[axis], w.dilations[axis]);
        let (pad, taps): (usize, Range<usize>) = (w.pads[axis], 0..w.kernel[axis]);
        taps.filter_map(move |tap| (start + tap * dilation).checked_sub(pad))
            .filter(move |&at| at < size)
    }

    /// Calls `f` with every output pixel's place and its input pixels' places.
    fn windows(
        &self,
        input: [usize; 2],
        mut f: impl FnMut(usize, &mut dyn Iterator<Item = usize>, usize),
    ) {
        let [oh, ow] = self.output(input);
        for y in 0..oh {
            for x in 0..ow {
                let rows = self.under(0, y, input[0]);
                let columns = self.under(1, x, input[1]);
                let count = match self.pool {
                    Kind::Average {
                        count_include_pad: true,
                    } => self.window.kernel[0] * self.window.kernel[1],
                    _ => rows.clone().count() * columns.clone().count(),
                };
                let mut pixels =
                    rows.flat_map(|row| columns.clone().map(move |c| row * input[1] + c));
                f(y * ow + x, &mut pixels, count);
            }
        }
    }
}

impl<T: Real> Operation<T> for Pool {
    fn forward(&mut self, inputs: &[&Tensor<T>], context: &mut Context<T>) -> Tensor<T> {
        let x = inputs[0];
        let (input, c) = ([x.shape[1], x.shape[2]], x.shape[3]);
        let [oh, ow] = self.output(input);
        let mut y = context.buffers.tensor([x.rows(), oh, ow, c]);
        let out_len = (oh * ow * c).max(1);
        let mut winners = std::mem::take(&mut self.winners);
        winners.clear();
        let this = &*self;
        let samples = y
            .data
            .par_chunks_mut(out_len)
            .zip(x.data.par_chunks(x.row_len().max(1)));
        match self.pool {
            Kind::Average { .. } => samples.for_each(|(y, x)| {
                this.windows(input, |out, pixels, count| {
                    let y = &mut y[out * c..][..c];
                    y.fill(T::zero());
                    for pixel in pixels {
                        for (y, &x) in y.iter_mut().zip(&x[pixel * c..]) {
                            *y += x;
                        }
                    }
                    let share = T::of(count.max(1) as f64).recip();
                    y.iter_mut().for_each(|y| *y *= share);
                });
            }),
            Kind::Max => {
                winners.resize(x.rows() * out_len, 0);
                samples
                    .zip(winners.par_chunks_mut(out_len))
                    .for_each(|((y, x), winners)| {
                        y.fill(T::neg_infinity());
                        this.windows(input, |out, pixels, _| {
                            let y = &mut y[out * c..][..c];
                            let winners = &mut winners[out * c..][..c];
                            for pixel in pixels {
                                let x = &x[pixel * c..][..c];
                                for ((y, winner), &x) in y.iter_mut().zip(&mut *winners).zip(x) {
                                    // A NaN wins and stays.
                                    if x > *y || x.is_nan() {
                                        (*y, *winner) = (x, pixel as u32);
                                    }
                                }
                            }
                        });
                    });
            }
        }
        self.winners = winners;
        y
    }

    fn backward(
        &mut self,
        inputs: &[&Tensor<T>],
        output: &Tensor<T>,
        gradient: Tensor<T>,
        wanted: &[bool],
        context: &mut Context<T>,
    ) -> Vec<Option<Tensor<T>>> {
        if !wanted[0] {
            return vec![None];
        }
        let x = inputs[0];
        let (input, c) = ([x.shape[1], x.shape[2]], x.shape[3]);
        let mut dx = context.buffers.tensor(x.shape.clone());
        let out_len = output.row_len().max(1);
        let samples = dx
            .data
            .par_chunks_mut(x.row_len().max(1))
            .zip(gradient.data.par_chunks(out_len));
        match self.pool {
            Kind::Average { .. } => samples.for_each(|(dx, dy)| {
                dx.fill(T::zero());
                self.windows(input, |out, pixels, count| {
                    let share = T::of(count.max(1) as f64).recip();
                    for pixel in pixels {
                        for (dx, &dy) in dx[pixel * c..].iter_mut().zip(&dy[out * c..][..c]) {
                            *dx += dy * share;
                        }
                    }
                });
            }),
            Kind::Max => {
                samples
                    .zip(self.winners.par_chunks(out_len))
                    .for_each(|((dx, dy), winners)| {
                        dx.fill(T::zero());
                        for (i, (&dy, &pixel)) in dy.iter().zip(winners).enumerate() {
                            dx[pixel as usize * c + i % c] += dy;
                        }
                    })
            }
        }
        context.buffers.give(gradient.data);
        vec![Some(dx)]
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::check::{Case, agrees, run};
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(30))]
        #[test]
        fn any_window_equals_finite_differences(
            kernel in [1usize..4, 1usize..4],
            strides in [1usize..3, 1usize..3],
            dilations in [1usize..3, 1usize..3],
            extra in [0usize..4, 0usize..4],
            border in 0usize..2,
            c in 1usize..4,
            kind in 0..3,
        ) {
            // A border no wider than half the kernel: no window lies outside altogether.
            let pads = [border.min(kernel[0] / 2), border.min(kernel[1] / 2), 0, 0];
            let window = Window { kernel, strides, dilations, pads };
            let size: [usize; 2] = std::array::from_fn(|i| (kernel[i] - 1) * dilations[i] + 1 + extra[i]);
            let pool = match kind {
                0 => Kind::Max,
                1 => Kind::Average { count_include_pad: true },
                _ => Kind::Average { count_include_pad: false },
            };
            agrees(Case::new(Pool::new(pool, window)).input([2, size[0], size[1], c]));
        }
    }

    #[test]
    fn the_divisor_counts_padding_only_when_told() {
        let window = Window {
            kernel: [1, 2],
            strides: [1, 1],
            dilations: [1, 1],
            pads: [0, 1, 0, 0],
        };
        let x = Tensor::new([1, 1, 2, 1], vec![2.0, 4.0]);
        for (count_include_pad, expected) in [(false, [2.0, 3.0]), (true, [1.0, 3.0])] {
            let mut pool = Pool::new(Kind::Average { count_include_pad }, window);
            assert_eq!(run(&mut pool, std::slice::from_ref(&x)).data, expected);
        }
    }
}
