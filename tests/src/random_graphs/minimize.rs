//! Making a failing graph small: whatever can be left out while the same two still differ is left out.

use super::generate::attribute;
use super::{Case, Input};
use kinglet_export::files::Tensor;
use kinglet_export::graph::Data;
use std::collections::{HashMap, HashSet};
use tract_onnx::pb::{
    GraphProto, TensorProto, TensorShapeProto, TypeProto, ValueInfoProto, tensor_shape_proto,
    type_proto,
};

/// Candidates tried before a graph is small enough.
const MOST: usize = 1500;

/// The smallest case found for which `still` holds; it holds for `case`. `values` are all tensors of a case.
///
/// Tried are, in turn and over and over: an earlier end, a later beginning (fed with the values that were there), nodes left out,
/// smaller dimensions (one size everywhere at once, then one axis of one tensor), attributes left out, constants and inputs of
/// zeroes. A candidate that is no valid model differs from nothing, so nothing needs to know what shapes mean.
pub fn minimize(
    case: &Case,
    mut values: impl FnMut(&Case) -> HashMap<String, Tensor>,
    mut still: impl FnMut(&Case) -> bool,
) -> Case {
    let (mut best, mut tried) = (case.clone(), 0usize);
    loop {
        let tensors = values(&best);
        let smaller = candidates(&best, &tensors).find(|candidate| {
            tried += 1;
            tried <= MOST && weight(candidate) < weight(&best) && still(candidate)
        });
        match smaller {
            Some(next) => best = next,
            None => return best,
        }
    }
}

/// What is made smaller: nodes first, then elements, attributes, values that are not zero.
fn weight(case: &Case) -> [usize; 4] {
    let Some(graph) = &case.model.graph else {
        return [0; 4];
    };
    let constants = graph.initializer.iter();
    let sizes = constants.map(|t| t.dims.iter().product::<i64>() as usize);
    let given = case.inputs.iter().map(|i| i.tensor.data.len());
    let attributes = graph.node.iter().map(|n| n.attribute.len()).sum();
    let nonzero = |data: &Data| data.reals().iter().filter(|&&v| v != 0.0).count();
    let values: usize = case.inputs.iter().map(|i| nonzero(&i.tensor.data)).sum();
    let constants = graph.initializer.iter().filter_map(data);
    let values = values + constants.map(|d| nonzero(&d)).sum::<usize>();
    let sum = sizes.sum::<usize>() + given.sum::<usize>();
    [graph.node.len(), sum, attributes, values]
}

fn candidates<'c>(
    case: &'c Case,
    tensors: &'c HashMap<String, Tensor>,
) -> impl Iterator<Item = Case> + 'c {
    let graph = case.model.graph.as_ref();
    let nodes = graph.map_or(0, |g| g.node.len());
    let ends = (0..nodes).flat_map(|n| with(case, |c| end_at(c, n)));
    let begins = (0..nodes)
        .rev()
        .flat_map(|n| with(case, |c| begin_at(c, n, tensors)));
    let without = (0..nodes).flat_map(|n| with(case, |c| leave_out(c, n)));
    let outputs = (0..graph.map_or(0, |g| g.output.len())).flat_map(|n| {
        with(case, |c| {
            let graph = c.model.graph.as_mut()?;
            let name = (graph.output.len() > 1).then(|| graph.output.remove(n));
            name.map(|_| prune(c))
        })
    });
    let sizes = sizes(case).into_iter().flat_map(|size| {
        let all = [1, size / 2, size - 1];
        all.into_iter().filter(|&s| s > 0).map(move |to| (size, to))
    });
    let sizes = sizes.flat_map(|(from, to)| with(case, |c| resize_all(c, from, to)));
    let axes = axes(case).into_iter();
    let axes = axes.flat_map(|(which, axis)| with(case, |c| shrink(c, which, axis)));
    let attributes = (0..nodes).flat_map(move |n| {
        let count = graph.map_or(0, |g| g.node[n].attribute.len());
        (0..count).map(move |a| (n, a))
    });
    let attributes = attributes.flat_map(|(n, a)| {
        with(case, |c| {
            let node = &mut c.model.graph.as_mut()?.node[n];
            node.attribute.remove(a);
            Some(())
        })
    });
    let plain = (0..nodes).flat_map(|n| with(case, |c| simplify(c, n)));
    let zeroes = (0..graph.map_or(0, |g| g.initializer.len() + case.inputs.len()))
        .flat_map(|which| with(case, |c| zero(c, which)));
    ends.chain(begins)
        .chain(outputs)
        .chain(without)
        .chain(sizes)
        .chain(axes)
        .chain(attributes)
        .chain(plain)
        .chain(zeroes)
}

/// The case changed, if the change is one.
fn with(case: &Case, change: impl FnOnce(&mut Case) -> Option<()>) -> Option<Case> {
    let mut changed = case.clone();
    change(&mut changed)?;
    Some(changed)
}

