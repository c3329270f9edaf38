//! Cleanups: what is to be done when a pool is reset or dropped, for every pool.
//!
//! A cleanup is a record in the pool's own memory, in a list with the newest first. Each is
//! taken off the list before it is called: so it runs once whatever it does, one registered
//! meanwhile runs too, and one that panics does not keep the others from running.

use core::alloc::Layout;
use core::cell::Cell;
use core::fmt;
use core::mem::ManuallyDrop;
use core::ptr::{self, NonNull};

/// What a cleanup can be found by: a kind, and a number within that kind.
///
/// ```
/// use cenote::{CleanupKey, Pool};
/// let pool = Pool::new();
/// pool.defer_keyed(CleanupKey::new("lock", 7), || ());
/// assert!(pool.cleanup(CleanupKey::new("lock", 7)).is_some());
/// assert!(pool.cleanup(CleanupKey::new("lock", 8)).is_none());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CleanupKey {
    kind: &'static str,
    number: u64,
}

impl CleanupKey {
    /// The key of cleanups without one; looking it up finds nothing.
    pub(crate) const NONE: Self = Self { kind: "", number: 0 };

    /// A key. An empty kind is no key: it is never found.
    #[must_use]
    pub const fn new(kind: &'static str, number: u64) -> Self {
        Self { kind, number }
    }

    /// The key under which [`Pool::attach_fd`](crate::Pool::attach_fd) registers a descriptor.
    #[must_use]
    pub const fn descriptor(number: i32) -> Self {
        Self { kind: "file descriptor", number: number as u64 }
    }

    /// The kind it was made with.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        self.kind
    }

    /// The number it was made with.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }
}

/// The pool that a cleanup runs for, whatever its type: a pool may have moved since the
/// cleanup was registered, so it is told where it is now.
pub(crate) type PoolPtr = NonNull<()>;

/// What to do with a record's action.
enum Fate {
    Run,
    Forget,
}

/// What becomes of a record's memory when its cleanup is spent: it was run, or cancelled.
pub(crate) trait Home {
    /// # Safety
    /// `record` is the first field of an `Entry` of this layout, off the list, whose action was
    /// moved out; `pool` is its pool, of the type that registered it.
    unsafe fn spent(pool: PoolPtr, record: NonNull<Record>, entry: Layout);
}

/// It stays as it is until the pool's reset.
pub(crate) enum Stays {}

impl Home for Stays {
    #[inline(always)]
    unsafe fn spent(_: PoolPtr, _: NonNull<Record>, _: Layout) {}
}

/// The part of a cleanup that the list needs; its action lies behind it.
pub(crate) struct Record {
    newer: Cell<*mut Record>,
    older: Cell<*mut Record>,
    /// Which cleanup this is, as long as it is on the list; 0 when it is not. Where a record's
    /// memory is used again, handles of the one before tell by it that it is not theirs.
    ticket: Cell<u64>,
    key: CleanupKey,
    /// Moves the action out of the record, and runs it with the pool, or drops it.
    act: unsafe fn(NonNull<Record>, Fate, PoolPtr),
}

/// Of those that are spent, in a list of their own.
impl Record {
    /// Puts a spent one before others, with the bytes of its memory.
    ///
    /// # Safety
    /// It is a record in place, off the list of cleanups; its action was moved out.
    pub(crate) unsafe fn shelve(record: NonNull<Self>, bytes: usize, before: *mut Self) {
        // SAFETY: the caller's promise.
        let key = unsafe { &raw mut (*record.as_ptr()).key };
        // SAFETY: a field of the record, to which there is no reference now.
        unsafe { key.write(CleanupKey { kind: "", number: bytes as u64 }) };
        // SAFETY: the caller's promise.
        unsafe { record.as_ref() }.shelve_before(before);
    }

    pub(crate) fn shelve_before(&self, next: *mut Self) {
        debug_assert_eq!(self.ticket.get(), 0, "a cleanup on the list has been put aside");
        self.older.set(next);
    }

    /// The bytes of its memory, and the next one.
    pub(crate) fn shelved(&self) -> (usize, *mut Self) {
        (self.key.number as usize, self.older.get())
    }
}

/// A cleanup in pool memory.
#[repr(C)]
pub(crate) struct Entry<F> {
    record: Record,
    action: ManuallyDrop<F>,
}

impl<F: FnOnce(PoolPtr)> Entry<F> {
    pub(crate) fn new<H: Home>(key: CleanupKey, action: F) -> Self {
        let record = Record {
            newer: Cell::new(ptr::null_mut()),
            older: Cell::new(ptr::null_mut()),
            ticket: Cell::new(0),
            key,
            act: Self::act::<H>,
        };
        Self { record, action: ManuallyDrop::new(action) }
    }

