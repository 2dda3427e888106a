//! What a schema cannot say: ranges, orders, conflicts, budgets.

use super::Located;
use super::error::{Place, RecipeError};
use super::schema::{Gate, GateUnits, Stage};
use super::training::{LrSchedule, Training};
use crate::compress::formats::WeightFormat;
use crate::compress::mask::{Rule, Scope};
use crate::compress::trp::RankRule;

/// A key and what is wrong with it.
type Finding = (&'static str, String);

pub(super) fn check(stages: &[Located], place: &Place<'_>) -> Result<(), RecipeError> {
    for (i, located) in stages.iter().enumerate() {
        let before: Vec<&Stage> = stages[..i].iter().map(|l| &l.stage).collect();
        let found = trainings(&located.stage)
            .or_else(|| numbers(&located.stage).map(|(key, message)| (key.to_owned(), message)))
            .or_else(|| order(&located.stage, &before).map(|message| ("kind".to_owned(), message)))
            .or_else(|| {
                budget(&located.stage, &before).map(|message| ("macs".to_owned(), message))
            });
        if let Some((key, message)) = found {
            // A key that is not there got its value from a default: then the stage itself is the place.
            let known = located.keys.iter().find(|(k, _)| *k == key);
            let span = known.map_or_else(|| located.span.clone(), |(_, span)| span.clone());
            return Err(place.error(span, format!("{} stage: {message}", located.stage.kind())));
        }
    }
    Ok(())
}

fn outside(key: &'static str, value: f64, valid: bool, range: &str) -> Option<Finding> {
    (!valid).then(|| (key, format!("`{key}` is {value}, it must be {range}")))
}

fn share(key: &'static str, value: f64) -> Option<Finding> {
    outside(
        key,
        value,
        value > 0.0 && value < 1.0,
        "above 0 and below 1",
    )
}

fn positive(key: &'static str, value: f64) -> Option<Finding> {
    outside(key, value, value > 0.0 && value.is_finite(), "above 0")
}

fn not_negative(key: &'static str, value: f64) -> Option<Finding> {
    outside(key, value, value >= 0.0 && value.is_finite(), "0 or more")
}

fn first<const N: usize>(findings: [Option<Finding>; N]) -> Option<Finding> {
    findings.into_iter().flatten().next()
}

fn trainings(stage: &Stage) -> Option<(String, String)> {
    stage.trainings().into_iter().find_map(|(name, training)| {
        let (key, message) = training_numbers(training)?;
        Some((format!("{name}.{key}"), format!("{name}: {message}")))
    })
}

fn training_numbers(t: &Training) -> Option<Finding> {
    let epochs = t.epochs;
    let too_long = |key, value: usize| {
        (value > epochs).then(|| (key, format!("`{key}` is {value} of {epochs} epochs")))
    };
    let steps = || match &t.schedule {
        LrSchedule::Step { at, factor } => {
            let ascending =
                at.windows(2).all(|w| w[0] < w[1]) && at.iter().all(|&e| e > 0 && e < epochs);
            let message = format!(
                "`schedule.step.at` is {at:?}; epochs ascend, from 1 to {}",
                epochs.saturating_sub(1)
            );
            let wrong = (!ascending).then_some(("schedule", message));
            wrong.or_else(|| share("factor", *factor).map(|(_, m)| ("schedule", m)))
        }
        _ => None,
    };
    let distill = || {
        let d = t.distill.as_ref()?;
        let valid = d.weight > 0.0 && d.weight <= 1.0;
        outside("distill.weight", d.weight, valid, "above 0 and at most 1")
            .or_else(|| positive("distill.temperature", d.temperature))
    };
    first([
        (epochs == 0).then(|| {
            (
                "epochs",
                "`epochs` is 0; leave the training out instead".into(),
            )
        }),
        positive("lr", t.lr),
        too_long("warmup-epochs", t.warmup_epochs),
        (t.batch == 0).then(|| ("batch", "`batch` is 0".into())),
        outside(
            "momentum",
            t.momentum,
            (0.0..1.0).contains(&t.momentum),
            "0 or more and below 1",
        ),
        not_negative("weight-decay", t.weight_decay),
        not_negative("augment.mixup", t.augment.mixup),
        steps(),
        distill(),
    ])
}

fn rank_rule(key: &'static str, rule: RankRule) -> Option<Finding> {
    match rule {
        RankRule::Energy(x) | RankRule::Linear(x) => {
            outside(key, x, x > 0.0 && x <= 1.0, "above 0 and at most 1")
        }
        RankRule::RelativeValue(x) => share(key, x),
        RankRule::Value(x) => positive(key, x),
        RankRule::Fixed(r) => (r == 0).then(|| (key, format!("`{key}`: a rank is at least 1"))),
    }
}

/// Exactly one way to say what goes.
fn one_of(ways: &[(&'static str, bool)]) -> Option<Finding> {
    let given: Vec<&str> = ways.iter().filter(|w| w.1).map(|w| w.0).collect();
    match given[..] {
        [_] => None,
        [] => {
            let names: Vec<String> = ways.iter().map(|w| format!("`{}`", w.0)).collect();
            Some(("kind", format!("it says neither {}", names.join(" nor "))))
        }
        [first, second, ..] => {
            let key = ways.iter().find(|w| w.1).map_or("kind", |w| w.0);
            let message = format!("`{first}` and `{second}` both say what goes: leave one out");
            Some((key, message))
        }
    }
}

fn numbers(stage: &Stage) -> Option<Finding> {
    match stage {
        Stage::Train(s) => s.initialize.as_ref().and_then(|i| {
            outside(
                "initialize.shape",
                i.shape,
                (0.1..=3.0).contains(&i.shape),
                "0.1 to 3",
            )
        }),
        Stage::Mask(s) => first([
            one_of(&[("rule", s.rule.is_some()), ("macs", s.macs.is_some())]),
            s.macs.and_then(|m| share("macs", m)),
            match s.rule {
                Some(Rule::Threshold(th)) => positive("rule", th.into()),
                Some(Rule::Ot(p)) => share("rule", p.into()),
                None => None,
            },
            positive("strength", s.strength),
            s.search_strength
                .and_then(|x| positive("search-strength", x)),
            (s.min_channels == 0).then(|| ("min-channels", "`min-channels` is at least 1".into())),
        ]),
        Stage::Gate(s) => first([share("keep", s.keep), gate_times(s)]),
        Stage::Trp(s) => first([
            one_of(&[
                ("split", s.split.is_some()),
                ("ranks", s.ranks.is_some()),
                ("macs", s.macs.is_some()),
            ]),
            s.macs.and_then(|m| share("macs", m)),
            s.split.and_then(|r| rank_rule("split", r)),
            s.rule.and_then(|r| rank_rule("rule", r)),
            (s.every == 0).then(|| ("every", "`every` is at least 1".into())),
            not_negative("nuclear", s.nuclear),
            outside(
                "anneal",
                s.anneal,
                (0.0..=1.0).contains(&s.anneal),
                "0 to 1",
            ),
            (s.training.is_some() && !s.project && s.nuclear == 0.0).then(|| {
                (
                    "project",
                    "with neither projection nor nuclear norm this is plain training".into(),
                )
            }),
        ]),
        Stage::Backslash(s) => first([
            positive("strength", s.strength),
            not_negative("epsilon", s.epsilon),
            match s.shape {
                super::ShapeChoice::Fixed(nu) => {
                    outside("shape", nu, (0.1..=3.0).contains(&nu), "0.1 to 3")
                }
                super::ShapeChoice::Adaptive { every } => {
                    (every == 0).then(|| ("shape", "`shape.adaptive.every` is at least 1".into()))
                }
            },
        ]),
        Stage::DeepShape(s) => first([
            positive("relative-step", s.relative_step),
            positive("shape-factor", s.shape_factor),
            positive("scale-factor", s.scale_factor),
        ]),
        Stage::Prune(s) => share("fraction", s.fraction),
        Stage::Quantize(s) => first([
            not_negative("relative-step", s.relative_step),
            (s.relative_step > 0.0 && s.format != WeightFormat::Int8).then(|| {
                (
                    "relative-step",
                    format!(
                        "`relative-step` is for int8 weights; {} has no even steps",
                        s.format.name()
                    ),
                )
            }),
        ]),
    }
}

fn gate_times(s: &Gate) -> Option<Finding> {
    let t = &s.schedule;
    let ordered = 0.0 <= t.open_until
        && t.open_until <= t.ramp_until
        && t.ramp_until <= t.freeze_at
        && t.freeze_at <= 1.0;
    first([
        (!ordered).then(|| {
            (
                "schedule",
                "0 ≤ `open-until` ≤ `ramp-until` ≤ `freeze-at` ≤ 1 does not hold".into(),
            )
        }),
        not_negative("schedule.lambda-act", t.lambda_act),
        not_negative("schedule.lambda-pol", t.lambda_pol),
    ])
}

/// Structure, rank, rate, number format.
fn rank(stage: &Stage) -> u8 {
    match stage {
        Stage::Train(_) => 0,
        Stage::Mask(_) | Stage::Gate(_) => 1,
        Stage::Trp(_) => 2,
        Stage::Backslash(_) | Stage::DeepShape(_) | Stage::Prune(_) => 3,
        Stage::Quantize(_) => 4,
    }
}

fn order(stage: &Stage, before: &[&Stage]) -> Option<String> {
    let late = before
        .iter()
        .find(|b| rank(b) > rank(stage) && !matches!(stage, Stage::Train(_)));
    if let Some(late) = late {
        let why = match (stage, late) {
            (Stage::Mask(_) | Stage::Gate(_), Stage::Trp(_)) => {
                "a split convolution has inner channels without normalisation, which only its rank can reduce"
            }
            (Stage::Mask(_) | Stage::Gate(_), _) => {
                "channels that go must not count in the weights' distribution"
            }
            (_, Stage::Quantize(_)) => "the number format is fixed by then",
            (Stage::Trp(_), _) => {
                "shrinking or reshaping single weights raises the rank: split first"
            }
            _ => "it would undo it",
        };
        return Some(format!("it must come before `{}`: {why}", late.kind()));
    }
    if let Stage::Train(train) = stage {
        if let Some(b) = before
            .iter()
            .find(|b| !matches!(b, Stage::Train(_)))
            .filter(|_| train.initialize.is_some())
        {
            return Some(format!(
                "`initialize` after `{}` would forget what that has trained",
                b.kind()
            ));
        }
        if before
            .iter()
            .any(|b| matches!(b, Stage::Quantize(_) | Stage::Prune(_)))
        {
            return Some(
                "plain training after `prune` or `quantize` undoes it: use their own `training`"
                    .into(),
            );
        }
    }
    let inner = |s: &&&Stage| match s {
        Stage::Gate(g) => g.units == GateUnits::Channels,
        Stage::Mask(m) => m.scope != Scope::Residual,
        _ => false,
    };
    let rival = before
        .iter()
        .filter(inner)
        .find(|b| b.kind() != stage.kind());
    if let (Some(rival), true) = (rival, inner(&&stage)) {
        return Some(format!(
            "it and `{}` decide on the same inner channels: gate blocks, or mask residual streams only",
            rival.kind()
        ));
    }
    let twice = matches!(stage, Stage::Trp(_) | Stage::Quantize(_) | Stage::Gate(_));
    (twice && before.iter().any(|b| b.kind() == stage.kind()))
        .then(|| "there is one already".into())
}

/// Budgets are shares of the input model: each must leave less than the one before.
fn budget(stage: &Stage, before: &[&Stage]) -> Option<String> {
    let macs = |s: &Stage| match s {
        Stage::Mask(m) => m.macs,
        Stage::Trp(t) => t.macs,
        _ => None,
    };
    let (now, earlier) = (
        macs(stage)?,
        before
            .iter()
            .rev()
            .find_map(|b| Some((b.kind(), macs(b)?)))?,
    );
    (now >= earlier.1).then(|| {
        format!(
            "`macs` is {now} of the input model, but `{}` leaves {} already",
            earlier.0, earlier.1
        )
    })
}
