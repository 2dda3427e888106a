//! All together: one recipe, from the trained network to a small int8 one.

use super::{Arm, Claim, Experiment, Must, Unit};

/// The recipe, as users have it.
const RECIPE: &str = include_str!("../../recipes/resnet8-cifar10-small.toml");

pub(super) fn experiment() -> Experiment {
    let arms = vec![
        Arm::new("int8", "the input in int8, without training", |_| {
            Some(
                "name = \"int8\"\n\n[[stage]]\nkind = \"quantize\"\nformat = \"int8\"\nactivations = \"int8\"\n"
                    .into(),
            )
        }),
        Arm::new("small", "export/recipes/resnet8-cifar10-small.toml", |_| {
            Some(RECIPE.into())
        }),
    ];
    let claims = vec![
        Claim {
            what: "fewer bytes of weights, coded, than int8's as they are",
            paper: "",
            must: Must::AtLeast(4.0),
            figure: |r| {
                let (whole, small) = (r.figures("int8")?, r.figures("small")?);
                Some(whole.weight_bytes as f64 / small.coded_bytes as f64)
            },
            unit: Unit::Times,
        },
        Claim {
            what: "the same, with int8's coded, too",
            paper: "",
            must: Must::Told,
            figure: |r| {
                let (whole, small) = (r.figures("int8")?, r.figures("small")?);
                Some(whole.coded_bytes as f64 / small.coded_bytes as f64)
            },
            unit: Unit::Times,
        },
        Claim {
            what: "fewer multiply-accumulates",
            paper: "",
            must: Must::AtLeast(2.0),
            figure: |r| r.fewer_macs("small"),
            unit: Unit::Times,
        },
        Claim {
            what: "accuracy lost, in int8",
            paper: "",
            must: Must::AtMost(1.5),
            figure: |r| r.lost("small"),
            unit: Unit::Points,
        },
    ];
    Experiment {
        name: "small",
        title: "All together: the smallest int8 network",
        arms,
        claims,
    }
}
