//! Bad input to the command: a non-zero exit code, a message that names the thing, and no trace in the folder.

use kinglet_export::files::{Tensor, read_tensor, write_tensor};
use kinglet_export::graph::{Data, Graph};
use kinglet_export::onnx::write;
use kinglet_tests::command::{Done, kinglet};
use kinglet_tests::networks::{classifier, relu, two_inputs};
use kinglet_tests::random::Random;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_kinglet-tested");

/// A folder with models and inputs in it.
struct Folder(TempDir);

impl Folder {
    /// With `float.onnx`, `int8.onnx`, their plans `….kinglet`, and the good inputs `float.npy` and `int8.npy`.
    fn new() -> Self {
        let folder = Folder(tempfile::tempdir().unwrap());
        folder.model("float.onnx", &classifier(false));
        folder.model("int8.onnx", &classifier(true));
        for name in ["float", "int8"] {
            let (from, to) = (
                folder.path(&format!("{name}.onnx")),
                folder.path(&format!("{name}.kinglet")),
            );
            assert!(
                kinglet(
                    PROGRAM,
                    [
                        "compile".as_ref(),
                        from.as_os_str(),
                        "-o".as_ref(),
                        to.as_os_str()
                    ]
                )
                .succeeded
            );
        }
        let len = 3 * 9 * 11;
        folder.tensor("float.npy", &[2, 3, 9, 11], Data::F32(vec![0.5; 2 * len]));
        folder.tensor("int8.npy", &[2, 3, 9, 11], Data::I8(vec![7; 2 * len]));
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn model(&self, name: &str, graph: &Graph) {
        write::write(graph, self.path(name)).unwrap();
    }

    fn tensor(&self, name: &str, shape: &[usize], data: Data) {
        write_tensor(
            self.path(name),
            &Tensor {
                shape: shape.to_vec(),
                data,
            },
        )
        .unwrap();
    }

    fn bytes(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    /// Every file with its contents.
    fn contents(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        fn add(folder: &Path, all: &mut BTreeMap<PathBuf, Vec<u8>>) {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    add(&path, all);
                    all.insert(path, Vec::new());
                } else {
                    let bytes = std::fs::read(&path).unwrap();
                    all.insert(path, bytes);
                }
            }
        }
        let mut all = BTreeMap::new();
        add(self.0.path(), &mut all);
        all
    }

    /// Runs a command whose words are separated by spaces; those with a dot are files in the folder.
    fn kinglet(&self, words: &str) -> Done {
        let word = |w: &str| match w.split_once('=') {
            Some((name, file)) if file.contains('.') => {
                format!("{name}={}", self.path(file).display())
            }
            None if w.contains('.') => self.path(w).display().to_string(),
            _ => w.to_owned(),
        };
        kinglet(PROGRAM, words.split(' ').map(word))
    }

    /// The command fails, names `expected`, and leaves the folder as it was: once without an output, once with an old one.
    fn refuses(&self, words: &str, expected: &[&str]) {
        for old in [false, true] {
            if old {
                for name in ["out.npy", "out.kinglet"] {
                    self.bytes(name, b"an older result");
                }
            }
            let before = self.contents();
            self.kinglet(words).failed_naming(expected);
            assert!(self.contents() == before, "`{words}` left something behind");
        }
        for name in ["out.npy", "out.kinglet"] {
            std::fs::remove_file(self.path(name)).unwrap();
        }
    }

    fn run_refuses(&self, model: &str, input: &str, expected: &[&str]) {
        self.refuses(
            &format!("run {model} --input {input} --output out.npy"),
            expected,
        );
    }
}

#[test]
fn the_good_files_are_good() {
    let folder = Folder::new();
    for model in ["float.onnx", "float.kinglet", "int8.onnx", "int8.kinglet"] {
        let input = model.split('.').next().unwrap();
        let done = folder.kinglet(&format!("run {model} --input {input}.npy --output out.npy"));
        assert!(done.succeeded, "{done:?}");
        assert!(folder.path("out.npy").exists());
    }
}

#[test]
fn truncated_plans_are_refused() {
    let folder = Folder::new();
    let whole = folder.read("int8.kinglet");
    for len in [0, 5, 11, 40, whole.len() / 2] {
        folder.bytes("cut.kinglet", &whole[..len]);
        folder.run_refuses("cut.kinglet", "int8.npy", &["cut.kinglet", "cut off"]);
    }
}

