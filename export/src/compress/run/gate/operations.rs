//! What gating inserts into a program: modules that make gates, and their multiplication.

use crate::compress::gate::{GateForward, GateModule};
use crate::train::tape::{Context, Operation, Tensor};

/// What a module's gates are at a time.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum State {
    /// All 1.
    Open,
    /// What the module says of each sample.
    Follow,
    /// The same for all samples.
    Fixed(Vec<bool>),
}

/// Gates `[batch, gates]` from what a module looks at and its four parameters.
pub(super) struct Gates {
    pub(super) state: State,
    /// Those of the last forward pass.
    pub(super) last: Vec<f32>,
    pooled: Vec<f32>,
    forward: Option<GateForward>,
}

impl Gates {
    pub(super) fn new() -> Self {
        Gates {
            state: State::Open,
            last: Vec::new(),
            pooled: Vec::new(),
            forward: None,
        }
    }
}

fn module(inputs: &[&Tensor<f32>]) -> GateModule {
    let part = |i: usize| inputs.get(i).map_or(Vec::new(), |t| t.data.clone());
    GateModule {
        w1: part(1),
        b1: part(2),
        w2: part(3),
        b2: part(4),
    }
}

/// Samples, and elements and channels of each: channels come last.
fn sizes(x: &Tensor<f32>) -> (usize, usize, usize) {
    let samples = x.shape.first().copied().unwrap_or(1).max(1);
    let channels = x.shape.last().copied().unwrap_or(1).max(1);
    (samples, x.data.len() / samples, channels)
}

/// Means over the plane, `[batch, channels]`, in root mean squares of their sample: features of any size move gates alike.
fn pool(x: &Tensor<f32>) -> Vec<f32> {
    let (samples, len, channels) = sizes(x);
    let mut pooled = vec![0.0; samples * channels];
    for (sums, sample) in pooled.chunks_mut(channels).zip(x.data.chunks(len.max(1))) {
        for row in sample.chunks(channels) {
            sums.iter_mut().zip(row).for_each(|(s, v)| *s += v);
        }
        let squares = sums.iter().map(|s| s * s).sum::<f32>();
        let size = (squares / channels as f32).sqrt().max(f32::MIN_POSITIVE);
        sums.iter_mut().for_each(|s| *s /= size);
    }
    pooled
}

impl Operation<f32> for Gates {
    fn forward(&mut self, inputs: &[&Tensor<f32>], _: &mut Context<f32>) -> Tensor<f32> {
        let (samples, gates) = (sizes(inputs[0]).0, inputs[4].data.len());
        let values = match &self.state {
            State::Open => vec![1.0; samples * gates],
            State::Fixed(mask) => {
                let gate = |&open: &bool| f32::from(u8::from(open));
                (0..samples).flat_map(|_| mask.iter().map(gate)).collect()
            }
            State::Follow => {
                self.pooled = pool(inputs[0]);
                let forward = module(inputs).forward(&self.pooled);
                let values = forward.gates.clone();
                self.forward = Some(forward);
                values
            }
        };
        self.last.clone_from(&values);
        Tensor::new([samples, gates], values)
    }

    fn backward(
        &mut self,
        inputs: &[&Tensor<f32>],
        _: &Tensor<f32>,
        gradient: Tensor<f32>,
        wanted: &[bool],
        _: &mut Context<f32>,
    ) -> Vec<Option<Tensor<f32>>> {
        let (State::Follow, Some(forward)) = (&self.state, self.forward.take()) else {
            return vec![None; inputs.len()];
        };
        let d = module(inputs).backward(&self.pooled, &forward, &gradient.data);
        let like = |i: usize, data: Vec<f32>| Some(Tensor::new(inputs[i].shape.clone(), data));
        let all = [
            None,
            like(1, d.w1),
            like(2, d.b1),
            like(3, d.w2),
            like(4, d.b2),
        ];
        let wanted = all.into_iter().zip(wanted);
        wanted.map(|(t, &wanted)| t.filter(|_| wanted)).collect()
    }
}

