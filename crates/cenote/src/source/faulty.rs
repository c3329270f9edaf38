//! [`Faulty`]: a source that fails when told to, for tests of running out of memory.

use crate::{AllocError, BlockSource};
use core::alloc::Layout;
use core::cell::Cell;
use core::ptr::NonNull;

/// A source over another one that refuses chosen calls of `acquire`.
///
/// Use it to show that a program survives each of its allocations failing: run it with the
/// first `acquire` failing, then the second, until a run meets no fault any more.
///
/// ```
/// use cenote::{Faulty, Pool, System};
/// let source = Faulty::new(System);
/// let pool = Pool::builder().first_block(256).source(&source).build()?;
/// source.fail_after(1, true);
/// assert!(pool.try_alloc(1_u64).is_ok());                   // the first block is had
/// assert!(pool.try_alloc_zeroed_bytes(4000).is_err());      // no second one
/// source.recover();
/// assert!(pool.try_alloc_zeroed_bytes(4000).is_ok());
/// assert_eq!(source.faults(), 1);
/// # Ok::<(), cenote::ConfigError>(())
/// ```
#[derive(Debug, Default)]
pub struct Faulty<S> {
    under: S,
    /// Calls still to succeed; `None`: no fault is planned.
    left: Cell<Option<u64>>,
    sticky: Cell<bool>,
    faults: Cell<u64>,
    calls: Cell<u64>,
}

impl<S> Faulty<S> {
    /// A source over `under` that fails only once told to.
    pub const fn new(under: S) -> Self {
        Self {
            under,
            left: Cell::new(None),
            sticky: Cell::new(false),
            faults: Cell::new(0),
            calls: Cell::new(0),
        }
    }

    /// Lets `calls` calls of `acquire` succeed and the next one fail; `forever` also all
    /// after that.
    pub fn fail_after(&self, calls: u64, forever: bool) {
        self.left.set(Some(calls));
        self.sticky.set(forever);
    }

    /// Plans no fault any more.
    pub fn recover(&self) {
        self.left.set(None);
    }

    /// How many calls were made to fail.
    pub fn faults(&self) -> u64 {
        self.faults.get()
    }

    /// How many calls of `acquire` there were, failed ones included.
    pub fn calls(&self) -> u64 {
        self.calls.get()
    }

    /// Counts a call, and fails if it is its turn.
    fn meet(&self, layout: Layout) -> Result<(), AllocError> {
        self.calls.set(self.calls.get() + 1);
        match self.left.get() {
            None => {}
            Some(0) => {
                if !self.sticky.get() {
                    self.left.set(None);
                }
                self.faults.set(self.faults.get() + 1);
                return Err(AllocError::out_of_memory(layout.size()));
            }
            Some(n) => self.left.set(Some(n - 1)),
        }
        Ok(())
    }
}

// SAFETY: what it gives comes from the source under it, unchanged; a fault gives nothing.
unsafe impl<S: BlockSource> BlockSource for Faulty<S> {
    fn acquire(&self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
        self.meet(layout)?;
        self.under.acquire(layout)
    }

    fn acquire_apart(&self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
        self.meet(layout)?;
        self.under.acquire_apart(layout)
    }

    unsafe fn release_apart(&self, ptr: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise, passed on: the block came from `under` so.
        unsafe { self.under.release_apart(ptr, layout) }
    }

    unsafe fn release(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise, passed on: the block came from `under`.
        unsafe { self.under.release(block, layout) }
    }

    fn is_plain(&self) -> bool {
        self.under.is_plain()
    }

    fn fit(&self, layout: Layout) -> usize {
        self.under.fit(layout)
    }
}
