//! The table of arms.

use super::{Experiment, Results};
use crate::compress::run::Figures;
use crate::report::grouped;

/// What [`arms`] has in its columns.
pub const HEADERS: [&str; 7] = [
    "arm",
    "seed",
    "accuracy",
    "lost, points",
    "MACs",
    "parameters",
    "coded bytes",
];

/// A row for every arm of every seed, after one for the input.
pub fn arms(experiment: &Experiment, seeds: &[(u64, Results)]) -> Vec<Vec<String>> {
    let row = |name: &str, seed: String, lost: String, f: &Figures| {
        vec![
            name.to_owned(),
            seed,
            format!("{:.2} %", 100.0 * f.accuracy),
            lost,
            grouped(f.macs),
            grouped(f.parameters),
            grouped(f.coded_bytes),
        ]
    };
    let mut rows = Vec::new();
    let whole = experiment.arms.iter().filter(|a| a.from.is_none());
    let input = whole
        .filter_map(|a| seeds.iter().find_map(|(_, r)| r.input(a.name)))
        .next();
    if let Some(input) = input {
        rows.push(row("input", "-".into(), "-".into(), input));
    }
    for arm in &experiment.arms {
        for (seed, results) in seeds {
            if let (Some(figures), Some(input)) = (results.figures(arm.name), input) {
                let lost = 100.0 * (input.accuracy - figures.accuracy);
                rows.push(row(
                    arm.name,
                    seed.to_string(),
                    format!("{lost:.2}"),
                    figures,
                ));
            }
        }
    }
    rows
}
