//! Functions of single elements and of whole axes.

use super::TfliteError;
use super::convert::{Converter, int, ints};
use super::schema::{Operator, Type};

impl Converter<'_> {
    pub(super) fn unary(&mut self, op: &Operator<'_>, op_type: &str) -> Result<(), TfliteError> {
        let x = self.input(op, 0)?;
        let y = self.node(op, op_type, &[&x], vec![]);
        self.finish(op, 0, y)
    }

    /// `activation` is the field of the fused one.
    pub(super) fn binary(
        &mut self,
        op: &Operator<'_>,
        op_type: &str,
        activation: Option<usize>,
    ) -> Result<(), TfliteError> {
        let (a, b) = (self.input(op, 0)?, self.input(op, 1)?);
        let y = self.node(op, op_type, &[&a, &b], vec![]);
        let y = match activation {
            Some(field) => self.fused(op, op.byte(field)?, y)?,
            None => y,
        };
        self.finish(op, 0, y)
    }

    /// An activation that is an operator of its own.
    pub(super) fn activation(&mut self, op: &Operator<'_>, which: i8) -> Result<(), TfliteError> {
        let x = self.input(op, 0)?;
        let y = self.fused(op, which, x)?;
        self.finish(op, 0, y)
    }

    pub(super) fn square(&mut self, op: &Operator<'_>) -> Result<(), TfliteError> {
        let x = self.input(op, 0)?;
        let y = self.node(op, "Mul", &[&x, &x], vec![]);
        self.finish(op, 0, y)
    }

    pub(super) fn reciprocal_root(&mut self, op: &Operator<'_>) -> Result<(), TfliteError> {
        let x = self.input(op, 0)?;
        let root = self.node(op, "Sqrt", &[&x], vec![]);
        let y = self.node(op, "Reciprocal", &[&root], vec![]);
        self.finish(op, 0, y)
    }

    pub(super) fn select(&mut self, op: &Operator<'_>) -> Result<(), TfliteError> {
        let (c, a, b) = (self.input(op, 0)?, self.input(op, 1)?, self.input(op, 2)?);
        let y = self.node(op, "Where", &[&c, &a, &b], vec![]);
        self.finish(op, 0, y)
    }

    pub(super) fn cast(&mut self, op: &Operator<'_>) -> Result<(), TfliteError> {
        let x = self.input(op, 0)?;
        let to = match op.outputs.first().map(|&t| self.tensor(t).dtype) {
            Some(Type::F32) => 1,
            Some(Type::I32) => 6,
            Some(Type::I64) => 7,
            Some(Type::Bool) => 9,
            other => return Err(op.refused(format!("a cast to {other:?} does not run"))),
        };
        let y = self.node(op, "Cast", &[&x], vec![int("to", to)]);
        self.finish(op, 0, y)
    }

    pub(super) fn l2_normalization(&mut self, op: &Operator<'_>) -> Result<(), TfliteError> {
        let x = self.input(op, 0)?;
        let y = self.node(
            op,
            "LpNormalization",
            &[&x],
            vec![int("axis", -1), int("p", 2)],
        );
        let y = self.fused(op, op.byte(0)?, y)?;
        self.finish(op, 0, y)
    }

    pub(super) fn reduce(&mut self, op: &Operator<'_>, op_type: &str) -> Result<(), TfliteError> {
        let rank = self.tensor(self.operand(op, 0)?).shape.len();
        let axes = self.ints(op, 1)?;
        let axes = axes.iter().map(|&a| self.axis(op, a, rank));
        let axes = axes.map(|a| a.map(|a| a as i64));
        let axes = axes.collect::<Result<Vec<_>, _>>()?;
        let keep = int("keepdims", op.flag(0)?.into());
        let x = self.input(op, 0)?;
        // Of these, only the sum has its axes as an operand in the opset that is written.
        let y = match op_type {
            "ReduceSum" => {
                let axes = self.int_list(&axes)?;
                self.node(op, op_type, &[&x, &axes], vec![keep])
            }
            _ => self.node(op, op_type, &[&x], vec![ints("axes", axes), keep]),
        };
        self.finish(op, 0, y)
    }

    pub(super) fn arg(&mut self, op: &Operator<'_>, op_type: &str) -> Result<(), TfliteError> {
        let axis = self.ints(op, 1)?.first().copied().unwrap_or(0);
        let x = self.input(op, 0)?;
        let attributes = vec![int("axis", axis), int("keepdims", 0)];
        let y = self.node(op, op_type, &[&x], attributes);
        self.finish(op, 0, y)
    }

    pub(super) fn matmul(&mut self, op: &Operator<'_>) -> Result<(), TfliteError> {
        let mut operands = Vec::new();
        for i in [0, 1] {
            let x = self.input(op, i)?;
            let rank = self.tensor(self.operand(op, i)?).shape.len();
            operands.push(match op.flag(i)? {
                true if rank >= 2 => {
                    let mut perm: Vec<i64> = (0..rank as i64).collect();
                    perm.swap(rank - 2, rank - 1);
                    self.node(op, "Transpose", &[&x], vec![ints("perm", perm)])
                }
                _ => x,
            });
        }
        let y = self.node(op, "MatMul", &[&operands[0], &operands[1]], vec![]);
        self.finish(op, 0, y)
    }
}
