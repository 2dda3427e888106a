//! `kinglet report`: what the page says, that it needs nothing else, and that it fits a phone.

use kinglet_tests::browser::chromium;
use kinglet_tests::command::{Done, kinglet};
use serde_json::Value;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_kinglet-tested");

/// A model of tests/models, or its data.
fn model(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("models")
        .join(name)
}

/// Runs `kinglet report` on the committed digits with labelled images; the page goes to `page.html` of the folder.
fn report(folder: &TempDir, more: &[&str]) -> Done {
    let [int8, float, images, labels] = [
        "digits_int8.onnx",
        "digits.onnx",
        "digits_images.npy",
        "digits_labels.npy",
    ]
    .map(|name| model(name).display().to_string());
    let page = folder.path().join("page.html").display().to_string();
    let mut words = vec!["report", &int8, "-o", &page, "--float", &float];
    words.extend(["--input", &images, "--labels", &labels]);
    words.extend(more);
    kinglet(PROGRAM, words)
}

fn page(folder: &TempDir) -> String {
    std::fs::read_to_string(folder.path().join("page.html")).unwrap()
}

#[test]
fn the_page_shows_network_costs_memory_weights_and_classes() {
    let folder = tempfile::tempdir().unwrap();
    let result = report(&folder, &["--json"]).json();
    let html = page(&folder);
    for text in [
        "<h2>Network and what its layers cost</h2>",
        "<h2>Memory over time</h2>",
        "<h2>Weights</h2>",
        "<h2>Accuracy</h2>",
        "Confusion matrix",
        "float model, this machine",
        "generalised Gaussian",
        "name=\"viewport\"",
        "prefers-color-scheme: dark",
    ] {
        assert!(html.contains(text), "{text}");
    }
    let accuracy = result["accuracy"].as_f64().unwrap();
    assert!(html.contains(&format!("{:.2} %", 100.0 * accuracy)));
    let confusion: Vec<Vec<u64>> = serde_json::from_value(result["confusion"].clone()).unwrap();
    let right: u64 = (0..confusion.len()).map(|c| confusion[c][c]).sum();
    let all: u64 = confusion.iter().flatten().sum();
    assert_eq!(result["samples"], all);
    assert_eq!(accuracy, right as f64 / all as f64);
    // What the compiler says elsewhere.
    let plan = folder.path().join("plan.kinglet");
    let int8 = model("digits_int8.onnx");
    let words = [
        "compile".as_ref(),
        int8.as_os_str(),
        "-o".as_ref(),
        plan.as_os_str(),
    ];
    let more = ["--target", "cortex-m4f", "--json"].map(AsRef::as_ref);
    let compiled = kinglet(PROGRAM, words.into_iter().chain(more)).json();
    for field in [
        "macs",
        "plan_bytes",
        "arena_bytes",
        "instructions_predicted",
    ] {
        assert_eq!(result[field], compiled[field], "{field}");
    }
    let sum = |field: &str| -> u64 {
        let nodes = result["nodes"].as_array().unwrap();
        nodes.iter().filter_map(|n| n[field].as_u64()).sum()
    };
    assert_eq!(sum("macs"), result["macs"].as_u64().unwrap());
    assert_eq!(
        sum("constant_bytes"),
        compiled["constant_bytes"].as_u64().unwrap()
    );
}

#[test]
fn the_page_needs_nothing_from_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    assert!(report(&folder, &[]).succeeded);
    let html = page(&folder);
    for outside in [
        "<script", "<link", "@import", "url(", "http://", "https://", "src=\"/",
    ] {
        assert!(!html.contains(outside), "{outside}");
    }
    assert!(html.contains("default-src 'none'"));
}

#[test]
fn a_plan_is_reported_as_far_as_it_goes() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("page.html");
    let plan = model("digits_int8.kinglet");
    let words = [
        "report".as_ref(),
        plan.as_os_str(),
        "-o".as_ref(),
        out.as_os_str(),
    ];
    assert!(kinglet(PROGRAM, words).succeeded);
    let html = page(&folder);
    assert!(html.contains("A finished plan") && !html.contains("<h2>Weights</h2>"));
}

