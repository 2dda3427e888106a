//! Every model of the zoo runs on the host and agrees with its golden outputs; a model without an entry here is a failure.
//!
//! Float outputs: the largest error, as a share of the largest golden magnitude, is at most the stated one. Int8 outputs: at least
//! the stated share of bytes is that of the literal QDQ graph.

use kinglet_export::compile::CompileOptions;
use kinglet_export::files::read_tensor;
use kinglet_export::model::Model;
use kinglet_export::onnx::LoadOptions;
use kinglet_export::samples::{self, decode};
use kinglet_tests::zoo::{reals, root};
use std::path::{Path, PathBuf};

/// How exact a model is.
#[derive(Clone, Copy)]
enum Exact {
    /// Largest error by the largest magnitude, of every output.
    Within(f64),
    /// Share of equal bytes.
    Equal(f64),
}

/// A model, its inputs (with their names where there are several), its outputs.
struct Entry {
    model: &'static str,
    inputs: &'static [(&'static str, &'static str)],
    outputs: &'static [&'static str],
    exact: Exact,
}

const FLOAT: Entry = Entry {
    model: "",
    inputs: &[("", "golden_inputs.npy")],
    outputs: &["golden_outputs.npy"],
    exact: Exact::Within(1e-4),
};

const INT8: Entry = Entry {
    model: "",
    inputs: &[("", "golden_int8_inputs.npy")],
    outputs: &["golden_int8_outputs.npy"],
    exact: Exact::Equal(0.98),
};

const fn float(model: &'static str) -> Entry {
    Entry { model, ..FLOAT }
}

const fn int8(model: &'static str) -> Entry {
    Entry { model, ..INT8 }
}

const ENTRIES: &[Entry] = &[
    float("ad_autoencoder/model.onnx"),
    int8("ad_autoencoder/model_int8.onnx"),
    Entry {
        model: "basic_pitch/model.onnx",
        inputs: &[("", "golden_input_serving_default_input_2_0.npy")],
        outputs: &[
            "golden_output_0.npy",
            "golden_output_1.npy",
            "golden_output_2.npy",
        ],
        // Logarithms of small powers, normalised: single precision in another order.
        exact: Exact::Within(1e-3),
    },
    float("hello_sine/model.onnx"),
    int8("hello_sine/model_int8.onnx"),
    float("kws_dscnn/model.onnx"),
    int8("kws_dscnn/model_int8.onnx"),
    Entry {
        model: "magika_v3_3/model.onnx",
        inputs: &[("", "golden_input_bytes.npy")],
        outputs: &["golden_output_0.npy"],
        exact: Exact::Within(1e-4),
    },
    int8("micro_speech/model_int8.onnx"),
    float("mnist_cnn/model.onnx"),
    Entry {
        exact: Exact::Within(1e-4),
        ..int8("mnist_cnn/model_int8.onnx")
    },
    Entry {
        inputs: &[("", "golden_int8_inputs.npz")],
        // Roundings grow over 52 layers; ONNX Runtime with and without optimisations differs in 43 % of bytes.
        exact: Exact::Equal(0.12),
        ..int8("mobilenet_v2_int8/model_int8.onnx")
    },
    int8("person_detect/model_int8.onnx"),
    Entry {
        model: "ppocr_v4_det_mobile/model.onnx",
        inputs: &[("", "golden_input_x.npy")],
        outputs: &["golden_output_0.npy"],
        exact: Exact::Within(1e-4),
    },
    float("resnet8_cifar10/model.onnx"),
    int8("resnet8_cifar10/model_int8.onnx"),
    Entry {
        inputs: &[("", "golden_nhwc_inputs.npy")],
        outputs: &["golden_nhwc_outputs.npy"],
        ..float("resnet8_cifar10/model_nhwc.onnx")
    },
    Entry {
        model: "silero_vad_16k/model.onnx",
        inputs: &[
            ("input", "golden_input_input.npy"),
            ("state", "golden_input_state.npy"),
        ],
        outputs: &["golden_output_0.npy", "golden_output_1.npy"],
        exact: Exact::Within(1e-4),
    },
    float("vww_mobilenet_v1_025/model.onnx"),
    int8("vww_mobilenet_v1_025/model_int8.onnx"),
];

