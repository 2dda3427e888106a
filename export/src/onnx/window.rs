//! Convolution and pooling, one- and two-dimensional: pads resolved, one dimension becomes two.

use super::OnnxError;
use super::attributes::OnnxNode;
use super::import::Importer;
use crate::graph::{Clamp, DType, Op, Pool, ValueId, Window};

/// Kernel, strides and dilations larger than this are nonsense, and would overflow.
const MAX_EXTENT: usize = 1 << 20;

/// A window with its output size.
struct Placed {
    window: Window,
    output: [usize; 2],
    /// Rows and columns of padding that ceil_mode added at the end, which no divisor counts.
    extra: [usize; 2],
}

/// Output size and pads along one axis.
struct Axis {
    output: usize,
    begin: usize,
    end: usize,
    extra: usize,
}

/// ONNX's formulas for one axis; `None` when the window does not fit.
fn place(
    input: usize,
    kernel: usize,
    stride: usize,
    dilation: usize,
    pads: (usize, usize),
    auto_pad: &str,
    ceil: bool,
) -> Option<Axis> {
    let extent = (kernel.checked_sub(1)?)
        .checked_mul(dilation)?
        .checked_add(1)?;
    if stride == 0 || dilation == 0 || extent > MAX_EXTENT {
        return None;
    }
    if auto_pad == "SAME_UPPER" || auto_pad == "SAME_LOWER" {
        let output = input.div_ceil(stride);
        let total = ((output - 1) * stride + extent).saturating_sub(input);
        let small = total / 2;
        let (begin, end) = if auto_pad == "SAME_UPPER" {
            (small, total - small)
        } else {
            (total - small, small)
        };
        return Some(Axis {
            output,
            begin,
            end,
            extra: 0,
        });
    }
    let (begin, end) = if auto_pad == "VALID" { (0, 0) } else { pads };
    let free = (input + begin + end).checked_sub(extent)?;
    let mut output = free / stride + 1;
    let mut extra = 0;
    if ceil && !free.is_multiple_of(stride) {
        // A window must start inside the input or the padding before it.
        if output * stride < input + begin {
            extra = output * stride + extent - (input + begin + end);
            output += 1;
        }
    }
    Some(Axis {
        output,
        begin,
        end: end + extra,
        extra,
    })
}

