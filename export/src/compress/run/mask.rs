//! `mask`: a sparse training finds the mask, a masked one drives it to zero, the cut takes it out.

use super::session::Session;
use super::{Product, StageError};
use crate::compress::mask::{
    Channels, Group, Limits, Penalty, Scores, Selection, add_penalty, cut, fade, shrink,
};
use crate::compress::recipe::{Mask, MaskStart, Score};
use crate::graph::{Data, Graph, Node, Op, ValueId};
use crate::train::method::{Method, Moment};
use crate::train::tape::{Gradients, Program};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Share of the masked training in which a proximal penalty rises to its strength.
const RISE: f64 = 0.5;
/// Share at which nothing is left of what goes. From [`RISE`] on it also fades: a γ that the loss holds on to as hard as the
/// penalty pulls would be cut in full use.
const EMPTY: f64 = 0.75;

/// What an entry that goes is multiplied with at this step, so that it fades in a straight line from [`RISE`] to [`EMPTY`].
fn fading(at: &Moment) -> f64 {
    let step = 1.0 / (at.epochs * at.steps).max(1) as f64;
    let left = |share: f64| (EMPTY - share).max(0.0);
    match at.share() {
        share if share < RISE => 1.0,
        share if share < EMPTY => left(share + step) / left(share),
        _ => 0.0,
    }
}

/// The penalty on γ of channels that are to go.
struct Sparsity {
    strength: f64,
    penalty: Penalty,
    /// Which entries of each γ stay.
    keep: BTreeMap<ValueId, Vec<bool>>,
    /// The same for each β.
    keep_shifts: BTreeMap<ValueId, Vec<bool>>,
}

impl Sparsity {
    fn new(
        graph: &Graph,
        strength: f64,
        penalty: Penalty,
        keep: BTreeMap<ValueId, Vec<bool>>,
    ) -> Self {
        let shift = |node: &Node| match (&node.op, node.inputs.as_slice()) {
            (Op::BatchNorm { .. }, [_, gamma, beta, ..]) => Some((*beta, keep.get(gamma)?.clone())),
            _ => None,
        };
        Sparsity {
            strength,
            penalty,
            keep_shifts: graph.nodes.iter().filter_map(shift).collect(),
            keep,
        }
    }
}

impl Method for Sparsity {
    fn after_backward(
        &mut self,
        program: &mut Program<f32>,
        gradients: &mut Gradients<f32>,
        _: &Moment,
    ) {
        let strength = self.strength as f32;
        for (&id, keep) in &self.keep {
            if let (Some(gamma), Some(gradient)) = (program.parameter(id), gradients.get_mut(id)) {
                add_penalty(
                    &gamma.value.data,
                    Some(keep),
                    strength,
                    self.penalty,
                    &mut gradient.data,
                );
            }
        }
    }

    fn after_step(&mut self, program: &mut Program<f32>, at: &Moment) {
        if self.penalty != Penalty::Proximal {
            return;
        }
        // Gradually: what is to go is still in use at first.
        let risen = (at.share() / RISE).min(1.0);
        let by = (at.rate * self.strength * risen) as f32;
        let factor = fading(at) as f32;
        for (&id, keep) in self.keep.iter().chain(&self.keep_shifts) {
            if let Some(parameter) = program.parameter_mut(id) {
                shrink(&mut parameter.value.data, keep, by);
                fade(&mut parameter.value.data, keep, factor);
            }
        }
    }
}

/// A score for every channel that says nothing of it.
fn random_scores(channels: &Channels, seed: u64) -> Scores {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let of = |group: &Group| group.channels.iter().map(|_| random.random()).collect();
    channels.groups().iter().map(of).collect()
}

