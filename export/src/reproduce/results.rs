//! What arms came to, and what that says of the claims.

use super::{Claim, Experiment, Must, Unit};
use crate::compress::run::{Figures, Record};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// What a mean of figures may be off a bound that it meets: 1.5 points are 87.19 % less 85.69 % but for rounding.
const ROUNDING: f64 = 1e-9;

/// Records of the arms of one seed, by name.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
#[serde(transparent)]
pub struct Results(BTreeMap<String, Record>);

impl Results {
    /// Adds an arm's record.
    pub fn add(&mut self, arm: &str, record: Record) {
        self.0.insert(arm.to_owned(), record);
    }

    /// An arm's record, if it was run.
    pub fn record(&self, arm: &str) -> Option<&Record> {
        self.0.get(arm)
    }

    /// Figures of what an arm ended with.
    pub fn figures(&self, arm: &str) -> Option<&Figures> {
        Some(&self.record(arm)?.stages.last()?.figures)
    }

    /// Figures of the model that an arm began with.
    pub fn input(&self, arm: &str) -> Option<&Figures> {
        Some(&self.record(arm)?.input)
    }

    /// A note of an arm's stage, counted from 0.
    pub fn note(&self, arm: &str, stage: usize, note: &str) -> Option<&Value> {
        self.record(arm)?.stages.get(stage)?.notes.get(note)
    }

    /// The same, as a number.
    pub fn number(&self, arm: &str, stage: usize, note: &str) -> Option<f64> {
        self.note(arm, stage, note)?.as_f64()
    }

    /// Percentage points that an arm has lost of the accuracy it began with.
    pub fn lost(&self, arm: &str) -> Option<f64> {
        Some(100.0 * (self.input(arm)?.accuracy - self.figures(arm)?.accuracy))
    }

    /// By how many percentage points an arm ends above another.
    pub fn above(&self, arm: &str, other: &str) -> Option<f64> {
        Some(100.0 * (self.figures(arm)?.accuracy - self.figures(other)?.accuracy))
    }

    /// Multiply-accumulates before over those after.
    pub fn fewer_macs(&self, arm: &str) -> Option<f64> {
        Some(self.input(arm)?.macs as f64 / self.figures(arm)?.macs as f64)
    }
}

/// A claim with its figures.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Finding {
    /// In words.
    pub claim: &'static str,
    /// What the paper says.
    pub paper: &'static str,
    /// The bound, in words.
    pub must: String,
    /// Mean over the seeds.
    pub mean: f64,
    /// Least and greatest, over the seeds.
    pub range: [f64; 2],
    /// The mean, with its unit.
    pub figure: String,
    /// Whether the mean keeps the bound; `None` where there is none.
    pub holds: Option<bool>,
}

impl Claim {
    /// The claim's figures over all seeds; `None` if an arm is missing.
    fn find(&self, seeds: &[Results]) -> Option<Finding> {
        let figures: Option<Vec<f64>> = seeds.iter().map(self.figure).collect();
        let figures = figures.filter(|f| !f.is_empty())?;
        let mean = figures.iter().sum::<f64>() / figures.len() as f64;
        let range = figures
            .iter()
            .fold([f64::INFINITY, f64::NEG_INFINITY], |[a, b], &f| {
                [a.min(f), b.max(f)]
            });
        let mut figure = self.unit.show(mean);
        if figures.len() > 1 {
            figure += &format!(
                " ({} to {})",
                self.unit.show(range[0]),
                self.unit.show(range[1])
            );
        }
        let (must, holds) = match self.must {
            Must::AtLeast(bound) => (
                format!("≥ {}", self.unit.show(bound)),
                Some(mean >= bound - ROUNDING),
            ),
            Must::AtMost(bound) => (
                format!("≤ {}", self.unit.show(bound)),
                Some(mean <= bound + ROUNDING),
            ),
            Must::Told => ("-".to_owned(), None),
        };
        Some(Finding {
            claim: self.what,
            paper: self.paper,
            must,
            mean,
            range,
            figure,
            holds,
        })
    }
}

impl Unit {
    fn show(self, value: f64) -> String {
        match self {
            Unit::Points => format!("{value:.2} points"),
            Unit::Times => format!("{value:.2}×"),
            Unit::Share => format!("{:.1} %", 100.0 * value),
        }
    }
}

impl Finding {
    /// What [`Finding::row`] has in its columns.
    pub const HEADERS: [&'static str; 5] = ["what", "here", "asked for", "", "the paper"];

    /// A row of the table of claims.
    pub fn row(&self) -> Vec<String> {
        let holds = match self.holds {
            Some(true) => "yes",
            Some(false) => "NO",
            None => "",
        };
        let cells = [self.claim, &self.figure, &self.must, holds, self.paper];
        cells.map(str::to_owned).to_vec()
    }
}

impl Experiment {
    /// What the records say of the claims whose arms were run.
    pub fn findings(&self, seeds: &[Results]) -> Vec<Finding> {
        self.claims.iter().filter_map(|c| c.find(seeds)).collect()
    }
}
