//! The command as people use it: what it prints, what it writes, and that its ways to the same result agree.

use kinglet_export::files::{Tensor, read_tensor, write_tensor};
use kinglet_export::graph::{Data, Graph};
use kinglet_export::onnx::write;
use kinglet_tests::command::{Done, kinglet};
use kinglet_tests::networks::{classifier, two_inputs};
use kinglet_tests::random::Random;
use kinglet_tests::random_network::chain;
use serde_json::Value;
use std::path::PathBuf;
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_kinglet-tested");

const SUBCOMMANDS: [&str; 19] = [
    "inspect", "train", "compress", "quantize", "compile", "run", "emulate", "verify", "bench",
    "report", "compare", "boards", "demo", "test", "setup", "keygen", "sign", "push", "web",
];

/// A folder with `model.onnx` (the int8 classifier), three samples `in.npy`, and `two.onnx` with `a.npy` and `b.npy`.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Folder(tempfile::tempdir().unwrap());
        folder.model("model.onnx", &classifier(true));
        folder.model("two.onnx", &two_inputs(false));
        let mut random = Random::new(9);
        let bytes: Vec<i8> = (0..3 * 297).map(|_| random.byte()).collect();
        folder.tensor("in.npy", &[3, 3, 9, 11], Data::I8(bytes));
        for name in ["a.npy", "b.npy"] {
            let values = (0..12).map(|_| random.real()).collect();
            folder.tensor(name, &[2, 2, 3], Data::F32(values));
        }
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

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    fn floats(&self, name: &str) -> (Vec<usize>, Vec<f32>) {
        let tensor = read_tensor(self.path(name)).unwrap();
        let Data::F32(values) = tensor.data else {
            panic!("{name} holds floats")
        };
        (tensor.shape, values)
    }

    /// Runs a command whose words are separated by spaces, in this folder's own words: those with a dot or a slash at the
    /// end are files.
    fn kinglet(&self, words: &str) -> Done {
        let word = |w: &str| match w.split_once('=') {
            Some((name, file)) => format!("{name}={}", self.path(file).display()),
            None if w.contains(['.', '/']) => self.path(w).display().to_string(),
            None => w.to_owned(),
        };
        kinglet(PROGRAM, words.split(' ').map(word))
    }

    fn json(&self, words: &str) -> Value {
        self.kinglet(&format!("{words} --json")).json()
    }
}

/// A number that was measured: present and positive.
fn positive(object: &Value, field: &str) -> u64 {
    let number = object[field].as_u64();
    number
        .filter(|n| *n > 0)
        .unwrap_or_else(|| panic!("`{field}` is no positive number: {object}"))
}

#[test]
fn a_compiled_plan_gives_the_bytes_of_the_model() {
    let folder = Folder::new();
    let done = folder.kinglet("compile model.onnx -o model.kinglet --target cortex-m4f");
    assert!(done.succeeded, "{done:?}");
    for (model, out) in [("model.onnx", "onnx.npy"), ("model.kinglet", "plan.npy")] {
        let done = folder.kinglet(&format!("run {model} --input in.npy --output {out}"));
        assert!(done.succeeded, "{done:?}");
    }
    assert_eq!(folder.read("onnx.npy"), folder.read("plan.npy"));
    let out = read_tensor(folder.path("plan.npy")).unwrap();
    // The model's own leading axis of 1 is kept where the input has it: the rows here are [3, 9, 11].
    assert_eq!(out.shape, [3, 5]);
    let Data::I8(scores) = out.data else {
        panic!("int8 out")
    };
    assert!(
        scores.windows(2).any(|w| w[0] != w[1]),
        "the scores say something"
    );
}

#[test]
fn compiling_twice_gives_the_same_file() {
    let folder = Folder::new();
    for out in ["one.kinglet", "two.kinglet"] {
        assert!(
            folder
                .kinglet(&format!("compile model.onnx -o {out}"))
                .succeeded
        );
    }
    assert_eq!(folder.read("one.kinglet"), folder.read("two.kinglet"));
}

#[test]
fn several_inputs_and_outputs_go_by_name() {
    let folder = Folder::new();
    let result = folder.json("run two.onnx --input b=b.npy --input a=a.npy --output results/");
    assert_eq!(result["samples"], 2);
    let names: Vec<&str> = result["outputs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|o| o["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["sum", "product"]);
    let ((shape, a), (_, b)) = (folder.floats("a.npy"), folder.floats("b.npy"));
    let expect = |file: &str, f: fn(f32, f32) -> f32| {
        let want: Vec<f32> = a.iter().zip(&b).map(|(a, b)| f(*a, *b)).collect();
        assert_eq!(folder.floats(file), (shape.clone(), want));
    };
    expect("results/sum.npy", |a, b| a + b);
    expect("results/product.npy", |a, b| a * b);
}

