//! `kinglet completions`.

use clap_complete::Shell;

/// Print a shell's completions of this command.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  kinglet completions bash > ~/.local/share/bash-completion/completions/kinglet
  kinglet completions zsh > ~/.zfunc/_kinglet
  kinglet completions fish > ~/.config/fish/completions/kinglet.fish")]
pub(super) struct Args {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn run(args: Args) -> miette::Result<()> {
    let mut command = super::command();
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "kinglet", &mut script);
    print!("{}", String::from_utf8_lossy(&script));
    Ok(())
}
