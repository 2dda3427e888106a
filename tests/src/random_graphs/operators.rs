//! Random chains of the float operators that only larger models have, written as ONNX nodes with ONNX's own attributes: what the
//! importer rewrites into a few operators of ours.

use crate::random::Random;
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto,
};

/// A tensor of the chain.
type Shaped = (String, Vec<usize>);

/// Most elements of a tensor in a chain.
const MOST: usize = 4000;

struct Nodes<'m> {
    graph: &'m mut GraphProto,
    random: Random,
}

/// Replaces the model's first output, a float tensor of `shape`, by the end of a chain of random operators behind it.
pub(super) fn extend(model: &mut ModelProto, shape: &[usize], seed: u64) {
    let Some(graph) = &mut model.graph else {
        return;
    };
    let mut at = (graph.output[0].name.clone(), shape.to_vec());
    let random = Random::new(seed);
    let mut nodes = Nodes { graph, random };
    let (wanted, mut made) = (nodes.random.between(1, 4), 0);
    for _ in 0..40 {
        if made == wanted {
            break;
        }
        let before = (nodes.graph.node.len(), nodes.graph.initializer.len());
        match nodes.any(&at) {
            Some(next) if next.1.iter().product::<usize>() <= MOST => {
                (at, made) = (next, made + 1);
            }
            _ => {
                nodes.graph.node.truncate(before.0);
                nodes.graph.initializer.truncate(before.1);
            }
        }
    }
    nodes.graph.output[0] = ValueInfoProto {
        name: at.0,
        ..ValueInfoProto::default()
    };
}

fn int(name: &str, i: usize) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        i: i as i64,
        r#type: 2,
        ..AttributeProto::default()
    }
}

fn ints(name: &str, values: &[usize]) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        ints: values.iter().map(|&v| v as i64).collect(),
        r#type: 7,
        ..AttributeProto::default()
    }
}

fn text(name: &str, value: &str) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        s: value.into(),
        r#type: 3,
        ..AttributeProto::default()
    }
}

