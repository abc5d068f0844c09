//! The binary: arguments to the command line, its answer to the exit code.

use std::process::ExitCode;

/// See `Cargo.toml` for why it is not the C library's.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    firedrill::cli::main()
}
