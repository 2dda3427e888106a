//! What a model file is worth: accuracy, multiply-accumulates, parameters, bytes.

use super::StageError;
use crate::compile::{CompileOptions, compile};
use crate::compress::gaussian::rate::weight_tensors;
use crate::compress::report;
use crate::data::{Dataset, Scaling, Split};
use crate::graph::{Data, Graph, ValueId};
use crate::host::Runner;
use crate::model::load_graph;
use crate::onnx::LoadOptions;
use crate::passes;
use crate::train::evaluate::{Evaluation, count_right, evaluate};
use crate::train::objective::{Targets, cross_entropy};
use crate::train::tape::{Program, Tensor};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::Path;

/// Step, in deviations of each layer, at which float weights are coded to be counted.
pub const RELATIVE_STEP: f64 = 0.25;

/// Figures of a model as it is deployed: batch normalisations folded.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Figures {
    /// Share of test samples classified rightly.
    pub accuracy: f64,
    /// Mean cross-entropy on the test samples.
    pub loss: f64,
    /// Multiply-accumulates.
    pub macs: u64,
    /// Weights and biases.
    pub parameters: u64,
    /// Bytes of the weights as the file has them.
    pub weight_bytes: u64,
    /// Bytes of the weights under exp-Golomb codes; float weights at [`RELATIVE_STEP`].
    pub coded_bytes: u64,
}

/// Figures of a model file.
///
/// # Errors
/// The file cannot be read or run.
pub fn figures(path: &Path, data: &Dataset, scaling: Scaling) -> Result<Figures, StageError> {
    let (mut graph, _) = load_graph(path, &LoadOptions::default())?;
    let quantized = graph.values.iter().any(|v| v.quantization.is_some());
    let measured = if quantized {
        by_the_runtime(&graph, data, scaling)?
    } else {
        passes::remove_identities(&mut graph);
        evaluate(&mut Program::<f32>::new(&graph)?, data, &data.test, scaling)
    };
    Ok(Figures {
        accuracy: measured.accuracy,
        loss: measured.loss,
        macs: passes::total_macs(&graph),
        parameters: passes::total_parameters(&graph),
        weight_bytes: weight_bytes(&graph),
        coded_bytes: report::coded_bytes(&graph, RELATIVE_STEP),
    })
}

fn weight_bytes(graph: &Graph) -> u64 {
    let ids: BTreeSet<ValueId> = weight_tensors(graph).collect();
    let bytes = |id: &ValueId| match &graph[*id].data {
        Some(Data::F32(w)) => 4 * w.len() as u64,
        Some(Data::I8(w)) => w.len() as u64,
        _ => 0,
    };
    ids.iter().map(bytes).sum()
}

/// An int8 model has no floats to evaluate it with: the compiled plan runs, sample by sample.
fn by_the_runtime(
    graph: &Graph,
    data: &Dataset,
    scaling: Scaling,
) -> Result<Evaluation, StageError> {
    /// Samples that one thread takes at a time; sums do not depend on who takes them.
    const SHARE: usize = 250;
    let compiled = compile(graph, &CompileOptions::default())?;
    let labels = &data.test.labels;
    let share = |first: usize| {
        let mut runner = Runner::new(compiled.core())?;
        let mut started = runner.start()?;
        let (mut loss, mut right) = (0.0, 0);
        let last = (first + SHARE).min(labels.len());
        for (i, &label) in labels.iter().enumerate().take(last).skip(first) {
            let sample = onnx_sample(data, &data.test, i, scaling);
            let outputs = started.run(&sample, &mut ())?;
            let words = outputs.first().map_or(&[][..], |o| o.as_chunks::<4>().0);
            let logits: Vec<f32> = words.iter().map(|&w| f32::from_le_bytes(w)).collect();
            let classes = logits.len();
            let logits = Tensor::new([1, classes], logits);
            right += count_right(&logits, &[label]);
            loss += cross_entropy(&logits, &Targets::from_labels(&[label], classes)).0;
        }
        Ok((loss, right))
    };
    let firsts: Vec<usize> = (0..labels.len()).step_by(SHARE).collect();
    let shares: Result<Vec<(f64, usize)>, StageError> = firsts.into_par_iter().map(share).collect();
    let (loss, right) = shares?
        .into_iter()
        .fold((0.0, 0), |(l, r), (loss, right)| (l + loss, r + right));
    let n = labels.len().max(1) as f64;
    Ok(Evaluation {
        loss: loss / n,
        accuracy: right as f64 / n,
    })
}

/// A sample's bytes as an ONNX model takes them: data sets have their channels last.
pub(super) fn onnx_sample(
    data: &Dataset,
    split: &Split,
    index: usize,
    scaling: Scaling,
) -> Vec<u8> {
    let mut stored = Vec::with_capacity(data.sample_len());
    split.sample(index, data.sample_len(), scaling, &mut stored);
    let values: Vec<f32> = match data.shape[..] {
        [c, h, w] => (0..c)
            .flat_map(|c_| (0..h * w).map(move |p| p * c + c_))
            .filter_map(|i| stored.get(i).copied())
            .collect(),
        _ => stored,
    };
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}