impl Importer<'_> {
    /// A plane operator's input as `[N,C,H,W]`; `true` when it had one dimension.
    fn planes(&mut self, node: &OnnxNode, x: ValueId) -> Result<(ValueId, bool), OnnxError> {
        let shape = self.shape(x);
        match shape.as_slice() {
            [_, _, _, _] => Ok((x, false)),
            &[n, c, l] => {
                let name = format!("{}_2d", node.output()?);
                Ok((self.reshape(node, x, vec![n, c, 1, l], &name), true))
            }
            _ => Err(node.unsupported(
                "input rank",
                shape.len(),
                "only one- and two-dimensional planes ([N,C,L], [N,C,H,W]) are supported",
            )),
        }
    }

    /// Adds the node, and for one dimension the reshape back.
    fn emit_plane(
        &mut self,
        node: &OnnxNode,
        op: Op,
        inputs: Vec<ValueId>,
        shape: Vec<usize>,
        one: bool,
    ) -> Result<ValueId, OnnxError> {
        let output = node.output()?;
        let dtype = self.graph[inputs[0]].dtype;
        let quantization = if dtype == DType::F32 {
            None
        } else {
            self.graph[inputs[0]].quantization.clone()
        };
        let name = if one {
            format!("{output}_plane")
        } else {
            output.to_owned()
        };
        let y = self.emit(&node.name(), op, inputs, &name, shape.clone(), dtype);
        self.graph[y].quantization = quantization;
        if !one {
            return Ok(y);
        }
        Ok(self.reshape(node, y, vec![shape[0], shape[1], shape[3]], output))
    }

    /// Reads kernel attributes; `kernel` is the weights' when there are weights.
    fn window(
        &mut self,
        node: &OnnxNode,
        plane: [usize; 2],
        kernel: Option<[usize; 2]>,
        one: bool,
    ) -> Result<Placed, OnnxError> {
        let count = if one { 1 } else { 2 };
        let pair = |v: Vec<usize>, fill: usize| if one { [fill, v[0]] } else { [v[0], v[1]] };
        let declared = match node.ints("kernel_shape") {
            Some(_) => Some(pair(node.sizes("kernel_shape", count, 1)?, 1)),
            None => None,
        };
        let kernel = match (declared, kernel) {
            (Some(a), Some(b)) if a != b => {
                return Err(node.invalid(format!(
                    "kernel_shape {a:?} differs from the weights' {b:?}"
                )));
            }
            (a, b) => b
                .or(a)
                .ok_or_else(|| node.invalid("kernel_shape is missing"))?,
        };
        let strides = pair(node.sizes("strides", count, 1)?, 1);
        let dilations = pair(node.sizes("dilations", count, 1)?, 1);
        let pads = node.sizes("pads", 2 * count, 0)?;
        let pads = if one {
            [0, pads[0], 0, pads[1]]
        } else {
            [pads[0], pads[1], pads[2], pads[3]]
        };
        let auto_pad = node.string("auto_pad", "NOTSET");
        if !["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"].contains(&auto_pad.as_str()) {
            return Err(node.invalid(format!("auto_pad `{auto_pad}` does not exist")));
        }
        let ceil = node.int("ceil_mode", 0) != 0;
        let mut axes = Vec::new();
        for d in 0..2 {
            let axis =
                place(plane[d], kernel[d], strides[d], dilations[d], (pads[d], pads[d + 2]), &auto_pad, ceil)
                    .ok_or_else(|| {
                        node.invalid(format!(
                            "a window of {kernel:?} (strides {strides:?}, dilations {dilations:?}, pads {pads:?}) \
                             does not fit a plane of {plane:?}"
                        ))
                    })?;
            axes.push(axis);
        }
        let window = Window {
            kernel,
            strides,
            dilations,
            pads: [axes[0].begin, axes[1].begin, axes[0].end, axes[1].end],
        };
        Ok(Placed {
            window,
            output: [axes[0].output, axes[1].output],
            extra: [axes[0].extra, axes[1].extra],
        })
    }

    pub(super) fn conv(&mut self, node: &OnnxNode) -> Result<ValueId, OnnxError> {
        let x = self.float(node, 0)?;
        let w = self.float(node, 1)?;
        let bias = self.optional(node, 2)?;
        let w = self.symmetric_weights(node, w)?;
        let (x, one) = self.planes(node, x)?;
        let w = match self.shape(w).as_slice() {
            &[m, c, l] if one => self.reshape(
                node,
                w,
                vec![m, c, 1, l],
                &format!("{}_2d", self.graph[w].name),
            ),
            [_, _, _, _] if !one => w,
            other => {
                return Err(node.invalid(format!(
                    "weights of shape {other:?} do not fit the input's rank"
                )));
            }
        };
        let (xs, ws) = (self.shape(x), self.shape(w));
        let groups = usize::try_from(node.int("group", 1)).unwrap_or(0);
        if groups == 0 || xs[1] % groups != 0 || ws[0] % groups != 0 || ws[1] != xs[1] / groups {
            return Err(node.invalid(format!(
                "input {xs:?}, weights {ws:?} and {groups} groups do not fit"
            )));
        }
        let placed = self.window(node, [xs[2], xs[3]], Some([ws[2], ws[3]]), one)?;
        let mut inputs = vec![x, w];
        if let Some(b) = bias {
            if self.constant_source(b).is_none() || self.graph[b].dtype != DType::F32 {
                return Err(node.unsupported(
                    "bias",
                    "computed or not float",
                    "the bias must be a constant",
                ));
            }
            if self.shape(b) != [ws[0]] {
                let message = format!(
                    "the bias has shape {:?} for {} channels",
                    self.shape(b),
                    ws[0]
                );
                return Err(node.invalid(message));
            }
            inputs.push(b);
        }
        let op = Op::Conv2d {
            window: placed.window,
            groups,
            clamp: Clamp::NONE,
        };
        let shape = vec![xs[0], ws[0], placed.output[0], placed.output[1]];
        self.emit_plane(node, op, inputs, shape, one)
    }

    pub(super) fn pool(&mut self, node: &OnnxNode) -> Result<ValueId, OnnxError> {
        let max = node.op() == "MaxPool";
        let x = if max {
            self.operand(node, 0)?
        } else {
            self.float(node, 0)?
        };
        let (mut x, one) = self.planes(node, x)?;
        let xs = self.shape(x);
        let mut placed = self.window(node, [xs[2], xs[3]], None, one)?;
        let (kernel, pads) = (placed.window.kernel, placed.window.pads);
        let extent = |d: usize| (kernel[d] - 1) * placed.window.dilations[d] + 1;
        if (0..2).any(|d| pads[d] >= extent(d) || pads[d + 2] - placed.extra[d] >= extent(d)) {
            return Err(node.invalid(format!(
                "pads {pads:?} are not smaller than the kernel {kernel:?}"
            )));
        }
        let mut include = !max && node.int("count_include_pad", 0) != 0;
        if include && placed.extra != [0, 0] {
            // Declared padding counts in the divisor, padding that ceil_mode adds does not: make the former data.
            let (before, after) = (
                vec![0, 0, pads[0], pads[1]],
                vec![0, 0, pads[2] - placed.extra[0], pads[3] - placed.extra[1]],
            );
            let shape: Vec<usize> = (0..4).map(|a| before[a] + xs[a] + after[a]).collect();
            let name = format!("{}_padded", node.output()?);
            let op = Op::Pad {
                before,
                after,
                value: 0.0,
            };
            x = self.emit(&node.name(), op, vec![x], &name, shape, DType::F32);
            placed.window.pads = [0, 0, placed.extra[0], placed.extra[1]];
            include = false;
        }
        let pool = if max {
            Pool::Max
        } else {
            Pool::Average {
                count_include_pad: include,
            }
        };
        let shape = vec![xs[0], xs[1], placed.output[0], placed.output[1]];
        self.emit_plane(
            node,
            Op::Pool {
                pool,
                window: placed.window,
            },
            vec![x],
            shape,
            one,
        )
    }

    fn whole(plane: [usize; 2]) -> Window {
        Window {
            kernel: plane,
            strides: [1, 1],
            dilations: [1, 1],
            pads: [0; 4],
        }
    }

    pub(super) fn global_pool(&mut self, node: &OnnxNode) -> Result<ValueId, OnnxError> {
        let x = self.float(node, 0)?;
        let (x, one) = self.planes(node, x)?;
        let xs = self.shape(x);
        let pool = match node.op() {
            "GlobalMaxPool" => Pool::Max,
            _ => Pool::Average {
                count_include_pad: false,
            },
        };
        let op = Op::Pool {
            pool,
            window: Self::whole([xs[2], xs[3]]),
        };
        self.emit_plane(node, op, vec![x], vec![xs[0], xs[1], 1, 1], one)
    }

    /// A mean over any axes is an average pool over the plane that they form.
    pub(super) fn reduce_mean(&mut self, node: &OnnxNode) -> Result<ValueId, OnnxError> {
        let x = self.float(node, 0)?;
        let xs = self.shape(x);
        let rank = xs.len();
        let axes = match node.ints("axes") {
            Some(axes) => axes.to_vec(),
            None if node.input(1).is_some() => self.constant_ints(node, 1, "axes")?,
            None => vec![],
        };
        if axes.is_empty() && node.int("noop_with_empty_axes", 0) != 0 {
            return Ok(x);
        }
        let mut reduced = axes
            .iter()
            .map(|&a| node.axis(a, rank, false))
            .collect::<Result<Vec<_>, _>>()?;
        if reduced.is_empty() {
            reduced = (0..rank).collect();
        }
        let kept: Vec<usize> = (0..rank).filter(|a| !reduced.contains(a)).collect();
        reduced = (0..rank).filter(|a| reduced.contains(a)).collect();
        let output = node.output()?.to_owned();
        let size = |axes: &[usize]| axes.iter().map(|&a| xs[a]).product::<usize>();
        let shape: Vec<usize> = if node.int("keepdims", 1) != 0 {
            (0..rank)
                .map(|a| if reduced.contains(&a) { 1 } else { xs[a] })
                .collect()
        } else {
            kept.iter().map(|&a| xs[a]).collect()
        };
        let pool = Pool::Average {
            count_include_pad: false,
        };
        let (x, plane, pooled) = if rank == 4 && reduced == [2, 3] {
            (x, [xs[2], xs[3]], vec![xs[0], xs[1], 1, 1])
        } else if rank == 4 && reduced == [1, 2] {
            // Channels last: as planes.
            let x = self.transpose(node, x, &[0, 3, 1, 2], &format!("{output}_planes"));
            (x, [xs[1], xs[2]], vec![xs[0], xs[3], 1, 1])
        } else {
            let perm: Vec<usize> = kept.iter().chain(&reduced).copied().collect();
            let mut x = x;
            if perm != (0..rank).collect::<Vec<_>>() {
                x = self.transpose(node, x, &perm, &format!("{output}_last"));
            }
            let plane = vec![1, size(&kept), 1, size(&reduced)];
            let x = self.reshape(node, x, plane, &format!("{output}_planes"));
            (x, [1, size(&reduced)], vec![1, size(&kept), 1, 1])
        };
        let name = if pooled == shape {
            output.clone()
        } else {
            format!("{output}_pooled")
        };
        let op = Op::Pool {
            pool,
            window: Self::whole(plane),
        };
        let y = self.emit(&node.name(), op, vec![x], &name, pooled.clone(), DType::F32);
        Ok(if pooled == shape {
            y
        } else {
            self.reshape(node, y, shape, &output)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(
        input: usize,
        kernel: usize,
        stride: usize,
        pads: (usize, usize),
        ceil: bool,
    ) -> (usize, usize) {
        let a = place(input, kernel, stride, 1, pads, "NOTSET", ceil).unwrap();
        (a.output, a.extra)
    }

    #[test]
    fn same_padding_puts_the_odd_cell_where_it_is_named() {
        let upper = place(28, 2, 1, 1, (0, 0), "SAME_UPPER", false).unwrap();
        assert_eq!((upper.output, upper.begin, upper.end), (28, 0, 1));
        let lower = place(49, 10, 2, 1, (0, 0), "SAME_LOWER", false).unwrap();
        assert_eq!((lower.output, lower.begin, lower.end), (25, 5, 4));
    }

    #[test]
    fn ceil_mode_adds_a_window_only_if_it_starts_inside() {
        assert_eq!(axis(7, 2, 2, (0, 0), false), (3, 0));
        assert_eq!(axis(7, 2, 2, (0, 0), true), (4, 1));
        // The fourth window would start in the padding behind the input.
        assert_eq!(axis(6, 3, 3, (1, 1), true), (3, 1));
        assert_eq!(axis(5, 2, 3, (0, 1), true), (2, 0));
    }

    #[test]
    fn a_window_that_does_not_fit_is_refused() {
        assert!(place(3, 5, 1, 1, (0, 0), "NOTSET", false).is_none());
        assert!(place(3, 1, 0, 1, (0, 0), "NOTSET", false).is_none());
        assert!(place(3, usize::MAX, 1, 3, (0, 0), "NOTSET", false).is_none());
        assert!(place(3, 0, 1, 1, (0, 0), "NOTSET", false).is_none());
    }
}
