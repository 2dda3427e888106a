//! `kinglet bench --against`: rivals in processes of their own, a false one that this test writes and, where CI has it, a real one.

use kinglet_export::onnx::write;
use kinglet_tests::networks::classifier;
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

const PROGRAM: &str = env!("CARGO_BIN_EXE_kinglet-tested");

/// A program in the place of Python, which says that it is ready with this, and then that every inference takes 3 µs.
fn false_rival(folder: &Path, ready: &str) -> std::path::PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let path = folder.join("rival");
    let lines =
        format!("#!/bin/sh\necho '{ready}'\nwhile read count; do echo $((count * 3000)); done\n");
    fs::write(&path, lines).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn bench(model: &Path, python: &Path, rivals: &str) -> Output {
    let mut command = Command::new(PROGRAM);
    command
        .env("KINGLET_RIVALS_PYTHON", python)
        .arg("bench")
        .arg(model);
    command.args(["--host", "--runs", "5", "--json", "--against", rivals]);
    command.output().unwrap()
}

fn json(output: &Output) -> Value {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn rivals_take_turns_and_what_fails_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model.onnx");
    write::write(&classifier(true), &model).unwrap();
    let rival = false_rival(folder.path(), r#"{"version":"7","output":[1,2,3,9,4]}"#);
    let found = json(&bench(&model, &rival, "onnxruntime,litert"));
    let ours = found["ours_us"].as_f64().unwrap();
    assert!(ours > 0.0);
    assert_eq!(found["rivals"]["onnxruntime"], 3.0);
    let (ratio, details) = (
        found["ratio_to_best"].as_f64().unwrap(),
        &found["details"]["onnxruntime"],
    );
    assert!((ratio / (ours / 3.0) - 1.0).abs() < 0.01, "{found}");
    let share = found["share_of_peak"].as_f64();
    assert_eq!(share.is_some(), cfg!(target_arch = "x86_64"));
    assert!(
        share.is_none_or(|share| share > 0.0 && share < 1.0),
        "{found}"
    );
    assert_eq!(
        (details["version"].as_str(), found["best"].as_str()),
        (Some("7"), Some("onnxruntime"))
    );
    // There is no file that LiteRT could read.
    assert!(
        found["failed"]["litert"]
            .as_str()
            .unwrap()
            .contains("--tflite"),
        "{found}"
    );

    let rival = false_rival(folder.path(), r#"{"failed":"cannot read this"}"#);
    let found = json(&bench(&model, &rival, "onnxruntime"));
    assert_eq!(found["failed"]["onnxruntime"], "cannot read this");
    assert_eq!(found["ratio_to_best"], Value::Null);
}

#[test]
fn a_rival_that_dies_is_no_rival() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model.onnx");
    write::write(&classifier(true), &model).unwrap();
    let found = json(&bench(&model, Path::new("/bin/true"), "onnxruntime"));
    assert!(
        found["failed"]["onnxruntime"]
            .as_str()
            .unwrap()
            .contains("ended"),
        "{found}"
    );
}

#[test]
fn onnx_runtime_agrees_and_is_measured() {
    let Some(python) = std::env::var_os("KINGLET_PYTHON") else {
        assert!(
            std::env::var_os("CI").is_none(),
            "CI has ONNX Runtime, and says so in KINGLET_PYTHON"
        );
        println!("not compared: KINGLET_PYTHON names no Python with ONNX Runtime");
        return;
    };
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/digits_int8.onnx");
    let found = json(&bench(&model, Path::new(&python), "onnxruntime"));
    let details = &found["details"]["onnxruntime"];
    // Its optimised int8 operators round otherwise: two steps of the output at most.
    assert_eq!(details["same_class"], true, "{found}");
    assert!(
        details["max_difference"].as_f64().unwrap() <= 2.0,
        "{found}"
    );
    assert!(found["ratio_to_best"].as_f64().unwrap() > 0.0, "{found}");
}