/// Drops what no output needs.
fn prune(case: &mut Case) {
    let Some(graph) = &mut case.model.graph else {
        return;
    };
    let mut needed: HashSet<String> = graph.output.iter().map(|o| o.name.clone()).collect();
    let mut keep = vec![false; graph.node.len()];
    for (node, keep) in graph.node.iter().zip(&mut keep).rev() {
        if node.output.iter().any(|o| needed.contains(o)) {
            *keep = true;
            needed.extend(node.input.iter().cloned());
        }
    }
    let mut keep = keep.into_iter();
    graph.node.retain(|_| keep.next().unwrap_or(true));
    graph.initializer.retain(|t| needed.contains(&t.name));
    graph.input.retain(|i| needed.contains(&i.name));
    graph.value_info.clear();
    case.inputs.retain(|i| needed.contains(&i.name));
}

/// The first output of this node is the only one.
fn end_at(case: &mut Case, node: usize) -> Option<()> {
    let graph = case.model.graph.as_mut()?;
    let name = graph.node[node].output.first()?.clone();
    graph.output = vec![ValueInfoProto {
        name,
        ..ValueInfoProto::default()
    }];
    prune(case);
    Some(())
}

/// The outputs of this node are inputs, with the values that they had.
fn begin_at(case: &mut Case, node: usize, tensors: &HashMap<String, Tensor>) -> Option<()> {
    let graph = case.model.graph.as_mut()?;
    let node = graph.node.remove(node);
    for name in node.output.iter().filter(|name| !name.is_empty()) {
        let tensor = tensors.get(name)?.clone();
        graph.input.push(described(name, &tensor)?);
        case.inputs.push(Input {
            name: name.clone(),
            tensor,
        });
    }
    prune(case);
    Some(())
}

fn described(name: &str, tensor: &Tensor) -> Option<ValueInfoProto> {
    let elem_type = match tensor.data {
        Data::F32(_) => 1,
        Data::U8(_) => 2,
        Data::I8(_) => 3,
        Data::I32(_) | Data::I64(_) => return None,
    };
    let dim = |&d: &usize| tensor_shape_proto::Dimension {
        value: Some(tensor_shape_proto::dimension::Value::DimValue(d as i64)),
        ..Default::default()
    };
    let shape = TensorShapeProto {
        dim: tensor.shape.iter().map(dim).collect(),
    };
    Some(ValueInfoProto {
        name: name.into(),
        r#type: Some(TypeProto {
            value: Some(type_proto::Value::TensorType(type_proto::Tensor {
                elem_type,
                shape: Some(shape),
            })),
            ..TypeProto::default()
        }),
        ..ValueInfoProto::default()
    })
}

/// Its readers read its first operand.
fn leave_out(case: &mut Case, node: usize) -> Option<()> {
    let graph = case.model.graph.as_mut()?;
    let node = graph.node.remove(node);
    let (from, to) = (node.output.first()?, node.input.first()?);
    let readers = graph.node.iter_mut().flat_map(|n| &mut n.input);
    readers
        .filter(|i| *i == from)
        .for_each(|i| i.clone_from(to));
    let outputs = graph.output.iter_mut().filter(|o| o.name == *from);
    outputs.for_each(|o| {
        o.name.clone_from(to);
        o.r#type = None;
    });
    prune(case);
    Some(())
}

fn shapes(case: &Case) -> Vec<Vec<usize>> {
    let constants = case.model.graph.iter().flat_map(|g| &g.initializer);
    let constants = constants.map(|t| t.dims.iter().map(|&d| d as usize).collect());
    let inputs = case.inputs.iter().map(|i| i.tensor.shape.clone());
    inputs.chain(constants).collect()
}

/// All sizes of dimensions, the largest first.
fn sizes(case: &Case) -> Vec<usize> {
    let mut sizes: Vec<usize> = shapes(case)
        .into_iter()
        .flatten()
        .filter(|&d| d > 1)
        .collect();
    sizes.sort_unstable();
    sizes.dedup();
    sizes.reverse();
    sizes
}

/// Every axis of every tensor that is longer than 1.
fn axes(case: &Case) -> Vec<(usize, usize)> {
    let axes = shapes(case)
        .into_iter()
        .enumerate()
        .flat_map(|(which, shape)| {
            let long = (0..shape.len()).filter(move |&axis| shape[axis] > 1);
            long.map(move |axis| (which, axis))
        });
    axes.collect()
}

/// Every dimension of one size becomes another: what belongs together mostly has one size.
fn resize_all(case: &mut Case, from: usize, to: usize) -> Option<()> {
    let each = |dims: &[usize]| {
        dims.iter()
            .map(|&d| if d == from { to } else { d })
            .collect()
    };
    let all = shapes(case);
    for (which, shape) in all.iter().enumerate() {
        let new: Vec<usize> = each(shape);
        if new != *shape {
            set_shape(case, which, &new)?;
        }
    }
    let graph = case.model.graph.as_mut()?;
    for node in &mut graph.node {
        if let Some(group) = attribute(node, "group").filter(|a| a.i == from as i64) {
            group.i = to as i64;
        }
    }
    Some(())
}

fn shrink(case: &mut Case, which: usize, axis: usize) -> Option<()> {
    let mut shape = shapes(case).get(which)?.clone();
    shape[axis] -= 1;
    set_shape(case, which, &shape)
}

