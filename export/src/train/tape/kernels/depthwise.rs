//! Depthwise convolution, row by row: channels lie last, so a tap meets a whole row of the output at once.
//!
//! The rows of the padded input are stored by their remainder modulo the stride ([`super::pad::Frame`]), so that also
//! with a stride the pixels which a tap meets are beside each other.

use super::vectorized;

/// Elements that are kept in registers at a time.
const LANES: usize = 16;

/// Channels repeated so that they are whole vectors: the least common multiple of their number and [`LANES`].
pub(crate) fn period(channels: usize) -> usize {
    let (mut a, mut b) = (channels.max(1), LANES);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    channels * LANES / a
}

vectorized! {
    /// A row of the output: `out[i] = bias[i] + Σ x[taps + i] · w[tap][i]`, `w` and `bias` with a period.
    fn forward_row<'a, T>(x: &'a [T], taps: &'a [usize], w: &'a [T], bias: &'a [T], out: &'a mut [T]) {
        let (period, len) = (bias.len(), out.len());
        let mut at = 0;
        let mut outs = out.chunks_exact_mut(LANES);
        for (i, out) in outs.by_ref().enumerate() {
            let from = i * LANES;
            let mut sums = [T::zero(); LANES];
            sums.copy_from_slice(&bias[at..at + LANES]);
            for (tap, w) in taps.iter().zip(w.chunks_exact(period)) {
                let (x, w) = (&x[tap + from..][..LANES], &w[at..at + LANES]);
                for n in 0..LANES {
                    sums[n] = x[n].mul_add(w[n], sums[n]);
                }
            }
            out.copy_from_slice(&sums);
            at += LANES;
            if at == period {
                at = 0;
            }
        }
        let rest = outs.into_remainder();
        let from = len - rest.len();
        for (i, out) in rest.iter_mut().enumerate() {
            let mut sum = bias[at + i];
            for (tap, w) in taps.iter().zip(w.chunks_exact(period)) {
                sum = x[tap + from + i].mul_add(w[at + i], sum);
            }
            *out = sum;
        }
    }
}

vectorized! {
    /// What a row of the output's gradient adds to the input's: `dx[tap + i] += dy[i] · w[tap][i]`.
    fn backward_row<'a, T>(dx: &'a mut [T], taps: &'a [usize], w: &'a [T], period: usize, dy: &'a [T]) {
        for (&tap, w) in taps.iter().zip(w.chunks_exact(period)) {
            let dx = &mut dx[tap..tap + dy.len()];
            let mut at = 0;
            let (mut dxs, mut dys) = (dx.chunks_exact_mut(LANES), dy.chunks_exact(LANES));
            for (dx, dy) in dxs.by_ref().zip(dys.by_ref()) {
                let w = &w[at..at + LANES];
                for n in 0..LANES {
                    dx[n] = dy[n].mul_add(w[n], dx[n]);
                }
                at += LANES;
                if at == period {
                    at = 0;
                }
            }
            let rest = dxs.into_remainder().iter_mut().zip(dys.remainder());
            for ((dx, &dy), &w) in rest.zip(&w[at..]) {
                *dx = dy.mul_add(w, *dx);
            }
        }
    }
}

vectorized! {
    /// What a row adds to the weights' gradient, channels with a period: `dw[tap][i] += x[tap + i] · dy[i]`.
    fn weight_row<'a, T>(x: &'a [T], taps: &'a [usize], dw: &'a mut [T], period: usize, dy: &'a [T]) {
        for (&tap, dw) in taps.iter().zip(dw.chunks_exact_mut(period)) {
            let x = &x[tap..tap + dy.len()];
            let whole = dy.len() / period * period;
            for at in (0..period).step_by(LANES) {
                let Some(dw) = dw[at..].first_chunk_mut::<LANES>() else {
                    continue;
                };
                let mut sums = *dw;
                for from in (at..whole).step_by(period) {
                    let (x, dy) = (&x[from..][..LANES], &dy[from..][..LANES]);
                    for n in 0..LANES {
                        sums[n] = x[n].mul_add(dy[n], sums[n]);
                    }
                }
                *dw = sums;
            }
            for ((dw, &x), &dy) in dw.iter_mut().zip(&x[whole..]).zip(&dy[whole..]) {
                *dw = x.mul_add(dy, *dw);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_period_holds_whole_vectors() {
        assert_eq!([3, 8, 16, 24, 64].map(super::period), [48, 16, 16, 48, 64]);
    }
}
