//! Resize and Upsample: indices, or weighted sums of a few elements, axis by axis.

use super::OnnxError;
use super::attributes::OnnxNode;
use super::import::Importer;
use crate::graph::{Data, Op, ValueId};
use crate::limits;

/// How one axis is resized.
struct Axis {
    from: usize,
    to: usize,
    scale: f64,
}

/// What the attributes say.
struct Sampling {
    coordinates: String,
    nearest: String,
    cubic: f64,
    exclude_outside: bool,
}

impl Sampling {
    /// The input's coordinate for an output's index.
    fn position(&self, axis: &Axis, index: usize) -> Option<f64> {
        let (x, from) = (index as f64, axis.from as f64);
        // As the scale says, before it is rounded to a number of elements.
        let to = axis.scale * from;
        Some(match self.coordinates.as_str() {
            "half_pixel" => (x + 0.5) / axis.scale - 0.5,
            "pytorch_half_pixel" if axis.to == 1 => 0.0,
            "pytorch_half_pixel" => (x + 0.5) / axis.scale - 0.5,
            "half_pixel_symmetric" => {
                let adjusted = axis.to as f64 / to;
                let offset = from / 2.0 * (1.0 - adjusted);
                offset + (x + 0.5) / axis.scale - 0.5
            }
            "align_corners" if to <= 1.0 => 0.0,
            "align_corners" => x * (from - 1.0) / (to - 1.0),
            "asymmetric" => x / axis.scale,
            _ => return None,
        })
    }

    fn nearest(&self, position: f64) -> Option<f64> {
        Some(match self.nearest.as_str() {
            "round_prefer_floor" => (position - 0.5).ceil(),
            "round_prefer_ceil" => (position + 0.5).floor(),
            "floor" => position.floor(),
            "ceil" => position.ceil(),
            _ => return None,
        })
    }

    /// Elements and their weights for one position.
    fn taps(&self, mode: &str, axis: &Axis, position: f64) -> Vec<(u32, f32)> {
        let base = position.floor();
        let t = position - base;
        let weights: Vec<(f64, f64)> = if mode == "linear" {
            vec![(base, 1.0 - t), (base + 1.0, t)]
        } else {
            let a = self.cubic;
            let near = |d: f64| ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0;
            let far = |d: f64| ((a * d - 5.0 * a) * d + 8.0 * a) * d - 4.0 * a;
            let each = [
                (-1.0, far(t + 1.0)),
                (0.0, near(t)),
                (1.0, near(1.0 - t)),
                (2.0, far(2.0 - t)),
            ];
            each.iter().map(|&(d, w)| (base + d, w)).collect()
        };
        let last = axis.from as f64 - 1.0;
        let outside = |at: f64| self.exclude_outside && !(0.0..=last).contains(&at);
        let sum: f64 = weights
            .iter()
            .map(|&(at, w)| if outside(at) { 0.0 } else { w })
            .sum();
        let taps = weights.into_iter().map(|(at, w)| {
            let w = if outside(at) { 0.0 } else { w };
            let w = if self.exclude_outside { w / sum } else { w };
            (at.clamp(0.0, last) as u32, w as f32)
        });
        taps.collect()
    }
}

