//! [`Lock`]: what slow paths hold while they change what several threads use. A word and the
//! kernel's wait; no lock of the standard library's, which may allocate or panic.

use crate::sys;
use core::sync::atomic::{AtomicU32, Ordering};

const FREE: u32 = 0;
const HELD: u32 = 1;
/// Held, and somebody may wait in the kernel.
const AWAITED: u32 = 2;

/// A lock without contents: what it guards says so where it is declared.
pub(crate) struct Lock(AtomicU32);

impl Lock {
    pub(crate) const fn new() -> Self {
        Self(AtomicU32::new(FREE))
    }

    #[inline]
    pub(crate) fn lock(&self) {
        if self.0.compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed).is_err() {
            self.lock_slow();
        }
    }

    #[inline]
    pub(crate) fn try_lock(&self) -> bool {
        self.0.compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    #[cold]
    #[inline(never)]
    fn lock_slow(&self) {
        for _ in 0..100 {
            if self.0.load(Ordering::Relaxed) == FREE && self.try_lock() {
                return;
            }
            core::hint::spin_loop();
        }
        while self.0.swap(AWAITED, Ordering::Acquire) != FREE {
            sys::wait(&self.0, AWAITED, None);
        }
    }

    /// Only who has locked it unlocks it.
    #[inline]
    pub(crate) fn unlock(&self) {
        if self.0.swap(FREE, Ordering::Release) == AWAITED {
            sys::wake(&self.0);
        }
    }

    /// Makes it free in the child of a fork, where who held it is not.
    pub(crate) fn reset(&self) {
        self.0.store(FREE, Ordering::Relaxed);
    }

    /// Runs `body` with the lock held. Nothing in this crate unwinds.
    #[inline]
    pub(crate) fn with<T>(&self, body: impl FnOnce() -> T) -> T {
        self.lock();
        let result = body();
        self.unlock();
        result
    }
}
