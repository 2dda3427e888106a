//! `kinglet explore` as people use it: a search on the demo's digits, its front and files, and a run that was killed.

use kinglet_export::train::digits;
use kinglet_tests::command::{Done, kinglet};
use ndarray::{Array1, Array4};
use ndarray_npy::NpzWriter;
use serde_json::Value;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_kinglet-tested");

/// A folder with the digits as `data.npz`, the demo's split: what it calibrates with is trained on, too.
struct Folder(TempDir);

impl Folder {
    fn new() -> Folder {
        let folder = Folder(tempfile::tempdir().unwrap());
        let digits = digits::load();
        let mut file = NpzWriter::new(File::create(folder.path("data.npz")).unwrap());
        for (name, part) in [("train", &digits.train), ("test", &digits.test)] {
            let x = Array4::from_shape_vec((part.len(), 1, 8, 8), part.images.clone()).unwrap();
            let y = Array1::from_vec(part.labels.clone());
            file.add_array(format!("x_{name}"), &x).unwrap();
            file.add_array(format!("y_{name}"), &y).unwrap();
        }
        file.finish().unwrap();
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn words(&self, output: &str, more: &str) -> Vec<String> {
        let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/digits.onnx");
        let mut words = vec!["explore".to_owned(), model.display().to_string()];
        words.push("--data".into());
        words.push(self.path("data.npz").display().to_string());
        words.push("-o".into());
        words.push(self.path(output).display().to_string());
        words.extend(["--board", "mps2-an386", "--batch", "64", "--json"].map(str::to_owned));
        words.extend(more.split_whitespace().map(str::to_owned));
        words
    }

    fn explore(&self, output: &str, more: &str) -> Done {
        kinglet(PROGRAM, self.words(output, more))
    }

    /// Journal and front of a run, as bytes.
    fn result(&self, output: &str) -> Vec<(String, Vec<u8>)> {
        let folder = self.path(output);
        let mut files = vec![folder.join("journal.jsonl")];
        let front = fs::read_dir(folder.join("front")).unwrap();
        files.extend(front.map(|entry| entry.unwrap().path()));
        files.sort();
        let name = |p: &PathBuf| p.file_name().unwrap().to_string_lossy().into_owned();
        let visible = files.iter().filter(|p| !name(p).starts_with('.'));
        visible.map(|p| (name(p), fs::read(p).unwrap())).collect()
    }
}

fn number(value: &Value, key: &str) -> f64 {
    value[key]
        .as_f64()
        .unwrap_or_else(|| panic!("{key} of {value}"))
}

/// Whether `a` is as good as `b` everywhere and better somewhere.
fn dominates(a: &Value, b: &Value) -> bool {
    let costs = |v: &Value| {
        let smaller = ["flash_bytes", "ram_bytes", "instructions"].map(|key| number(v, key));
        [-number(v, "accuracy"), smaller[0], smaller[1], smaller[2]]
    };
    let (a, b) = (costs(a), costs(b));
    (0..4).all(|i| a[i] <= b[i]) && (0..4).any(|i| a[i] < b[i])
}

#[test]
fn a_search_without_training_ends_with_a_front_whose_files_are_what_it_says() {
    let folder = Folder::new();
    let limits = "--max-ram 3900 --min-accuracy 80";
    let done = folder.explore("out", &format!("--trials 5 --epochs 0 {limits}"));
    let result = done.json();
    assert_eq!(
        (result["finished"].clone(), number(&result, "trials")),
        (true.into(), 5.0)
    );
    let front = result["front"].as_array().unwrap();
    assert!(!front.is_empty(), "{result}");
    for a in front {
        assert!(
            number(a, "ram_bytes") <= 3900.0 && number(a, "accuracy") >= 0.8,
            "{a}"
        );
        assert!(number(a, "test_accuracy") > 0.75, "{a}");
        assert!(front.iter().all(|b| !dominates(b, a)), "{a}");
    }
    // The form that is printed makes the plan that was written, of the size that was said.
    for member in front.iter().take(3) {
        let file = |key: &str| member[key].as_str().unwrap().to_owned();
        let again = folder.path("again.kinglet");
        let mut words = vec!["compile".into(), file("model"), "-o".into()];
        words.push(again.display().to_string());
        let form = format!("--target cortex-m4f {}", member["form"].as_str().unwrap());
        words.extend(form.split(' ').map(str::to_owned));
        let compiled = kinglet(PROGRAM, &words);
        assert!(compiled.succeeded, "{compiled:?}");
        assert!(
            fs::read(&again).unwrap() == fs::read(file("plan")).unwrap(),
            "{member}"
        );
        let recipe = fs::read_to_string(file("recipe")).unwrap();
        assert!(recipe.starts_with("# kinglet compile ") && recipe.contains("[[stage]]"));
    }
    let page = fs::read_to_string(folder.path("out").join("report.html")).unwrap();
    assert_eq!(page.matches("<svg").count(), 3);
    for text in [
        "on the front",
        "RAM at most 3,900",
        "accuracy at least 80.00 %",
    ] {
        assert!(page.contains(text), "{text}");
    }

    // Nothing can be that small: said, and no failure.
    let none = folder
        .explore("none", "--trials 1 --epochs 0 --max-flash 100")
        .json();
    assert_eq!(none["front"].as_array().unwrap().len(), 0);
    let again = folder.explore("out", &format!("--trials 5 --epochs 0 {limits}"));
    again.failed_naming(&["--resume", "journal.jsonl"]);
    let other = folder.explore("out", &format!("--trials 6 --epochs 0 {limits} --resume"));
    other.failed_naming(&["(trials)"]);
}

#[test]
fn a_run_that_was_killed_goes_on_to_the_same_bytes() {
    let folder = Folder::new();
    let search = "--trials 4 --rounds 2 --epochs 1 --limit 400 --seed 3";
    let whole = folder.explore("whole", search).json();
    assert!(number(&whole, "trials") > 4.0, "no second round: {whole}");

    let mut killed = Command::new(PROGRAM)
        .args(folder.words("killed", search))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let journal = folder.path("killed").join("journal.jsonl");
    let lines = || fs::read_to_string(&journal).map_or(0, |text| text.lines().count());
    let patience = Instant::now() + Duration::from_secs(120);
    while lines() < 3 && Instant::now() < patience {
        std::thread::sleep(Duration::from_millis(5));
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    let before = lines();
    assert!(before >= 3, "nothing was tried in two minutes");
    // As if it had been killed in the middle of a line, too.
    let torn = fs::read_to_string(&journal).unwrap() + "{\"round\":0,\"candi";
    fs::write(&journal, torn).unwrap();

    let resumed = folder.explore("killed", &format!("{search} --resume"));
    assert_eq!(resumed.json()["trials"], whole["trials"]);
    assert!(folder.result("killed") == folder.result("whole"));
    let begun = resumed
        .stderr
        .lines()
        .filter(|l| l.starts_with("trial "))
        .count();
    let done = (before - 1).min(number(&whole, "trials") as usize);
    assert_eq!(
        begun,
        number(&whole, "trials") as usize - done,
        "{}",
        resumed.stderr
    );
    let work = fs::read_dir(folder.path("killed").join("trials")).unwrap();
    assert!(
        work.flatten()
            .all(|e| e.path().extension().is_none_or(|x| x != "compress"))
    );

    // Another seed tries other things.
    let text = |name: &str| fs::read_to_string(folder.path(name).join("journal.jsonl")).unwrap();
    let other = folder.explore(
        "other",
        "--trials 4 --rounds 1 --epochs 0 --limit 400 --seed 4",
    );
    assert!(other.succeeded && text("other") != text("whole"));
}
