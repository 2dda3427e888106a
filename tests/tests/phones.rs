//! Cores of phones: the host's bytes from the same plan, and the committed table of instructions, which may not grow without being
//! changed on purpose.
//!
//! `KINGLET_UPDATE_TABLES=1` writes the table, and the page made from it, instead of comparing.

use kinglet_export::emulate::{Mode, Request, board, emulate};
use kinglet_export::report::grouped;
use kinglet_tests::performance::{folder, has_grown, updating};
use kinglet_tests::zoo::{self, Golden};
use kinglet_tests::zoo_claims;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

const BOARDS: [&str; 3] = ["cortex-a53-virt", "cortex-a76-virt", "aarch64-i8mm-virt"];

const MODELS: [(&str, Golden); 11] = [
    ("kws int8", zoo::KWS_INT8),
    ("resnet8 int8", zoo::RESNET_INT8),
    ("vww int8", zoo::VWW_INT8),
    ("ad int8", zoo::AD_INT8),
    ("person_detect int8", zoo::PERSON_INT8),
    ("mobilenet_v2 int8", zoo::MOBILENET_V2_INT8),
    ("kws f32", zoo::KWS_FLOAT),
    ("resnet8 f32", zoo::RESNET_FLOAT),
    ("vww f32", zoo::VWW_FLOAT),
    ("ad f32", zoo::AD_FLOAT),
    ("mnist_cnn f32", zoo::MNIST_FLOAT),
];

/// Instructions of one inference on every board, and the multiply-accumulates that are run.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Row {
    macs: u64,
    instructions: BTreeMap<String, u64>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Table {
    compiler: String,
    models: BTreeMap<String, Row>,
}

/// Runs the model on every board, with the plan that this machine runs.
fn run(name: &str, golden: &Golden) -> Row {
    let model = golden.open();
    let samples = &golden.samples(&model)[..1];
    let host = zoo::run_on_host(&model, samples);
    let instructions = BOARDS.map(|name_of_board| {
        let request = Request {
            board: board(name_of_board).unwrap(),
            plan: &model.plan,
            samples,
            mode: Mode::Run,
            loaded: true,
        };
        let emulation = emulate(&request, &|_| {}).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(emulation.outputs, host, "{name} on {name_of_board}");
        (name_of_board.to_owned(), emulation.instructions[0])
    });
    Row {
        macs: model.compiled.expect("compiled just now").macs(),
        instructions: instructions.into(),
    }
}

fn growth(committed: &Table, measured: &Table) -> Vec<String> {
    let same_compiler = committed.compiler == measured.compiler;
    let mut lines = Vec::new();
    for (model, row) in &measured.models {
        for (board, now) in &row.instructions {
            let before = committed.models.get(model);
            match before.and_then(|row| row.instructions.get(board)) {
                Some(before) if has_grown(*before, *now, same_compiler) => {
                    lines.push(format!(
                        "{model} on {board}: {before} in the table, {now} measured"
                    ));
                }
                Some(_) => {}
                None => lines.push(format!(
                    "{model} on {board}: {now} measured, not in the table"
                )),
            }
        }
    }
    lines
}

fn page(table: &Table) -> String {
    let mut text = String::from(
        "# Instructions on cores of phones\n\n\
         Executed instructions of one inference, counted by QEMU (exact and repeatable, but *not* cycles), by the plan that the host runs, with\n\
         its bytes. A Cortex-A53 has vectors, a Cortex-A76 dot products (`SDOT`), the third core products of 8-bit matrices (`SMMLA`). Floats\n\
         take the same instructions on all three.\n\n\
         This page is made from `tests/performance/phones.json`. CI measures all of it again and fails when a figure has grown:\n\n\
         ```\n\
         kinglet emulate MODEL.onnx --board cortex-a76-virt --input INPUT.npy --json\n\
         KINGLET_UPDATE_TABLES=1 cargo test --release -p kinglet-tests --test phones -- --include-ignored\n\
         ```\n\n",
    );
    let _ = writeln!(text, "Compiler: {}.\n", table.compiler);
    text.push_str("| model | MACs run |");
    for board in BOARDS {
        let _ = write!(text, " {board} | per MAC |");
    }
    text.push_str("\n|---|---:|---:|---:|---:|---:|---:|---:|\n");
    for (name, _) in MODELS {
        let row = &table.models[name];
        let _ = write!(text, "| {name} | {} |", grouped(row.macs));
        for board in BOARDS {
            let count = row.instructions[board];
            let each = count as f64 / row.macs as f64;
            let _ = write!(text, " {} | {each:.3} |", grouped(count));
        }
        text.push('\n');
    }
    text
}

fn check() {
    let models = MODELS.map(|(name, golden)| (name.to_owned(), run(name, &golden)));
    let toolchain = board(BOARDS[0]).unwrap().toolchain(&|_| {}).unwrap();
    let measured = Table {
        compiler: toolchain.rustc_version().to_owned(),
        models: models.into(),
    };
    let path = folder().join("phones.json");
    if updating() {
        let text = serde_json::to_string_pretty(&measured).unwrap() + "\n";
        fs::write(&path, text).unwrap();
        fs::write(page_path(), page(&measured)).unwrap();
        return;
    }
    let grown = growth(&committed(), &measured);
    assert!(
        grown.is_empty(),
        "{}\nif that is on purpose, run this test with KINGLET_UPDATE_TABLES=1",
        grown.join("\n")
    );
}

fn committed() -> Table {
    let text = fs::read_to_string(folder().join("phones.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn page_path() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/phones.md")
}

zoo_claims! {
    phones_give_the_hosts_bytes_and_nothing_grows: check();
}

#[test]
fn the_page_shows_the_table() {
    if !updating() {
        let found = fs::read_to_string(page_path()).unwrap();
        assert!(
            found == page(&committed()),
            "docs/phones.md is not what the table says: run with KINGLET_UPDATE_TABLES=1"
        );
    }
}

#[test]
fn growth_is_seen() {
    let committed = committed();
    assert!(growth(&committed, &committed).is_empty());
    let mut larger = committed.clone();
    let row = larger.models.get_mut("ad int8").unwrap();
    *row.instructions.get_mut(BOARDS[1]).unwrap() += 1000;
    assert_eq!(growth(&committed, &larger).len(), 1);
    larger
        .models
        .insert("new".into(), larger.models["ad int8"].clone());
    assert_eq!(growth(&committed, &larger).len(), 1 + BOARDS.len());
}
