//! Random networks of every operator, for comparisons between engines.

use crate::networks::{Builder, window};
use crate::random::Random;
use kinglet_export::compile::Compiled;
use kinglet_export::graph::{
    Binary, Clamp, DType, Data, Graph, Op, Pool, Quantization, Unary, ValueId, Window,
};
use kinglet_export::host::Runner;

/// A network of a few random nodes. Every value that no node reads is an output.
pub fn network(seed: u64, quantized: bool) -> Graph {
    grow(seed, quantized, [2, 6])
}

/// A quantised network of more nodes.
pub fn deep_network(seed: u64) -> Graph {
    grow(seed, true, [8, 16])
}

fn grow(seed: u64, quantized: bool, [fewest, most]: [usize; 2]) -> Graph {
    let mut b = Builder::new(seed, quantized);
    let r = &mut b.random;
    let shape = [
        r.pick(&[1, 1, 1, 2]),
        r.between(1, 6),
        r.between(1, 9),
        r.between(1, 9),
    ];
    let (scale, zero) = (0.01 + 0.01 * r.real().abs(), r.between(0, 80) as i32 - 40);
    let mut live = vec![b.input("x", &shape, scale, zero)];
    let nodes = b.random.between(fewest, most);
    for _ in 0..100 {
        if live.len() > nodes {
            break;
        }
        // Mostly in a chain, sometimes a second branch.
        let newest = live[live.len() - 1];
        let x = if b.random.one_in(5) {
            live[b.random.below(live.len())]
        } else {
            newest
        };
        let y = match b.graph[x].shape.len() {
            4 => plane(&mut b, x, &live),
            _ => row(&mut b, x, &live),
        };
        live.extend(y);
    }
    let read = |id: &ValueId| !b.graph.consumers(*id).is_empty();
    let outputs: Vec<ValueId> = live[1..].iter().filter(|id| !read(id)).copied().collect();
    b.graph.outputs = outputs;
    b.graph
}

/// A chain of convolutions, poolings, functions and residual sums over one image, higher than wide: what can run by bands.
pub fn chain(seed: u64, quantized: bool) -> Graph {
    let mut b = Builder::new(seed, quantized);
    let r = &mut b.random;
    let shape = [1, r.between(1, 6), r.between(6, 30), r.between(1, 7)];
    let (scale, zero) = (0.01 + 0.01 * r.real().abs(), r.between(0, 80) as i32 - 40);
    let mut last = b.input("x", &shape, scale, zero);
    let nodes = b.random.between(1, 7);
    let mut made = 0;
    for _ in 0..100 {
        if made == nodes {
            break;
        }
        let next = match b.random.below(10) {
            0..=2 => convolution(&mut b, last, false),
            3..=5 => convolution(&mut b, last, true),
            6 => pool(&mut b, last),
            7 => Some(unary(&mut b, last)),
            8 => residual(&mut b, last),
            _ => binary_with_constant(&mut b, last),
        };
        if let Some(next) = next {
            (last, made) = (next, made + 1);
        }
    }
    b.graph.outputs = vec![last];
    b.graph
}

/// A node on `[n, c, h, w]`; `None` when the dice fit nothing.
fn plane(b: &mut Builder, x: ValueId, live: &[ValueId]) -> Option<ValueId> {
    match b.random.below(18) {
        0..=2 => convolution(b, x, false),
        3 | 4 => convolution(b, x, true),
        5 | 6 => pool(b, x),
        7 => Some(global_pool(b, x)),
        8 if b.shape(x)[0] == 1 => Some(gate(b, x)),
        9 => {
            let [n, c, h, w] = b.shape(x).try_into().ok()?;
            let y = b.activation_like(x, &[n, c * h * w]);
            Some(b.node(Op::Reshape, &[x], y))
        }
        10 | 11 => residual(b, x),
        12 | 13 => framed(b, x),
        _ => any(b, x, live),
    }
}

