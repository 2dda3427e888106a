//! How the trainings of a run went, from the metrics that they have left.

use crate::train::checkpoint::EpochMetrics;
use crate::train::trainer::METRICS;
use std::path::{Path, PathBuf};

/// Figures of every epoch of one training.
#[derive(Clone, PartialEq, Debug)]
pub struct Curve {
    /// The stage's folder and the training's key: `stage-1-mask/search`.
    pub name: String,
    /// Epochs that the trainings before it took.
    pub before: usize,
    /// In order.
    pub epochs: Vec<EpochMetrics>,
}

impl Curve {
    /// Test accuracy by epochs since the beginning of the run.
    pub fn accuracy(&self) -> Vec<(f64, f64)> {
        let point = |m: &EpochMetrics| ((self.before + m.epoch) as f64, m.test_accuracy);
        self.epochs.iter().map(point).collect()
    }
}

/// The trainings of the run that is kept in `folder`, in the order in which they were done. What is not there or cannot be read
/// is left out: curves are to be looked at, no more.
pub fn curves(folder: &Path) -> Vec<Curve> {
    let mut curves: Vec<Curve> = Vec::new();
    let mut before = 0;
    for stage in stages(folder) {
        for key in ["search", "training", "fine-tune"] {
            let text = std::fs::read_to_string(stage.join(key).join(METRICS));
            let text = text.unwrap_or_default();
            let epochs: Vec<EpochMetrics> = text
                .lines()
                .filter_map(|l| serde_json::from_str(l).ok())
                .collect();
            let stage = stage.file_name().unwrap_or_default().to_string_lossy();
            if let Some(last) = epochs.last().map(|m| m.epoch) {
                curves.push(Curve {
                    name: format!("{stage}/{key}"),
                    before,
                    epochs,
                });
                before += last;
            }
        }
    }
    curves
}

/// The stages' folders, by number.
fn stages(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let numbered = |path: PathBuf| {
        let name = path.file_name()?.to_string_lossy().into_owned();
        let number = name.strip_prefix("stage-")?.split('-').next()?;
        let number: usize = number.parse().ok()?;
        path.is_dir().then_some((number, path))
    };
    let mut found: Vec<_> = entries.filter_map(|e| numbered(e.path())).collect();
    found.sort();
    found.into_iter().map(|(_, path)| path).collect()
}