fn open(path: &Path, states: &[(&str, &str)]) -> Model {
    let states = states.iter().map(|&(i, o)| (i.to_owned(), o.to_owned()));
    let options = LoadOptions {
        states: states.collect(),
        ..LoadOptions::default()
    };
    let model = Model::open(path, &options, &CompileOptions::default());
    model.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Runs `entry` and compares every output.
fn check(entry: &Entry) {
    let path = root().join("models").join(entry.model);
    let folder = path.parent().unwrap();
    let model = open(&path, &[]);
    let mut runner = model.runner().unwrap();
    let plan = runner.plan().unwrap();
    let arguments = entry.inputs.iter().map(|(name, file)| {
        let file = folder.join(file).display().to_string();
        match *name {
            "" => file,
            name => format!("{name}={file}"),
        }
    });
    let arguments: Vec<String> = arguments.collect();
    let rows = samples::read(&plan, &arguments).unwrap().rows;
    assert_eq!(plan.output_count(), entry.outputs.len(), "{}", entry.model);
    let types: Vec<_> = (0..plan.output_count())
        .map(|i| plan.output(i).unwrap().dtype)
        .collect();
    let results = runner
        .run_all(rows.iter().map(Vec::as_slice), &mut ())
        .unwrap();
    for (index, file) in entry.outputs.iter().enumerate() {
        let theirs = reals(&read_tensor(folder.join(file)).unwrap().data);
        let ours = results
            .iter()
            .flat_map(|outputs| reals(&decode(types[index], &outputs[index])));
        compare(entry, index, &ours.collect::<Vec<_>>(), &theirs);
    }
}

fn compare(entry: &Entry, index: usize, ours: &[f64], theirs: &[f64]) {
    assert_eq!(ours.len(), theirs.len(), "{} output {index}", entry.model);
    let magnitude = theirs.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    let pairs = || ours.iter().zip(theirs);
    let error = pairs().fold(0.0f64, |m, (a, b)| m.max((a - b).abs())) / magnitude;
    let equal = pairs().filter(|(a, b)| a == b).count() as f64 / ours.len() as f64;
    println!(
        "{} output {index}: error {error:.2e} of the largest, {:.2} % equal",
        entry.model,
        100.0 * equal
    );
    match entry.exact {
        Exact::Within(bound) => assert!(error <= bound, "{}: {error:e}", entry.model),
        Exact::Equal(share) => assert!(equal >= share, "{}: {equal}", entry.model),
    }
}

#[test]
#[ignore = "needs the model zoo"]
fn every_model_of_the_zoo_runs_and_agrees_with_its_golden_outputs() {
    let mut models: Vec<PathBuf> = std::fs::read_dir(root().join("models"))
        .unwrap()
        .filter_map(|folder| std::fs::read_dir(folder.unwrap().path()).ok())
        .flat_map(|files| files.map(|file| file.unwrap().path()))
        .filter(|path| path.extension().is_some_and(|e| e == "onnx"))
        .collect();
    models.sort();
    assert!(!models.is_empty());
    let known = |path: &Path| ENTRIES.iter().any(|entry| path.ends_with(entry.model));
    let unknown: Vec<_> = models.iter().filter(|path| !known(path)).collect();
    assert!(unknown.is_empty(), "without an entry: {unknown:?}");
    for entry in ENTRIES {
        check(entry);
    }
}

/// Eight steps over a recording, the state carried by the plan itself from the first one on.
#[test]
#[ignore = "needs the model zoo"]
fn the_voice_detector_carries_its_state() {
    let folder = root().join("models/silero_vad_16k");
    let model = open(&folder.join("model.onnx"), &[("state", "stateN")]);
    let mut runner = model.runner().unwrap();
    let plan = runner.plan().unwrap();
    let state = (0..2).map(|i| plan.input(i).unwrap()).find(|i| i.state > 0);
    assert_eq!(state.map(|s| (s.name, s.state)), Some(("state", 2)));
    // What the golden run began with is a file of one row.
    let recorded = read_tensor(folder.join("golden_input_state.npy")).unwrap();
    let first = recorded.data.slice(0..256).unwrap();
    let start = tempfile::tempdir().unwrap();
    let start = start.path().join("state.npy");
    let tensor = kinglet_export::files::Tensor {
        shape: vec![1, 2, 1, 128],
        data: first,
    };
    kinglet_export::files::write_tensor(&start, &tensor).unwrap();
    let arguments = [
        format!("input={}", folder.join("golden_input_input.npy").display()),
        format!("state={}", start.display()),
    ];
    let rows = samples::read(&plan, &arguments).unwrap().rows;
    assert_eq!((rows.len(), rows[1].len()), (8, 576 * 4));
    let results = runner
        .run_all(rows.iter().map(Vec::as_slice), &mut ())
        .unwrap();
    for (index, file) in ["golden_output_0.npy", "golden_output_1.npy"]
        .iter()
        .enumerate()
    {
        let theirs = reals(&read_tensor(folder.join(file)).unwrap().data);
        let ours = results
            .iter()
            .flat_map(|outputs| reals(&decode(kinglet::format::DType::F32, &outputs[index])));
        let error = ours
            .zip(&theirs)
            .fold(0.0f64, |m, (a, b)| m.max((a - b).abs()));
        println!("output {index}: {error:.2e}");
        assert!(error <= 1e-4, "output {index}: {error:e}");
    }
}
