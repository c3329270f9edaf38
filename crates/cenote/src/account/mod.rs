//! [`Account`]: who holds the memory, and how much of it they may.
//!
//! Files: this one has the handle and what users call; `node` the counters, and whose an account
//! is; `charging` the charging of blocks up the tree, `slow` where that is
//! not by plain stores, `calling` where it would be refused; `family` the accounts under one, and what
//! closed ones left; `life` who keeps an account alive and how its end is noticed; `record` what
//! accounts know of a thread; `walk` reading a tree in use; `report` what is told of refusals;
//! `reservation` charges for memory that no pool has; `waiting` who waits for room.

mod calling;
mod charging;
mod family;
mod life;
#[cfg(all(test, loom))]
mod model;
mod node;
mod peaks;
mod record;
mod report;
mod reservation;
mod slow;
#[cfg(all(test, feature = "std", not(loom)))]
mod tests;
mod waiting;
#[cfg(all(test, loom))]
mod waiting_model;
mod walk;

pub(crate) use family::History;
pub(crate) use node::Node;
pub(crate) use record::Record;
#[cfg(feature = "std")]
pub(crate) use record::thread_ends;
pub(crate) use report::{refusals_are_told, tell_refusal};
pub use reservation::Reservation;
pub use waiting::Reserve;
pub use walk::{Closed, Seen};

use crate::inspect::AccountSnapshot;
use crate::sync::modelled::Ordering::Relaxed;
use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::panic::Location;
use core::ptr::NonNull;

/// A name to which pools charge the memory they hold, with a limit, in a tree.
///
/// A pool on an account charges each block that it takes, and each large object, to the
/// account and to all accounts above it; a block given back is credited. Where that would
/// pass a limit anywhere on the way up, the allocation fails with an
/// [`AllocError`](crate::AllocError) that names the account, and every counter is as it was.
/// Nothing is counted for single allocations inside a block.
///
/// `Account` is a handle: cloning it gives another handle on the same account. An account
/// lives as long as any handle, any account under it, or any pool on it; a shared one also as
/// long as a thread has a reserve of it.
///
/// # Threads
///
/// An account may be used and read from any thread. A child account belongs to the thread on
/// which the first pool was made on it or under it: there, charging is a handful of plain
/// loads and stores. So give each thread an account of its own, and put the rest under that;
/// for one that threads share there is [`Account::shared_child`]. Other threads may charge it
/// too, at the price of atomic operations; if both do so at the very same moment, the limit may
/// be passed by the blocks of those charges under way. A root
/// is everyone's: its limit is exact among threads, and threads charge it in quanta of up to
/// 64 KiB, the smaller the nearer its limit is, and exactly when it is near. A thread that
/// then does nothing may keep up to two quanta of it in reserve. Nobody is refused for them: who
/// would be, on whatever thread, calls them in first.
///
/// # After `fork`
///
/// In the child of a process with several threads, pools work on, new ones can be made, accounts
/// charged, and their own figures read. Making and dropping accounts, reading those under one
/// ([`Account::snapshot`], [`Account::walk`]) and [`Account::settle`] take locks, which another
/// thread may have held at the fork; so may a refusal, where pools alone keep the account that was to
/// be charged.
///
/// # Cost
///
/// Making an account takes 448 bytes from the thread's cache of blocks, and its parent's lock, and
/// so does its end: some 350 instructions for both. A pool that is made, takes one block and is
/// dropped costs 59 instructions more on an account under a root than on none, and 19 for each
/// further level (callgrind, x86-64).
///
/// ```
/// use cenote::{Account, Pool};
/// let process = Account::root("process").with_limit(Some(1 << 20));
/// let worker = process.child("worker-0");
/// let pool = Pool::on(&worker);
/// pool.alloc_str("a block is charged, not these bytes");
/// assert_eq!(worker.held(), 4096);
/// assert_eq!(process.held(), 4096);
/// assert_eq!(worker.live(), 1);
/// drop(pool);
/// assert_eq!((worker.held(), worker.peak(), worker.live()), (0, 4096, 0));
/// ```
#[repr(transparent)]
#[doc(alias("budget", "memory limit", "quota"))]
pub struct Account {
    node: NonNull<Node>,
}

