//! [`Locked`]: one source for several threads.

use crate::sync::Lock;
use crate::told::{self, Inside};
use crate::{AllocError, BlockSource};
use core::alloc::Layout;
use core::fmt;
use core::ptr::NonNull;

/// A source behind a lock, so that pools on several threads can stand on it.
///
/// For sources that belong to one thread at a time, such as a [`Buddy`](crate::Buddy): pools
/// call their source for whole blocks only, so the lock is taken seldom.
///
/// ```
/// use cenote::{Buddy, Locked, Pool};
/// let pages = Locked::new(Buddy::heap(1 << 20)?);
/// std::thread::scope(|scope| {
///     for _ in 0..2 {
///         scope.spawn(|| {
///             let pool = Pool::builder().source(&pages).build().unwrap();
///             pool.alloc_str("from one region");
///         });
///     }
/// });
/// assert_eq!(pages.with(|buddy| buddy.used_bytes()), 0);
/// # Ok::<(), cenote::RegionError>(())
/// ```
pub struct Locked<S>(Lock<S>);

impl<S> Locked<S> {
    /// Puts a source behind a lock.
    pub const fn new(source: S) -> Self {
        Self(Lock::new(source))
    }

    /// Looks at the source, with the lock held: for its figures, or a snapshot.
    ///
    /// What runs in it must not use this `Locked` by itself, a pool over it included: that
    /// would wait for itself. What is found in it, such as a bad free, is told when the lock is
    /// free again.
    pub fn with<T>(&self, f: impl FnOnce(&S) -> T) -> T {
        let _inside = self.inside();
        f(&self.0.lock())
    }

    /// What is found under the lock is told when it is free again, since who is told may use what
    /// it guards. To be had before the lock, so that it goes after it.
    fn inside(&self) -> Inside {
        told::inside(true)
    }
}

// SAFETY: every call goes to the source, which keeps the promises; the lock keeps it from
// being used by two threads at once.
unsafe impl<S: BlockSource> BlockSource for Locked<S> {
    fn acquire(&self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
        let _inside = self.inside();
        self.0.lock().acquire(layout)
    }

    unsafe fn release(&self, block: NonNull<u8>, layout: Layout) {
        let _inside = self.inside();
        // SAFETY: the caller's promise, passed on.
        unsafe { self.0.lock().release(block, layout) }
    }

    fn acquire_apart(&self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
        let _inside = self.inside();
        self.0.lock().acquire_apart(layout)
    }

    unsafe fn release_apart(&self, block: NonNull<u8>, layout: Layout) {
        let _inside = self.inside();
        // SAFETY: the caller's promise, passed on.
        unsafe { self.0.lock().release_apart(block, layout) }
    }

    unsafe fn discard(&self, start: NonNull<u8>, size: usize) -> usize {
        let _inside = self.inside();
        // SAFETY: the caller's promise, passed on.
        unsafe { self.0.lock().discard(start, size) }
    }

    fn fit(&self, layout: Layout) -> usize {
        self.0.lock().fit(layout)
    }
}

impl<S> fmt::Debug for Locked<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Locked").finish_non_exhaustive()
    }
}
