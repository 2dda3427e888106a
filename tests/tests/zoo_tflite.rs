//! TensorFlow Lite's published models as they are published, beside its reference kernels and beside the same networks as
//! ONNX.
//!
//! In int8 our contract is not TensorFlow Lite's fixed-point arithmetic, so bytes differ where roundings do; how many are
//! equal, and how far the others are, is stated for each model. In TensorFlow Lite's rounding all of them are equal. The ONNX file of a
//! network is the same arithmetic: what it gives is equal, byte for byte.

use kinglet_export::compile::{CompileOptions, Rounding, Target};
use kinglet_export::emulate::{Mode, Request, board, emulate};
use kinglet_export::graph::Data;
use kinglet_export::model::Model;
use kinglet_export::onnx::LoadOptions;
use kinglet_tests::zoo::{self, class};
use kinglet_tests::zoo_claims;
use std::path::Path;

fn open(file: &str) -> Model {
    let path = zoo::root().join("models").join(file);
    Model::open(&path, &LoadOptions::default(), &CompileOptions::default())
        .unwrap_or_else(|error| panic!("{error}"))
}

fn outputs(model: &Model, inputs: &Path) -> Vec<Vec<u8>> {
    zoo::run_on_host(model, &zoo::rows(model, inputs))
}

fn reals(bytes: &[u8]) -> Vec<f64> {
    bytes.iter().map(|&b| f64::from(b as i8)).collect()
}

/// How a model stands to the reference kernels: the least share of equal bytes, the greatest distance, and how many of the
/// samples have another class.
struct Distance {
    folder: &'static str,
    file: &'static str,
    inputs: &'static str,
    equal: f64,
    most: f64,
    classes: usize,
}

const WHOLE: Distance = Distance {
    folder: "",
    file: "source_int8.tflite",
    inputs: "golden_int8_inputs.npy",
    equal: 1.0,
    most: 0.0,
    classes: 0,
};

fn is_near_the_reference_kernels(claim: &Distance) {
    let folder = zoo::root().join("models").join(claim.folder);
    let model = open(&format!("{}/{}", claim.folder, claim.file));
    let ours = outputs(&model, &folder.join(claim.inputs));
    let golden = zoo::tensor(&folder.join("golden_int8_outputs_tflite.npy"));
    let Data::I8(golden) = golden.data else {
        panic!("int8 outputs")
    };
    let golden: Vec<f64> = golden.into_iter().map(f64::from).collect();
    let theirs = golden.chunks(golden.len() / ours.len());
    let (mut equal, mut most, mut classes) = (0, 0.0f64, 0);
    for (ours, theirs) in ours.iter().zip(theirs) {
        let ours = reals(ours);
        let distances = ours.iter().zip(theirs).map(|(a, b)| (a - b).abs());
        equal += distances.clone().filter(|&d| d == 0.0).count();
        most = distances.fold(most, f64::max);
        classes += usize::from(class(&ours) != class(theirs));
    }
    let equal = equal as f64 / golden.len() as f64;
    println!(
        "{}: {:.2} % of bytes equal, at most {most} off, {classes} other classes",
        claim.folder,
        100.0 * equal
    );
    assert!(equal >= claim.equal && most <= claim.most, "{equal} {most}");
    assert!(classes <= claim.classes);
}

/// A published file in TensorFlow Lite's rounding, for this machine and for a microcontroller.
fn rounded(folder: &str, file: &str) -> [Model; 2] {
    let path = zoo::root().join("models").join(folder).join(file);
    [Target::Host, Target::CortexM4f].map(|target| {
        let options = CompileOptions {
            target,
            rounding: Rounding::Tflite,
            ..CompileOptions::default()
        };
        Model::open(&path, &LoadOptions::default(), &options)
            .unwrap_or_else(|error| panic!("{error}"))
    })
}

/// Bytes of the reference kernels, for all samples.
fn reference(folder: &Path) -> Vec<u8> {
    match zoo::tensor(&folder.join("golden_int8_outputs_tflite.npy")).data {
        Data::I8(golden) => golden.iter().map(|&y| y as u8).collect(),
        other => panic!("{:?}", other.dtype()),
    }
}