/// `x` times gates: one a sample, or one a channel of each.
pub(super) struct Multiply;

impl Operation<f32> for Multiply {
    fn forward(&mut self, inputs: &[&Tensor<f32>], context: &mut Context<f32>) -> Tensor<f32> {
        let mut y = context.buffers.copy(inputs[0]);
        let (samples, len, channels) = sizes(inputs[0]);
        let gates = inputs[1].data.len() / samples;
        let samples = y.data.chunks_mut(len.max(1));
        for (sample, g) in samples.zip(inputs[1].data.chunks(gates.max(1))) {
            for row in sample.chunks_mut(channels) {
                for (c, y) in row.iter_mut().enumerate() {
                    *y *= g[c % gates];
                }
            }
        }
        y
    }

    fn backward(
        &mut self,
        inputs: &[&Tensor<f32>],
        _: &Tensor<f32>,
        mut gradient: Tensor<f32>,
        wanted: &[bool],
        _: &mut Context<f32>,
    ) -> Vec<Option<Tensor<f32>>> {
        let (samples, len, channels) = sizes(inputs[0]);
        let gates = (inputs[1].data.len() / samples).max(1);
        let mut dg = Tensor::zeros(inputs[1].shape.clone());
        let planes = gradient.data.chunks_mut(len.max(1));
        let samples = planes.zip(inputs[0].data.chunks(len.max(1)));
        let all_gates = inputs[1].data.chunks(gates).zip(dg.data.chunks_mut(gates));
        for ((d, x), (g, dg)) in samples.zip(all_gates) {
            for (d, x) in d.chunks_mut(channels).zip(x.chunks(channels)) {
                for (c, (d, x)) in d.iter_mut().zip(x).enumerate() {
                    dg[c % gates] += x * *d;
                    *d *= g[c % gates];
                }
            }
        }
        vec![wanted[0].then_some(gradient), wanted[1].then_some(dg)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::tape::{Buffers, Mode};

    fn context() -> Context<f32> {
        Context {
            mode: Mode::Train,
            buffers: Buffers::default(),
        }
    }

    #[test]
    fn gates_multiply_samples_or_channels_and_have_the_gradients_of_products() {
        let x = Tensor::new([2, 1, 2, 2], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
        let d = Tensor::new([2, 1, 2, 2], vec![1.0; 8]);
        let run = |gates: Tensor<f32>| {
            let y = Multiply.forward(&[&x, &gates], &mut context());
            let d = d.clone();
            let back = Multiply.backward(&[&x, &gates], &y, d, &[true, true], &mut context());
            let data = |i: usize| back[i].as_ref().map(|t| t.data.clone());
            (y.data, data(0), data(1))
        };
        let (y, dx, dg) = run(Tensor::new([2, 1], vec![0.0, 2.0]));
        assert_eq!(y, [0.0, 0.0, 0.0, 0.0, 10.0, 12.0, 14.0, 16.0]);
        assert_eq!(dx, Some(vec![0.0, 0.0, 0.0, 0.0, 2.0, 2.0, 2.0, 2.0]));
        assert_eq!(dg, Some(vec![10.0, 26.0]));
        let (y, _, dg) = run(Tensor::new([2, 2], vec![1.0, 0.0, 0.0, 1.0]));
        assert_eq!(y, [1.0, 0.0, 3.0, 0.0, 0.0, 6.0, 0.0, 8.0]);
        assert_eq!(dg, Some(vec![4.0, 6.0, 12.0, 14.0]));
    }

    #[test]
    fn planes_with_their_channels_last_are_pooled() {
        let x = Tensor::new(
            [1, 2, 2, 2],
            vec![1.0, 10.0, 2.0, 20.0, 3.0, 30.0, 6.0, 0.0],
        );
        let size = f32::sqrt((3.0 * 3.0 + 15.0 * 15.0) / 2.0);
        let expected = [3.0 / size, 15.0 / size];
        let near = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-6;
        assert!(pool(&x).iter().zip(&expected).all(near));
    }
}