/// Medians of `|γ|` of the channels that stay and of those that go, and how many of these are next to nothing.
fn gammas(graph: &Graph, channels: &Channels, selection: &Selection) -> Value {
    const NEXT_TO_NOTHING: f32 = 0.01;
    let (mut kept, mut going) = (Vec::new(), Vec::new());
    for (id, keep) in selection.keep_masks(graph, channels) {
        if let Some(Data::F32(gamma)) = &graph[id].data {
            for (g, keep) in gamma.iter().zip(keep) {
                let of = if keep { &mut kept } else { &mut going };
                of.push(g.abs());
            }
        }
    }
    let small = going.iter().filter(|&&g| g < NEXT_TO_NOTHING).count();
    let median = |mut all: Vec<f32>| {
        all.sort_by(f32::total_cmp);
        all.get(all.len() / 2).copied()
    };
    json!({
        "masked": going.len(),
        "masked below 0.01": small,
        "masked median": median(going),
        "kept median": median(kept),
    })
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
        multiple: stage.channel_multiple,
    };
    let all = Selection::candidates(&channels, stage.scope).keep_masks(graph, &channels);
    let penalised = stage.search.is_some() || stage.training.is_some();
    if (penalised || matches!(stage.score, Score::Gamma | Score::RelativeGamma))
        && all.values().flatten().all(|&keep| keep)
    {
        return Err(StageError::Nothing(
            "no batch normalisation over channels that may go, so no γ to penalise: `norms = \"insert\"` at the recipe's top inserts them",
        ));
    }
    let baseline = graph.clone();
    if let Some(search) = &stage.search {
        let mut program = Program::new(graph)?;
        let strength = stage.search_strength.unwrap_or(stage.strength);
        // The search is to rank channels, not to empty them.
        let penalty = match stage.penalty {
            Penalty::Proximal => Penalty::L1,
            other => other,
        };
        let mut method = Sparsity::new(graph, strength, penalty, all);
        session.train("search", &mut program, search, Some(&mut method))?;
        program.write_back(graph);
    }
    let selection = match (stage.rule, stage.macs) {
        (Some(rule), _) => Selection::by_rule(graph, &channels, rule, limits),
        (None, share) => {
            let scores = match stage.score {
                Score::Gamma => channels.gamma_scores(graph),
                Score::RelativeGamma => {
                    let mut scores = channels.gamma_scores(graph);
                    for row in &mut scores {
                        let mean = row.iter().sum::<f32>() / row.len().max(1) as f32;
                        row.iter_mut()
                            .for_each(|s| *s /= mean.max(f32::MIN_POSITIVE));
                    }
                    scores
                }
                Score::Weight => channels.weight_scores(graph),
                Score::Random => random_scores(&channels, session.seed_of("score")),
            };
            let budget = session.budget(share.unwrap_or(1.0));
            Selection::by_budget(graph, &channels, &scores, budget, limits)?
        }
    };
    if stage.start == MaskStart::Baseline {
        *graph = baseline;
    }
    if let Some(training) = &stage.training {
        let mut program = Program::new(graph)?;
        let keep = selection.keep_masks(graph, &channels);
        let mut method = Sparsity::new(graph, stage.strength, stage.penalty, keep);
        session.train("training", &mut program, training, Some(&mut method))?;
        program.write_back(graph);
    }
    let gamma = gammas(graph, &channels, &selection);
    let before = session.accuracy(graph)?;
    let done = cut(graph, &channels, &selection)?;
    let after = session.accuracy(graph)?;
    session.restate(graph, stage.fine_tune.as_ref().or(stage.training.as_ref()))?;
    if let Some(fine_tune) = &stage.fine_tune {
        session.train_graph("fine-tune", graph, fine_tune)?;
    }
    Ok(Product::of([
        ("channels cut", json!(done.channels)),
        ("gamma", gamma),
        ("accuracy before the cut", json!(before)),
        ("accuracy after the cut", json!(after)),
        ("inexact borders", json!(done.inexact)),
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_fades_in_a_straight_line_and_stays_away() {
        let (epochs, steps) = (4, 10);
        let mut left = 1.0;
        let mut at = Vec::new();
        for total in 0..epochs * steps {
            let moment = Moment {
                epoch: total / steps,
                epochs,
                step: total % steps,
                steps,
                rate: 0.1,
            };
            left *= fading(&moment);
            at.push(left);
        }
        assert_eq!(at[19], 1.0, "untouched in the first half");
        assert!((at[24] - 0.5).abs() < 1e-9, "{}", at[24]);
        assert_eq!(at[29..], [0.0; 11]);
    }
}
