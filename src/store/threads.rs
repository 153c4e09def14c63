//! Threads, with room for what they make.
//!
//! glibc lets the heap of a thread grow by a page at a time, each with a call of the system that holds up who else of the
//! program asks for memory, and gives memory back as soon as 128 KiB lie free at its end. What is freed after it was taken
//! in one piece tells it otherwise: it stays, and from then on pieces up to that size are taken from the heap, where they
//! serve again (mallopt(3), `M_MMAP_THRESHOLD`: the threshold is dynamic). Nothing of it is memory in use before it is
//! written to. With other allocators it is two calls that do nothing.

use std::sync::OnceLock;
use std::thread::{JoinHandle, Scope, ScopedJoinHandle};

/// So much stays when it is freed; a larger piece would not tell glibc (`DEFAULT_MMAP_THRESHOLD_MAX`, 32 MiB).
const STAYS: usize = 30 << 20;
/// Room for the program's own thread, and for each other.
const ROOM: usize = 4 << 20;

/// So many threads can work at once here.
pub fn cores() -> usize {
    // Each time it is asked, files of the system are read.
    static CORES: OnceLock<usize> = OnceLock::new();
    *CORES.get_or_init(|| std::thread::available_parallelism().map_or(1, usize::from))
}

/// Makes room for what the program makes. To be called before it has made much.
pub fn make_room() {
    take_and_free(STAYS);
    take_and_free(ROOM);
}

/// Begins `work` on a thread of its own.
pub fn begin<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    std::thread::spawn(move || {
        take_and_free(ROOM);
        work()
    })
}

/// Begins `work` on one of some `threads`.
pub fn begin_in<'s, T: Send + 's>(
    threads: &'s Scope<'s, '_>,
    work: impl FnOnce() -> T + Send + 's,
) -> ScopedJoinHandle<'s, T> {
    threads.spawn(move || {
        take_and_free(ROOM);
        work()
    })
}

/// Where there is no room, nobody wants it.
fn take_and_free(bytes: usize) {
    let mut room = Vec::<u8>::new();
    let _ = room.try_reserve_exact(bytes);
    // Or else the compiler leaves both out.
    drop(std::hint::black_box(room));
}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    use super::*;

    /// The size of the piece of memory that a new value is put in, as the system has it: what a heap may grow to without it.
    fn room() -> usize {
        let value = Box::new([1u8; 40]);
        let at = (&raw const *value) as usize;
        let maps = std::fs::read_to_string("/proc/self/maps").expect("the system tells");
        let range = maps.lines().filter(|line| line.contains(" rw")).find_map(|line| {
            let (from, to) = line.split(' ').next()?.split_once('-')?;
            let [from, to] = [from, to].map(|end| usize::from_str_radix(end, 16).unwrap_or(0));
            (from..to).contains(&at).then_some(to - from)
        });
        range.expect("it lies somewhere")
    }

    /// In a program of its own: what other tests' threads left behind would serve these here.
    #[test]
    fn a_thread_has_room_that_stays() {
        let program = std::env::current_exe().expect("it runs");
        let test = "store::threads::tests::room_that_stays";
        let out = std::process::Command::new(program).args(["--exact", "--ignored", test]).output();
        let out = out.expect("it runs");
        let told = String::from_utf8_lossy(&out.stdout);
        assert!(out.status.success() && told.contains("1 passed"), "{told}");
    }

    #[test]
    #[ignore = "it is run by the one above"]
    fn room_that_stays() {
        make_room();
        // One beside the other, so that each has a heap of its own.
        let both = begin(|| (room(), std::thread::scope(|threads| begin_in(threads, room).join())));
        let (own, inner) = both.join().expect("no panic");
        assert!(own >= ROOM && inner.expect("no panic") >= ROOM);
        // What is much larger stays as well.
        let large = begin(|| {
            take_and_free(STAYS / 2);
            room()
        });
        assert!(large.join().expect("no panic") >= STAYS / 2);
    }
}
