//! `kinglet man`, for those who package it.

use crate::diagnose::IntoDiagnostic;
use crate::files::{FileError, write_atomic};
use clap_mangen::Man;
use std::io::Write;
use std::path::PathBuf;

/// Write man pages, one a subcommand, into a folder.
#[derive(clap::Args)]
pub(super) struct Args {
    /// The folder; made if it is not there.
    folder: PathBuf,
}

pub(super) fn run(args: Args) -> miette::Result<()> {
    let folder = |source| FileError::Write {
        path: args.folder.clone(),
        source,
    };
    std::fs::create_dir_all(&args.folder)
        .map_err(folder)
        .into_diagnostic()?;
    let mut command = super::command();
    // Gives every subcommand its full name and the version.
    command.build();
    let shown = command.get_subcommands().filter(|c| !c.is_hide_set());
    let pages: Vec<clap::Command> = shown.cloned().collect();
    for page in [command].into_iter().chain(pages) {
        let name = match page.get_name() {
            "kinglet" => "kinglet".to_owned(),
            other => format!("kinglet-{other}"),
        };
        let mut text = Vec::new();
        Man::new(page.display_name(name.clone()))
            .render(&mut text)
            .into_diagnostic()?;
        let path = args.folder.join(format!("{name}.1"));
        write_atomic(&path, |file| file.write_all(&text)).into_diagnostic()?;
    }
    Ok(())
}
