//! One piece of work done by a few threads: by fewer where the host gives no more.
//!
//! In: work that any number of threads can share, and how many are wanted; out: when all of it is
//! done. The calling thread is always one of them. A thread that the kernel refuses (`ulimit -u`, a
//! container's limit of processes) makes the work slower and nothing else.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, Builder};

/// Runs `work` on `threads` threads, or on as many as there can be, until each has returned. The
/// work divides itself: one call of it may do all.
pub(crate) fn share(threads: usize, work: impl Fn() + Sync) {
    share_by(Builder::new, threads, work);
}

fn share_by(builder: impl Fn() -> Builder, threads: usize, work: impl Fn() + Sync) {
    thread::scope(|scope| {
        for _ in 1..threads {
            if builder().spawn_scoped(scope, &work).is_err() {
                break;
            }
        }
        work();
    });
}

/// Does `work` on every item, on some threads. Returns the results in the items' order, or the
/// error of the first item that has one; then no further item is begun.
///
/// # Errors
/// What `work` returns.
pub(crate) fn try_map<T: Sync, R: Send, E: Send>(
    threads: usize,
    items: &[T],
    work: impl Fn(&T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let done = Mutex::new(Vec::with_capacity(items.len()));
    share(threads.min(items.len()), || {
        let mut own = Vec::new();
        while !failed.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(number) else { break };
            let result = work(item);
            failed.fetch_or(result.is_err(), Ordering::Relaxed);
            own.push((number, result));
        }
        done.lock().unwrap_or_else(PoisonError::into_inner).append(&mut own);
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_done_also_where_no_thread_can_be_started() {
        // No address space holds such a stack, so the kernel refuses.
        let impossible = || Builder::new().stack_size(1 << 60);
        for builder in [Builder::new as fn() -> Builder, impossible] {
            let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
            share_by(builder, 4, || {
                while next.fetch_add(1, Ordering::Relaxed) < 1000 {
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
            assert_eq!(done.into_inner(), 1000);
        }
    }

    #[test]
    fn results_come_in_order_and_the_first_error_is_the_one_told() {
        let items: Vec<u32> = (0..500).collect();
        for threads in [0, 1, 3, 1000] {
            let doubled = try_map(threads, &items, |item| Ok::<_, ()>(item * 2)).unwrap();
            assert!(doubled.iter().zip(&items).all(|(two, one)| *two == one * 2), "{threads}");
            let failed = try_map(threads, &items, |&item| match item {
                // The later error is there long before the earlier one.
                7 => {
                    thread::sleep(std::time::Duration::from_millis(5));
                    Err(7)
                }
                8 => Err(8),
                _ => Ok(()),
            });
            assert_eq!(failed, Err(7), "{threads}");
        }
        assert_eq!(try_map(4, &[], |(): &()| Ok::<_, ()>(())), Ok(vec![]));
    }
}
