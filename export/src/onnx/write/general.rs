//! Operators of larger models, written in ONNX's.

use super::{Writer, elem_type, int, ints};
use crate::graph::{Cell, Data, Node, Op, Reduction};
use tract_onnx::pb::tensor_proto::DataType;

impl Writer<'_> {
    fn integers(&mut self, base: &str, values: &[i64]) -> String {
        self.initializer(base, &[values.len()], &Data::I64(values.to_vec()))
    }

    /// A comparison, whose result is 1 or 0 here.
    pub(super) fn truth(&mut self, name: &str, node: &Node, inputs: Vec<String>, output: &str) {
        let truth = self.fresh(&format!("{output}_truth"));
        self.push(name, &node.name, inputs, &truth, Vec::new());
        self.cast(truth, DataType::Float, output);
    }

    fn cast(&mut self, input: String, to: DataType, output: &str) {
        let name = format!("{output}_cast");
        self.push(
            "Cast",
            &name,
            vec![input],
            output,
            vec![int("to", to as usize)],
        );
    }

    /// The operator from `inputs` to `output`.
    pub(super) fn general(&mut self, node: &Node, mut inputs: Vec<String>, output: &str) {
        let shape = self.graph[node.output].shape.clone();
        let fresh = |w: &mut Self, what: &str| w.fresh(&format!("{output}_{what}"));
        match &node.op {
            Op::Select => {
                let condition = fresh(self, "condition");
                self.cast(inputs[0].clone(), DataType::Bool, &condition);
                inputs[0] = condition;
                self.push("Where", &node.name, inputs, output, Vec::new());
            }
            Op::Strided { strides, offset } => {
                let (flat, all) = (fresh(self, "flat"), self.integers("minus_one", &[-1]));
                let moved = vec![inputs.remove(0), all];
                self.push("Reshape", &flat, moved, &flat, Vec::new());
                let index = |mut at: usize| {
                    let mut index = *offset as isize;
                    for (&dim, &stride) in shape.iter().zip(strides).rev() {
                        index += (at % dim) as isize * stride;
                        at /= dim;
                    }
                    index as i64
                };
                let indices = (0..shape.iter().product()).map(index).collect();
                let base = format!("{output}_indices");
                let indices = self.initializer(&base, &shape, &Data::I64(indices));
                self.push(
                    "Gather",
                    &node.name,
                    vec![flat, indices],
                    output,
                    Vec::new(),
                );
            }
            Op::Pick { axis, indices } => {
                let indices: Vec<i64> = indices.iter().map(|&i| i.into()).collect();
                inputs.push(self.integers(&format!("{output}_indices"), &indices));
                self.push(
                    "Gather",
                    &node.name,
                    inputs,
                    output,
                    vec![int("axis", *axis)],
                );
            }
            Op::Gather { axis } => {
                let indices = fresh(self, "indices");
                self.cast(inputs[0].clone(), DataType::Int64, &indices);
                let inputs = vec![inputs[1].clone(), indices];
                self.push(
                    "Gather",
                    &node.name,
                    inputs,
                    output,
                    vec![int("axis", *axis)],
                );
            }
            Op::Resample {
                axis,
                taps,
                indices,
                weights,
            } => {
                let mut along = vec![1; shape.len()];
                along[*axis] = shape[*axis];
                let mut sum = None;
                for tap in 0..*taps {
                    let at = indices.iter().skip(tap).step_by(*taps);
                    let at: Vec<i64> = at.map(|&i| i.into()).collect();
                    let at = self.integers(&format!("{output}_tap"), &at);
                    let factors = weights.iter().skip(tap).step_by(*taps).copied().collect();
                    let factors =
                        self.initializer(&format!("{output}_w"), &along, &Data::F32(factors));
                    let (part, product) = (fresh(self, "part"), fresh(self, "product"));
                    let taken = vec![inputs[0].clone(), at];
                    self.push("Gather", &part, taken, &part, vec![int("axis", *axis)]);
                    let last = tap + 1 == *taps;
                    let to = if last && sum.is_none() {
                        output
                    } else {
                        &product
                    };
                    self.push("Mul", to, vec![part, factors], to, Vec::new());
                    sum = Some(match sum {
                        None => to.to_owned(),
                        Some(before) => {
                            let next = if last {
                                output.to_owned()
                            } else {
                                fresh(self, "sum")
                            };
                            self.push("Add", &next, vec![before, product], &next, Vec::new());
                            next
                        }
                    });
                }
            }
            Op::Reduce { reduction, axes } => {
                let name = crate::passes::op_name(&node.op);
                match reduction {
                    Reduction::ArgMin | Reduction::ArgMax => {
                        let index = fresh(self, "index");
                        self.push(name, &node.name, inputs, &index, vec![int("axis", axes[0])]);
                        self.cast(index, DataType::Float, output);
                    }
                    Reduction::Sum => {
                        let axes: Vec<i64> = axes.iter().map(|&a| a as i64).collect();
                        inputs.push(self.integers(&format!("{output}_axes"), &axes));
                        self.push(name, &node.name, inputs, output, Vec::new());
                    }
                    _ => self.push(name, &node.name, inputs, output, vec![ints("axes", axes)]),
                }
            }
            Op::MatMul => self.push("MatMul", &node.name, inputs, output, Vec::new()),
            Op::Load => self.push("Identity", &node.name, inputs, output, Vec::new()),
            Op::Convert => {
                let to = vec![int("to", elem_type(self.graph[node.output].dtype) as usize)];
                self.push("Cast", &node.name, inputs, output, to);
            }
            Op::Recurrent { cell, reverse } => {
                self.recurrent(node, *cell, *reverse, inputs, output)
            }
            _ => {}
        }
    }

    /// With an identity for the inputs' weights: the sums are those of the node's own first operand.
    fn recurrent(
        &mut self,
        node: &Node,
        cell: Cell,
        reverse: bool,
        inputs: Vec<String>,
        output: &str,
    ) {
        let shape = self.graph[node.inputs[0]].shape.clone();
        let (batch, gates) = (shape[1], shape[2]);
        let hidden = gates / cell.gates();
        let fresh = |w: &mut Self, what: &str| w.fresh(&format!("{output}_{what}"));
        let mut identity = vec![0.0f32; gates * gates];
        identity
            .iter_mut()
            .step_by(gates + 1)
            .for_each(|v| *v = 1.0);
        let identity = self.initializer("identity", &[1, gates, gates], &Data::F32(identity));
        let leading = self.integers("zero", &[0]);
        let weights = fresh(self, "weights");
        let widened = vec![inputs[1].clone(), leading.clone()];
        self.push("Unsqueeze", &weights, widened, &weights, Vec::new());
        let mut bias = vec![0.0; 2 * gates];
        if let Some(&id) = node.inputs.get(3)
            && let Some(Data::F32(v)) = &self.graph[id].data
        {
            bias[gates + 2 * hidden..].copy_from_slice(v);
        }
        let bias = self.initializer("bias", &[1, 2 * gates], &Data::F32(bias));
        let mut operands = vec![inputs[0].clone(), identity, weights, bias, String::new()];
        let mut attributes = vec![int("hidden_size", hidden)];
        if reverse {
            let mut direction = super::attribute(
                "direction",
                tract_onnx::pb::attribute_proto::AttributeType::String,
            );
            direction.s = b"reverse".to_vec();
            attributes.push(direction);
        }
        if cell == Cell::Gru {
            attributes.push(int(
                "linear_before_reset",
                usize::from(node.inputs.len() > 3),
            ));
        }
        let state = |w: &mut Self, index: i64| {
            let (start, end) = (
                w.integers("start", &[index]),
                w.integers("end", &[index + 1]),
            );
            let part = fresh(w, "state");
            let cut = vec![inputs[2].clone(), start, end, leading.clone()];
            w.push("Slice", &part, cut, &part, Vec::new());
            part
        };
        operands.push(state(self, 0));
        if cell == Cell::Lstm {
            operands.push(state(self, 1));
        }
        let (y, h, last) = (fresh(self, "y"), fresh(self, "h"), fresh(self, "last"));
        let name = crate::passes::op_name(&node.op);
        self.push(name, &node.name, operands, &y, attributes);
        if let Some(pushed) = self.nodes.last_mut() {
            pushed.output.push(h);
            if cell == Cell::Lstm {
                pushed.output.push(last.clone());
            }
        }
        let steps = fresh(self, "steps");
        let directions = self.integers("one", &[1]);
        self.push("Squeeze", &steps, vec![y, directions], &steps, Vec::new());
        let last = match cell {
            Cell::Lstm => last,
            // Working memory: no reader.
            _ => self.initializer(
                "none",
                &[1, batch, hidden],
                &Data::F32(vec![0.0; batch * hidden]),
            ),
        };
        let whole = vec![steps, last];
        self.push("Concat", output, whole, output, vec![int("axis", 0)]);
    }
}

/// ONNX's name of a function of two variables, and whether its result is a truth value.
pub(super) fn binary_name(op: crate::graph::Binary) -> (&'static str, bool) {
    use crate::graph::Binary as B;
    match op {
        B::Add => ("Add", false),
        B::Sub => ("Sub", false),
        B::Mul => ("Mul", false),
        B::Div => ("Div", false),
        B::Min => ("Min", false),
        B::Max => ("Max", false),
        B::Pow => ("Pow", false),
        B::Equal => ("Equal", true),
        B::Less => ("Less", true),
        B::LessOrEqual => ("LessOrEqual", true),
    }
}
