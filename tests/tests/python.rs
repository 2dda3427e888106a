//! The Python package: its wheel is built and installed, and `tests/python_package.py` uses it. It needs a Python with maturin, mypy, numpy,
//! onnx, which `KINGLET_PYTHON` names; with CI set, it fails without them.

use kinglet_tests::root;
use std::ffi::OsString;
use std::fs;
use std::process::Command;

const PROGRAM: &str = env!("CARGO_BIN_EXE_kinglet-tested");

/// Ends the test unless the command succeeds.
fn done(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(
        output.status.success(),
        "{command:?} failed:\n{stdout}\n{stderr}"
    );
    stdout
}

/// A Python with what the test needs.
fn python() -> Option<OsString> {
    let python = std::env::var_os("KINGLET_PYTHON");
    let has_all = python.as_ref().is_some_and(|python| {
        let modules = ["-c", "import maturin, mypy, numpy, onnx"];
        let output = Command::new(python).args(modules).output();
        output.is_ok_and(|o| o.status.success())
    });
    if has_all {
        return python;
    }
    assert!(
        std::env::var_os("CI").is_none(),
        "CI has a Python with maturin, mypy, numpy and onnx, and says so in KINGLET_PYTHON"
    );
    println!("not tried: KINGLET_PYTHON names no Python with maturin, mypy, numpy and onnx");
    None
}

#[test]
fn the_wheel_compiles_runs_quantises_and_compresses() {
    let Some(python) = python() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let [wheels, site, work] = ["wheels", "site", "work"].map(|name| folder.path().join(name));
    fs::create_dir(&work).unwrap();
    let built = Command::new(&python)
        .current_dir(root())
        .args(["-m", "maturin", "build", "--release", "--locked"])
        .args(["--manifest-path", "export/python/Cargo.toml", "--out"])
        .arg(&wheels)
        .arg("--interpreter")
        .arg(&python)
        .output()
        .unwrap();
    assert!(
        built.status.success(),
        "{}",
        String::from_utf8_lossy(&built.stderr)
    );
    let wheel = fs::read_dir(&wheels).unwrap().next().unwrap().unwrap();
    let name = wheel.file_name().to_string_lossy().into_owned();
    assert!(name.contains("-cp310-abi3-"), "{name}");
    done(
        Command::new(&python)
            .args(["-m", "pip", "install", "--quiet", "--no-deps", "--no-index"])
            .arg("--disable-pip-version-check")
            .arg("--target")
            .arg(&site)
            .arg(wheel.path()),
    );
    assert!(site.join("kinglet/py.typed").is_file());
    let with_package = || {
        let mut command = Command::new(&python);
        command.current_dir(&work).env("PYTHONPATH", &site);
        command
    };
    let said = done(
        with_package()
            .arg(
                root()
                    .canonicalize()
                    .unwrap()
                    .join("tests/python_package.py"),
            )
            .arg(root().join("tests/models"))
            .arg(&work)
            .arg(PROGRAM)
            .arg(root().join("docs/python.md")),
    );
    assert!(said.ends_with("the package is right\n"), "{said}");
    let typed = [
        "-m",
        "mypy",
        "--strict",
        "--no-incremental",
        "-p",
        "kinglet",
    ];
    done(with_package().args(typed));
    done(with_package().args(["-m", "mypy.stubtest", "kinglet._kinglet"]));
}
