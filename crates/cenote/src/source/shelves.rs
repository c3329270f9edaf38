//! Shelves: what threads keep beyond their caches, where others can reach it.
//!
//! A thread's [`Cache`] is its own: for anybody else to take a block out of it, each of the thread's own
//! steps would have to be atomic. So a cache holds little, [`PRIVATE`] bytes, and what is beyond that is
//! on the thread's shelf, behind a lock, which its thread takes only for blocks that the cache has
//! not, or has no room for. Who wants memory back goes through all shelves, and a thread that sleeps
//! need not wake up for it.
//!
//! A shelf is in its thread's own memory. It is listed from when the thread begins to keep blocks
//! until it ends, and whoever goes through the list holds the list's lock meanwhile. Locks are taken in
//! this order: the list, a shelf. With either held nothing is asked of anybody: what is to go back is
//! marked, and taken out a batch at a time, which is released with no lock held, since an allocator of
//! the program's may use pools. A fork waits for all of them (see `forks`); in the child the other threads' shelves are
//! no more, and what was on them is lost.

use super::blocks::{BINS, Batch, Below, Cache, DEFAULT_CAP};
use super::forks::Held;
use super::wandering::DEPOT;
use super::{BlockSource, Ground};
use crate::debug;
use core::alloc::Layout;
use core::cell::{Cell, UnsafeCell};
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering::*};
use std::time::{SystemTime, UNIX_EPOCH};

/// The most that a thread keeps for itself alone, in bytes.
pub(super) const PRIVATE: usize = 128 << 10;

/// Blocks that several threads take and give, behind a lock.
pub(super) struct Stock {
    held: Held,
    /// Reached with the lock held.
    cache: UnsafeCell<Cache>,
    /// How many blocks of each list are to go back. Likewise.
    due: UnsafeCell<[u32; BINS]>,
}

// SAFETY: what is in it is reached with the lock held, and the blocks are nobody else's.
unsafe impl Sync for Stock {}

impl Stock {
    /// Keeps so many bytes at most.
    pub(super) const fn new(cap: usize) -> Self {
        Self {
            held: Held::new(),
            cache: UnsafeCell::new(Cache::owned(cap)),
            due: UnsafeCell::new([0; BINS]),
        }
    }

    /// What `f` does asks nobody for anything, and does not unwind.
    fn with<T>(&self, f: impl FnOnce(&Cache) -> T) -> T {
        self.held.lock();
        // SAFETY: only the holder of the lock reaches the cache.
        let done = f(unsafe { &*self.cache.get() });
        self.held.unlock();
        done
    }

    pub(super) fn take(&self, bin: usize, size: usize) -> Option<NonNull<u8>> {
        self.with(|cache| cache.take(bin, size))
    }

    /// Keeps a block; whether there was room for it.
    ///
    /// # Safety
    /// As for [`Cache::put`], over [`Ground`].
    pub(super) unsafe fn put(&self, bin: usize, block: Layout, at: NonNull<u8>) -> bool {
        // SAFETY: the caller's promise, passed on.
        self.with(|cache| unsafe { cache.put_if_room(bin, block, at) })
    }

    /// Marks what is to go back.
    fn mark(&self, due: impl FnOnce(&Cache) -> [u32; BINS]) {
        self.with(|cache| {
            // SAFETY: within `with`, whose caller alone reaches it.
            unsafe { *self.due.get() = due(cache) };
        });
    }

    /// All that is there now: what comes meanwhile stays, so that there is an end.
    fn mark_all(&self) {
        self.mark(Cache::counts);
    }

    /// Half of what nobody needed since the last time.
    fn mark_idle(&self) {
        self.mark(Cache::idle);
    }

    /// Some of what is marked, to be released when no lock is held; none if nothing is left.
    fn batch(&self) -> Batch {
        self.with(|cache| {
            // SAFETY: as above.
            let due = unsafe { &mut *self.due.get() };
            Batch::of(cache, due)
        })
    }

    /// Gives everything back; how many bytes that was.
    pub(super) fn drain(&self) -> usize {
        self.mark_all();
        give_back(|| self.batch())
    }