#[test]
fn rows_may_keep_the_models_own_leading_axis() {
    let folder = Folder::new();
    let tensor = read_tensor(folder.path("in.npy")).unwrap();
    folder.tensor("kept.npy", &[3, 1, 3, 9, 11], tensor.data);
    for input in ["in.npy", "kept.npy"] {
        assert!(
            folder
                .kinglet(&format!(
                    "run model.onnx --input {input} --output out-{input}"
                ))
                .succeeded
        );
    }
    let (short, kept) = (
        read_tensor(folder.path("out-in.npy")).unwrap(),
        read_tensor(folder.path("out-kept.npy")).unwrap(),
    );
    assert_eq!((short.shape, kept.shape), (vec![3, 5], vec![3, 1, 5]));
    assert_eq!(short.data, kept.data);
}

#[test]
fn inspect_tells_what_the_model_is_made_of() {
    let folder = Folder::new();
    let report = folder.json("inspect model.onnx");
    // 3→8 3×3 on 5×6, depthwise 8 3×3 on 5×6, 8→5.
    assert_eq!(positive(&report, "macs"), 30 * 8 * 27 + 30 * 8 * 9 + 40);
    assert_eq!(
        positive(&report, "parameters"),
        (8 * 27 + 8) + (8 * 9 + 8) + (40 + 5)
    );
    assert_eq!(report["inputs"][0]["name"], "image");
    assert_eq!(
        report["inputs"][0]["shape"],
        serde_json::json!([1, 3, 9, 11])
    );
    assert_eq!(report["outputs"][0]["name"], "scores");
    let nodes = report["nodes"].as_array().unwrap();
    assert!(
        nodes.iter().any(|n| n["op"] == "Conv") && nodes.iter().any(|n| n["op"] == "Softmax"),
        "{report}"
    );
}

#[test]
fn compile_tells_what_the_plan_needs() {
    let folder = Folder::new();
    let report = folder.json("compile model.onnx -o model.kinglet");
    let plan = positive(&report, "plan_bytes");
    assert!(plan <= folder.read("model.kinglet").len() as u64);
    assert!(
        positive(&report, "arena_bytes") >= 297 + 8 * 30,
        "input and first layer at once"
    );
    assert!(positive(&report, "macs") > 0);
}

#[test]
fn run_tells_what_it_wrote() {
    let folder = Folder::new();
    let report = folder.json("run model.onnx --input in.npy --output out.npy");
    assert_eq!(report["samples"], 3);
    assert_eq!(report["outputs"][0]["name"], "scores");
    assert_eq!(report["outputs"][0]["shape"], serde_json::json!([3, 5]));
    assert_eq!(
        report["outputs"][0]["file"],
        folder.path("out.npy").to_str().unwrap()
    );
}

#[test]
fn emulate_measures_and_gives_the_hosts_file() {
    let folder = Folder::new();
    let report =
        folder.json("emulate model.onnx --board mps2-an386 --input in.npy --output device.npy");
    assert_eq!(
        (&report["board"], &report["samples"]),
        (&"mps2-an386".into(), &3.into())
    );
    assert!(report["model"].as_str().unwrap().contains("model"));
    assert!(positive(&report, "instructions") > positive(&report, "macs"));
    let [flash, plan, code] =
        ["flash_bytes", "plan_bytes", "code_bytes"].map(|f| positive(&report, f));
    assert_eq!(flash, plan + code);
    for field in ["arena_bytes", "static_ram_bytes", "stack_peak_bytes"] {
        positive(&report, field);
    }
    assert!(
        folder
            .kinglet("run model.onnx --input in.npy --output host.npy")
            .succeeded
    );
    assert_eq!(folder.read("device.npy"), folder.read("host.npy"));

    // From a plan file, and again: the same instructions.
    assert!(
        folder
            .kinglet("compile model.onnx -o model.kinglet --target cortex-m4f")
            .succeeded
    );
    let again =
        folder.json("emulate model.kinglet --board mps2-an386 --input in.npy --output plan.npy");
    assert_eq!(again["instructions"], report["instructions"]);
    assert_eq!(folder.read("plan.npy"), folder.read("host.npy"));
}

