//! Firmware for boards that one can hold: it links, and its sizes are those of a committed table. It has not run on hardware.
//!
//! `KINGLET_UPDATE_TABLES=1` writes the table instead of comparing.

use kinglet_export::compile::{CompileOptions, compile};
use kinglet_export::emulate::Board;
use kinglet_export::flash::{BOARDS, Firmware, Sizes, board, build, extension};
use kinglet_export::model::load_graph;
use kinglet_export::onnx::LoadOptions;
use kinglet_tests::performance::folder;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// How far sizes may be off, in percent: compilers vary, and the HALs' panics name their sources' paths.
const TOLERANCE: u64 = 5;

fn table_path() -> PathBuf {
    folder().join("hardware.json")
}

/// The digits' plan for a board.
fn digits(board: &Board) -> Vec<u8> {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/digits_int8.onnx");
    let (graph, _) = load_graph(&model, &LoadOptions::default()).unwrap();
    let options = CompileOptions {
        target: board.plan_target,
        ..CompileOptions::default()
    };
    compile(&graph, &options).unwrap().file
}

fn near(found: u64, expected: u64) -> bool {
    found.abs_diff(expected) * 100 <= expected * TOLERANCE
}

/// The words of a file, little-endian, at `at`.
fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// All formats of an image say the same, and the plan is in it.
fn images_hold_the_plan(firmware: &Firmware, board: &Board, plan: &[u8]) {
    let work = tempfile::tempdir().unwrap();
    let write = |name: &str| {
        let path = work.path().join(name);
        firmware.write(&path).unwrap();
        fs::read(path).unwrap()
    };
    let has = |bytes: &[u8]| bytes.windows(plan.len()).any(|window| window == plan);
    assert!(has(&write("image.elf")));
    let takes = |name: &str| extension(board, Path::new(name)).is_ok();
    if !takes("image.bin") {
        return;
    }
    let bin = write("image.bin");
    assert!(has(&bin));
    let hex = String::from_utf8(write("image.hex")).unwrap();
    assert!(hex.ends_with(":00000001FF\n"));
    if takes("image.uf2") {
        let uf2 = write("image.uf2");
        let start = word(&uf2, 12);
        // The RP2040's boot ROM runs the first 256 bytes only if their last four are the checksum of the others.
        if board.name == "pico" {
            let (stage, sum) = bin.split_at(252);
            let crc = crc::Crc::<u32>::new(&crc::CRC_32_MPEG_2);
            assert_eq!(crc.checksum(stage), word(sum, 0));
        }
        for block in uf2.chunks(512) {
            let at = (word(block, 12) - start) as usize;
            let len = bin.len().saturating_sub(at).min(256);
            assert_eq!(block[32..32 + len], bin[at..at + len]);
        }
    }
}

#[test]
#[ignore = "builds the vendors' HALs"]
fn firmware_for_every_board_links_with_the_sizes_of_the_table() {
    let built: BTreeMap<&str, Sizes> = BOARDS
        .iter()
        .map(|board| {
            let plan = digits(board);
            let firmware =
                build(board, &plan, &|_| {}).unwrap_or_else(|e| panic!("{}: {e}", board.name));
            println!("{} {:?}", board.name, firmware.sizes);
            images_hold_the_plan(&firmware, board, &plan[..32]);
            (board.name, firmware.sizes)
        })
        .collect();
    if std::env::var_os("KINGLET_UPDATE_TABLES").is_some_and(|value| value == "1") {
        let text = serde_json::to_string_pretty(&built).unwrap();
        fs::write(table_path(), text + "\n").unwrap();
        return;
    }
    let table: BTreeMap<String, Sizes> =
        serde_json::from_str(&fs::read_to_string(table_path()).unwrap()).unwrap();
    assert!(table.keys().eq(built.keys()), "the table has all boards");
    for (name, expected) in &table {
        let found = built[name.as_str()];
        assert!(
            near(found.code, expected.code)
                && near(found.static_ram, expected.static_ram)
                && (found.plan, found.arena) == (expected.plan, expected.arena),
            "{name}: {found:?}, the table has {expected:?}"
        );
    }
}

#[test]
fn what_is_no_plan_is_refused_before_anything_is_built() {
    let board = board("nucleo-f446re").unwrap();
    let error = build(board, &[0; 64], &|step| panic!("{step}")).unwrap_err();
    assert!(error.to_string().contains("plan"), "{error}");
}

#[test]
#[cfg(unix)]
#[ignore = "builds a vendor's HAL"]
fn a_probe_that_does_not_answer_leaves_the_image_and_says_what_to_look_at() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let tool = folder.path().join("probe-rs");
    let script = "#!/bin/sh\n[ \"$1\" = list ] && echo 'No debug probes were found.'\n";
    fs::write(&tool, script).unwrap();
    fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).unwrap();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = [folder.path().to_path_buf()]
        .into_iter()
        .chain(std::env::split_paths(&path));
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/digits_int8.onnx");
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_kinglet-tested"))
        .args(["flash", "--board", "nrf52840-dk"])
        .arg(model)
        .current_dir(folder.path())
        .env("PATH", std::env::join_paths(folders).unwrap())
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    for text in [
        "error[tool::probe]: ",
        "help: ",
        "probe-rs list",
        "nothing was flashed",
    ] {
        assert!(stderr.contains(text), "`{text}`: {stderr}");
    }
    let image = folder.path().join("digits_int8-nrf52840-dk.elf");
    assert!(image.exists(), "{stderr}");
}
