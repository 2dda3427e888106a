//! `kinglet compare`: both models' figures are those that they have alone, and layers find each other.

use kinglet_tests::command::kinglet;
use serde_json::Value;
use std::path::{Path, PathBuf};

const PROGRAM: &str = env!("CARGO_BIN_EXE_kinglet-tested");

fn model(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("models")
        .join(name)
}

fn run(words: &[&str], files: &[(&str, PathBuf)]) -> kinglet_tests::command::Done {
    let mut all: Vec<String> = words.iter().map(|&w| w.to_owned()).collect();
    for (option, path) in files {
        all.extend((!option.is_empty()).then(|| (*option).to_owned()));
        all.push(path.display().to_string());
    }
    kinglet(PROGRAM, all)
}

#[test]
fn figures_are_those_of_either_model_alone() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["digits.onnx", "digits_int8.onnx"];
    let page = folder.path().join("page.html");
    let result = run(
        &["compare", "--json"],
        &[
            ("", model(names[0])),
            ("", model(names[1])),
            ("--input", model("digits_images.npy")),
            ("--labels", model("digits_labels.npy")),
            ("-o", page.clone()),
        ],
    )
    .json();
    for (side, name) in ["a", "b"].into_iter().zip(names) {
        let plan = folder.path().join("plan.kinglet");
        let alone = run(
            &["compile", "--target", "cortex-m4f", "--json"],
            &[("", model(name)), ("-o", plan)],
        )
        .json();
        for field in [
            "macs",
            "plan_bytes",
            "arena_bytes",
            "instructions_predicted",
        ] {
            assert_eq!(result[side][field], alone[field], "{name}: {field}");
        }
        let report = run(
            &["report", "--json"],
            &[
                ("", model(name)),
                ("--input", model("digits_images.npy")),
                ("--labels", model("digits_labels.npy")),
                ("-o", folder.path().join("report.html")),
            ],
        )
        .json();
        assert_eq!(result[side]["accuracy"], report["accuracy"], "{name}");
    }
    let html = std::fs::read_to_string(page).unwrap();
    for text in [
        "digits.onnx and digits_int8.onnx",
        "plan, bytes",
        "<h2>Layers</h2>",
    ] {
        assert!(html.contains(text), "{text}");
    }
}

#[test]
fn layers_of_the_same_name_correspond() {
    let layers = |a: &str, b: &str| -> Vec<Value> {
        let files = [("", model(a)), ("", model(b))];
        let result = run(&["compare", "--json"], &files).json();
        result["layers"].as_array().unwrap().clone()
    };
    let same = layers("digits_int8.onnx", "digits_int8.onnx");
    assert!(!same.is_empty() && same.iter().all(|l| l["a"] == l["b"]));
    let other = layers("digits.onnx", "digits_int8.onnx");
    let macs = |l: &Value| [l["a"]["macs"].as_u64(), l["b"]["macs"].as_u64()];
    let twins = other
        .iter()
        .filter(|l| matches!(macs(l), [Some(1..), Some(1..)]));
    assert!(twins.clone().count() >= 2, "{other:?}");
    assert!(twins.map(macs).all(|[a, b]| a == b));
}

#[test]
fn ratios_and_points_are_of_the_second_to_the_first() {
    let files = [
        ("", model("digits.onnx")),
        ("", model("digits_int8.onnx")),
        ("--input", model("digits_images.npy")),
        ("--labels", model("digits_labels.npy")),
    ];
    let done = run(&["compare"], &files);
    assert!(done.succeeded, "{done:?}");
    let line = |what: &str| {
        let line = done.stdout.lines().find(|l| l.contains(what));
        line.unwrap_or_else(|| panic!("{what}: {}", done.stdout))
            .to_owned()
    };
    let numbers = |what: &str| -> Vec<f64> {
        let cells = line(what);
        let cells = cells.split(['│', '┆']).map(|c| c.trim().replace(',', ""));
        cells.filter_map(|c| c.parse().ok()).collect()
    };
    let plan = numbers("plan, bytes");
    assert!(
        plan[1] < plan[0] && (plan[1] / plan[0] - plan[2]).abs() < 0.006,
        "{plan:?}"
    );
    assert!(line("accuracy of").contains("points"));
}
