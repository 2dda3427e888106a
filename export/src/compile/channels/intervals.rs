//! Forward: for every element of every int8 value, an interval that its bytes cannot leave, whatever the inputs are.
//!
//! All steps are monotonic in each of their operands (rounding, saturation and single-precision sums keep order), so
//! the runtime's own arithmetic on the ends of the operands' intervals gives the ends of the result's.

use super::Layers;
use super::layer::{Layer, affine, geometry};
use crate::compile::layout::transpose_data;
use crate::compile::weights::{fixed_sum, function, multipliers, table};
use crate::graph::{Binary, Clamp, DType, Data, Graph, Node, Op, Pool, ValueId, Window};
use kinglet::kernels::{Geometry, average_pool, max_pool};
use kinglet::requantize::Output;
use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::ops::Range;

/// Least and greatest value of each element, in the order of the ONNX tensor. Unsigned bytes are `0 ..= 255`.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Intervals {
    pub(super) low: Vec<i16>,
    pub(super) high: Vec<i16>,
}

/// What is known of all values.
pub(super) struct Analysis {
    intervals: HashMap<ValueId, Intervals>,
    /// The one value of each channel (axis 1) that has one.
    constants: HashMap<ValueId, Vec<Option<i32>>>,
    /// For each layer's result, an accumulator that each channel can have.
    accumulators: HashMap<ValueId, Vec<i32>>,
}

impl Analysis {
    /// Goes through the nodes in order.
    pub(super) fn new(graph: &Graph, layers: &Layers) -> Analysis {
        let mut analysis = Analysis {
            intervals: HashMap::new(),
            constants: HashMap::new(),
            accumulators: HashMap::new(),
        };
        for (t, node) in graph.nodes.iter().enumerate() {
            let value = &graph[node.output];
            if !matches!(value.dtype, DType::I8 | DType::U8) {
                continue;
            }
            let found = match layers.get(&t) {
                Some(layer) => Some(analysis.layer(graph, layer)),
                None => analysis.node(graph, node),
            };
            let found = found.unwrap_or_else(|| full(value.dtype, value.len()));
            let constants = found.constants(&value.shape);
            analysis.constants.insert(node.output, constants);
            analysis.intervals.insert(node.output, found);
        }
        analysis
    }

    /// The intervals of `id`: its contents, what was found, or everything.
    pub(super) fn of(&self, graph: &Graph, id: ValueId) -> Intervals {
        let value = &graph[id];
        let exact = |v: Vec<i16>| Intervals {
            low: v.clone(),
            high: v,
        };
        match (&value.data, self.intervals.get(&id)) {
            (Some(Data::I8(v)), _) => exact(v.iter().map(|&v| v.into()).collect()),
            (Some(Data::U8(v)), _) => exact(v.iter().map(|&v| v.into()).collect()),
            (None, Some(found)) => found.clone(),
            _ => full(value.dtype, value.len()),
        }
    }

    /// The value that every element of channel `channel` (axis 1) of `id` has, if there is one.
    pub(super) fn constant(&self, id: ValueId, channel: usize) -> Option<i32> {
        *self.constants.get(&id)?.get(channel)?
    }

    /// An accumulator from which channel `channel` of a layer's result can come.
    pub(super) fn accumulator(&self, y: ValueId, channel: usize) -> Option<i32> {
        self.accumulators.get(&y)?.get(channel).copied()
    }

