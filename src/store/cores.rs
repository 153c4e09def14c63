//! Work on many things that have nothing to do with each other, on all cores.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::threads::{self, begin_in};
use super::{Objects, Odb, Place};

/// Fewer things than this are not worth a thread.
const FEW: usize = 16;
/// More threads than this are not used.
const MOST: usize = 8;
/// So many stretches has a core of things that have much in common with their neighbours.
const STRETCHES: usize = 2;

/// So long nobody may want the cores that a run leaves free at its end.
const SOON: Duration = Duration::from_millis(100);

/// Drops what takes its time to go, beside other work and a moment later: most often the program has ended before.
pub fn drop_later<T: Send + 'static>(value: T) {
    std::thread::spawn(move || {
        std::thread::sleep(SOON);
        drop(value);
    });
}

/// So many threads are worth starting here.
pub(super) fn worth_starting() -> usize {
    threads::cores().min(MOST)
}

/// Does `own` on this thread, and `other` on each other core with a view of its own.
fn beside(view: &dyn Fn() -> Option<Place>, own: &dyn Fn(), other: &(dyn Fn(&Odb) + Sync)) {
    std::thread::scope(|threads| {
        for place in (1..worth_starting()).filter_map(|_| view()) {
            begin_in(threads, move || other(&place.open()));
        }
        own();
    });
}

/// Does `work` on all cores, on this one with `objects`, on the others with views that show what is written alone. Work
/// that fails there is left undone: whoever needs it meets the error himself.
pub fn share(objects: &dyn Objects, work: &(dyn Fn(&dyn Objects) + Sync)) {
    beside(&|| objects.place(), &|| work(objects), &|odb| work(odb));
}

/// What `work` makes of each of `items`, in their order. Other threads see what is written alone: where something is not,
/// all is done on this one.
pub fn on_all_cores<T: Sync, R: Send>(
    odb: &Odb,
    items: &[T],
    work: &(dyn Fn(&Odb, &T) -> R + Sync),
) -> Vec<R> {
    at_once(odb, items, FEW, work)
}

/// The same for work of which each piece takes long.
pub fn long_on_all_cores<T: Sync, R: Send>(
    odb: &Odb,
    items: &[T],
    work: &(dyn Fn(&Odb, &T) -> R + Sync),
) -> Vec<R> {
    at_once(odb, items, 2, work)
}

/// What `work` makes of stretches of `items`, in their order, so that what neighbours have in common is read once: of at least
/// `least` items each, and more than there are cores, as some take longer than others.
pub fn stretches_on_all_cores<T: Sync, R: Send>(
    odb: &Odb,
    items: &[T],
    least: usize,
    work: &(dyn Fn(&Odb, &[T]) -> R + Sync),
) -> Vec<R> {
    let length = items.len().div_ceil(worth_starting() * STRETCHES).max(least).max(1);
    let stretches: Vec<&[T]> = items.chunks(length).collect();
    at_once(odb, &stretches, 2, &|odb, stretch| work(odb, stretch))
}

/// The same where so many things are worth a thread.
fn at_once<T: Sync, R: Send>(
    odb: &Odb,
    items: &[T],
    few: usize,
    work: &(dyn Fn(&Odb, &T) -> R + Sync),
) -> Vec<R> {
    if items.len() < few || odb.mark() > 0 {
        return items.iter().map(|item| work(odb, item)).collect();
    }
    let places: Vec<Option<R>> = items.iter().map(|_| None).collect();
    let (next, done) = (AtomicUsize::new(0), Mutex::new(places));
    let some = |odb: &Odb| {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(at) else { break };
            let result = work(odb, item);
            done.lock().unwrap_or_else(PoisonError::into_inner)[at] = Some(result);
        }
    };
    beside(&|| odb.place(), &|| some(odb), &some);
    done.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Repo;

    #[test]
    fn what_comes_of_each_is_in_order_and_what_is_not_written_is_seen_too() {
        let dir = tempfile::tempdir().expect("a folder");
        let odb = Repo::open_or_create(dir.path(), None, None).and_then(|repo| repo.odb()).expect("a store");
        let id = odb.put_blob(b"new".to_vec(), None).expect("it is kept");
        let items: Vec<usize> = (0..100).collect();
        let look = |odb: &Odb, item: &usize| {
            // So long that another thread has its turn.
            std::thread::sleep(std::time::Duration::from_millis(1));
            (*item, odb.blob(&id).map(|blob| blob.len()).ok())
        };
        let all: Vec<_> = items.iter().map(|item| (*item, Some(3))).collect();
        assert_eq!(on_all_cores(&odb, &items, &look), all);
        odb.flush().expect("it is written");
        assert_eq!(on_all_cores(&odb, &items, &look), all);
    }

    #[test]
    fn stretches_have_each_thing_once_in_order_and_enough_of_them() {
        let dir = tempfile::tempdir().expect("a folder");
        let odb = Repo::open_or_create(dir.path(), None, None).and_then(|repo| repo.odb()).expect("a store");
        for (count, least) in [(0, 16), (1, 16), (16, 16), (17, 16), (1000, 16), (1000, 0), (600, 512)] {
            let items: Vec<usize> = (0..count).collect();
            let stretches = stretches_on_all_cores(&odb, &items, least, &|_, stretch| stretch.to_vec());
            assert_eq!(stretches.concat(), items, "{count}, {least}");
            let whole = &stretches[..stretches.len().saturating_sub(1)];
            assert!(whole.iter().all(|stretch| stretch.len() >= least), "{count}, {least}");
        }
    }
}
