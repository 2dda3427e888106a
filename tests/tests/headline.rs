//! What the README promises of compressed models on a Cortex-M4F, beside the rival with the uncompressed one.

use kinglet_export::compile::{CompileOptions, StoredWeights, Tiling, compile};
use kinglet_export::emulate::{Emulation, Mode, Request, board, emulate};
use kinglet_export::files;
use kinglet_export::graph::{Data, Graph};
use kinglet_export::model::load_graph;
use kinglet_export::onnx::LoadOptions;
use kinglet_export::quantize::{Calibration, Options, calibrate, quantize};
use kinglet_tests::command::kinglet;
use kinglet_tests::performance::{Rival, Rivals, folder};
use kinglet_tests::random::Random;
use kinglet_tests::random_network::sample;
use kinglet_tests::{root, zoo, zoo_claims};
use std::path::{Path, PathBuf};

const PROGRAM: &str = env!("CARGO_BIN_EXE_kinglet-tested");
const BOARD: &str = "mps2-an386";
/// Of the rival's firmware with ResNet-8, counted as its other figures.
const RIVAL_STATIC_RAM: u64 = 576;
const RIVAL_STACK: u64 = 1_380;

fn exported(name: &str) -> PathBuf {
    root().join("export/zoo").join(name)
}

/// The graph as firmware; `options` but for the target, which is the board's.
fn run(graph: &Graph, options: CompileOptions) -> Emulation {
    let board = board(BOARD).unwrap();
    let options = CompileOptions {
        target: board.plan_target,
        ..options
    };
    let compiled = compile(graph, &options).unwrap();
    // The plan's own inputs: integers where it takes integers.
    let mut bytes = sample(graph, &mut Random::new(1));
    if options.int8_io {
        bytes.truncate(graph[graph.inputs[0]].shape.iter().product());
    }
    let request = Request {
        board,
        plan: &compiled.file,
        samples: &[bytes],
        mode: Mode::Run,
        loaded: false,
    };
    emulate(&request, &|_| {}).unwrap()
}

fn rival() -> Rival {
    let text = std::fs::read_to_string(folder().join("rivals.json")).unwrap();
    let rivals: Rivals = serde_json::from_str(&text).unwrap();
    let ours = |r: &Rival| r.board == BOARD && r.model == "resnet8_cifar10";
    rivals.rows.into_iter().find(ours).unwrap()
}

/// As the README's commands compile it.
#[test]
fn the_small_resnet_needs_a_fraction_of_what_the_rival_needs_for_the_whole_one() {
    let model = exported("resnet8-cifar10-small.onnx");
    let (graph, _) = load_graph(&model, &LoadOptions::default()).unwrap();
    let options = CompileOptions {
        int8_io: true,
        arena_limit: Some(26_000),
        weights: StoredWeights::Auto,
        decoding_share: Some(0.05),
        ..CompileOptions::default()
    };
    let ours = run(&graph, options);
    let rival = rival();
    let (instructions, flash) = (ours.instructions[0], ours.flash_bytes);
    let ram = ours.ram_bytes();
    println!("{instructions} instructions, {flash} bytes of flash, {ram} of RAM");
    assert!(4 * instructions <= rival.instructions);
    assert!(3 * flash <= rival.code + rival.model_bytes);
    assert!(2 * ram <= rival.arena + RIVAL_STATIC_RAM + RIVAL_STACK);
    near(&shown("compressed, Kinglet"), &[instructions, flash, ram]);
    let theirs = [
        rival.instructions,
        rival.code + rival.model_bytes,
        rival.arena + RIVAL_STATIC_RAM + RIVAL_STACK,
    ];
    assert_eq!(shown("int8, TensorFlow Lite Micro with CMSIS-NN"), theirs);
}

fn readme() -> String {
    std::fs::read_to_string(root().join("README.md")).unwrap()
}