/// A convolution or pooling of a plane with a border.
fn framed(b: &mut Builder, x: ValueId) -> Option<ValueId> {
    let [n, c, h, w] = b.shape(x).try_into().ok()?;
    let sides: [usize; 4] = std::array::from_fn(|_| b.random.pick(&[0, 1, 1, 2]));
    let [top, left, bottom, right] = sides;
    let y = b.activation_like(x, &[n, c, top + h + bottom, left + w + right]);
    let op = Op::Pad {
        before: vec![0, 0, top, left],
        after: vec![0, 0, bottom, right],
        value: b.random.pick(&[0.0, 0.0, -8.0, 0.5]),
    };
    let y = b.node(op, &[x], y);
    match b.random.below(3) {
        0 => convolution(b, y, false),
        1 => convolution(b, y, true),
        _ => pool(b, y),
    }
    .or(Some(y))
}

/// Two convolutions around which the input is carried.
fn residual(b: &mut Builder, x: ValueId) -> Option<ValueId> {
    let shape = b.shape(x);
    let [n, c, h, w] = shape[..].try_into().ok()?;
    let inner = b.random.between(1, 9);
    let inner = b.conv(x, 1, 1, [n, inner, h, w]);
    let outer = b.conv(inner, 1, 1, [n, c, h, w]);
    let (ours, theirs) = (b.scale(x).0, b.scale(outer).0);
    let op = Binary::Add;
    let y = output_of(b, op, x, theirs.max(ours), &shape);
    let clamp = clamp(&mut b.random);
    let operands = b.random.pick(&[[x, outer], [outer, x]]);
    Some(b.node(Op::Binary { op, clamp }, &operands, y))
}

/// A node on `[rows, columns]`.
fn row(b: &mut Builder, x: ValueId, live: &[ValueId]) -> Option<ValueId> {
    if !b.random.one_in(3) {
        return any(b, x, live);
    }
    let [rows, inputs] = b.shape(x).try_into().ok()?;
    let outputs = b.random.between(1, 7);
    let w = b.weights(&[outputs, inputs]);
    let mut operands = vec![x, w];
    if !b.random.one_in(4) {
        operands.push(b.bias(outputs, x, w));
    }
    let y = sum_of_products(b, x, inputs, &[rows, outputs]);
    let clamp = clamp(&mut b.random);
    Some(b.node(Op::FullyConnected { clamp }, &operands, y))
}

/// A node on any shape.
fn any(b: &mut Builder, x: ValueId, live: &[ValueId]) -> Option<ValueId> {
    match b.random.below(11) {
        0 | 1 => binary_with_constant(b, x),
        2 => binary(b, x, live),
        3 => Some(transpose(b, x)),
        4 => Some(pad(b, x)),
        5 => concat(b, x, live),
        6 => Some(softmax(b, x)),
        7 => slice(b, x),
        8 => exchange(b, x),
        _ => Some(unary(b, x)),
    }
}

pub(crate) fn clamp(random: &mut Random) -> Clamp {
    random.pick(&[
        Clamp::NONE,
        Clamp::RELU,
        Clamp { min: 0.0, max: 6.0 },
        Clamp {
            min: -0.7,
            max: 1.3,
        },
        Clamp {
            max: 0.5,
            ..Clamp::NONE
        },
    ])
}

/// A value for sums of `count` products of `x` with weights, in a quantisation that uses most of its range.
pub(crate) fn sum_of_products(
    b: &mut Builder,
    x: ValueId,
    count: usize,
    shape: &[usize],
) -> ValueId {
    let spread = b.scale(x).0 * 0.005 * 74.0 * 74.0 * (count as f32).sqrt();
    let zero = b.random.between(0, 60) as i32 - 30;
    let scale = spread * (0.8 + 0.2 * b.random.real()) / 50.0;
    b.activation(shape, scale, zero)
}

