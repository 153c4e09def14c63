//! Arguments in, exit code out.

use std::process::ExitCode;

/// Objects are read and made by the thousand; this allocator halves what that costs in page faults.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    ExitCode::from(git_carry::cli::run(std::env::args_os()))
}