// SAFETY: a handle owns one count of the node's `handles`; everything reached through it is
// atomic, immutable, or behind a lock.
unsafe impl Send for Account {}
// SAFETY: likewise; `&Account` gives what `Account` gives.
unsafe impl Sync for Account {}

impl Account {
    /// A new account without a parent, shared by all threads, with no limit.
    #[track_caller]
    pub fn root(name: impl Into<Cow<'static, str>>) -> Self {
        Node::make(name.into(), None, true, Location::caller())
    }

    /// A new account under this one, with no limit of its own.
    ///
    /// It will belong to the thread on which the first pool on it is made.
    #[track_caller]
    #[must_use]
    pub fn child(&self, name: impl Into<Cow<'static, str>>) -> Self {
        Node::make(name.into(), Some(self.clone()), false, Location::caller())
    }

    /// A new account under this one that no thread owns: for pools that several threads make
    /// at once, such as the tasks of a work-stealing runtime. As with a root, threads charge
    /// it in quanta, and making a pool on it costs two atomic operations.
    #[track_caller]
    #[must_use]
    pub fn shared_child(&self, name: impl Into<Cow<'static, str>>) -> Self {
        Node::make(name.into(), Some(self.clone()), true, Location::caller())
    }

    /// As [`Account::child`], for who makes accounts on behalf of others: it says that it was
    /// made at `place`, which is to be where they asked for it.
    ///
    /// ```
    /// use cenote::Account;
    /// use std::panic::Location;
    /// struct Sessions(Account, &'static Location<'static>);
    /// impl Sessions {
    ///     #[track_caller]
    ///     fn new(account: &Account) -> Self {
    ///         Self(account.clone(), Location::caller())
    ///     }
    ///     fn begin(&self) -> Account {
    ///         self.0.child_at("session", self.1)
    ///     }
    /// }
    /// let sessions = Sessions::new(&Account::root("service"));
    /// assert_eq!(sessions.begin().created_at(), sessions.1);
    /// ```
    #[must_use]
    pub fn child_at(
        &self,
        name: impl Into<Cow<'static, str>>,
        place: &'static Location<'static>,
    ) -> Self {
        Node::make(name.into(), Some(self.clone()), false, place)
    }

    /// The same account, with a limit in bytes (`None`: none).
    #[must_use]
    pub fn with_limit(self, limit: Option<usize>) -> Self {
        self.set_limit(limit);
        self
    }

    /// Sets the limit in bytes (`None`: none). A limit below what is held takes nothing
    /// away; it refuses more until less is held.
    #[doc(alias = "memory limit")]
    pub fn set_limit(&self, limit: Option<usize>) {
        self.node().set_limit(limit);
    }

    /// The name it was made with.
    pub fn name(&self) -> &str {
        self.node().name()
    }

    /// The names from the root to this account, joined by `/`.
    pub fn path(&self) -> String {
        let mut names = Vec::new();
        let mut at = Some(self.node());
        while let Some(node) = at {
            names.push(node.name());
            at = node.parent();
        }
        names.reverse();
        crate::error::join_path(&names)
    }

    /// The account above, if this is no root.
    pub fn parent(&self) -> Option<&Account> {
        self.node().parent_handle()
    }

    /// The limit in bytes, if it has one of its own.
    pub fn limit(&self) -> Option<usize> {
        self.node().limit()
    }

    /// Bytes of blocks and large objects that pools on this account and those under it hold, and
    /// of their [reservations](Reservation).
    pub fn held(&self) -> usize {
        self.node().held()
    }

    /// Pools on this very account that exist now (not those on accounts under it).
    pub fn live(&self) -> usize {
        self.node().live()
    }

    /// Pools that were ever made on this very account.
    pub fn created(&self) -> u64 {
        self.node().created()
    }

