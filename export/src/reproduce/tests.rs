//! The experiments themselves: recipes that can be run, claims that know their arms, runs that resume.

use super::*;
use crate::compress::recipe::Stage;
use crate::compress::run::{Figures, Record, StageRecord};
use crate::compress::testing::{quarters, quarters_network};
use crate::onnx::write;
use serde_json::json;

/// A record with the notes that recipes and claims ask for.
fn record(accuracy: f64, macs: u64) -> Record {
    let figures = |accuracy, macs| Figures {
        accuracy,
        loss: 0.4,
        macs,
        parameters: macs / 100,
        weight_bytes: 4000,
        coded_bytes: macs / 1000,
    };
    let notes = json!({
        "layers": [
            { "name": "a", "rank": 3, "of": 16, "split": true },
            { "name": "b", "rank": 9, "of": 16, "split": false },
        ],
        "gamma": { "masked": 40, "masked below 0.01": 39, "kept median": 0.8 },
        "open share of gateable MACs": 0.4,
        "consensus rate": 1.0,
        "accuracy before the split": 0.861, "accuracy after the split": 0.86,
        "accuracy before the cut": 0.851, "accuracy after the cut": 0.85,
    });
    Record {
        recipe: "test".into(),
        input: figures(0.87, 10_000_000),
        stages: vec![StageRecord {
            kind: "train".into(),
            figures: figures(accuracy, macs),
            seconds: 1.0,
            warnings: Vec::new(),
            notes: notes.as_object().cloned().unwrap_or_default(),
        }],
    }
}

#[test]
fn every_recipe_is_one_and_every_claim_has_its_figure() {
    for experiment in Experiment::all() {
        let mut results = Results::default();
        for arm in &experiment.arms {
            let earlier = |name: &&str| results.record(name).is_some();
            assert!(
                arm.needs.iter().chain(&arm.from).all(earlier),
                "{}",
                arm.name
            );
            let text = (arm.recipe)(&results).expect("a recipe");
            let parsed = Recipe::parse(&text, arm.name);
            assert!(
                parsed.is_ok(),
                "{}: {:?}",
                arm.name,
                parsed.err().map(|e| e.to_string())
            );
            results.add(arm.name, record(0.865, 4_900_000));
        }
        let findings = experiment.findings(&[results.clone(), results]);
        assert_eq!(
            findings.len(),
            experiment.claims.len(),
            "{}",
            experiment.name
        );
        // Without arms there is nothing to say.
        assert!(experiment.findings(&[Results::default()]).is_empty());
        assert!(experiment.findings(&[]).is_empty());
    }
    assert!(Experiment::named("trp").is_some() && Experiment::named("none").is_none());
}

/// Which those are follows from the budget and the input alone.
#[test]
fn post_hoc_splits_have_the_ranks_of_the_trained_one() {
    let experiment = Experiment::named("trp").expect("it");
    let stage = |name: &str| {
        let arm = experiment.arms.iter().find(|a| a.name == name);
        let text = (arm.expect("an arm").recipe)(&Results::default()).expect("a recipe");
        let recipe = Recipe::parse(&text, name).expect("parses");
        match recipe.stages.into_iter().next() {
            Some(Stage::Trp(stage)) => stage,
            other => panic!("{name}: {other:?}"),
        }
    };
    let trained = stage("trp+nu");
    assert!(trained.rule.is_none() && trained.training.is_some());
    for name in ["svd", "svd+tune"] {
        let post_hoc = stage(name);
        assert!(post_hoc.training.is_none());
        assert_eq!(
            (post_hoc.scheme, post_hoc.macs, post_hoc.rank_multiple),
            (trained.scheme, trained.macs, trained.rank_multiple)
        );
    }
}

