//! TensorFlow Lite files: every operator family against what TensorFlow Lite itself computes, every command, damaged files.
//!
//! `tests/tflite_models.py` makes the models with TensorFlow and records the outputs of its reference kernels.

use kinglet_export::compile::{CompileOptions, Rounding, Target};
use kinglet_export::emulate::{Mode, Request, board, emulate};
use kinglet_export::files::read_archive;
use kinglet_export::graph::Data;
use kinglet_export::model::Model;
use kinglet_export::onnx::{LoadOptions, load_model};
use kinglet_export::tflite;
use kinglet_tests::command::{Done, kinglet};
use kinglet_tests::random::Random;
use kinglet_tests::zoo::{class, reals, run_on_host};
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("models")
        .join(name)
}

fn open(name: &str) -> Model {
    open_with(name, &CompileOptions::default())
}

fn open_with(name: &str, options: &CompileOptions) -> Model {
    Model::open(&file(name), &LoadOptions::default(), options).unwrap_or_else(|e| panic!("{e}"))
}

/// In TensorFlow Lite's rounding.
fn rounded(target: Target) -> CompileOptions {
    CompileOptions {
        target,
        rounding: Rounding::Tflite,
        ..CompileOptions::default()
    }
}

/// Our outputs and the reference kernels', sample by sample.
fn outputs(name: &str) -> Vec<(Vec<f64>, Vec<f64>)> {
    outputs_with(name, &CompileOptions::default())
}

fn outputs_with(name: &str, options: &CompileOptions) -> Vec<(Vec<f64>, Vec<f64>)> {
    let model = open_with(&format!("{name}.tflite"), options);
    assert!(model.warnings.is_empty(), "{:?}", model.warnings);
    let arrays = read_archive(file(&format!("{name}.npz"))).unwrap();
    let array = |wanted| &arrays.iter().find(|(name, _)| name == wanted).unwrap().1;
    let (inputs, outputs) = (array("inputs"), array("outputs"));
    let bytes: Vec<u8> = match &inputs.data {
        Data::I8(v) => v.iter().map(|&b| b as u8).collect(),
        Data::F32(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
        other => panic!("{:?}", other.dtype()),
    };
    let samples = inputs.shape[0];
    let rows: Vec<Vec<u8>> = bytes
        .chunks(bytes.len() / samples)
        .map(<[u8]>::to_vec)
        .collect();
    let theirs = reals(&outputs.data);
    let ours = run_on_host(&model, &rows).concat();
    let ours: Vec<f64> = match &outputs.data {
        Data::I8(_) => ours.iter().map(|&b| f64::from(b as i8)).collect(),
        _ => ours
            .as_chunks()
            .0
            .iter()
            .map(|&w| f32::from_le_bytes(w).into())
            .collect(),
    };
    assert_eq!(ours.len(), theirs.len());
    let len = ours.len() / samples;
    ours.chunks(len)
        .zip(theirs.chunks(len))
        .map(|(a, b)| (a.to_vec(), b.to_vec()))
        .collect()
}

fn distance((ours, theirs): &(Vec<f64>, Vec<f64>)) -> f64 {
    ours.iter()
        .zip(theirs)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f64::max)
}

#[test]
fn floats_and_halves_are_what_tensorflow_computes() {
    for name in [
        "convolutional_float",
        "convolutional_half",
        "moving_float",
        "functions_float",
    ] {
        let samples = outputs(name);
        let largest = samples
            .iter()
            .flat_map(|(_, t)| t)
            .fold(0.0f64, |m, x| m.max(x.abs()));
        let most = samples.iter().map(distance).fold(0.0, f64::max);
        println!("{name}: at most {most:e} off, of {largest}");
        assert!(
            largest > 0.1 && most <= 1e-5 * largest.max(1.0),
            "{name}: {most}"
        );
    }
}

#[test]
fn int8_is_within_two_steps_of_the_reference_kernels() {
    for name in ["convolutional_int8", "activations_int8"] {
        let samples = outputs(name);
        let most = samples.iter().map(distance).fold(0.0, f64::max);
        let equal = samples
            .iter()
            .flat_map(|(a, b)| a.iter().zip(b))
            .filter(|(a, b)| a == b);
        println!("{name}: {} bytes equal, at most {most} off", equal.count());
        assert!(most <= 2.0, "{name}: {most}");
        let varies = |i: usize| samples.iter().any(|s| s.1[i] != samples[0].1[i]);
        assert!(
            (0..samples[0].1.len()).any(varies),
            "the outputs say something"
        );
    }
    for (ours, theirs) in outputs("convolutional_int8") {
        assert_eq!(class(&ours), class(&theirs));
    }
}

#[test]
fn in_tensorflow_lites_rounding_every_byte_is_the_reference_kernels() {
    for name in ["convolutional_int8", "activations_int8"] {
        for target in [Target::Host, Target::CortexM4f, Target::CortexM0] {
            for (ours, theirs) in outputs_with(name, &rounded(target)) {
                assert_eq!(ours, theirs, "{name}");
            }
        }
    }
}

