//! The binary: arguments to the command line, its answer to the exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    firedrill::cli::main()
}