/// A window that fits a plane, and the plane it leaves.
pub(crate) fn random_window(
    random: &mut Random,
    [h, w]: [usize; 2],
    dilate: bool,
) -> Option<(Window, [usize; 2])> {
    let mut window = window([1, 1]);
    let mut out = [0; 2];
    for (axis, size) in [h, w].into_iter().enumerate() {
        let kernel = random.between(1, 4);
        // Small planes: a dilated window could lie wholly in the padding, where engines disagree about a maximum.
        let dilation = if dilate && size > 3 && random.one_in(3) {
            2
        } else {
            1
        };
        let stride = random.between(1, 3);
        let (before, after) = (random.below(kernel), random.below(kernel));
        let span = (kernel - 1) * dilation + 1;
        out[axis] = (size + before + after).checked_sub(span)? / stride + 1;
        window.kernel[axis] = kernel;
        window.dilations[axis] = dilation;
        window.strides[axis] = stride;
        window.pads[axis] = before;
        window.pads[axis + 2] = after;
    }
    Some((window, out))
}

fn convolution(b: &mut Builder, x: ValueId, depthwise: bool) -> Option<ValueId> {
    let [n, c, h, w] = b.shape(x).try_into().ok()?;
    let (window, [oh, ow]) = random_window(&mut b.random, [h, w], true)?;
    let (groups, channels) = if depthwise {
        (c, c * b.random.pick(&[1, 1, 2]))
    } else {
        let groups = if c % 2 == 0 && b.random.one_in(3) {
            2
        } else {
            1
        };
        (groups, groups * b.random.between(1, 5))
    };
    let weights = b.weights(&[channels, c / groups, window.kernel[0], window.kernel[1]]);
    let mut operands = vec![x, weights];
    if !b.random.one_in(4) {
        operands.push(b.bias(channels, x, weights));
    }
    let products = c / groups * window.kernel[0] * window.kernel[1];
    let y = sum_of_products(b, x, products, &[n, channels, oh, ow]);
    let clamp = clamp(&mut b.random);
    let op = Op::Conv2d {
        window,
        groups,
        clamp,
    };
    Some(b.node(op, &operands, y))
}

fn pool(b: &mut Builder, x: ValueId) -> Option<ValueId> {
    let [n, c, h, w] = b.shape(x).try_into().ok()?;
    let count_include_pad = b.random.one_in(2);
    let average = Pool::Average { count_include_pad };
    let pool = b.random.pick(&[Pool::Max, average]);
    let (window, [oh, ow]) = random_window(&mut b.random, [h, w], pool == Pool::Max)?;
    let y = b.activation_like(x, &[n, c, oh, ow]);
    Some(b.node(Op::Pool { pool, window }, &[x], y))
}

fn global_pool(b: &mut Builder, x: ValueId) -> ValueId {
    let [n, c, h, w] = b.shape(x)[..] else {
        return x;
    };
    let average = Pool::Average {
        count_include_pad: false,
    };
    let pool = b.random.pick(&[average, average, Pool::Max]);
    let y = b.activation_like(x, &[n, c, 1, 1]);
    let window = window([h, w]);
    b.node(Op::Pool { pool, window }, &[x], y)
}

/// Squeeze and excite: `x · sigmoid(mean(x))`, broadcast over the plane.
fn gate(b: &mut Builder, x: ValueId) -> ValueId {
    let mean = global_pool(b, x);
    let shape = b.shape(mean);
    let gate = b.activation(&shape, 1.0 / 256.0, -128);
    let gate = b.node(Op::Unary(Unary::Sigmoid), &[mean], gate);
    let shape = b.shape(x);
    let y = b.activation_like(x, &shape);
    let op = Binary::Mul;
    let clamp = clamp(&mut b.random);
    b.node(Op::Binary { op, clamp }, &[x, gate], y)
}

/// A shape that broadcasts to `shape`.
fn smaller(random: &mut Random, shape: &[usize]) -> Vec<usize> {
    let skip = if random.one_in(2) {
        random.below(shape.len())
    } else {
        0
    };
    let keep = |&d: &usize| if random.one_in(2) { d } else { 1 };
    shape[skip..].iter().map(keep).collect()
}

fn output_of(b: &mut Builder, op: Binary, x: ValueId, other: f32, shape: &[usize]) -> ValueId {
    let (scale, zero) = b.scale(x);
    let scale = match op {
        Binary::Add | Binary::Sub => scale.max(other) * 1.4,
        _ => scale * other * 90.0,
    };
    b.activation(shape, scale, zero / 2)
}

