//! Work on many things that have nothing to do with each other, on all cores.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::{Objects as _, Odb, odb};

/// Fewer things than this are not worth a thread.
const FEW: usize = 16;
/// More threads than this are not used.
const MOST: usize = 8;

/// What `work` makes of each of `items`, in their order. It reads from a view of the objects that a thread has for
/// itself, and that shows what is written alone: where something is not, all is done on this thread.
pub fn on_all_cores<T: Sync, R: Send>(
    odb: &Odb,
    items: &[T],
    work: &(dyn Fn(&Odb, &T) -> R + Sync),
) -> Vec<R> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from).min(MOST);
    if items.len() < FEW || cores == 1 || odb.mark() > 0 {
        return items.iter().map(|item| work(odb, item)).collect();
    }
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::with_capacity(items.len())));
    let some = |odb: &Odb| {
        let mut own = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(at) else { break };
            own.push((at, work(odb, item)));
        }
        done.lock().unwrap_or_else(PoisonError::into_inner).extend(own);
    };
    std::thread::scope(|threads| {
        let some = &some;
        for place in (1..cores).map(|_| odb.view(odb::SMALL)) {
            threads.spawn(move || some(&place.open()));
        }
        some(odb);
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}
