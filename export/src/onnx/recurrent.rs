//! LSTM, GRU and RNN: what depends on the inputs is a fully connected layer over all steps, the rest a recurrent node a direction.

use super::OnnxError;
use super::attributes::OnnxNode;
use super::import::Importer;
use crate::graph::{Cell, Clamp, DType, Data, Op, ValueId};

/// Constant weights of one direction.
struct Direction {
    inputs: Vec<f32>,
    hidden: Vec<f32>,
    bias: Vec<f32>,
    /// Of a GRU that resets behind the product.
    inner: Option<Vec<f32>>,
}

impl Importer<'_> {
    /// Binds every output that has a name.
    pub(super) fn recurrent(&mut self, node: &OnnxNode) -> Result<(), OnnxError> {
        let cell = match node.op() {
            "LSTM" => Cell::Lstm,
            "GRU" => Cell::Gru,
            _ => Cell::Plain,
        };
        self.check_recurrent(node, cell)?;
        let x = self.float(node, 0)?;
        let &[steps, batch, size] = &self.shape(x)[..] else {
            return Err(node.invalid(format!("its input has shape {:?}", self.shape(x))));
        };
        let hidden = usize::try_from(node.int("hidden_size", 0)).unwrap_or(0);
        let reverse: &[bool] = match node.string("direction", "forward").as_str() {
            "forward" => &[false],
            "reverse" => &[true],
            _ => &[false, true],
        };
        let gates = cell.gates() * hidden;
        let output = node
            .proto
            .output
            .iter()
            .find(|name| !name.is_empty())
            .cloned()
            .unwrap_or_default();
        let name = |what: &str| format!("{output}_{what}");
        let rows = self.reshape(node, x, vec![steps * batch, size], &name("rows"));
        let mut results = Vec::new();
        for (d, &reverse) in reverse.iter().enumerate() {
            let direction = self.direction(node, cell, d, [gates, size, hidden])?;
            let weights = self.add_constant(
                &name("inputs"),
                vec![gates, size],
                Data::F32(direction.inputs),
                None,
            );
            let bias =
                self.add_constant(&name("bias"), vec![gates], Data::F32(direction.bias), None);
            let op = Op::FullyConnected { clamp: Clamp::NONE };
            let shape = vec![steps * batch, gates];
            let operands = vec![rows, weights, bias];
            let sums_name = name("sums");
            let sums = self.emit(&sums_name, op, operands, &sums_name, shape, DType::F32);
            let shape = vec![steps, batch, gates];
            let sums = self.reshape(node, sums, shape, &name("steps"));
            let hidden_weights = self.add_constant(
                &name("hidden"),
                vec![gates, hidden],
                Data::F32(direction.hidden),
                None,
            );
            let initial = self.initial(node, cell, d, [batch, hidden], &name("initial"))?;
            let mut operands = vec![sums, hidden_weights, initial];
            if let Some(inner) = direction.inner {
                let inner = Data::F32(inner);
                operands.push(self.add_constant(&name("inner_bias"), vec![hidden], inner, None));
            }
            let op = Op::Recurrent { cell, reverse };
            let shape = vec![steps + 1, batch, hidden];
            let result = self.emit(
                &node.name(),
                op,
                operands,
                &name("states"),
                shape,
                DType::F32,
            );
            results.push((result, reverse));
        }
        let whole = [steps, batch, hidden];
        for (i, bound) in node.proto.output.iter().enumerate() {
            if bound.is_empty() {
                continue;
            }
            let mut parts = Vec::new();
            for &(result, reverse) in &results {
                let range = match (i, reverse) {
                    (0, _) => 0..steps,
                    (1, true) => 0..1,
                    (1, false) => steps - 1..steps,
                    _ => steps..steps + 1,
                };
                let part = name(&format!("part{i}"));
                parts.push(self.part(&part, result, 0, range, &part));
            }
            let joined = self.joined(node, &parts, i == 0, whole, bound);
            self.bind_as(node, bound, joined)?;
        }
        Ok(())
    }

    /// All directions: `[steps, directions, batch, hidden]` or `[directions, batch, hidden]`.
    fn joined(
        &mut self,
        node: &OnnxNode,
        parts: &[ValueId],
        all_steps: bool,
        [steps, batch, hidden]: [usize; 3],
        name: &str,
    ) -> ValueId {
        let (axis, mut shape) = match all_steps {
            true => (1, vec![steps, 1, batch, hidden]),
            false => (0, vec![1, batch, hidden]),
        };
        let parts: Vec<ValueId> = parts
            .iter()
            .map(|&part| self.reshape(node, part, shape.clone(), &format!("{name}_direction")))
            .collect();
        if let &[only] = &parts[..] {
            return only;
        }
        shape[axis] = parts.len();
        let op = Op::Concat { axis };
        let joined = format!("{name}_joined");
        self.emit(&joined, op, parts, &joined, shape, DType::F32)
    }

    fn check_recurrent(&mut self, node: &OnnxNode, cell: Cell) -> Result<(), OnnxError> {
        let hint = "export the layer with its defaults";
        let usual: &[&str] = match cell {
            Cell::Lstm => &["Sigmoid", "Tanh", "Tanh"],
            Cell::Gru => &["Sigmoid", "Tanh"],
            Cell::Plain => &["Tanh"],
        };
        if let Some(attribute) = node.attribute("activations") {
            let names = attribute.strings.iter().map(|s| String::from_utf8_lossy(s));
            if names
                .zip(usual.iter().cycle())
                .any(|(a, b)| !a.eq_ignore_ascii_case(b))
            {
                return Err(node.unsupported("activations", "others than the default", hint));
            }
        }
        for name in ["clip", "input_forget", "layout"] {
            if let Some(attribute) = node.attribute(name)
                && (attribute.i != 0 || attribute.f != 0.0)
            {
                return Err(node.unsupported(name, "set", hint));
            }
        }
        if node.input(7).is_some() {
            return Err(node.unsupported("P", "peepholes", hint));
        }
        if node.input(4).is_some() {
            let lengths = self.constant_ints(node, 4, "sequence_lens")?;
            let x = self.operand(node, 0)?;
            let steps = self.shape(x).first().copied().unwrap_or(0) as i64;
            if lengths.iter().any(|&l| l != steps) {
                return Err(node.unsupported("sequence_lens", "shorter than the input", hint));
            }
        }
        Ok(())
    }

    fn direction(
        &mut self,
        node: &OnnxNode,
        cell: Cell,
        d: usize,
        [gates, size, hidden]: [usize; 3],
    ) -> Result<Direction, OnnxError> {
        let mut part = |i: usize, what: &str, len: usize| -> Result<Vec<f32>, OnnxError> {
            let all = self.constant_floats(node, i, what)?;
            let part = all.get(d * len..(d + 1) * len).filter(|_| len > 0);
            let wrong = || node.invalid(format!("{what} has {} elements", all.len()));
            Ok(part.ok_or_else(wrong)?.to_vec())
        };
        let inputs = part(1, "W", gates * size)?;
        let weights = part(2, "R", gates * hidden)?;
        let both = match node.input(3) {
            Some(_) => part(3, "B", 2 * gates)?,
            None => vec![0.0; 2 * gates],
        };
        let (mut bias, mut inner) = (both[..gates].to_vec(), None);
        for (at, (sum, b)) in bias.iter_mut().zip(&both[gates..]).enumerate() {
            let reset_behind = cell == Cell::Gru && node.int("linear_before_reset", 0) != 0;
            if reset_behind && at >= 2 * hidden {
                inner.get_or_insert_with(Vec::new).push(*b);
            } else {
                *sum += b;
            }
        }
        Ok(Direction {
            inputs,
            hidden: weights,
            bias,
            inner,
        })
    }

    /// `[states, batch, hidden]` of one direction.
    fn initial(
        &mut self,
        node: &OnnxNode,
        cell: Cell,
        d: usize,
        [batch, hidden]: [usize; 2],
        name: &str,
    ) -> Result<ValueId, OnnxError> {
        let states: &[usize] = match cell {
            Cell::Lstm => &[5, 6],
            _ => &[5],
        };
        let shape = [1, batch, hidden];
        let zeroes = |this: &mut Self, states: usize| {
            let data = Data::F32(vec![0.0; states * batch * hidden]);
            this.add_constant(name, vec![states, batch, hidden], data, None)
        };
        if states.iter().all(|&i| node.input(i).is_none()) {
            return Ok(zeroes(self, states.len()));
        }
        let mut parts = Vec::new();
        for &i in states {
            parts.push(match node.input(i) {
                Some(_) => {
                    let all = self.float(node, i)?;
                    if self.shape(all).len() != 3 || self.shape(all)[1..] != shape[1..] {
                        return Err(node.invalid("an initial state has another shape"));
                    }
                    match self.shape(all)[0] {
                        1 => all,
                        _ => self.part(name, all, 0, d..d + 1, name),
                    }
                }
                None => zeroes(self, 1),
            });
        }
        if let &[only] = &parts[..] {
            return Ok(only);
        }
        let joined = format!("{name}_joined");
        let shape = vec![parts.len(), batch, hidden];
        Ok(self.emit(
            &joined,
            Op::Concat { axis: 0 },
            parts,
            &joined,
            shape,
            DType::F32,
        ))
    }
}
