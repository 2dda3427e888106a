//! Which channels of which values are the same channel.

use super::group::{self, Group};
use crate::graph::{Data, Graph, Node, Op, ValueId};
use std::collections::HashMap;

/// A class of channels that stand or fall together; an index that means something to one [`Channels`] only.
pub type Channel = usize;

/// One axis of a value, with the channel at each index.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Axis {
    pub(super) axis: usize,
    pub(super) channels: Vec<Channel>,
}

/// The channels of a graph.
#[derive(Clone, Debug)]
pub struct Channels {
    axes: HashMap<ValueId, Axis>,
    groups: Vec<Group>,
}

impl Channels {
    /// Follows channels through a float graph in the ONNX dialect.
    pub fn analyse(graph: &Graph) -> Channels {
        let mut walk = Walk {
            graph,
            axes: HashMap::new(),
            parent: Vec::new(),
            pins: Vec::new(),
        };
        for &id in &graph.inputs {
            walk.pinned_value(id, "it is an input of the network");
        }
        for node in &graph.nodes {
            walk.node(node);
        }
        for &id in &graph.outputs {
            walk.pin_value(id, "it is an output of the network");
        }
        let Walk {
            mut axes,
            mut parent,
            pins,
            ..
        } = walk;
        for axis in axes.values_mut() {
            for channel in &mut axis.channels {
                *channel = root(&mut parent, *channel);
            }
        }
        let groups = group::collect(graph, &axes, &pins);
        Channels { axes, groups }
    }

    /// The groups, in the order of their first producer.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// The channel axis of an activation; `None` for constants.
    pub(super) fn axis(&self, id: ValueId) -> Option<&Axis> {
        self.axes.get(&id)
    }
}

fn root(parent: &mut [usize], mut channel: usize) -> usize {
    while parent[channel] != channel {
        parent[channel] = parent[parent[channel]];
        channel = parent[channel];
    }
    channel
}

struct Walk<'g> {
    graph: &'g Graph,
    axes: HashMap<ValueId, Axis>,
    parent: Vec<usize>,
    /// Why a channel cannot go, at the roots.
    pins: Vec<Option<String>>,
}

