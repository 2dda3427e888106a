//! `kinglet train` as people use it: a network from scratch, a model trained on, a run that is interrupted and goes on.

use kinglet_tests::command::{Done, kinglet};
use kinglet_tests::quarters::Folder;
use std::process::{Command, Stdio};
use std::time::Duration;

const PROGRAM: &str = env!("CARGO_BIN_EXE_kinglet-tested");

fn train(folder: &Folder, words: &str) -> Done {
    kinglet(PROGRAM, folder.words(&format!("train {words}")))
}

#[test]
fn a_network_learns_and_its_file_is_trained_on() {
    let folder = Folder::new();
    let first = train(
        &folder,
        "resnet8 --data data.npz -o a.onnx --epochs 2 --batch 32 --lr 0.05 --json",
    )
    .json();
    assert_eq!(
        (
            first["train_samples"].as_u64(),
            first["test_samples"].as_u64()
        ),
        (Some(160), Some(40))
    );
    let accuracy = first["test"]["accuracy"].as_f64().unwrap();
    assert!(accuracy > 0.5, "{first}");
    let again = train(
        &folder,
        "a.onnx --data data.npz -o b.onnx --epochs 3 --batch 32 --lr 0.05 --crop 1 --json",
    )
    .json();
    assert!(again["test"]["accuracy"].as_f64().unwrap() > 0.9, "{again}");
    assert_eq!(first["parameters"], again["parameters"]);
    let metrics = std::fs::read_to_string(folder.path("b.training").join("metrics.jsonl")).unwrap();
    assert_eq!(metrics.lines().count(), 3);
    let taught = train(
        &folder,
        "mlp --data data.npz -o c.onnx --epochs 2 --lr 0.01 --teacher b.onnx",
    );
    assert!(
        taught.succeeded && taught.stdout.contains("wrote"),
        "{taught:?}"
    );
}

#[test]
fn a_run_that_was_stopped_in_any_way_goes_on_to_the_same_file() {
    let folder = Folder::new();
    let run = "resnet8 --data data.npz --epochs 60 --batch 16 --lr 0.02 --mixup 0.2 --seed 5";
    let whole = train(&folder, &format!("{run} -o whole.onnx"));
    assert!(whole.succeeded, "{whole:?}");
    for signal in ["INT", "TERM", "KILL"] {
        let output = format!("{signal}.onnx");
        let child = Command::new(PROGRAM)
            .args(folder.words(&format!("train {run} -o {output}")))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Once there is a checkpoint, training is under way.
        let state = folder.path(&format!("{signal}.training"));
        while !state.join("checkpoint.safetensors").exists() {
            std::thread::sleep(Duration::from_millis(5));
        }
        let kill = Command::new("kill")
            .args([&format!("-{signal}"), &child.id().to_string()])
            .status();
        assert!(kill.unwrap().success());
        let stopped = child.wait_with_output().unwrap();
        if signal != "KILL" {
            assert_eq!(stopped.status.code(), Some(130));
            assert!(String::from_utf8_lossy(&stopped.stdout).contains("--resume"));
        }
        assert!(!folder.path(&output).exists());
        let resumed = train(&folder, &format!("{run} -o {output} --resume"));
        assert!(resumed.succeeded, "{resumed:?}");
        let bytes = |name: &str| std::fs::read(folder.path(name)).unwrap();
        assert!(bytes("whole.onnx") == bytes(&output), "{signal}");
    }
}

#[test]
fn what_cannot_be_trained_is_said() {
    let folder = Folder::new();
    let train = |words: &str| train(&folder, words);
    train("resnet9 --data data.npz -o a.onnx").failed_naming(&["resnet9", "resnet8", "ds_cnn"]);
    train("resnet8 --data no_such_data -o a.onnx").failed_naming(&["no_such_data", "KINGLET_ZOO"]);
    train("resnet8 --data data.npz -o a.onnx --resume").failed_naming(&["checkpoint"]);
    train("resnet8 --data data.npz -o a.onnx --lr 1e30").failed_naming(&["layer", "not finite"]);
    train("resnet8 --data data.npz -o a.onnx --mixup 3").failed_naming(&["--mixup"]);
}
