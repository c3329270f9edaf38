//! The pool that the calling thread reads into: how collections, which serde makes from
//! nothing, know where to be.
//!
//! Set by a guard for the time of one `deserialize`, which is not interrupted by any `.await`.

use crate::Error;
use cenote::{AllocError, SharedPool};
use std::cell::{Cell, RefCell};

thread_local! {
    static POOL: RefCell<Option<SharedPool>> = const { RefCell::new(None) };
    /// Why memory was refused, which serde's errors have no place for.
    static FAILURE: Cell<Option<Error>> = const { Cell::new(None) };
}

/// Restores the pool from before, also if reading panics.
struct Restore(Option<SharedPool>);

impl Drop for Restore {
    fn drop(&mut self) {
        let pool = self.0.take();
        // Dropped outside: the last handle of a pool runs cleanups, which may read in turn.
        let before = POOL.with(|current| current.replace(pool));
        drop(before);
    }
}

/// Runs `f` with `pool` as the calling thread's.
pub(super) fn with<T>(pool: &SharedPool, f: impl FnOnce() -> T) -> T {
    let _restore = Restore(POOL.with(|current| current.replace(Some(pool.clone()))));
    f()
}

/// A handle on the calling thread's pool.
pub(super) fn pool() -> Option<SharedPool> {
    POOL.with(|current| current.borrow().clone())
}

/// Runs what reads, and returns the refusal that made it fail, if it was one.
pub(super) fn failing<T>(f: impl FnOnce() -> serde_json::Result<T>) -> Result<T, Error> {
    let outer = FAILURE.take();
    let outcome = f();
    let refused = FAILURE.replace(outer);
    outcome.map_err(|error| refused.unwrap_or(Error::Json(error)))
}

/// The error of serde's for a refusal, which is kept for [`failing`].
#[cold]
pub(super) fn refused<E: serde::de::Error>(error: AllocError) -> E {
    let text = E::custom(&error);
    FAILURE.set(Some(error.into()));
    text
}

/// The same for a collection that could not grow.
#[cold]
pub(super) fn full<E: serde::de::Error>(pool: &SharedPool) -> E {
    let error = Error::Collection(pool.account().cloned());
    let text = E::custom(&error);
    FAILURE.set(Some(error));
    text
}