#[test]
fn a_certificate_is_written_beside_the_plan_and_holds_in_the_emulator() {
    let folder = Folder::new();
    folder.json("compile model.onnx -o model.kinglet --target cortex-m4f --certify");
    let certificate: Value =
        serde_json::from_slice(&folder.read("model.certificate.json")).unwrap();
    assert_eq!(certificate["target"], "cortex-m4f");
    assert_eq!(certificate["board"], "mps2-an386");
    let run = folder.json("emulate model.kinglet --board mps2-an386 --input in.npy --output o.npy");
    let bound = positive(&certificate["instructions"], "bound");
    assert!(positive(&run, "instructions") <= bound, "{bound}: {run}");
    let arena = positive(&certificate, "arena_bytes");
    assert_eq!(arena, positive(&run, "arena_bytes"));
    let stack = positive(&certificate["stack"], "bound_bytes");
    assert!(
        positive(&run, "stack_peak_bytes") <= stack,
        "{stack}: {run}"
    );
    let plan = &certificate["plan"];
    assert_eq!(plan["sha256"].as_str().map(str::len), Some(64));
    let layers = certificate["layers"].as_array().unwrap();
    assert!(!layers.is_empty());

    // What was never measured has no bound, and nothing is written.
    folder.model("float.onnx", &classifier(false));
    let done =
        folder.kinglet("compile float.onnx -o float.kinglet --target cortex-m0 --certify c.json");
    done.failed_naming(&["was never measured on cortex-m0"]);
    assert!(!folder.path("float.kinglet").exists() && !folder.path("c.json").exists());
}

#[test]
fn verify_compares_every_step_on_reference_host_and_device() {
    let folder = Folder::new();
    let report = folder.json("verify model.onnx --board mps2-an386 --input in.npy");
    let steps = report["steps"].as_array().unwrap();
    assert!(steps.len() >= 6, "{report}");
    for step in steps {
        positive(step, "device_bytes");
        assert_eq!(step["device_different_bytes"], 0, "{step}");
        assert!(step["name"].is_string() && step["operator"].is_string());
    }
    assert!(
        steps.iter().all(|s| s["compared"].as_u64() > Some(0)),
        "each has its reference: {report}"
    );
    assert!(
        report["first_step_off_reference"].is_null() && report["first_step_off_host"].is_null()
    );
}

#[test]
fn bench_profiles_every_step() {
    let folder = Folder::new();
    let report = folder.json("bench model.onnx --board mps2-an386 --profile");
    let whole = positive(&report, "instructions");
    let steps = report["steps"].as_array().unwrap();
    let sum: u64 = steps.iter().map(|s| positive(s, "instructions")).sum();
    assert!(sum < whole && whole - sum < whole / 10, "{sum} of {whole}");
    let macs: u64 = steps.iter().map(|s| s["macs"].as_u64().unwrap()).sum();
    assert_eq!(macs, positive(&report, "macs"));
    // The bands of a node are one row.
    let tall = |seed| folder.model("tall.onnx", &chain(seed, true));
    let tiled = (0..20).find_map(|seed| {
        tall(seed);
        let compiled = folder.json("compile tall.onnx -o tall.kinglet --tile smallest");
        (!compiled["tiled"].is_null()).then_some(compiled)
    });
    let tiled = tiled.expect("one of twenty chains can be tiled");
    let report = folder.json("bench tall.kinglet --board mps2-an386 --profile");
    let nodes = report["steps"].as_array().unwrap();
    let count: u64 = nodes.iter().map(|n| positive(n, "step_count")).sum();
    assert_eq!(count, tiled["steps"].as_array().unwrap().len() as u64);
    assert!(nodes.iter().any(|n| n["step_count"].as_u64() > Some(1)));
}

#[test]
fn boards_are_listed_with_core_and_memory() {
    let listed = kinglet(PROGRAM, ["boards", "--json"]).json();
    let boards = listed["boards"].as_array().unwrap();
    let table = kinglet(PROGRAM, ["boards"]).stdout;
    assert_eq!(boards.len(), 10, "{listed}");
    for board in boards {
        for field in ["name", "core", "plan_target", "rust_target", "hal"] {
            assert!(board[field].is_string(), "{field}: {board}");
        }
        let (flash, ram) = (positive(board, "flash_bytes"), positive(board, "ram_bytes"));
        // Cores of phones have RAM only, a part of which stands for flash.
        assert!(board["plan_target"] == "host" || flash >= ram, "{board}");
        assert_eq!(board["emulated"], true);
        let name = board["name"].as_str().unwrap();
        let row = table.lines().find(|line| line.contains(name)).unwrap();
        assert!(row.contains(board["rust_target"].as_str().unwrap()));
    }
    let microbit = boards.iter().find(|b| b["name"] == "microbit").unwrap();
    assert_eq!(
        (&microbit["ram_bytes"], &microbit["loaded_plan_bytes"]),
        (&16_384.into(), &Value::Null)
    );
    assert!(table.contains("microbit has too little RAM for plans that are loaded at run time"));
}

