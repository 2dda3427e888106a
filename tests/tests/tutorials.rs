//! The README's first screen and the tutorials, followed literally: their commands print what they show.

use kinglet_tests::console::{Shown, compare, shown};
use kinglet_tests::root;
use std::path::Path;
use std::process::Command;

const PROGRAM: &str = env!("CARGO_BIN_EXE_kinglet-tested");

/// Runs a page's command in `folder`; `kinglet` and `cargo kinglet` are the program under test.
fn follow(page: &str, shown: &Shown, folder: &Path) {
    let words: Vec<&str> = shown.command.iter().map(String::as_str).collect();
    let arguments = match words.as_slice() {
        ["kinglet", arguments @ ..] | ["cargo", "kinglet", arguments @ ..] => arguments,
        _ => panic!("{page}: a test can only run `kinglet`, not {words:?}"),
    };
    // The whole test suite within itself would not end.
    if arguments == ["test"] {
        return;
    }
    let done = Command::new(PROGRAM)
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap();
    let [printed, complaint] = [done.stdout, done.stderr].map(|b| String::from_utf8(b).unwrap());
    assert!(done.status.success(), "{page}: {words:?}: {complaint}");
    if let Err(difference) = compare(&shown.output, &printed) {
        panic!("{page}: `{}`: {difference}", words.join(" "));
    }
}

#[test]
fn tutorials_print_what_they_show() {
    let folder = tempfile::tempdir().unwrap();
    let page = |name: &str| {
        let path = root().join(name);
        shown(&std::fs::read_to_string(path).unwrap())
    };
    let first = "docs/tutorials/first.md";
    let mut count = 0;
    // The first one makes the model that the others take.
    for name in [
        first,
        "docs/tutorials/cortex-m.md",
        "docs/tutorials/riscv.md",
        "docs/tutorials/phones.md",
    ] {
        for command in page(name) {
            follow(name, &command, folder.path());
            count += 1;
        }
    }
    assert!(count >= 11, "{count}");
}

#[test]
fn the_readme_s_first_screen_prints_what_it_shows() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let commands = shown(&readme);
    let named: Vec<&[String]> = commands.iter().map(|c| &c.command[..]).collect();
    assert_eq!(named[0][..3], ["cargo", "kinglet", "demo"]);
    assert_eq!(named[1][..3], ["cargo", "kinglet", "test"]);
    let folder = tempfile::tempdir().unwrap();
    for command in &commands {
        follow("README.md", command, folder.path());
    }
}
