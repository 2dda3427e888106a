//! The keys of a training, which most stages have.

use serde::{Deserialize, Serialize};

/// One training with stochastic gradient descent.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Training {
    /// Length.
    pub epochs: usize,
    /// Learning rate at its highest.
    #[serde(default = "Training::lr")]
    pub lr: f64,
    /// How it falls.
    #[serde(default)]
    pub schedule: LrSchedule,
    /// Epochs in which it rises from 0.
    #[serde(default)]
    pub warmup_epochs: usize,
    /// Samples a step.
    #[serde(default = "Training::batch")]
    pub batch: usize,
    /// Momentum.
    #[serde(default = "Training::momentum")]
    pub momentum: f64,
    /// Nesterov's momentum.
    #[serde(default)]
    pub nesterov: bool,
    /// Weight decay; never on gates' modules.
    #[serde(default = "Training::weight_decay")]
    pub weight_decay: f64,
    /// What is done to samples.
    #[serde(default)]
    pub augment: Augment,
    /// Learning from another model's outputs, too.
    #[serde(default)]
    pub distill: Option<Distill>,
}

impl Training {
    fn lr() -> f64 {
        0.05
    }
    fn batch() -> usize {
        128
    }
    fn momentum() -> f64 {
        0.9
    }
    fn weight_decay() -> f64 {
        1e-4
    }
}

/// How the learning rate falls.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum LrSchedule {
    /// Not at all.
    Constant,
    /// Half a cosine, to 0.
    #[default]
    Cosine,
    /// `{ step = { at = [80, 120], factor = 0.1 } }`: times `factor` at each of these epochs.
    Step {
        /// Epochs, ascending.
        at: Vec<usize>,
        /// Below 1.
        factor: f64,
    },
}

/// What is done to training samples.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Augment {
    /// Mirror half of them.
    pub flip: bool,
    /// Pad by so many pixels and cut the original size out at random.
    pub crop: usize,
    /// Blank a square of this side at random.
    pub cutout: usize,
    /// Mix pairs of samples and labels; α of the Beta distribution, 0 for not.
    pub mixup: f64,
}

/// Distillation.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Distill {
    /// An ONNX file, or `input`: the model that the recipe began with.
    #[serde(default = "Distill::teacher")]
    pub teacher: String,
    /// Softens both distributions.
    #[serde(default = "Distill::temperature")]
    pub temperature: f64,
    /// Share of the loss; the labels have the rest.
    #[serde(default = "Distill::weight")]
    pub weight: f64,
}

impl Distill {
    fn teacher() -> String {
        "input".into()
    }
    fn temperature() -> f64 {
        4.0
    }
    fn weight() -> f64 {
        0.5
    }
}
