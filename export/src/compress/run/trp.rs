//! `trp`: projections and nuclear sub-gradients while training, then the split.

use super::session::Session;
use super::{Product, StageError};
use crate::compress::recipe::Trp;
use crate::compress::trp::{
    Candidate, LayerSvd, RankRule, TrpError, candidates, decompose, ranks_for_budget, split,
    split_to_budget, stable_rank,
};
use crate::graph::{Graph, ValueId};
use crate::train::method::{Method, Moment};
use crate::train::tape::{Gradients, Program};
use serde_json::json;

/// What acts during the training. Projects before a forward pass, so that the gradient is taken at the low-rank point.
struct LowRank<'a> {
    stage: &'a Trp,
    layers: &'a [Candidate],
    /// The rank of each layer that is to be split; chosen anew at every projection if there is none.
    ranks: Option<Vec<Option<usize>>>,
    /// Sub-gradients of the step in hand.
    pending: Vec<(ValueId, Vec<f32>)>,
    failure: Option<TrpError>,
}

impl LowRank<'_> {
    /// `done` is the share of the training that is over.
    fn project(&mut self, program: &mut Program<f32>, done: f64) -> Result<(), TrpError> {
        self.pending.clear();
        let fallen = match self.stage.anneal {
            anneal if anneal > 0.0 => (done / anneal).min(1.0),
            _ => 1.0,
        };
        for (i, layer) in self.layers.iter().enumerate() {
            let Some(parameter) = program.parameter_mut(layer.weight) else {
                continue;
            };
            let svd = LayerSvd::new(&parameter.value.data, layer.shape, self.stage.scheme)?;
            let last = match &self.ranks {
                Some(ranks) => ranks.get(i).copied().flatten(),
                None => Some(svd.rank(self.stage.rule.unwrap_or(RankRule::Energy(0.9)))),
            };
            let Some(last) = last else {
                continue;
            };
            let full = svd.full_rank();
            let above = full.saturating_sub(last) as f64 * (1.0 - fallen);
            let rank = (last + above.ceil() as usize).min(full);
            if self.stage.nuclear > 0.0 {
                let subgradient = svd.nuclear_subgradient(rank);
                self.pending.push((layer.weight, subgradient));
            }
            if self.stage.project && rank < full {
                parameter.value.data = svd.truncated(rank);
            }
        }
        Ok(())
    }
}

/// The ranks that the split will have, where they do not depend on the training.
fn fixed_ranks(
    stage: &Trp,
    graph: &Graph,
    layers: &[Candidate],
    session: &Session<'_>,
) -> Result<Option<Vec<Option<usize>>>, TrpError> {
    match (stage.rule, &stage.ranks, stage.macs) {
        (None, Some(ranks), _) => {
            let rank = |layer: &Candidate| ranks.get(&layer.name).copied();
            Ok(Some(layers.iter().map(rank).collect()))
        }
        (None, None, Some(share)) => {
            let decomposed = layers
                .iter()
                .map(|layer| decompose(graph, layer, stage.scheme));
            let decomposed: Vec<LayerSvd> = decomposed.collect::<Result<_, _>>()?;
            let budget = session.budget(share);
            Ok(Some(ranks_for_budget(
                graph,
                layers,
                &decomposed,
                budget,
                stage.rank_multiple,
            )?))
        }
        _ => Ok(None),
    }
}

impl Method for LowRank<'_> {
    fn before_forward(&mut self, program: &mut Program<f32>, at: &Moment) {
        // As in the authors' code, steps count anew in every epoch.
        if at.step.is_multiple_of(self.stage.every) && self.failure.is_none() {
            self.failure = self.project(program, at.share()).err();
        }
    }

    fn after_backward(&mut self, _: &mut Program<f32>, gradients: &mut Gradients<f32>, _: &Moment) {
        let strength = self.stage.nuclear as f32;
        for (id, subgradient) in self.pending.drain(..) {
            if let Some(gradient) = gradients.get_mut(id) {
                for (g, s) in gradient.data.iter_mut().zip(subgradient) {
                    *g += strength * s;
                }
            }
        }
    }
}

pub(super) fn run(
    stage: &Trp,
    graph: &mut Graph,
    session: &mut Session<'_>,
) -> Result<Product, StageError> {
    let layers = candidates(graph, stage.scheme, stage.stem);
    if layers.is_empty() {
        return Err(StageError::Nothing(
            "no convolution that can be decomposed: one group, a kernel above 1 × 1, not the first",
        ));
    }
    if let Some(ranks) = &stage.ranks
        && let Some(unknown) = ranks.keys().find(|&n| layers.iter().all(|l| l.name != *n))
    {
        return Err(TrpError::NoCandidate(unknown.clone()).into());
    }
    let ranks = fixed_ranks(stage, graph, &layers, session)?;
    if let Some(training) = &stage.training {
        let mut program = Program::new(graph)?;
        let mut method = LowRank {
            stage,
            layers: &layers,
            ranks: ranks.clone(),
            pending: Vec::new(),
            failure: None,
        };
        session.train("training", &mut program, training, Some(&mut method))?;
        if let Some(failure) = method.failure.take() {
            return Err(failure.into());
        }
        if stage.project {
            // The steps after the last projection have raised the rank again.
            method.project(&mut program, 1.0)?;
        }
        program.write_back(graph);
    }
    let before = session.accuracy(graph)?;
    let scheme = stage.scheme;
    let done = match (ranks, stage.split, stage.macs) {
        (Some(ranks), ..) => {
            let mut ranks = ranks.into_iter();
            split(graph, &layers, scheme, |_, _| ranks.next().flatten())?
        }
        (None, Some(rule), _) => split(graph, &layers, scheme, |_, svd| Some(svd.rank(rule)))?,
        (None, None, share) => {
            let budget = session.budget(share.unwrap_or(1.0));
            split_to_budget(graph, &layers, scheme, budget, stage.rank_multiple)?
        }
    };
    let after = session.accuracy(graph)?;
    session.restate(graph, stage.fine_tune.as_ref().or(stage.training.as_ref()))?;
    let restated = session.accuracy(graph)?;
    if let Some(fine_tune) = &stage.fine_tune {
        session.train_graph("fine-tune", graph, fine_tune)?;
    }
    let layers: Vec<_> = done
        .iter()
        .map(|l| {
            json!({
                "name": l.name, "rank": l.rank, "of": l.sigma.len(), "split": l.split,
                "stable rank": stable_rank(&l.sigma),
            })
        })
        .collect();
    Ok(Product::of([
        ("accuracy before the split", json!(before)),
        ("accuracy after the split", json!(after)),
        ("accuracy with statistics anew", json!(restated)),
        ("layers", json!(layers)),
    ]))
}
