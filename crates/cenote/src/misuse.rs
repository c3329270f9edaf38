//! Misuse that is noticed in release builds: what it was, and what is done about it.

use crate::sync::Lock;
use crate::told;
use core::fmt;

/// A free of something that was not there to be freed. Nothing has changed by it.
///
/// ```
/// use cenote::ChunkPool;
/// use cenote::misuse::{BadFreeKind, OnBadFree};
/// let pool = ChunkPool::config().on_bad_free(OnBadFree::Return).build()?;
/// let mut other = 7;
/// // SAFETY: nothing is freed, since it is no object of the pool.
/// let error = unsafe { pool.free(std::ptr::NonNull::from(&mut other).cast()) }.unwrap_err();
/// assert_eq!(error.kind(), BadFreeKind::Foreign);
/// assert!(error.to_string().ends_with("is in no memory of this pool"));
/// # Ok::<(), cenote::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadFree {
    kind: BadFreeKind,
    address: usize,
}

/// The ways in which a free can be wrong.
///
/// ```
/// use cenote::misuse::BadFreeKind;
/// fn is_twice(kind: BadFreeKind) -> bool {
///     matches!(kind, BadFreeKind::Double | BadFreeKind::Empty)
/// }
/// assert!(is_twice(BadFreeKind::Double) && !is_twice(BadFreeKind::Foreign));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BadFreeKind {
    /// The address is in no memory of this pool: another pool's, the stack's, a large object
    /// freed before.
    Foreign,
    /// The address is inside an object, or between objects, not at the start of one.
    Interior,
    /// The object is free already.
    Double,
    /// The page or block at this address has no object in it: all were freed.
    Empty,
    /// The address is in the pool's own bookkeeping.
    Header,
    /// The object is there, but its layout is not the one that was given.
    Layout,
    /// The object is there, but bytes behind it were overwritten; noticed at the level `canary`
    /// (see [`debug`](crate::debug)), and the object is freed all the same.
    Overrun,
    /// The object was written to after it had been freed; noticed at the level `quarantine`,
    /// when its memory goes back.
    Written,
}

impl BadFree {
    #[cold]
    pub(crate) const fn new(kind: BadFreeKind, address: usize) -> Self {
        Self { kind, address }
    }

    /// What was wrong.
    #[must_use]
    pub fn kind(&self) -> BadFreeKind {
        self.kind
    }

    /// The address that was given.
    #[must_use]
    pub fn address(&self) -> usize {
        self.address
    }
}

impl fmt::Display for BadFree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            BadFreeKind::Foreign => "is in no memory of this pool",
            BadFreeKind::Interior => "is not the start of an object",
            BadFreeKind::Double => "is an object that is free already",
            BadFreeKind::Empty => "is in a page or block without objects",
            BadFreeKind::Header => "is in the pool's own bookkeeping",
            BadFreeKind::Layout => "is an object of another layout",
            BadFreeKind::Overrun => "is an object that was written beyond its end",
            BadFreeKind::Written => "is an object that was written to after it was freed",
        };
        let wrong = match self.kind {
            BadFreeKind::Overrun | BadFreeKind::Written => "bad write",
            _ => "bad free",
        };
        write!(f, "{wrong}: {:#x} {what}", self.address)
    }
}

impl core::error::Error for BadFree {}

/// What a pool does about a bad free, beyond leaving everything as it is.
///
/// ```
/// use cenote::{CountedPool, misuse::OnBadFree};
/// assert_eq!(OnBadFree::default(), OnBadFree::Abort);
/// let pool = CountedPool::builder().on_bad_free(OnBadFree::Report).build()?;
/// # drop(pool);
/// # Ok::<(), cenote::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnBadFree {
    /// Returns the error, and nothing else.
    Return,
    /// Reports it (see [`on_misuse`]), and returns the error.
    Report,
    /// Reports it, and aborts the process (without the `std` feature, panics): a program that
    /// frees wrongly may do worse next. Where it is found in the middle of an operation (a pool
    /// gives blocks back to the one that it stands on), that one ends first.
    #[default]
    Abort,
}

impl OnBadFree {
    /// Does what the policy says, now if no operation is under way; returns unless that is to
    /// abort. Called where the pool is done, since who is told may use it.
    #[cold]
    #[inline(never)]
    pub(crate) fn meet(self, pool: &'static str, error: BadFree) -> BadFree {
        told::misused(pool, error, self);
        told::now();
        error
    }
}

/// A misuse of a pool, as it is reported.
///
/// ```
/// use cenote::misuse::{Misuse, on_misuse};
/// fn tell(misuse: &Misuse<'_>) {
///     eprintln!("{} in pool {}", misuse.error, misuse.pool);
/// }
/// on_misuse(tell);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Misuse<'a> {
    /// The pool's name.
    pub pool: &'a str,
    /// What was wrong.
    pub error: BadFree,
}

impl fmt::Display for Misuse<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cenote: pool {}: {}", self.pool, self.error)
    }
}

/// What is told about misuse.
type Report = fn(&Misuse<'_>);

static REPORT: Lock<Option<Report>> = Lock::new(None);

/// Sets what is told about misuse, for the whole process. Unless set, a line goes to standard
/// error (nowhere, without the `std` feature).
///
/// It runs on the thread that found the misuse, when its operation is over (the outermost one,
/// where pools stand on pools), so it may use any pool, the one that it is told about included. A
/// panic in it goes no further. What it does wrong itself is told once it has returned; what
/// telling that leads to is only counted.
///
/// Sixteen cases of one operation are told; [`untold`] counts what is beyond that.
///
/// ```
/// cenote::misuse::on_misuse(|misuse| eprintln!("memory: {misuse}"));
/// ```
pub fn on_misuse(report: fn(&Misuse<'_>)) {
    *REPORT.lock() = Some(report);
}

/// How many cases of misuse there was no room to tell of, in the whole process.
#[must_use]
pub fn untold() -> u64 {
    told::untold().1
}

pub(crate) fn report(misuse: &Misuse<'_>) {
    let told = *REPORT.lock();
    match told {
        Some(report) => report(misuse),
        #[cfg(feature = "std")]
        None => {
            use std::io::Write;
            // Standard error may be closed; that must not become a panic here.
            let _ = writeln!(std::io::stderr(), "{misuse}");
        }
        #[cfg(not(feature = "std"))]
        None => {}
    }
}

/// Ends the process, as [`OnBadFree::Abort`] says.
#[cold]
pub(crate) fn abort(_pool: &str, _error: BadFree) -> ! {
    #[cfg(feature = "std")]
    std::process::abort();
    #[cfg(not(feature = "std"))]
    panic!("cenote: pool {_pool}: {_error}");
}
