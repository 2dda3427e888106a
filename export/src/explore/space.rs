//! The recipes that are tried: drawn at random from the seed, each a function of it and of its number.

use crate::compress::formats::WeightFormat;
use crate::compress::gate::blocks;
use crate::compress::mask::Channels;
use crate::compress::recipe::GateUnits;
use crate::compress::trp::{self, Scheme};
use crate::graph::Graph;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::fmt::Write;

/// What can be done to a model, and how it is trained.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Space {
    /// Convolutions can be decomposed.
    pub splits: bool,
    /// There are channels that may go.
    pub channels: bool,
    /// There are residual blocks that may go.
    pub blocks: bool,
    /// Training is allowed.
    pub training: bool,
    /// Mirror half of the training samples.
    pub flip: bool,
    /// Pad training samples by so many pixels and cut the original size out at random.
    pub crop: usize,
    /// Samples a step.
    pub batch: usize,
}

/// What a candidate does to the network's structure.
#[derive(Clone, PartialEq, Debug)]
pub enum Structure {
    /// Nothing.
    Keep,
    /// TRP to a share of the multiply-accumulates.
    RankBudget(Scheme, f64),
    /// TRP by energy.
    RankEnergy(Scheme, f64),
    /// MaskSparsity to a share of the multiply-accumulates.
    Mask(f64),
    /// Consensus gating to a share of what gates can close.
    Gate(GateUnits, f64),
}

/// What it does to single weights.
#[derive(Clone, PartialEq, Debug)]
pub enum Weights {
    /// Nothing.
    Keep,
    /// BackSlash with this strength.
    Backslash(f64),
    /// Zeros of this share.
    Prune(f64),
}

/// One point of the space: a recipe without its length and seed.
#[derive(Clone, PartialEq, Debug)]
pub struct Candidate {
    /// The network's structure.
    pub structure: Structure,
    /// Single weights.
    pub weights: Weights,
    /// The number format; activations are int8.
    pub format: WeightFormat,
    /// The least step of int8 weights in deviations; 0 for the finest.
    pub relative_step: f64,
    /// Learning rate; `None` without any training.
    pub lr: Option<f64>,
}

impl Candidate {
    /// Plain int8 after training: what everything is compared with.
    pub const PLAIN: Candidate = Candidate {
        structure: Structure::Keep,
        weights: Weights::Keep,
        format: WeightFormat::Int8,
        relative_step: 0.0,
        lr: None,
    };

    /// What it does, in a few words.
    pub fn describe(&self, epochs: usize) -> String {
        let percent = |share: f64| format!("{:.0} %", 100.0 * share);
        let mut parts = Vec::new();
        match &self.structure {
            Structure::Keep => {}
            Structure::RankBudget(scheme, macs) => parts.push(format!(
                "TRP {} to {}",
                format!("{scheme:?}").to_lowercase(),
                percent(*macs)
            )),
            Structure::RankEnergy(scheme, energy) => parts.push(format!(
                "TRP {} energy {energy}",
                format!("{scheme:?}").to_lowercase()
            )),
            Structure::Mask(macs) => parts.push(format!("mask to {}", percent(*macs))),
            Structure::Gate(units, keep) => parts.push(format!(
                "gate {} to {}",
                format!("{units:?}").to_lowercase(),
                percent(*keep)
            )),
        }
        match self.weights {
            Weights::Keep => {}
            Weights::Backslash(strength) => parts.push(format!("BackSlash {strength}")),
            Weights::Prune(fraction) => parts.push(format!("{} zeros", percent(fraction))),
        }
        parts.push(self.format.name().to_owned());
        if self.relative_step > 0.0 {
            parts.push(format!("step {}", self.relative_step));
        }
        if epochs > 0 {
            parts.push(format!("{epochs} epochs"));
        }
        parts.join(", ")
    }
}

/// Share of candidates without training where training is allowed: they cost next to nothing.
const UNTRAINED: f64 = 0.25;
/// Training with the number format is the last: the others' rate over this.
const LAST: f64 = 10.0;

impl Space {
    /// What can be done to this model.
    pub fn of(graph: &Graph) -> Space {
        Space {
            splits: !trp::candidates(graph, Scheme::Channel, false).is_empty(),
            channels: !Channels::analyse(graph).groups().is_empty(),
            blocks: !blocks(graph).is_empty(),
            training: true,
            flip: false,
            crop: 0,
            batch: 128,
        }
    }