    fn layer(&mut self, graph: &Graph, layer: &Layer) -> Intervals {
        let g = &layer.geometry;
        let pixels = |[h, w, _]: [NonZeroUsize; 3]| h.get() * w.get();
        let (in_pixels, out_pixels) = (pixels(g.input), pixels(g.output));
        let x = self.of(graph, layer.x);
        let mut y = Intervals {
            low: Vec::with_capacity(graph[layer.y].len()),
            high: Vec::with_capacity(graph[layer.y].len()),
        };
        let mut some = Vec::new();
        for image in 0..g.batch {
            for o in 0..layer.outputs {
                let group = o / (layer.outputs / layer.groups);
                let mut sums = [
                    vec![layer.bias[o]; out_pixels],
                    vec![layer.bias[o]; out_pixels],
                ];
                if !layer.is_bounded(o) {
                    y.low.extend(vec![i16::from(i8::MIN); out_pixels]);
                    y.high.extend(vec![i16::from(i8::MAX); out_pixels]);
                    some.push(layer.bias[o]);
                    continue;
                }
                for i in 0..layer.inputs {
                    let channel = group * layer.inputs + i;
                    let from = (image * g.input[2].get() + channel) * in_pixels;
                    let plane = from..from + in_pixels;
                    let planes = [&x.low[plane.clone()], &x.high[plane]];
                    for (tap, &w) in layer.weights(o, i).iter().enumerate() {
                        if w != 0 {
                            add_tap(g, tap, w, layer.zero_point, planes, &mut sums);
                        }
                    }
                }
                let requantize =
                    |acc: &i32| i16::from(layer.output.requantize(*acc, layer.multipliers[o]));
                y.low.extend(sums[0].iter().map(requantize));
                y.high.extend(sums[1].iter().map(requantize));
                some.push(sums[0][0]);
            }
        }
        self.accumulators.insert(layer.y, some);
        y
    }

    /// The result of a node that is no layer; `None` when nothing is known.
    fn node(&self, graph: &Graph, node: &Node) -> Option<Intervals> {
        let x = || Some(self.of(graph, *node.inputs.first()?));
        match &node.op {
            Op::Binary { op, clamp } => self.binary(graph, node, *op, *clamp),
            Op::Pool { pool, window } => self.pool(graph, node, *pool, *window),
            Op::Unary(unary) => self.function(graph, node, function(*unary)),
            Op::Requantize => self.function(graph, node, |x| x),
            Op::Reshape => x(),
            Op::Transpose { perm } => {
                let (x, shape) = (x()?, &graph[node.inputs[0]].shape);
                Some(x.map(|v| transpose_data(v, shape, perm)))
            }
            Op::Pad { before, value, .. } => {
                let value = affine(graph, node.output)?.quantize(*value).into();
                let (from, to) = (&graph[node.inputs[0]].shape, &graph[node.output].shape);
                Some(x()?.map(|v| padded(v, from, to, before, value)))
            }
            Op::Slice { axis, start } => {
                let (x, shape) = (x()?, &graph[node.inputs[0]].shape);
                let range = *start..start + graph[node.output].shape[*axis];
                Some(x.map(|v| sliced(v, shape, *axis, &range)))
            }
            Op::Concat { axis } => {
                let parts: Vec<(Intervals, &[usize])> = node
                    .inputs
                    .iter()
                    .map(|&id| (self.of(graph, id), &graph[id].shape[..]))
                    .collect();
                let joined = |pick: fn(&Intervals) -> &[i16]| {
                    let parts: Vec<_> = parts.iter().map(|(x, shape)| (pick(x), *shape)).collect();
                    concatenated(&parts, *axis)
                };
                Some(Intervals {
                    low: joined(|x| &x.low),
                    high: joined(|x| &x.high),
                })
            }
            _ => None,
        }
    }

