//! Functions beyond those that networks on microcontrollers have, most of them made from a few.

use super::OnnxError;
use super::attributes::OnnxNode;
use super::import::Importer;
use super::steps::Kind;
use crate::graph::{Binary, Clamp, Reduction, Unary, ValueId};

impl Importer<'_> {
    /// Functions of one tensor.
    pub(super) fn function(&mut self, node: &OnnxNode) -> Result<ValueId, OnnxError> {
        let x = self.number(node, 0)?;
        let direct = match node.op() {
            "Sqrt" => Some(Unary::Sqrt),
            "Exp" => Some(Unary::Exp),
            "Log" => Some(Unary::Log),
            "Abs" => Some(Unary::Abs),
            "Erf" => Some(Unary::Erf),
            "Floor" => Some(Unary::Floor),
            "Ceil" => Some(Unary::Ceil),
            "Round" => Some(Unary::Round),
            "Sign" => Some(Unary::Sign),
            "Sin" => Some(Unary::Sin),
            "Cos" => Some(Unary::Cos),
            _ => None,
        };
        if let Some(function) = direct {
            return self.apply(node, function, x);
        }
        let alpha = |default: f32| node.float("alpha", default);
        match node.op() {
            "Neg" => self.with(node, Binary::Mul, x, -1.0),
            "Reciprocal" => {
                let one = self.scalar(1.0);
                self.combine(node, Binary::Div, one, x)
            }
            "Not" => self.negated(node, x),
            "IsNaN" => {
                let same = self.combine(node, Binary::Equal, x, x)?;
                self.negated(node, same)
            }
            "Tan" => {
                let (sin, cos) = (
                    self.apply(node, Unary::Sin, x)?,
                    self.apply(node, Unary::Cos, x)?,
                );
                self.combine(node, Binary::Div, sin, cos)
            }
            "Gelu" => self.gelu(node, x),
            "Elu" => self.exponential_below(node, x, alpha(1.0), 1.0),
            "Selu" => {
                self.exponential_below(node, x, alpha(1.673_263_2), node.float("gamma", 1.050_701))
            }
            "Celu" => {
                let alpha = alpha(1.0);
                let scaled = self.with(node, Binary::Div, x, alpha)?;
                let below = self.exponential_below(node, scaled, 1.0, 1.0)?;
                self.with(node, Binary::Mul, below, alpha)
            }
            "ThresholdedRelu" => {
                let threshold = self.scalar(alpha(1.0));
                let above = self.combine(node, Binary::Less, threshold, x)?;
                self.combine(node, Binary::Mul, x, above)
            }
            "Softplus" => self.softplus(node, x),
            "Softsign" => {
                let size = self.apply(node, Unary::Abs, x)?;
                let size = self.with(node, Binary::Add, size, 1.0)?;
                self.combine(node, Binary::Div, x, size)
            }
            "Mish" => {
                let soft = self.softplus(node, x)?;
                let soft = self.apply(node, Unary::Tanh, soft)?;
                self.combine(node, Binary::Mul, x, soft)
            }
            "Swish" => {
                let scaled = match alpha(1.0) {
                    1.0 => x,
                    alpha => self.with(node, Binary::Mul, x, alpha)?,
                };
                let gate = self.apply(node, Unary::Sigmoid, scaled)?;
                self.combine(node, Binary::Mul, x, gate)
            }
            // Shrink
            _ => {
                let (bias, lambda) = (node.float("bias", 0.0), node.float("lambd", 0.5));
                let limits = [self.scalar(-lambda), self.scalar(lambda)];
                let below = self.combine(node, Binary::Less, x, limits[0])?;
                let above = self.combine(node, Binary::Less, limits[1], x)?;
                let (up, down) = (
                    self.with(node, Binary::Add, x, bias)?,
                    self.with(node, Binary::Sub, x, bias)?,
                );
                let (up, down) = (
                    self.combine(node, Binary::Mul, up, below)?,
                    self.combine(node, Binary::Mul, down, above)?,
                );
                self.combine(node, Binary::Add, up, down)
            }
        }
    }

    fn gelu(&mut self, node: &OnnxNode, x: ValueId) -> Result<ValueId, OnnxError> {
        let curve = if node.string("approximate", "none") == "tanh" {
            let square = self.combine(node, Binary::Mul, x, x)?;
            let cube = self.combine(node, Binary::Mul, square, x)?;
            let cube = self.with(node, Binary::Mul, cube, 0.044_715)?;
            let sum = self.combine(node, Binary::Add, x, cube)?;
            let sum = self.with(node, Binary::Mul, sum, (2.0 / std::f32::consts::PI).sqrt())?;
            self.apply(node, Unary::Tanh, sum)?
        } else {
            let scaled = self.with(node, Binary::Mul, x, std::f32::consts::FRAC_1_SQRT_2)?;
            self.apply(node, Unary::Erf, scaled)?
        };
        let curve = self.with(node, Binary::Add, curve, 1.0)?;
        let half = self.with(node, Binary::Mul, x, 0.5)?;
        self.combine(node, Binary::Mul, half, curve)
    }

    /// `gamma · (x < 0 ? alpha·(e^x − 1) : x)`.
    fn exponential_below(
        &mut self,
        node: &OnnxNode,
        x: ValueId,
        alpha: f32,
        gamma: f32,
    ) -> Result<ValueId, OnnxError> {
        let below = self.with(node, Binary::Less, x, 0.0)?;
        let curve = self.apply(node, Unary::Exp, x)?;
        let curve = self.with(node, Binary::Sub, curve, 1.0)?;
        let curve = self.with(node, Binary::Mul, curve, alpha)?;
        let chosen = self.choose(node, below, curve, x)?;
        match gamma {
            1.0 => Ok(chosen),
            gamma => self.with(node, Binary::Mul, chosen, gamma),
        }
    }

    /// `max(x, 0) + log(1 + e^−|x|)`, which does not overflow.
    fn softplus(&mut self, node: &OnnxNode, x: ValueId) -> Result<ValueId, OnnxError> {
        let size = self.apply(node, Unary::Abs, x)?;
        let size = self.with(node, Binary::Mul, size, -1.0)?;
        let tail = self.apply(node, Unary::Exp, size)?;
        let tail = self.with(node, Binary::Add, tail, 1.0)?;
        let tail = self.apply(node, Unary::Log, tail)?;
        let top = self.apply(node, Unary::Clamp(Clamp::RELU), x)?;
        self.combine(node, Binary::Add, top, tail)
    }

    /// Functions of two tensors, or of several that are taken two by two.
    pub(super) fn relation(&mut self, node: &OnnxNode) -> Result<ValueId, OnnxError> {
        let count = node.proto.input.len();
        let variadic = matches!(node.op(), "Min" | "Max" | "Mean");
        if count == 0 || (!variadic && count != 2) {
            return Err(node.invalid(format!("it has {count} inputs")));
        }
        let a = self.number(node, 0)?;
        if variadic {
            let op = match node.op() {
                "Min" => Binary::Min,
                "Max" => Binary::Max,
                _ => Binary::Add,
            };
            let mut result = a;
            for i in 1..count {
                let next = self.number(node, i)?;
                result = self.combine(node, op, result, next)?;
            }
            return match node.op() {
                "Mean" => self.with(node, Binary::Div, result, count as f32),
                _ => Ok(result),
            };
        }
        let b = self.number(node, 1)?;
        match node.op() {
            "Pow" => self.power(node, a, b),
            "Equal" => self.combine(node, Binary::Equal, a, b),
            "Less" => self.combine(node, Binary::Less, a, b),
            "LessOrEqual" => self.combine(node, Binary::LessOrEqual, a, b),
            "Greater" => self.combine(node, Binary::Less, b, a),
            "GreaterOrEqual" => self.combine(node, Binary::LessOrEqual, b, a),
            "And" => self.combine(node, Binary::Mul, a, b),
            "Or" => self.combine(node, Binary::Max, a, b),
            "Xor" => {
                let same = self.combine(node, Binary::Equal, a, b)?;
                self.negated(node, same)
            }
            "PRelu" => {
                let above = self.apply(node, Unary::Clamp(Clamp::RELU), a)?;
                let below = self.with(node, Binary::Min, a, 0.0)?;
                let below = self.combine(node, Binary::Mul, below, b)?;
                self.combine(node, Binary::Add, above, below)
            }
            // Mod
            _ => {
                let quotient = self.combine(node, Binary::Div, a, b)?;
                let whole = match node.int("fmod", 0) {
                    0 if self.kind(a) == Kind::Real => {
                        return Err(node.unsupported("fmod", 0, "floats take fmod = 1"));
                    }
                    0 => self.apply(node, Unary::Floor, quotient)?,
                    _ => self.truncated(node, quotient)?,
                };
                // Also of an infinite divisor.
                let none = self.with(node, Binary::Equal, whole, 0.0)?;
                let whole = self.combine(node, Binary::Mul, whole, b)?;
                let rest = self.combine(node, Binary::Sub, a, whole)?;
                self.choose(node, none, a, rest)
            }
        }
    }

    /// Squares, cubes, roots and reciprocals by products, which are exact where ONNX's are.
    fn power(&mut self, node: &OnnxNode, a: ValueId, b: ValueId) -> Result<ValueId, OnnxError> {
        let exponent = match &self.graph[b].data {
            Some(crate::graph::Data::F32(v)) if v.len() == 1 => v[0],
            _ => f32::NAN,
        };
        let alone = self.graph[b].shape.len() <= self.graph[a].shape.len();
        if exponent == 2.0 && alone && !self.is_constant(a) {
            return self.combine(node, Binary::Mul, a, a);
        }
        if exponent == 0.5 && alone {
            return self.apply(node, Unary::Sqrt, a);
        }
        self.combine(node, Binary::Pow, a, b)
    }

    /// Division of integers is towards zero.
    pub(super) fn integer_division(&mut self, node: &OnnxNode) -> Result<ValueId, OnnxError> {
        let (a, b) = (self.number(node, 0)?, self.number(node, 1)?);
        let quotient = self.combine(node, Binary::Div, a, b)?;
        self.truncated(node, quotient)
    }

    pub(super) fn where_node(&mut self, node: &OnnxNode) -> Result<ValueId, OnnxError> {
        let operands = [
            self.number(node, 0)?,
            self.number(node, 1)?,
            self.number(node, 2)?,
        ];
        self.choose(node, operands[0], operands[1], operands[2])
    }

    pub(super) fn log_softmax(&mut self, node: &OnnxNode) -> Result<ValueId, OnnxError> {
        let x = self.float(node, 0)?;
        let rank = self.shape(x).len();
        let since_13 = node.opset >= 13;
        let axis = node.axis(node.int("axis", if since_13 { -1 } else { 1 }), rank, false)?;
        let axes: Vec<usize> = if since_13 {
            vec![axis]
        } else {
            (axis..rank).collect()
        };
        let greatest = self.reduced(node, Reduction::Max, x, &axes)?;
        let below = self.combine(node, Binary::Sub, x, greatest)?;
        let sum = self.apply(node, Unary::Exp, below)?;
        let sum = self.reduced(node, Reduction::Sum, sum, &axes)?;
        let sum = self.apply(node, Unary::Log, sum)?;
        self.combine(node, Binary::Sub, below, sum)
    }

    /// ReduceSum and its relatives.
    pub(super) fn reduce(&mut self, node: &OnnxNode) -> Result<ValueId, OnnxError> {
        let x = self.number(node, 0)?;
        let xs = self.shape(x);
        let given = match node.ints("axes") {
            Some(axes) => axes.to_vec(),
            None if node.input(1).is_some() => self.constant_ints(node, 1, "axes")?,
            None => vec![],
        };
        let noop = given.is_empty() && node.int("noop_with_empty_axes", 0) != 0;
        let mut axes = given
            .iter()
            .map(|&a| node.axis(a, xs.len(), false))
            .collect::<Result<Vec<_>, _>>()?;
        if axes.is_empty() && !noop {
            axes = (0..xs.len()).collect();
        }
        axes.sort_unstable();
        axes.dedup();
        let count: usize = axes.iter().map(|&a| xs[a]).product();
        let square = |this: &mut Self| this.combine(node, Binary::Mul, x, x);
        let y = match node.op() {
            "ReduceSum" => self.reduced(node, Reduction::Sum, x, &axes)?,
            "ReduceMean" => {
                let sum = self.reduced(node, Reduction::Sum, x, &axes)?;
                self.with(node, Binary::Div, sum, count as f32)?
            }
            "ReduceMax" => self.reduced(node, Reduction::Max, x, &axes)?,
            "ReduceMin" => self.reduced(node, Reduction::Min, x, &axes)?,
            "ReduceProd" => self.reduced(node, Reduction::Product, x, &axes)?,
            "ReduceL1" => {
                let size = self.apply(node, Unary::Abs, x)?;
                self.reduced(node, Reduction::Sum, size, &axes)?
            }
            "ReduceL2" | "ReduceSumSquare" => {
                let squares = square(self)?;
                let sum = self.reduced(node, Reduction::Sum, squares, &axes)?;
                match node.op() {
                    "ReduceL2" => self.apply(node, Unary::Sqrt, sum)?,
                    _ => sum,
                }
            }
            "ReduceLogSum" => {
                let sum = self.reduced(node, Reduction::Sum, x, &axes)?;
                self.apply(node, Unary::Log, sum)?
            }
            // ReduceLogSumExp
            _ => {
                let greatest = self.reduced(node, Reduction::Max, x, &axes)?;
                let below = self.combine(node, Binary::Sub, x, greatest)?;
                let sum = self.apply(node, Unary::Exp, below)?;
                let sum = self.reduced(node, Reduction::Sum, sum, &axes)?;
                let sum = self.apply(node, Unary::Log, sum)?;
                self.combine(node, Binary::Add, sum, greatest)?
            }
        };
        Ok(self.without(node, y, &axes))
    }

    /// Drops reduced axes unless the node keeps them.
    fn without(&mut self, node: &OnnxNode, y: ValueId, axes: &[usize]) -> ValueId {
        if node.int("keepdims", 1) != 0 || axes.is_empty() {
            return y;
        }
        let shape = self.shape(y).into_iter().enumerate();
        let shape = shape.filter(|(a, _)| !axes.contains(a)).map(|(_, d)| d);
        let (shape, name) = (shape.collect(), format!("{}_flat", self.graph[y].name));
        self.reshape(node, y, shape, &name)
    }

    /// ArgMax and ArgMin.
    pub(super) fn index_of(&mut self, node: &OnnxNode) -> Result<ValueId, OnnxError> {
        let x = self.number(node, 0)?;
        if node.int("select_last_index", 0) != 0 {
            return Err(node.unsupported("select_last_index", 1, "take the first index"));
        }
        let axis = node.axis(node.int("axis", 0), self.shape(x).len(), false)?;
        let reduction = match node.op() {
            "ArgMax" => Reduction::ArgMax,
            _ => Reduction::ArgMin,
        };
        let y = self.reduced(node, reduction, x, &[axis])?;
        Ok(self.without(node, y, &[axis]))
    }

    /// What the result of a node stands for.
    pub(super) fn kind_of(&self, node: &OnnxNode, operands: &[Option<Kind>]) -> Kind {
        let operand = |i: usize| operands.get(i).copied().flatten().unwrap_or(Kind::Real);
        match node.op() {
            "Equal" | "Less" | "LessOrEqual" | "Greater" | "GreaterOrEqual" | "And" | "Or"
            | "Xor" | "Not" | "IsNaN" => Kind::Truth,
            "ArgMax" | "ArgMin" => Kind::Integer,
            "Where" => operand(1),
            "Cast" => self.cast_kind(node),
            "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" | "Transpose" | "Slice" | "Concat"
            | "Gather" | "Expand" | "Tile" | "Pad" | "Identity" | "Add" | "Sub" | "Mul" | "Div"
            | "Min" | "Max" | "Mod" | "Pow" | "Neg" | "Abs" | "Sign" | "ReduceSum"
            | "ReduceMax" | "ReduceMin" | "ReduceProd" | "ReduceL1" | "ReduceSumSquare" | "Sum"
            | "Relu" | "Clip" | "DepthToSpace" | "SpaceToDepth" | "Trilu" | "ReduceMean" => {
                operand(0)
            }
            _ => Kind::Real,
        }
    }
}
