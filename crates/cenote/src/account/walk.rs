//! Reading a tree of accounts while it is in use: a few handles at a time, so that nobody who
//! makes or drops an account waits for more than the length of one slice.

use super::{Account, History, life};
use crate::sync::modelled::Ordering::*;
use alloc::vec::Vec;
use core::panic::Location;
use core::ptr::NonNull;

/// Accounts of which handles are taken under one hold of their parent's lock.
const SLICE: usize = 16;
/// How deep below a root accounts are read: a chain without end must not become a recursion
/// without end.
const DEEPEST: usize = 64;

/// What [`Account::walk`] comes by.
///
/// ```
/// use cenote::{Account, Pool, inspect::Seen};
/// let process = Account::root("process");
/// let open = process.child("connection");
/// drop(Pool::on(&process.child("connection")));
/// let (mut accounts, mut closed) = (0, 0);
/// process.walk(|_depth, seen| match seen {
///     Seen::Account(_) => accounts += 1,
///     Seen::Closed(left) => closed += left.accounts(),
/// });
/// assert_eq!((accounts, closed), (2, 1));
/// # drop(open);
/// ```
#[derive(Debug)]
pub enum Seen<'a> {
    /// An account.
    Account(&'a Account),
    /// What accounts of one name that have closed left behind, under their parent.
    Closed(Closed<'a>),
}

/// What accounts of one name that have closed left behind.
///
/// ```
/// use cenote::{Account, Pool, inspect::Seen};
/// let process = Account::root("process");
/// for _ in 0..3 {
///     Pool::on(&process.child("request")).alloc(1);
/// }
/// process.walk(|depth, seen| {
///     if let Seen::Closed(left) = seen {
///         assert_eq!((depth, left.name(), left.accounts(), left.created()), (1, "request", 3, 3));
///         assert_eq!(left.peak(), 4096);
///     }
/// });
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Closed<'a>(&'a History);

impl Closed<'_> {
    /// Their name; `(others)` for what a parent counts together, having too many names.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// How many they were.
    #[must_use]
    pub fn accounts(&self) -> u64 {
        self.0.sums.accounts
    }

    /// Pools that were made on them.
    #[must_use]
    pub fn created(&self) -> u64 {
        self.0.sums.created
    }

    /// How often their limits refused a charge.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.0.sums.refused
    }

    /// Bytes that reservations charged beyond their limits.
    #[must_use]
    pub fn overcommitted(&self) -> u64 {
        self.0.sums.overcommitted
    }

    /// Bytes of blocks that their pools gave back.
    #[must_use]
    pub fn recycled(&self) -> u64 {
        self.0.sums.recycled
    }

    /// The most bytes that any one of them held.
    #[must_use]
    pub fn peak(&self) -> usize {
        self.0.sums.peak
    }

    /// The largest limit that any of them had, in bytes.
    #[must_use]
    pub fn limit(&self) -> Option<usize> {
        self.0.sums.limit()
    }

    /// Where one of them was made.
    #[must_use]
    pub fn created_at(&self) -> &'static Location<'static> {
        self.0.created_at
    }
}

impl Account {
    /// Calls `f` with this account, which has depth 0, and with each under it, parents before
    /// children and the newest child first; then with what closed accounts left behind.
    ///
    /// No lock is held while `f` runs. The accounts of one parent are read sixteen at a time,
    /// under that parent's lock only as long as handles on them are taken: that is what a
    /// thread may wait for that makes or drops an account there. Accounts made meanwhile may be
    /// missed. An account whose last own handle goes while `f` has it closes when its thread
    /// next makes or drops an account, or calls [`Account::settle`].
    ///
    /// ```
    /// use cenote::{Account, inspect::Seen};
    /// let process = Account::root("process");
    /// let workers = [process.child("worker-0"), process.child("worker-1")];
    /// let mut names = Vec::new();
    /// process.walk(|depth, seen| {
    ///     if let Seen::Account(account) = seen {
    ///         names.push((depth, account.name().to_owned(), account.number()));
    ///     }
    /// });
    /// assert_eq!(names[0], (0, "process".to_owned(), 0));
    /// assert_eq!(names[1], (1, "worker-1".to_owned(), 2));
    /// assert_eq!(names[2], (1, "worker-0".to_owned(), 1));
    /// # drop(workers);
    /// ```
    pub fn walk(&self, mut f: impl FnMut(usize, Seen<'_>)) {
        self.walk_from(0, &mut f);
    }

    fn walk_from(&self, depth: usize, f: &mut impl FnMut(usize, Seen<'_>)) {
        f(depth, Seen::Account(self));
        if depth < DEEPEST {
            self.each_child(|child| child.walk_from(depth + 1, f));
        }
        for history in &self.closed() {
            walk_closed(history, depth + 1, f);
        }
    }

    /// Calls `f` with each account right under this one, the newest first.
    pub(crate) fn each_child(&self, mut f: impl FnMut(&Account)) {
        let mut slice = Vec::new();
        loop {
            let cursor: Option<Account> = slice.pop();
            // Outside the lock: the end of a handle may be the end of an account.
            slice.clear();
            let end = self.next_children(cursor.as_ref(), &mut slice);
            drop(cursor);
            slice.iter().for_each(&mut f);
            if end {
                return;
            }
        }
    }

    /// Adds handles on up to [`SLICE`] accounts right under this one, from `after` on; tells
    /// whether that was the last of them.
    fn next_children(&self, after: Option<&Account>, into: &mut Vec<Account>) -> bool {
        let family = self.node().family.lock();
        let mut at = match after {
            // In the list still: an account of which there is a handle does not leave it.
            Some(account) => account.node().older.load(Relaxed),
            None => family.newest,
        };
        while let Some(node) = NonNull::new(at) {
            if into.len() == SLICE {
                return false;
            }
            // SAFETY: nodes in the list are alive while its lock is held, as it is here.
            at = unsafe { node.as_ref() }.older.load(Relaxed);
            // SAFETY: likewise, for one that is in the list.
            into.extend(unsafe { life::try_handle(node) });
        }
        true
    }

    /// What accounts under this one that have closed left behind.
    pub(crate) fn closed(&self) -> Vec<History> {
        self.node().family.lock().closed.to_vec()
    }
}

fn walk_closed(history: &History, depth: usize, f: &mut impl FnMut(usize, Seen<'_>)) {
    f(depth, Seen::Closed(Closed(history)));
    for child in history.children() {
        walk_closed(child, depth + 1, f);
    }
}