    /// The candidate of this number. The first is [`Candidate::PLAIN`].
    pub fn candidate(&self, seed: u64, number: usize) -> Candidate {
        if number == 0 {
            return Candidate::PLAIN;
        }
        let random = &mut ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(number as u64);
        let trained = self.training && !random.random_bool(UNTRAINED);
        let (format, relative_step) = format(random);
        Candidate {
            structure: self.structure(random, trained),
            weights: weights(random, trained),
            format,
            relative_step,
            lr: trained.then(|| pick(random, &[0.005, 0.01, 0.02, 0.05])),
        }
    }

    fn structure(&self, random: &mut ChaCha8Rng, trained: bool) -> Structure {
        let mut kinds = vec!["keep"];
        if self.splits {
            kinds.extend(["budget", "energy"]);
        }
        // Both find what may go by training.
        if self.channels && trained {
            kinds.extend(["mask", "gate-channels"]);
        }
        if self.blocks && trained {
            kinds.push("gate-blocks");
        }
        let scheme = pick(
            random,
            &[Scheme::Channel, Scheme::Spatial, Scheme::Decoupled],
        );
        match pick(random, &kinds) {
            "budget" => Structure::RankBudget(scheme, between(random, 0.35, 0.9)),
            "energy" => Structure::RankEnergy(scheme, between(random, 0.6, 0.98)),
            "mask" => Structure::Mask(between(random, 0.35, 0.9)),
            "gate-channels" => Structure::Gate(GateUnits::Channels, between(random, 0.5, 0.9)),
            "gate-blocks" => Structure::Gate(GateUnits::Blocks, between(random, 0.5, 0.9)),
            _ => Structure::Keep,
        }
    }

    /// The recipe of a candidate whose trainings have so many epochs each.
    pub fn recipe(&self, candidate: &Candidate, name: &str, seed: u64, epochs: usize) -> String {
        let mut text = format!("name = \"{name}\"\nseed = {seed}\n");
        if candidate.lr.is_some() {
            let Space {
                batch, flip, crop, ..
            } = self;
            let _ = write!(
                text,
                "norms = \"insert\"\n\n[defaults]\nbatch = {batch}\naugment = {{ flip = {flip}, crop = {crop} }}\n"
            );
        }
        let at_rate = |divisor: f64| match candidate.lr {
            Some(lr) => format!(
                "training = {{ epochs = {epochs}, lr = {} }}\n",
                lr / divisor
            ),
            None => String::new(),
        };
        let training = at_rate(1.0);
        let mut stage = |kind: &str, keys: &str, training: &str| {
            let _ = write!(text, "\n[[stage]]\nkind = \"{kind}\"\n{keys}{training}");
        };
        let scheme = |scheme: &Scheme| match scheme {
            Scheme::Channel => "channel",
            Scheme::Spatial => "spatial",
            Scheme::Decoupled => "decoupled",
        };
        match &candidate.structure {
            Structure::Keep => {}
            Structure::RankBudget(s, macs) => stage(
                "trp",
                &format!(
                    "scheme = \"{}\"\nmacs = {macs}\nrank-multiple = 4\n",
                    scheme(s)
                ),
                &training,
            ),
            Structure::RankEnergy(s, energy) => stage(
                "trp",
                &format!(
                    "scheme = \"{}\"\nsplit = {{ energy = {energy} }}\n",
                    scheme(s)
                ),
                &training,
            ),
            Structure::Mask(macs) => stage(
                "mask",
                &format!("macs = {macs}\nchannel-multiple = 4\n"),
                &training,
            ),
            Structure::Gate(units, keep) => {
                let units = match units {
                    GateUnits::Blocks => "blocks",
                    GateUnits::Channels => "channels",
                };
                stage(
                    "gate",
                    &format!("units = \"{units}\"\nkeep = {keep}\n"),
                    &training,
                );
            }
        }
        match candidate.weights {
            Weights::Keep => {}
            Weights::Backslash(strength) => {
                stage("backslash", &format!("strength = {strength}\n"), &training);
            }
            Weights::Prune(fraction) => {
                stage("prune", &format!("fraction = {fraction}\n"), &training);
            }
        }
        let step = match candidate.relative_step {
            0.0 => String::new(),
            step => format!("relative-step = {step}\n"),
        };
        stage(
            "quantize",
            &format!(
                "format = \"{}\"\nactivations = \"int8\"\n{step}",
                candidate.format.name().to_lowercase()
            ),
            &at_rate(LAST),
        );
        text
    }
}

