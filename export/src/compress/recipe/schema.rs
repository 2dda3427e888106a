//! The keys of each stage.

use super::training::Training;
use crate::compress::formats::{Granularity, WeightFormat};
use crate::compress::gate::Schedule;
use crate::compress::mask::{Penalty, Rule, Scope};
use crate::compress::trp::{RankRule, Scheme};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::num::NonZeroUsize;

/// A stage of a recipe, by its `kind`.
#[derive(Clone, PartialEq, Debug)]
pub enum Stage {
    /// `train`: plain training.
    Train(Train),
    /// `mask`: MaskSparsity.
    Mask(Mask),
    /// `gate`: consensus gating.
    Gate(Gate),
    /// `trp`: trained rank pruning.
    Trp(Trp),
    /// `backslash`: the rate term.
    Backslash(Backslash),
    /// `deepshape`: reshaping of histograms.
    DeepShape(DeepShapeStage),
    /// `prune`: pruning by magnitude.
    Prune(Prune),
    /// `quantize`: the number format, with or without training for it.
    Quantize(Quantize),
}

impl Stage {
    pub(super) const KINDS: [&'static str; 8] = [
        "train",
        "mask",
        "gate",
        "trp",
        "backslash",
        "deepshape",
        "prune",
        "quantize",
    ];

    /// As recipes write it.
    pub fn kind(&self) -> &'static str {
        match self {
            Stage::Train(_) => "train",
            Stage::Mask(_) => "mask",
            Stage::Gate(_) => "gate",
            Stage::Trp(_) => "trp",
            Stage::Backslash(_) => "backslash",
            Stage::DeepShape(_) => "deepshape",
            Stage::Prune(_) => "prune",
            Stage::Quantize(_) => "quantize",
        }
    }

    /// All its trainings, with the key under which each is.
    pub fn trainings(&self) -> Vec<(&'static str, &Training)> {
        let (search, training, tune) = match self {
            Stage::Train(s) => (None, Some(&s.training), None),
            Stage::Mask(s) => (s.search.as_ref(), s.training.as_ref(), s.fine_tune.as_ref()),
            Stage::Gate(s) => (None, Some(&s.training), s.fine_tune.as_ref()),
            Stage::Trp(s) => (None, s.training.as_ref(), s.fine_tune.as_ref()),
            Stage::Backslash(s) => (None, Some(&s.training), s.fine_tune.as_ref()),
            Stage::DeepShape(s) => (None, s.training.as_ref(), None),
            Stage::Prune(s) => (None, s.training.as_ref(), None),
            Stage::Quantize(s) => (None, s.training.as_ref(), None),
        };
        let keyed = [
            ("search", search),
            ("training", training),
            ("fine-tune", tune),
        ];
        let given = keyed.into_iter().filter_map(|(key, t)| Some((key, t?)));
        given.collect()
    }
}

/// What happens to layers whose batch normalisation the exporter has folded.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Norms {
    /// They stay as they are.
    #[default]
    Keep,
    /// Each convolution gets one, with statistics of training samples so that the network computes the same; the output has
    /// them folded again.
    Insert,
}

/// Plain training.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Train {
    /// Weights are drawn anew; without it the model's are kept.
    pub initialize: Option<Initialization>,
    /// How.
    pub training: Training,
}

/// Generalised-Gaussian initialisation.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Initialization {
    /// ν; 2 is He's.
    pub shape: f64,
}

/// MaskSparsity: find a mask, train with it, cut.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Mask {
    /// A first sparse training, on all γ, to find the mask; without it the model's own γ decide.
    pub search: Option<Training>,
    /// What a budget ranks channels by.
    #[serde(default)]
    pub score: Score,
    /// The mask by a threshold; or `macs`.
    pub rule: Option<Rule>,
    /// The mask by a budget: the share of the input model's multiply-accumulates that is left.
    pub macs: Option<f64>,
    /// Which channels.
    #[serde(default)]
    pub scope: Scope,
    /// Channels that every layer keeps.
    #[serde(default = "Mask::min_channels")]
    pub min_channels: usize,
    /// With `macs`, every group keeps a multiple of this, or all of its channels. Kernels for microcontrollers take channels by
    /// four.
    #[serde(default = "one")]
    pub channel_multiple: NonZeroUsize,
    /// Strength `s` of the penalty.
    #[serde(default = "Mask::strength")]
    pub strength: f64,
    /// The same in the search, whose penalty is on all channels; `strength` if it is not given.
    pub search_strength: Option<f64>,
    /// Its form.
    #[serde(default)]
    pub penalty: Penalty,
    /// Which weights the masked training begins with.
    #[serde(default)]
    pub start: MaskStart,
    /// The masked sparse training; without it the cut is at once.
    pub training: Option<Training>,
    /// After the cut.
    pub fine_tune: Option<Training>,
}

impl Mask {
    fn min_channels() -> usize {
        1
    }
    fn strength() -> f64 {
        5e-4
    }
}

/// What channels are ranked by, where a budget says how many go.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Score {
    /// `|γ|` of their normalisations.
    #[default]
    Gamma,
    /// The same, relative to the mean of those that channels are decided on with.
    RelativeGamma,
    /// Mean magnitude of the weights that make them, relative to their layer's.
    Weight,
    /// Nothing: a random mask, which others are compared with.
    Random,
}

/// The weights that masked training begins with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MaskStart {
    /// Those before the search, as the paper has it.
    #[default]
    Baseline,
    /// Those that the search left.
    Search,
}

