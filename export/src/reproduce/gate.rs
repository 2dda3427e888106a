//! Consensus gating against gates that need not agree, and against channels that nobody has chosen.

use super::{Arm, Claim, Experiment, Must, RECOVERY, Results, Unit, finish, recipe};

const EPOCHS: usize = 8;

fn gated(name: &str, polarisation: f64) -> String {
    let stage = format!(
        "[[stage]]\nkind = \"gate\"\nunits = \"channels\"\nkeep = 0.46\n\
         schedule = {{ lambda-act = 100, lambda-pol = {polarisation} }}\n\
         training = {{ epochs = {EPOCHS}, lr = 0.01 }}\nfine-tune = {RECOVERY}\n\n{}",
        finish(5)
    );
    recipe(name, &stage)
}

/// As many multiply-accumulates as gating has left, on random inner channels.
fn random(results: &Results) -> Option<String> {
    let share = results.figures("gated")?.macs as f64 / results.input("gated")?.macs as f64;
    let stage = format!(
        "[[stage]]\nkind = \"train\"\ntraining = {{ epochs = {EPOCHS}, lr = 0.01 }}\n\n\
         [[stage]]\nkind = \"mask\"\nscope = \"inner\"\nscore = \"random\"\nmacs = {share:.4}\n\
         fine-tune = {RECOVERY}\n\n{}",
        finish(5)
    );
    Some(recipe("random channels", &stage))
}

pub(super) fn experiment() -> Experiment {
    let arms = vec![
        Arm::new(
            "gated",
            "gates on inner channels, with polarisation; what is closed goes; training",
            |_| Some(gated("gates", 1.0)),
        ),
        Arm::new("no-polarisation", "the same without it", |_| {
            Some(gated("gates without polarisation", 0.0))
        }),
        Arm::new(
            "random",
            "trained as long, without gates; then as many random channels go",
            random,
        )
        .needing(&["gated"]),
    ];
    let removed = |r: &Results| Some(1.0 - r.number("gated", 0, "open share of gateable MACs")?);
    let claims = vec![
        Claim {
            what: "gateable connections removed",
            paper: "50 %",
            must: Must::AtLeast(0.5),
            figure: removed,
            unit: Unit::Share,
        },
        Claim {
            what: "accuracy lost",
            paper: "less than 1 point",
            must: Must::AtMost(1.5),
            figure: |r| r.lost("gated"),
            unit: Unit::Points,
        },
        Claim {
            what: "gates that nearly all samples agree on",
            paper: "",
            must: Must::AtLeast(0.95),
            figure: |r| r.number("gated", 0, "consensus rate"),
            unit: Unit::Share,
        },
        Claim {
            what: "the same without polarisation",
            paper: "",
            must: Must::Told,
            figure: |r| r.number("no-polarisation", 0, "consensus rate"),
            unit: Unit::Share,
        },
        Claim {
            what: "above no polarisation",
            paper: "",
            must: Must::Told,
            figure: |r| r.above("gated", "no-polarisation"),
            unit: Unit::Points,
        },
        Claim {
            what: "above random channels",
            paper: "",
            must: Must::AtLeast(0.0),
            figure: |r| r.above("gated", "random"),
            unit: Unit::Points,
        },
    ];
    Experiment {
        name: "gate",
        title: "Consensus gating (after arXiv 2302.10798)",
        arms,
        claims,
    }
}
