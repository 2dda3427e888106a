//! `mask`: a sparse training finds the mask, a masked one drives it to zero, the cut takes it out.

use super::session::Session;
use super::{Product, StageError};
use crate::compress::mask::{Channels, Limits, Selection, add_penalty, cut};
use crate::compress::recipe::{Mask, MaskStart};
use crate::graph::{Graph, ValueId};
use crate::train::method::{Method, Moment};
use crate::train::tape::{Gradients, Program};
use serde_json::json;
use std::collections::BTreeMap;

/// The penalty on γ of channels that are to go.
struct Sparsity<'a> {
    stage: &'a Mask,
    /// Which entries of each γ stay.
    keep: BTreeMap<ValueId, Vec<bool>>,
}

impl Method for Sparsity<'_> {
    fn after_backward(
        &mut self,
        program: &mut Program<f32>,
        gradients: &mut Gradients<f32>,
        _: &Moment,
    ) {
        let strength = self.stage.strength as f32;
        for (&id, keep) in &self.keep {
            if let (Some(gamma), Some(gradient)) = (program.parameter(id), gradients.get_mut(id)) {
                add_penalty(
                    &gamma.value.data,
                    Some(keep),
                    strength,
                    self.stage.penalty,
                    &mut gradient.data,
                );
            }
        }
    }
}

pub(super) fn run(
    stage: &Mask,
    graph: &mut Graph,
    session: &mut Session<'_>,
) -> Result<Product, StageError> {
    let channels = Channels::analyse(graph);
    let limits = Limits {
        scope: stage.scope,
        min_channels: stage.min_channels,
    };
    let all = Selection::candidates(&channels, stage.scope).keep_masks(graph, &channels);
    if all.values().flatten().all(|&keep| keep) {
        return Err(StageError::Nothing(
            "no batch normalisation over channels that may go: there is no γ to penalise",
        ));
    }
    let baseline = graph.clone();
    if let Some(search) = &stage.search {
        let mut program = Program::new(graph)?;
        let mut method = Sparsity { stage, keep: all };
        session.train("search", &mut program, search, Some(&mut method))?;
        program.write_back(graph);
    }
    let selection = match (stage.rule, stage.macs) {
        (Some(rule), _) => Selection::by_rule(graph, &channels, rule, limits),
        (None, share) => {
            let scores = channels.gamma_scores(graph);
            let budget = session.budget(share.unwrap_or(1.0));
            Selection::by_budget(graph, &channels, &scores, budget, limits)?
        }
    };
    if stage.start == MaskStart::Baseline {
        *graph = baseline;
    }
    let mut program = Program::new(graph)?;
    let mut method = Sparsity {
        stage,
        keep: selection.keep_masks(graph, &channels),
    };
    session.train("training", &mut program, &stage.training, Some(&mut method))?;
    program.write_back(graph);
    let before = session.accuracy(graph)?;
    let done = cut(graph, &channels, &selection)?;
    let after = session.accuracy(graph)?;
    session.restate(graph)?;
    if let Some(fine_tune) = &stage.fine_tune {
        session.train_graph("fine-tune", graph, fine_tune)?;
    }
    Ok(Product::of([
        ("channels cut", json!(done.channels)),
        ("accuracy before the cut", json!(before)),
        ("accuracy after the cut", json!(after)),
        ("inexact borders", json!(done.inexact)),
    ]))
}
