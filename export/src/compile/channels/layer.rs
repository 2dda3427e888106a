//! An int8 layer as the analyses see it: integer weights and where its taps fall.

use crate::compile::weights::{Affine, multipliers};
use crate::graph::{DType, Data, Graph, Node, Op, ValueId, Window};
use kinglet::kernels::Geometry;
use kinglet::requantize::Output;
use std::num::NonZeroUsize;

/// A convolution or fully connected layer on int8. A fully connected one is a 1×1 convolution of `rows` images of one
/// pixel each.
pub(super) struct Layer {
    pub(super) x: ValueId,
    pub(super) y: ValueId,
    pub(super) groups: usize,
    /// Input channels of a group.
    pub(super) inputs: usize,
    /// Output channels, all groups.
    pub(super) outputs: usize,
    /// Kernel elements.
    pub(super) taps: usize,
    /// `[outputs][inputs][taps]`.
    weights: Vec<i32>,
    /// In units of the accumulator; the input's zero point is not in it.
    pub(super) bias: Vec<i32>,
    pub(super) multipliers: Vec<f32>,
    /// Zero point of the input, which is what padding means.
    pub(super) zero_point: i32,
    pub(super) output: Output,
    pub(super) geometry: Geometry,
    /// For each tap, how often it is inside the input.
    inside: Vec<Inside>,
}

/// How often a kernel element meets the input rather than padding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Inside {
    Always,
    Sometimes,
    Never,
}

impl Layer {
    /// The layer that `node` is; `None` for other nodes, and where something is not as an int8 layer has it.
    pub(super) fn of(graph: &Graph, node: &Node) -> Option<Layer> {
        let (window, groups, clamp) = match node.op {
            Op::Conv2d {
                window,
                groups,
                clamp,
            } => (Some(window), groups, clamp),
            Op::FullyConnected { clamp } => (None, 1, clamp),
            _ => return None,
        };
        let [x, w] = *node.inputs.first_chunk()?;
        let y = node.output;
        if graph[x].dtype != DType::I8 || graph[x].data.is_some() || graph[y].dtype != DType::I8 {
            return None;
        }
        let geometry = geometry(&graph[x].shape, &graph[y].shape, window)?;
        let (outputs, rest) = graph[w].shape.split_first()?;
        let (inputs, taps) = (*rest.first()?, rest[1..].iter().product());
        let (x_affine, y_affine) = (affine(graph, x)?, affine(graph, y)?);
        let scales = &graph[w]
            .quantization
            .as_ref()
            .filter(|q| q.zero_point == 0)?
            .scales;
        if scales.len() != 1 && scales.len() != *outputs
            || inputs.checked_mul(groups)? != geometry.input[2].get()
            || *outputs != geometry.output[2].get()
            || !outputs.is_multiple_of(groups)
        {
            return None;
        }
        let weights = match graph[w].data.as_ref()? {
            Data::I8(v) => v.iter().map(|&w| w.into()).collect(),
            Data::I32(v) => v.clone(),
            _ => return None,
        };
        let bias = match node.inputs.get(2).map(|&b| graph[b].data.as_ref()) {
            None => vec![0; *outputs],
            Some(Some(Data::I32(v))) if v.len() == *outputs => v.clone(),
            _ => return None,
        };
        let (min, max) = y_affine.bounds(clamp);
        let inside = inside(&geometry);
        Some(Layer {
            x,
            y,
            groups,
            inputs,
            outputs: *outputs,
            taps,
            weights,
            bias,
            multipliers: multipliers(x_affine.scale, scales, y_affine.scale, *outputs),
            zero_point: x_affine.zero_point,
            output: Output::new(y_affine.zero_point, min, max),
            geometry,
            inside,
        })
    }

    /// Weights of output channel `o` for input channel `i` of its group.
    pub(super) fn weights(&self, o: usize, i: usize) -> &[i32] {
        let start = (o * self.inputs + i) * self.taps;
        &self.weights[start..start + self.taps]
    }

