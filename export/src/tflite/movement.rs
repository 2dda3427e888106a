//! What only moves elements.

use super::TfliteError;
use super::convert::{Converter, dims, int, ints, text};
use super::schema::Operator;

/// Element types by ONNX's numbers.
const INT32: i64 = 6;
const INT64: i64 = 7;

impl Converter<'_> {
    pub(super) fn reshaped(
        &mut self,
        op: &Operator<'_>,
        x: &str,
        shape: &[i64],
    ) -> Result<String, TfliteError> {
        let shape = self.int_list(shape)?;
        Ok(self.node(op, "Reshape", &[x, &shape], vec![]))
    }

    /// Takes away axes of length 1.
    pub(super) fn squeezed(
        &mut self,
        op: &Operator<'_>,
        x: &str,
        axes: &[i64],
    ) -> Result<String, TfliteError> {
        let axes = self.int_list(axes)?;
        Ok(self.node(op, "Squeeze", &[x, &axes], vec![]))
    }

    pub(super) fn reshape(&mut self, op: &Operator<'_>) -> Result<(), TfliteError> {
        let x = self.input(op, 0)?;
        let y = match self.optional(op, 1) {
            Some(t) if self.tensor(t).data.is_none() => {
                // Computed from other shapes: what reads ONNX works it out.
                let shape = self.plain(t)?;
                let shape = self.node(op, "Cast", &[&shape], vec![int("to", INT64)]);
                self.node(op, "Reshape", &[&x, &shape], vec![])
            }
            Some(_) => {
                let shape = self.ints(op, 1)?;
                self.reshaped(op, &x, &shape)?
            }
            None => {
                let shape = op.outputs.first().map(|&t| dims(&self.tensor(t).shape));
                self.reshaped(op, &x, &shape.unwrap_or_default())?
            }
        };
        self.finish(op, 0, y)
    }

    pub(super) fn squeeze(&mut self, op: &Operator<'_>) -> Result<(), TfliteError> {
        let x = self.input(op, 0)?;
        let axes = op.ints(0)?;
        let y = match axes.is_empty() {
            true => self.node(op, "Squeeze", &[&x], vec![]),
            false => self.squeezed(op, &x, &axes)?,
        };
        self.finish(op, 0, y)
    }

    pub(super) fn expand_dims(&mut self, op: &Operator<'_>) -> Result<(), TfliteError> {
        let axes = self.ints(op, 1)?;
        let x = self.input(op, 0)?;
        let axes = self.int_list(&axes)?;
        let y = self.node(op, "Unsqueeze", &[&x, &axes], vec![]);
        self.finish(op, 0, y)
    }

    pub(super) fn shape_of(&mut self, op: &Operator<'_>) -> Result<(), TfliteError> {
        let x = self.operand(op, 0)?;
        let x = self.plain(x)?;
        let shape = self.node(op, "Shape", &[&x], vec![]);
        let y = self.node(op, "Cast", &[&shape], vec![int("to", INT32)]);
        self.finish(op, 0, y)
    }

    pub(super) fn transpose(&mut self, op: &Operator<'_>) -> Result<(), TfliteError> {
        let perm = self.ints(op, 1)?;
        let x = self.input(op, 0)?;
        let y = self.node(op, "Transpose", &[&x], vec![ints("perm", perm)]);
        self.finish(op, 0, y)
    }

    pub(super) fn concatenation(&mut self, op: &Operator<'_>) -> Result<(), TfliteError> {
        let operands = (0..op.inputs.len()).map(|i| self.input(op, i));
        let operands = operands.collect::<Result<Vec<_>, _>>()?;
        let operands: Vec<&str> = operands.iter().map(String::as_str).collect();
        let axis = int("axis", op.int(0, 0)?.into());
        let y = self.node(op, "Concat", &operands, vec![axis]);
        let y = self.fused(op, op.byte(1)?, y)?;
        self.finish(op, 0, y)
    }

    /// Pairs `before, after` of operand 1, axis by axis, in ONNX's order.
    fn paddings(&self, op: &Operator<'_>) -> Result<Vec<i64>, TfliteError> {
        let pairs = self.ints(op, 1)?;
        let before = pairs.iter().step_by(2);
        let after = pairs.iter().skip(1).step_by(2);
        Ok(before.chain(after).copied().collect())
    }

    pub(super) fn pad(&mut self, op: &Operator<'_>) -> Result<(), TfliteError> {
        let pads = self.paddings(op)?;
        let pads = self.int_list(&pads)?;
        let x = self.input(op, 0)?;
        let value = match op.inputs.get(2) {
            Some(_) => self.input(op, 2)?,
            None => self.scalar(0.0)?,
        };
        let y = self.node(op, "Pad", &[&x, &pads, &value], vec![]);
        self.finish(op, 0, y)
    }

    pub(super) fn mirror_pad(&mut self, op: &Operator<'_>) -> Result<(), TfliteError> {
        if op.byte(0)? != 0 {
            return Err(op.refused("symmetric padding does not run; use reflection or zeroes"));
        }
        let pads = self.paddings(op)?;
        let pads = self.int_list(&pads)?;
        let x = self.input(op, 0)?;
        let y = self.node(op, "Pad", &[&x, &pads], vec![text("mode", "reflect")]);
        self.finish(op, 0, y)
    }

    pub(super) fn slice(&mut self, op: &Operator<'_>) -> Result<(), TfliteError> {
        let (starts, sizes) = (self.ints(op, 1)?, self.ints(op, 2)?);
        let end = |(&start, &size): (&i64, &i64)| match size {
            -1 => i64::MAX,
            _ => start.saturating_add(size),
        };
        let ends: Vec<i64> = starts.iter().zip(&sizes).map(end).collect();
        let steps = vec![1; ends.len()];
        let x = self.input(op, 0)?;
        let y = self.sliced(op, &x, [&starts, &ends, &steps])?;
        self.finish(op, 0, y)
    }

    fn sliced(
        &mut self,
        op: &Operator<'_>,
        x: &str,
        [starts, ends, steps]: [&[i64]; 3],
    ) -> Result<String, TfliteError> {
        let axes: Vec<i64> = (0..starts.len() as i64).collect();
        let starts = self.int_list(starts)?;
        let ends = self.int_list(ends)?;
        let axes = self.int_list(&axes)?;
        let steps = self.int_list(steps)?;
        Ok(self.node(op, "Slice", &[x, &starts, &ends, &axes, &steps], vec![]))
    }

    pub(super) fn strided_slice(&mut self, op: &Operator<'_>) -> Result<(), TfliteError> {
        let (mut starts, mut ends) = (self.ints(op, 1)?, self.ints(op, 2)?);
        let mut steps = self.ints(op, 3)?;
        let count = starts.len();
        if ends.len() != count || steps.len() != count {
            return Err(op.refused("its beginnings, ends and steps differ in number"));
        }
        if op.int(2, 0)? != 0 || op.int(3, 0)? != 0 {
            return Err(op.refused("an ellipsis or a new axis does not run; use RESHAPE"));
        }
        let bit = |mask: i32, i: usize| i < 31 && mask >> i & 1 == 1;
        let (begin, end, shrink) = (op.int(0, 0)?, op.int(1, 0)?, op.int(4, 0)?);
        for i in 0..count {
            if bit(shrink, i) {
                steps[i] = 1;
                ends[i] = match starts[i] {
                    -1 => i64::MAX,
                    start => start + 1,
                };
                continue;
            }
            let backward = steps[i] < 0;
            if bit(begin, i) {
                starts[i] = if backward { i64::MAX } else { 0 };
            }
            if bit(end, i) {
                ends[i] = if backward { i64::MIN } else { i64::MAX };
            }
        }
        let x = self.input(op, 0)?;
        let mut y = self.sliced(op, &x, [&starts, &ends, &steps])?;
        if shrink != 0 {
            let axes: Vec<i64> = (0..count)
                .filter(|&i| bit(shrink, i))
                .map(|i| i as i64)
                .collect();
            y = self.squeezed(op, &y, &axes)?;
        }
        self.finish(op, 0, y)
    }

    /// SPLIT has the axis first, SPLIT_V last.
    pub(super) fn split(&mut self, op: &Operator<'_>) -> Result<(), TfliteError> {
        let (data, at) = if &*op.name == "SPLIT" { (1, 0) } else { (0, 2) };
        let rank = self.tensor(self.operand(op, data)?).shape.len();
        let axis = self.ints(op, at)?.first().copied().unwrap_or(0);
        let axis = self.axis(op, axis, rank)?;
        self.parts(op, data, axis, false)
    }

    pub(super) fn unpack(&mut self, op: &Operator<'_>) -> Result<(), TfliteError> {
        let rank = self.tensor(self.operand(op, 0)?).shape.len();
        let axis = self.axis(op, op.int(1, 0)?.into(), rank)?;
        self.parts(op, 0, axis, true)
    }

    /// Parts of operand `data`; `unpacked` ones lose the axis.
    fn parts(
        &mut self,
        op: &Operator<'_>,
        data: usize,
        axis: usize,
        unpacked: bool,
    ) -> Result<(), TfliteError> {
        let x = self.input(op, data)?;
        let axis = axis as i64;
        // Without sizes, the parts are equal.
        let sizes = match &*op.name {
            "SPLIT_V" => Some(self.ints(op, 1)?),
            _ => None,
        };
        let attributes = vec![int("axis", axis)];
        match sizes {
            Some(sizes) => {
                let sizes = self.int_list(&sizes)?;
                self.node(op, "Split", &[&x, &sizes], attributes);
            }
            None => {
                self.node(op, "Split", &[&x], attributes);
            }
        }
        let parts = self.results(op, op.outputs.len());
        for (i, part) in parts.iter().enumerate() {
            let value = match unpacked {
                true => self.squeezed(op, part, &[axis])?,
                false => self.node(op, "Identity", &[part], vec![]),
            };
            self.finish(op, i, value)?;
        }
        Ok(())
    }

    pub(super) fn pack(&mut self, op: &Operator<'_>) -> Result<(), TfliteError> {
        let axis = i64::from(op.int(1, 0)?);
        let axes = self.int_list(&[axis])?;
        let mut operands = Vec::new();
        for i in 0..op.inputs.len() {
            let x = self.input(op, i)?;
            operands.push(self.node(op, "Unsqueeze", &[&x, &axes], vec![]));
        }
        let operands: Vec<&str> = operands.iter().map(String::as_str).collect();
        let y = self.node(op, "Concat", &operands, vec![int("axis", axis)]);
        self.finish(op, 0, y)
    }

    pub(super) fn gather(&mut self, op: &Operator<'_>) -> Result<(), TfliteError> {
        if op.int(1, 0)? != 0 {
            return Err(op.refused("batch dimensions do not run"));
        }
        let (x, i) = (self.input(op, 0)?, self.operand(op, 1)?);
        let indices = self.plain(i)?;
        let axis = int("axis", op.int(0, 0)?.into());
        let y = self.node(op, "Gather", &[&x, &indices], vec![axis]);
        self.finish(op, 0, y)
    }

    pub(super) fn tile(&mut self, op: &Operator<'_>) -> Result<(), TfliteError> {
        let repeats = self.ints(op, 1)?;
        let repeats = self.int_list(&repeats)?;
        let x = self.input(op, 0)?;
        let y = self.node(op, "Tile", &[&x, &repeats], vec![]);
        self.finish(op, 0, y)
    }
}