#[test]
fn labels_that_are_no_classes_are_refused() {
    use kinglet_export::files::{Tensor, write_tensor};
    use kinglet_export::graph::Data;
    let folder = tempfile::tempdir().unwrap();
    let count = kinglet_export::files::read_tensor(model("digits_labels.npy"))
        .unwrap()
        .data
        .len();
    let path = folder.path().join("labels.npy");
    let [int8, images] =
        ["digits_int8.onnx", "digits_images.npy"].map(|n| model(n).display().to_string());
    let out = folder.path().join("page.html");
    for (label, expected) in [(10, "label 10 of sample 0"), (-1, "label -1 of sample 0")] {
        let mut labels = vec![3; count];
        labels[0] = label;
        let (shape, data) = (vec![count], Data::I32(labels));
        write_tensor(&path, &Tensor { shape, data }).unwrap();
        let words = ["report", &int8, "--input", &images, "--labels"].map(str::to_owned);
        let files = ["-o".to_owned(), out.display().to_string()];
        let words = words
            .into_iter()
            .chain([path.display().to_string()])
            .chain(files);
        kinglet(PROGRAM, words).failed_naming(&[expected, "0 to 9"]);
        assert!(!out.exists());
    }
}

/// What a browser makes of a page in a frame of 390 pixels, the width of a phone.
struct Seen {
    /// Pixels that the page takes, which are more than the frame has when it scrolls sideways.
    width: u64,
    /// The page's text.
    text: String,
    /// What the browser complains about.
    complaints: Vec<String>,
}

const PHONE: u64 = 390;

fn look(folder: &Path, page: &str) -> Seen {
    let script = "onload = () => { const page = f.contentDocument; \
        document.body.dataset.seen = JSON.stringify({ width: page.documentElement.scrollWidth, text: page.body.innerText }); }";
    let html = format!(
        "<!DOCTYPE html><meta charset=\"utf-8\"><body><iframe id=\"f\" src=\"{page}\" \
         style=\"width:{PHONE}px;height:844px;border:0\"></iframe><script>{script}</script>"
    );
    std::fs::write(folder.join("frame.html"), html).unwrap();
    let output = chromium(folder, "frame.html")
        .arg("--dump-dom")
        .output()
        .expect("chromium starts");
    let dom = String::from_utf8(output.stdout).unwrap();
    let seen = dom
        .split("data-seen=\"")
        .nth(1)
        .unwrap_or_else(|| panic!("no result in {dom}"));
    let seen = seen.split('"').next().unwrap();
    let seen = seen
        .replace("&quot;", "\"")
        .replace("&nbsp;", " ")
        .replace("&amp;", "&");
    let seen: Value = serde_json::from_str(&seen).unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    Seen {
        width: seen["width"].as_u64().unwrap(),
        text: seen["text"].as_str().unwrap().to_owned(),
        complaints: log
            .lines()
            .filter(|l| l.contains("CONSOLE"))
            .map(str::to_owned)
            .collect(),
    }
}

#[test]
#[ignore = "needs chromium"]
fn a_page_fits_a_phone_and_the_browser_has_no_complaints() {
    let folder = tempfile::tempdir().unwrap();
    // What this test can see: a page that is too wide, and one that wants something from elsewhere.
    std::fs::write(
        folder.path().join("bad.html"),
        "<!DOCTYPE html><div style=\"width:500px\">wide</div><script>console.error('loud')</script>",
    )
    .unwrap();
    let bad = look(folder.path(), "bad.html");
    assert_eq!(bad.width, 508);
    assert_eq!((bad.complaints.len(), bad.text.as_str()), (1, "wide"));

    let result = report(&folder, &["--board", "mps2-an386", "--json"]).json();
    assert_eq!(
        (&result["device_samples"], &result["device_different"]),
        (&3.into(), &0.into())
    );
    let seen = look(folder.path(), "page.html");
    assert_eq!(seen.complaints, [""; 0]);
    assert_eq!(seen.width, PHONE);
    let instructions = result["instructions"].as_u64().unwrap();
    for text in [
        "digits_int8.onnx",
        "3 of 3 samples: the same bytes",
        "Memory over time",
        "Confusion matrix",
        &kinglet_export::report::grouped(instructions),
    ] {
        assert!(seen.text.contains(text), "`{text}` is not in {}", seen.text);
    }
}