/// Integers of the README's row that begins so.
fn shown(row: &str) -> Vec<u64> {
    let readme = readme();
    let line = readme
        .lines()
        .find(|line| line.starts_with(&format!("| {row} |")));
    let cells = line.unwrap_or_else(|| panic!("no row `{row}`")).split('|');
    let cells = cells.map(|cell| cell.replace([',', ' '], ""));
    cells.filter_map(|cell| cell.parse().ok()).collect()
}

/// Where the sources are, and the compiler, move a few bytes of code.
fn near(shown: &[u64], found: &[u64]) {
    assert_eq!(shown.len(), found.len(), "{shown:?}");
    for (shown, found) in shown.iter().zip(found) {
        assert!(
            shown.abs_diff(*found) * 500 <= *found,
            "README.md has {shown}, not {found}"
        );
    }
}

/// The README's row of the whole network, and its accuracy on the test images.
fn the_whole_one_is_as_the_readme_says() {
    let model = zoo::root().join("models/resnet8_cifar10/model_int8.onnx");
    let (graph, _) = load_graph(&model, &LoadOptions::default()).unwrap();
    let ours = run(&graph, CompileOptions::default());
    let ram = ours.ram_bytes();
    near(
        &shown("int8, Kinglet"),
        &[ours.instructions[0], ours.flash_bytes, ram],
    );
    let readme = readme();
    let says = |row: String| assert!(readme.contains(&row), "README.md has not `{row}`");
    says(format!(
        "| int8, Kinglet | {} % |",
        accuracy(&model, "kinglet")
    ));
    // The rival's bytes are those of its reference kernels.
    let theirs = model.with_file_name("source_int8.tflite");
    let name = "int8, TensorFlow Lite Micro with CMSIS-NN";
    says(format!("| {name} | {} % |", accuracy(&theirs, "tflite")));
}

/// Of CIFAR-10's test images, in percent.
fn accuracy(model: &Path, rounding: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("page.html");
    let arguments = format!(
        "report {} -o {} --rounding {rounding} --data cifar10 --pixels raw --samples 10000 --json",
        model.display(),
        page.display()
    );
    let report = kinglet(PROGRAM, arguments.split_whitespace()).json();
    format!("{:.2}", 100.0 * report["accuracy"].as_f64().unwrap())
}

/// A float model in int8, with ranges from its golden inputs.
fn quantized(path: &Path) -> Graph {
    let (graph, _) = load_graph(path, &LoadOptions::default()).unwrap();
    let inputs = zoo::root().join("models/resnet8_cifar10/golden_inputs.npy");
    let Data::F32(pixels) = files::read_tensor(inputs).unwrap().data else {
        panic!("floats are expected")
    };
    let bytes: Vec<u8> = pixels.iter().flat_map(|p| p.to_le_bytes()).collect();
    let samples = bytes.chunks(4 * graph[graph.inputs[0]].len());
    let ranges = calibrate(&graph, Calibration::MinMax, samples).unwrap();
    quantize(&graph, &ranges, &Options::default()).unwrap()
}

fn low_rank_takes_its_share() {
    let whole = zoo::root().join("models/resnet8_cifar10/model.onnx");
    for tiling in [Tiling::Off, Tiling::Auto] {
        let count = |path: &Path| {
            let options = CompileOptions {
                tiling,
                ..CompileOptions::default()
            };
            run(&quantized(path), options).instructions[0]
        };
        let [dense, split] = [&whole, &exported("resnet8-cifar10-trp.onnx")].map(|p| count(p));
        println!("{tiling:?}: {split} instructions against {dense}");
        assert!(
            10 * split <= 6 * dense,
            "{tiling:?}: {split} against {dense}"
        );
    }
}

zoo_claims! {
    the_readme_s_row_of_the_whole_network: the_whole_one_is_as_the_readme_says();
    half_the_multiplications_of_a_low_rank_resnet_take_six_tenths_of_the_instructions: low_rank_takes_its_share();
}
