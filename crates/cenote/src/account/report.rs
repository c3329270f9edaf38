//! What is told of refused charges, at the moment of the refusal.

use super::Account;
use crate::AllocError;
use crate::sync::Lock;

/// What is told about refusals.
type Report = fn(&AllocError);

static REPORT: Lock<Option<Report>> = Lock::new(None);

impl Account {
    /// Sets what is told about each charge that an account's limit refuses, for the whole
    /// process: the error that the caller gets, before the caller gets it. Nothing is told
    /// unless this is called.
    ///
    /// It runs in the middle of an allocation: it must not panic, and must not use the pool
    /// that was refused. Costs nothing where nothing is refused.
    ///
    /// ```
    /// use cenote::{Account, Pool};
    /// Account::on_refused(|error| eprintln!("memory: {error}"));
    /// let pool = Pool::on(&Account::root("small").with_limit(Some(1000)));
    /// assert!(pool.try_alloc_bytes(2000).is_err());
    /// ```
    pub fn on_refused(report: fn(&AllocError)) {
        *REPORT.lock() = Some(report);
    }
}

#[cold]
pub(super) fn refused(error: &AllocError) {
    // Not called under the lock: it may well refuse something itself.
    let report = *REPORT.lock();
    if let Some(report) = report {
        report(error);
    }
}
