//! TRP against the decomposition of a network that was not trained for it.

use super::{Arm, Claim, Experiment, Must, Results, Unit, recipe};

/// The share of the multiply-accumulates that is left.
const MACS: f64 = 0.49;

fn training(epochs: usize, lr: f64) -> String {
    format!("{{ epochs = {epochs}, lr = {lr}, augment = {{ flip = true }} }}")
}

/// All arms have the same ranks: those of the budget for the input.
fn arm(name: &str, scheme: &str, how: &str) -> Option<String> {
    let stage = format!(
        "[[stage]]\nkind = \"trp\"\nscheme = \"{scheme}\"\nmacs = {MACS}\nrank-multiple = 4\n{how}"
    );
    Some(recipe(name, &stage))
}

fn trained(name: &str, scheme: &str, how: &str) -> Option<String> {
    let (low_rank, split) = (training(10, 0.05), training(8, 0.02));
    let how = format!("anneal = 0.4\n{how}training = {low_rank}\nfine-tune = {split}\n");
    arm(name, scheme, &how)
}

pub(super) fn experiment() -> Experiment {
    let arms = vec![
        Arm::new(
            "trp+nu",
            "projections and nuclear norm while training, the split into 3 × 1 and 1 × 3, training",
            |_| trained("TRP + Nu, spatial", "spatial", ""),
        ),
        Arm::new("svd", "the input split at the same ranks", |_| {
            arm("SVD", "spatial", "")
        }),
        Arm::new("svd+tune", "the same, then trained as long as TRP", |_| {
            let tune = format!("fine-tune = {}\n", training(18, 0.05));
            arm("SVD, then training", "spatial", &tune)
        }),
        Arm::new("trp", "projections alone", |_| {
            trained("TRP", "spatial", "nuclear = 0\n")
        }),
        Arm::new("nu", "nuclear norm alone", |_| {
            trained("Nu", "spatial", "project = false\n")
        }),
        Arm::new("channel", "TRP + Nu, split into 3 × 3 and 1 × 1", |_| {
            trained("TRP + Nu, channel-wise", "channel", "")
        }),
    ];
    let claims = vec![
        Claim {
            what: "fewer multiply-accumulates",
            paper: "ResNet-20, spatial: 2.84×",
            must: Must::AtLeast(2.0),
            figure: |r| r.fewer_macs("trp+nu"),
            unit: Unit::Times,
        },
        Claim {
            what: "accuracy lost",
            paper: "ResNet-20, spatial: 1.12 points",
            must: Must::AtMost(1.6),
            figure: |r| r.lost("trp+nu"),
            unit: Unit::Points,
        },
        Claim {
            what: "accuracy before the split minus after it",
            paper: "",
            must: Must::AtMost(0.3),
            figure: |r| gap(r, "trp+nu"),
            unit: Unit::Points,
        },
        Claim {
            what: "the split without training costs more, by",
            paper: "",
            must: Must::AtLeast(3.0),
            figure: |r| Some(gap(r, "svd")? - gap(r, "trp+nu")?),
            unit: Unit::Points,
        },
        Claim {
            what: "above SVD, then training",
            paper: "",
            must: Must::AtLeast(0.0),
            figure: |r| r.above("trp+nu", "svd+tune"),
            unit: Unit::Points,
        },
        Claim {
            what: "above projections alone",
            paper: "",
            must: Must::Told,
            figure: |r| r.above("trp+nu", "trp"),
            unit: Unit::Points,
        },
        Claim {
            what: "above the nuclear norm alone",
            paper: "",
            must: Must::Told,
            figure: |r| r.above("trp+nu", "nu"),
            unit: Unit::Points,
        },
        Claim {
            what: "fewer multiply-accumulates, channel-wise",
            paper: "ResNet-20: 2.17×",
            must: Must::AtLeast(2.0),
            figure: |r| r.fewer_macs("channel"),
            unit: Unit::Times,
        },
        Claim {
            what: "accuracy lost, channel-wise",
            paper: "ResNet-20: 1.24 points",
            must: Must::AtMost(1.6),
            figure: |r| r.lost("channel"),
            unit: Unit::Points,
        },
    ];
    Experiment {
        name: "trp",
        title: "TRP, trained rank pruning (arXiv 1812.02402, 2004.14566)",
        arms,
        claims,
    }
}

/// Accuracy just before the split minus just after it, in points.
fn gap(results: &Results, arm: &str) -> Option<f64> {
    let before = results.number(arm, 0, "accuracy before the split")?;
    Some(100.0 * (before - results.number(arm, 0, "accuracy after the split")?))
}