    /// Gives back half of what nobody needed since the last time.
    pub(super) fn decay(&self) -> usize {
        self.mark_idle();
        give_back(|| self.batch())
    }

    pub(super) fn bytes(&self) -> usize {
        self.with(Cache::bytes)
    }

    /// Waits for whoever is at it. Nobody is until [`Stock::after_fork`].
    pub(super) fn before_fork(&self) {
        self.held.lock();
    }

    pub(super) fn after_fork(&self) {
        self.held.unlock();
    }
}

/// Releases a batch at a time, with no lock held, until there is none; how many bytes that was.
fn give_back(mut next: impl FnMut() -> Batch) -> usize {
    let mut bytes = 0;
    loop {
        let batch = next();
        if batch.is_empty() {
            return bytes;
        }
        // SAFETY: all that is kept came from there with its list's layout.
        bytes += unsafe { batch.release(&Ground) };
    }
}

/// One thread's.
pub(crate) struct Shelf {
    stock: Stock,
    /// How much it may keep, once it is listed. Its thread's.
    cap: Cell<usize>,
    /// What the thread's own cache has, as it was when its thread came here last.
    private: AtomicUsize,
    /// Written by the thread, with the list's lock held.
    is_listed: Cell<bool>,
    next: Cell<*const Shelf>,
}

impl Shelf {
    pub(crate) const fn new() -> Self {
        Self {
            stock: Stock::new(0),
            cap: Cell::new(DEFAULT_CAP - PRIVATE),
            private: AtomicUsize::new(0),
            is_listed: Cell::new(false),
            next: Cell::new(ptr::null()),
        }
    }

    /// Whether it can be found by others, and keeps blocks: from now on, if need be. Its thread sees to
    /// it that it [leaves](Shelf::leave), unless that is done already.
    fn joins(&self) -> bool {
        if !self.is_listed.get() && super::forks::are_seen_to() && crate::thread::enlist() {
            LIST.add(self);
            self.set_cap(self.cap.get());
        }
        self.is_listed.get()
    }

    /// Changes how much is kept; gives all back where that was more. Called by its thread.
    pub(super) fn set_cap(&self, bytes: usize) {
        self.cap.set(bytes);
        if self.is_listed.get() && !self.stock.with(|cache| cache.limit_to(bytes)) {
            self.drain();
            self.stock.with(|cache| cache.limit_to(bytes));
        }
    }

    /// Its thread ends.
    pub(crate) fn leave(&self) {
        if self.is_listed.get() {
            LIST.remove(self);
            self.drain();
        }
    }

    /// A block of a list. Called by its thread, whose own cache has so many bytes.
    pub(super) fn take(&self, bin: usize, size: usize, private: usize) -> Option<NonNull<u8>> {
        if !self.is_listed.get() {
            return None;
        }
        self.private.store(private, Relaxed);
        self.stock.take(bin, size)
    }

    /// Gives everything back; how many bytes that was.
    pub(super) fn drain(&self) -> usize {
        self.stock.drain()
    }

    pub(super) fn bytes(&self) -> usize {
        self.stock.bytes()
    }
}

impl Below for Shelf {
    unsafe fn overflow(&self, bin: usize, block: Layout, at: NonNull<u8>, private: usize) {
        self.private.store(private, Relaxed);
        // SAFETY: the caller's promise, passed on.
        if !self.joins() || !unsafe { self.stock.put(bin, block, at) } {
            debug::unmark(at, block.size());
            // SAFETY: likewise.
            unsafe { Ground.release(at, block) };
        }
    }

    unsafe fn surplus(&self, block: Layout, at: NonNull<u8>) {
        // SAFETY: likewise.
        unsafe { Ground.release(at, block) };
    }

    fn ticked(&self, private: usize) {
        self.private.store(private, Relaxed);
        self.stock.decay();
        decay();
    }

    fn is_plain(&self) -> bool {
        true
    }
}

/// The shelves of all threads that keep blocks.
struct List {
    held: Held,
    first: Cell<*const Shelf>,
}