impl Walk<'_> {
    fn fresh(&mut self, count: usize) -> Vec<Channel> {
        let first = self.parent.len();
        self.parent.extend(first..first + count);
        self.pins.resize(first + count, None);
        (first..first + count).collect()
    }

    fn pin(&mut self, channels: &[Channel], reason: &str) {
        for &c in channels {
            let c = root(&mut self.parent, c);
            self.pins[c].get_or_insert_with(|| reason.to_owned());
        }
    }

    fn union(&mut self, a: &[Channel], b: &[Channel]) {
        for (&a, &b) in a.iter().zip(b) {
            let (a, b) = (root(&mut self.parent, a), root(&mut self.parent, b));
            let (low, high) = (a.min(b), a.max(b));
            if low != high {
                self.parent[high] = low;
                if self.pins[low].is_none() {
                    self.pins[low] = self.pins[high].take();
                }
            }
        }
    }

    fn set(&mut self, id: ValueId, axis: usize, channels: Vec<Channel>) {
        self.axes.insert(id, Axis { axis, channels });
    }

    /// A value whose channels are new: along axis 1, or 0 for vectors.
    fn fresh_value(&mut self, id: ValueId) -> Vec<Channel> {
        let shape = &self.graph[id].shape;
        let axis = usize::from(shape.len() > 1);
        let channels = self.fresh(shape.get(axis).copied().unwrap_or(1));
        self.set(id, axis, channels.clone());
        channels
    }

    fn pinned_value(&mut self, id: ValueId, reason: &str) {
        let channels = self.fresh_value(id);
        self.pin(&channels, reason);
    }

    fn pin_value(&mut self, id: ValueId, reason: &str) {
        if let Some(axis) = self.axes.get(&id) {
            let channels = axis.channels.clone();
            self.pin(&channels, reason);
        }
    }

    /// What the node does is not followed: nothing that goes in or comes out can be cut.
    fn opaque(&mut self, node: &Node, reason: &str) {
        let reason = format!("node `{}`: {reason}", node.name);
        for &id in &node.inputs {
            self.pin_value(id, &reason);
        }
        self.pinned_value(node.output, &reason);
    }

    fn is_float_constant(&self, id: ValueId) -> bool {
        matches!(self.graph[id].data, Some(Data::F32(_)))
    }

    fn node(&mut self, node: &Node) {
        let Some(&input) = node.inputs.first() else {
            return self.pinned_value(node.output, "it has no operands");
        };
        // Operands without a known axis are constants.
        let x = self.axes.get(&input).cloned();
        let constants = node
            .inputs
            .iter()
            .skip(1)
            .all(|&id| self.is_float_constant(id));
        match (&node.op, x) {
            (Op::Conv2d { groups, .. }, Some(x)) if constants && x.axis == 1 => {
                self.conv(node, *groups, &x.channels)
            }
            (Op::FullyConnected { .. }, Some(x))
                if constants && x.axis == 1 && self.graph[input].shape.len() == 2 =>
            {
                self.fresh_value(node.output);
            }
            (Op::BatchNorm { .. }, Some(x)) if constants && x.axis == 1 => {
                self.set(node.output, 1, x.channels)
            }
            (Op::Unary(_), Some(x)) => self.set(node.output, x.axis, x.channels),
            (Op::Pool { .. }, Some(x)) if x.axis == 1 => self.set(node.output, 1, x.channels),
            (Op::Pad { before, after, .. }, Some(x))
                if before[x.axis] == 0 && after[x.axis] == 0 =>
            {
                self.set(node.output, x.axis, x.channels);
            }
            (Op::Transpose { perm }, Some(x)) => {
                let axis = perm.iter().position(|&p| p == x.axis).unwrap_or(0);
                self.set(node.output, axis, x.channels);
            }
            (Op::Slice { axis, start }, Some(x)) => {
                let count = self.graph[node.output].shape[*axis];
                let channels = if *axis == x.axis {
                    x.channels[*start..start + count].to_vec()
                } else {
                    x.channels
                };
                self.set(node.output, x.axis, channels);
            }
            (Op::Reshape, Some(x)) => self.reshape(node, &x),
            (Op::Concat { axis }, _) => self.concat(node, *axis),
            (Op::Binary { .. }, _) => self.binary(node),
            (Op::Softmax { axis }, Some(x)) if *axis != x.axis => {
                self.set(node.output, x.axis, x.channels)
            }
            // What goes in along another axis stays; what comes out is as new as ever.
            (Op::Conv2d { groups: 1, .. } | Op::FullyConnected { .. }, Some(x)) if constants => {
                let reason = format!("node `{}` does not read it along axis 1", node.name);
                self.pin(&x.channels, &reason);
                self.fresh_value(node.output);
            }
            (op, _) => self.opaque(
                node,
                &format!(
                    "channels are not followed through this {}",
                    crate::passes::op_name(op)
                ),
            ),
        }
    }

    fn conv(&mut self, node: &Node, groups: usize, x: &[Channel]) {
        let weight = &self.graph[node.inputs[1]].shape;
        if groups == 1 {
            self.fresh_value(node.output);
        } else if groups == x.len() && weight[1] == 1 {
            let multiplier = weight[0] / groups;
            let channels = (0..weight[0]).map(|o| x[o / multiplier]).collect();
            self.set(node.output, 1, channels);
        } else {
            self.opaque(
                node,
                "a grouped convolution that is not depthwise keeps its channels",
            );
        }
    }

    fn reshape(&mut self, node: &Node, x: &Axis) {
        let roots: Vec<Channel> = x
            .channels
            .iter()
            .map(|&c| root(&mut self.parent, c))
            .collect();
        let (from, to) = (
            &self.graph[node.inputs[0]].shape,
            &self.graph[node.output].shape,
        );
        match reshaped(from, x.axis, to, |i| roots[i]) {
            Some((axis, sources)) => {
                let channels = sources.iter().map(|&i| x.channels[i]).collect();
                self.set(node.output, axis, channels);
            }
            None => self.opaque(node, "it mixes channels with other axes"),
        }
    }

    fn concat(&mut self, node: &Node, axis: usize) {
        let parts: Option<Vec<Axis>> = node
            .inputs
            .iter()
            .map(|id| self.axes.get(id).cloned())
            .collect();
        let Some(parts) = parts.filter(|p| p.iter().all(|part| part.axis == p[0].axis)) else {
            return self.opaque(node, "it joins constants, or channels of different axes");
        };
        if axis == parts[0].axis {
            let channels = parts.iter().flat_map(|p| p.channels.clone()).collect();
            self.set(node.output, axis, channels);
        } else {
            for part in &parts[1..] {
                self.union(&parts[0].channels, &part.channels);
            }
            self.set(node.output, parts[0].axis, parts[0].channels.clone());
        }
    }

    fn binary(&mut self, node: &Node) {
        let out = &self.graph[node.output].shape;
        let placed = |id: &ValueId| {
            let axis = self.axes.get(id)?;
            Some((
                axis.axis + out.len() - self.graph[*id].shape.len(),
                axis.channels.clone(),
            ))
        };
        let operands: Vec<_> = node.inputs.iter().filter_map(placed).collect();
        let floats = node
            .inputs
            .iter()
            .all(|&id| self.axes.contains_key(&id) || self.is_float_constant(id));
        let len = |axis: usize| out.get(axis).copied().unwrap_or(0);
        match operands.as_slice() {
            [(axis, x)] if floats && x.len() == len(*axis) => {
                self.set(node.output, *axis, x.clone())
            }
            [(axis, a), (other, b)]
                if axis == other && (a.len() == len(*axis) || b.len() == len(*axis)) =>
            {
                let (long, short) = if a.len() >= b.len() { (a, b) } else { (b, a) };
                if long.len() == short.len() {
                    self.union(long, short);
                } else {
                    self.pin(
                        short,
                        &format!("node `{}` repeats it over all channels", node.name),
                    );
                }
                self.set(node.output, *axis, long.clone());
            }
            _ => self.opaque(node, "its operands have channels at different axes"),
        }
    }
}

/// Where the labels along `axis` of a tensor of shape `from` are after a reshape `to`: an axis along which alone they vary,
/// and the index in `from` for each index of it.
pub(super) fn reshaped(
    from: &[usize],
    axis: usize,
    to: &[usize],
    label: impl Fn(usize) -> usize,
) -> Option<(usize, Vec<usize>)> {
    let inner = |shape: &[usize], axis: usize| shape[axis + 1..].iter().product::<usize>();
    let (len, step) = (from[axis], inner(from, axis));
    let total: usize = from.iter().product();
    let source = |flat: usize| flat / step % len;
    let candidates = (1..to.len()).chain(0..1.min(to.len()));
    candidates.into_iter().find_map(|b| {
        let step = inner(to, b);
        let sources: Vec<usize> = (0..to[b]).map(|o| source(o * step)).collect();
        let alone =
            (0..total).all(|flat| label(source(flat)) == label(sources[flat / step % to[b]]));
        alone.then_some((b, sources))
    })
}
