//! Reshape and its relatives, Transpose, Pad, Concat. Constants, and dequantised constants, are moved at once.

use super::OnnxError;
use super::attributes::OnnxNode;
use super::import::Importer;
use crate::graph::{DType, Data, Op, Quantization, ValueId};

/// Permutes a row-major array.
pub(super) fn permute<T: Copy>(data: &[T], shape: &[usize], perm: &[usize]) -> Vec<T> {
    let mut strides = vec![1; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i] * shape[i];
    }
    let dims: Vec<usize> = perm.iter().map(|&p| shape[p]).collect();
    let mut index = vec![0; perm.len()];
    let mut result = Vec::with_capacity(data.len());
    for _ in 0..data.len() {
        let offset: usize = index.iter().zip(perm).map(|(&i, &p)| i * strides[p]).sum();
        result.push(data[offset]);
        for axis in (0..index.len()).rev() {
            index[axis] += 1;
            if index[axis] < dims[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
    result
}

fn permute_data(data: &Data, shape: &[usize], perm: &[usize]) -> Data {
    match data {
        Data::F32(v) => Data::F32(permute(v, shape, perm)),
        Data::I8(v) => Data::I8(permute(v, shape, perm)),
        Data::U8(v) => Data::U8(permute(v, shape, perm)),
        Data::I32(v) => Data::I32(permute(v, shape, perm)),
        Data::I64(v) => Data::I64(permute(v, shape, perm)),
    }
}

/// Where a per-axis quantisation's axis lands after a reshape, if it survives.
fn reshaped_axis(from: &[usize], to: &[usize], axis: usize) -> Option<usize> {
    let before: usize = from[..axis].iter().product();
    (0..to.len()).find(|&a| to[..a].iter().product::<usize>() == before && to[a] == from[axis])
}

/// The node's own name if movement is all it does, else one for this step of it.
fn step_name(node: &OnnxNode, output: &str, step: &str) -> String {
    match node.op() {
        "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" | "Transpose" => node.name(),
        _ => format!("{output}_{step}"),
    }
}

impl Importer<'_> {
    /// The constant behind a value: itself, or what a Dequantize node reads.
    pub(super) fn constant_source(&self, id: ValueId) -> Option<ValueId> {
        if self.is_constant(id) {
            return Some(id);
        }
        let node = &self.graph.nodes[self.graph.producer(id)?];
        (node.op == Op::Dequantize && self.is_constant(node.inputs[0])).then(|| node.inputs[0])
    }

    /// Applies a movement to the constant behind `id`; the result is constant, or dequantised, like `id`.
    pub(super) fn replace_constant(
        &mut self,
        id: ValueId,
        source: ValueId,
        name: &str,
        shape: Vec<usize>,
        data: Data,
        quantization: Option<Quantization>,
    ) -> ValueId {
        if source == id {
            return self.add_constant(name, shape, data, quantization);
        }
        let stored = format!("{}_{}", self.graph[source].name, "moved");
        let constant = self.add_constant(&stored, shape.clone(), data, quantization);
        self.emit(
            name,
            Op::Dequantize,
            vec![constant],
            name,
            shape,
            DType::F32,
        )
    }

    /// `x` in another shape with as many elements.
    pub(super) fn reshape(
        &mut self,
        node: &OnnxNode,
        x: ValueId,
        shape: Vec<usize>,
        name: &str,
    ) -> ValueId {
        let old = self.shape(x);
        if let Some(source) = self.constant_source(x)
            && let Some(data) = self.graph[source].data.clone()
        {
            let quantization = self.graph[source].quantization.clone();
            let axis = quantization.as_ref().and_then(|q| q.axis);
            let moved = axis.map(|a| reshaped_axis(&old, &shape, a));
            if moved != Some(None) {
                let quantization = quantization.map(|q| Quantization {
                    axis: moved.flatten(),
                    ..q
                });
                return self.replace_constant(x, source, name, shape, data, quantization);
            }
        }
        let dtype = self.graph[x].dtype;
        let id = self.emit(
            &step_name(node, name, "reshape"),
            Op::Reshape,
            vec![x],
            name,
            shape,
            dtype,
        );
        self.graph[id].quantization = self.graph[x].quantization.clone();
        id
    }

    /// `x` with its axes permuted.
    pub(super) fn transpose(
        &mut self,
        node: &OnnxNode,
        x: ValueId,
        perm: &[usize],
        name: &str,
    ) -> ValueId {
        let old = self.shape(x);
        let shape: Vec<usize> = perm.iter().map(|&p| old[p]).collect();
        if let Some(source) = self.constant_source(x)
            && let Some(data) = &self.graph[source].data
        {
            let data = permute_data(data, &old, perm);
            let quantization = self.graph[source]
                .quantization
                .clone()
                .map(|q| Quantization {
                    axis: q.axis.and_then(|a| perm.iter().position(|&p| p == a)),
                    ..q
                });
            return self.replace_constant(x, source, name, shape, data, quantization);
        }
        let dtype = self.graph[x].dtype;
        let op = Op::Transpose {
            perm: perm.to_vec(),
        };
        let id = self.emit(
            &step_name(node, name, "transpose"),
            op,
            vec![x],
            name,
            shape,
            dtype,
        );
        self.graph[id].quantization = self.graph[x].quantization.clone();
        id
    }

    /// Reshape, Flatten, Squeeze, Unsqueeze.
    pub(super) fn reshape_like(&mut self, node: &OnnxNode) -> Result<ValueId, OnnxError> {
        let x = self.operand(node, 0)?;
        let old = self.shape(x);
        let shape = match node.op() {
            "Reshape" => self.reshape_target(node, &old)?,
            "Flatten" => {
                let axis = node.axis(node.int("axis", 1), old.len(), true)?;
                vec![old[..axis].iter().product(), old[axis..].iter().product()]
            }
            "Squeeze" => {
                let axes = self.axes(node, old.len())?;
                let axes =
                    axes.unwrap_or_else(|| (0..old.len()).filter(|&a| old[a] == 1).collect());
                if let Some(&bad) = axes.iter().find(|&&a| old[a] != 1) {
                    return Err(node.invalid(format!("axis {bad} of {old:?} is not 1")));
                }
                (0..old.len())
                    .filter(|a| !axes.contains(a))
                    .map(|a| old[a])
                    .collect()
            }
            _ => {
                let count = match (node.ints("axes"), node.input(1)) {
                    (Some(axes), _) => axes.len(),
                    (None, Some(_)) => self.constant_ints(node, 1, "axes")?.len(),
                    (None, None) => return Err(node.invalid("axes are missing")),
                };
                let axes = self.axes(node, old.len() + count)?.unwrap_or_default();
                let mut rest = old.iter();
                (0..old.len() + count)
                    .map(|a| {
                        if axes.contains(&a) {
                            Some(1)
                        } else {
                            rest.next().copied()
                        }
                    })
                    .collect::<Option<Vec<usize>>>()
                    .ok_or_else(|| node.invalid("an axis is given twice"))?
            }
        };
        if shape.iter().product::<usize>() != old.iter().product::<usize>() {
            return Err(node.invalid(format!("{old:?} cannot become {shape:?}")));
        }
        Ok(self.reshape(node, x, shape, node.output()?))
    }

    /// Axes from the attribute (older opsets) or input 1.
    fn axes(&mut self, node: &OnnxNode, rank: usize) -> Result<Option<Vec<usize>>, OnnxError> {
        let axes = match node.ints("axes") {
            Some(axes) => axes.to_vec(),
            None if node.input(1).is_some() => self.constant_ints(node, 1, "axes")?,
            None => return Ok(None),
        };
        axes.iter()
            .map(|&a| node.axis(a, rank, false))
            .collect::<Result<Vec<_>, _>>()
            .map(Some)
    }

    fn reshape_target(&mut self, node: &OnnxNode, old: &[usize]) -> Result<Vec<usize>, OnnxError> {
        let target = self.constant_ints(node, 1, "shape")?;
        let allow_zero = node.int("allowzero", 0) != 0;
        let elements: usize = old.iter().product();
        let mut shape = Vec::new();
        let mut inferred = None;
        for (axis, &dim) in target.iter().enumerate() {
            match dim {
                -1 if inferred.is_none() => {
                    inferred = Some(axis);
                    shape.push(1);
                }
                0 if !allow_zero => {
                    shape.push(*old.get(axis).ok_or_else(|| {
                        node.invalid(format!("shape {target:?} copies axis {axis} of {old:?}"))
                    })?);
                }
                _ => match usize::try_from(dim) {
                    Ok(d) if d > 0 && d <= elements => shape.push(d),
                    _ => return Err(node.invalid(format!("{old:?} cannot become {target:?}"))),
                },
            }
        }
        let known = shape.iter().fold(1usize, |n, &d| n.saturating_mul(d));
        if let Some(axis) = inferred
            && known > 0
            && elements.is_multiple_of(known)
        {
            shape[axis] = elements / known;
        }
        if shape.iter().fold(1usize, |n, &d| n.saturating_mul(d)) != elements {
            return Err(node.invalid(format!(
                "{old:?} cannot become {target:?} (a batch size baked into the model? the batch is 1)"
            )));
        }
        Ok(shape)
    }

    pub(super) fn transpose_node(&mut self, node: &OnnxNode) -> Result<ValueId, OnnxError> {
        let x = self.operand(node, 0)?;
        let rank = self.graph[x].shape.len();
        let perm: Vec<usize> = match node.ints("perm") {
            Some(perm) => node.checked_sizes("perm", perm)?,
            None => (0..rank).rev().collect(),
        };
        let mut sorted = perm.clone();
        sorted.sort_unstable();
        if sorted != (0..rank).collect::<Vec<_>>() {
            return Err(node.invalid(format!("perm {perm:?} is no permutation of {rank} axes")));
        }
        Ok(self.transpose(node, x, &perm, node.output()?))
    }

    pub(super) fn pad(&mut self, node: &OnnxNode) -> Result<ValueId, OnnxError> {
        let mode = node.string("mode", "constant");
        let x = self.operand(node, 0)?;
        let old = self.shape(x);
        let from_attributes = self.opset < 11;
        let pads = match node.ints("pads") {
            Some(pads) if from_attributes => pads.to_vec(),
            _ => self.constant_ints(node, 1, "pads")?,
        };
        let value = if from_attributes {
            node.float("value", 0.0)
        } else if node.input(2).is_some() {
            match self.constant(node, 2, "constant_value")? {
                Data::F32(v) => v.first().copied(),
                Data::I8(v) => v.first().map(|&v| f32::from(v)),
                Data::U8(v) => v.first().map(|&v| f32::from(v)),
                _ => None,
            }
            .ok_or_else(|| node.invalid("constant_value does not have the type of the data"))?
        } else {
            0.0
        };
        let axes: Vec<usize> = if node.input(3).is_some() {
            let axes = self.constant_ints(node, 3, "axes")?;
            axes.iter()
                .map(|&a| node.axis(a, old.len(), false))
                .collect::<Result<_, _>>()?
        } else {
            (0..old.len()).collect()
        };
        if pads.len() != 2 * axes.len() {
            return Err(node.invalid(format!("{} pads for {} axes", pads.len(), axes.len())));
        }
        if mode != "constant" {
            let each = axes.iter().enumerate();
            let each: Vec<_> = each
                .map(|(i, &axis)| (axis, pads[i], pads[i + axes.len()]))
                .collect();
            return self.pad_by_indices(node, x, &mode, &each);
        }
        // Negative pads crop.
        let mut x = x;
        let mut old = old;
        let mut pads = pads;
        for (i, &axis) in axes.iter().enumerate() {
            let [before, after] =
                [i, i + axes.len()].map(|i| pads[i].saturating_neg().max(0) as usize);
            if before > 0 || after > 0 {
                let range = before..old[axis].saturating_sub(after);
                if range.is_empty() {
                    return Err(node.invalid("its pads leave nothing"));
                }
                old[axis] = range.len();
                let name = format!("{}_cropped", node.output()?);
                x = self.part(&name, x, axis, range, &name);
            }
        }
        pads.iter_mut().for_each(|p| *p = (*p).max(0));
        let pads = node.checked_sizes("pads", &pads)?;
        let (mut before, mut after) = (vec![0; old.len()], vec![0; old.len()]);
        for (i, &axis) in axes.iter().enumerate() {
            before[axis] = pads[i];
            after[axis] = pads[i + axes.len()];
        }
        let shape = (0..old.len())
            .map(|a| before[a] + old[a] + after[a])
            .collect();
        let dtype = self.graph[x].dtype;
        let op = Op::Pad {
            before,
            after,
            value,
        };
        let id = self.emit(&node.name(), op, vec![x], node.output()?, shape, dtype);
        self.graph[id].quantization = self.graph[x].quantization.clone();
        if dtype != DType::F32 {
            self.raw_pads.push(id);
        }
        Ok(id)
    }

    pub(super) fn concat(&mut self, node: &OnnxNode) -> Result<ValueId, OnnxError> {
        let mut inputs: Vec<ValueId> = (0..node.proto.input.len())
            .map(|i| self.operand(node, i))
            .collect::<Result<_, _>>()?;
        if inputs.iter().any(|&id| self.graph[id].dtype == DType::F32) {
            // Integers that are computed are floats here; those that are constant become some.
            for (i, id) in inputs.iter_mut().enumerate() {
                *id = self.number(node, i)?;
            }
        }
        let &first = inputs
            .first()
            .ok_or_else(|| node.invalid("it has no inputs"))?;
        let mut shape = self.shape(first);
        if node.attribute("axis").is_none() {
            return Err(node.invalid("attribute axis is missing"));
        }
        let axis = node.axis(node.int("axis", 0), shape.len(), false)?;
        for &other in &inputs[1..] {
            let s = self.shape(other);
            let fits =
                s.len() == shape.len() && (0..s.len()).all(|a| a == axis || s[a] == shape[a]);
            if !fits || self.graph[other].dtype != self.graph[first].dtype {
                return Err(node.invalid(format!(
                    "{s:?} does not fit {shape:?} (or the types differ)"
                )));
            }
            shape[axis] += s[axis];
        }
        let dtype = self.graph[first].dtype;
        let quantization = self.graph[first].quantization.clone();
        let id = self.emit(
            &node.name(),
            Op::Concat { axis },
            inputs,
            node.output()?,
            shape,
            dtype,
        );
        self.graph[id].quantization = quantization;
        Ok(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permute_transposes_a_matrix() {
        assert_eq!(
            permute(&[1, 2, 3, 4, 5, 6], &[2, 3], &[1, 0]),
            [1, 4, 2, 5, 3, 6]
        );
    }

    #[test]
    fn an_axis_survives_a_reshape_only_when_it_stays_whole() {
        assert_eq!(reshaped_axis(&[8, 1, 3], &[8, 1, 1, 3], 0), Some(0));
        assert_eq!(reshaped_axis(&[1, 8, 3], &[8, 3], 1), Some(0));
        assert_eq!(reshaped_axis(&[4, 6], &[24], 1), None);
    }
}