/// Networks with other weights, scales and zero points, and the result of each operator in its turn, which `tests/tflite_random.py` made
/// up; the last two are uint8. Their outputs are those of the reference kernels.
#[test]
fn random_layers_are_the_reference_kernels_in_every_byte() {
    let arrays = read_archive(file("random.npz")).unwrap();
    let array = |name: String| &arrays.iter().find(|(n, _)| *n == name).unwrap().1;
    let folder = Folder(tempfile::tempdir().unwrap());
    let (mut seen, mut others) = (0, 0);
    for k in 0..arrays.len() / 3 {
        let bytes = |name: &str| match &array(format!("{name}_{k}")).data {
            Data::I8(v) => v.iter().map(|&b| b as u8).collect::<Vec<u8>>(),
            Data::U8(v) => v.clone(),
            other => panic!("{:?}", other.dtype()),
        };
        let path = folder.0.path().join(format!("{k}.tflite"));
        fs::write(&path, bytes("model")).unwrap();
        let samples = array(format!("inputs_{k}")).shape[0];
        let inputs = bytes("inputs");
        let rows: Vec<Vec<u8>> = inputs
            .chunks(inputs.len() / samples)
            .map(<[u8]>::to_vec)
            .collect();
        let run = |options: &CompileOptions| {
            let model = Model::open(&path, &LoadOptions::default(), options);
            run_on_host(&model.unwrap_or_else(|e| panic!("{e}")), &rows).concat()
        };
        let want = bytes("outputs");
        assert!(run(&rounded(Target::Host)) == want, "model {k}");
        let contract = run(&CompileOptions::default());
        let off = |(a, b): (&u8, &u8)| a.wrapping_sub(*b).min(b.wrapping_sub(*a));
        let most = contract.iter().zip(&want).map(off).max();
        assert!(most <= Some(10), "model {k}: {most:?}");
        others += contract.iter().zip(&want).filter(|(a, b)| a != b).count();
        seen += want.len();
    }
    println!("{seen} bytes; our contract has {others} others");
    assert!(
        seen > 20_000 && others > seen / 50 && others < seen / 5,
        "{seen} {others}"
    );
}

/// The last two of `random.npz`, which are uint8 throughout.
#[test]
fn unsigned_files_run_in_int8_and_keep_their_type_outside() {
    let arrays = read_archive(file("random.npz")).unwrap();
    let array = |name: String| &arrays.iter().find(|(n, _)| *n == name).unwrap().1;
    let folder = Folder(tempfile::tempdir().unwrap());
    for k in [28, 29] {
        let Data::U8(bytes) = &array(format!("model_{k}")).data else {
            panic!("a file's bytes");
        };
        fs::write(folder.0.path().join("m.tflite"), bytes).unwrap();
        let inputs = array(format!("inputs_{k}"));
        assert!(matches!(inputs.data, Data::U8(_)));
        kinglet_export::files::write_tensor(folder.0.path().join("x.npy"), inputs).unwrap();
        let run = "run @m.tflite --input @x.npy --output @y.npy --rounding tflite";
        let done = folder.kinglet(run);
        assert!(done.succeeded, "{done:?}");
        let y = kinglet_export::files::read_tensor(folder.0.path().join("y.npy")).unwrap();
        assert_eq!(y.data, array(format!("outputs_{k}")).data, "model {k}");
        let options = rounded(Target::Host);
        let path = folder.0.path().join("m.tflite");
        let model = Model::open(&path, &LoadOptions::default(), &options).unwrap();
        assert!(model.warnings.is_empty(), "{:?}", model.warnings);
    }
}

#[test]
fn a_board_gives_the_bytes_of_the_reference_kernels() {
    for (name, loaded) in [("convolutional_int8", false), ("activations_int8", true)] {
        let board = board("mps2-an386").unwrap();
        let model = open_with(&format!("{name}.tflite"), &rounded(board.plan_target));
        let arrays = read_archive(file(&format!("{name}.npz"))).unwrap();
        let bytes = |wanted| -> Vec<Vec<u8>> {
            let tensor = &arrays.iter().find(|(name, _)| name == wanted).unwrap().1;
            let bytes: Vec<u8> = reals(&tensor.data).iter().map(|&y| y as i8 as u8).collect();
            let rows = bytes.chunks(bytes.len() / tensor.shape[0]);
            rows.map(<[u8]>::to_vec).collect()
        };
        let request = Request {
            board,
            plan: &model.plan,
            samples: &bytes("inputs"),
            mode: Mode::Run,
            loaded,
        };
        let device = emulate(&request, &|_| {}).unwrap_or_else(|error| panic!("{error}"));
        println!("{name}: {:?} instructions", device.instructions);
        assert_eq!(device.outputs, bytes("outputs"), "{name}");
    }
}