#[test]
fn bit_flipped_plans_are_refused() {
    let folder = Folder::new();
    let whole = folder.read("int8.kinglet");
    let mut random = Random::new(1);
    // The names of the steps at the end are for people only and have no checksum.
    let mut places = vec![0, 9, 13, 21];
    places.extend([0; 6].map(|_| random.between(16, 1000)));
    for byte in places {
        let mut bad = whole.clone();
        bad[byte] ^= 1 << random.below(8);
        folder.bytes("flipped.kinglet", &bad);
        folder.run_refuses("flipped.kinglet", "int8.npy", &["flipped.kinglet"]);
    }
}

#[test]
fn random_bytes_are_no_plan_and_no_model() {
    let folder = Folder::new();
    let mut random = Random::new(2);
    for len in [3, 300, 3000] {
        let noise: Vec<u8> = (0..len).map(|_| random.byte() as u8).collect();
        for name in ["noise.kinglet", "noise.onnx"] {
            folder.bytes(name, &noise);
            folder.run_refuses(name, "int8.npy", &[name]);
        }
        folder.refuses("compile noise.onnx -o out.kinglet", &["noise.onnx"]);
        folder.refuses("inspect noise.onnx", &["noise.onnx"]);
    }
}

#[test]
fn truncated_models_are_refused() {
    let folder = Folder::new();
    let whole = folder.read("int8.onnx");
    for len in [0, 1, whole.len() / 3, whole.len() - 1] {
        folder.bytes("cut.onnx", &whole[..len]);
        folder.refuses("compile cut.onnx -o out.kinglet", &["cut.onnx"]);
    }
}

#[test]
fn wrong_shapes_are_refused_with_both_shapes() {
    let folder = Folder::new();
    for (shape, found) in [
        (&[1, 3, 11, 9][..], "[3, 11, 9]"),
        (&[2, 297], "[297]"),
        (&[3, 9, 11], "[9, 11]"),
    ] {
        folder.tensor(
            "wrong.npy",
            shape,
            Data::F32(vec![0.0; shape.iter().product()]),
        );
        for model in ["float.onnx", "float.kinglet"] {
            folder.run_refuses(
                model,
                "wrong.npy",
                &["wrong.npy", found, "[1, 3, 9, 11]", "image"],
            );
        }
    }
}

#[test]
fn wrong_element_types_are_refused_with_both_types() {
    let folder = Folder::new();
    folder.run_refuses(
        "float.kinglet",
        "int8.npy",
        &["int8.npy", "int8", "float32", "image"],
    );
    folder.run_refuses(
        "int8.onnx",
        "float.npy",
        &["float.npy", "float32", "int8", "image"],
    );
}

#[test]
fn numbers_that_are_not_finite_are_refused_with_their_place() {
    let folder = Folder::new();
    for (bad, name) in [
        (f32::NAN, "NaN"),
        (f32::INFINITY, "inf"),
        (f32::NEG_INFINITY, "-inf"),
    ] {
        let mut values = vec![0.25; 2 * 297];
        values[297 + 41] = bad;
        folder.tensor("bad.npy", &[2, 3, 9, 11], Data::F32(values));
        folder.run_refuses(
            "float.onnx",
            "bad.npy",
            &["bad.npy", "element 41 of sample 1", name],
        );
    }
}

#[test]
fn truncated_and_damaged_arrays_are_refused() {
    let folder = Folder::new();
    let whole = folder.read("float.npy");
    for len in [0, 5, 60, 127, 130, whole.len() - 1] {
        folder.bytes("cut.npy", &whole[..len]);
        folder.run_refuses("float.onnx", "cut.npy", &["cut.npy"]);
    }
    let mut long = whole;
    long.push(0);
    folder.bytes("long.npy", &long);
    folder.run_refuses("float.onnx", "long.npy", &["long.npy", "damaged"]);
}

#[test]
fn no_samples_give_no_rows_and_cannot_be_emulated() {
    let folder = Folder::new();
    folder.tensor("none.npy", &[0, 3, 9, 11], Data::F32(Vec::new()));
    folder.refuses(
        "emulate float.onnx --input none.npy --output out.npy",
        &["no samples"],
    );
    assert!(
        folder
            .kinglet("run float.onnx --input none.npy --output out.npy")
            .succeeded
    );
    assert_eq!(read_tensor(folder.path("out.npy")).unwrap().shape, [0, 5]);
}

#[test]
fn bad_calibration_data_make_no_model() {
    let folder = Folder::new();
    let quantize = |samples: &str, expected: &[&str]| {
        let words = format!("quantize float.onnx --calibration {samples} -o quantized.onnx");
        folder.refuses(&words, expected);
    };
    quantize("none.npy", &["none.npy"]);
    quantize("int8.npy", &["int8.npy", "int8", "float32"]);
    folder.tensor("nan.npy", &[1, 3, 9, 11], Data::F32(vec![f32::NAN; 297]));
    quantize("nan.npy", &["nan.npy", "NaN"]);
    folder.tensor("empty.npy", &[0, 3, 9, 11], Data::F32(Vec::new()));
    quantize("empty.npy", &["no samples"]);
    folder.tensor("wrong.npy", &[4, 297], Data::F32(vec![0.0; 4 * 297]));
    quantize("wrong.npy", &["wrong.npy", "[297]", "[1, 3, 9, 11]"]);
    quantize("float.npy --percentile 140", &["140"]);
}

