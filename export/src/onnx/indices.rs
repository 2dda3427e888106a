//! Movement by strides and indices: Expand, Tile, Gather, Slice with steps, Pad that reflects, blocks to space, Trilu.

use super::OnnxError;
use super::attributes::OnnxNode;
use super::import::Importer;
use crate::graph::{Data, Op, ValueId};

/// The index that a padded position has within an axis of `len` elements.
fn padded(mode: &str, position: i64, len: i64) -> i64 {
    match mode {
        "edge" => position.clamp(0, len - 1),
        "wrap" => position.rem_euclid(len),
        _ if len == 1 => 0,
        _ => {
            let period = 2 * (len - 1);
            let at = position.rem_euclid(period);
            at.min(period - at)
        }
    }
}

impl Importer<'_> {
    /// `indices` of one axis.
    pub(super) fn picked(
        &mut self,
        node: &OnnxNode,
        x: ValueId,
        axis: usize,
        indices: Vec<u32>,
    ) -> Result<ValueId, OnnxError> {
        let mut shape = self.shape(x);
        shape[axis] = indices.len();
        self.movement(node, "picked", Op::Pick { axis, indices }, vec![x], shape)
    }

    pub(super) fn expand(&mut self, node: &OnnxNode) -> Result<ValueId, OnnxError> {
        let x = self.operand(node, 0)?;
        let target = self.constant_ints(node, 1, "shape")?;
        let target = node.checked_sizes("shape", &target)?;
        let from = self.shape(x);
        let shape = super::elementwise::broadcast(&from, &target)
            .ok_or_else(|| node.invalid(format!("{from:?} does not expand to {target:?}")))?;
        self.expanded(node, x, &shape)
    }

    pub(super) fn tile(&mut self, node: &OnnxNode) -> Result<ValueId, OnnxError> {
        let mut x = self.operand(node, 0)?;
        let repeats = self.constant_ints(node, 1, "repeats")?;
        let repeats = node.checked_sizes("repeats", &repeats)?;
        if repeats.len() != self.shape(x).len() || repeats.contains(&0) {
            return Err(node.invalid(format!(
                "repeats {repeats:?} of {:?} (each at least 1)",
                self.shape(x)
            )));
        }
        for (axis, &times) in repeats.iter().enumerate().filter(|(_, times)| **times > 1) {
            let shape = self.shape(x);
            let outer: usize = shape[..axis].iter().product();
            let block: usize = shape[axis..].iter().product();
            let strides = vec![block as isize, 0, 1];
            let repeated = self.moved(node, x, strides, 0, vec![outer, times, block])?;
            let mut tiled = shape;
            tiled[axis] *= times;
            let name = format!("{}_tiled", self.graph[repeated].name);
            x = self.reshape(node, repeated, tiled, &name);
        }
        Ok(x)
    }

    pub(super) fn gather(&mut self, node: &OnnxNode) -> Result<ValueId, OnnxError> {
        let x = self.operand(node, 0)?;
        let shape = self.shape(x);
        let axis = node.axis(node.int("axis", 0), shape.len(), false)?;
        let indices = self.operand(node, 1)?;
        let of = self.shape(indices);
        let mut result = shape[..axis].to_vec();
        result.extend(&of);
        result.extend(&shape[axis + 1..]);
        if self.is_constant(indices) {
            let wanted = self.constant_ints(node, 1, "indices")?;
            let len = shape[axis] as i64;
            let within = |&i: &i64| {
                let i = if i < 0 { i + len } else { i };
                (0..len).contains(&i).then_some(i as u32)
            };
            let picked: Option<Vec<u32>> = wanted.iter().map(within).collect();
            let picked =
                picked.ok_or_else(|| node.invalid(format!("indices {wanted:?} of {shape:?}")))?;
            let y = match (picked.as_slice(), picked.first()) {
                // A run is a slice, which may move nothing.
                (all, Some(&first)) if all.iter().zip(first..).all(|(&a, b)| a == b) => {
                    let range = first as usize..first as usize + all.len();
                    let name = format!("{}_taken", node.output()?);
                    self.part(&name, x, axis, range, &name)
                }
                _ => self.picked(node, x, axis, picked)?,
            };
            let name = format!("{}_gathered", node.output()?);
            return Ok(self.reshape(node, y, result, &name));
        }
        let x = self.number(node, 0)?;
        let indices = self.number(node, 1)?;
        self.step(
            node,
            "gathered",
            Op::Gather { axis },
            vec![indices, x],
            result,
        )
    }

    /// Every `step`-th element of one axis from `start` on, `count` of them.
    pub(super) fn stepped(
        &mut self,
        node: &OnnxNode,
        x: ValueId,
        axis: usize,
        (start, step, count): (usize, i64, usize),
    ) -> Result<ValueId, OnnxError> {
        let mut shape = self.shape(x);
        let inner = |axis: usize| shape[axis + 1..].iter().product::<usize>();
        let offset = start * inner(axis);
        let strides = (0..shape.len()).map(|a| {
            let stride = inner(a) as isize;
            if a == axis {
                stride * step as isize
            } else {
                stride
            }
        });
        let strides = strides.collect();
        shape[axis] = count;
        self.moved(node, x, strides, offset, shape)
    }

    /// Slice where a step is not 1: `(axis, start, end, step)` as ONNX has them.
    pub(super) fn slice_with_steps(
        &mut self,
        node: &OnnxNode,
        mut x: ValueId,
        parts: &[(usize, i64, i64, i64)],
    ) -> Result<ValueId, OnnxError> {
        for &(axis, start, end, step) in parts {
            let dim = self.shape(x)[axis] as i64;
            if step == 0 {
                return Err(node.invalid("a step is 0"));
            }
            let from_start = |i: i64| if i < 0 { i.saturating_add(dim) } else { i };
            let (low, high) = if step > 0 { (0, dim) } else { (-1, dim - 1) };
            let start = from_start(start).clamp(low.max(0), high);
            let end = from_start(end).clamp(low, high);
            let span = if step > 0 { end - start } else { start - end };
            let count = span.max(0).unsigned_abs().div_ceil(step.unsigned_abs()) as usize;
            if count == 0 {
                return Err(node.invalid("a slice is empty"));
            }
            if (start, step, count) == (0, 1, dim as usize) {
                continue;
            }
            x = self.stepped(node, x, axis, (start as usize, step, count))?;
        }
        Ok(x)
    }

    /// Pad in the modes reflect, edge and wrap: indices of each padded axis.
    pub(super) fn pad_by_indices(
        &mut self,
        node: &OnnxNode,
        mut x: ValueId,
        mode: &str,
        pads: &[(usize, i64, i64)],
    ) -> Result<ValueId, OnnxError> {
        for &(axis, before, after) in pads {
            let len = self.shape(x)[axis] as i64;
            let made = len.saturating_add(before).saturating_add(after);
            self.expect_elements(node, made.max(before).max(after).max(0) as u64)?;
            let indices =
                (before.saturating_neg()..len + after).map(|i| padded(mode, i, len) as u32);
            let indices: Vec<u32> = indices.collect();
            if indices.is_empty() {
                return Err(node.invalid("nothing is left"));
            }
            if before != 0 || after != 0 {
                x = self.picked(node, x, axis, indices)?;
            }
        }
        Ok(x)
    }

    /// DepthToSpace and SpaceToDepth.
    pub(super) fn blocks(&mut self, node: &OnnxNode) -> Result<ValueId, OnnxError> {
        let x = self.operand(node, 0)?;
        let xs = self.shape(x);
        let b = usize::try_from(node.int("blocksize", 0)).unwrap_or(0);
        let (&[n, c, h, w], true) = (&xs[..], b > 0) else {
            return Err(node.invalid(format!("{xs:?} with blocks of {b}")));
        };
        let output = node.output()?.to_owned();
        let depth = node.op() == "DepthToSpace";
        let columns_first = node.string("mode", "DCR") == "DCR";
        let fits = match depth {
            true => c.is_multiple_of(b * b),
            false => h.is_multiple_of(b) && w.is_multiple_of(b),
        };
        if !fits {
            return Err(node.invalid(format!("{xs:?} is no multiple of the block {b}")));
        }
        let (apart, perm, shape) = match (depth, columns_first) {
            (true, true) => (
                vec![n, b, b, c / (b * b), h, w],
                [0, 3, 4, 1, 5, 2],
                vec![n, c / (b * b), h * b, w * b],
            ),
            (true, false) => (
                vec![n, c / (b * b), b, b, h, w],
                [0, 1, 4, 2, 5, 3],
                vec![n, c / (b * b), h * b, w * b],
            ),
            (false, _) => (
                vec![n, c, h / b, b, w / b, b],
                match columns_first {
                    true => [0, 3, 5, 1, 2, 4],
                    false => [0, 1, 3, 5, 2, 4],
                },
                vec![n, c * b * b, h / b, w / b],
            ),
        };
        let x = self.reshape(node, x, apart, &format!("{output}_apart"));
        let x = self.transpose(node, x, &perm, &format!("{output}_moved"));
        Ok(self.reshape(node, x, shape, &output))
    }

    /// The upper or lower triangle; the rest is 0.
    pub(super) fn trilu(&mut self, node: &OnnxNode) -> Result<ValueId, OnnxError> {
        let x = self.number(node, 0)?;
        let xs = self.shape(x);
        let &[.., rows, columns] = &xs[..] else {
            return Err(node.invalid(format!("{xs:?} has no matrices")));
        };
        let k = match node.input(1) {
            Some(_) => self
                .constant_ints(node, 1, "k")?
                .first()
                .copied()
                .unwrap_or(0),
            None => 0,
        };
        let upper = node.int("upper", 1) != 0;
        let kept = |at: usize| {
            let (row, column) = ((at / columns) as i64, (at % columns) as i64);
            let kept = match upper {
                true => column - row >= k,
                false => column - row <= k,
            };
            f32::from(u8::from(kept))
        };
        let mask = (0..rows * columns).map(kept).collect();
        let name = format!("{}_mask", node.output()?);
        let mask = self.add_constant(&name, vec![rows, columns], Data::F32(mask), None);
        let zero = self.scalar(0.0);
        self.choose(node, mask, x, zero)
    }
}

#[cfg(test)]
mod tests {
    use super::padded;

    #[test]
    fn reflection_turns_at_both_ends() {
        let all = |mode| (-3..6).map(|i| padded(mode, i, 3)).collect::<Vec<_>>();
        assert_eq!(all("reflect"), [1, 2, 1, 0, 1, 2, 1, 0, 1]);
        assert_eq!(all("edge"), [0, 0, 0, 0, 1, 2, 2, 2, 2]);
        assert_eq!(all("wrap"), [0, 1, 2, 0, 1, 2, 0, 1, 2]);
        assert_eq!(padded("reflect", -2, 1), 0);
    }
}