    /// Whether no accumulator of output channel `o` can leave 32 bits, whatever is moved into its bias.
    pub(super) fn is_bounded(&self, o: usize) -> bool {
        let row = &self.weights[o * self.inputs * self.taps..][..self.inputs * self.taps];
        let sum: i64 = row.iter().map(|&w| i64::from(w).abs()).sum();
        i64::from(self.bias[o]).abs() + 255 * sum <= i64::from(i32::MAX)
    }

    /// What input channel `i` adds to every accumulator of output channel `o` if all its elements are `value`; `None`
    /// where that is not the same everywhere, because some taps meet the padding at the border. `None` for the value
    /// asks about a channel that is not constant.
    pub(super) fn contribution(&self, o: usize, i: usize, value: Option<i32>) -> Option<i32> {
        let weights = self.weights(o, i).iter().zip(&self.inside);
        let mut met = weights.filter(|&(&w, &inside)| w != 0 && inside != Inside::Never);
        let Some(offset) = value.map(|v| v - self.zero_point) else {
            return met.next().is_none().then_some(0);
        };
        if offset == 0 {
            return Some(0);
        }
        if !self.is_bounded(o) {
            return None;
        }
        met.try_fold(0, |sum, (&w, &inside)| {
            (inside == Inside::Always).then_some(sum + w * offset)
        })
    }
}

/// Scale and zero point of an int8 value.
pub(super) fn affine(graph: &Graph, id: ValueId) -> Option<Affine> {
    let q = graph[id].quantization.as_ref()?;
    let (&[scale], zero_point) = (&q.scales[..], q.zero_point) else {
        return None;
    };
    let int8 = graph[id].dtype != DType::I8 || i8::try_from(zero_point).is_ok();
    int8.then_some(Affine { scale, zero_point })
}

/// Geometry of a window over `[N, C, H, W]`, or of a matrix product.
pub(super) fn geometry(x: &[usize], y: &[usize], window: Option<Window>) -> Option<Geometry> {
    let size = NonZeroUsize::new;
    let Some(window) = window else {
        let (&[rows, inputs], &[_, outputs]) = (x, y) else {
            return None;
        };
        let one = NonZeroUsize::MIN;
        return Some(Geometry {
            batch: rows,
            input: [one, one, size(inputs)?],
            output: [one, one, size(outputs)?],
            kernel: [one; 2],
            stride: [one; 2],
            dilation: [one; 2],
            pad: [0; 2],
        });
    };
    let (&[batch, in_c, in_h, in_w], &[_, out_c, out_h, out_w]) = (x, y) else {
        return None;
    };
    let two = |[v, h]: [usize; 2]| Some([size(v)?, size(h)?]);
    Some(Geometry {
        batch,
        input: [size(in_h)?, size(in_w)?, size(in_c)?],
        output: [size(out_h)?, size(out_w)?, size(out_c)?],
        kernel: two(window.kernel)?,
        stride: two(window.strides)?,
        dilation: two(window.dilations)?,
        pad: [window.pads[0], window.pads[1]],
    })
}

fn inside(g: &Geometry) -> Vec<Inside> {
    let axis = |kernel: usize, outputs: usize, taps: &dyn Fn(usize) -> std::ops::Range<usize>| {
        let one = |k: usize| {
            let met = (0..outputs).filter(|&o| taps(o).contains(&k)).count();
            match met {
                0 => Inside::Never,
                _ if met == outputs => Inside::Always,
                _ => Inside::Sometimes,
            }
        };
        (0..kernel).map(one).collect::<Vec<_>>()
    };
    let [out_h, out_w, _] = g.output.map(NonZeroUsize::get);
    let rows = axis(g.kernel[0].get(), out_h, &|o| g.vertical(o).range());
    let columns = axis(g.kernel[1].get(), out_w, &|o| g.horizontal(o).range());
    let both = |row: Inside, column: Inside| match (row, column) {
        (Inside::Never, _) | (_, Inside::Never) => Inside::Never,
        (Inside::Always, Inside::Always) => Inside::Always,
        _ => Inside::Sometimes,
    };
    rows.iter()
        .flat_map(|&row| columns.iter().map(move |&column| both(row, column)))
        .collect()
}