    fn binary(&self, graph: &Graph, node: &Node, op: Binary, clamp: Clamp) -> Option<Intervals> {
        let &[a, b] = &node.inputs[..] else {
            return None;
        };
        let (qa, qb) = (affine(graph, a)?, affine(graph, b)?);
        let y = affine(graph, node.output)?;
        let (min, max) = y.bounds(clamp);
        let output = Output::new(y.zero_point, min, max);
        let shape = &graph[node.output].shape;
        let index = |id: ValueId| broadcast(&graph[id].shape, shape);
        let (ia, ib) = (index(a), index(b));
        let (a, b) = (self.of(graph, a), self.of(graph, b));
        let ends = |i: usize| {
            let of = |x: &Intervals, at: usize| [x.low[at], x.high[at]].map(i32::from);
            (of(&a, ia[i]), of(&b, ib[i]))
        };
        let result = |f: &dyn Fn(i32, i32) -> i8| {
            let one = |i: usize| {
                let ([a0, a1], [b0, b1]) = ends(i);
                let corners = [f(a0, b0), f(a0, b1), f(a1, b0), f(a1, b1)].map(i16::from);
                (
                    corners.into_iter().min().unwrap_or_default(),
                    corners.into_iter().max().unwrap_or_default(),
                )
            };
            let (low, high) = (0..ia.len()).map(one).unzip();
            Intervals { low, high }
        };
        match op {
            Binary::Add | Binary::Sub => {
                let sign = if op == Binary::Sub { -1.0 } else { 1.0 };
                let sum = fixed_sum(qa, qb, y, sign);
                let (fa, fb) = sum.factors;
                Some(result(&|a, b| {
                    output.requantize(a * fa + b * fb + sum.offset, sum.multiplier)
                }))
            }
            Binary::Mul => {
                let &[multiplier] = &multipliers(qa.scale, &[qb.scale], y.scale, 1)[..] else {
                    return None;
                };
                Some(result(&|a, b| {
                    output.requantize((a - qa.zero_point) * (b - qb.zero_point), multiplier)
                }))
            }
            _ => None,
        }
    }

    /// Each channel of an ONNX tensor is an image of one channel as the runtime stores it.
    fn pool(&self, graph: &Graph, node: &Node, pool: Pool, window: Window) -> Option<Intervals> {
        let x = self.of(graph, node.inputs[0]);
        let g = geometry(
            &graph[node.inputs[0]].shape,
            &graph[node.output].shape,
            Some(window),
        )?;
        let one = NonZeroUsize::MIN;
        let planes = Geometry {
            batch: g.batch * g.input[2].get(),
            input: [g.input[0], g.input[1], one],
            output: [g.output[0], g.output[1], one],
            ..g
        };
        let (from, to) = (affine(graph, node.inputs[0])?, affine(graph, node.output)?);
        let divisor = match pool {
            Pool::Average {
                count_include_pad: true,
            } => window.kernel[0] * window.kernel[1],
            _ => 0,
        };
        let output = Output::saturating(to.zero_point);
        let run = |x: &[i16]| {
            let mut y = vec![0; graph[node.output].len()];
            match pool {
                Pool::Max => max_pool(&planes, i8::MIN.into(), x, &mut y)?,
                Pool::Average { .. } => average_pool(
                    &planes,
                    divisor,
                    x,
                    &mut y,
                    |v| from.dequantize(v.into()),
                    |mean| output.quantize(mean / to.scale).into(),
                )?,
            }
            Some(y)
        };
        Some(Intervals {
            low: run(&x.low)?,
            high: run(&x.high)?,
        })
    }

    /// A function of one variable: the extremes of its table between the ends.
    fn function(&self, graph: &Graph, node: &Node, f: impl Fn(f32) -> f32) -> Option<Intervals> {
        let (x, y) = (node.inputs[0], node.output);
        let signed = |id: ValueId| graph[id].dtype == DType::I8;
        let table = table(
            affine(graph, x)?,
            signed(x),
            affine(graph, y)?,
            signed(y),
            f,
        );
        let result = |q: i16| {
            let byte = table[usize::from(q as u8)];
            if signed(y) {
                i16::from(byte as i8)
            } else {
                byte.into()
            }
        };
        let mut known = HashMap::new();
        let mut between = |(&low, &high): (&i16, &i16)| {
            *known.entry((low, high)).or_insert_with(|| {
                let all = || (low..=high).map(result);
                (
                    all().min().unwrap_or_default(),
                    all().max().unwrap_or_default(),
                )
            })
        };
        let x = self.of(graph, x);
        let (low, high) = x.low.iter().zip(&x.high).map(&mut between).unzip();
        Some(Intervals { low, high })
    }
}

