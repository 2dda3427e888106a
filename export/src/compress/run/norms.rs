//! Normalisations for a model whose exporter has folded them, with statistics of training samples.

use super::StageError;
use crate::compress::mask::{insert_norms, restate};
use crate::data::batches::plain;
use crate::data::{Dataset, Scaling};
use crate::graph::{Clamp, Graph, Op, ValueId};
use crate::train::tape::{Mode, Program};

/// Training samples that statistics are taken from.
const SAMPLES: usize = 512;

/// Inserts a normalisation behind every convolution that has none; the network computes the same.
pub(super) fn insert(
    graph: &mut Graph,
    data: &Dataset,
    scaling: Scaling,
) -> Result<(), StageError> {
    for norm in insert_norms(graph, |_| true) {
        let producer = graph.producer(norm).map(|i| graph.nodes[i].inputs[0]);
        if let Some(input) = producer {
            let (mean, variance) = statistics(graph, input, data, scaling)?;
            restate(graph, norm, &mean, &variance);
        }
    }
    Ok(())
}

/// Mean and variance of each channel of a value, over training samples; the layer that makes it without its activation.
pub(super) fn statistics(
    graph: &Graph,
    value: ValueId,
    data: &Dataset,
    scaling: Scaling,
) -> Result<(Vec<f32>, Vec<f32>), StageError> {
    let mut part = graph.clone();
    part.outputs = vec![value];
    let producer = part.producer(value).map(|i| &mut part.nodes[i].op);
    if let Some(Op::Conv2d { clamp, .. } | Op::FullyConnected { clamp }) = producer {
        *clamp = Clamp::NONE;
    }
    let mut program = Program::<f32>::new(&part)?;
    let count = SAMPLES.min(data.train.len());
    program.forward(plain(data, &data.train, 0..count, scaling), Mode::Evaluate);
    let Some(result) = program.logits() else {
        return Ok((Vec::new(), Vec::new()));
    };
    let channels = result.shape.last().copied().unwrap_or(1).max(1);
    let (mut sums, mut squares) = (vec![0.0; channels], vec![0.0; channels]);
    for row in result.data.chunks(channels) {
        for ((sum, square), &v) in sums.iter_mut().zip(&mut squares).zip(row) {
            *sum += f64::from(v);
            *square += f64::from(v).powi(2);
        }
    }
    let rows = (result.data.len() / channels).max(1) as f64;
    let mean = |sum: &f64| sum / rows;
    let variance =
        |(sum, square): (&f64, &f64)| (square / rows - mean(sum).powi(2)).max(0.0) as f32;
    let variances = sums.iter().zip(&squares).map(variance).collect();
    Ok((sums.iter().map(|s| mean(s) as f32).collect(), variances))
}