fn every_byte_is_the_reference_kernels(folder: &str, file: &str, inputs: &str) {
    let path = zoo::root().join("models").join(folder);
    let want = reference(&path);
    for model in rounded(folder, file) {
        let ours = outputs(&model, &path.join(inputs)).concat();
        assert!(!ours.is_empty() && ours == want, "{folder}/{file}");
    }
}

fn every_byte_of(folder: &str) {
    every_byte_is_the_reference_kernels(folder, "source_int8.tflite", "golden_int8_inputs.npy");
}

/// The first sample, on an emulated Cortex-M4F.
fn a_board_gives_the_bytes_of_the_reference_kernels(folder: &str) {
    let path = zoo::root().join("models").join(folder);
    let [_, model] = rounded(folder, "source_int8.tflite");
    let samples = &zoo::rows(&model, &path.join("golden_int8_inputs.npy"))[..1];
    let request = Request {
        board: board("mps2-an386").unwrap(),
        plan: &model.plan,
        samples,
        mode: Mode::Run,
        loaded: false,
    };
    let device = emulate(&request, &|_| {}).unwrap_or_else(|error| panic!("{error}"));
    println!("{folder}: {:?} instructions", device.instructions);
    let ours = &device.outputs[0];
    assert!(!ours.is_empty() && ours[..] == reference(&path)[..ours.len()]);
}

fn equals_the_onnx_file(folder: &str, tflite: &str, onnx: &str, inputs: &str) {
    let inputs = zoo::root().join("models").join(folder).join(inputs);
    let [tflite, onnx] = [tflite, onnx].map(|file| open(&format!("{folder}/{file}")));
    let ours = outputs(&tflite, &inputs);
    assert!(!ours.is_empty() && ours == outputs(&onnx, &inputs));
    let shape = |model: &Model| {
        let runner = model.runner().unwrap();
        runner.plan().unwrap().input(0).unwrap().shape().to_vec()
    };
    assert_eq!(shape(&tflite), shape(&onnx));
}

fn int8_equals_the_onnx_file(folder: &str) {
    let inputs = "golden_int8_inputs.npy";
    equals_the_onnx_file(folder, "source_int8.tflite", "model_int8.onnx", inputs);
}

/// Float outputs within `tolerance` of the golden ones.
fn floats_are_golden(folder: &str, inputs: &str, golden: &[&str], tolerance: f64) {
    let folder_path = zoo::root().join("models").join(folder);
    let model = open(&format!("{folder}/source.tflite"));
    let ours = outputs(&model, &folder_path.join(inputs));
    let golden: Vec<Vec<f64>> = golden
        .iter()
        .map(|file| zoo::reals(&zoo::tensor(&folder_path.join(file)).data))
        .collect();
    let samples = ours.len();
    for (i, ours) in ours.iter().enumerate() {
        let theirs = golden.iter().flat_map(|g| {
            let len = g.len() / samples;
            &g[i * len..(i + 1) * len]
        });
        let theirs: Vec<f64> = theirs.copied().collect();
        let words = ours.as_chunks().0;
        assert_eq!(words.len(), theirs.len());
        let reals = words
            .iter()
            .map(|&word| f64::from(f32::from_le_bytes(word)));
        let distances = reals.zip(&theirs).map(|(a, b)| (a - b).abs());
        let most = distances.fold(0.0, f64::max);
        assert!(most <= tolerance, "{folder}: {most}");
    }
}