/// Consensus gating.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Gate {
    /// What gates open and close.
    #[serde(default)]
    pub units: GateUnits,
    /// Share of the gateable multiply-accumulates that is to stay.
    pub keep: f64,
    /// When.
    #[serde(default)]
    pub schedule: Schedule,
    /// The training with gates.
    pub training: Training,
    /// After the removal.
    pub fine_tune: Option<Training>,
}

/// What gates open and close.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GateUnits {
    /// Residual branches.
    #[default]
    Blocks,
    /// Inner channels of blocks.
    Channels,
}

fn one() -> NonZeroUsize {
    NonZeroUsize::MIN
}

/// Trained rank pruning.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Trp {
    /// Which matrix.
    pub scheme: Scheme,
    /// Project at all; without it only the nuclear norm acts.
    #[serde(default = "Trp::project")]
    pub project: bool,
    /// Rank that a projection keeps; without it those that `macs` or `ranks` give for the model as it was before, or else
    /// energy 0.9.
    pub rule: Option<RankRule>,
    /// Share of the training during which the ranks of projections fall from full to what they are to be.
    #[serde(default)]
    pub anneal: f64,
    /// Steps from one projection to the next.
    #[serde(default = "Trp::every")]
    pub every: usize,
    /// λ of the nuclear norm's sub-gradient, added on the steps that project.
    #[serde(default = "Trp::nuclear")]
    pub nuclear: f64,
    /// Rank at the split; or `macs`.
    pub split: Option<RankRule>,
    /// The split by a budget: the share of the input model's multiply-accumulates that is left.
    pub macs: Option<f64>,
    /// With `macs`, ranks are multiples of this, or full. Kernels for microcontrollers take channels by four.
    #[serde(default = "one")]
    pub rank_multiple: NonZeroUsize,
    /// The split by name: the rank of each layer; those that are not named stay whole.
    pub ranks: Option<BTreeMap<String, usize>>,
    /// Decompose the first convolution, too.
    #[serde(default)]
    pub stem: bool,
    /// The training; without it the model is decomposed as it is.
    pub training: Option<Training>,
    /// After the split.
    pub fine_tune: Option<Training>,
}

impl Trp {
    fn project() -> bool {
        true
    }
    fn every() -> usize {
        20
    }
    fn nuclear() -> f64 {
        3e-4
    }
}

/// The rate term.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Backslash {
    /// Whose update.
    #[serde(default)]
    pub form: Form,
    /// `k` of the scale-free form (1e-5 … 1e-4), or `λ/N` of the authors' (1e-6 … 2e-5).
    pub strength: f64,
    /// ν.
    #[serde(default)]
    pub shape: ShapeChoice,
    /// ε of the authors' form.
    #[serde(default = "Backslash::epsilon")]
    pub epsilon: f64,
    /// Training with the term.
    pub training: Training,
    /// Training without it, after.
    pub fine_tune: Option<Training>,
}

impl Backslash {
    fn epsilon() -> f64 {
        1.0
    }
}

/// Which update BackSlash makes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// Ours, in units of each layer's deviation.
    #[default]
    ScaleFree,
    /// The authors', absolute and over all parameters.
    Authors,
}

/// Where ν comes from.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum ShapeChoice {
    /// Estimated every so many steps.
    Adaptive {
        /// Steps.
        every: usize,
    },
    /// Always this; 1 is L1, 2 is L2.
    Fixed(f64),
}

impl Default for ShapeChoice {
    fn default() -> Self {
        ShapeChoice::Adaptive { every: 100 }
    }
}

/// Reshaping of each layer's histogram.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DeepShapeStage {
    /// Distance of levels in deviations of a layer.
    pub relative_step: f64,
    /// ν of the target over ν of the weights.
    #[serde(default = "DeepShapeStage::shape_factor")]
    pub shape_factor: f64,
    /// α of the target over α of the weights.
    #[serde(default = "DeepShapeStage::scale_factor")]
    pub scale_factor: f64,
    /// What recovers the loss.
    pub training: Option<Training>,
}

impl DeepShapeStage {
    fn shape_factor() -> f64 {
        0.8
    }
    fn scale_factor() -> f64 {
        0.6
    }
}

/// Pruning by magnitude.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Prune {
    /// Share of the weights that become zero.
    pub fraction: f64,
    /// One threshold for all layers; without it one a layer.
    #[serde(default)]
    pub global: bool,
    /// Training with the zeros fixed.
    pub training: Option<Training>,
}

/// The number format.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Quantize {
    /// Of the weights.
    pub format: WeightFormat,
    /// Scales of the weights.
    #[serde(default)]
    pub granularity: Granularity,
    /// The least step between int8 weights, in root mean squares of those that share a scale; 0 for the finest. A larger
    /// step has smaller codes, which take fewer bits entropy-coded.
    #[serde(default)]
    pub relative_step: f64,
    /// Of the activations.
    #[serde(default)]
    pub activations: Activations,
    /// Move the mean error of each channel's result into its bias; only without training, which does so itself, and with float
    /// activations.
    #[serde(default = "Quantize::correct_bias")]
    pub correct_bias: bool,
    /// Store the codes entropy-coded.
    #[serde(default)]
    pub entropy_coded: bool,
    /// Quantisation-aware training; without it the weights are rounded as they are.
    pub training: Option<Training>,
}

impl Quantize {
    fn correct_bias() -> bool {
        true
    }
}

/// What activations are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activations {
    /// int8, calibrated.
    Int8,
    /// Left in float; the only choice that RF8, E4M3 and E3M4 are published with.
    #[default]
    Float,
}
