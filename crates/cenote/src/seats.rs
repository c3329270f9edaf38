//! [`Seats`]: memory of cleanups that are spent, for those that come later, in pools that live
//! for days and register and cancel for days.
//!
//! A spent record stays a record until the pool's end, since handles of its cleanup still look for
//! their ticket there: so its memory goes to another cleanup only, whose record comes to lie in
//! the same place, under a ticket that no other ever had.

use crate::AllocError;
use crate::cleanup::{Cleanup, CleanupKey, Cleanups, Entry, Home, PoolPtr, Record};
use core::alloc::Layout;
use core::cell::Cell;
use core::ptr::{self, NonNull};

/// Seats have sizes of powers of two from this one up, less what the pool asks to leave off, so
/// that spent ones suit others; those of the last class any size above.
const SMALLEST: usize = 64;
const CLASSES: usize = 9;

pub(crate) struct Seats {
    /// Spent records, for each class, linked with one another.
    spent: [Cell<*mut Record>; CLASSES],
    /// Cleanups registered so far: each one's number is its ticket.
    tickets: Cell<u64>,
}

impl Seats {
    pub(crate) const fn new() -> Self {
        Self { spent: [const { Cell::new(ptr::null_mut()) }; CLASSES], tickets: Cell::new(0) }
    }

    /// Registers a cleanup: in a seat that is spent, or in memory from `fresh`, of a power of two
    /// of bytes less `less`.
    ///
    /// # Safety
    /// `cleanups` is the list of the pool that these are the seats of, and `pool` is the pool, of
    /// the type that is `H`. `fresh` returns memory of the layout that it is given, nobody else's,
    /// which stays until [`Seats::forget`] and until no handle of a cleanup is left. `less` is the
    /// same each time.
    pub(crate) unsafe fn register<'p, H: Home, F: FnOnce(PoolPtr) + Send>(
        &self,
        cleanups: &'p Cleanups,
        pool: PoolPtr,
        key: CleanupKey,
        action: F,
        less: usize,
        fresh: impl FnOnce(Layout) -> Result<NonNull<u8>, AllocError>,
    ) -> Result<Cleanup<'p>, AllocError> {
        let layout = seat_for(Layout::new::<Entry<F>>(), less)?;
        let start = match self.reuse(layout, less) {
            Some(record) => record.cast(),
            None => fresh(layout)?,
        };
        let entry = start.cast::<Entry<F>>();
        // SAFETY: memory for the entry, which nothing uses: it is fresh, or its cleanup spent.
        unsafe { entry.write(Entry::new::<H>(key, action)) };
        self.tickets.set(self.tickets.get() + 1);
        // SAFETY: just written, in memory that stays a record's until the pool's end, and the
        // record is where the old one was, at the beginning; no ticket is given twice. The rest
        // is the caller's promise.
        Ok(unsafe { cleanups.push_as(self.tickets.get(), entry, pool) })
    }

    /// Takes a spent record in.
    ///
    /// # Safety
    /// It came from [`Seats::register`] with this `less`, for an entry of this layout; its cleanup
    /// is off the list, and the action was moved out.
    pub(crate) unsafe fn put(&self, record: NonNull<Record>, entry: Layout, less: usize) {
        let Ok(seat) = seat_for(entry, less) else { return };
        let list = &self.spent[class_of(seat.size(), less)];
        // SAFETY: the caller's promise: it is a record, in place, that nothing uses but handles
        // that look at its ticket, by references that are gone again.
        unsafe { Record::shelve(record, seat.size(), list.get()) };
        list.set(record.as_ptr());
    }

    /// A spent seat of this layout. In all classes but the last they are of one size, and the first
    /// will do unless more alignment is asked for than most have.
    fn reuse(&self, layout: Layout, less: usize) -> Option<NonNull<Record>> {
        let list = &self.spent[class_of(layout.size(), less)];
        let mut newer: Option<NonNull<Record>> = None;
        let mut at = list.get();
        while let Some(record) = NonNull::new(at) {
            // SAFETY: records on the list are in place, and nobody else's.
            let (bytes, next) = unsafe { record.as_ref() }.shelved();
            if layout.size() == bytes && record.addr().get() & (layout.align() - 1) == 0 {
                match newer {
                    None => list.set(next),
                    // SAFETY: likewise.
                    Some(newer) => unsafe { newer.as_ref() }.shelve_before(next),
                }
                return Some(record);
            }
            newer = Some(record);
            at = next;
        }
        None
    }

    /// Forgets all: their memory goes back.
    pub(crate) fn forget(&self) {
        self.spent.iter().for_each(|list| list.set(ptr::null_mut()));
    }
}

/// The memory to ask for, for an entry of this layout.
fn seat_for(entry: Layout, less: usize) -> Result<Layout, AllocError> {
    let size = match class_of(entry.size(), less) {
        class if class < CLASSES - 1 => (SMALLEST << class) - less,
        _ => entry.size(),
    };
    Layout::from_size_align(size, entry.align()).map_err(|_| AllocError::too_large(size))
}

/// Which list a seat of so many bytes is on.
fn class_of(bytes: usize, less: usize) -> usize {
    let above = bytes.saturating_add(less).div_ceil(SMALLEST);
    let above = above.checked_next_power_of_two().unwrap_or(usize::MAX);
    (above.ilog2() as usize).min(CLASSES - 1)
}