/// Cuts a tensor (inputs first, then constants) to its leading elements.
fn set_shape(case: &mut Case, which: usize, shape: &[usize]) -> Option<()> {
    let graph = case.model.graph.as_mut()?;
    match which.checked_sub(case.inputs.len()) {
        None => {
            let input = &mut case.inputs[which];
            let data = cut(&input.tensor.data, &input.tensor.shape, shape)?;
            let shape = shape.to_vec();
            input.tensor = Tensor { shape, data };
            let position = graph.input.iter().position(|i| i.name == input.name)?;
            graph.input[position] = described(&input.name, &input.tensor)?;
        }
        Some(index) => {
            let tensor = &mut graph.initializer[index];
            let before: Vec<usize> = tensor.dims.iter().map(|&d| d as usize).collect();
            let data = cut(&data(tensor)?, &before, shape)?;
            set_data(tensor, shape, data);
        }
    }
    Some(())
}

fn cut(data: &Data, from: &[usize], to: &[usize]) -> Option<Data> {
    let inside = |mut at: usize| {
        from.iter().zip(to).rev().all(|(&from, &to)| {
            let index = at % from.max(1);
            at /= from.max(1);
            index < to
        })
    };
    fn kept<T: Copy>(v: &[T], inside: impl Fn(usize) -> bool) -> Vec<T> {
        let at = v.iter().enumerate().filter(|(i, _)| inside(*i));
        at.map(|(_, &v)| v).collect()
    }
    Some(match data {
        Data::F32(v) => Data::F32(kept(v, inside)),
        Data::I8(v) => Data::I8(kept(v, inside)),
        Data::U8(v) => Data::U8(kept(v, inside)),
        Data::I32(v) => Data::I32(kept(v, inside)),
        Data::I64(v) => Data::I64(kept(v, inside)),
    })
}

/// No padding, strides and dilations of 1, one group.
fn simplify(case: &mut Case, node: usize) -> Option<()> {
    let graph: &mut GraphProto = case.model.graph.as_mut()?;
    let node = &mut graph.node[node];
    let plain = [
        ("pads", 0),
        ("output_padding", 0),
        ("strides", 1),
        ("dilations", 1),
    ];
    let mut changed = false;
    for (name, value) in plain {
        if let Some(found) = attribute(node, name).filter(|a| a.ints.iter().any(|&i| i != value)) {
            found.ints.fill(value);
            changed = true;
            break;
        }
    }
    changed.then_some(())
}

/// Makes a tensor's elements zero (constants first, then inputs).
fn zero(case: &mut Case, which: usize) -> Option<()> {
    let graph = case.model.graph.as_mut()?;
    let zeroes = |data: &mut Data| match data {
        Data::F32(v) => v.fill(0.0),
        Data::I8(v) => v.fill(0),
        Data::U8(v) => v.fill(0),
        Data::I32(v) => v.fill(0),
        // Shapes and indices.
        Data::I64(_) => {}
    };
    match which.checked_sub(graph.initializer.len()) {
        None => {
            let tensor = &mut graph.initializer[which];
            let mut values = data(tensor)?;
            zeroes(&mut values);
            let shape: Vec<usize> = tensor.dims.iter().map(|&d| d as usize).collect();
            set_data(tensor, &shape, values);
        }
        Some(input) => zeroes(&mut case.inputs.get_mut(input)?.tensor.data),
    }
    Some(())
}

/// Elements of an initialiser of a type that this crate's files have.
fn data(tensor: &TensorProto) -> Option<Data> {
    let raw = &tensor.raw_data;
    fn words<const N: usize>(raw: &[u8]) -> impl Iterator<Item = [u8; N]> + '_ {
        raw.as_chunks::<N>().0.iter().copied()
    }
    let whole = raw.is_empty();
    Some(match tensor.data_type {
        1 if whole => Data::F32(tensor.float_data.clone()),
        1 => Data::F32(words(raw).map(f32::from_le_bytes).collect()),
        2 if whole => Data::U8(tensor.int32_data.iter().map(|&v| v as u8).collect()),
        2 => Data::U8(raw.to_vec()),
        3 if whole => Data::I8(tensor.int32_data.iter().map(|&v| v as i8).collect()),
        3 => Data::I8(raw.iter().map(|&v| v as i8).collect()),
        6 if whole => Data::I32(tensor.int32_data.clone()),
        6 => Data::I32(words(raw).map(i32::from_le_bytes).collect()),
        7 if whole => Data::I64(tensor.int64_data.clone()),
        7 => Data::I64(words(raw).map(i64::from_le_bytes).collect()),
        _ => return None,
    })
}

fn set_data(tensor: &mut TensorProto, shape: &[usize], data: Data) {
    let raw_data = match &data {
        Data::I64(v) => v.iter().flat_map(|v| v.to_le_bytes()).collect(),
        other => super::generate::bytes(other),
    };
    *tensor = TensorProto {
        name: tensor.name.clone(),
        dims: shape.iter().map(|&d| d as i64).collect(),
        data_type: tensor.data_type,
        raw_data,
        ..TensorProto::default()
    };
}
