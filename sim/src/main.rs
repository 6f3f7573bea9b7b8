//! The command line `simvisor`.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
