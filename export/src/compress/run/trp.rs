//! `trp`: projections and nuclear sub-gradients while training, then the split.

use super::session::Session;
use super::{Product, StageError};
use crate::compress::recipe::Trp;
use crate::compress::trp::{Candidate, LayerSvd, TrpError, candidates, ranks_for_budget, split};
use crate::graph::{Graph, ValueId};
use crate::train::method::{Method, Moment};
use crate::train::tape::{Gradients, Program};
use serde_json::json;

/// What acts during the training. Projects before a forward pass, so that the gradient is taken at the low-rank point.
struct LowRank<'a> {
    stage: &'a Trp,
    layers: &'a [Candidate],
    /// Sub-gradients of the step in hand.
    pending: Vec<(ValueId, Vec<f32>)>,
    failure: Option<TrpError>,
}

impl LowRank<'_> {
    fn project(&mut self, program: &mut Program<f32>) -> Result<(), TrpError> {
        self.pending.clear();
        for layer in self.layers {
            let Some(parameter) = program.parameter_mut(layer.weight) else {
                continue;
            };
            let svd = LayerSvd::new(&parameter.value.data, layer.shape, self.stage.scheme)?;
            let rank = svd.rank(self.stage.rule);
            if self.stage.nuclear > 0.0 {
                let subgradient = svd.nuclear_subgradient(rank);
                self.pending.push((layer.weight, subgradient));
            }
            if self.stage.project {
                parameter.value.data = svd.truncated(rank);
            }
        }
        Ok(())
    }
}

impl Method for LowRank<'_> {
    fn before_forward(&mut self, program: &mut Program<f32>, at: &Moment) {
        // As in the authors' code, steps count anew in every epoch.
        if at.step.is_multiple_of(self.stage.every) && self.failure.is_none() {
            self.failure = self.project(program).err();
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
    if let Some(training) = &stage.training {
        let mut program = Program::new(graph)?;
        let mut method = LowRank {
            stage,
            layers: &layers,
            pending: Vec::new(),
            failure: None,
        };
        session.train("training", &mut program, training, Some(&mut method))?;
        if let Some(failure) = method.failure.take() {
            return Err(failure.into());
        }
        if stage.project {
            // The steps after the last projection have raised the rank again.
            method.project(&mut program)?;
        }
        program.write_back(graph);
    }
    let before = session.accuracy(graph)?;
    let (scheme, whole) = (stage.scheme, graph.clone());
    let done = match (stage.split, stage.macs) {
        (Some(rule), _) => split(graph, &layers, scheme, |_, svd| Some(svd.rank(rule)))?,
        (None, share) => {
            let budget = session.budget(share.unwrap_or(1.0));
            let ranks = ranks_for_budget(&whole, &layers, scheme, budget)?;
            split(graph, &layers, scheme, |layer, _| {
                ranks.get(&layer.output).copied()
            })?
        }
    };
    let after = session.accuracy(graph)?;
    session.restate(graph)?;
    let layers: Vec<_> = done
        .iter()
        .map(|l| json!({ "name": l.name, "rank": l.rank, "of": l.sigma.len(), "split": l.split }))
        .collect();
    Ok(Product::of([
        ("accuracy before the split", json!(before)),
        ("accuracy after the split", json!(after)),
        ("layers", json!(layers)),
    ]))
}
