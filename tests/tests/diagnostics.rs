//! Errors as help: the likely mistakes, each with its code, what is wrong, and the next step.

use kinglet_export::compile::{CompileOptions, compile};
use kinglet_export::diagnose::diagnose;
use kinglet_export::files::{Tensor, write_tensor};
use kinglet_export::graph::{Clamp, Data, Graph, Op};
use kinglet_export::onnx::write;
use kinglet_tests::command::{Done, kinglet};
use kinglet_tests::networks::{Builder, classifier, relu};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_kinglet-tested");

struct Folder(TempDir);

impl Folder {
    /// With the classifier as `float.onnx` and `int8.onnx` (image `[1, 3, 9, 11]`), and `float.npy` that fits the first.
    fn new() -> Folder {
        let folder = Folder(tempfile::tempdir().unwrap());
        folder.model("float.onnx", &classifier(false));
        folder.model("int8.onnx", &classifier(true));
        folder.floats("float.npy", &[9, 3, 9, 11], |i| (i % 7) as f32 / 7.0);
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn model(&self, name: &str, graph: &Graph) {
        write::write(graph, self.path(name)).unwrap();
    }

    fn bytes(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    fn tensor(&self, name: &str, shape: &[usize], data: Data) {
        let shape = shape.to_vec();
        write_tensor(self.path(name), &Tensor { shape, data }).unwrap();
    }

    fn floats(&self, name: &str, shape: &[usize], value: fn(usize) -> f32) {
        let values = (0..shape.iter().product()).map(value).collect();
        self.tensor(name, shape, Data::F32(values));
    }

    /// Words are separated by spaces; those with a dot are files in the folder.
    fn kinglet(&self, words: &str) -> Done {
        let word = |w: &str| match w.contains('.') {
            true => self.path(w).display().to_string(),
            false => w.to_owned(),
        };
        kinglet(PROGRAM, words.split(' ').map(word))
    }

    /// The command fails with this code; message and help contain these words.
    fn fails(&self, words: &str, code: &str, expected: &[&str]) {
        let done = self.kinglet(words);
        done.failed_naming(expected);
        said(&done, "error", code);
    }

    /// The command warns with this code and these words, and succeeds.
    fn warns(&self, words: &str, code: &str, expected: &[&str]) {
        let done = self.kinglet(words);
        assert!(done.succeeded, "{done:?}");
        said(&done, "warning", code);
        for word in expected {
            assert!(done.stderr.contains(word), "`{word}`: {}", done.stderr);
        }
    }

    /// The command says nothing of this code.
    fn is_silent(&self, words: &str, code: &str) {
        let done = self.kinglet(words);
        assert!(done.succeeded && !done.stderr.contains(code), "{done:?}");
    }
}

fn said(done: &Done, what: &str, code: &str) {
    let line = format!("{what}[{code}]: ");
    assert!(
        done.stderr.lines().any(|l| l.starts_with(&line)),
        "no `{line}` in {}",
        done.stderr
    );
    assert!(done.stderr.contains("\nhelp: "), "{}", done.stderr);
}

fn run(model: &str, input: &str) -> String {
    format!("run {model} --input {input} --output out.npy")
}

#[test]
fn other_files_than_onnx_are_recognised_by_their_contents() {
    let folder = Folder::new();
    let cases: [(&str, &[u8], &[&str]); 8] = [
        (
            "page.onnx",
            b"<!DOCTYPE html><html><body>404</body></html>",
            &["a web page", "raw file"],
        ),
        (
            "lfs.onnx",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
            &["Git LFS", "git lfs pull"],
        ),
        (
            "net.pt",
            b"PK\x03\x04\0\0\0\0\0\0archive/data.pkl",
            &["a PyTorch file", "torch.onnx.export"],
        ),
        (
            "net.keras",
            b"PK\x03\x04\0\0\0\0\0\0config.json",
            &["a Keras archive", "tf2onnx"],
        ),
        (
            "net.h5",
            b"\x89HDF\r\n\x1a\n\0\0\0\0",
            &["an HDF5 file", "tf2onnx"],
        ),
        (
            "renamed.onnx",
            b"PK\x03\x04\0\0\0\0\0\0model.onnx",
            &["a zip archive", "unpack"],
        ),
        ("empty.onnx", b"", &["an empty file", "again"]),
        (
            "data.onnx",
            b"\x93NUMPY\x01\0",
            &["a numpy array", "--input"],
        ),
    ];
    for (name, bytes, expected) in cases {
        folder.bytes(name, bytes);
        folder.fails(&run(name, "float.npy"), "model::not-onnx", expected);
    }
}

#[test]
fn a_model_that_is_cut_off_is_a_broken_download() {
    let folder = Folder::new();
    let whole = std::fs::read(folder.path("int8.onnx")).unwrap();
    folder.bytes("cut.onnx", &whole[..whole.len() / 2]);
    folder.fails(
        "inspect cut.onnx",
        "model::truncated",
        &["cut.onnx", "length", "again"],
    );
}

#[test]
fn what_a_model_asks_for_and_does_not_run_comes_with_a_way_round() {
    let folder = Folder::new();
    folder.model("relu.onnx", &relu(6, false));
    let known = std::fs::read(folder.path("relu.onnx")).unwrap();
    let at = known.windows(4).position(|w| w == b"Relu").unwrap();
    let mut topk = known.clone();
    topk[at..at + 4].copy_from_slice(b"TopK");
    folder.bytes("topk.onnx", &topk);
    folder.fails(
        "inspect topk.onnx",
        "model::operator",
        &["TopK", "n0", "cut the graph", "docs/operators.md"],
    );

    use prost::Message;
    use tract_onnx::pb::{ModelProto, TensorProto};
    let change = |name: &str, from: &str, change: &dyn Fn(&mut ModelProto)| {
        let bytes = std::fs::read(folder.path(from)).unwrap();
        let mut model = ModelProto::decode(bytes.as_slice()).unwrap();
        change(&mut model);
        folder.bytes(name, &model.encode_to_vec());
    };
    change("new.onnx", "relu.onnx", &|m| m.opset_import[0].version = 99);
    folder.fails(
        "inspect new.onnx",
        "model::opset",
        &["opset 99", "version_converter"],
    );
    change("outside.onnx", "float.onnx", &|m| {
        let initializers = &mut m.graph.as_mut().unwrap().initializer;
        let outside = |t: &mut TensorProto| t.data_location = Some(1);
        initializers.iter_mut().for_each(outside);
    });
    folder.fails(
        "inspect outside.onnx",
        "model::external-data",
        &["save_as_external_data=False"],
    );
    change("open.onnx", "float.onnx", &|m| {
        use tract_onnx::pb::{tensor_shape_proto::dimension::Value, type_proto};
        let input = &mut m.graph.as_mut().unwrap().input[0];
        let ty = input.r#type.as_mut().unwrap().value.as_mut().unwrap();
        let type_proto::Value::TensorType(tensor) = ty;
        let dims = &mut tensor.shape.as_mut().unwrap().dim;
        dims[2].value = Some(Value::DimParam("height".into()));
    });
    folder.fails(
        "inspect open.onnx",
        "model::shape",
        &["`image`", "`height`", "--shape image="],
    );
}

#[test]
fn layers_whose_parameters_are_computed_say_what_has_to_be_constant() {
    use prost::Message;
    use tract_onnx::pb::{
        ModelProto, tensor_shape_proto::Dimension, tensor_shape_proto::dimension, type_proto,
    };
    let folder = Folder::new();
    let bytes = std::fs::read(folder.path("float.onnx")).unwrap();
    // The first convolution's operand becomes an input of the model.
    let computed = |name: &str, operand: usize| {
        let mut model = ModelProto::decode(bytes.as_slice()).unwrap();
        let graph = model.graph.as_mut().unwrap();
        let conv = graph.node.iter().find(|n| n.op_type == "Conv").unwrap();
        let operand = conv.input[operand].clone();
        let at = graph.initializer.iter().position(|t| t.name == operand);
        let tensor = graph.initializer.remove(at.unwrap());
        let mut input = graph.input[0].clone();
        input.name = operand;
        let ty = input.r#type.as_mut().unwrap().value.as_mut().unwrap();
        let type_proto::Value::TensorType(ty) = ty;
        let dim = |&d: &i64| Dimension {
            value: Some(dimension::Value::DimValue(d)),
            ..Dimension::default()
        };
        ty.shape.as_mut().unwrap().dim = tensor.dims.iter().map(dim).collect();
        graph.input.push(input);
        folder.bytes(name, &model.encode_to_vec());
    };
    computed("bias.onnx", 2);
    folder.fails(
        "inspect bias.onnx",
        "model::attribute",
        &["bias", "must be a constant", "docs/operators.md"],
    );
    computed("weights.onnx", 1);
    folder.fails(
        "inspect weights.onnx",
        "model::attribute",
        &["weights must be constant", "docs/operators.md"],
    );
}

/// No file leads here: what the importer lets through and the passes lower compiles. Graphs that are made in code may not.
#[test]
fn a_layer_that_has_no_kernel_says_what_it_lacks() {
    let mut graph = classifier(true);
    let convolution = graph.nodes[0].inputs[1];
    if let Some(quantization) = &mut graph[convolution].quantization {
        quantization.zero_point = 1;
    }
    let error = compile(&graph, &CompileOptions::default()).unwrap_err();
    assert!(error.to_string().contains("symmetric"), "{error}");
    let diagnosis = diagnose(&error).unwrap();
    assert_eq!(diagnosis.code, "compile::unsupported");
    assert!(
        diagnosis.help.contains("docs/operators.md"),
        "{diagnosis:?}"
    );
}

#[test]
fn weights_that_are_no_numbers_are_named() {
    let folder = Folder::new();
    let mut graph = classifier(false);
    let weight = graph
        .values
        .iter_mut()
        .find(|v| matches!(&v.data, Some(Data::F32(w)) if w.len() > 100));
    let weight = weight.unwrap();
    let name = weight.name.clone();
    if let Some(Data::F32(values)) = &mut weight.data {
        values[3] = f32::NAN;
    }
    folder.model("bad.onnx", &graph);
    folder.warns(
        "compile bad.onnx -o bad.kinglet",
        "model::not-finite",
        &[&name, "NaN", "numpy.isfinite"],
    );
}

#[test]
fn data_of_another_layout_come_with_their_transposition() {
    let folder = Folder::new();
    folder.floats("last.npy", &[2, 9, 11, 3], |_| 0.5);
    folder.fails(
        &run("float.onnx", "last.npy"),
        "data::layout",
        &["[9, 11, 3]", "[1, 3, 9, 11]", "x.transpose(0, 3, 1, 2)"],
    );
    folder.floats("one.npy", &[3, 9, 11], |_| 0.5);
    folder.fails(&run("float.onnx", "one.npy"), "data::batch", &["x[None]"]);
    folder.floats("flat.npy", &[2, 297], |_| 0.5);
    folder.fails(
        &run("float.onnx", "flat.npy"),
        "data::shape",
        &["x.reshape(-1, 3, 9, 11)"],
    );
}

#[test]
fn data_of_another_type_come_with_their_conversion() {
    let folder = Folder::new();
    folder.tensor("bytes.npy", &[1, 3, 9, 11], Data::U8(vec![9; 297]));
    folder.fails(
        &run("float.onnx", "bytes.npy"),
        "data::dtype",
        &["uint8", "float32", "/ 255"],
    );
    folder.fails(
        &run("int8.onnx", "float.npy"),
        "data::dtype",
        &["scale", "zero_point", "kinglet inspect"],
    );
    let mut values = vec![0.5; 297];
    values[7] = f32::NAN;
    folder.tensor("nan.npy", &[1, 3, 9, 11], Data::F32(values));
    folder.fails(
        &run("float.onnx", "nan.npy"),
        "data::not-finite",
        &["element 7 of sample 0", "nan_to_num"],
    );
}

#[test]
fn inputs_that_are_scaled_otherwise_than_in_calibration_are_doubted() {
    let folder = Folder::new();
    let quantize = "quantize float.onnx --calibration float.npy -o quantized.onnx";
    folder.is_silent(quantize, "warning");
    folder.floats("pixels.npy", &[2, 3, 9, 11], |i| (i % 256) as f32);
    folder.warns(
        &run("quantized.onnx", "pixels.npy"),
        "data::scaling",
        &["from 0 to 255", "pixels from 0 to 255", "x / 255"],
    );
    folder.floats("tiny.npy", &[2, 3, 9, 11], |i| (i % 256) as f32 / 65025.0);
    folder.warns(
        &run("quantized.onnx", "tiny.npy"),
        "data::scaling",
        &["do not divide"],
    );
    folder.is_silent(&run("quantized.onnx", "float.npy"), "data::scaling");
    // A float model was never calibrated.
    folder.is_silent(&run("float.onnx", "pixels.npy"), "data::scaling");
}

#[test]
fn calibration_data_that_say_too_little_are_doubted() {
    let folder = Folder::new();
    let quantize =
        |data: &str| format!("quantize float.onnx --calibration {data} -o quantized.onnx");
    folder.floats("few.npy", &[3, 3, 9, 11], |i| (i % 7) as f32);
    folder.warns(
        &quantize("few.npy"),
        "data::few-samples",
        &["only 3", "hundred"],
    );
    folder.floats("same.npy", &[20, 3, 9, 11], |i| (i % 297) as f32);
    folder.warns(
        &quantize("same.npy"),
        "data::constant",
        &["all 20", "are the same"],
    );
    folder.fails(
        "quantize int8.onnx --calibration float.npy -o quantized.onnx",
        "quantize::already",
        &["compile it as it is"],
    );
}

#[test]
fn a_float_model_for_a_microcontroller_is_doubted() {
    let folder = Folder::new();
    folder.warns(
        "compile float.onnx -o float.kinglet --target cortex-m4f",
        "compile::float-model",
        &["computes in float", "kinglet quantize"],
    );
    folder.is_silent(
        "compile int8.onnx -o int8.kinglet --target cortex-m4f",
        "compile::float-model",
    );
    folder.is_silent(
        "compile float.onnx -o float.kinglet",
        "compile::float-model",
    );
    folder.fails(
        "compile float.onnx -o f.kinglet --int8-io",
        "compile::int8-io",
        &["kinglet quantize"],
    );
}

#[test]
fn what_does_not_fit_says_by_how_much_and_where_it_would() {
    let folder = Folder::new();
    folder.fails(
        "compile int8.onnx -o int8.kinglet --target cortex-m4f --arena-limit 16",
        "compile::arena-limit",
        &["bytes are missing", "--arena-limit", "kinglet compress"],
    );
    let len = 40 << 10;
    folder.model("large.onnx", &relu(len, true));
    folder.tensor("large.npy", &[1, len], Data::I8(vec![1; len]));
    folder.fails(
        "emulate large.onnx --board microbit --input large.npy --output out.npy",
        "board::ram",
        &[
            "microbit",
            "bytes of RAM are missing",
            "--tile smallest",
            "mps2-an386",
        ],
    );
    let mut network = Builder::new(1, true);
    let x = network.input("x", &[1, 600], 0.1, 0);
    let weights = network.weights(&[500, 600]);
    let bias = network.bias(500, x, weights);
    let y = network.activation(&[1, 500], 1.0, 0);
    let clamp = Clamp::NONE;
    let y = network.node(Op::FullyConnected { clamp }, &[x, weights, bias], y);
    network.graph.outputs.push(y);
    folder.model("weights.onnx", &network.graph);
    folder.tensor("weights.npy", &[1, 600], Data::I8(vec![1; 600]));
    folder.fails(
        "emulate weights.onnx --board microbit --input weights.npy --output out.npy",
        "board::flash",
        &[
            "microbit",
            "bytes of flash are missing",
            "--weights auto",
            "kinglet compress",
            "mps2-an386",
        ],
    );
    folder.fails(
        "bench int8.onnx --board pico9",
        "board::unknown",
        &["pico9", "kinglet boards"],
    );
}

#[test]
fn plans_of_other_versions_and_damaged_ones_differ() {
    let folder = Folder::new();
    assert!(
        folder
            .kinglet("compile int8.onnx -o int8.kinglet")
            .succeeded
    );
    let whole = std::fs::read(folder.path("int8.kinglet")).unwrap();
    let mut other = whole.clone();
    let magic = kinglet::format::MAGIC.len();
    other[magic] = other[magic].wrapping_add(1);
    folder.bytes("other.kinglet", &other);
    folder.fails(
        "inspect other.kinglet",
        "plan::version",
        &["compile the model again"],
    );
    let mut damaged = whole.clone();
    damaged[whole.len() / 2] ^= 1;
    folder.bytes("damaged.kinglet", &damaged);
    folder.fails("inspect damaged.kinglet", "plan::damaged", &["not whole"]);
    folder.bytes("cut.kinglet", &whole[..64]);
    folder.fails("inspect cut.kinglet", "plan::damaged", &["cut off"]);
}

#[test]
fn files_and_folders_that_are_not_there_are_named() {
    let folder = Folder::new();
    folder.fails(
        "inspect none.onnx",
        "file::missing",
        &["none.onnx", "look at the name"],
    );
    folder.fails(
        &run("float.onnx", "none.npy"),
        "file::missing",
        &["none.npy"],
    );
    folder.fails(
        "inspect no/none.onnx",
        "file::missing",
        &["is not there either"],
    );
    folder.fails(
        "compile int8.onnx -o no/out.kinglet",
        "file::folder",
        &["mkdir -p"],
    );
}

#[test]
fn labels_that_are_none_say_what_they_should_be() {
    let folder = Folder::new();
    let report = "report float.onnx -o page.html --input float.npy --labels";
    folder.tensor("nine.npy", &[9], Data::I32(vec![9; 9]));
    folder.fails(
        &format!("{report} nine.npy"),
        "data::labels",
        &["label 9 of sample 0", "count classes from 0"],
    );
    folder.floats("hot.npy", &[9, 5], |i| f32::from(u8::from(i % 5 == 0)));
    folder.fails(&format!("{report} hot.npy"), "data::labels", &["argmax"]);
    folder.tensor("few.npy", &[3], Data::I32(vec![0; 3]));
    folder.fails(
        &format!("{report} few.npy"),
        "data::labels",
        &["3 labels for 9 samples"],
    );
}

#[test]
fn a_missing_tool_says_what_installs_it() {
    let folder = Folder::new();
    let words = ["emulate", "--board", "mps2-an386", "--input"];
    let output = Command::new(PROGRAM)
        .args(words)
        .arg(folder.path("float.npy"))
        .arg(folder.path("float.onnx"))
        .env("PATH", "")
        .env_remove("KINGLET_TARGETS_FROM_SOURCE")
        .env("KINGLET_CACHE", folder.path("cache"))
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(stderr.contains("error[tool::missing]: "), "{stderr}");
    assert!(stderr.contains("kinglet setup"), "{stderr}");
}

#[test]
fn a_key_that_is_none_says_which_one_is_meant() {
    let folder = Folder::new();
    assert!(
        folder
            .kinglet("compile int8.onnx -o int8.kinglet --target cortex-m4f")
            .succeeded
    );
    folder.bytes("key.pem", b"ssh-ed25519 AAAA");
    let done = folder
        .kinglet("sign int8.kinglet --key key.pem --target cortex-m4f --version 1 -o int8.image");
    let stderr = &done.stderr;
    assert!(
        !done.succeeded && stderr.contains("error[slots::key]: "),
        "{stderr}"
    );
    assert!(stderr.contains("kinglet keygen"), "{stderr}");
    folder.bytes("noise.image", &[7; 300]);
    folder.fails(
        "push noise.image --port /dev/null",
        "slots::refused",
        &["not an image"],
    );
}

#[test]
fn every_code_is_in_the_page() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/troubleshooting.md");
    let page = std::fs::read_to_string(page).unwrap();
    for code in kinglet_export::diagnose::CODES {
        assert!(page.contains(&format!("### `{code}`")), "{code}");
    }
}