fn binary_with_constant(b: &mut Builder, x: ValueId) -> Option<ValueId> {
    let shape = b.shape(x);
    let small = smaller(&mut b.random, &shape);
    let len = small.iter().product();
    let op = b
        .random
        .pick(&[Binary::Add, Binary::Sub, Binary::Mul, Binary::Div]);
    let name = format!("c{}", b.graph.values.len());
    let constant = if b.quantized {
        if op == Binary::Div {
            return None;
        }
        let data = Data::I8((0..len).map(|_| b.random.byte()).collect());
        let zero = b.random.between(0, 20) as i32 - 10;
        let quantization = Some(Quantization::per_tensor(0.013, zero));
        b.graph.add_constant(name, small, data, quantization)
    } else {
        // Away from zero, for divisions.
        let mut value = || 0.5 + b.random.real().abs();
        let data = Data::F32((0..len).map(|_| value()).collect());
        b.graph.add_constant(name, small, data, None)
    };
    let y = output_of(b, op, x, 0.013, &shape);
    let clamp = clamp(&mut b.random);
    let first = op != Binary::Div && b.random.one_in(3);
    let operands = if first { [constant, x] } else { [x, constant] };
    Some(b.node(Op::Binary { op, clamp }, &operands, y))
}

fn binary(b: &mut Builder, x: ValueId, live: &[ValueId]) -> Option<ValueId> {
    let shape = b.shape(x);
    let same: Vec<ValueId> = live
        .iter()
        .filter(|&&id| b.graph[id].shape == shape)
        .copied()
        .collect();
    let other = b.random.pick(&same);
    let op = b.random.pick(&[Binary::Add, Binary::Sub, Binary::Mul]);
    let scale = b.scale(other).0;
    let y = output_of(b, op, x, scale, &shape);
    let clamp = clamp(&mut b.random);
    Some(b.node(Op::Binary { op, clamp }, &[x, other], y))
}

fn transpose(b: &mut Builder, x: ValueId) -> ValueId {
    let shape = b.shape(x);
    let mut perm: Vec<usize> = (0..shape.len()).collect();
    for i in (1..perm.len()).rev() {
        perm.swap(i, b.random.between(0, i));
    }
    let to: Vec<usize> = perm.iter().map(|&p| shape[p]).collect();
    let y = b.activation_like(x, &to);
    b.node(Op::Transpose { perm }, &[x], y)
}

fn pad(b: &mut Builder, x: ValueId) -> ValueId {
    let shape = b.shape(x);
    let mut some =
        || -> Vec<usize> { shape.iter().map(|_| b.random.pick(&[0, 0, 1, 2])).collect() };
    let (before, after) = (some(), some());
    let to: Vec<usize> = (0..shape.len())
        .map(|i| before[i] + shape[i] + after[i])
        .collect();
    let y = b.activation_like(x, &to);
    let value = b.random.pick(&[0.0, 0.5]);
    let op = Op::Pad {
        before,
        after,
        value,
    };
    b.node(op, &[x], y)
}

fn concat(b: &mut Builder, x: ValueId, live: &[ValueId]) -> Option<ValueId> {
    let shape = b.shape(x);
    let axis = b.random.below(shape.len());
    let fits = |id: ValueId| {
        let other = &b.graph[id].shape;
        other.len() == shape.len() && (0..shape.len()).all(|i| i == axis || other[i] == shape[i])
    };
    let mut candidates: Vec<ValueId> = live.iter().copied().filter(|&id| fits(id)).collect();
    candidates.push(x);
    let mut operands = vec![x];
    for _ in 0..b.random.between(1, 2) {
        operands.push(b.random.pick(&candidates));
    }
    let mut to = shape;
    to[axis] = operands.iter().map(|&id| b.graph[id].shape[axis]).sum();
    let y = b.activation_like(x, &to);
    (to[axis] < 40).then(|| b.node(Op::Concat { axis }, &operands, y))
}

