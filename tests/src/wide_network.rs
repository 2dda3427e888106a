//! Random networks of int8 layers with as many channels as real ones have: what packed weights and vectors are for.

use crate::networks::Builder;
use crate::random_network::{clamp, random_window, sum_of_products};
use kinglet_export::graph::{Binary, Graph, Op, ValueId, Window};

/// A chain of convolutions, depthwise convolutions and residuals, then a fully connected layer; planes of 12×12 at most.
pub fn wide_network(seed: u64) -> Graph {
    wide_network_within(seed, 12)
}

/// As [`wide_network`], with planes of at most `side` × `side`.
pub fn wide_network_within(seed: u64, side: usize) -> Graph {
    let mut b = Builder::new(seed, true);
    let r = &mut b.random;
    let shape = [
        r.pick(&[1, 1, 1, 2]),
        channels(r.below(40)),
        r.between(1, side),
        r.between(1, side),
    ];
    let (scale, zero) = (0.01 + 0.01 * r.real().abs(), r.between(0, 255) as i32 - 128);
    let mut x = b.input("x", &shape, scale, zero);
    let layers = b.random.between(1, 4);
    let mut count = 0;
    for _ in 0..100 {
        if count == layers {
            break;
        }
        let y = match b.random.below(8) {
            0..=2 => convolution(&mut b, x),
            3 | 4 => Some(pointwise(&mut b, x)),
            5 | 6 => depthwise(&mut b, x),
            _ => Some(residual(&mut b, x)),
        };
        if let Some(y) = y {
            (x, count) = (y, count + 1);
        }
    }
    if b.random.one_in(2) {
        x = fully_connected(&mut b, x);
    }
    b.graph.outputs = vec![x];
    b.graph
}

/// Few or many, whole vectors or not.
fn channels(dice: usize) -> usize {
    match dice {
        0..=15 => dice + 1,
        16..=23 => 16 * (dice - 15) / 2 * 2,
        _ => 2 * dice - 15,
    }
}

fn layer(b: &mut Builder, x: ValueId, window: Window, groups: usize, shape: &[usize]) -> ValueId {
    let depth = b.shape(x)[1] / groups;
    let w = b.weights(&[shape[1], depth, window.kernel[0], window.kernel[1]]);
    let mut operands = vec![x, w];
    if !b.random.one_in(4) {
        operands.push(b.bias(shape[1], x, w));
    }
    let y = sum_of_products(b, x, depth * window.kernel[0] * window.kernel[1], shape);
    let op = Op::Conv2d {
        window,
        groups,
        clamp: clamp(&mut b.random),
    };
    b.node(op, &operands, y)
}

fn convolution(b: &mut Builder, x: ValueId) -> Option<ValueId> {
    let [n, _, h, w] = b.shape(x).try_into().ok()?;
    let (window, [oh, ow]) = random_window(&mut b.random, [h, w], true)?;
    let channels = channels(b.random.below(32));
    Some(layer(b, x, window, 1, &[n, channels, oh, ow]))
}

fn pointwise(b: &mut Builder, x: ValueId) -> ValueId {
    let mut shape = b.shape(x);
    shape[1] = channels(b.random.below(40));
    layer(b, x, crate::networks::window([1, 1]), 1, &shape)
}

/// Mostly 3×3.
fn depthwise(b: &mut Builder, x: ValueId) -> Option<ValueId> {
    let [n, c, h, w] = b.shape(x).try_into().ok()?;
    let r = &mut b.random;
    let (window, [oh, ow]) = if r.one_in(4) {
        random_window(r, [h, w], true)?
    } else {
        let mut window = crate::networks::window([3, 3]);
        let stride = r.pick(&[1, 1, 2]);
        window.strides = [stride, stride];
        window.pads = match r.one_in(2) {
            true => [1; 4],
            false => [r.below(3), r.below(3), r.below(3), r.below(3)],
        };
        let along = |size: usize, pads: usize| Some((size + pads).checked_sub(3)? / stride + 1);
        let out = [
            along(h, window.pads[0] + window.pads[2])?,
            along(w, window.pads[1] + window.pads[3])?,
        ];
        (window, out)
    };
    // With one channel it would be an ordinary convolution.
    (c > 1).then(|| layer(b, x, window, c, &[n, c, oh, ow]))
}

/// `x + conv(conv(x))`.
fn residual(b: &mut Builder, x: ValueId) -> ValueId {
    let shape = b.shape(x);
    let inner = pointwise(b, x);
    let kernel = b.random.pick(&[1, 3]);
    let mut window = crate::networks::window([kernel, kernel]);
    window.pads = [kernel / 2; 4];
    let outer = layer(b, inner, window, 1, &shape);
    add(b, x, outer)
}

/// The sum of two values of one shape.
pub(crate) fn add(b: &mut Builder, x: ValueId, y: ValueId) -> ValueId {
    let (ours, (theirs, zero)) = (b.scale(x).0, b.scale(y));
    let shape = b.shape(x);
    let sum = b.activation(&shape, ours.max(theirs) * 1.4, zero / 2);
    let op = Op::Binary {
        op: Binary::Add,
        clamp: clamp(&mut b.random),
    };
    b.node(op, &[x, y], sum)
}

fn fully_connected(b: &mut Builder, x: ValueId) -> ValueId {
    let shape = b.shape(x);
    let (rows, inputs) = (shape[0], shape[1..].iter().product());
    let flat = b.activation_like(x, &[rows, inputs]);
    let flat = b.node(Op::Reshape, &[x], flat);
    let outputs = b.random.between(1, 40);
    let w = b.weights(&[outputs, inputs]);
    let bias = b.bias(outputs, flat, w);
    let y = sum_of_products(b, flat, inputs, &[rows, outputs]);
    let op = Op::FullyConnected {
        clamp: clamp(&mut b.random),
    };
    b.node(op, &[flat, w, bias], y)
}