#[test]
fn an_unsupported_operator_is_named_with_its_node_and_opset() {
    let folder = Folder::new();
    folder.model("relu.onnx", &relu(6, false));
    // The same length, so that the file stays well-formed.
    let known = folder.read("relu.onnx");
    let at = known.windows(4).position(|w| w == b"Relu").unwrap();
    let mut unknown = known;
    unknown[at..at + 4].copy_from_slice(b"TopK");
    folder.bytes("topk.onnx", &unknown);
    folder.tensor("six.npy", &[1, 6], Data::F32(vec![0.0; 6]));
    let expected = ["topk.onnx", "n0", "TopK", "opset 17", "not supported"];
    folder.refuses("compile topk.onnx -o out.kinglet", &expected);
    folder.refuses("inspect topk.onnx --json", &expected);
    folder.run_refuses("topk.onnx", "six.npy", &expected);
    folder.refuses(
        "emulate topk.onnx --input six.npy --output out.npy",
        &expected,
    );
}

#[test]
fn missing_files_are_named() {
    let folder = Folder::new();
    folder.run_refuses("none.onnx", "float.npy", &["none.onnx"]);
    folder.run_refuses("none.kinglet", "float.npy", &["none.kinglet"]);
    folder.run_refuses("float.onnx", "none.npy", &["none.npy"]);
    folder.refuses("compile none.onnx -o out.kinglet", &["none.onnx"]);
    folder.refuses("inspect none.onnx", &["none.onnx"]);
    folder.refuses(
        "compile float.onnx -o no/such/folder/out.kinglet",
        &["no/such/folder"],
    );
    folder.refuses(
        "run float.onnx --input float.npy --output no/such/folder/out.npy",
        &["no/such/folder"],
    );
}

#[test]
fn a_file_that_is_no_model_by_its_name_is_refused() {
    let folder = Folder::new();
    folder.bytes("model.pt", b"TFL3");
    folder.run_refuses("model.pt", "float.npy", &["model.pt", ".onnx", ".tflite"]);
    folder.refuses(
        "compile int8.kinglet -o out.kinglet",
        &["int8.kinglet", "plan"],
    );
}

#[test]
fn an_unknown_board_lists_the_known_ones() {
    let folder = Folder::new();
    let expected = ["pico9", "mps2-an386"];
    folder.refuses(
        "emulate int8.onnx --board pico9 --input int8.npy --output out.npy",
        &expected,
    );
    folder.refuses("bench int8.onnx --board pico9", &expected);
    folder.refuses("verify int8.onnx --board pico9 --input int8.npy", &expected);
}

#[test]
fn a_model_too_large_for_the_board_is_refused_with_both_sizes() {
    let folder = Folder::new();
    let len = 5 << 20;
    folder.model("large.onnx", &relu(len, true));
    folder.tensor("large.npy", &[1, len], Data::I8(vec![1; len]));
    let expected = ["mps2-an386", "RAM", "arena", "4194304"];
    folder.refuses(
        "emulate large.onnx --board mps2-an386 --input large.npy --output out.npy",
        &expected,
    );
    // The host has room.
    assert!(
        folder
            .kinglet("run large.onnx --input large.npy --output out.npy")
            .succeeded
    );
}

#[test]
fn wrong_arguments_for_several_inputs_are_refused_with_the_names() {
    let folder = Folder::new();
    folder.model("two.onnx", &two_inputs(false));
    folder.tensor("a.npy", &[2, 2, 3], Data::F32(vec![0.5; 12]));
    folder.tensor("b.npy", &[3, 2, 3], Data::F32(vec![0.5; 18]));
    let run = |inputs: &str, expected: &[&str]| {
        folder.refuses(&format!("run two.onnx {inputs} --output results"), expected)
    };
    run("--input a.npy", &["--input a=FILE --input b=FILE"]);
    run("--input a=a.npy", &["--input a=FILE --input b=FILE"]);
    run(
        "--input a=a.npy --input c=a.npy",
        &["--input a=FILE --input b=FILE"],
    );
    run(
        "--input a=a.npy --input b=a.npy --input c=a.npy",
        &["--input a=FILE --input b=FILE"],
    );
    run("--input a=a.npy --input b=b.npy", &["`b`", "3", "2"]);
}
