//! mdBook's preprocessor for our book: leads links between pages of the repository to the book's chapters.

use kinglet_tests::book::{Chapters, FOLDER};
use kinglet_tests::root;
use serde_json::Value;
use std::process::ExitCode;

fn rewritten() -> Result<Value, String> {
    let input: Value = serde_json::from_reader(std::io::stdin()).map_err(|e| e.to_string())?;
    let Value::Array(both) = input else {
        return Err("expected mdBook's [context, book]".into());
    };
    let Ok([_, mut book]) = <[Value; 2]>::try_from(both) else {
        return Err("expected mdBook's [context, book]".into());
    };
    let summary = root().join(FOLDER).join("SUMMARY.md");
    let summary = std::fs::read_to_string(summary).map_err(|e| format!("SUMMARY.md: {e}"))?;
    Chapters::read(&root(), &summary)?.rewrite_all(&mut book);
    Ok(book)
}

fn main() -> ExitCode {
    // mdBook asks first what is supported: every renderer is.
    if std::env::args().nth(1).as_deref() == Some("supports") {
        return ExitCode::SUCCESS;
    }
    match rewritten() {
        Ok(book) => {
            println!("{book}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("book-links: {error}");
            ExitCode::FAILURE
        }
    }
}
