//! The `kinglet` command, built by this package so that cargo keeps it fresh for the tests that run it.

fn main() -> std::process::ExitCode {
    kinglet_export::cli::main()
}
