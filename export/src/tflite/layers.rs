//! Convolutions, fully connected layers, pooling and what else works on planes. TensorFlow Lite has channels last, ONNX
//! first: transposes around each operator say so.

use super::TfliteError;
use super::convert::{Converter, dims, float, int, ints, text};
use super::schema::{Operator, Type};
use tract_onnx::pb::AttributeProto;

/// `[N,H,W,C]` to `[N,C,H,W]`, and back.
const TO_PLANES: [i64; 4] = [0, 3, 1, 2];
const TO_CHANNELS_LAST: [i64; 4] = [0, 2, 3, 1];

/// Kernel and strides, height first.
struct Window {
    kernel: [usize; 2],
    strides: [usize; 2],
    same: bool,
}

impl Window {
    fn attributes(&self) -> Vec<AttributeProto> {
        // ONNX has TensorFlow's padding under another name. The file's own shapes may leave dimensions open.
        let padding = if self.same { "SAME_UPPER" } else { "VALID" };
        vec![
            ints("kernel_shape", dims(&self.kernel)),
            ints("strides", dims(&self.strides)),
            text("auto_pad", padding),
        ]
    }
}

impl Converter<'_> {
    pub(super) fn planes_first(&mut self, op: &Operator<'_>, x: &str) -> String {
        self.node(
            op,
            "Transpose",
            &[x],
            vec![ints("perm", TO_PLANES.to_vec())],
        )
    }

    pub(super) fn channels_last(&mut self, op: &Operator<'_>, y: &str) -> String {
        let perm = vec![ints("perm", TO_CHANNELS_LAST.to_vec())];
        self.node(op, "Transpose", &[y], perm)
    }

    /// Shape of operand `i`, which must have four dimensions.
    fn plane(&self, op: &Operator<'_>, i: usize) -> Result<[usize; 4], TfliteError> {
        let shape = &self.tensor(self.operand(op, i)?).shape;
        let four = <[usize; 4]>::try_from(&shape[..]).ok();
        four.filter(|s| !s.contains(&0)).ok_or_else(|| {
            op.refused(format!(
                "operand {i} has shape {shape:?}; four dimensions are needed"
            ))
        })
    }

    fn is_same(&self, op: &Operator<'_>) -> Result<bool, TfliteError> {
        match op.byte(0)? {
            0 => Ok(true),
            1 => Ok(false),
            other => Err(op.refused(format!("its padding {other} is not known"))),
        }
    }

    /// Integer weights with a float input: the kernel quantises activations while it runs.
    fn not_hybrid(&self, op: &Operator<'_>, x: usize, w: usize) -> Result<(), TfliteError> {
        let integers = |t: usize| matches!(self.tensor(t).dtype, Type::I8 | Type::U8);
        if integers(w) && !integers(x) {
            return Err(op.refused(
                "its weights are int8 and its activations float (dynamic range quantisation), which does not run: \
                 convert with a representative dataset for full int8, or without quantisation and use `kinglet quantize`",
            ));
        }
        Ok(())
    }

    pub(super) fn convolution(&mut self, op: &Operator<'_>) -> Result<(), TfliteError> {
        let [_, _, _, channels] = self.plane(op, 0)?;
        let weights = self.plane(op, 1)?;
        let groups = channels / weights[3];
        if groups * weights[3] != channels {
            return Err(op.refused(format!(
                "{channels} channels with weights of shape {weights:?}"
            )));
        }
        let options = [1, 2, 3, 4, 5];
        self.filtered(op, options, weights, &[0, 3, 1, 2], groups)
    }

    pub(super) fn depthwise(&mut self, op: &Operator<'_>) -> Result<(), TfliteError> {
        let [_, _, _, channels] = self.plane(op, 0)?;
        let weights = self.plane(op, 1)?;
        if weights[0] != 1 || !weights[3].is_multiple_of(channels) {
            return Err(op.refused(format!(
                "{channels} channels with weights of shape {weights:?}"
            )));
        }
        let options = [1, 2, 4, 5, 6];
        self.filtered(op, options, weights, &[3, 0, 1, 2], channels)
    }

    /// A convolution; `options` are the fields of stride (width, height), activation and dilation (width, height).
    fn filtered(
        &mut self,
        op: &Operator<'_>,
        options: [usize; 5],
        weights: [usize; 4],
        perm: &[usize],
        groups: usize,
    ) -> Result<(), TfliteError> {
        let window = Window {
            kernel: [weights[1], weights[2]],
            strides: [op.size(options[1], 1)?, op.size(options[0], 1)?],
            same: self.is_same(op)?,
        };
        let (x, w) = (self.operand(op, 0)?, self.operand(op, 1)?);
        self.not_hybrid(op, x, w)?;
        let input = self.real(op, x)?;
        let planes = self.planes_first(op, &input);
        let kernel = self.weights(op, w, &weights, perm)?;
        let mut operands = vec![planes, kernel];
        if let Some(b) = self.optional(op, 2) {
            operands.push(self.bias(op, b, x, w)?);
        }
        let dilations = [op.size(options[4], 1)?, op.size(options[3], 1)?];
        let mut attributes = window.attributes();
        attributes.push(ints("dilations", dims(&dilations)));
        attributes.push(int("group", groups as i64));
        let operands: Vec<&str> = operands.iter().map(String::as_str).collect();
        let y = self.node(op, "Conv", &operands, attributes);
        let y = self.fused(op, op.byte(options[2])?, y)?;
        let y = self.channels_last(op, &y);
        self.finish(op, 0, y)
    }

    pub(super) fn transposed_convolution(&mut self, op: &Operator<'_>) -> Result<(), TfliteError> {
        let weights = self.plane(op, 1)?;
        let [_, height, width, _] = self.plane(op, 2)?;
        let (w, x) = (self.operand(op, 1)?, self.operand(op, 2)?);
        self.not_hybrid(op, x, w)?;
        let output = op.outputs.first().map(|&t| &self.tensor(t).shape[..]);
        let Some(&[_, out_height, out_width, _]) = output else {
            return Err(op.refused("its result has not four dimensions"));
        };
        let strides = [op.size(2, 1)?, op.size(1, 1)?];
        let same = self.is_same(op)?;
        // What the full result has beyond the output's pixels is cut off, half of it in front.
        let cut = |i: usize, input: usize, output: usize| {
            let full = (input - 1)
                .saturating_mul(strides[i])
                .saturating_add(weights[i + 1]);
            let total = full.checked_sub(output)?;
            let begin = if same { total / 2 } else { 0 };
            Some((begin, total - begin))
        };
        let (Some(rows), Some(columns)) = (cut(0, height, out_height), cut(1, width, out_width))
        else {
            return Err(op.refused(format!(
                "its result is larger than {weights:?} weights make it"
            )));
        };
        let input = self.real(op, x)?;
        let planes = self.planes_first(op, &input);
        let kernel = self.weights(op, w, &weights, &[3, 0, 1, 2])?;
        let mut operands = vec![planes, kernel];
        if let Some(b) = self.optional(op, 3) {
            operands.push(self.bias(op, b, x, w)?);
        }
        let attributes = vec![
            ints("kernel_shape", dims(&weights[1..3])),
            ints("strides", dims(&strides)),
            ints("pads", dims(&[rows.0, columns.0, rows.1, columns.1])),
        ];
        let operands: Vec<&str> = operands.iter().map(String::as_str).collect();
        let y = self.node(op, "ConvTranspose", &operands, attributes);
        let y = self.fused(op, op.byte(3)?, y)?;
        let y = self.channels_last(op, &y);
        self.finish(op, 0, y)
    }

    pub(super) fn fully_connected(&mut self, op: &Operator<'_>) -> Result<(), TfliteError> {
        let (x, w) = (self.operand(op, 0)?, self.operand(op, 1)?);
        self.not_hybrid(op, x, w)?;
        if op.byte(1)? != 0 {
            return Err(op.refused("its weights are shuffled; convert with the default format"));
        }
        let &[outputs, inputs] = &self.tensor(w).shape[..] else {
            return Err(op.refused(format!("its weights have shape {:?}", self.tensor(w).shape)));
        };
        let mut input = self.real(op, x)?;
        if !matches!(&self.tensor(x).shape[..], &[_, last] if last == inputs) {
            input = self.reshaped(op, &input, &[-1, inputs as i64])?;
        }
        let weights = match self.tensor(w).data {
            Some(_) => self.weights(op, w, &[outputs, inputs], &[0, 1])?,
            None => self.real(op, w)?,
        };
        let mut operands = vec![input, weights];
        if let Some(b) = self.optional(op, 2) {
            operands.push(self.bias(op, b, x, w)?);
        }
        let operands: Vec<&str> = operands.iter().map(String::as_str).collect();
        let y = self.node(op, "Gemm", &operands, vec![int("transB", 1)]);
        let mut y = self.fused(op, op.byte(0)?, y)?;
        let shape = op.outputs.first().map(|&t| &self.tensor(t).shape[..]);
        if let Some(shape) = shape.filter(|s| s.len() != 2) {
            let mut shape = dims(shape);
            // One dimension follows from the others, whatever the file says of it.
            if let Some(first) = shape.first_mut() {
                *first = -1;
            }
            y = self.reshaped(op, &y, &shape)?;
        }
        self.finish(op, 0, y)
    }

    pub(super) fn pool(&mut self, op: &Operator<'_>, op_type: &str) -> Result<(), TfliteError> {
        let [_, height, width, _] = self.plane(op, 0)?;
        let mut window = Window {
            kernel: [op.size(4, 0)?, op.size(3, 0)?],
            strides: [op.size(2, 1)?, op.size(1, 1)?],
            same: self.is_same(op)?,
        };
        // Over a whole plane strides mean nothing, but strides of 1 are those of a mean, which TensorFlow Lite rounds otherwise.
        if window.kernel == [height, width] && window.strides == [1, 1] && !window.same {
            window.strides = window.kernel;
        }
        let x = self.input(op, 0)?;
        let planes = self.planes_first(op, &x);
        let y = self.node(op, op_type, &[&planes], window.attributes());
        let y = self.fused(op, op.byte(5)?, y)?;
        let y = self.channels_last(op, &y);
        self.finish(op, 0, y)
    }

    pub(super) fn mean(&mut self, op: &Operator<'_>) -> Result<(), TfliteError> {
        let rank = self.tensor(self.operand(op, 0)?).shape.len();
        let axes = self.ints(op, 1)?;
        let axes = axes.iter().map(|&a| self.axis(op, a, rank));
        let mut axes = axes.collect::<Result<Vec<_>, _>>()?;
        axes.sort_unstable();
        // A mean over whole planes is pooling, which runs in int8.
        if rank != 4 || axes != [1, 2] {
            return self.reduce(op, "ReduceMean");
        }
        let x = self.input(op, 0)?;
        let planes = self.planes_first(op, &x);
        let mut y = self.node(op, "GlobalAveragePool", &[&planes], vec![]);
        y = match op.flag(0)? {
            true => self.channels_last(op, &y),
            false => self.squeezed(op, &y, &[2, 3])?,
        };
        self.finish(op, 0, y)
    }

    pub(super) fn blocks(&mut self, op: &Operator<'_>, op_type: &str) -> Result<(), TfliteError> {
        self.plane(op, 0)?;
        let block = op.size(0, 0)?;
        let x = self.input(op, 0)?;
        let planes = self.planes_first(op, &x);
        // Both formats have the block's pixel outside of the channel.
        let y = self.node(
            op,
            op_type,
            &[&planes],
            vec![int("blocksize", block as i64)],
        );
        let y = self.channels_last(op, &y);
        self.finish(op, 0, y)
    }

    /// `fields` are those of aligned corners and half-pixel centres.
    pub(super) fn resize(
        &mut self,
        op: &Operator<'_>,
        mode: &str,
        fields: [usize; 2],
    ) -> Result<(), TfliteError> {
        let [batch, _, _, channels] = self.plane(op, 0)?;
        let output = op.outputs.first().map(|&t| &self.tensor(t).shape[..]);
        let Some(&[_, height, width, _]) = output else {
            return Err(op.refused("its result has not four dimensions"));
        };
        let (aligned, half) = (op.flag(fields[0])?, op.flag(fields[1])?);
        let (coordinates, nearest) = match (aligned, half) {
            (true, _) => ("align_corners", "round_prefer_ceil"),
            (_, true) => ("half_pixel", "round_prefer_ceil"),
            _ => ("asymmetric", "floor"),
        };
        let x = self.input(op, 0)?;
        let planes = self.planes_first(op, &x);
        let sizes = self.int_list(&dims(&[batch, channels, height, width]))?;
        let attributes = vec![
            text("mode", mode),
            text("coordinate_transformation_mode", coordinates),
            text("nearest_mode", nearest),
        ];
        let y = self.node(op, "Resize", &[&planes, "", "", &sizes], attributes);
        let y = self.channels_last(op, &y);
        self.finish(op, 0, y)
    }

    pub(super) fn softmax(&mut self, op: &Operator<'_>) -> Result<(), TfliteError> {
        let mut x = self.input(op, 0)?;
        let beta = op.float(0, 0.0)?;
        if beta != 1.0 {
            let factor = self.scalar(beta)?;
            x = self.node(op, "Mul", &[&x, &factor], vec![]);
        }
        let y = self.node(op, "Softmax", &[&x], vec![int("axis", -1)]);
        self.finish(op, 0, y)
    }

    pub(super) fn leaky_relu(&mut self, op: &Operator<'_>) -> Result<(), TfliteError> {
        let x = self.input(op, 0)?;
        let alpha = op.float(0, 0.0)?;
        let y = self.node(op, "LeakyRelu", &[&x], vec![float("alpha", alpha)]);
        self.finish(op, 0, y)
    }
}
