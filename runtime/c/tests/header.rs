//! The header is what the source says, and a C program that uses it gives what the plan computes.
//!
//! `KINGLET_UPDATE_HEADER=1` writes the header instead of comparing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_header_is_made_from_the_source() {
    let config = cbindgen::Config::from_file(folder().join("cbindgen.toml")).unwrap();
    let sources = ["lib.rs", "tensor.rs"].map(|file| folder().join("src").join(file));
    let builder = cbindgen::Builder::new().with_config(config);
    let builder = sources.iter().fold(builder, cbindgen::Builder::with_src);
    let mut made = Vec::new();
    builder.generate().unwrap().write(&mut made);
    let made = String::from_utf8(made).unwrap();
    let path = folder().join("include/kinglet.h");
    if std::env::var_os("KINGLET_UPDATE_HEADER").is_some() {
        fs::write(&path, &made).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == made,
        "{} is not what the source says: run with KINGLET_UPDATE_HEADER=1",
        path.display()
    );
}

/// The static library that cargo has built beside this test.
fn library() -> PathBuf {
    let program = std::env::current_exe().expect("this test is a program");
    let folder = program.parent().expect("in a folder");
    let library = folder.join("libkinglet_c.a");
    assert!(library.is_file(), "{} is missing", library.display());
    library
}

/// Builds `examples/run.c` in `folder`.
fn build(folder_of_program: &Path) -> PathBuf {
    let program = folder_of_program.join("run");
    let built = Command::new("cc")
        .arg(folder().join("examples/run.c"))
        .arg("-I")
        .arg(folder().join("include"))
        .args(["-std=c99", "-Wall", "-Wextra", "-Werror"])
        .arg(library())
        .args(["-lpthread", "-ldl", "-lm", "-o"])
        .arg(&program)
        .output()
        .expect("a C compiler");
    assert!(
        built.status.success(),
        "{}",
        String::from_utf8_lossy(&built.stderr)
    );
    program
}

#[test]
fn a_c_program_gives_what_the_plan_computes() {
    let work = tempfile::tempdir().unwrap();
    let program = build(work.path());
    let path = |name: &str| work.path().join(name);
    // One step, which copies four bytes.
    fs::write(path("plan"), &*kinglet::doc_plan()).unwrap();
    fs::write(path("input"), [1, 250, 3, 128]).unwrap();
    let run = |input: &str| {
        let arguments = [path("plan"), path(input), path("output")];
        Command::new(&program).args(arguments).output().unwrap()
    };
    let done = run("input");
    assert!(done.status.success(), "{done:?}");
    assert_eq!(fs::read(path("output")).unwrap(), [1, 250, 3, 128]);

    fs::write(path("short"), [1, 2]).unwrap();
    assert_eq!(run("short").status.code(), Some(1));
    let mut damaged = kinglet::doc_plan().to_vec();
    damaged[40] ^= 1;
    fs::write(path("plan"), damaged).unwrap();
    let refused = run("input");
    assert_eq!(refused.status.code(), Some(1));
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(text.contains("damaged"), "{text}");
}
