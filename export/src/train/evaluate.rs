//! How good a network is, and batch-norm's statistics computed anew.

use super::objective::{Targets, cross_entropy};
use super::tape::{BatchNorm, Mode, Program, Tensor};
use crate::data::batches::{Plan, plain};
use crate::data::{Dataset, Scaling, Split};
use std::ops::ControlFlow;

/// Samples of a batch that is only evaluated.
const BATCH: usize = 250;

/// How many rows' greatest element, the first of equals, is at the row's label.
pub(crate) fn count_right(logits: &Tensor<f32>, labels: &[u16]) -> usize {
    let rows = logits.data.chunks_exact(logits.row_len().max(1));
    let best =
        |row: &[f32]| (1..row.len()).fold(0, |best, i| if row[i] > row[best] { i } else { best });
    rows.zip(labels)
        .filter(|(row, label)| best(row) == usize::from(**label))
        .count()
}

/// How good a network is.
#[derive(Clone, Copy, PartialEq, Debug, serde::Serialize)]
pub struct Evaluation {
    /// Mean cross-entropy.
    pub loss: f64,
    /// Share of samples classified rightly.
    pub accuracy: f64,
}

/// The network's figures on samples, with its running statistics.
pub fn evaluate(
    program: &mut Program<f32>,
    data: &Dataset,
    split: &Split,
    scaling: Scaling,
) -> Evaluation {
    let (mut loss, mut right) = (0.0, 0);
    for first in (0..split.len()).step_by(BATCH) {
        let range = first..(first + BATCH).min(split.len());
        let labels = &split.labels[range.clone()];
        program.forward(plain(data, split, range, scaling), Mode::Evaluate);
        if let Some(logits) = program.logits() {
            let targets = Targets::from_labels(labels, logits.row_len());
            loss += cross_entropy(logits, &targets).0 * labels.len() as f64;
            right += count_right(logits, labels);
        }
    }
    let n = split.len().max(1) as f64;
    Evaluation {
        loss: loss / n,
        accuracy: right as f64 / n,
    }
}

/// Computes batch-norm's running statistics anew, as the mean over up to `batches` batches of training samples.
///
/// To be called when weights were changed without training (a split, a cut): the old statistics are of another network.
pub fn reestimate_statistics(
    program: &mut Program<f32>,
    data: &Dataset,
    plan: &Plan,
    batches: usize,
) {
    let momenta: Vec<f64> = program
        .operations_mut::<BatchNorm>()
        .map(|norm| norm.momentum)
        .collect();
    plan.each(data, 0, 0, |number, batch| {
        for norm in program.operations_mut::<BatchNorm>() {
            norm.momentum = 1.0 / (number as f64 + 1.0);
        }
        program.forward(batch.x, Mode::Train);
        if number + 1 < batches {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    });
    let norms = program.operations_mut::<BatchNorm>();
    norms
        .zip(momenta)
        .for_each(|(norm, momentum)| norm.momentum = momentum);
}
