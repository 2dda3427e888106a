//! Command lines in the documents: each is one that the command takes.

use kinglet_tests::book::{self, FOLDER};
use kinglet_tests::root;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Markdown files of users: the README and everything in `docs`.
fn pages() -> Vec<PathBuf> {
    let users = |page: &PathBuf| {
        let one = ["README.md", "boards/README.md"].map(Path::new);
        one.contains(&page.as_path()) || page.starts_with(FOLDER)
    };
    book::pages().into_iter().filter(users).collect()
}

/// Lines of code blocks, indented or fenced, with those that a backslash continues joined: line number and text.
fn code(page: &str) -> Vec<(usize, String)> {
    let (mut lines, mut fenced) = (Vec::<(usize, String)>::new(), false);
    let mut continued = false;
    for (index, line) in page.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            continue;
        }
        if !fenced && !line.starts_with("    ") {
            continued = false;
            continue;
        }
        let text = line.trim();
        let (text, more) = match text.strip_suffix('\\') {
            Some(text) => (text.trim_end(), true),
            None => (text, false),
        };
        match lines.last_mut() {
            Some((_, whole)) if continued => *whole = format!("{whole} {text}"),
            _ => lines.push((index + 1, text.to_owned())),
        }
        continued = more;
    }
    lines
}

/// The words of a shell's line up to a comment, a pipe or the next command; `None` if the quotes do not match.
fn words(line: &str) -> Option<Vec<String>> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in line.chars() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, '#') if word.is_none() => break,
            (None, '|' | '>' | ';' | '&') => break,
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

/// The arguments of a line that calls `kinglet`, its name first.
fn command(line: &str) -> Option<Vec<String>> {
    let line = line.strip_prefix("$ ").unwrap_or(line);
    let mut words = words(line)?;
    // `VARIABLE=value` before the command.
    while words
        .first()
        .is_some_and(|w| w.contains('=') && w.chars().all(|c| !c.is_lowercase() || c == '='))
    {
        words.remove(0);
    }
    let start = match words.first()?.as_str() {
        "kinglet" => 0,
        "cargo" if words.get(1)? == "kinglet" => 1,
        _ => return None,
    };
    Some(words.split_off(start))
}

#[test]
fn every_command_line_of_the_documents_is_one_that_the_command_takes() {
    let mut wrong = Vec::new();
    let mut subcommands = BTreeSet::new();
    let mut count = 0;
    for path in pages() {
        let page = fs::read_to_string(root().join(&path)).unwrap();
        for (line, text) in code(&page) {
            let Some(words) = command(&text) else {
                continue;
            };
            count += 1;
            subcommands.extend(words.get(1).cloned());
            if let Err(error) = kinglet_export::cli::command().try_get_matches_from(&words) {
                let name = path.display();
                let first = error.to_string();
                let first = first.lines().next().unwrap_or_default().to_owned();
                wrong.push(format!("{name}:{line}: {text}\n    {first}"));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert!(
        count > 60 && subcommands.len() > 15,
        "{count}: {subcommands:?}"
    );
}

#[test]
fn what_is_no_option_is_found() {
    let page = "Text `kinglet nothing`.\n\n    kinglet compile a.onnx -o \"a b.kinglet\" \\\n        --tagret host   # no\n";
    let lines = code(page);
    assert_eq!(lines.len(), 1);
    let words = command(&lines[0].1).unwrap();
    assert_eq!(words[4..], ["a b.kinglet", "--tagret", "host"]);
    assert!(
        kinglet_export::cli::command()
            .try_get_matches_from(&words)
            .is_err()
    );
    let right = [
        "kinglet", "compile", "a.onnx", "-o", "b", "--target", "host",
    ];
    assert!(
        kinglet_export::cli::command()
            .try_get_matches_from(right)
            .is_ok()
    );
}