#[test]
fn claims_are_judged_by_the_mean_over_seeds() {
    let experiment = Experiment::named("trp").expect("it");
    let of = |accuracy| {
        let mut results = Results::default();
        results.add("trp+nu", record(accuracy, 4_900_000));
        results
    };
    let findings = experiment.findings(&[of(0.86), of(0.85)]);
    let lost = findings
        .iter()
        .find(|f| f.claim.starts_with("accuracy lost"))
        .expect("it");
    assert!((lost.mean - 1.5).abs() < 1e-9 && lost.holds == Some(true));
    assert_eq!(lost.figure, "1.50 points (1.00 points to 2.00 points)");
    let lost = &experiment.findings(&[of(0.86), of(0.84)])[1];
    assert_eq!(lost.holds, Some(false));
}

#[test]
fn coded_bytes_are_compared_at_one_accuracy() {
    let experiment = Experiment::named("gaussian").expect("it");
    let mut results = Results::default();
    for arm in &experiment.arms {
        // Plain: 0.87, 0.868, 0.862, 0.85 at 8, 6, 4, 3 kB. The prior: as accurate with half of the bytes.
        let (step, half) = (arm.name.rsplit('-').next(), arm.name.starts_with("gg"));
        let (accuracy, macs) = match step {
            Some("0.2") => (0.87, 8_000_000),
            Some("0.35") => (0.868, 6_000_000),
            Some("0.5") => (0.862, 4_000_000),
            Some("0.65") => (0.85, 3_000_000),
            _ => (0.87, 10_000_000),
        };
        results.add(
            arm.name,
            record(accuracy, if half { macs / 2 } else { macs }),
        );
    }
    let findings = experiment.findings(&[results]);
    assert!(
        (findings[0].mean - 0.5).abs() < 1e-9,
        "{}",
        findings[0].mean
    );
    assert!(findings[1].mean.abs() < 1e-9);
}

/// Formats need no training, so the whole of this one can be run here.
#[test]
fn a_trial_runs_its_arms_once_and_says_what_is_missing() {
    let place = tempfile::tempdir().expect("a folder");
    let model = place.path().join("model.onnx");
    write::write(&quarters_network(), &model).expect("written");
    let (data, stop) = (quarters(), AtomicBool::new(false));
    let run = |name: &str, only: &[&str]| {
        let experiment = Experiment::named(name).expect("it");
        let only: Vec<String> = only.iter().map(|&n| n.to_owned()).collect();
        let mut trained = 0;
        let results = Trial {
            experiment: &experiment,
            model: &model,
            data: &data,
            scaling: Scaling::Centered,
            folder: place.path(),
            seed: 3,
            epochs_scale: 1.0,
            only: &only,
            stop: &stop,
        }
        .run(&mut |_, event| trained += usize::from(matches!(event, Event::Training { .. })));
        (results, trained)
    };
    let (first, _) = run("rf8", &["rf8", "int8"]);
    let first = first.expect("run").expect("finished");
    assert!(first.figures("rf8").is_some() && first.figures("e4m3").is_none());
    let (all, trained) = run("rf8", &[]);
    let all = all.expect("run").expect("finished");
    assert!(trained > 0 && all.record("rf8") == first.record("rf8"));
    let experiment = Experiment::named("rf8").expect("it");
    assert_eq!(
        experiment.findings(std::slice::from_ref(&all)).len(),
        experiment.claims.len()
    );
    assert_eq!(
        rows::arms(&experiment, &[(3, all)]).len(),
        1 + experiment.arms.len()
    );
    // Nothing is trained again.
    assert_eq!(run("rf8", &[]).1, 0);
    let message = |(result, _): (Result<Option<Results>, ReproduceError>, usize)| {
        result.err().map(|e| e.to_string()).unwrap_or_default()
    };
    assert!(message(run("rf8", &["rf9"])).contains("no arm `rf9`"));
    assert!(message(run("gate", &["random"])).starts_with("arm `random` needs `gated`"));
    assert!(message(run("gaussian", &["gg-0.5"])).starts_with("arm `gg-0.5` needs `gg`"));
}