fn weights(random: &mut ChaCha8Rng, trained: bool) -> Weights {
    match random.random_range(0..10) {
        0..3 if trained => Weights::Backslash(pick(random, &[1e-5, 2e-5, 5e-5, 1e-4])),
        3..5 if trained => Weights::Prune(between(random, 0.3, 0.8)),
        3..5 => Weights::Prune(between(random, 0.1, 0.4)),
        _ => Weights::Keep,
    }
}

fn format(random: &mut ChaCha8Rng) -> (WeightFormat, f64) {
    match random.random_range(0..10) {
        0..4 => (WeightFormat::Int8, 0.0),
        4..7 => (WeightFormat::Int8, between(random, 0.05, 0.4)),
        7 => (WeightFormat::Rf8, 0.0),
        8 => (WeightFormat::E4m3, 0.0),
        _ => (WeightFormat::E3m4, 0.0),
    }
}

fn pick<T: Copy>(random: &mut ChaCha8Rng, from: &[T]) -> T {
    // None of the lists is empty.
    from.choose(random).copied().unwrap_or(from[0])
}

/// A number of two digits.
fn between(random: &mut ChaCha8Rng, low: f64, high: f64) -> f64 {
    (random.random_range(low..=high) * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compress::recipe::Recipe;
    use std::collections::BTreeSet;

    fn space(can: bool, training: bool) -> Space {
        Space {
            splits: can,
            channels: can,
            blocks: can,
            training,
            flip: true,
            crop: 4,
            batch: 64,
        }
    }

    #[test]
    fn every_candidate_is_a_valid_recipe() {
        for (can, training) in [(true, true), (true, false), (false, true), (false, false)] {
            let space = space(can, training);
            for number in 0..400 {
                let candidate = space.candidate(7, number);
                let text = space.recipe(&candidate, "trial", 7, 3);
                let recipe = Recipe::parse(&text, "trial.toml");
                let recipe = recipe.unwrap_or_else(|e| panic!("{number}: {e}\n{text}"));
                let trained = recipe.stages.iter().any(|s| !s.trainings().is_empty());
                assert_eq!(trained, candidate.lr.is_some(), "{text}");
                assert!(training || !trained);
                assert_eq!(recipe.stages.last().map(|s| s.kind()), Some("quantize"));
                for (_, t) in recipe.stages.iter().flat_map(|s| s.trainings()) {
                    assert_eq!((t.epochs, t.batch), (3, 64), "{text}");
                }
            }
        }
    }

    #[test]
    fn the_space_reaches_every_method_and_only_what_the_model_has() {
        let kinds = |space: &Space| {
            let mut kinds = BTreeSet::new();
            for number in 0..400 {
                let text = space.recipe(&space.candidate(1, number), "trial", 1, 1);
                let recipe = Recipe::parse(&text, "trial.toml").expect("valid");
                kinds.extend(recipe.stages.iter().map(|s| s.kind()));
            }
            kinds.into_iter().collect::<Vec<_>>()
        };
        let all = ["backslash", "gate", "mask", "prune", "quantize", "trp"];
        assert_eq!(kinds(&space(true, true)), all);
        assert_eq!(kinds(&space(true, false)), ["prune", "quantize", "trp"]);
        assert_eq!(
            kinds(&space(false, true)),
            ["backslash", "prune", "quantize"]
        );
    }

    #[test]
    fn a_candidate_depends_on_seed_and_number_only() {
        let space = space(true, true);
        let drawn = |seed| {
            (0..50)
                .map(|n| space.candidate(seed, n))
                .collect::<Vec<_>>()
        };
        let first = drawn(1);
        assert_eq!(space.candidate(1, 33), first[33]);
        assert_eq!(drawn(1), first);
        assert_ne!(drawn(2), first);
        assert_eq!(first[0], Candidate::PLAIN);
    }
}