    /// # Safety
    /// `record` is the first field of an `Entry<F>` whose action is still there; it is taken
    /// out here, once. It is off the list, and `pool` is its pool, with `H` for a home.
    unsafe fn act<H: Home>(record: NonNull<Record>, fate: Fate, pool: PoolPtr) {
        let entry = record.cast::<Self>();
        // SAFETY: `repr(C)`: the entry begins where its record does.
        let action = unsafe { &raw mut (*entry.as_ptr()).action };
        // SAFETY: the caller's promise: it is there, and not taken again.
        let action = unsafe { action.read() };
        let action = ManuallyDrop::into_inner(action);
        // Before it runs, which may panic.
        // SAFETY: the caller's promise; the action was just moved out.
        unsafe { H::spent(pool, record, Layout::new::<Self>()) };
        match fate {
            Fate::Run => action(pool),
            Fate::Forget => drop(action),
        }
    }
}

/// The cleanups of one pool.
pub(crate) struct Cleanups {
    newest: Cell<*mut Record>,
}

impl Cleanups {
    #[inline(always)]
    pub(crate) const fn new() -> Self {
        Self { newest: Cell::new(ptr::null_mut()) }
    }

    #[inline(always)]
    pub(crate) fn is_empty(&self) -> bool {
        self.newest.get().is_null()
    }

    /// Where the newest is; 0 with none.
    #[inline(always)]
    pub(crate) fn address(&self) -> usize {
        self.newest.get().addr()
    }

    pub(crate) fn len(&self) -> usize {
        let mut count = 0;
        let mut at = self.newest.get();
        while let Some(record) = self.in_list(at) {
            count += 1;
            at = record.older.get();
        }
        count
    }

    /// Puts a cleanup at the head of the list.
    ///
    /// # Safety
    /// `entry` was written, is in no list, and stays where it is until the pool has run or
    /// forgotten its cleanups. `pool` is the pool of the list and of the entry.
    pub(crate) unsafe fn push<F>(&self, entry: NonNull<Entry<F>>, pool: PoolPtr) -> Cleanup<'_> {
        // SAFETY: the caller's promise, passed on; the memory is used for this cleanup alone.
        unsafe { self.push_as(1, entry, pool) }
    }

    /// [`Cleanups::push`] for memory in which there may have been another cleanup: `ticket`,
    /// which is not 0, is one that no cleanup in that memory ever had.
    ///
    /// # Safety
    /// As for [`Cleanups::push`].
    pub(crate) unsafe fn push_as<F>(
        &self,
        ticket: u64,
        entry: NonNull<Entry<F>>,
        pool: PoolPtr,
    ) -> Cleanup<'_> {
        let record = entry.cast::<Record>();
        let older = self.newest.get();
        // SAFETY: the caller's promise.
        let this = unsafe { record.as_ref() };
        this.older.set(older);
        this.newer.set(ptr::null_mut());
        this.ticket.set(ticket);
        if let Some(older) = self.in_list(older) {
            older.newer.set(record.as_ptr());
        }
        self.newest.set(record.as_ptr());
        Cleanup { record, ticket, list: self, pool }
    }

    /// The newest cleanup with this key.
    ///
    /// # Safety
    /// `pool` is the pool of the list.
    pub(crate) unsafe fn find(&self, key: CleanupKey, pool: PoolPtr) -> Option<Cleanup<'_>> {
        let mut at = self.newest.get();
        while let Some(record) = self.in_list(at) {
            if record.key == key && !key.kind.is_empty() {
                let (record, ticket) = (NonNull::new(at)?, record.ticket.get());
                return Some(Cleanup { record, ticket, list: self, pool });
            }
            at = record.older.get();
        }
        None
    }

    /// Runs all, the newest first, those included that are registered meanwhile. The first
    /// panic is kept for the caller to pass on when all is done.
    ///
    /// # Safety
    /// `pool` is the pool of the list, and may be used through a shared reference.
    #[cold]
    #[inline(never)]
    pub(crate) unsafe fn run_all(&self, pool: PoolPtr) -> Panicked {
        let mut panicked = Panicked::none();
        while let Some(record) = NonNull::new(self.newest.get()) {
            // SAFETY: records on the list are in place.
            let ticket = unsafe { record.as_ref() }.ticket.get();
            self.take_off(record, ticket);
            panicked.catch(|| {
                // SAFETY: it was armed in the list until now, so its action is there; being
                // off the list it is not run again. The pool is the caller's promise.
                unsafe { act(record, Fate::Run, pool) }
            });
        }
        panicked
    }

    /// Takes a record off the list; `false` where the cleanup of this ticket is not on it.
    fn take_off(&self, record: NonNull<Record>, ticket: u64) -> bool {
        // SAFETY: records stay in pool memory, as records if they are used again, until the
        // pool is reset, which handles exclude.
        let this = unsafe { record.as_ref() };
        if this.ticket.get() != ticket {
            return false;
        }
        this.ticket.set(0);
        let (newer, older) = (this.newer.get(), this.older.get());
        match self.in_list(newer) {
            Some(newer) => newer.older.set(older),
            None => self.newest.set(older),
        }
        if let Some(older) = self.in_list(older) {
            older.newer.set(newer);
        }
        true
    }

    fn in_list(&self, record: *mut Record) -> Option<&Record> {
        // SAFETY: links lead to records on the list, which stay in place while they are on it.
        unsafe { record.as_ref() }
    }
}

