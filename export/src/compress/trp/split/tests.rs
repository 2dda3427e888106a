use super::*;
use crate::compress::testing::{Net, distance, run};
use crate::compress::trp::RankRule;
use crate::onnx::{LoadOptions, load_model, write::to_model_proto};
use crate::passes::total_macs;
use std::num::NonZeroUsize;

const SCHEMES: [Scheme; 3] = [Scheme::Channel, Scheme::Spatial, Scheme::Decoupled];

fn conv(
    strides: [usize; 2],
    dilations: [usize; 2],
    pads: [usize; 4],
    kernel: [usize; 2],
) -> (Net, Graph) {
    let mut net = Net::new(9, &[1, 12, 11, 10]);
    let x = net.input();
    let window = Window {
        kernel,
        strides,
        dilations,
        pads,
    };
    let y = net.conv_window(x, 10, window, 1, true);
    let y = net.bn(y);
    let y = net.relu(y);
    let graph = net.finish(y);
    (net, graph)
}

/// Forces a split at full rank, though it saves nothing.
fn split_whole(graph: &mut Graph, scheme: Scheme) {
    let mut all = candidates(graph, scheme, true);
    assert_eq!(all.len(), 1);
    all[0].macs = u64::MAX;
    let report = split(graph, &all, scheme, |_, svd| Some(svd.full_rank())).unwrap();
    assert!(report[0].split);
}

#[test]
fn at_full_rank_the_result_is_the_same() {
    let cases = [
        ([1, 1], [1, 1], [1; 4], [3, 3]),
        ([2, 2], [1, 1], [1; 4], [3, 3]),
        ([2, 1], [1, 1], [0, 1, 2, 1], [3, 5]),
        ([1, 2], [2, 1], [1, 0, 1, 2], [2, 3]),
        ([1, 1], [1, 1], [0, 1, 0, 1], [1, 3]),
        ([1, 1], [1, 1], [2, 0, 2, 0], [5, 1]),
    ];
    for (strides, dilations, pads, kernel) in cases {
        for scheme in SCHEMES {
            let (mut net, whole) = conv(strides, dilations, pads, kernel);
            let mut graph = whole.clone();
            split_whole(&mut graph, scheme);
            assert_eq!(graph.nodes.len(), whole.nodes.len() + 1);
            let x = net.random_input();
            let apart = distance(&run(&whole, &x), &run(&graph, &x));
            assert!(apart < 1e-5, "{scheme:?} {strides:?} {kernel:?}: {apart}");
            assert_eq!(total_macs(&graph), {
                let c = &candidates(&whole, scheme, true)[0];
                LayerSvd::new(weight(&whole, c), c.shape, scheme)
                    .unwrap()
                    .full_rank() as u64
                    * c.macs_per_rank
            });
        }
    }
}

fn weight<'g>(graph: &'g Graph, c: &Candidate) -> &'g [f32] {
    match &graph[c.weight].data {
        Some(Data::F32(w)) => w,
        _ => panic!("a constant"),
    }
}

#[test]
fn a_split_graph_is_plain_onnx() {
    for scheme in SCHEMES {
        let (mut net, mut graph) = conv([2, 2], [1, 1], [1; 4], [3, 3]);
        split_whole(&mut graph, scheme);
        let back = load_model(&to_model_proto(&graph), &LoadOptions::default()).unwrap();
        let x = net.random_input();
        assert!(
            distance(&run(&graph, &x), &run(&back, &x)) < 1e-6,
            "{scheme:?}"
        );
    }
}

fn residual() -> (Net, Graph) {
    let mut net = Net::new(3, &[1, 3, 16, 16]);
    let x = net.input();
    let mut y = net.conv_bn_relu(x, 16, 3, 1);
    for (width, stride) in [(16, 1), (32, 2)] {
        y = net.basic_block(y, width, width, stride);
    }
    let y = net.global_pool(y);
    let y = net.dense(y, 10);
    let graph = net.finish(y);
    (net, graph)
}

#[test]
fn stem_and_pointwise_convolutions_are_no_candidates() {
    let (_, graph) = residual();
    let found = candidates(&graph, Scheme::Channel, false);
    assert_eq!(found.len(), 4);
    assert!(found.iter().all(|c| c.shape[1] >= 16 && c.shape[2] == 3));
    assert_eq!(candidates(&graph, Scheme::Channel, true).len(), 5);
}

#[test]
fn layers_are_split_only_where_it_saves() {
    for scheme in SCHEMES {
        let (_, mut graph) = residual();
        let before = total_macs(&graph);
        let all = candidates(&graph, scheme, false);
        let report = split(&mut graph, &all, scheme, |_, svd| Some(svd.full_rank())).unwrap();
        assert!(report.iter().all(|l| l.macs_after <= l.macs_before));
        let saved: u64 = report.iter().map(|l| l.macs_before - l.macs_after).sum();
        assert_eq!(total_macs(&graph), before - saved, "{scheme:?}");
        let (_, mut graph) = residual();
        let report = split(&mut graph, &all, scheme, |_, svd| {
            Some(svd.rank(RankRule::Fixed(2)))
        })
        .unwrap();
        // Decoupling computes its pointwise part before the stride, so that a layer with one may not be worth splitting.
        assert!(
            report
                .iter()
                .all(|l| l.rank == 2 && (l.split || scheme == Scheme::Decoupled)),
            "{scheme:?}"
        );
        let saved: u64 = report.iter().map(|l| l.macs_before - l.macs_after).sum();
        assert_eq!(total_macs(&graph), before - saved, "{scheme:?}");
    }
}

#[test]
fn a_network_of_low_rank_splits_without_loss() {
    for scheme in SCHEMES {
        let (mut net, mut graph) = residual();
        let all = candidates(&graph, scheme, false);
        for c in &all {
            let low = LayerSvd::new(weight(&graph, c), c.shape, scheme)
                .unwrap()
                .truncated(2);
            graph[c.weight].data = Some(Data::F32(low));
        }
        let whole = graph.clone();
        let report = split(&mut graph, &all, scheme, |_, svd| {
            Some(svd.rank(RankRule::RelativeValue(1e-3)))
        })
        .unwrap();
        assert!(
            report.iter().all(|l| l.rank == 2) && report.iter().filter(|l| l.split).count() >= 3
        );
        let x = net.random_input();
        assert!(
            distance(&run(&whole, &x), &run(&graph, &x)) < 1e-4,
            "{scheme:?}"
        );
    }
}

#[test]
fn a_budget_is_met_and_named_when_out_of_reach() {
    for scheme in [Scheme::Channel, Scheme::Spatial] {
        let (_, mut graph) = residual();
        let budget = total_macs(&graph) / 2;
        let all = candidates(&graph, scheme, false);
        split_to_budget(&mut graph, &all, scheme, budget, NonZeroUsize::MIN).unwrap();
        let found = total_macs(&graph);
        assert!(
            found <= budget && found > budget * 9 / 10,
            "{scheme:?}: {found} of {budget}"
        );
        let try_budget =
            |budget| split_to_budget(&mut residual().1, &all, scheme, budget, NonZeroUsize::MIN);
        let least = match try_budget(1000) {
            Err(TrpError::Budget {
                budget: 1000,
                least,
            }) => least,
            other => panic!("{other:?}"),
        };
        assert!(try_budget(least).is_ok());
        assert!(try_budget(least - 1).is_err());
    }
}