#[test]
fn options_that_need_other_kernels_are_refused_in_this_rounding() {
    let folder = Folder(tempfile::tempdir().unwrap());
    let model = file("convolutional_int8.tflite");
    let compile = format!(
        "compile {} -o @m.kinglet --rounding tflite",
        model.display()
    );
    assert!(folder.kinglet(&compile).succeeded);
    for option in ["--weights auto", "--weights coded", "--sparse always"] {
        let done = folder.kinglet(&format!("{compile} {option}"));
        let name = option.split(' ').next().unwrap();
        done.failed_naming(&["plain weights", name, "--rounding kinglet"]);
    }
    let done = folder.kinglet("run @m.kinglet --rounding tflite --input @x.npy --output @y.npy");
    done.failed_naming(&["m.kinglet", "is a plan", "--rounding tflite"]);
}

#[test]
fn every_layer_of_the_int8_network_runs_in_int8() {
    let model = open("convolutional_int8.tflite");
    let steps = model.steps().unwrap();
    let shape = |i| model.graph.as_ref().unwrap()[i].shape.clone();
    assert_eq!(
        shape(model.graph.as_ref().unwrap().inputs[0]),
        [1, 11, 8, 3]
    );
    for step in steps {
        assert_eq!(format!("{:?}", step.dtype), "I8", "{}", step.name);
        assert!(!step.operator.contains("Transpose"), "{}", step.name);
    }
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn kinglet(&self, words: &str) -> Done {
        let words = words.split(' ').map(|word| match word.strip_prefix('@') {
            Some(file) => self.0.path().join(file),
            None => PathBuf::from(word),
        });
        kinglet(env!("CARGO_BIN_EXE_kinglet-tested"), words)
    }
}

#[test]
fn commands_take_tensorflow_lite_files_whatever_their_name() {
    let folder = Folder(tempfile::tempdir().unwrap());
    for kind in ["int8", "float"] {
        fs::copy(
            file(&format!("convolutional_{kind}.tflite")),
            folder.0.path().join(format!("{kind}.bin")),
        )
        .unwrap();
        let arrays = read_archive(file(&format!("convolutional_{kind}.npz"))).unwrap();
        let inputs = &arrays.iter().find(|(name, _)| name == "inputs").unwrap().1;
        kinglet_export::files::write_tensor(folder.0.path().join(format!("{kind}.npy")), inputs)
            .unwrap();
    }
    let report = folder.kinglet("inspect @int8.bin --json").json();
    assert!(report.to_string().contains("conv_2d_0"), "{report}");
    folder
        .kinglet("compile @int8.bin -o @int8.kinglet --json")
        .json();
    for (model, output) in [("int8.bin", "a.npy"), ("int8.kinglet", "b.npy")] {
        let done = folder.kinglet(&format!(
            "run @{model} --input @int8.npy --output @{output}"
        ));
        assert!(done.succeeded, "{done:?}");
    }
    let bytes = |name: &str| fs::read(folder.0.path().join(name)).unwrap();
    assert_eq!(bytes("a.npy"), bytes("b.npy"));
    let verified = folder
        .kinglet("verify @float.bin --input @float.npy --json")
        .json();
    assert!(
        verified["steps"].as_array().is_some_and(|s| s.len() > 10),
        "{verified}"
    );
    folder
        .kinglet("quantize @float.bin --calibration @float.npy -o @out.onnx --json")
        .json();
    let done = folder.kinglet("run @out.onnx --input @float.npy --output @c.npy");
    assert!(done.succeeded, "{done:?}");
}

#[test]
fn dynamic_range_models_are_refused_with_the_way_round() {
    let folder = Folder(tempfile::tempdir().unwrap());
    let model = file("dense_dynamic.tflite");
    let done = folder.kinglet(&format!("inspect {}", model.display()));
    done.failed_naming(&["operator", "dynamic range", "representative dataset"]);
}

#[test]
fn damaged_files_are_refused_or_read_never_more() {
    let whole = fs::read(file("convolutional_int8.tflite")).unwrap();
    let read = |bytes: &[u8]| catch_unwind(|| tflite::to_onnx(bytes)).expect("no panic");
    assert!(read(&whole).is_ok());
    for len in 0..whole.len() {
        // The last bytes belong to a table that nothing needs to read.
        let cut = read(&whole[..len]);
        assert!(cut.is_err() || len > whole.len() / 2, "{len}");
    }
    let mut random = Random::new(9);
    let (mut refused, mut imported) = (0, 0);
    for i in 0..6000 {
        let mut bytes = whole.clone();
        for _ in 0..random.between(1, 3) {
            let at = random.below(bytes.len());
            bytes[at] = match random.below(3) {
                0 => random.below(256) as u8,
                1 => bytes[at] ^ (1 << random.below(8)),
                _ => [0, 1, 0x7f, 0x80, 0xff][random.below(5)],
            };
        }
        match read(&bytes) {
            Ok(model) if i % 20 == 0 => {
                imported += 1;
                let _ =
                    catch_unwind(|| load_model(&model, &LoadOptions::default())).expect("no panic");
            }
            Ok(_) => {}
            Err(error) => {
                refused += 1;
                assert!(!error.to_string().is_empty());
            }
        }
    }
    assert!(refused > 100 && imported > 10, "{refused} {imported}");
}
