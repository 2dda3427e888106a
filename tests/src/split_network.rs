//! Random networks as a low-rank split leaves them: kernels of one column, then of one line.

use crate::networks::{Builder, window};
use crate::random_network::{clamp, sum_of_products};
use crate::wide_network::add;
use kinglet_export::graph::{Graph, Op, ValueId, Window};

/// One to three pairs, some with their input added, some behind an addition that no convolution does.
pub fn split_network(seed: u64) -> Graph {
    let mut b = Builder::new(seed, true);
    let r = &mut b.random;
    let shape = [
        r.pick(&[1, 1, 1, 2]),
        channels(r.below(24)),
        r.between(1, 9),
        r.between(1, 23),
    ];
    let (scale, zero) = (0.01 + 0.01 * r.real().abs(), r.between(0, 255) as i32 - 128);
    let mut x = b.input("x", &shape, scale, zero);
    let (pairs, mut made) = (b.random.between(1, 3), 0);
    for _ in 0..100 {
        if made == pairs {
            break;
        }
        if let Some(y) = pair(&mut b, x) {
            made += 1;
            x = match b.shape(x) == b.shape(y) {
                true if b.random.one_in(2) => add(&mut b, x, y),
                true if b.random.one_in(2) => {
                    let scaled = depthwise(&mut b, x);
                    add(&mut b, scaled, y)
                }
                _ => y,
            };
        }
    }
    b.graph.outputs = vec![x];
    b.graph
}

/// Whole words of them twice out of three times.
fn channels(dice: usize) -> usize {
    match dice % 3 {
        0 => dice + 1,
        _ => 4 * (dice / 3 + 1),
    }
}

fn pair(b: &mut Builder, x: ValueId) -> Option<ValueId> {
    let shape = b.shape(x);
    let keeps = b.random.one_in(2);
    let size = b.random.pick(&[1, 2, 3, 3, 5]);
    let stride = match keeps {
        true => 1,
        false => b.random.pick(&[1, 2, 3]),
    };
    let mut pads = || match keeps {
        true => [(size - 1) / 2, size / 2],
        false => [b.random.below(size + 1), b.random.below(size + 1)],
    };
    let (vertical, horizontal) = (pads(), pads());
    let rank = channels(b.random.below(24));
    let outputs = match keeps {
        true => shape[1],
        false => channels(b.random.below(24)),
    };
    let mut tall = window([size, 1]);
    (tall.strides, tall.pads) = ([stride, 1], [vertical[0], 0, vertical[1], 0]);
    let mut wide = window([1, size]);
    (wide.strides, wide.pads) = ([1, stride], [0, horizontal[0], 0, horizontal[1]]);
    // Sometimes the other way round.
    let [first, second] = match b.random.one_in(4) {
        true => [wide, tall],
        false => [tall, wide],
    };
    let middle = layer(b, x, first, 1, rank)?;
    layer(b, middle, second, 1, outputs)
}

fn layer(
    b: &mut Builder,
    x: ValueId,
    window: Window,
    groups: usize,
    outputs: usize,
) -> Option<ValueId> {
    let [n, c, h, w] = b.shape(x).try_into().ok()?;
    let along = |axis: usize, size: usize| {
        let padded = size + window.pads[axis] + window.pads[axis + 2];
        Some(padded.checked_sub(window.kernel[axis])? / window.strides[axis] + 1)
    };
    let shape = [n, outputs, along(0, h)?, along(1, w)?];
    let taps = c / groups * window.kernel[0] * window.kernel[1];
    let weights = b.weights(&[outputs, c / groups, window.kernel[0], window.kernel[1]]);
    let bias = b.bias(outputs, x, weights);
    let y = sum_of_products(b, x, taps, &shape);
    let op = Op::Conv2d {
        window,
        groups,
        clamp: clamp(&mut b.random),
    };
    Some(b.node(op, &[x, weights, bias], y))
}

/// Of one tap: other values in the same shape.
fn depthwise(b: &mut Builder, x: ValueId) -> ValueId {
    let channels = b.shape(x)[1];
    layer(b, x, window([1, 1]), channels, channels).unwrap_or(x)
}
