//! Arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    if git_carry::cli::completed() {
        return ExitCode::SUCCESS;
    }
    git_carry::store::make_room();
    ExitCode::from(git_carry::cli::run(std::env::args_os()))
}