// SAFETY: the list is reached with its lock held; so are shelves by other threads than their own,
// and what is in them with their own locks.
unsafe impl Sync for List {}

static LIST: List = List { held: Held::new(), first: Cell::new(ptr::null()) };

impl List {
    fn add(&self, shelf: &Shelf) {
        self.held.lock();
        shelf.next.set(self.first.replace(shelf));
        shelf.is_listed.set(true);
        self.held.unlock();
    }

    fn remove(&self, shelf: &Shelf) {
        self.held.lock();
        let mut at = &self.first;
        // SAFETY: shelves in the list are there as long as its lock is held.
        while let Some(listed) = unsafe { at.get().as_ref() } {
            if ptr::eq(listed, shelf) {
                at.set(shelf.next.get());
                break;
            }
            at = &listed.next;
        }
        shelf.is_listed.set(false);
        self.held.unlock();
    }

    /// Calls `f` with each shelf until it has found something. `f` asks nobody for anything.
    fn find<T>(&self, mut f: impl FnMut(&Shelf) -> Option<T>) -> Option<T> {
        self.held.lock();
        let (mut found, mut at) = (None, self.first.get());
        // SAFETY: as above.
        while let (None, Some(shelf)) = (&found, unsafe { at.as_ref() }) {
            found = f(shelf);
            at = shelf.next.get();
        }
        self.held.unlock();
        found
    }

    /// Calls `f` with each shelf. `f` asks nobody for anything.
    fn each(&self, mut f: impl FnMut(&Shelf)) {
        self.find(|shelf| -> Option<()> {
            f(shelf);
            None
        });
    }

    /// Gives back what is marked, of all shelves; how many bytes that was.
    fn give_back(&self) -> usize {
        let some = |shelf: &Shelf| Some(shelf.stock.batch()).filter(|batch| !batch.is_empty());
        give_back(|| self.find(some).unwrap_or_default())
    }
}

/// Gives back what is on all shelves; how many bytes that was.
pub(super) fn trim() -> usize {
    LIST.each(|shelf| shelf.stock.mark_all());
    LIST.give_back()
}

/// How many bytes threads keep, on shelves and, as far as is known, in caches of their own.
pub(super) fn bytes() -> usize {
    let mut bytes = 0;
    LIST.each(|shelf| bytes += shelf.bytes() + shelf.private.load(Relaxed));
    bytes
}

/// Has all shelves decay, if that was not done in this second; how many bytes went back.
pub(super) fn decay() -> usize {
    static LAST: AtomicU64 = AtomicU64::new(0);
    // No more than that it is another one has to be known, whatever becomes of the clock.
    let second = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let last = LAST.load(Relaxed);
    let due = second != last && LAST.compare_exchange(last, second, Relaxed, Relaxed).is_ok();
    if !due {
        return 0;
    }
    LIST.each(|shelf| shelf.stock.mark_idle());
    LIST.give_back() + DEPOT.decay()
}

/// Waits for who is at a shelf. None moves until one of the next two is called.
pub(super) fn before_fork() {
    LIST.held.lock();
    let mut at = LIST.first.get();
    // SAFETY: as above.
    while let Some(shelf) = unsafe { at.as_ref() } {
        shelf.stock.before_fork();
        at = shelf.next.get();
    }
}

pub(super) fn after_fork() {
    let mut at = LIST.first.get();
    // SAFETY: as above; the list's lock is held since before the fork.
    while let Some(shelf) = unsafe { at.as_ref() } {
        at = shelf.next.get();
        shelf.stock.after_fork();
    }
    LIST.held.unlock();
}

/// There is one thread, and maybe not even the memory of the others.
pub(super) fn after_fork_in_the_child() {
    crate::thread::with(|local| {
        let own = &local.shelf;
        LIST.first.set(ptr::null());
        own.next.set(ptr::null());
        if own.is_listed.get() {
            LIST.first.set(own);
            own.stock.after_fork();
        }
    });
    LIST.held.unlock();
}

#[cfg(test)]
mod tests;