impl Nodes<'_> {
    fn fresh(&self, what: &str) -> String {
        format!(
            "{what}_g{}",
            self.graph.node.len() + self.graph.initializer.len()
        )
    }

    fn node(&mut self, op: &str, inputs: &[&str], attribute: Vec<AttributeProto>) -> String {
        self.outputs(op, inputs, attribute, 1)
    }

    /// A node of several outputs, of which the first is named here; the others are its name with a number.
    fn outputs(
        &mut self,
        op: &str,
        inputs: &[&str],
        attribute: Vec<AttributeProto>,
        count: usize,
    ) -> String {
        let name = self.fresh(&op.to_lowercase());
        let output = |i: usize| match i {
            0 => name.clone(),
            _ => format!("{name}_{i}"),
        };
        self.graph.node.push(NodeProto {
            op_type: op.into(),
            name: format!("{name}_node"),
            input: inputs.iter().map(|&i| i.into()).collect(),
            output: (0..count).map(output).collect(),
            attribute,
            ..NodeProto::default()
        });
        name
    }

    fn initializer(&mut self, tensor: TensorProto) -> String {
        let name = self.fresh("c");
        self.graph.initializer.push(TensorProto {
            name: name.clone(),
            ..tensor
        });
        name
    }

    fn integers(&mut self, values: &[i64]) -> String {
        self.initializer(TensorProto {
            dims: vec![values.len() as i64],
            data_type: 7,
            int64_data: values.to_vec(),
            ..TensorProto::default()
        })
    }

    fn floats(&mut self, shape: &[usize], mut value: impl FnMut(&mut Random) -> f32) -> String {
        let len = shape.iter().product();
        let float_data = (0..len).map(|_| value(&mut self.random)).collect();
        self.initializer(TensorProto {
            dims: shape.iter().map(|&d| d as i64).collect(),
            data_type: 1,
            float_data,
            ..TensorProto::default()
        })
    }

    fn reals(&mut self, shape: &[usize]) -> String {
        self.floats(shape, |r| 0.8 * r.real())
    }

    fn any(&mut self, x: &Shaped) -> Option<Shaped> {
        let rank = x.1.len();
        match self.random.below(14) {
            0 | 1 if rank == 4 => self.resize(x),
            2 | 3 if rank == 4 => self.conv_transpose(x),
            4 if rank == 4 => self.blocks(x),
            5 if rank == 4 => Some(self.instance_norm(x)),
            6 => self.recurrent(x),
            7 => Some(self.reduce(x)),
            8 => self.index(x),
            9 => self.product(x),
            10 => Some(self.two(x)),
            11 => self.normalize(x),
            12 => self.pad(x),
            _ => Some(self.function(x)),
        }
    }

    fn resize(&mut self, (x, shape): &Shaped) -> Option<Shaped> {
        let mut out = shape.clone();
        let mut scales = vec![1.0; 4];
        let mut by_sizes = self.random.one_in(3);
        for axis in [2, 3] {
            let scale: f32 = self.random.pick(&[0.5, 1.0, 1.5, 2.0, 2.0, 3.0]);
            scales[axis] = scale;
            out[axis] = (shape[axis] as f32 * scale).floor() as usize;
            if out[axis] == 0 {
                return None;
            }
        }
        let mode = self.random.pick(&["nearest", "linear", "cubic"]);
        let transformation = self.random.pick(&[
            "half_pixel",
            "asymmetric",
            "align_corners",
            "pytorch_half_pixel",
        ]);
        // Where scale × size is no integer, ONNX's own tests take it as it is and ONNX Runtime rounds it down.
        by_sizes |= transformation == "align_corners";
        let mut attributes = vec![
            text("mode", mode),
            text("coordinate_transformation_mode", transformation),
        ];
        if mode == "nearest" {
            let rounding = ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"];
            attributes.push(text("nearest_mode", self.random.pick(&rounding)));
        }
        let y = if by_sizes {
            let sizes: Vec<i64> = out.iter().map(|&d| d as i64).collect();
            let sizes = self.integers(&sizes);
            self.node("Resize", &[x, "", "", &sizes], attributes)
        } else {
            let mut each = scales.into_iter();
            let scales = self.floats(&[4], |_| each.next().unwrap_or(1.0));
            self.node("Resize", &[x, "", &scales], attributes)
        };
        Some((y, out))
    }

    fn conv_transpose(&mut self, (x, shape): &Shaped) -> Option<Shaped> {
        let c = shape[1];
        let groups = match c.is_multiple_of(2) && self.random.one_in(3) {
            true => self.random.pick(&[2, c]),
            false => 1,
        };
        let each = self.random.between(1, 4);
        let mut out = vec![shape[0], each * groups, 0, 0];
        let (mut kernel, mut strides, mut dilations) = ([1; 2], [1; 2], [1; 2]);
        let (mut pads, mut more) = ([0; 4], [0; 2]);
        for axis in 0..2 {
            let r = &mut self.random;
            kernel[axis] = r.between(1, 3);
            strides[axis] = r.between(1, 3);
            dilations[axis] = r.pick(&[1, 1, 2]);
            pads[axis] = r.below(kernel[axis]);
            pads[axis + 2] = r.below(kernel[axis]);
            more[axis] = r.below(strides[axis]);
            let whole = (shape[axis + 2] - 1) * strides[axis]
                + (kernel[axis] - 1) * dilations[axis]
                + 1
                + more[axis];
            let left = whole.checked_sub(pads[axis] + pads[axis + 2])?;
            out[axis + 2] = (left > 0).then_some(left)?;
        }
        let w = self.reals(&[c, each, kernel[0], kernel[1]]);
        let b = self.reals(&[each * groups]);
        let mut inputs = vec![x.as_str(), &w];
        if self.random.one_in(2) {
            inputs.push(&b);
        }
        let attributes = vec![
            int("group", groups),
            ints("kernel_shape", &kernel),
            ints("strides", &strides),
            ints("dilations", &dilations),
            ints("pads", &pads),
            ints("output_padding", &more),
        ];
        Some((self.node("ConvTranspose", &inputs, attributes), out))
    }

    fn blocks(&mut self, (x, shape): &Shaped) -> Option<Shaped> {
        let [n, c, h, w] = shape[..].try_into().ok()?;
        let size = int("blocksize", 2);
        if h % 2 == 0 && w % 2 == 0 {
            let y = self.node("SpaceToDepth", &[x], vec![size]);
            return Some((y, vec![n, c * 4, h / 2, w / 2]));
        }
        let mode = text("mode", self.random.pick(&["DCR", "CRD"]));
        (c % 4 == 0).then(|| {
            let y = self.node("DepthToSpace", &[x], vec![size, mode]);
            (y, vec![n, c / 4, h * 2, w * 2])
        })
    }

    fn instance_norm(&mut self, (x, shape): &Shaped) -> Shaped {
        let (scale, bias) = (self.reals(&shape[1..2]), self.reals(&shape[1..2]));
        let y = self.node("InstanceNormalization", &[x, &scale, &bias], Vec::new());
        (y, shape.clone())
    }

    fn normalize(&mut self, (x, shape): &Shaped) -> Option<Shaped> {
        let (&last, rank) = (shape.last()?, shape.len());
        let y = match self.random.below(4) {
            0 => {
                let (scale, bias) = (self.reals(&[last]), self.reals(&[last]));
                self.node("LayerNormalization", &[x, &scale, &bias], Vec::new())
            }
            1 => {
                let p = self.random.between(1, 2);
                let axis = self.random.below(rank);
                self.node(
                    "LpNormalization",
                    &[x],
                    vec![int("axis", axis), int("p", p)],
                )
            }
            2 => {
                let axis = self.random.below(rank);
                self.node("LogSoftmax", &[x], vec![int("axis", axis)])
            }
            _ => {
                let axis = self.random.below(rank);
                self.node("Softmax", &[x], vec![int("axis", axis)])
            }
        };
        Some((y, shape.clone()))
    }

    /// Over the tensor as `[steps, 1, inputs]`.
    fn recurrent(&mut self, (x, shape): &Shaped) -> Option<Shaped> {
        let inputs = *shape.last()?;
        let steps = shape.iter().product::<usize>() / inputs.max(1);
        if steps > 12 || inputs > 24 {
            return None;
        }
        let dims = self.integers(&[steps as i64, 1, inputs as i64]);
        let sequence = self.node("Reshape", &[x, &dims], Vec::new());
        let (op, gates) = self.random.pick(&[("LSTM", 4), ("GRU", 3), ("RNN", 1)]);
        let hidden = self.random.between(1, 5);
        let direction = self.random.pick(&["forward", "reverse", "bidirectional"]);
        let d = if direction == "bidirectional" { 2 } else { 1 };
        let w = self.reals(&[d, gates * hidden, inputs]);
        let r = self.reals(&[d, gates * hidden, hidden]);
        let b = match self.random.one_in(3) {
            true => String::new(),
            false => self.reals(&[d, 2 * gates * hidden]),
        };
        let mut operands = vec![sequence, w, r, b];
        if self.random.one_in(2) {
            operands.push(String::new());
            operands.push(self.reals(&[d, 1, hidden]));
            if op == "LSTM" && self.random.one_in(2) {
                operands.push(self.reals(&[d, 1, hidden]));
            }
        }
        let mut attributes = vec![int("hidden_size", hidden), text("direction", direction)];
        if op == "GRU" {
            let linear = self.random.below(2);
            attributes.push(int("linear_before_reset", linear));
        }
        let operands: Vec<&str> = operands.iter().map(String::as_str).collect();
        let y = self.outputs(op, &operands, attributes, 2);
        if self.random.one_in(3) {
            return Some((format!("{y}_1"), vec![d, 1, hidden]));
        }
        Some((y, vec![steps, d, 1, hidden]))
    }

    fn reduce(&mut self, (x, shape): &Shaped) -> Shaped {
        let rank = shape.len();
        let op = self.random.pick(&[
            "ReduceSum",
            "ReduceMean",
            "ReduceMax",
            "ReduceMin",
            "ReduceL1",
            "ReduceL2",
            "ReduceSumSquare",
            "ReduceLogSumExp",
            "ReduceProd",
        ]);
        let axes: Vec<usize> = (0..rank).filter(|_| self.random.one_in(2)).collect();
        let axes = if axes.is_empty() {
            vec![rank - 1]
        } else {
            axes
        };
        // Without one dimension at least there would be a scalar.
        let keep = self.random.one_in(2) || axes.len() == rank;
        let mut attributes = vec![int("keepdims", keep.into())];
        let y = if op == "ReduceSum" {
            let axes: Vec<i64> = axes.iter().map(|&a| a as i64).collect();
            let axes = self.integers(&axes);
            self.node(op, &[x, &axes], attributes)
        } else {
            attributes.push(ints("axes", &axes));
            self.node(op, &[x], attributes)
        };
        let left = |(axis, &d): (usize, &usize)| match (axes.contains(&axis), keep) {
            (false, _) => Some(d),
            (true, true) => Some(1),
            (true, false) => None,
        };
        (y, shape.iter().enumerate().filter_map(left).collect())
    }

    /// Movement: other elements, or the same ones elsewhere.
    fn index(&mut self, (x, shape): &Shaped) -> Option<Shaped> {
        let axis = self.random.below(shape.len());
        let mut out = shape.clone();
        let y = match self.random.below(5) {
            0 => {
                let count = self.random.between(1, 5);
                let size = shape[axis];
                let mut index = || self.random.below(2 * size) as i64 - size as i64;
                let indices: Vec<i64> = (0..count).map(|_| index()).collect();
                let indices = self.integers(&indices);
                out[axis] = count;
                self.node("Gather", &[x, &indices], vec![int("axis", axis)])
            }
            1 => {
                let step = self.random.pick(&[-2i64, -1, 2, 3]);
                let (start, end) = match step < 0 {
                    true => (-1, i64::MIN / 2),
                    false => (self.random.below(shape[axis]) as i64, i64::MAX / 2),
                };
                let first = if step < 0 { 0 } else { start as usize };
                out[axis] = (shape[axis] - first).div_ceil(step.unsigned_abs() as usize);
                let operands = [start, end, axis as i64, step].map(|v| self.integers(&[v]));
                let [start, end, axes, steps] = operands.each_ref().map(String::as_str);
                self.node("Slice", &[x, start, end, axes, steps], Vec::new())
            }
            2 => {
                let repeats: Vec<usize> =
                    shape.iter().map(|_| self.random.pick(&[1, 1, 2])).collect();
                out.iter_mut().zip(&repeats).for_each(|(d, r)| *d *= r);
                let repeats: Vec<i64> = repeats.iter().map(|&r| r as i64).collect();
                let repeats = self.integers(&repeats);
                self.node("Tile", &[x, &repeats], Vec::new())
            }
            3 => {
                out[axis] *= 2;
                self.node("Concat", &[x, x], vec![int("axis", axis)])
            }
            _ => {
                let op = self.random.pick(&["ArgMax", "ArgMin"]);
                let index = self.node(op, &[x], vec![int("axis", axis)]);
                out[axis] = 1;
                self.node("Cast", &[&index], vec![int("to", 1)])
            }
        };
        Some((y, out))
    }

    /// Matrices, of which the second is constant or the first one turned.
    fn product(&mut self, (x, shape): &Shaped) -> Option<Shaped> {
        let rank = shape.len();
        let inner = *shape.last()?;
        if rank < 2 {
            return None;
        }
        let mut out = shape.clone();
        let y = if self.random.one_in(2) {
            let mut perm: Vec<usize> = (0..rank).collect();
            perm.swap(rank - 2, rank - 1);
            let turned = self.node("Transpose", &[x], vec![ints("perm", &perm)]);
            out[rank - 1] = shape[rank - 2];
            self.node("MatMul", &[x, &turned], Vec::new())
        } else {
            let columns = self.random.between(1, 6);
            let w = self.reals(&[inner, columns]);
            out[rank - 1] = columns;
            self.node("MatMul", &[x, &w], Vec::new())
        };
        Some((y, out))
    }

    /// Functions of two values, the second broadcast, and what chooses between them.
    fn two(&mut self, (x, shape): &Shaped) -> Shaped {
        let keep = |&d: &usize| if self.random.one_in(2) { d } else { 1 };
        let small: Vec<usize> = shape.iter().map(keep).collect();
        let c = self.reals(&small);
        let y = match self.random.below(6) {
            0 => self.node("Min", &[x, &c], Vec::new()),
            1 => self.node("Max", &[x, &c], Vec::new()),
            2 => {
                let positive = self.node("Abs", &[x], Vec::new());
                let exponent = self.floats(&[], |r| r.pick(&[0.5, 1.0, 2.0, 3.0, 1.7]));
                self.node("Pow", &[&positive, &exponent], Vec::new())
            }
            3 => {
                let op = self
                    .random
                    .pick(&["Greater", "Less", "GreaterOrEqual", "LessOrEqual"]);
                let truth = self.node(op, &[x, &c], Vec::new());
                self.node("Cast", &[&truth], vec![int("to", 1)])
            }
            4 => {
                let truth = self.node("Greater", &[x, &c], Vec::new());
                let other = self.reals(&small);
                self.node("Where", &[&truth, x, &other], Vec::new())
            }
            _ => {
                let divisor = self.floats(&small, |r| 0.5 + r.real().abs());
                self.node("Div", &[x, &divisor], Vec::new())
            }
        };
        (y, shape.clone())
    }

    fn pad(&mut self, (x, shape): &Shaped) -> Option<Shaped> {
        let rank = shape.len();
        let mode = self.random.pick(&["constant", "edge", "reflect"]);
        let mut amounts = vec![0i64; 2 * rank];
        let mut out = shape.clone();
        for axis in rank.saturating_sub(2)..rank {
            let most = if mode == "reflect" {
                shape[axis] - 1
            } else {
                3
            };
            for side in [axis, axis + rank] {
                let amount = self.random.below(most.min(3) + 1);
                amounts[side] = amount as i64;
                out[axis] += amount;
            }
        }
        let amounts = self.integers(&amounts);
        Some((
            self.node("Pad", &[x, &amounts], vec![text("mode", mode)]),
            out,
        ))
    }

    fn function(&mut self, (x, shape): &Shaped) -> Shaped {
        let op = self.random.pick(&[
            "Abs",
            "Exp",
            "Erf",
            "Floor",
            "Ceil",
            "Round",
            "Sign",
            "Sin",
            "Cos",
            "Elu",
            "Selu",
            "Celu",
            "Softplus",
            "HardSwish",
            "Sigmoid",
            "Tanh",
            "LeakyRelu",
            "Neg",
            "Sqrt",
            "Log",
            "PRelu",
            "Relu",
            "HardSigmoid",
        ]);
        let y = match op {
            "Exp" => {
                // Large powers would drown what follows.
                let bounded = self.node("Tanh", &[x], Vec::new());
                self.node(op, &[&bounded], Vec::new())
            }
            "Sqrt" => {
                let positive = self.node("Abs", &[x], Vec::new());
                self.node(op, &[&positive], Vec::new())
            }
            "Log" => {
                let positive = self.node("Abs", &[x], Vec::new());
                let one = self.floats(&[], |_| 1.0);
                let positive = self.node("Add", &[&positive, &one], Vec::new());
                self.node(op, &[&positive], Vec::new())
            }
            "PRelu" => {
                let mut slopes = vec![1; shape.len()];
                if let Some(last) = slopes.last_mut() {
                    *last = shape[shape.len() - 1];
                }
                let slopes = self.reals(&slopes);
                self.node(op, &[x, &slopes], Vec::new())
            }
            _ => self.node(op, &[x], Vec::new()),
        };
        (y, shape.clone())
    }
}
