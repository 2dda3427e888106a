//! Element-wise loops: plain ones, and ones whose coefficients repeat with the channels.

use super::vectorized;
use crate::train::tensor::Real;
use rayon::prelude::*;

/// Elements of a parallel piece of an element-wise step.
const PIECE: usize = 1 << 14;

/// `out[i] = f(a[i])`, in parallel.
pub(crate) fn map<T: Real>(a: &[T], out: &mut [T], f: impl Fn(T) -> T + Sync) {
    out.par_chunks_mut(PIECE)
        .zip(a.par_chunks(PIECE))
        .for_each(|(out, a)| {
            for (out, &a) in out.iter_mut().zip(a) {
                *out = f(a);
            }
        });
}

/// `out[i] = f(a[i], b[i])`, in parallel.
pub(crate) fn zip<T: Real>(a: &[T], b: &[T], out: &mut [T], f: impl Fn(T, T) -> T + Sync) {
    out.par_chunks_mut(PIECE)
        .zip(a.par_chunks(PIECE).zip(b.par_chunks(PIECE)))
        .for_each(|(out, (a, b))| {
            for (out, (&a, &b)) in out.iter_mut().zip(a.iter().zip(b)) {
                *out = f(a, b);
            }
        });
}

/// `out[i] = f(out[i], a[i])`, in parallel.
pub(crate) fn update<T: Real>(out: &mut [T], a: &[T], f: impl Fn(T, T) -> T + Sync) {
    out.par_chunks_mut(PIECE)
        .zip(a.par_chunks(PIECE))
        .for_each(|(out, a)| {
            for (out, &a) in out.iter_mut().zip(a) {
                *out = f(*out, a);
            }
        });
}

/// `out += a`, in parallel.
pub(crate) fn add<T: Real>(out: &mut [T], a: &[T]) {
    update(out, a, |out, a| out + a);
}

/// Clears the gradient wherever a clamp held its result `y`.
pub(crate) fn mask<T: Real>(gradient: &mut [T], y: &[T], [min, max]: [T; 2]) {
    update(
        gradient,
        y,
        move |d, y| if y > min && y < max { d } else { T::zero() },
    );
}

/// How often `channels` values are repeated, so that loops over them are long enough for vector registers.
pub(crate) fn repeats(channels: usize) -> usize {
    256usize.div_ceil(channels.max(1))
}

/// The values of all channels, repeated.
pub(crate) fn repeated<T: Real>(values: impl Fn(usize) -> T, channels: usize) -> Vec<T> {
    let one: Vec<T> = (0..channels).map(values).collect();
    one.repeat(repeats(channels))
}

/// Sums repeated accumulators into one a channel.
pub(crate) fn fold<T: Real>(sums: &[T], channels: usize) -> Vec<f64> {
    let mut total = vec![0.0; channels];
    for sums in sums.chunks_exact(channels.max(1)) {
        for (total, sum) in total.iter_mut().zip(sums) {
            *total += sum.double();
        }
    }
    total
}

vectorized! {
    /// `sums += x`, channels repeated.
    fn sum_channels<'a, T>(x: &'a [T], sums: &'a mut [T]) {
        for x in x.chunks(sums.len()) {
            for (sum, &x) in sums.iter_mut().zip(x) {
                *sum += x;
            }
        }
    }
}

vectorized! {
    /// `sums += (x − mean)²`, channels repeated.
    fn sum_squares<'a, T>(x: &'a [T], mean: &'a [T], sums: &'a mut [T]) {
        for x in x.chunks(sums.len()) {
            for (sum, (&x, &mean)) in sums.iter_mut().zip(x.iter().zip(mean)) {
                let d = x - mean;
                *sum = d.mul_add(d, *sum);
            }
        }
    }
}

vectorized! {
    /// `y = clamp(x·scale + shift)`, channels repeated.
    fn affine<'a, T>(x: &'a [T], scale: &'a [T], shift: &'a [T], clamp: [T; 2], y: &'a mut [T]) {
        let [min, max] = clamp;
        for (x, y) in x.chunks(scale.len()).zip(y.chunks_mut(scale.len())) {
            for ((y, &x), (&scale, &shift)) in y.iter_mut().zip(x).zip(scale.iter().zip(shift)) {
                let v = x.mul_add(scale, shift);
                // Written so that a NaN stays one.
                let v = if v < min { min } else { v };
                *y = if v > max { max } else { v };
            }
        }
    }
}

vectorized! {
    /// Of the gradient `dy` of `y = clamp(x·scale + shift)`: clears it where the clamp held, and adds it, and its product
    /// with `x − mean`, to the sums; channels repeated.
    fn affine_sums<'a, T>(
        x: &'a [T],
        dy: &'a mut [T],
        scale: &'a [T],
        shift: &'a [T],
        mean: &'a [T],
        clamp: [T; 2],
        sums: &'a mut [T],
        products: &'a mut [T],
    ) {
        let [min, max] = clamp;
        let len = scale.len();
        for (x, dy) in x.chunks(len).zip(dy.chunks_mut(len)) {
            let coefficients = scale.iter().zip(shift).zip(mean);
            let sums = sums.iter_mut().zip(products.iter_mut());
            for (((dy, &x), ((&scale, &shift), &mean)), (sum, product)) in
                dy.iter_mut().zip(x).zip(coefficients).zip(sums)
            {
                let y = x.mul_add(scale, shift);
                let d = if y > min && y < max { *dy } else { T::zero() };
                *dy = d;
                *sum += d;
                *product = d.mul_add(x - mean, *product);
            }
        }
    }
}

vectorized! {
    /// `dy = dy·a + x·b + c`, channels repeated.
    fn combine<'a, T>(x: &'a [T], dy: &'a mut [T], a: &'a [T], b: &'a [T], c: &'a [T]) {
        for (x, dy) in x.chunks(a.len()).zip(dy.chunks_mut(a.len())) {
            for ((dy, &x), ((&a, &b), &c)) in dy.iter_mut().zip(x).zip(a.iter().zip(b).zip(c)) {
                *dy = dy.mul_add(a, x.mul_add(b, c));
            }
        }
    }
}
