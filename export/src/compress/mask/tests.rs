use super::*;
use crate::compress::testing::{Net, distance, run};
use crate::graph::{Clamp, Data, Graph, Op, ValueId, Window};
use crate::passes::{total_macs, total_parameters};
use proptest::prelude::*;
use rand::Rng;
use std::num::NonZeroUsize;

/// β of removed channels must not matter at padded borders: make every β behind which a Relu comes negative, or keep it.
fn beta_to(graph: &mut Graph, f: impl Fn(f32) -> f32) {
    let betas: Vec<ValueId> = graph
        .nodes
        .iter()
        .filter(|n| matches!(n.op, Op::BatchNorm { .. }))
        .map(|n| n.inputs[2])
        .collect();
    for id in betas {
        if let Some(Data::F32(beta)) = &mut graph[id].data {
            beta.iter_mut().for_each(|b| *b = f(*b));
        }
    }
}

/// The first node whose name starts so.
fn node<'g>(graph: &'g Graph, name: &str) -> &'g crate::graph::Node {
    graph
        .nodes
        .iter()
        .find(|n| n.name.starts_with(name))
        .expect("present")
}

/// A random share of the channels of every group that may go, at least one left in each.
fn random_selection(net: &mut Net, channels: &Channels, share: f64) -> Selection {
    let mut removed = Vec::new();
    for group in channels.groups().iter().filter(|g| g.pinned.is_none()) {
        let stays = net.random.random_range(0..group.channels.len());
        let goes = group
            .channels
            .iter()
            .enumerate()
            .filter(|&(i, _)| i != stays);
        removed.extend(
            goes.map(|(_, &c)| c)
                .filter(|_| net.random.random_bool(share)),
        );
    }
    Selection::of(removed)
}

/// Cuts, and compares with the masked network.
fn assert_cut_equals_masked(net: &mut Net, graph: &Graph, share: f64) -> (Graph, Cut) {
    let channels = Channels::analyse(graph);
    let selection = random_selection(net, &channels, share);
    let mut small = graph.clone();
    let report = cut(&mut small, &channels, &selection).unwrap();
    let x = net.random_input();
    let apart = distance(
        &run(&masked(graph, &channels, &selection), &x),
        &run(&small, &x),
    );
    assert!(report.inexact.is_empty(), "{:?}", report.inexact);
    assert!(apart < 1e-5, "{apart}");
    assert_eq!(report.macs, [total_macs(graph), total_macs(&small)]);
    assert_eq!(report.parameters[1], total_parameters(&small));
    assert_eq!(
        cut::macs_without(graph, &channels, &selection),
        total_macs(&small)
    );
    // What is left is a network of its own: the same analysis, no channel to spare.
    let again = Channels::analyse(&small);
    let count = |c: &Channels| c.groups().iter().map(|g| g.channels.len()).sum::<usize>();
    assert_eq!(count(&again) + selection.len(), count(&channels));
    (small, report)
}

fn resnet(seed: u64) -> (Net, Graph) {
    let mut net = Net::new(seed, &[1, 3, 8, 8]);
    let x = net.input();
    let y = net.conv_bn_relu(x, 8, 3, 1);
    let y = net.basic_block(y, 6, 8, 1);
    let y = net.basic_block(y, 10, 12, 2);
    let y = net.basic_block(y, 12, 12, 1);
    let y = net.global_pool(y);
    let y = net.dense(y, 5);
    let graph = net.finish(y);
    (net, graph)
}

