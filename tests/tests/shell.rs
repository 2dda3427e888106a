//! What packagers and shells need: completions and man pages of every subcommand.

use kinglet_tests::command::kinglet;
use std::process::{Command, Stdio};

const PROGRAM: &str = env!("CARGO_BIN_EXE_kinglet-tested");

/// The subcommands that `kinglet --help` lists.
fn subcommands() -> Vec<String> {
    let help = kinglet(PROGRAM, ["--help"]).stdout;
    let list = help.split("Commands:\n").nth(1).unwrap();
    let names = list.lines().take_while(|line| !line.is_empty());
    let names = names.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    let names: Vec<String> = names.filter(|n| !n.is_empty()).map(str::to_owned).collect();
    assert!(names.contains(&"report".to_owned()) && !names.contains(&"man".to_owned()));
    names
}

#[test]
fn shells_know_every_subcommand() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let done = kinglet(PROGRAM, ["completions", shell]);
        assert!(done.succeeded, "{done:?}");
        for name in subcommands() {
            assert!(done.stdout.contains(&name), "{shell}: {name}");
        }
    }
    kinglet(PROGRAM, ["completions", "cmd"]).failed_naming(&["cmd", "bash"]);
}

#[test]
fn every_subcommand_has_a_man_page() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("man1");
    let done = kinglet(PROGRAM, ["man".as_ref(), pages.as_os_str()]);
    assert!(done.succeeded, "{done:?}");
    let read = |name: &str| std::fs::read_to_string(pages.join(format!("{name}.1"))).unwrap();
    assert!(read("kinglet").contains(".TH kinglet 1"));
    for name in subcommands().iter().filter(|n| *n != "help") {
        let page = read(&format!("kinglet-{name}"));
        assert!(
            page.contains(&format!("kinglet {name}"))
                || page.contains(&format!("kinglet\\-{name}")),
            "{page}"
        );
    }
    assert!(!pages.join("kinglet-man.1").exists());
}

#[test]
#[cfg(unix)]
#[ignore = "needs Python, git and tar"]
fn the_archive_of_a_release_holds_what_people_need() {
    let folder = tempfile::tempdir().unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/release");
    let made = Command::new(script)
        .arg(folder.path())
        .args(["--binary", PROGRAM])
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "{errors}");
    let archive = String::from_utf8(made.stdout).unwrap();
    let archive = std::path::Path::new(archive.trim());
    let run = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        let done = command.args(arguments).current_dir(folder.path()).output();
        let done = done.unwrap();
        let stderr = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{program}: {stderr}");
        String::from_utf8(done.stdout).unwrap()
    };
    let name = archive.file_name().unwrap().to_str().unwrap();
    let check = "sha256sum --check *.sha256 || shasum -a 256 --check *.sha256";
    assert!(run("sh", &["-c", check]).contains(name));
    run("tar", &["-xzf", name]);
    let root = folder.path().join(name.strip_suffix(".tar.gz").unwrap());
    for file in [
        "README.md",
        "CHANGELOG.md",
        "LICENSE-MIT",
        "LICENSE-APACHE",
        "completions/kinglet.bash",
        "completions/kinglet.powershell",
        "man/man1/kinglet.1",
        "man/man1/kinglet-explore.1",
        "sources/Cargo.toml",
        "sources/runtime/Cargo.toml",
        "sources/boards/mps2-an386/Cargo.toml",
    ] {
        assert!(
            root.join(file).metadata().is_ok_and(|m| m.len() > 0),
            "{file}"
        );
    }
    let licences = std::fs::read_to_string(root.join("LICENSES-THIRD-PARTY.txt")).unwrap();
    for text in [
        "clap ",
        "tract-onnx ",
        "Permission is hereby granted",
        "Apache License",
    ] {
        assert!(licences.contains(text), "{text}");
    }
    // What only tests use is not in the command.
    assert!(!licences.contains("\nproptest "));
    let version = run(root.join("kinglet").to_str().unwrap(), &["--version"]);
    assert_eq!(
        version.trim(),
        concat!("kinglet ", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let mut child = Command::new(PROGRAM)
        .args(["completions", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let done = child.wait_with_output().unwrap();
    assert!(done.status.success(), "{done:?}");
    assert!(done.stderr.is_empty(), "{done:?}");
}
