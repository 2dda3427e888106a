//! RF8 weights against other formats of eight bits.

use super::{Arm, Claim, Experiment, Must, Results, Unit};

fn format(format: &str, training: &str) -> Option<String> {
    Some(format!(
        "name = \"{format}\"\n\n[[stage]]\nkind = \"quantize\"\nformat = \"{format}\"\n{training}"
    ))
}

pub(super) fn experiment() -> Experiment {
    let arms = vec![
        Arm::new("rf8", "weights rounded to RF8, biases corrected", |_| {
            format("rf8", "")
        }),
        Arm::new("rf8-biased", "the same without the correction", |_| {
            format("rf8", "correct-bias = false\n")
        }),
        Arm::new("int8", "to int8", |_| format("int8", "")),
        Arm::new("e4m3", "to E4M3", |_| format("e4m3", "")),
        Arm::new("e3m4", "to E3M4", |_| format("e3m4", "")),
        Arm::new(
            "rf8+training",
            "to RF8, with an epoch of training for it",
            |_| {
                let training =
                    "training = { epochs = 1, lr = 0.0005, augment = { flip = true, crop = 4 } }\n";
                format("rf8", training)
            },
        ),
    ];
    let above = |what, figure: fn(&Results) -> Option<f64>| Claim {
        what,
        paper: "",
        must: Must::Told,
        figure,
        unit: Unit::Points,
    };
    let claims = vec![
        Claim {
            what: "accuracy lost, weights only, no training",
            paper: "none",
            must: Must::AtMost(0.3),
            figure: |r| r.lost("rf8"),
            unit: Unit::Points,
        },
        above("above int8", |r| r.above("rf8", "int8")),
        above("above E4M3", |r| r.above("rf8", "e4m3")),
        above("above E3M4", |r| r.above("rf8", "e3m4")),
        above("the correction of biases gains", |r| {
            r.above("rf8", "rf8-biased")
        }),
        above("an epoch of training gains", |r| {
            r.above("rf8+training", "rf8")
        }),
    ];
    Experiment {
        name: "rf8",
        title: "RF8, the 8-bit residual floating-point format (arXiv 2506.00486)",
        arms,
        claims,
    }
}