/// Some of the indices along an axis.
fn slice(b: &mut Builder, x: ValueId) -> Option<ValueId> {
    let shape = b.shape(x);
    let axis = b.random.below(shape.len());
    let start = b.random.below(shape[axis]);
    let end = b.random.between(start + 1, shape[axis]);
    part(b, x, axis, start, end)
}

fn part(b: &mut Builder, x: ValueId, axis: usize, start: usize, end: usize) -> Option<ValueId> {
    let mut to = b.shape(x);
    if end - start == to[axis] {
        return None;
    }
    to[axis] = end - start;
    let y = b.activation_like(x, &to);
    Some(b.node(Op::Slice { axis, start }, &[x], y))
}

/// Both parts of a tensor, the other way round, one of them changed on the way.
fn exchange(b: &mut Builder, x: ValueId) -> Option<ValueId> {
    let shape = b.shape(x);
    let axis = b.random.below(shape.len());
    if shape[axis] < 2 {
        return None;
    }
    let at = b.random.between(1, shape[axis] - 1);
    let first = part(b, x, axis, 0, at)?;
    let second = part(b, x, axis, at, shape[axis])?;
    let changed = b.random.one_in(2).then(|| {
        let shape = b.shape(first);
        let y = b.activation_like(first, &shape);
        b.node(Op::Unary(Unary::HardSwish), &[first], y)
    });
    let y = b.activation_like(x, &shape);
    let operands = [second, changed.unwrap_or(first)];
    Some(b.node(Op::Concat { axis }, &operands, y))
}

fn softmax(b: &mut Builder, x: ValueId) -> ValueId {
    let shape = b.shape(x);
    let axis = b.random.below(shape.len());
    let y = b.activation(&shape, 1.0 / 256.0, -128);
    b.node(Op::Softmax { axis }, &[x], y)
}

fn unary(b: &mut Builder, x: ValueId) -> ValueId {
    let clamp = clamp(&mut b.random);
    let unary = b.random.pick(&[
        Unary::Clamp(clamp),
        Unary::Sigmoid,
        Unary::Tanh,
        Unary::LeakyRelu { alpha: 0.1 },
        Unary::HardSigmoid {
            alpha: 0.2,
            beta: 0.5,
        },
        Unary::HardSwish,
    ]);
    let (scale, zero) = match unary {
        Unary::Sigmoid | Unary::HardSigmoid { .. } => (1.0 / 256.0, -128),
        Unary::Tanh => (1.0 / 128.0, 0),
        _ => b.scale(x),
    };
    let shape = b.shape(x);
    let y = b.activation(&shape, scale, zero);
    b.node(Op::Unary(unary), &[x], y)
}

/// The same quantised network with unsigned bytes for activations: what many quantisers make.
pub fn unsigned(mut graph: Graph) -> Graph {
    for value in &mut graph.values {
        let Some(quantization) = &mut value.quantization else {
            continue;
        };
        // Weights stay signed.
        if value.dtype != DType::I8 || quantization.axis.is_some() {
            continue;
        }
        value.dtype = DType::U8;
        quantization.zero_point += 128;
        if let Some(Data::I8(data)) = &value.data {
            value.data = Some(Data::U8(data.iter().map(|&v| v as u8 ^ 0x80).collect()));
        }
    }
    graph
}

/// The bytes of one sample for all inputs of `graph`.
pub fn sample(graph: &Graph, random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::new();
    for &id in &graph.inputs {
        for _ in 0..graph[id].len() {
            match graph[id].dtype {
                DType::F32 => bytes.extend((3.0 * random.real()).to_le_bytes()),
                _ => bytes.push(random.byte() as u8),
            }
        }
    }
    bytes
}

/// The bytes of each output of a plan on this machine.
pub fn outputs(plan: &Compiled, inputs: &[u8]) -> Vec<Vec<u8>> {
    let mut runner = Runner::new(&plan.file).expect("the plan runs");
    runner.run(inputs, &mut ()).expect("outputs")
}