#[test]
fn residual_streams_are_one_group_with_the_down_sampling_normalisation() {
    let (_, graph) = resnet(1);
    let channels = Channels::analyse(&graph);
    let shape: Vec<(usize, usize, usize, bool)> = channels
        .groups()
        .iter()
        .map(|g| {
            (
                g.channels.len(),
                g.producers.len(),
                g.norms.len(),
                g.pinned.is_some(),
            )
        })
        .collect();
    // Stem and first block; inner channels; second stream with its shortcut; the classes.
    let expected = [
        (8, 2, 2, false),
        (6, 1, 1, false),
        (10, 1, 1, false),
        (12, 3, 3, false),
        (12, 1, 1, false),
        (5, 1, 0, true),
    ];
    assert_eq!(shape, expected);
    assert!(
        channels.groups()[5]
            .pinned
            .as_ref()
            .unwrap()
            .contains("output")
    );
}

#[test]
fn a_cut_residual_network_equals_the_masked_one() {
    for seed in 0..4 {
        let (mut net, mut graph) = resnet(seed);
        // Nothing that is removed shines through Relu, so that padding is no matter.
        beta_to(&mut graph, |b| -b.abs());
        let (small, _) = assert_cut_equals_masked(&mut net, &graph, 0.5);
        assert!(total_macs(&small) < total_macs(&graph));
    }
}

#[test]
fn constants_move_into_what_follows() {
    let mut net = Net::new(5, &[1, 3, 9, 9]);
    let open = |kernel| Window {
        kernel: [kernel; 2],
        strides: [1; 2],
        dilations: [1; 2],
        pads: [0; 4],
    };
    let x = net.input();
    let mut y = net.conv_window(x, 8, open(3), 1, true);
    y = net.bn(y);
    y = net.relu(y);
    // Into a running mean, into a bias, into a new bias, through a depthwise convolution, pooling and flattening.
    y = net.conv_window(y, 8, open(3), 1, false);
    y = net.bn(y);
    y = net.relu(y);
    y = net.conv_window(y, 8, open(1), 1, true);
    y = net.relu(y);
    y = net.conv_window(y, 8, open(1), 1, false);
    y = net.relu(y);
    y = net.conv_window(y, 8, open(2), 8, true);
    y = net.bn(y);
    let op = crate::graph::Unary::LeakyRelu { alpha: 0.1 };
    let shape = net.shape(y);
    y = net.node("leaky", Op::Unary(op), vec![y], shape);
    y = net.max_pool(y);
    y = net.flatten(y);
    y = net.dense(y, 4);
    let graph = net.finish(y);
    let (small, _) = assert_cut_equals_masked(&mut net, &graph, 0.4);
    assert_eq!(node(&small, "dense").inputs.len(), 3);
}

#[test]
fn padded_borders_are_named() {
    let (mut net, mut graph) = resnet(6);
    beta_to(&mut graph, f32::abs);
    let channels = Channels::analyse(&graph);
    let selection = random_selection(&mut net, &channels, 0.6);
    let mut small = graph.clone();
    let report = cut(&mut small, &channels, &selection).unwrap();
    assert!(report.inexact.iter().all(|n| n.starts_with("conv")) && !report.inexact.is_empty());
    let x = net.random_input();
    let exact = run(&masked(&graph, &channels, &selection), &x);
    // Without the constants the result is further away.
    let mut dropped = graph.clone();
    beta_to(&mut dropped, |_| 0.0);
    let without = run(&masked(&dropped, &channels, &selection), &x);
    assert!(distance(&run(&small, &x), &exact) < 0.5 * distance(&without, &exact));
}