    /// How often this account's limit refused something to a caller. What a pool tries, and has
    /// another way for, is none.
    pub fn refused(&self) -> u64 {
        self.node().refused()
    }

    /// How often the limit of an account above this one refused what was to be charged here, or to
    /// one under this one: whether what somebody did on this account, on whatever thread, was
    /// refused memory though this account's own limit, and those under it, had room.
    ///
    /// ```
    /// use cenote::{Account, Pool};
    /// let service = Account::root("service").with_limit(Some(10_000));
    /// let (one, other) = (service.child("request"), service.child("request"));
    /// let pool = Pool::on(&one);
    /// assert!(pool.try_alloc_bytes(20_000).is_err());
    /// assert_eq!((service.refused(), service.refused_above()), (1, 0));
    /// assert_eq!((one.refused(), one.refused_above()), (0, 1));
    /// assert_eq!((other.refused(), other.refused_above()), (0, 0));
    /// ```
    pub fn refused_above(&self) -> u64 {
        self.node().refused_above()
    }

    /// Bytes of blocks that pools on this very account have given back so far.
    pub fn recycled(&self) -> u64 {
        self.node().recycled()
    }

    /// Where the account was made.
    pub fn created_at(&self) -> &'static Location<'static> {
        self.node().created_at()
    }

    /// Which account under its parent it is, counted from 1 in the order of making; 0 for a
    /// root. With those of the accounts above it tells one of many with the same name.
    pub fn number(&self) -> u64 {
        self.node().number.load(Relaxed)
    }

    /// Marks the account with a number of the caller's, such as the time: accounts know no
    /// clock. Costs one store.
    ///
    /// ```
    /// let account = cenote::Account::root("process");
    /// assert_eq!(account.stamp(), 0);
    /// account.set_stamp(1_700_000_000);
    /// assert_eq!(account.stamp(), 1_700_000_000);
    /// ```
    pub fn set_stamp(&self, stamp: u64) {
        self.node().stamp.store(stamp, Relaxed);
    }

    /// What the account was last marked with; 0 if it never was.
    pub fn stamp(&self) -> u64 {
        self.node().stamp.load(Relaxed)
    }

    /// Returns what the calling thread keeps in reserve of a root account, and does what waits for
    /// this thread to be done (see [`Account::walk`]). Others can have the reserve without this, at
    /// the price of calling it in.
    pub fn settle() {
        record::settle();
    }

    /// The figures of this account and of all under it, at this moment.
    ///
    /// Each figure is read by itself while others may be changing: a parent's bytes may
    /// differ by what moves meanwhile. Makes no thread wait but one that is making or
    /// dropping an account in this tree, and that one as [`Account::walk`] does.
    pub fn snapshot(&self) -> AccountSnapshot {
        AccountSnapshot::take(self)
    }

    #[inline(always)]
    pub(crate) fn node(&self) -> &Node {
        // SAFETY: the handle's count keeps the node in place and alive.
        unsafe { self.node.as_ref() }
    }

    #[inline(always)]
    pub(crate) fn as_ptr(&self) -> NonNull<Node> {
        self.node
    }

    /// Takes over one count of `handles`.
    ///
    /// # Safety
    /// `node` is alive and the count belongs to the caller.
    pub(crate) unsafe fn from_counted(node: NonNull<Node>) -> Self {
        Self { node }
    }
}

impl Clone for Account {
    fn clone(&self) -> Self {
        self.node().add_handle();
        Self { node: self.node }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        // SAFETY: the handle's own count, given up once.
        unsafe { life::drop_handle(self.node) };
    }
}

impl PartialEq for Account {
    /// Whether both are handles on the same account.
    fn eq(&self, other: &Self) -> bool {
        self.node == other.node
    }
}

impl Eq for Account {}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account")
            .field("path", &self.path())
            .field("held", &self.held())
            .field("limit", &self.limit())
            .field("live", &self.live())
            .finish()
    }
}
