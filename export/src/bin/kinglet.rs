//! The `kinglet` command; everything it does is in the library's [`kinglet_export::cli`].

fn main() -> std::process::ExitCode {
    kinglet_export::cli::main()
}
