//! Padding before a convolution or pooling becomes the window's own.

use crate::graph::{DType, Data, Graph, Node, Op, Pool, Unary, ValueId, Window};

/// Fuses constant pads into the windows behind them where every output stays the same: where the padding counts as zero
/// to a convolution or to an average over the whole kernel, and where it never wins a maximum. One-dimensional operators
/// have a reshape in between.
pub fn fuse_pad(graph: &mut Graph) {
    for i in 0..graph.nodes.len() {
        while let Some((reshape, pad)) = source(graph, i) {
            let Some(window) = fused(graph, i, reshape, pad) else {
                break;
            };
            apply(graph, i, reshape, pad, window);
        }
    }
    graph.remove_dead_nodes();
}

/// The pad before node `i`, and the reshape in between that belongs to `i` alone.
fn source(graph: &Graph, i: usize) -> Option<(Option<usize>, usize)> {
    let node = &graph.nodes[i];
    let x = *node.inputs.first()?;
    if !matches!(node.op, Op::Conv2d { .. } | Op::Pool { .. })
        || node.inputs.iter().filter(|&&id| id == x).count() != 1
    {
        return None;
    }
    let before = graph.producer(x)?;
    match graph.nodes[before].op {
        Op::Pad { .. } => Some((None, before)),
        Op::Reshape if graph.consumers(x) == [i] && !graph.is_output(x) => {
            let pad = graph.producer(graph.nodes[before].inputs[0])?;
            matches!(graph.nodes[pad].op, Op::Pad { .. }).then_some((Some(before), pad))
        }
        _ => None,
    }
}

/// The operator of node `i` with the padding in its window, if it computes the same.
fn fused(graph: &Graph, i: usize, reshape: Option<usize>, pad: usize) -> Option<Op> {
    let Op::Pad {
        before,
        after,
        value,
    } = &graph.nodes[pad].op
    else {
        return None;
    };
    let (x, y) = (graph.nodes[pad].inputs[0], graph.nodes[pad].output);
    if graph[x].quantization != graph[y].quantization || graph[x].data.is_some() {
        return None;
    }
    let pads = match (&before[..], &after[..]) {
        (&[0, 0, top, left], &[0, 0, bottom, right]) if reshape.is_none() => {
            [top, left, bottom, right]
        }
        _ => one_dimensional(graph, reshape?, before, after)?,
    };
    let widened = |window: &Window| Window {
        pads: std::array::from_fn(|side| window.pads[side] + pads[side]),
        ..*window
    };
    // ONNX wants a pooling's padding to be smaller than its kernel.
    if let Op::Pool { window, .. } = &graph.nodes[i].op {
        let pads = widened(window).pads;
        if (0..4).any(|side| pads[side] >= window.kernel[side % 2]) {
            return None;
        }
    }
    match &graph.nodes[i].op {
        Op::Conv2d {
            window,
            groups,
            clamp,
        } if is_zero(graph, y, *value) && has_finite_weights(graph, &graph.nodes[i]) => {
            Some(Op::Conv2d {
                window: widened(window),
                groups: *groups,
                clamp: *clamp,
            })
        }
        // Without padding of its own, its divisor was the whole kernel.
        Op::Pool {
            pool: Pool::Average { count_include_pad },
            window,
        } if is_zero(graph, y, *value) && (*count_include_pad || window.pads == [0; 4]) => {
            Some(Op::Pool {
                pool: Pool::Average {
                    count_include_pad: true,
                },
                window: widened(window),
            })
        }
        Op::Pool {
            pool: Pool::Max,
            window,
        } => {
            let widened = widened(window);
            let value = padding(graph, y, *value)?;
            let never_wins = value <= smallest(graph, x)
                || (value <= least(graph, x) && every_window_meets(graph, i, pads, &widened));
            never_wins.then_some(Op::Pool {
                pool: Pool::Max,
                window: widened,
            })
        }
        _ => None,
    }
}

/// The pads of a `[N, C, L]` tensor that is reshaped to `[N, C, 1, L]`.
fn one_dimensional(
    graph: &Graph,
    reshape: usize,
    before: &[usize],
    after: &[usize],
) -> Option<[usize; 4]> {
    let node = &graph.nodes[reshape];
    let (from, to) = (&graph[node.inputs[0]].shape, &graph[node.output].shape);
    match (&from[..], &to[..], before, after) {
        (&[n, c, l], &[m, d, 1, k], &[0, 0, left], &[0, 0, right]) if [n, c, l] == [m, d, k] => {
            Some([0, left, 0, right])
        }
        _ => None,
    }
}

