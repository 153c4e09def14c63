//! Objects read by many threads at once.

use std::sync::atomic::{AtomicUsize, Ordering};

use git_carry::store::{Objects, Odb};
use gix_hash::ObjectId;

use crate::support::bare_store;
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

#[test]
fn an_id_of_another_kind_than_the_store_s_is_none_of_its() {
    let dir = tempfile::tempdir().expect("a folder");
    let odb = bare_store(dir.path());
    let other = [gix_hash::Kind::Sha1, gix_hash::Kind::Sha256].into_iter().find(|kind| *kind != odb.hash());
    let id = other.expect("a kind").null();
    assert!(!odb.has(&id));
    let told = odb.blob(&id).expect_err("it cannot be there").to_string();
    assert!(told.contains("another kind"), "{told}");
}