#[test]
fn depthwise_convolutions_follow_and_concatenations_keep_apart() {
    let mut net = Net::new(7, &[1, 3, 8, 8]);
    let x = net.input();
    let a = net.conv_bn_relu(x, 6, 3, 1);
    let a = net.depthwise(a, 3, 1);
    let a = net.bn(a);
    let a = net.relu(a);
    let b = net.conv_bn_relu(x, 4, 1, 1);
    let both = net.concat(&[a, b]);
    let both = net.bn(both);
    let y = net.conv_bn_relu(both, 8, 3, 1);
    let y = net.conv_window(y, 16, crate::compress::testing::window(3, 1), 8, false);
    let y = net.bn(y);
    let y = net.relu(y);
    let y = net.flatten(y);
    let y = net.dense(y, 3);
    let mut graph = net.finish(y);
    let channels = Channels::analyse(&graph);
    let shape: Vec<(usize, usize)> = channels
        .groups()
        .iter()
        .map(|g| (g.channels.len(), g.norms.len()))
        .collect();
    assert_eq!(shape, [(6, 3), (4, 2), (8, 2), (3, 0)]);
    assert_eq!(
        channels.groups()[2].norms[1].indices[1],
        [2, 3],
        "a multiplier of two"
    );
    beta_to(&mut graph, |b| -b.abs());
    // The normalisation of the concatenation has no Relu: its β would meet the border.
    let joined = graph.nodes[graph.consumers(node(&graph, "concat").output)[0]].inputs[2];
    graph[joined].data = Some(Data::F32(vec![0.0; 10]));
    assert_cut_equals_masked(&mut net, &graph, 0.5);
}

#[test]
fn transposed_flattening_and_broadcasts_are_followed() {
    let mut net = Net::new(8, &[1, 3, 4, 4]);
    let x = net.input();
    let y = net.conv(x, 6, 1, 1);
    let shift = net.constant("shift", &[6, 1, 1], -1.0..1.0);
    let shape = net.shape(y);
    let add = Op::Binary {
        op: crate::graph::Binary::Add,
        clamp: Clamp::RELU,
    };
    let y = net.node("shifted", add, vec![y, shift], shape);
    let y = net.node(
        "nhwc",
        Op::Transpose {
            perm: vec![0, 2, 3, 1],
        },
        vec![y],
        vec![1, 4, 4, 6],
    );
    let y = net.flatten(y);
    let y = net.dense(y, 3);
    let graph = net.finish(y);
    let (small, _) = assert_cut_equals_masked(&mut net, &graph, 0.5);
    let kept = node(&small, "conv").output;
    assert_eq!(
        small[node(&small, "flatten").output].shape[1],
        16 * small[kept].shape[1]
    );
}

#[test]
fn what_cannot_be_followed_is_pinned_with_a_reason() {
    let mut net = Net::new(9, &[1, 4, 6, 6]);
    let x = net.input();
    let y = net.conv(x, 8, 3, 1);
    let y = net.conv_window(y, 8, crate::compress::testing::window(3, 1), 2, false);
    let y = net.conv(y, 4, 3, 1);
    let y = net.add(y, x);
    let y = net.conv(y, 2, 1, 1);
    let graph = net.finish(y);
    let channels = Channels::analyse(&graph);
    let reasons: Vec<&str> = channels
        .groups()
        .iter()
        .filter_map(|g| g.pinned.as_deref())
        .collect();
    assert_eq!(reasons.len(), channels.groups().len());
    assert!(
        reasons[0].contains("grouped")
            && reasons.iter().any(|r| r.contains("input of the network"))
    );
    let selection = Selection::of([channels.groups()[0].channels[0]]);
    assert!(matches!(
        cut(&mut graph.clone(), &channels, &selection),
        Err(CutError::Pinned(_))
    ));
}

#[test]
fn a_vote_is_as_the_authors_count() {
    let b = |bits: &[u8]| bits.iter().map(|&b| b == 1).collect::<Vec<bool>>();
    let cases = [
        // All agree on two of three: q = 2, and two have all votes.
        (vec![b(&[1, 1, 0]), b(&[1, 1, 1])], b(&[1, 1, 0])),
        // q = 1, nobody agrees: one vote is enough, and takes both.
        (vec![b(&[1, 0, 0]), b(&[0, 1, 0])], b(&[1, 1, 0])),
        // A member that wants nothing: q = 0, only what all want goes.
        (vec![b(&[1, 1]), b(&[0, 0])], b(&[0, 0])),
        // Two of three.
        (
            vec![b(&[1, 1, 0, 0]), b(&[1, 0, 1, 0]), b(&[0, 1, 1, 0])],
            b(&[1, 1, 1, 0]),
        ),
        (vec![b(&[1, 0])], b(&[1, 0])),
        (vec![], vec![]),
    ];
    for (members, goes) in cases {
        assert_eq!(vote(&members), goes, "{members:?}");
    }
}