/// Lets node `i` read what the pad reads.
fn apply(graph: &mut Graph, i: usize, reshape: Option<usize>, pad: usize, op: Op) {
    let x = graph.nodes[pad].inputs[0];
    graph.nodes[i].op = op;
    match reshape {
        None => graph.nodes[i].inputs[0] = x,
        Some(reshape) => {
            let length = graph[x].shape.last().copied().unwrap_or(1);
            graph.nodes[reshape].inputs[0] = x;
            let plane = graph.nodes[reshape].output;
            if let Some(last) = graph[plane].shape.last_mut() {
                *last = length;
            }
        }
    }
}

/// The padding as it is stored: a byte, or a real.
fn padding(graph: &Graph, y: ValueId, value: f32) -> Option<f32> {
    match (&graph[y].quantization, graph[y].dtype) {
        (None, DType::F32) => Some(value),
        (Some(q), DType::I8) if q.scales.len() == 1 => {
            let steps = (value / q.scales[0]).round_ties_even() + q.zero_point as f32;
            Some(steps.clamp(-128.0, 127.0))
        }
        _ => None,
    }
}

/// Whether the padding counts as nothing in a sum.
fn is_zero(graph: &Graph, y: ValueId, value: f32) -> bool {
    let zero = graph[y]
        .quantization
        .as_ref()
        .map_or(0.0, |q| q.zero_point as f32);
    padding(graph, y, value) == Some(zero)
}

/// Zero times infinity is not zero.
fn has_finite_weights(graph: &Graph, node: &Node) -> bool {
    match &graph[node.inputs[1]].data {
        Some(Data::F32(weights)) => weights.iter().all(|w| w.is_finite()),
        Some(_) => true,
        None => false,
    }
}

/// What a maximum of nothing is.
fn smallest(graph: &Graph, x: ValueId) -> f32 {
    match graph[x].dtype {
        DType::F32 => f32::NEG_INFINITY,
        _ => i8::MIN.into(),
    }
}

/// A bound below all elements of `x`, as they are stored.
fn least(graph: &Graph, x: ValueId) -> f32 {
    let producer = graph.producer(x).map(|i| &graph.nodes[i].op);
    let real = match producer {
        Some(
            Op::Conv2d { clamp, .. }
            | Op::FullyConnected { clamp }
            | Op::Binary { clamp, .. }
            | Op::Unary(Unary::Clamp(clamp)),
        ) => clamp.min,
        Some(Op::Unary(Unary::Sigmoid | Unary::HardSigmoid { .. }) | Op::Softmax { .. }) => 0.0,
        _ => f32::NEG_INFINITY,
    };
    let stored = padding(graph, x, real);
    stored.unwrap_or(f32::NEG_INFINITY)
}

