//! The `kinglet` command line: one file a subcommand.

mod against;
mod app;
mod bench;
mod boards;
mod common;
mod compare;
mod compile;
mod completions;
mod compress;
mod demo;
mod emulate;
mod explore;
mod flash;
mod host;
mod image;
mod inspect;
mod keygen;
mod man;
mod new;
mod profile;
mod push;
mod quantize;
mod report;
mod reproduce;
mod run;
mod setup;
mod sign;
mod test;
mod train;
mod verify;
mod web;

use clap::{CommandFactory, Parser, Subcommand};
use std::process::ExitCode;

/// Runs compressed neural networks on microcontrollers: compiles ONNX to a plan and proves it in an emulator.
#[derive(Parser)]
#[command(
    name = "kinglet",
    bin_name = "kinglet",
    version,
    propagate_version = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Inspect(inspect::Args),
    Train(train::Args),
    Compress(compress::Args),
    Explore(explore::Args),
    Reproduce(reproduce::Args),
    Quantize(quantize::Args),
    Compile(compile::Args),
    Run(run::Args),
    Emulate(emulate::Args),
    Flash(flash::Args),
    New(new::Args),
    Image(image::Args),
    Verify(verify::Args),
    Bench(bench::Args),
    Report(report::Args),
    Compare(compare::Args),
    Web(web::Args),
    Boards(boards::Args),
    Demo(demo::Args),
    Test(test::Args),
    Setup(setup::Args),
    Keygen(keygen::Args),
    Sign(sign::Args),
    Push(push::Args),
    Completions(completions::Args),
    #[command(hide = true)]
    Man(man::Args),
}

/// The whole command line, for what is made of it.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Parses the command line, runs the subcommand, prints a failure to stderr and turns it into the exit code.
pub fn main() -> ExitCode {
    end_when_nobody_reads();
    let result = match Cli::parse().command {
        Command::Inspect(args) => inspect::run(args),
        Command::Train(args) => train::run(args),
        Command::Compress(args) => compress::run(args),
        Command::Explore(args) => explore::run(args),
        Command::Reproduce(args) => reproduce::run(args),
        Command::Quantize(args) => quantize::run(args),
        Command::Compile(args) => compile::run(args),
        Command::Run(args) => run::run(args),
        Command::Emulate(args) => emulate::run(args),
        Command::Flash(args) => flash::run(args),
        Command::New(args) => new::run(args),
        Command::Image(args) => image::run(args),
        Command::Verify(args) => verify::run(args),
        Command::Bench(args) => bench::run(args),
        Command::Report(args) => report::run(args),
        Command::Compare(args) => compare::run(args),
        Command::Web(args) => web::run(args),
        Command::Boards(args) => boards::run(args),
        Command::Demo(args) => demo::run(args),
        Command::Test(args) => test::run(args),
        Command::Setup(args) => setup::run(args),
        Command::Keygen(args) => keygen::run(args),
        Command::Sign(args) => sign::run(args),
        Command::Push(args) => push::run(args),
        Command::Completions(args) => completions::run(args),
        Command::Man(args) => man::run(args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(report) => {
            crate::diagnose::print_error(&report);
            ExitCode::FAILURE
        }
    }
}

/// A reader of standard output that has seen enough (`| head`) ends the program, and is no failure.
fn end_when_nobody_reads() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let text = panic.payload().downcast_ref::<String>();
        if text.is_some_and(|text| text.starts_with("failed printing to stdout")) {
            std::process::exit(0);
        }
        usual(panic);
    }));
}
