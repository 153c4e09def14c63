//! Objects read by many threads at once.

use std::sync::atomic::{AtomicUsize, Ordering};

use git_carry::store::{Objects, Odb};
use gix_hash::ObjectId;

use crate::support::lab::Lab;

const THREADS: usize = 6;

/// One look in a thousand is enough to lose a night. Without the second look about one round in 1,500 missed the object.
#[test]
fn what_is_in_the_store_is_found_by_each_of_many_threads_that_look_at_once() {
    let lab = Lab::new();
    lab.commit("up", "base", &[("a", Some("text\n"))]);
    lab.git(".", &["clone", "-q", "--bare", "up", "store.git"]);
    lab.git("store.git", &["repack", "-adq"]);
    let id = lab.git("store.git", &["rev-parse", "main:a"]);
    let id = ObjectId::from_hex(id.as_bytes()).expect("an id");
    let missed = AtomicUsize::new(0);
    for _ in 0..1500 {
        // Each round opens the store anew: it is the first look of each thread that counts.
        let odb = Odb::open(&lab.path("store.git")).expect("it opens");
        let ready = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                let place = odb.place().expect("a place");
                scope.spawn(|| {
                    let odb = place.open();
                    ready.fetch_add(1, Ordering::SeqCst);
                    while ready.load(Ordering::SeqCst) < THREADS {
                        std::thread::yield_now();
                    }
                    missed.fetch_add(usize::from(!odb.has(&id)), Ordering::Relaxed);
                });
            }
        });
    }
    assert_eq!(missed.into_inner(), 0);
}