/// Whether each window has an element of the input before the padding, so that something wins.
fn every_window_meets(graph: &Graph, i: usize, pads: [usize; 4], window: &Window) -> bool {
    let node = &graph.nodes[i];
    let (padded, output) = (&graph[node.inputs[0]].shape, &graph[node.output].shape);
    (0..2).all(|axis| {
        let input = padded[axis + 2] - pads[axis] - pads[axis + 2];
        let inside = window.pads[axis]..window.pads[axis] + input;
        (0..output[axis + 2]).all(|o| {
            (0..window.kernel[axis])
                .map(|k| o * window.strides[axis] + k * window.dilations[axis])
                .any(|position| inside.contains(&position))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{GraphBuilder, ops, window};
    use super::*;
    use crate::graph::{Clamp, Quantization};

    const PADS: [usize; 4] = [1, 0, 2, 1];

    fn pad(value: f32) -> Op {
        Op::Pad {
            before: vec![0, 0, PADS[0], PADS[1]],
            after: vec![0, 0, PADS[2], PADS[3]],
            value,
        }
    }

    /// `x [1, 2, 4, 4]` padded with `value`, in int8 with zero point −3 or in float, and then `op`.
    fn padded(value: f32, int8: bool, op: Op) -> Graph {
        let mut b = GraphBuilder::new();
        let x = match int8 {
            true => b.quantized_input(&[1, 2, 4, 4], 0.5, -3),
            false => b.input(&[1, 2, 4, 4]),
        };
        let relu = Op::Unary(Unary::Clamp(Clamp::RELU));
        let x = b.node("relu", relu, &[x], &[1, 2, 4, 4]);
        let x = b.node("pad", pad(value), &[x], &[1, 2, 7, 5]);
        let mut inputs = vec![x];
        if matches!(op, Op::Conv2d { .. }) {
            let q = Some(Quantization::per_tensor(1.0, 0));
            inputs.push(match int8 {
                true => b.constant(&[2, 2, 2, 2], Data::I8(vec![1; 16]), q),
                false => b.floats("w", &[2, 2, 2, 2], 0.5),
            });
        }
        let (Op::Conv2d { window, .. } | Op::Pool { window, .. }) = op else {
            panic!("an operator with a window")
        };
        let size = |size: usize| size + 2 * window.pads[0] + 1 - window.kernel[0];
        let y = b.node("y", op, &inputs, &[1, 2, size(7), size(5)]);
        b.finish(&[y])
    }

    fn fuses(graph: Graph) -> Option<Op> {
        let mut graph = graph;
        fuse_pad(&mut graph);
        (ops(&graph).len() == 2).then(|| graph.nodes[1].op.clone())
    }

    fn conv() -> Op {
        Op::Conv2d {
            window: window(2, 0),
            groups: 1,
            clamp: Clamp::NONE,
        }
    }

    fn pool(pool: Pool, pad: usize) -> Op {
        let window = window(3, pad);
        Op::Pool { pool, window }
    }

    #[test]
    fn zeroes_before_a_convolution_are_its_padding() {
        for int8 in [false, true] {
            let Some(Op::Conv2d { window, .. }) = fuses(padded(0.0, int8, conv())) else {
                panic!("fuses")
            };
            assert_eq!(window.pads, PADS);
            assert_eq!(fuses(padded(0.5, int8, conv())), None);
        }
        let mut graph = padded(0.0, false, conv());
        graph[ValueId(3)].data = Some(Data::F32(vec![f32::INFINITY; 16]));
        assert_eq!(fuses(graph), None);
    }

    #[test]
    fn an_average_that_counted_the_padding_still_counts_it() {
        let average = |count_include_pad| Pool::Average { count_include_pad };
        for before in [true, false] {
            let fused = fuses(padded(0.0, true, pool(average(before), 0)));
            let Some(Op::Pool { pool, window }) = fused else {
                panic!("fuses")
            };
            assert_eq!((pool, window.pads), (average(true), PADS));
        }
        assert_eq!(fuses(padded(1.0, true, pool(average(true), 0))), None);
        // Its own padding is not counted, that before it is.
        assert_eq!(fuses(padded(0.0, true, pool(average(false), 1))), None);
    }

    #[test]
    fn padding_that_never_wins_a_maximum_is_the_window_s() {
        // After the relu nothing is less than zero; a window of padding alone would be 0, and then −128.
        let three = pool(Pool::Max, 0);
        // ONNX has no padding as large as the kernel.
        let two = Op::Pool {
            pool: Pool::Max,
            window: window(2, 0),
        };
        for int8 in [false, true] {
            assert!(fuses(padded(0.0, int8, three.clone())).is_some());
            assert!(fuses(padded(-7.0, int8, three.clone())).is_some());
            assert_eq!(fuses(padded(0.5, int8, three.clone())), None);
            assert_eq!(fuses(padded(0.0, int8, two.clone())), None);
            let nothing = padded(f32::NEG_INFINITY, int8, three.clone());
            assert!(fuses(nothing).is_some());
        }
    }

    #[test]
    fn one_dimensional_pads_pass_the_reshape() {
        let mut b = GraphBuilder::new();
        let x = b.input(&[1, 2, 5]);
        let op = Op::Pad {
            before: vec![0, 0, 2],
            after: vec![0, 0, 1],
            value: 0.0,
        };
        let x = b.node("pad", op, &[x], &[1, 2, 8]);
        let x = b.node("plane", Op::Reshape, &[x], &[1, 2, 1, 8]);
        let w = b.floats("w", &[1, 2, 1, 3], 0.5);
        let mut taps = window(1, 0);
        taps.kernel = [1, 3];
        let op = Op::Conv2d {
            window: taps,
            groups: 1,
            clamp: Clamp::NONE,
        };
        let y = b.node("conv", op, &[x, w], &[1, 1, 1, 6]);
        let mut g = b.finish(&[y]);
        fuse_pad(&mut g);
        assert_eq!(ops(&g), ["Reshape", "Conv"]);
        assert_eq!(g[g.nodes[0].output].shape, [1, 2, 1, 5]);
        let Op::Conv2d { window, .. } = g.nodes[1].op else {
            panic!("a convolution")
        };
        assert_eq!(window.pads, [0, 2, 0, 1]);
    }

    #[test]
    fn another_reader_keeps_the_pad_for_itself() {
        let mut b = GraphBuilder::new();
        let x = b.input(&[1, 2, 4, 4]);
        let x = b.node("pad", pad(0.0), &[x], &[1, 2, 7, 5]);
        let w = b.floats("w", &[2, 2, 2, 2], 0.5);
        let y = b.node("conv", conv(), &[x, w], &[1, 2, 6, 4]);
        let mut g = b.finish(&[y, x]);
        fuse_pad(&mut g);
        assert_eq!(ops(&g), ["Pad", "Conv"]);
        assert_eq!(g.nodes[1].inputs[0], g.inputs[0]);
    }
}
