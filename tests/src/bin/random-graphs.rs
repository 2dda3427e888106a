//! The differential test bench by hand: docs/trust-graphs.md.

use clap::Parser;
use kinglet_tests::random_graphs::{Run, reproduce};
use std::path::PathBuf;
use std::process::ExitCode;

/// Runs random graphs through ONNX Runtime, tract and every plan of ours; reproducers of what differs are written.
#[derive(Parser)]
#[command(
    after_help = "Needs a Python with onnx, onnxruntime and numpy (KINGLET_PYTHON). Examples:
  random-graphs --seed 0 --count 10000
  random-graphs --seed 4711 --count 1
  random-graphs --reproduce reproducers/seed-4711"
)]
struct Args {
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How many graphs.
    #[arg(long, default_value_t = 1000)]
    count: u64,
    /// Every so many graphs one runs on an emulated board as well; 0 for none.
    #[arg(long, default_value_t = 0, value_name = "N")]
    emulate_every: u64,
    /// tract is asked about every so many graphs; 0 for none.
    #[arg(long, default_value_t = 1, value_name = "N")]
    tract_every: u64,
    /// Where reproducers are written.
    #[arg(long, default_value = "reproducers", value_name = "FOLDER")]
    output: PathBuf,
    /// Try a reproducer again instead.
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["seed", "count"])]
    reproduce: Option<PathBuf>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if let Some(folder) = args.reproduce {
        return match reproduce(&folder) {
            Ok(None) => {
                println!("nothing differs");
                ExitCode::SUCCESS
            }
            Ok(Some(difference)) => {
                println!("{}: {}", difference.between, difference.detail);
                ExitCode::FAILURE
            }
            Err(why) => {
                eprintln!("{}: {why}", folder.display());
                ExitCode::FAILURE
            }
        };
    }
    let run = Run {
        seed: args.seed,
        count: args.count,
        emulate_every: args.emulate_every,
        tract_every: args.tract_every,
        reproducers: args.output,
    };
    let summary = run.run(|seed, summary| {
        let done = seed + 1 - args.seed;
        if done.is_multiple_of(250) {
            let differing = summary.differing.len();
            eprintln!("{done} of {}: {differing} differ", args.count);
        }
    });
    match summary {
        Ok(summary) => {
            print!("{}", summary.text());
            match summary.differing.is_empty() && summary.invalid.is_empty() {
                true => ExitCode::SUCCESS,
                false => ExitCode::FAILURE,
            }
        }
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}
