//! Many small looks at the disk, at once.

use std::num::NonZero;
use std::panic::resume_unwind;
use std::thread::ScopedJoinHandle;

/// Fewer files are not worth a second thread.
pub(super) const MANY: usize = 200;

/// Does the same with each and returns the results in their order; if there are `many`, on several
/// threads. All the time goes into waiting for the kernel and, the first time, for the disk.
pub(super) fn spread<T: Sync, R: Send>(
    items: &[T],
    many: usize,
    each: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    if items.len() < many {
        return items.iter().map(each).collect();
    }
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get).min(4);
    let each = &each;
    std::thread::scope(|scope| {
        let parts = items.chunks(items.len().div_ceil(threads));
        let parts =
            parts.map(|part| scope.spawn(move || part.iter().map(each).collect::<Vec<_>>()));
        let parts: Vec<_> = parts.collect();
        let joined = parts.into_iter().map(ScopedJoinHandle::join);
        joined.flat_map(|part| part.unwrap_or_else(|panic| resume_unwind(panic))).collect()
    })
}
