//! How this process has its memory from the system. A run fills tens of megabytes and ends, and the system hands them over page by
//! page, when each is first written to: that was a fifth of a replay's processor time. The GNU C library asks for large pages,
//! and for much at once, where the environment says so when a program starts (its manual, "Memory Allocation Tunables"). So
//! a command that will need much begins anew in its own process, once, with such an environment; what it starts
//! itself does not see it.

use std::ffi::{OsStr, OsString};
use std::process::Command;

/// What the library reads.
const TUNABLES: &str = "GLIBC_TUNABLES";
/// Large pages, 16 MiB for each thread's first use, but for few threads at once, and what was given back kept for whoever asks
/// next. Only what is written to takes memory.
const LARGE: &str = "glibc.malloc.hugetlb=1:glibc.malloc.top_pad=16777216:glibc.malloc.arena_max=4:\
                     glibc.malloc.mmap_threshold=4194304:glibc.malloc.trim_threshold=67108864";
/// Says that a process has begun anew. Whoever sets it has it run as it was started.
pub const MEMORY: &str = "GIT_CARRY_MEMORY";
const BEGUN: &str = "large";

/// Begins anew with large pages: does not come back then. It does where this process has begun anew already, where the user has
/// settings of his own, or where the system has another library.
pub fn large_pages() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        use std::os::unix::process::CommandExt as _;
        if [MEMORY, TUNABLES].iter().any(|name| std::env::var_os(name).is_some()) {
            return;
        }
        let Ok(program) = std::env::current_exe() else { return };
        let (mut anew, mut args) = (Command::new(program), std::env::args_os());
        if let Some(name) = args.next() {
            anew.arg0(name);
        }
        // Where that is not possible, it goes on as it is.
        let _ = anew.args(args).env(MEMORY, BEGUN).env(TUNABLES, LARGE).exec();
    }
}

/// A program to start, in the environment in which this one was started.
pub fn program(name: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(name);
    for own in [TUNABLES, MEMORY].into_iter().filter(|name| is_own(name)) {
        command.env_remove(own);
    }
    command
}

/// By this variable a program that is started, and fills much memory as well, has it in large pages: nothing where this process
/// has not.
pub fn for_another() -> Option<(&'static str, &'static str)> {
    is_own(TUNABLES).then_some((TUNABLES, LARGE))
}

/// What that environment says by this name.
pub fn told(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|_| !is_own(name))
}

/// Was this variable set by [`large_pages`]?
fn is_own(name: &str) -> bool {
    let is = |name: &str, value: &str| std::env::var_os(name).is_some_and(|told| told == value);
    [TUNABLES, MEMORY].contains(&name) && is(MEMORY, BEGUN) && is(TUNABLES, LARGE)
}