#[test]
fn quantize_makes_an_int8_model_of_standard_operators() {
    let folder = Folder::new();
    folder.model("float.onnx", &classifier(false));
    let mut random = Random::new(5);
    let values: Vec<f32> = (0..20 * 297).map(|_| random.real()).collect();
    folder.tensor("samples.npy", &[20, 3, 9, 11], Data::F32(values));
    let report = folder.json("quantize float.onnx --calibration samples.npy -o int8.onnx");
    assert_eq!(report["samples"], 20);
    assert!(positive(&report, "constant_bytes") < positive(&report, "constant_bytes_before"));

    // Float outside, int8 inside, and close to what it was.
    let before = folder.json("inspect float.onnx");
    let after = folder.json("inspect int8.onnx");
    assert_eq!(before["inputs"][0]["shape"], after["inputs"][0]["shape"]);
    let convolutions = |report: &Value| {
        let nodes = report["nodes"].as_array().unwrap().clone();
        let convolution = |n: &Value| (n["op"] == "Conv").then(|| n["dtype"].clone());
        nodes.iter().filter_map(convolution).collect::<Vec<_>>()
    };
    assert_eq!(convolutions(&before), ["f32", "f32"]);
    assert_eq!(convolutions(&after), ["i8", "i8"]);
    for name in ["float", "int8"] {
        let words = format!("run {name}.onnx --input samples.npy --output {name}-out.npy");
        assert!(folder.kinglet(&words).succeeded);
    }
    let ((shape, float), (_, int8)) = (
        folder.floats("float-out.npy"),
        folder.floats("int8-out.npy"),
    );
    assert_eq!(shape, [20, 5]);
    let largest = float
        .iter()
        .zip(&int8)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max);
    assert!(largest < 0.03, "probabilities change by {largest}");
    assert!(float != int8);
}

/// The same model with floats and with integers outside: quantising by hand gives the same bytes inside.
#[test]
fn int8_borders_take_and_give_integers() {
    let folder = Folder::new();
    folder.model("float.onnx", &classifier(false));
    let mut random = Random::new(5);
    let values: Vec<f32> = (0..20 * 297).map(|_| random.real()).collect();
    folder.tensor("samples.npy", &[20, 3, 9, 11], Data::F32(values.clone()));
    folder.json("quantize float.onnx --calibration samples.npy -o int8.onnx");
    folder.json("compile int8.onnx -o outside.kinglet");
    folder.json("compile int8.onnx -o inside.kinglet --int8-io");
    let plan = |name: &str| folder.json(&format!("inspect {name}"))["inputs"][0].clone();
    let (outside, inside) = (plan("outside.kinglet"), plan("inside.kinglet"));
    assert_eq!(outside["name"], inside["name"]);
    let scale = inside["scale"].as_f64().unwrap() as f32;
    let zero_point = inside["zero_point"].as_i64().unwrap() as f32;
    let code = |x: &f32| ((x / scale).round_ties_even() + zero_point).clamp(-128.0, 127.0) as i8;
    let codes = values.iter().map(code).collect();
    folder.tensor("codes.npy", &[20, 3, 9, 11], Data::I8(codes));
    for (name, samples) in [("outside", "samples"), ("inside", "codes")] {
        let words = format!("run {name}.kinglet --input {samples}.npy --output {name}.npy");
        let done = folder.kinglet(&words);
        assert!(done.succeeded, "{done:?}");
    }
    let (_, reals) = folder.floats("outside.npy");
    let Data::I8(integers) = read_tensor(folder.path("inside.npy")).unwrap().data else {
        panic!("integers are expected")
    };
    // Softmax's scale is 1/256.
    let back: Vec<f32> = integers
        .iter()
        .map(|&q| (f32::from(q) + 128.0) / 256.0)
        .collect();
    assert_eq!(reals, back);

    let done = folder.kinglet("compile float.onnx -o float.kinglet --int8-io");
    done.failed_naming(&["no input or output is quantised", "kinglet quantize"]);
    let done = folder.kinglet("compile int8.onnx -o a.kinglet --weights coded --decoding 5");
    done.failed_naming(&["--decoding is for --weights auto"]);
    let done = folder.kinglet("compile int8.onnx -o a.kinglet --weights auto --decoding much");
    done.failed_naming(&["percentage"]);
}

