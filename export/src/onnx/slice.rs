//! Slice and Split: parts of a tensor along its axes, one node a part and axis.

use super::OnnxError;
use super::attributes::OnnxNode;
use super::import::Importer;
use crate::graph::{Data, Op, Quantization, ValueId};
use std::ops::Range;

/// `range` of `axis` of a row-major array.
fn part<T: Copy>(data: &[T], shape: &[usize], axis: usize, range: &Range<usize>) -> Vec<T> {
    let inner: usize = shape[axis + 1..].iter().product();
    let whole = (shape[axis] * inner).max(1);
    let blocks = data.chunks(whole);
    let cut = blocks.flat_map(|block| &block[range.start * inner..range.end * inner]);
    cut.copied().collect()
}

fn part_of(data: &Data, shape: &[usize], axis: usize, range: &Range<usize>) -> Data {
    match data {
        Data::F32(v) => Data::F32(part(v, shape, axis, range)),
        Data::I8(v) => Data::I8(part(v, shape, axis, range)),
        Data::U8(v) => Data::U8(part(v, shape, axis, range)),
        Data::I32(v) => Data::I32(part(v, shape, axis, range)),
        Data::I64(v) => Data::I64(part(v, shape, axis, range)),
    }
}

impl Importer<'_> {
    /// `range` of one axis of `x`.
    pub(super) fn part(
        &mut self,
        name: &str,
        x: ValueId,
        axis: usize,
        range: Range<usize>,
        output: &str,
    ) -> ValueId {
        let mut shape = self.shape(x);
        if let Some(source) = self.constant_source(x)
            && let Some(data) = &self.graph[source].data
        {
            let data = part_of(data, &shape, axis, &range);
            let quantization = self.graph[source].quantization.clone();
            let quantization = quantization.map(|q| Quantization {
                scales: match q.axis {
                    Some(a) if a == axis => q.scales[range.clone()].to_vec(),
                    _ => q.scales,
                },
                ..q
            });
            shape[axis] = range.len();
            return self.replace_constant(x, source, output, shape, data, quantization);
        }
        shape[axis] = range.len();
        let dtype = self.graph[x].dtype;
        let start = range.start;
        let op = Op::Slice { axis, start };
        let id = self.emit(name, op, vec![x], output, shape, dtype);
        self.graph[id].quantization = self.graph[x].quantization.clone();
        id
    }

    pub(super) fn slice(&mut self, node: &OnnxNode) -> Result<ValueId, OnnxError> {
        let mut x = self.operand(node, 0)?;
        let shape = self.shape(x);
        let mut optional = |name: &str, input: usize| -> Result<Option<Vec<i64>>, OnnxError> {
            match node.input(input) {
                _ if node.opset < 10 => Ok(node.ints(name).map(<[i64]>::to_vec)),
                Some(_) => Ok(Some(self.constant_ints(node, input, name)?)),
                None => Ok(None),
            }
        };
        let missing = |what| node.invalid(format!("{what} are missing"));
        let starts = optional("starts", 1)?.ok_or_else(|| missing("starts"))?;
        let ends = optional("ends", 2)?.ok_or_else(|| missing("ends"))?;
        let axes = optional("axes", 3)?;
        let steps = optional("steps", 4)?;
        let axes = match axes {
            Some(axes) => axes,
            None => (0..starts.len() as i64).collect(),
        };
        if starts.len() != ends.len() || starts.len() != axes.len() {
            return Err(node.invalid(format!(
                "{} starts, {} ends and {} axes",
                starts.len(),
                ends.len(),
                axes.len()
            )));
        }
        if let Some(steps) = steps.filter(|s| s.iter().any(|&s| s != 1)) {
            if steps.len() != axes.len() {
                return Err(node.invalid(format!("{} steps of {} axes", steps.len(), axes.len())));
            }
            let mut parts = Vec::new();
            for (i, &axis) in axes.iter().enumerate() {
                let axis = node.axis(axis, shape.len(), false)?;
                parts.push((axis, starts[i], ends[i], steps[i]));
            }
            return self.slice_with_steps(node, x, &parts);
        }
        let mut ranges = Vec::new();
        for ((&axis, &start), &end) in axes.iter().zip(&starts).zip(&ends) {
            let axis = node.axis(axis, shape.len(), false)?;
            let dim = shape[axis] as i64;
            let index = |i: i64| {
                let from_start = if i < 0 { i.saturating_add(dim) } else { i };
                from_start.clamp(0, dim) as usize
            };
            let range = index(start)..index(end);
            if range.is_empty() || ranges.iter().any(|(a, _)| *a == axis) {
                return Err(node.invalid(format!(
                    "{start}..{end} of axis {axis} of {shape:?} is empty, or the axis is given twice"
                )));
            }
            ranges.push((axis, range));
        }
        ranges.retain(|(axis, range)| range.len() < shape[*axis]);
        let output = node.output()?;
        let last = ranges.len();
        for (i, (axis, range)) in ranges.into_iter().enumerate() {
            let (name, output) = if i + 1 == last {
                (node.name(), output.to_owned())
            } else {
                let name = format!("{output}_axis{axis}");
                (name.clone(), name)
            };
            x = self.part(&name, x, axis, range, &output);
        }
        Ok(x)
    }

    /// Binds every output that has a name.
    pub(super) fn split(&mut self, node: &OnnxNode) -> Result<(), OnnxError> {
        let x = self.operand(node, 0)?;
        let shape = self.shape(x);
        let axis = node.axis(node.int("axis", 0), shape.len(), false)?;
        let dim = shape[axis];
        let outputs = node.proto.output.clone();
        let sizes = if node.opset < 13 {
            node.ints("split").map(<[i64]>::to_vec)
        } else if node.input(1).is_some() {
            Some(self.constant_ints(node, 1, "split")?)
        } else {
            None
        };
        let sizes = match sizes {
            Some(sizes) => node.checked_sizes("split", &sizes)?,
            None => {
                let size = dim.div_ceil(outputs.len());
                let sizes = (0..outputs.len()).map(|i| dim.saturating_sub(i * size).min(size));
                sizes.collect()
            }
        };
        let equal = sizes.iter().all(|&s| s == sizes[0]);
        let may_be_unequal = node.opset >= 18 || node.input(1).is_some() || node.opset < 13;
        if sizes.len() != outputs.len()
            || sizes.iter().sum::<usize>() != dim
            || sizes.contains(&0)
            || !(equal || may_be_unequal)
        {
            return Err(node.invalid(format!(
                "axis {axis} of {shape:?} cannot be split into {} outputs of sizes {sizes:?}",
                outputs.len()
            )));
        }
        let mut start = 0;
        for (output, size) in outputs.iter().zip(sizes) {
            let range = start..start + size;
            start = range.end;
            if output.is_empty() {
                continue;
            }
            let name = if outputs.len() == 1 {
                node.name()
            } else {
                format!("{}:{output}", node.name())
            };
            let id = if range.len() == dim {
                x
            } else {
                self.part(&name, x, axis, range, output)
            };
            self.bind_as(node, output, id)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_cut_out_of_every_block() {
        let data: Vec<i32> = (0..12).collect();
        assert_eq!(
            part(&data, &[2, 3, 2], 1, &(1..3)),
            [2, 3, 4, 5, 8, 9, 10, 11]
        );
        assert_eq!(part(&data, &[2, 3, 2], 2, &(0..1)), [0, 2, 4, 6, 8, 10]);
        assert_eq!(part(&data, &[2, 3, 2], 0, &(1..2)), [6, 7, 8, 9, 10, 11]);
    }
}
