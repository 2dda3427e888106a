//! `kinglet compress` as people use it: a recipe on a small data set, its record and report, and a run that goes on.

use kinglet_tests::command::{Done, kinglet};
use kinglet_tests::quarters::Folder;
use std::path::PathBuf;

const PROGRAM: &str = env!("CARGO_BIN_EXE_kinglet-tested");

const RECIPE: &str = "name = \"small\"
seed = 3

[defaults]
batch = 32

[[stage]]
kind = \"mask\"
macs = 0.7
training = { epochs = 4, lr = 0.05 }

[[stage]]
kind = \"trp\"
scheme = \"channel\"
macs = 0.5
training = { epochs = 4, lr = 0.05 }

[[stage]]
kind = \"quantize\"
format = \"int8\"
activations = \"int8\"
";

/// A folder with a data set, `model.onnx` that was trained on it, and `recipe.toml`.
struct Trained(Folder);

impl Trained {
    fn new() -> Self {
        let folder = Trained(Folder::new());
        std::fs::write(folder.path("recipe.toml"), RECIPE).unwrap();
        let trained = folder
            .kinglet("train resnet8 --data data.npz -o model.onnx --epochs 2 --batch 32 --lr 0.05");
        assert!(trained.succeeded, "{trained:?}");
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path(name)
    }

    fn kinglet(&self, words: &str) -> Done {
        kinglet(PROGRAM, self.0.words(words))
    }

    fn compress(&self, words: &str) -> Done {
        self.kinglet(&format!("compress model.onnx --data data.npz {words}"))
    }
}

#[test]
fn a_recipe_runs_and_its_record_says_what_came_of_it() {
    let folder = Trained::new();
    let done = folder.compress("--recipe recipe.toml -o a.onnx --report a.html --json");
    let record = done.json();
    assert_eq!(record["finished"], true);
    let figure = |stage: &str, name: &str| {
        let stages = record["stages"].as_array().unwrap();
        let stage = stages.iter().find(|s| s["kind"] == stage).unwrap();
        stage["figures"][name].as_f64().unwrap()
    };
    let whole = record["input"]["macs"].as_f64().unwrap();
    assert!(figure("mask", "macs") <= 0.7 * whole);
    assert!(figure("trp", "macs") <= 0.5 * whole);
    assert!(4.0 * figure("quantize", "weight_bytes") == figure("trp", "weight_bytes"));
    assert!(figure("quantize", "accuracy") > 0.8, "{record}");
    let html = std::fs::read_to_string(folder.path("a.html")).unwrap();
    assert!(html.contains("Stages") && html.contains("coded bytes"));

    // What is written compiles and runs.
    let compiled = folder.kinglet("compile a.onnx -o a.kinglet");
    assert!(compiled.succeeded, "{compiled:?}");

    // The last stage's model is lost: only that stage is done again, and the file is the same.
    let bytes = |name: &str| std::fs::read(folder.path(name)).unwrap();
    let first = bytes("a.onnx");
    std::fs::remove_file(folder.path("a.compress").join("stage-3-quantize.onnx")).unwrap();
    let resumed = folder.compress("--recipe recipe.toml -o a.onnx --resume");
    assert!(resumed.succeeded, "{resumed:?}");
    assert!(!resumed.stderr.contains("epoch"), "{resumed:?}");
    for column in ["accuracy", "MACs", "weight bytes", "quantize"] {
        assert!(resumed.stdout.contains(column), "{column}: {resumed:?}");
    }
    assert!(bytes("a.onnx") == first);

    let other = folder.compress("--recipe recipe.toml -o a.onnx --resume --seed 8");
    other.failed_naming(&["record.json", "seed", "--resume"]);
    let quick = folder.compress("--recipe recipe.toml -o b.onnx --epochs-scale 0.25 --seed 8");
    assert!(quick.succeeded, "{quick:?}");
    let metrics = folder
        .path("b.compress")
        .join("stage-1-mask/training/metrics.jsonl");
    assert_eq!(std::fs::read_to_string(metrics).unwrap().lines().count(), 1);
}

#[test]
fn what_cannot_be_compressed_is_said_with_its_line() {
    let folder = Trained::new();
    let with = |recipe: String| {
        std::fs::write(folder.path("other.toml"), recipe).unwrap();
        folder.compress("--recipe other.toml -o a.onnx")
    };
    with(RECIPE.replace("macs = 0.7", "mac = 0.7")).failed_naming(&["other.toml:9:1", "mac"]);
    with(RECIPE.replace("macs = 0.7", "macs = 0.4")).failed_naming(&["other.toml:15:1", "0.5"]);
    with(RECIPE.replace("macs = 0.5", "macs = 0.001")).failed_naming(&[
        "other.toml:13:1",
        "trp stage",
        "no ranks",
    ]);
    folder
        .compress("--recipe no.toml -o a.onnx")
        .failed_naming(&["no.toml"]);
    folder
        .compress("--recipe recipe.toml -o a.onnx --epochs-scale 0")
        .failed_naming(&["--epochs-scale"]);
}