impl Importer<'_> {
    /// Sizes and scales of the axes that are resized.
    fn resized_axes(
        &mut self,
        node: &OnnxNode,
        shape: &[usize],
    ) -> Result<Vec<(usize, Axis)>, OnnxError> {
        let (scales_at, sizes_at) = match (node.op(), node.opset) {
            ("Upsample", _) | (_, ..11) => (1, None),
            _ => (2, Some(3)),
        };
        let axes = match node.ints("axes") {
            Some(axes) => axes
                .iter()
                .map(|&a| node.axis(a, shape.len(), false))
                .collect::<Result<Vec<_>, _>>()?,
            None => (0..shape.len()).collect(),
        };
        let sizes = match sizes_at {
            Some(at) if node.input(at).is_some() => {
                let sizes = self.constant_ints(node, at, "sizes")?;
                Some(node.checked_sizes("sizes", &sizes)?)
            }
            _ => None,
        };
        let wrong = |found: usize| node.invalid(format!("{found} sizes for {} axes", axes.len()));
        if let Some(sizes) = sizes.filter(|sizes| !sizes.is_empty()) {
            if node.string("keep_aspect_ratio_policy", "stretch") != "stretch" {
                return Err(node.unsupported(
                    "keep_aspect_ratio_policy",
                    node.string("keep_aspect_ratio_policy", ""),
                    "give the sizes themselves",
                ));
            }
            if sizes.len() != axes.len() || sizes.contains(&0) {
                return Err(wrong(sizes.len()));
            }
            let axis = |(&axis, &to): (&usize, &usize)| {
                let from = shape[axis];
                let scale = to as f64 / from as f64;
                (axis, Axis { from, to, scale })
            };
            return Ok(axes.iter().zip(&sizes).map(axis).collect());
        }
        let scales = match node.attribute("scales") {
            Some(attribute) => attribute.floats.clone(),
            None => self.constant_floats(node, scales_at, "scales")?,
        };
        if scales.len() != axes.len() || !scales.iter().all(|s| s.is_finite() && *s > 0.0) {
            return Err(wrong(scales.len()));
        }
        let axis = |(&axis, &scale): (&usize, &f32)| {
            let (from, scale) = (shape[axis], f64::from(scale));
            let to = (from as f64 * scale).floor() as usize;
            (axis, Axis { from, to, scale })
        };
        let all: Vec<_> = axes.iter().zip(&scales).map(axis).collect();
        match all.iter().all(|(_, a)| (1..=1 << 24).contains(&a.to)) {
            true => Ok(all),
            false => Err(wrong(scales.len())),
        }
    }

    pub(super) fn resize(&mut self, node: &OnnxNode) -> Result<ValueId, OnnxError> {
        let mut x = self.operand(node, 0)?;
        let shape = self.shape(x);
        let old = node.op() == "Upsample" || node.opset < 11;
        let text = |name: &str, before: &str, since: &str| {
            node.string(name, if old { before } else { since })
        };
        let sampling = Sampling {
            coordinates: text("coordinate_transformation_mode", "asymmetric", "half_pixel"),
            nearest: text("nearest_mode", "floor", "round_prefer_floor"),
            cubic: f64::from(node.float("cubic_coeff_a", -0.75)),
            exclude_outside: node.int("exclude_outside", 0) != 0,
        };
        let mode = node.string("mode", "nearest");
        if node.int("antialias", 0) != 0 {
            return Err(node.unsupported("antialias", 1, "shrink with a pooling or convolution"));
        }
        let axes = self.resized_axes(node, &shape)?;
        let mut result = shape;
        for (index, axis) in &axes {
            result[*index] = axis.to;
        }
        self.expect_elements(node, limits::elements(&result))?;
        for (index, axis) in axes {
            if axis.to == axis.from && axis.scale == 1.0 {
                continue;
            }
            let positions: Option<Vec<f64>> =
                (0..axis.to).map(|i| sampling.position(&axis, i)).collect();
            let positions = positions.ok_or_else(|| {
                node.unsupported(
                    "coordinate_transformation_mode",
                    &sampling.coordinates,
                    "use half_pixel, align_corners or asymmetric",
                )
            })?;
            x = match mode.as_str() {
                "nearest" => {
                    let last = axis.from as f64 - 1.0;
                    let indices: Option<Vec<u32>> = positions
                        .iter()
                        .map(|&p| Some(sampling.nearest(p)?.clamp(0.0, last) as u32))
                        .collect();
                    let indices = indices.ok_or_else(|| node.invalid("unknown nearest_mode"))?;
                    self.picked(node, x, index, indices)?
                }
                "linear" | "cubic" => {
                    let taps = positions
                        .iter()
                        .flat_map(|&p| sampling.taps(&mode, &axis, p));
                    let (indices, weights): (Vec<u32>, Vec<f32>) = taps.unzip();
                    let op = Op::Resample {
                        axis: index,
                        taps: indices.len() / axis.to,
                        indices,
                        weights,
                    };
                    let mut shape = self.shape(x);
                    shape[index] = axis.to;
                    self.number(node, 0)?;
                    self.step(node, "resampled", op, vec![x], shape)?
                }
                _ => return Err(node.unsupported("mode", mode, "use nearest, linear or cubic")),
            };
        }
        Ok(x)
    }

    /// Transposed convolution: zeroes between the input's elements, then a convolution with the mirrored kernel; where windows do
    /// not overlap, a pointwise convolution whose channels become pixels.
    pub(super) fn conv_transpose(&mut self, node: &OnnxNode) -> Result<ValueId, OnnxError> {
        let x = self.float(node, 0)?;
        let mut xs = self.shape(x);
        let source = self.operand(node, 1)?;
        let mut ws = self.shape(source);
        let weights = self.constant_floats(node, 1, "weights")?;
        let spatial = xs.len().saturating_sub(2);
        if !(1..=2).contains(&spatial) || ws.len() != xs.len() || ws[0] != xs[1] {
            return Err(node.invalid(format!("input {xs:?} and weights {ws:?} do not fit")));
        }
        let kernel = node.sizes("kernel_shape", spatial, 0)?;
        if kernel.iter().zip(&ws[2..]).any(|(&k, &w)| k != 0 && k != w) {
            return Err(node.invalid(format!("kernel_shape {kernel:?} of weights {ws:?}")));
        }
        let mut strides = node.sizes("strides", spatial, 1)?;
        let mut dilations = node.sizes("dilations", spatial, 1)?;
        let mut extra = node.sizes("output_padding", spatial, 0)?;
        let mut wanted = node.sizes("output_shape", spatial, 0)?;
        let mut pads = node.sizes("pads", 2 * spatial, 0)?;
        let line = spatial == 1;
        if line {
            xs.insert(2, 1);
            ws.insert(2, 1);
            for (list, fill) in [
                (&mut strides, 1),
                (&mut dilations, 1),
                (&mut extra, 0),
                (&mut wanted, 0),
            ] {
                list.insert(0, fill);
            }
            pads = vec![0, pads[0], 0, pads[1]];
        }
        let groups = usize::try_from(node.int("group", 1)).unwrap_or(0);
        if groups == 0 || !xs[1].is_multiple_of(groups) {
            return Err(node.invalid(format!("{} channels in {groups} groups", xs[1])));
        }
        let reach = |i: usize| dilations[i] * (ws[2 + i] - 1);
        let full = |i: usize, extra: usize| strides[i] * (xs[2 + i] - 1) + extra + reach(i) + 1;
        let auto = node.string("auto_pad", "NOTSET");
        let mut out = [0; 2];
        for i in 0..2 {
            let same = auto.starts_with("SAME");
            let target = match (wanted[i], same) {
                (0, true) => Some(xs[2 + i] * strides[i]),
                (0, false) => None,
                (wanted, _) => Some(wanted),
            };
            if let Some(target) = target.filter(|_| !(line && i == 0)) {
                let full = full(i, extra[i]);
                let total = full.saturating_sub(target);
                let (small, large) = (total / 2, total - total / 2);
                let first = if auto == "SAME_UPPER" { small } else { large };
                (pads[i], pads[2 + i]) = (first, total - first);
                if auto != "SAME_UPPER" && auto != "SAME_LOWER" {
                    (pads[i], pads[2 + i]) = (small, large);
                }
                // What is larger than all windows reach is padding of the output.
                extra[i] += target.saturating_sub(full);
            }
            out[i] = (strides[i] * (xs[2 + i] - 1) + extra[i] + dilations[i] * (ws[2 + i] - 1) + 1)
                .checked_sub(pads[i] + pads[2 + i])
                .filter(|&d| d > 0)
                .ok_or_else(|| node.invalid(format!("pads {pads:?} leave nothing")))?;
        }
        let output = node.output()?.to_owned();
        let [n, c, h, w] = [xs[0], xs[1], xs[2], xs[3]];
        let [per_group, kh, kw] = [ws[1], ws[2], ws[3]];
        let channels = per_group * groups;
        let bias = match node.input(2) {
            Some(_) => Some(self.constant_floats(node, 2, "bias")?),
            None => None,
        };
        let x = match line {
            true => self.reshape(node, x, xs.clone(), &format!("{output}_plane")),
            false => x,
        };
        let apart = groups == 1
            && strides == [kh, kw]
            && dilations == [1, 1]
            && extra == [0, 0]
            && pads.iter().all(|&p| p == 0);
        let weight = |c: usize, m: usize, i: usize, j: usize| {
            weights[((c * per_group + m) * kh + i) * kw + j]
        };
        let (y, shape) = if apart {
            let mut matrix = Vec::with_capacity(weights.len());
            for m in 0..channels {
                for i in 0..kh {
                    for j in 0..kw {
                        matrix.extend((0..c).map(|c| weight(c, m, i, j)));
                    }
                }
            }
            let many = channels * kh * kw;
            let bias = bias.map(|b| b.iter().flat_map(|&b| vec![b; kh * kw]).collect());
            let dims = vec![many, c, 1, 1];
            let y = self.convolved(node, x, (dims, matrix), bias, ([1, 1], 1), [h, w])?;
            let parts = vec![n, channels, kh, kw, h, w];
            let y = self.reshape(node, y, parts, &format!("{output}_pixels"));
            let y = self.transpose(node, y, &[0, 1, 4, 2, 5, 3], &format!("{output}_moved"));
            (y, vec![n, channels, out[0], out[1]])
        } else {
            let [sh, sw] = [strides[0], strides[1]];
            let mut x = x;
            if sh > 1 || sw > 1 {
                let apart = vec![n, c, h, 1, w, 1];
                x = self.reshape(node, x, apart, &format!("{output}_apart"));
                let op = Op::Pad {
                    before: vec![0; 6],
                    after: vec![0, 0, 0, sh - 1, 0, sw - 1],
                    value: 0.0,
                };
                x = self.step(node, "spread", op, vec![x], vec![n, c, h, sh, w, sw])?;
                let spread = vec![n, c, h * sh, w * sw];
                x = self.reshape(node, x, spread, &format!("{output}_spread_plane"));
            }
            // Around the first and last element, less what the zeroes behind the last one are already.
            for i in 0..2 {
                let reach = (dilations[i] * (ws[2 + i] - 1)) as i64;
                let before = reach - pads[i] as i64;
                let after = reach - pads[2 + i] as i64 + extra[i] as i64 - (strides[i] as i64 - 1);
                x = self.grown(node, x, 2 + i, before, after)?;
            }
            let mut mirrored = Vec::with_capacity(weights.len());
            let inputs = c / groups;
            for m in 0..channels {
                let (group, m) = (m / per_group, m % per_group);
                for c in group * inputs..(group + 1) * inputs {
                    for i in (0..kh).rev() {
                        mirrored.extend((0..kw).rev().map(|j| weight(c, m, i, j)));
                    }
                }
            }
            let dims = vec![channels, inputs, kh, kw];
            let windows = ([dilations[0], dilations[1]], groups);
            let y = self.convolved(node, x, (dims, mirrored), bias, windows, out)?;
            (y, vec![n, channels, out[0], out[1]])
        };
        let mut shape = shape;
        if line {
            shape.remove(2);
        }
        Ok(self.reshape(node, y, shape, &output))
    }

    /// Zeroes before and after along one axis; negative numbers crop.
    fn grown(
        &mut self,
        node: &OnnxNode,
        mut x: ValueId,
        axis: usize,
        before: i64,
        after: i64,
    ) -> Result<ValueId, OnnxError> {
        let dim = self.shape(x)[axis];
        let cut = [before, after].map(|p| (-p).max(0) as usize);
        if cut != [0, 0] {
            let range = cut[0]..dim.saturating_sub(cut[1]);
            if range.is_empty() {
                return Err(node.invalid("its padding leaves nothing"));
            }
            let name = format!("{}_cropped", node.output()?);
            x = self.part(&name, x, axis, range, &name);
        }
        let mut shape = self.shape(x);
        let (mut front, mut back) = (vec![0; shape.len()], vec![0; shape.len()]);
        (front[axis], back[axis]) = (before.max(0) as usize, after.max(0) as usize);
        if front[axis] + back[axis] == 0 {
            return Ok(x);
        }
        shape[axis] += front[axis] + back[axis];
        let op = Op::Pad {
            before: front,
            after: back,
            value: 0.0,
        };
        self.step(node, "grown", op, vec![x], shape)
    }

    /// A convolution of stride 1 without padding.
    fn convolved(
        &mut self,
        node: &OnnxNode,
        x: ValueId,
        (dims, weights): (Vec<usize>, Vec<f32>),
        bias: Option<Vec<f32>>,
        (dilations, groups): ([usize; 2], usize),
        plane: [usize; 2],
    ) -> Result<ValueId, OnnxError> {
        let output = node.output()?.to_owned();
        let (channels, kernel) = (dims[0], [dims[2], dims[3]]);
        let name = format!("{output}_weights");
        let mut inputs = vec![x, self.add_constant(&name, dims, Data::F32(weights), None)];
        if let Some(bias) = bias {
            if bias.len() != channels {
                return Err(node.invalid(format!("{} biases for {channels}", bias.len())));
            }
            let name = format!("{output}_bias");
            inputs.push(self.add_constant(&name, vec![channels], Data::F32(bias), None));
        }
        let window = crate::graph::Window {
            kernel,
            strides: [1, 1],
            dilations,
            pads: [0; 4],
        };
        let op = Op::Conv2d {
            window,
            groups,
            clamp: crate::graph::Clamp::NONE,
        };
        let shape = vec![self.shape(x)[0], channels, plane[0], plane[1]];
        self.step(node, "convolved", op, inputs, shape)
    }
}
