//! MaskSparsity against a penalty on all channels, and against a mask that knows nothing.

use super::{Arm, Claim, Experiment, Must, RECOVERY, Results, Unit, finish, recipe};

/// The share of the multiply-accumulates that is left.
const MACS: f64 = 0.5;

/// Eight epochs that are divided as `how` says, the cut, and what brings accuracy back.
fn masked(name: &str, how: &str) -> String {
    let stage = format!(
        "[[stage]]\nkind = \"mask\"\nmacs = {MACS}\nchannel-multiple = 4\n{how}fine-tune = {RECOVERY}\n\n{}",
        finish(8)
    );
    recipe(name, &stage)
}

pub(super) fn experiment() -> Experiment {
    let arms = vec![
        Arm::new(
            "mask",
            "a sparse training finds the mask, a masked one empties what goes, the cut, training",
            |_| {
                let how = "score = \"relative-gamma\"\nsearch-strength = 0.005\nstrength = 1.0\npenalty = \"proximal\"\n\
                           search = { epochs = 2, lr = 0.01 }\ntraining = { epochs = 6, lr = 0.02 }\n";
                Some(masked("MaskSparsity", how))
            },
        ),
        Arm::new(
            "global-l1",
            "network slimming: the sparse training goes on, then the cut, training",
            |_| {
                let how = "score = \"relative-gamma\"\nsearch-strength = 0.005\nstart = \"search\"\nsearch = { epochs = 8, lr = 0.01 }\n";
                Some(masked("global L1", how))
            },
        ),
        Arm::new("random", "MaskSparsity with a random mask", |_| {
            let how = "score = \"random\"\nstrength = 1.0\npenalty = \"proximal\"\ntraining = { epochs = 8, lr = 0.02 }\n";
            Some(masked("random mask", how))
        }),
    ];
    let claims = vec![
        Claim {
            what: "multiply-accumulates removed",
            paper: "ResNet-110: 63.03 %",
            must: Must::AtLeast(0.5),
            figure: |r| Some(1.0 - 1.0 / r.fewer_macs("mask")?),
            unit: Unit::Share,
        },
        Claim {
            what: "accuracy lost",
            paper: "ResNet-110: none",
            must: Must::AtMost(1.5),
            figure: |r| r.lost("mask"),
            unit: Unit::Points,
        },
        Claim {
            what: "accuracy before the cut minus after it",
            paper: "",
            must: Must::AtMost(0.1),
            figure: |r| {
                let before = r.number("mask", 0, "accuracy before the cut")?;
                Some(100.0 * (before - r.number("mask", 0, "accuracy after the cut")?))
            },
            unit: Unit::Points,
        },
        Claim {
            what: "masked γ below 0.01 after the masked training",
            paper: "",
            must: Must::AtLeast(0.95),
            figure: |r| {
                let gamma = r.note("mask", 0, "gamma")?;
                Some(gamma["masked below 0.01"].as_f64()? / gamma["masked"].as_f64()?)
            },
            unit: Unit::Share,
        },
        Claim {
            what: "median γ of what stays, over that under the penalty on all",
            paper: "",
            must: Must::AtLeast(1.0),
            figure: |r| Some(kept(r, "mask")? / kept(r, "global-l1")?),
            unit: Unit::Times,
        },
        Claim {
            what: "above the penalty on all channels",
            paper: "",
            must: Must::AtLeast(0.0),
            figure: |r| r.above("mask", "global-l1"),
            unit: Unit::Points,
        },
        Claim {
            what: "above a random mask",
            paper: "",
            must: Must::Told,
            figure: |r| r.above("mask", "random"),
            unit: Unit::Points,
        },
    ];
    Experiment {
        name: "mask",
        title: "MaskSparsity (arXiv 2201.06776)",
        arms,
        claims,
    }
}

/// Median `|γ|` of the channels that stay, before the cut.
fn kept(results: &Results, arm: &str) -> Option<f64> {
    results.note(arm, 0, "gamma")?["kept median"].as_f64()
}