impl Intervals {
    /// The one value of each channel (axis 1) that has one.
    fn constants(&self, shape: &[usize]) -> Vec<Option<i32>> {
        let [batch, channels, rest @ ..] = shape else {
            return Vec::new();
        };
        let inner: usize = rest.iter().product();
        let one = |channel: usize| {
            let value = *self.low.get(channel * inner)?;
            let constant = (0..*batch).all(|n| {
                let at = (n * channels + channel) * inner;
                let all = |v: &[i16]| v[at..at + inner].iter().all(|&v| v == value);
                all(&self.low) && all(&self.high)
            });
            constant.then_some(value.into())
        };
        (0..*channels).map(one).collect()
    }

    fn map(&self, f: impl Fn(&[i16]) -> Vec<i16>) -> Intervals {
        Intervals {
            low: f(&self.low),
            high: f(&self.high),
        }
    }
}

fn full(dtype: DType, len: usize) -> Intervals {
    let (low, high) = if dtype == DType::U8 {
        (0, 255)
    } else {
        (-128, 127)
    };
    Intervals {
        low: vec![low; len],
        high: vec![high; len],
    }
}

/// Adds `w·(x − zero_point)` of one tap to the least and greatest accumulators of a plane.
fn add_tap(
    g: &Geometry,
    tap: usize,
    w: i32,
    zero_point: i32,
    [low, high]: [&[i16]; 2],
    sums: &mut [Vec<i32>; 2],
) {
    let kernel_w = g.kernel[1].get();
    let (ky, kx) = (tap / kernel_w, tap % kernel_w);
    let [in_h, in_w, _] = g.input.map(NonZeroUsize::get);
    let [out_h, out_w, _] = g.output.map(NonZeroUsize::get);
    let at = |axis: usize, o: usize, k: usize, size: usize| {
        let position = o * g.stride[axis].get() + k * g.dilation[axis].get();
        position.checked_sub(g.pad[axis]).filter(|&p| p < size)
    };
    let mut columns = (0..out_w).filter_map(|ox| Some((ox, at(1, ox, kx, in_w)?)));
    let Some((ox, ix)) = columns.next() else {
        return;
    };
    let (least, greatest) = if w > 0 { (low, high) } else { (high, low) };
    let [below, above] = sums;
    for oy in 0..out_h {
        let Some(iy) = at(0, oy, ky, in_h) else {
            continue;
        };
        let x = iy * in_w + ix..(iy + 1) * in_w;
        let y = oy * out_w + ox..(oy + 1) * out_w;
        let add = |sums: &mut [i32], x: &[i16]| {
            let one = |(sum, &x): (&mut i32, &i16)| *sum += w * (i32::from(x) - zero_point);
            match g.stride[1].get() {
                // Most planes; a loop that the compiler vectorises.
                1 => sums.iter_mut().zip(x).for_each(one),
                stride => sums.iter_mut().zip(x.iter().step_by(stride)).for_each(one),
            }
        };
        add(&mut below[y.clone()], &least[x.clone()]);
        add(&mut above[y], &greatest[x]);
    }
}

/// For each element of `whole`, the element of `shape` that it meets.
fn broadcast(shape: &[usize], whole: &[usize]) -> Vec<usize> {
    let missing = whole.len().saturating_sub(shape.len());
    let mut strides = vec![0; whole.len()];
    let mut stride = 1;
    for (axis, &dim) in shape.iter().enumerate().rev() {
        strides[missing + axis] = if dim == 1 { 0 } else { stride };
        stride *= dim;
    }
    let one = |at: usize| {
        let (mut rest, mut index) = (at, 0);
        for (&dim, &stride) in whole.iter().zip(&strides).rev() {
            index += rest % dim * stride;
            rest /= dim;
        }
        index
    };
    (0..whole.iter().product()).map(one).collect()
}

