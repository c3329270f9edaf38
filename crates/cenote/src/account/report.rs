//! What is told of refused charges, when the operation that was refused is over.

use super::Account;
use crate::AllocError;
use crate::sync::Lock;

/// What is told about refusals.
type Report = fn(&AllocError);

static REPORT: Lock<Option<Report>> = Lock::new(None);

impl Account {
    /// Sets what is told about what an account's limit refuses, for the whole process: the error
    /// that the caller gets, before the caller gets it. Nothing is told unless this is called.
    ///
    /// It is told once for each call that fails, not for what a pool tries on the way: where less
    /// memory than wanted will do, or the pool that this one stands on has another block, nobody
    /// was refused. It runs on the thread that was refused, when its operation is over (the
    /// outermost one, where pools stand on pools), so it may use any pool and any account, the
    /// refused ones included. A panic in it goes no further. What it is refused itself is told
    /// once it has returned; what telling that leads to is only counted. Costs nothing where
    /// nothing is refused.
    ///
    /// Sixteen refusals and bad frees of one operation are told; [`Account::untold_refusals`]
    /// counts what is beyond that.
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

    /// How many refusals there was no room to tell of, in the whole process; accounts have
    /// counted them.
    #[must_use]
    pub fn untold_refusals() -> u64 {
        crate::told::untold().0
    }

    /// How many refusals of accounts have reached a caller on the calling thread so far, whatever
    /// became of the errors: for who wants to know whether something that it calls was refused
    /// memory. Without the `std` feature those of all threads.
    ///
    /// ```
    /// use cenote::{Account, Pool};
    /// let pool = Pool::on(&Account::root("small").with_limit(Some(1000)));
    /// let before = Account::refusals_of_this_thread();
    /// let _ = pool.try_alloc_bytes(2000);
    /// assert_eq!(Account::refusals_of_this_thread() - before, 1);
    /// ```
    #[must_use]
    pub fn refusals_of_this_thread() -> u64 {
        crate::told::refusals()
    }

    /// Calls `f`, in which what an account refuses the calling thread is neither counted nor
    /// told: for who tries to have more than is needed, and asks for less where that fails.
    ///
    /// ```
    /// use cenote::{Account, Pool};
    /// let account = Account::root("small").with_limit(Some(8192));
    /// let pool = Pool::on(&account);
    /// let room = Account::try_quietly(|| pool.try_alloc_bytes(20_000))
    ///     .or_else(|_| pool.try_alloc_bytes(5000))?;
    /// assert_eq!((room.len(), account.refused()), (5000, 0));
    /// # Ok::<(), cenote::AllocError>(())
    /// ```
    ///
    /// Without the `std` feature threads cannot be told apart, and refusals are counted all the
    /// same.
    pub fn try_quietly<T>(f: impl FnOnce() -> T) -> T {
        crate::told::quietly(f)
    }
}

/// Whether there is anybody to be told.
#[cold]
pub(crate) fn refusals_are_told() -> bool {
    REPORT.lock().is_some()
}

#[cold]
pub(crate) fn tell_refusal(error: &AllocError) {
    // Not called under the lock: it may well refuse something itself.
    let report = *REPORT.lock();
    if let Some(report) = report {
        report(error);
    }
}