/// # Safety
/// The record's action is still there, and is not taken again; `pool` is its pool.
unsafe fn act(record: NonNull<Record>, fate: Fate, pool: PoolPtr) {
    // SAFETY: the record is in place; see `Cleanups::push`.
    let act = unsafe { record.as_ref() }.act;
    // SAFETY: the caller's promise, passed on.
    unsafe { act(record, fate, pool) }
}

/// A registered cleanup: a handle to cancel it or to run it early.
///
/// Dropping the handle changes nothing. It borrows its pool, so the pool is neither reset nor
/// dropped while there is one; to reach a cleanup later, register it with a [`CleanupKey`].
///
/// ```
/// use cenote::Pool;
/// use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
/// static RUNS: AtomicU32 = AtomicU32::new(0);
/// let pool = Pool::new();
/// let early = pool.defer(|| { RUNS.fetch_add(1, Relaxed); });
/// let never = pool.defer(|| { RUNS.fetch_add(100, Relaxed); });
/// assert!(early.run());
/// assert!(never.cancel());
/// drop(pool);
/// assert_eq!(RUNS.load(Relaxed), 1);
/// ```
pub struct Cleanup<'p> {
    record: NonNull<Record>,
    ticket: u64,
    list: &'p Cleanups,
    pool: PoolPtr,
}

impl Cleanup<'_> {
    /// Runs it now, instead of when the pool ends; `false` where it has run already, or was
    /// cancelled. A panic in it reaches the caller, and it counts as run.
    pub fn run(self) -> bool {
        self.settle(Fate::Run)
    }

    /// Sees to it that it never runs; what it captured is dropped now. `false` where it has
    /// run already, or was cancelled.
    pub fn cancel(self) -> bool {
        self.settle(Fate::Forget)
    }

    /// Whether it is still to run.
    pub fn is_pending(&self) -> bool {
        // SAFETY: the handle borrows the pool, so the record is in place.
        unsafe { self.record.as_ref() }.ticket.get() == self.ticket
    }

    fn settle(self, fate: Fate) -> bool {
        let pending = self.list.take_off(self.record, self.ticket);
        if pending {
            // SAFETY: it was armed until now, so its action is there. The handle borrows the
            // pool, so it is where it was when the handle was made.
            unsafe { act(self.record, fate, self.pool) };
        }
        pending
    }
}

impl fmt::Debug for Cleanup<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cleanup").field("pending", &self.is_pending()).finish_non_exhaustive()
    }
}

/// A value in pool memory, to be dropped by a cleanup.
pub(crate) struct Owned<T>(pub(crate) NonNull<T>);

// SAFETY: it stands for the value, which is dropped on the thread that drops the pool.
unsafe impl<T: Send> Send for Owned<T> {}

impl<T> Owned<T> {
    pub(crate) fn drop_value(self) {
        // SAFETY: written before the cleanup could run, and dropped by it alone, once, when no
        // reference is left.
        unsafe { self.0.drop_in_place() };
    }
}

/// The first panic of several calls, kept until all are done.
#[must_use]
pub(crate) struct Panicked {
    #[cfg(feature = "std")]
    payload: Option<std::boxed::Box<dyn std::any::Any + Send>>,
}

#[cfg(feature = "std")]
impl Panicked {
    pub(crate) fn none() -> Self {
        Self { payload: None }
    }

    pub(crate) fn catch(&mut self, f: impl FnOnce()) {
        // What the action leaves behind is its own; the list is whole at this point.
        if let Err(payload) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)) {
            match &self.payload {
                None => self.payload = Some(payload),
                Some(_) => drop_quietly(payload),
            }
        }
    }

    /// Goes on panicking, unless the thread does so already.
    pub(crate) fn resume(self) {
        if let Some(payload) = self.payload {
            if std::thread::panicking() {
                drop_quietly(payload);
            } else {
                std::panic::resume_unwind(payload);
            }
        }
    }
}

/// Calls `f`, and lets no panic out of it: for who only looks on.
#[cfg(feature = "std")]
pub(crate) fn quietly(f: impl FnOnce()) {
    if let Err(payload) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)) {
        drop_quietly(payload);
    }
}

#[cfg(not(feature = "std"))]
pub(crate) fn quietly(f: impl FnOnce()) {
    f();
}

/// Drops the payload of a panic that is not passed on. Its destructor may panic too, which is
/// not worth an abort.
#[cfg(feature = "std")]
fn drop_quietly(payload: std::boxed::Box<dyn std::any::Any + Send>) {
    let dropped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(payload)));
    if let Err(another) = dropped {
        core::mem::forget(another);
    }
}

#[cfg(not(feature = "std"))]
impl Panicked {
    pub(crate) fn none() -> Self {
        Self {}
    }

    /// Without std no panic can be caught: one in a cleanup leaves the pool by unwinding, if
    /// the program unwinds at all, and the rest of the pool is leaked rather than misused.
    pub(crate) fn catch(&mut self, f: impl FnOnce()) {
        f();
    }

    pub(crate) fn resume(self) {}
}
