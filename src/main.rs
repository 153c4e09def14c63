//! Arguments in, exit code out.

use std::process::ExitCode;

/// Many small things live for a moment here, on several threads: that is what it is made for.
#[global_allocator]
static MEMORY: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    if git_carry::cli::completed() {
        return ExitCode::SUCCESS;
    }
    ExitCode::from(git_carry::cli::run(std::env::args_os()))
}
