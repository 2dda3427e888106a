//! `kinglet verify`.

/// (to be written)
#[derive(clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_args: Args) -> miette::Result<()> {
    Err(miette::miette!("not written yet"))
}