zoo_claims! {
    ad_is_the_reference_kernels: is_near_the_reference_kernels(&Distance { folder: "ad_autoencoder", ..WHOLE });
    the_sine_is_the_reference_kernels: is_near_the_reference_kernels(&Distance { folder: "hello_sine", ..WHOLE });
    micro_speech_is_the_reference_kernels: is_near_the_reference_kernels(&Distance { folder: "micro_speech", ..WHOLE });
    kws_is_near_the_reference_kernels: is_near_the_reference_kernels(&Distance {
        folder: "kws_dscnn", equal: 0.96, most: 7.0, ..WHOLE
    });
    person_detection_is_near_the_reference_kernels: is_near_the_reference_kernels(&Distance {
        folder: "person_detect", equal: 0.5, most: 2.0, ..WHOLE
    });
    repaired_person_detection_is_near_the_reference_kernels: is_near_the_reference_kernels(&Distance {
        folder: "person_detect", file: "source_int8_biasaxis0.tflite", equal: 0.5, most: 2.0, ..WHOLE
    });
    resnet_is_near_the_reference_kernels: is_near_the_reference_kernels(&Distance {
        folder: "resnet8_cifar10", equal: 0.73, most: 32.0, ..WHOLE
    });
    vww_is_near_the_reference_kernels: is_near_the_reference_kernels(&Distance {
        folder: "vww_mobilenet_v1_025", equal: 0.37, most: 4.0, ..WHOLE
    });
    mobilenet_v2_is_near_the_reference_kernels: is_near_the_reference_kernels(&Distance {
        folder: "mobilenet_v2_int8", inputs: "golden_int8_inputs.npz", equal: 0.11, most: 20.0, classes: 1, ..WHOLE
    });
    every_byte_of_ad: every_byte_of("ad_autoencoder");
    every_byte_of_the_sine: every_byte_of("hello_sine");
    every_byte_of_micro_speech: every_byte_of("micro_speech");
    every_byte_of_kws: every_byte_of("kws_dscnn");
    every_byte_of_person_detection: every_byte_of("person_detect");
    every_byte_of_repaired_person_detection: every_byte_is_the_reference_kernels(
        "person_detect", "source_int8_biasaxis0.tflite", "golden_int8_inputs.npy");
    every_byte_of_resnet: every_byte_of("resnet8_cifar10");
    every_byte_of_vww: every_byte_of("vww_mobilenet_v1_025");
    every_byte_of_mobilenet_v2: every_byte_is_the_reference_kernels(
        "mobilenet_v2_int8", "source_int8.tflite", "golden_int8_inputs.npz");
    every_byte_of_the_onnx_file_of_resnet: every_byte_is_the_reference_kernels(
        "resnet8_cifar10", "model_int8.onnx", "golden_int8_inputs.npy");
    a_board_gives_every_byte_of_kws: a_board_gives_the_bytes_of_the_reference_kernels("kws_dscnn");
    a_board_gives_every_byte_of_resnet: a_board_gives_the_bytes_of_the_reference_kernels("resnet8_cifar10");
    ad_equals_its_onnx: int8_equals_the_onnx_file("ad_autoencoder");
    the_sine_equals_its_onnx: int8_equals_the_onnx_file("hello_sine");
    kws_equals_its_onnx: int8_equals_the_onnx_file("kws_dscnn");
    person_detection_equals_its_onnx: int8_equals_the_onnx_file("person_detect");
    resnet_equals_its_onnx: int8_equals_the_onnx_file("resnet8_cifar10");
    vww_equals_its_onnx: int8_equals_the_onnx_file("vww_mobilenet_v1_025");
    mobilenet_v2_equals_its_onnx: equals_the_onnx_file(
        "mobilenet_v2_int8", "source_int8.tflite", "model_int8.onnx", "golden_int8_inputs.npz");
    float_ad_is_golden: floats_are_golden("ad_autoencoder", "golden_inputs.npy", &["golden_outputs.npy"], 1e-4);
    the_float_sine_is_golden: floats_are_golden("hello_sine", "golden_inputs.npy", &["golden_outputs.npy"], 1e-6);
    float_resnet_is_golden: floats_are_golden("resnet8_cifar10", "golden_nhwc_inputs.npy", &["golden_nhwc_outputs.npy"], 1e-5);
    float_vww_is_golden: floats_are_golden("vww_mobilenet_v1_025", "golden_inputs.npy", &["golden_outputs.npy"], 1e-6);
    basic_pitch_is_golden: floats_are_golden(
        "basic_pitch", "golden_input_serving_default_input_2_0.npy",
        &["golden_output_0.npy", "golden_output_1.npy", "golden_output_2.npy"], 1e-3);
}