#[test]
fn the_ot_threshold_lies_where_the_share_is_exceeded() {
    // Squares 1e-6, 4e-6, 1, 1.
    let gamma = [-1.0, 0.001, 1.0, 0.002];
    assert_eq!(ot_threshold(&gamma, 1e-4), f32::midpoint(0.002, 1.0));
    assert_eq!(ot_threshold(&gamma, 1e-6), f32::midpoint(0.001, 0.002));
    assert_eq!(ot_threshold(&[1.0, 1.0], 1e-4), 0.0);
    assert_eq!(ot_threshold(&[1e-4, -9e-4], 1e-4), 9e-4, "all go");
    assert_eq!(ot_threshold(&[], 1e-4), 0.0);
}

/// Sets γ of the first `small` channels of every normalisation to `to`.
fn shrink(graph: &mut Graph, small: usize, to: f32) {
    let gammas: Vec<ValueId> = graph
        .nodes
        .iter()
        .filter(|n| matches!(n.op, Op::BatchNorm { .. }))
        .map(|n| n.inputs[1])
        .collect();
    for id in gammas {
        if let Some(Data::F32(gamma)) = &mut graph[id].data {
            gamma.iter_mut().take(small).for_each(|g| *g = to);
        }
    }
}

#[test]
fn thresholds_remove_small_channels_and_guard_the_last() {
    let (_, mut graph) = resnet(10);
    shrink(&mut graph, 3, 0.005);
    let channels = Channels::analyse(&graph);
    let by = |graph: &Graph, rule, scope| {
        Selection::by_rule(
            graph,
            &channels,
            rule,
            Limits {
                scope,
                min_channels: 1,
                ..Limits::default()
            },
        )
    };
    assert_eq!(by(&graph, Rule::Threshold(0.01), Scope::All).len(), 5 * 3);
    assert_eq!(by(&graph, Rule::Threshold(0.01), Scope::Inner).len(), 3 * 3);
    assert_eq!(
        by(&graph, Rule::Threshold(0.01), Scope::Residual).len(),
        2 * 3
    );
    assert_eq!(by(&graph, Rule::Ot(1e-3), Scope::All).len(), 5 * 3);
    // All below: one channel of each group is left, and the network still runs.
    shrink(&mut graph, 100, 0.001);
    let all = by(&graph, Rule::Threshold(0.01), Scope::All);
    assert_eq!(all.len(), 8 + 6 + 10 + 12 + 12 - 5);
    cut(&mut graph, &channels, &all).unwrap();
    assert_eq!(run(&graph, &[0.5; 192]).len(), 5);
}

#[test]
fn a_budget_in_multiples_keeps_multiples() {
    let (_, graph) = resnet(12);
    let channels = Channels::analyse(&graph);
    let scores = channels.gamma_scores(&graph);
    let total = total_macs(&graph);
    for multiple in [1, 2, 4] {
        let limits = Limits {
            multiple: NonZeroUsize::new(multiple).unwrap(),
            ..Limits::default()
        };
        let budget = total * 6 / 10;
        let selection = Selection::by_budget(&graph, &channels, &scores, budget, limits).unwrap();
        for group in channels.groups() {
            let stay = group
                .channels
                .iter()
                .filter(|&&c| !selection.removes(c))
                .count();
            let all = stay == group.channels.len();
            assert!(
                stay > 0 && (all || stay.is_multiple_of(multiple)),
                "{multiple}: {stay}"
            );
        }
        let mut small = graph.clone();
        cut(&mut small, &channels, &selection).unwrap();
        let left = total_macs(&small);
        assert!(
            left <= budget && left > total * 3 / 10,
            "{multiple}: {left} of {total}"
        );
    }
}

