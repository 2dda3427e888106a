//! The models in `export/zoo`, which Kinglet has made: what `models.json` says of each is true of the file.
//!
//! Accuracy is ONNX Runtime's, on the model zoo's test images; it needs a Python with onnxruntime and numpy, which
//! `KINGLET_PYTHON` names (`python3` by default).

use kinglet_export::compile::{CompileOptions, compile};
use kinglet_export::compress::report::coded_bytes;
use kinglet_export::compress::run::RELATIVE_STEP;
use kinglet_export::data::{self, Elements};
use kinglet_export::files::{self, Tensor};
use kinglet_export::graph::Data;
use kinglet_export::host::Runner;
use kinglet_export::model::load_graph;
use kinglet_export::onnx::LoadOptions;
use kinglet_export::passes::{total_macs, total_parameters};
use kinglet_tests::command::script;
use kinglet_tests::{zoo, zoo_claims};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What `models.json` says of a file.
#[derive(Deserialize)]
struct Listed {
    file: String,
    data: String,
    accuracy: f64,
    macs: u64,
    parameters: u64,
    coded_bytes: u64,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../export/zoo")
}

fn listed() -> Vec<Listed> {
    let text = std::fs::read_to_string(folder().join("models.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn every_file_is_listed_with_its_size_and_runs() {
    let names: BTreeSet<String> = listed().into_iter().map(|l| l.file).collect();
    let files = std::fs::read_dir(folder()).unwrap();
    let files: BTreeSet<String> = files
        .map(|f| f.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".onnx"))
        .collect();
    assert_eq!(names, files);
    let page = std::fs::read_to_string(folder().join("README.md")).unwrap();
    for l in listed() {
        assert!(page.contains(&format!("`{}`", l.file)), "{}", l.file);
        let shown = format!("{:.2} %", 100.0 * l.accuracy);
        assert!(page.contains(&shown), "{}: {shown}", l.file);
        let (graph, warnings) =
            load_graph(&folder().join(&l.file), &LoadOptions::default()).unwrap();
        assert!(warnings.is_empty(), "{}: {warnings:?}", l.file);
        let found = (
            total_macs(&graph),
            total_parameters(&graph),
            coded_bytes(&graph, RELATIVE_STEP),
        );
        assert_eq!(found, (l.macs, l.parameters, l.coded_bytes), "{}", l.file);
        let compiled = compile(&graph, &CompileOptions::default()).unwrap();
        let mut runner = Runner::new(compiled.core()).unwrap();
        let input: Vec<u8> = (0..3072u32)
            .flat_map(|i| ((i * 37 % 256) as f32).to_le_bytes())
            .collect();
        let outputs = runner.run(&input, &mut ()).unwrap();
        let scores = outputs[0].as_chunks::<4>().0.iter().copied();
        let scores: Vec<f32> = scores.map(f32::from_le_bytes).collect();
        assert_eq!(scores.len(), 10, "{}", l.file);
        assert!(scores.iter().all(|s| s.is_finite()), "{}", l.file);
    }
}

fn every_model_is_as_accurate_as_listed() {
    let place = tempfile::tempdir().unwrap();
    let (samples, labels) = (place.path().join("x.npy"), place.path().join("y.npy"));
    for name in listed().iter().map(|l| &l.data).collect::<BTreeSet<_>>() {
        let data = data::open(&zoo::root().join("datasets").join(name)).unwrap();
        let [c, h, w] = data.shape[..] else {
            panic!("images are expected")
        };
        let Elements::U8(stored) = &data.test.elements else {
            panic!("bytes are expected")
        };
        // Data sets have their channels last, models first.
        let image = |image: &[u8]| -> Vec<u8> {
            let channel = |k: usize| image.iter().skip(k).step_by(c).copied();
            (0..c).flat_map(channel).collect()
        };
        let pixels = stored.chunks(c * h * w).flat_map(image).collect();
        let count = data.test.len();
        let tensor = |shape: Vec<usize>, data| Tensor { shape, data };
        let x = tensor(vec![count, c, h, w], Data::U8(pixels));
        files::write_tensor(&samples, &x).unwrap();
        let classes = data.test.labels.iter().map(|&l| l.into()).collect();
        files::write_tensor(&labels, &tensor(vec![count], Data::I32(classes))).unwrap();
        for l in listed().iter().filter(|l| l.data == *name) {
            let output = script("accuracy.py")
                .args([&folder().join(&l.file), &samples, &labels])
                .output()
                .unwrap();
            let text = String::from_utf8_lossy(&output.stdout);
            let right: usize = text.trim().parse().unwrap_or_else(|_| {
                let said = String::from_utf8_lossy(&output.stderr);
                panic!("set KINGLET_PYTHON to a Python with onnxruntime and numpy: {said}")
            });
            let accuracy = right as f64 / count as f64;
            println!(
                "{}: {accuracy} in ONNX Runtime, {} listed",
                l.file, l.accuracy
            );
            // Sums in another order, and ties of int8, decide a few images otherwise.
            assert!(
                (accuracy - l.accuracy).abs() <= 0.002,
                "{}: {accuracy}",
                l.file
            );
        }
    }
}

zoo_claims! {
    exported_models_are_as_accurate_as_listed: every_model_is_as_accurate_as_listed();
}