#[test]
fn outputs_are_the_same_on_any_number_of_threads() {
    let folder = Folder::new();
    let mut random = Random::new(17);
    let bytes: Vec<i8> = (0..11 * 297).map(|_| random.byte()).collect();
    folder.tensor("many.npy", &[11, 3, 9, 11], Data::I8(bytes));
    folder.json("run model.onnx --input many.npy --output one.npy");
    for threads in [2, 3, 11, 64] {
        folder.json(&format!(
            "run model.onnx --input many.npy --output some.npy --threads {threads}"
        ));
        assert_eq!(folder.read("some.npy"), folder.read("one.npy"), "{threads}");
    }
    let done = folder.kinglet("run model.onnx --input many.npy --output no.npy --threads 0");
    assert_eq!(done.code, Some(2), "{done:?}");
}

#[test]
fn bench_times_this_machine_without_a_board() {
    let folder = Folder::new();
    let report = folder.json("bench model.onnx --runs 5");
    assert_eq!(report["runs"], 5);
    assert_eq!(report["steps"].as_array().unwrap().len(), 0);
    let macs = positive(&report, "macs");
    assert!(macs > 0);
    let report = folder.json("bench model.onnx --runs 5 --profile");
    let share = report["share_of_peak"].as_f64();
    assert_eq!(share.is_some(), cfg!(target_arch = "x86_64"));
    assert!(
        share.is_none_or(|share| share > 0.0 && share < 1.0),
        "{report}"
    );
    let steps = report["steps"].as_array().unwrap();
    let of_steps = |key: &'static str| steps.iter().map(move |s| s[key].as_f64().unwrap());
    assert_eq!(of_steps("macs").sum::<f64>(), macs as f64);
    assert!(of_steps("microseconds").all(|us| us > 0.0), "{report}");
}

#[test]
fn every_subcommand_explains_itself() {
    for subcommand in SUBCOMMANDS {
        let done = kinglet(PROGRAM, [subcommand, "--help"]);
        assert!(done.succeeded && done.stderr.is_empty(), "{done:?}");
        let usage = done.stdout.lines().find(|line| line.starts_with("Usage: "));
        assert!(
            usage.is_some_and(|line| line.contains(&format!(" {subcommand} "))),
            "{}",
            done.stdout
        );
        assert!(
            done.stdout
                .lines()
                .next()
                .is_some_and(|line| line.len() > 20),
            "{subcommand}: a sentence on what it does"
        );
    }
    let done = kinglet(PROGRAM, ["--help"]);
    for subcommand in SUBCOMMANDS {
        assert!(done.stdout.contains(subcommand), "{subcommand} is listed");
    }
}

#[test]
fn keys_and_images_are_made_once_and_right() {
    let folder = Folder::new();
    let path = |name: &str| folder.path(name).display().to_string();
    let made = kinglet(PROGRAM, ["keygen", "-o", &path("a.key"), "--json"]).json();
    assert_eq!(folder.read("a.key.pub").len(), 32);
    let again = kinglet(PROGRAM, ["keygen", "-o", &path("a.key")]);
    again.failed_naming(&["a.key exists", "never overwritten"]);
    let image = path("model.image");
    let sign = |model: &str, key: &str| {
        let (model, key) = (path(model), path(key));
        let words = [
            "sign",
            &model,
            "--target",
            "cortex-m0",
            "--key",
            &key,
            "--version",
            "7",
            "-o",
            &image,
            "--json",
        ];
        kinglet(PROGRAM, words)
    };
    let signed = sign("model.onnx", "a.key").json();
    assert_eq!(
        (&signed["version"], &signed["key"]),
        (&7.into(), &made["id"])
    );
    assert_eq!(
        (&signed["target"], &signed["allow_older"]),
        (&"cortex-m0".into(), &false.into())
    );
    assert_eq!(signed["image_bytes"], folder.read("model.image").len());
    sign("model.onnx", "a.key.pub").failed_naming(&["no secret Ed25519 key"]);
    sign("model.onnx", "none.key").failed_naming(&["cannot read the key"]);
    let push = kinglet(PROGRAM, ["push", &image, "--port", "tcp:127.0.0.1:1"]);
    push.failed_naming(&["cannot open tcp:127.0.0.1:1"]);
    let push = kinglet(
        PROGRAM,
        ["push", &path("a.key"), "--port", "tcp:127.0.0.1:1"],
    );
    push.failed_naming(&["not an image to push"]);
}

#[test]
fn wrong_use_is_explained_on_standard_error() {
    for words in [
        &["compile"][..],
        &["run", "model.onnx"],
        &["fly"],
        &["bench", "model.onnx", "--profile", "--against", "tract"],
    ] {
        let done = kinglet(PROGRAM, words);
        assert_eq!(done.code, Some(2), "{done:?}");
        done.failed_naming(&["Usage"]);
    }
}