/// `data` of shape `from` in the middle of `value`s of shape `to`.
fn padded(data: &[i16], from: &[usize], to: &[usize], before: &[usize], value: i16) -> Vec<i16> {
    let mut result = vec![value; to.iter().product()];
    for (at, &element) in data.iter().enumerate() {
        let (mut rest, mut index, mut stride) = (at, 0, 1);
        for axis in (0..from.len()).rev() {
            index += (rest % from[axis] + before[axis]) * stride;
            rest /= from[axis];
            stride *= to[axis];
        }
        result[index] = element;
    }
    result
}

fn sliced(data: &[i16], shape: &[usize], axis: usize, range: &Range<usize>) -> Vec<i16> {
    let inner: usize = shape[axis + 1..].iter().product();
    let blocks = data.chunks((shape[axis] * inner).max(1));
    let parts = blocks.flat_map(|block| &block[range.start * inner..range.end * inner]);
    parts.copied().collect()
}

fn concatenated(parts: &[(&[i16], &[usize])], axis: usize) -> Vec<i16> {
    let outer: usize = parts.first().map_or(0, |(_, s)| s[..axis].iter().product());
    let mut result = Vec::new();
    for i in 0..outer {
        for (data, shape) in parts {
            let block: usize = shape[axis..].iter().product();
            result.extend_from_slice(&data[i * block..(i + 1) * block]);
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::{CompileOptions, compile};
    use crate::graph::{Quantization, Unary};
    use crate::host::Runner;
    use crate::passes::testing::{GraphBuilder, window};
    use proptest::prelude::*;

    const SHAPE: [usize; 4] = [1, 2, 5, 4];

    fn clip(min: f32, max: f32) -> Op {
        Op::Unary(Unary::Clamp(Clamp { min, max }))
    }

    /// `op` over two tensors of narrowed range (the second one where it takes two); the graph's output.
    fn graph(kind: usize, weights: &[i8], zero_point: i32, bounds: [f32; 2]) -> Graph {
        let mut b = GraphBuilder::new();
        let x = b.quantized_input(&SHAPE, 0.05, zero_point);
        let [low, high] = bounds;
        let a = b.node("a", clip(low, high), &[x], &SHAPE);
        let c = b.node("c", clip(-high, -low), &[x], &SHAPE);
        let binary = |op| Op::Binary {
            op,
            clamp: Clamp {
                min: -2.0,
                max: 3.0,
            },
        };
        let pooling = |pool| Op::Pool {
            pool,
            window: window(3, 1),
        };
        let average = |count_include_pad| Pool::Average { count_include_pad };
        let mut layer = |groups: usize, shape: [usize; 4], window: Window, y: [usize; 4]| {
            let q = Quantization {
                scales: vec![0.02, 0.001],
                zero_point: 0,
                axis: Some(0),
            };
            let len: usize = shape.iter().product();
            let data = weights.iter().cycle().take(len).copied().collect();
            let w = b.constant(&shape, Data::I8(data), Some(q.clone()));
            let bias = b.constant(&[2], Data::I32(vec![300, -200]), Some(q));
            let op = Op::Conv2d {
                window,
                groups,
                clamp: Clamp::NONE,
            };
            b.node("layer", op, &[a, w, bias], &y)
        };
        let y = match kind {
            0 => layer(1, [2, 2, 3, 3], window(3, 1), SHAPE),
            1 => {
                let strides = Window {
                    strides: [2, 2],
                    ..window(2, 1)
                };
                layer(2, [2, 1, 2, 2], strides, [1, 2, 3, 3])
            }
            2 => b.node("y", binary(Binary::Add), &[a, c], &SHAPE),
            3 => b.node("y", binary(Binary::Sub), &[a, c], &SHAPE),
            4 => b.node("y", binary(Binary::Mul), &[a, c], &SHAPE),
            5 => b.node("y", pooling(Pool::Max), &[a], &SHAPE),
            6 => b.node("y", pooling(average(true)), &[a], &SHAPE),
            7 => b.node("y", pooling(average(false)), &[a], &SHAPE),
            8 => b.node("y", Op::Unary(Unary::HardSwish), &[a], &SHAPE),
            9 => b.node("y", Op::Softmax { axis: 1 }, &[a], &SHAPE),
            10 => {
                let perm = vec![0, 2, 1, 3];
                b.node("y", Op::Transpose { perm }, &[a], &[1, 5, 2, 4])
            }
            11 => b.node("y", Op::Concat { axis: 2 }, &[a, c], &[1, 2, 10, 4]),
            12 => b.node("y", Op::Slice { axis: 2, start: 1 }, &[a], &[1, 2, 3, 4]),
            _ => {
                let (before, after) = (vec![0, 1, 0, 2], vec![0, 0, 1, 0]);
                let op = Op::Pad {
                    before,
                    after,
                    value: 0.5,
                };
                b.node("y", op, &[a], &[1, 3, 6, 6])
            }
        };
        b.finish(&[y])
    }

    proptest! {
        #[test]
        fn no_byte_leaves_its_interval(
            kind in 0usize..14,
            weights in proptest::collection::vec(-127i8..=127, 36),
            zero_point in -100i32..100,
            low in -4.0f32..1.0,
            width in 0.0f32..3.0,
            inputs in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 40), 4),
        ) {
            let graph = graph(kind, &weights, zero_point, [low, low + width]);
            let layers = graph.nodes.iter().enumerate();
            let layers: Layers = layers.filter_map(|(t, n)| Some((t, Layer::of(&graph, n)?))).collect();
            let found = Analysis::new(&graph, &layers).of(&graph, graph.outputs[0]);
            let options = CompileOptions { keep_dead_channels: true, ..CompileOptions::default() };
            let plan = compile(&graph, &options).expect("compiles").file;
            let mut runner = Runner::new(&plan).expect("a plan");
            let extremes = [vec![0x80; 40], vec![0x7f; 40]];
            for input in inputs.iter().chain(&extremes) {
                let bytes = runner.run(input, &mut ()).expect("runs").remove(0);
                prop_assert_eq!(bytes.len(), found.low.len());
                for (i, byte) in bytes.into_iter().enumerate() {
                    let range = found.low[i]..=found.high[i];
                    prop_assert!(range.contains(&i16::from(byte as i8)), "{} at {}: {:?}", byte as i8, i, range);
                }
            }
        }
    }

    #[test]
    fn the_ends_of_an_interval_are_reached() {
        let mut b = GraphBuilder::new();
        let x = b.quantized_input(&[1, 1, 1, 2], 1.0, 0);
        let x = b.node("a", clip(-2.0, 3.0), &[x], &[1, 1, 1, 2]);
        let q = Some(Quantization::per_tensor(1.0, 0));
        let w = b.constant(&[1, 1, 1, 2], Data::I8(vec![4, -5]), q);
        let mut taps = window(1, 0);
        taps.kernel = [1, 2];
        taps.pads = [0, 1, 0, 0];
        let op = Op::Conv2d {
            window: taps,
            groups: 1,
            clamp: Clamp::NONE,
        };
        let y = b.node("conv", op, &[x, w], &[1, 1, 1, 2]);
        let graph = b.finish(&[y]);
        let layers = graph.nodes.iter().enumerate();
        let layers: Layers = layers
            .filter_map(|(t, n)| Some((t, Layer::of(&graph, n)?)))
            .collect();
        assert_eq!(layers.len(), 1);
        let analysis = Analysis::new(&graph, &layers);
        // The first pixel's left tap is in the padding.
        let expected = Intervals {
            low: vec![-15, -23],
            high: vec![10, 22],
        };
        assert_eq!(analysis.of(&graph, y), expected);
        assert_eq!(analysis.constant(y, 0), None);
    }
}