#[test]
fn keep_masks_keep_what_stays() {
    let (_, mut graph) = resnet(11);
    shrink(&mut graph, 2, 0.0);
    let channels = Channels::analyse(&graph);
    let selection = Selection::by_rule(&graph, &channels, Rule::Threshold(0.01), Limits::default());
    let masks = selection.keep_masks(&graph, &channels);
    assert_eq!(masks.len(), 8);
    let inner = Selection::candidates(&channels, Scope::Inner).keep_masks(&graph, &channels);
    let all_or_none = inner.values().filter(|keep| !keep.contains(&true)).count();
    assert_eq!(
        all_or_none, 3,
        "inner normalisations are penalised whole, streams not at all"
    );
    for (id, keep) in masks {
        let Some(Data::F32(gamma)) = &graph[id].data else {
            panic!("γ")
        };
        assert!(
            gamma
                .iter()
                .zip(&keep)
                .all(|(g, &keep)| keep == (*g > 0.01))
        );
        assert!(keep[..2] == [false; 2] && keep[2..].iter().all(|&k| k));
    }
}

#[test]
fn budgets_are_met_from_below_and_named_when_out_of_reach() {
    let (_, graph) = resnet(12);
    let channels = Channels::analyse(&graph);
    let scores = channels.gamma_scores(&graph);
    let total = total_macs(&graph);
    for percent in [30, 50, 80, 100] {
        let budget = total * percent / 100;
        let selection =
            Selection::by_budget(&graph, &channels, &scores, budget, Limits::default()).unwrap();
        let mut small = graph.clone();
        cut(&mut small, &channels, &selection).unwrap();
        let left = total_macs(&small);
        assert!(
            left <= budget && left > budget * 3 / 4,
            "{left} of {budget}"
        );
    }
    let error =
        Selection::by_budget(&graph, &channels, &scores, 10, Limits::default()).unwrap_err();
    let SelectError::Budget { budget: 10, least } = error else {
        panic!("{error}")
    };
    assert!(Selection::by_budget(&graph, &channels, &scores, least, Limits::default()).is_ok());
    assert!(Selection::by_budget(&graph, &channels, &vec![], 10, Limits::default()).is_err());
    // Without normalisations, weights can tell: a layer's weakest rows go first.
    let by_weight = channels.weight_scores(&graph);
    assert!(
        by_weight
            .iter()
            .zip(channels.groups())
            .all(|(s, g)| s.len() == g.channels.len())
    );
    let mean = by_weight[1].iter().sum::<f32>() / by_weight[1].len() as f32;
    assert!((mean - 1.0).abs() < 1e-5);
    let half = Selection::uniform(&channels, &scores, 0.5, Limits::default()).unwrap();
    assert_eq!(half.len(), 4 + 3 + 5 + 6 + 6);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn random_residual_networks_are_cut_exactly(
        seed in any::<u64>(),
        blocks in prop::collection::vec((2usize..7, prop_oneof![Just(6usize), Just(9)], 1usize..=2, any::<bool>()), 1..4),
        share in 0.0f64..1.0,
    ) {
        let mut net = Net::new(seed, &[1, 2, 9, 8]);
        let x = net.input();
        let mut y = net.conv_bn_relu(x, 6, 3, 1);
        for (inner, out, stride, pooled) in blocks {
            y = net.basic_block(y, inner, out, stride);
            if pooled && net.shape(y)[2] >= 4 {
                y = net.max_pool(y);
            }
        }
        let y = if seed % 2 == 0 { net.global_pool(y) } else { net.flatten(y) };
        let y = net.dense(y, 3);
        let mut graph = net.finish(y);
        beta_to(&mut graph, |b| -b.abs());
        assert_cut_equals_masked(&mut net, &graph, share);
    }
}
