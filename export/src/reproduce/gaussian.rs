//! BackSlash against plain training, L1 and L2, by what the weights take under the same coder at the same accuracy.

use super::{Arm, Claim, Experiment, Must, Results, Unit, recipe};

const TRAINING: &str = "{ epochs = 6, lr = 0.01 }";
/// Points of accuracy below plain training that the codes may cost.
const TOLERANCE: f64 = 0.5;

fn shrunk(name: &str, shape: &str) -> String {
    let stage = format!(
        "[[stage]]\nkind = \"backslash\"\nstrength = 2e-4\nshape = {shape}\ntraining = {TRAINING}\n"
    );
    recipe(name, &stage)
}

/// The weights as integers of this step, in deviations of each channel.
fn coded(step: f64) -> String {
    format!(
        "name = \"step {step}\"\n\n[[stage]]\nkind = \"quantize\"\nformat = \"int8\"\ngranularity = \"channel\"\nrelative-step = {step}\n"
    )
}

fn pruned() -> String {
    "name = \"pruned\"\n\n[[stage]]\nkind = \"prune\"\nfraction = 0.8\n".into()
}

/// The trained arms, each with its codes from fine to coarse.
const CODES: [(&str, [&str; 4]); 4] = [
    (
        "plain",
        ["plain-0.2", "plain-0.35", "plain-0.5", "plain-0.65"],
    ),
    ("gg", ["gg-0.2", "gg-0.35", "gg-0.5", "gg-0.65"]),
    ("l1", ["l1-0.2", "l1-0.35", "l1-0.5", "l1-0.65"]),
    ("l2", ["l2-0.2", "l2-0.35", "l2-0.5", "l2-0.65"]),
];

/// The fewest coded bytes of an arm's weights at `TOLERANCE` below plain training, on the straight lines between steps.
fn bytes(results: &Results, arm: &str) -> Option<f64> {
    let least = results.figures("plain")?.accuracy - TOLERANCE / 100.0;
    let (_, codes) = CODES.iter().find(|(a, _)| *a == arm)?;
    let point = |name: &&str| {
        let f = results.figures(name)?;
        Some((f.coded_bytes as f64, f.accuracy))
    };
    let points: Vec<(f64, f64)> = codes.iter().map(point).collect::<Option<_>>()?;
    let last = points.iter().rposition(|p| p.1 >= least)?;
    let (bytes, accuracy) = points[last];
    Some(match points.get(last + 1) {
        Some(&(fewer, worse)) => bytes + (fewer - bytes) * (accuracy - least) / (accuracy - worse),
        None => bytes,
    })
}

/// The share of coded bytes that `arm` saves against `other`.
fn saved(results: &Results, arm: &str, other: &str) -> Option<f64> {
    Some(1.0 - bytes(results, arm)? / bytes(results, other)?)
}

pub(super) fn experiment() -> Experiment {
    let mut arms = vec![
        Arm::new("plain", "training without a rate term", |_| {
            let stage = format!("[[stage]]\nkind = \"train\"\ntraining = {TRAINING}\n");
            Some(recipe("plain", &stage))
        }),
        Arm::new("gg", "BackSlash, each layer's shape estimated", |_| {
            Some(shrunk(
                "generalised Gaussian",
                "{ adaptive = { every = 100 } }",
            ))
        }),
        Arm::new("l1", "the same with shape 1", |_| {
            Some(shrunk("L1", "{ fixed = 1.0 }"))
        }),
        Arm::new("l2", "the same with shape 2", |_| {
            Some(shrunk("L2", "{ fixed = 2.0 }"))
        }),
    ];
    let steps: [fn(&Results) -> Option<String>; 4] = [
        |_| Some(coded(0.2)),
        |_| Some(coded(0.35)),
        |_| Some(coded(0.5)),
        |_| Some(coded(0.65)),
    ];
    for (from, names) in CODES {
        let coded = names.into_iter().zip(steps);
        let what = "its weights in codes of this step";
        arms.extend(coded.map(|(name, recipe)| Arm::new(name, what, recipe).from(from)));
    }
    for (from, name) in [("plain", "plain-pruned"), ("gg", "gg-pruned")] {
        let what = "its smallest 80 % of weights zero";
        arms.push(Arm::new(name, what, |_| Some(pruned())).from(from));
    }
    let claims = vec![
        Claim {
            what: "coded bytes saved against plain training, 0.5 points below it",
            paper: "language models: 60 to 90 % of memory, against 32 bits",
            must: Must::AtLeast(0.3),
            figure: |r| saved(r, "gg", "plain"),
            unit: Unit::Share,
        },
        Claim {
            what: "the same with L1",
            paper: "",
            must: Must::Told,
            figure: |r| saved(r, "l1", "plain"),
            unit: Unit::Share,
        },
        Claim {
            what: "the same with L2",
            paper: "",
            must: Must::Told,
            figure: |r| saved(r, "l2", "plain"),
            unit: Unit::Share,
        },
        Claim {
            what: "accuracy above plain training, as floats",
            paper: "",
            must: Must::AtLeast(-0.5),
            figure: |r| r.above("gg", "plain"),
            unit: Unit::Points,
        },
        Claim {
            what: "above plain training, 80 % pruned",
            paper: "survives 80 %, plain training degrades from 50 %",
            must: Must::AtLeast(0.0),
            figure: |r| r.above("gg-pruned", "plain-pruned"),
            unit: Unit::Points,
        },
    ];
    Experiment {
        name: "gaussian",
        title: "Generalised-Gaussian priors, BackSlash (arXiv 2504.16968, 2506.00486)",
        arms,
        claims,
    }
}
