//! Projects of users, as `kinglet new` makes them.

use kinglet_export::compile::CompileOptions;
use kinglet_export::flash::any_board;
use kinglet_export::model::Model;
use kinglet_export::onnx::{LoadOptions, write};
use kinglet_tests::command::kinglet;
use kinglet_tests::networks::two_inputs;
use kinglet_tests::zoo;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

const COMMAND: &str = env!("CARGO_BIN_EXE_kinglet-tested");

fn models() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models")
}

/// Makes a project for the digits in `folder` and has cargo do `what` with it.
fn project(folder: &Path, board: &str, what: &str) -> Output {
    let model = models().join("digits_int8.onnx");
    project_for(&model, folder, board, what, |program| program)
}

/// The same with another model, after `edit` has changed the program.
fn project_for(
    model: &Path,
    folder: &Path,
    board: &str,
    what: &str,
    edit: impl FnOnce(String) -> String,
) -> Output {
    let made = kinglet(
        COMMAND,
        [
            "new".as_ref(),
            folder.as_os_str(),
            "--board".as_ref(),
            board.as_ref(),
            "--model".as_ref(),
            model.as_os_str(),
            "--json".as_ref(),
        ],
    );
    assert!(made.json()["files"].as_array().unwrap().len() > 5);
    let main = fs::read_to_string(folder.join("src/main.rs")).unwrap();
    assert!(main.lines().count() < 60, "{main}");
    fs::write(folder.join("src/main.rs"), edit(main)).unwrap();
    // What is built is kept from run to run.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("project");
    let toolchain = any_board(board).unwrap().toolchain(&|_| {}).unwrap();
    toolchain
        .cargo()
        .current_dir(folder)
        .args([what, "--release", "--target-dir"])
        .arg(target)
        .output()
        .unwrap()
}

fn succeeded(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{complaints}");
    text
}

#[test]
fn a_project_for_an_emulated_board_runs_and_gives_the_host_s_output() {
    let work = tempfile::tempdir().unwrap();
    let folder = work.path().join("hello");
    let log = succeeded(&project(&folder, "mps2-an386", "run"));
    let line = log.lines().find_map(|line| line.split_once("output: "));
    let logged: Vec<f32> = line
        .unwrap_or_else(|| panic!("{log}"))
        .1
        .trim_matches(['[', ']'])
        .split(", ")
        .map(|value| value.parse().unwrap())
        .collect();

    let plan = folder.join("model.kinglet");
    let opened = Model::open(&plan, &LoadOptions::default(), &CompileOptions::default()).unwrap();
    let runner = opened.runner().unwrap();
    let zeros = vec![0; runner.plan().unwrap().input(0).unwrap().len];
    let host: Vec<f32> = zoo::run_on_host(&opened, &[zeros])[0]
        .as_chunks()
        .0
        .iter()
        .map(|&bytes| f32::from_le_bytes(bytes))
        .collect();
    assert_eq!(logged, host);
}

#[test]
fn a_project_for_a_model_of_two_inputs_gives_the_host_s_bytes() {
    let work = tempfile::tempdir().unwrap();
    let (folder, model) = (work.path().join("two"), work.path().join("two.onnx"));
    write::write(&two_inputs(false), &model).unwrap();
    // Floats whose bytes are all 63 (0.747) in the place of zeroes.
    let edit = |program: String| program.replace("&[0; ", "&[63; ");
    let log = succeeded(&project_for(&model, &folder, "mps2-an386", "run", edit));
    let plan = folder.join("model.kinglet");
    let opened = Model::open(&plan, &LoadOptions::default(), &CompileOptions::default()).unwrap();
    let runner = opened.runner().unwrap();
    let plan = runner.plan().unwrap();
    assert_eq!(plan.input_count(), 2);
    let len = (0..2).map(|i| plan.input(i).unwrap().len).sum();
    let host = &zoo::run_on_host(&opened, &[vec![63; len]])[0];
    let mut logged = Vec::new();
    for index in 0..plan.output_count() {
        let start = format!("output {index}: ");
        let line = log.lines().find_map(|line| line.split_once(&start));
        let bytes = line.unwrap_or_else(|| panic!("{log}")).1;
        let bytes = bytes.trim_matches(['[', ']']).split(", ");
        logged.extend(bytes.map(|byte| byte.parse::<u8>().unwrap()));
    }
    assert!(host.iter().any(|byte| *byte != 0), "{host:?}");
    assert_eq!(&logged, host);
}

#[test]
#[ignore = "builds a vendor's HAL"]
fn a_project_for_a_board_that_one_can_hold_builds() {
    let work = tempfile::tempdir().unwrap();
    let folder = work.path().join("hello-dk");
    succeeded(&project(&folder, "nrf52840-dk", "build"));
}

#[test]
fn a_folder_that_exists_is_left_alone() {
    let work = tempfile::tempdir().unwrap();
    let model = models().join("digits_int8.onnx");
    let done = kinglet(
        COMMAND,
        [
            "new".as_ref(),
            work.path().as_os_str(),
            "--board".as_ref(),
            "mps2-an386".as_ref(),
            "--model".as_ref(),
            model.as_os_str(),
        ],
    );
    done.failed_naming(&["exists already"]);
    assert_eq!(fs::read_dir(work.path()).unwrap().count(), 0);
}
