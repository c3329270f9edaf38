//! The atomics and the lock of shared pools.

pub(crate) use crate::sync::modelled::{AtomicPtr, AtomicU64, AtomicUsize, Lock, Ordering, fence};

/// For who counted the last out, by `Release` as all others did: what they did comes before what
/// the caller does.
#[inline(always)]
pub(crate) fn acquire(count: &AtomicUsize) {
    // ThreadSanitizer does not know fences.
    if cfg!(cenote_tsan) {
        count.load(Ordering::Acquire);
    } else {
        fence(Ordering::Acquire);
    }
}
