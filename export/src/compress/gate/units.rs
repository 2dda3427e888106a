//! Inner channels of blocks that can be gated one by one.

use crate::compress::mask::{Channel, Channels};
use crate::graph::{Graph, Op, ValueId};
use crate::passes::macs;

/// The channels of one layer inside a block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChannelUnit {
    /// What the gates multiply, one a channel: the layer's result behind its normalisation and activation.
    pub value: ValueId,
    /// The channels, for [`crate::compress::mask::Selection::of`].
    pub channels: Vec<Channel>,
    /// Multiply-accumulates that go with one channel, in its layer and in those that read it.
    pub macs_per_channel: u64,
}

/// Layers whose channels nobody shares (never a residual stream) and which only layers without groups read: a gate at zero
/// is then the same as no channel.
pub fn channel_units(graph: &Graph, channels: &Channels) -> Vec<ChannelUnit> {
    let unit = |group: &crate::compress::mask::Group| {
        let [producer] = group.producers.as_slice() else {
            return None;
        };
        let whole = graph[producer.output].shape.get(1) == Some(&group.channels.len());
        if group.pinned.is_some() || !whole {
            return None;
        }
        let value = activated(graph, producer.output);
        let readers = graph.consumers(value);
        let plain = |&i: &usize| {
            matches!(
                graph.nodes[i].op,
                Op::Conv2d { groups: 1, .. } | Op::FullyConnected { .. }
            )
        };
        if readers.is_empty() || !readers.iter().all(plain) {
            return None;
        }
        let producer = graph.producer(producer.output)?;
        let touched = readers.into_iter().chain([producer]);
        let macs: u64 = touched.map(|i| macs(graph, &graph.nodes[i])).sum();
        Some(ChannelUnit {
            value,
            channels: group.channels.clone(),
            macs_per_channel: macs / group.channels.len().max(1) as u64,
        })
    };
    channels.groups().iter().filter_map(unit).collect()
}

/// The value behind the normalisations and activations that alone read `value`.
fn activated(graph: &Graph, mut value: ValueId) -> ValueId {
    loop {
        match graph.consumers(value)[..] {
            [i] if matches!(graph.nodes[i].op, Op::BatchNorm { .. } | Op::Unary(_))
                && !graph.is_output(value) =>
            {
                value = graph.nodes[i].output;
            }
            _ => return value,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compress::mask::{Selection, cut_gated};
    use crate::compress::testing::{Net, distance, run};
    use crate::graph::{Binary, Clamp, Data};
    use crate::passes::total_macs;

    /// With the gates written as a multiplication by 0 and 1.
    fn gated(graph: &Graph, value: ValueId, gates: &[f32]) -> Graph {
        let mut graph = graph.clone();
        let shape = graph[value].shape.clone();
        let data = Data::F32(gates.to_vec());
        let gate = graph.add_constant("gates", vec![gates.len(), 1, 1], data, None);
        let copy = crate::graph::Value {
            name: "gated".into(),
            shape,
            ..graph[value].clone()
        };
        let output = graph.add_value(copy);
        graph.replace_uses(value, output);
        let op = Op::Binary {
            op: Binary::Mul,
            clamp: Clamp::NONE,
        };
        let node = crate::graph::Node {
            name: "gate".into(),
            op,
            inputs: vec![value, gate],
            output,
        };
        let at = graph.producer(value).map_or(0, |i| i + 1);
        graph.nodes.insert(at, node);
        graph
    }

    #[test]
    fn cutting_closed_channels_equals_multiplying_them_by_zero() {
        let mut net = Net::new(1, &[1, 3, 8, 8]);
        let x = net.input();
        let y = net.conv_bn_relu(x, 6, 3, 1);
        let y = net.basic_block(y, 8, 6, 1);
        let y = net.basic_block(y, 10, 12, 2);
        let y = net.global_pool(y);
        let y = net.dense(y, 4);
        let graph = net.finish(y);
        let channels = Channels::analyse(&graph);
        let units = channel_units(&graph, &channels);
        assert_eq!(
            units.iter().map(|u| u.channels.len()).collect::<Vec<_>>(),
            [8, 10]
        );
        assert!(graph[units[0].value].name.starts_with("relu"));
        assert_eq!(units[0].macs_per_channel, 2 * 6 * 9 * 64);
        // β shines through Relu and the border is padded: with a gate behind it, the cut is exact all the same.
        let gates: Vec<f32> = (0..8).map(|i| f32::from(u8::from(i % 3 == 0))).collect();
        let closed = units[0]
            .channels
            .iter()
            .zip(&gates)
            .filter(|(_, g)| **g == 0.0)
            .map(|(&c, _)| c);
        let mut small = graph.clone();
        let report = cut_gated(&mut small, &channels, &Selection::of(closed)).unwrap();
        assert!(report.inexact.is_empty());
        assert_eq!(
            total_macs(&graph) - total_macs(&small),
            5 * units[0].macs_per_channel
        );
        let x = net.random_input();
        assert!(
            distance(
                &run(&gated(&graph, units[0].value, &gates), &x),
                &run(&small, &x)
            ) < 1e-5
        );
    }
}
