//! `prune`: the smallest weights become zero and stay zero.

use super::session::Session;
use super::{Product, StageError};
use crate::compress::gaussian::prune::{mask, prune, threshold};
use crate::compress::gaussian::rate::weight_tensors;
use crate::compress::recipe::Prune;
use crate::graph::{Data, Graph, ValueId};
use crate::train::method::{Method, Moment};
use crate::train::tape::{Gradients, Kind, Program};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// Keeps zero what is zero.
pub(super) struct Zeros {
    awake: BTreeMap<ValueId, Vec<bool>>,
}

impl Zeros {
    /// The zeros among the program's weights now.
    pub(super) fn of(program: &Program<f32>) -> Self {
        let weights = program.parameters().filter(|(_, p)| p.kind == Kind::Weight);
        Zeros {
            awake: weights.map(|(id, p)| (id, mask(&p.value.data))).collect(),
        }
    }
}

fn apply(values: &mut [f32], awake: &[bool]) {
    for (value, awake) in values.iter_mut().zip(awake) {
        if !awake {
            *value = 0.0;
        }
    }
}

impl Method for Zeros {
    fn after_backward(&mut self, _: &mut Program<f32>, gradients: &mut Gradients<f32>, _: &Moment) {
        for (&id, awake) in &self.awake {
            if let Some(gradient) = gradients.get_mut(id) {
                apply(&mut gradient.data, awake);
            }
        }
    }

    fn after_step(&mut self, program: &mut Program<f32>, _: &Moment) {
        for (&id, awake) in &self.awake {
            if let Some(weights) = program.parameter_mut(id) {
                apply(&mut weights.value.data, awake);
            }
        }
    }
}

pub(super) fn run(
    stage: &Prune,
    graph: &mut Graph,
    session: &mut Session<'_>,
) -> Result<Product, StageError> {
    let ids: BTreeSet<ValueId> = weight_tensors(graph).collect();
    let weights = |id: &ValueId| match &graph[*id].data {
        Some(Data::F32(w)) => Some(w.as_slice()),
        _ => None,
    };
    let everywhere = stage
        .global
        .then(|| threshold(ids.iter().filter_map(weights), stage.fraction));
    let (mut zeros, mut count) = (0, 0);
    for id in ids {
        if let Some(Data::F32(weights)) = &mut graph[id].data {
            let own = || threshold([weights.as_slice()], stage.fraction);
            let limit = everywhere.unwrap_or_else(own);
            zeros += prune(weights, limit);
            count += weights.len();
        }
    }
    session.keep_zeros = true;
    if let Some(training) = &stage.training {
        session.train_graph("training", graph, training)?;
    }
    Ok(Product::of([
        ("zeros", json!(zeros)),
        ("weights", json!(count)),
    ]))
}
