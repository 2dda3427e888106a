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
