//! TRP against the decomposition of a network that was not trained for it.

use super::{Arm, Claim, Experiment, Must, Results, Unit, recipe};

/// The share of the multiply-accumulates that is left.
const MACS: f64 = 0.49;
const TRAINING: &str = "{ epochs = 16, lr = 0.02 }";

fn trained(name: &str, scheme: &str, how: &str, training: &str) -> Option<String> {
    let stage = format!(
        "[[stage]]\nkind = \"trp\"\nscheme = \"{scheme}\"\nmacs = {MACS}\nanneal = 0.5\n{how}training = {training}\n"
    );
    Some(recipe(name, &stage))
}

/// A split by the ranks that TRP has come to.
fn same_ranks(name: &str, results: &Results, then: &str) -> Option<String> {
    let layers = results.note("trp+nu", 0, "layers")?.as_array()?;
    let split = layers.iter().filter(|l| l["split"] == true);
    let ranks: Vec<String> = split
        .filter_map(|l| Some(format!("{} = {}", l["name"], l["rank"].as_u64()?)))
        .collect();
    let stage = format!(
        "[[stage]]\nkind = \"trp\"\nscheme = \"spatial\"\nranks = {{ {} }}\n{then}",
        ranks.join(", ")
    );
    Some(recipe(name, &stage))
}

pub(super) fn experiment() -> Experiment {
    let arms = vec![
        Arm::new(
            "trp+nu",
            "projections and nuclear norm while training, then the split into 3 × 1 and 1 × 3",
            |_| trained("TRP + Nu, spatial", "spatial", "", TRAINING),
        ),
        Arm::new("svd", "the input split at TRP's ranks", |r| {
            same_ranks("SVD", r, "")
        })
        .needing(&["trp+nu"]),
        Arm::new("svd+tune", "the same, then trained as long as TRP", |r| {
            same_ranks(
                "SVD, then training",
                r,
                &format!("fine-tune = {TRAINING}\n"),
            )
        })
        .needing(&["trp+nu"]),
        Arm::new("trp", "projections alone", |_| {
            trained("TRP", "spatial", "nuclear = 0\n", TRAINING)
        }),
        Arm::new("nu", "nuclear norm alone", |_| {
            trained("Nu", "spatial", "project = false\n", TRAINING)
        }),
        Arm::new(
            "channel",
            "TRP + Nu, split into 3 × 3 and 1 × 1, half as long",
            |_| trained("TRP + Nu", "channel", "", "{ epochs = 8, lr = 0.01 }"),
        ),
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
