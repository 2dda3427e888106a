//! All methods in one pipeline, in the order of recipes.

use super::formats::{Granularity, WeightFormat, dequantized};
use super::gate::{assert_no_gates, blocks, remove_blocks};
use super::mask::{Channels, Limits, Selection, cut};
use super::testing::{Net, distance, run};
use super::trp::{Scheme, candidates, split_to_budget};
use super::{gaussian, report};
use crate::onnx::write::to_coded_model_proto;
use crate::onnx::{LoadOptions, load_model};
use crate::passes::{fold_batch_norm, total_macs};
use std::num::NonZeroUsize;

#[test]
fn structure_rank_rate_and_number_format_compose() {
    let mut net = Net::new(77, &[1, 3, 12, 12]);
    let x = net.input();
    let mut y = net.conv_bn_relu(x, 16, 3, 1);
    for (width, stride) in [(16, 1), (16, 1), (32, 2), (32, 1)] {
        y = net.basic_block(y, width, width, stride);
    }
    let y = net.global_pool(y);
    let y = net.dense(y, 10);
    let original = net.finish(y);
    let input = net.random_input();
    let total = total_macs(&original);

    let mut graph = original.clone();
    let closed = blocks(&graph)[1].clone();
    remove_blocks(&mut graph, &[closed]).unwrap();
    assert_no_gates(&original, &graph).unwrap();

    let channels = Channels::analyse(&graph);
    let scores = channels.gamma_scores(&graph);
    let selection =
        Selection::by_budget(&graph, &channels, &scores, total / 2, Limits::default()).unwrap();
    cut(&mut graph, &channels, &selection).unwrap();
    assert!(total_macs(&graph) <= total / 2);

    let convolutions = candidates(&graph, Scheme::Spatial, false);
    split_to_budget(
        &mut graph,
        &convolutions,
        Scheme::Spatial,
        total / 4,
        NonZeroUsize::MIN,
    )
    .unwrap();
    assert!(total_macs(&graph) <= total / 4);

    let before = run(&graph, &input);
    fold_batch_norm(&mut graph);
    assert!(distance(&before, &run(&graph, &input)) < 1e-4);

    let weights: Vec<_> = gaussian::rate::weight_rates(&graph, 0.25);
    let coded: u64 = weights.iter().map(|r| r.coded_bits.div_ceil(8)).sum();
    assert_eq!(coded, report::coded_bytes(&graph, 0.25));
    assert!(coded * 4 < report::float_bytes(&original));

    let codes = dequantized(&mut graph, WeightFormat::Rf8, Granularity::Tensor);
    let imported = load_model(
        &to_coded_model_proto(&graph, &codes),
        &LoadOptions::default(),
    )
    .unwrap();
    assert_eq!(run(&imported, &input), run(&graph, &input));
}
