//! What lasts until the pool's end: records of cleanups, and values that the pool owns.
//!
//! They lie in blocks of their own, apart from the objects: they hold none of those blocks
//! back, and an object that is freed wrongly does not reach them. Values stay where they are
//! until the reset. The memory of a cleanup that was run or cancelled is used again for
//! another one, so that a pool which lives for days may register and cancel for days.

use crate::cleanup::{Cleanup, CleanupKey, Cleanups, Entry, PoolPtr, Record};
use crate::empty::NO_WINDOW;
use crate::supply::Supply;
use crate::{AllocError, BlockSource, debug, size, window};
use core::alloc::Layout;
use core::cell::Cell;
use core::mem::offset_of;
use core::ptr::{self, NonNull};

use super::block::at;

/// The first block's size; each next one is twice as large, up to the largest.
const FIRST: usize = 256;
const LARGEST: usize = 4096;
/// Slots have sizes of powers of two from this one up, less a block's header, so that spent
/// ones suit others and large ones fill a block; those of the last class any size above.
const SMALLEST_SLOT: usize = 128;
const CLASSES: usize = 8;
/// How many spent slots of the last class are looked at for one that is large enough.
const TRIES: usize = 4;

/// The header of a block.
#[repr(C, align(16))]
struct Chunk {
    older: *mut Chunk,
    layout: Layout,
}

/// What stands before each cleanup: how to find its memory again.
#[repr(C)]
struct Slot {
    /// All slots, linked.
    older: *mut Slot,
    /// Slots that were found to be spent, linked.
    spare: Cell<*mut Slot>,
    /// Bytes from the slot's beginning on that are the cleanup's.
    bytes: usize,
    record: Cell<NonNull<Record>>,
}

/// A slot with a cleanup in it.
#[repr(C)]
struct Seat<F> {
    slot: Slot,
    entry: Entry<F>,
}

pub(super) struct Lasting {
    newest: Cell<*mut Chunk>,
    /// The window of the block with most room.
    last: Cell<NonNull<u8>>,
    end: Cell<NonNull<u8>>,
    slots: Cell<*mut Slot>,
    /// Spent ones, for each class.
    spares: [Cell<*mut Slot>; CLASSES],
    /// Slots there are, and cleanups registered since they were last looked through.
    made: Cell<usize>,
    since: Cell<usize>,
    /// Cleanups registered so far: each one's number is its ticket.
    tickets: Cell<u64>,
}

impl Lasting {
    pub(super) const fn new() -> Self {
        Self {
            newest: Cell::new(ptr::null_mut()),
            last: Cell::new(NO_WINDOW),
            end: Cell::new(NO_WINDOW),
            slots: Cell::new(ptr::null_mut()),
            spares: [const { Cell::new(ptr::null_mut()) }; CLASSES],
            made: Cell::new(0),
            since: Cell::new(0),
            tickets: Cell::new(0),
        }
    }

    /// Bytes of the blocks.
    pub(super) fn held(&self) -> usize {
        let mut held = 0;
        let mut at = self.newest.get();
        while let Some(chunk) = self.in_place(at) {
            held += chunk.layout.size();
            at = chunk.older;
        }
        held
    }

    /// Memory until the pool's end.
    pub(super) fn place<S: BlockSource>(
        &self,
        supply: &Supply<S>,
        layout: Layout,
    ) -> Result<NonNull<u8>, AllocError> {
        if layout.size() == 0 {
            return Ok(super::dangling(layout.align()));
        }
        if let Some(start) = self.place_here(layout) {
            return Ok(start);
        }
        let before = (self.last.get(), self.end.get());
        self.add_chunk(supply, layout)?;
        let start = self.place_here(layout);
        let room = |(last, end): (NonNull<u8>, NonNull<u8>)| end.addr().get() - last.addr().get();
        if room(before) > room((self.last.get(), self.end.get())) {
            self.last.set(before.0);
            self.end.set(before.1);
        }
        start.ok_or(AllocError::out_of_memory(layout.size()))
    }

    fn place_here(&self, layout: Layout) -> Option<NonNull<u8>> {
        let (last, end) = (self.last.get(), self.end.get());
        let (from, to) = (last.addr().get(), end.addr().get());
        let fit = debug::fit_up_any(from, to, layout.size(), layout.align())?;
        self.last.set(at(last, fit.last));
        debug::placed(at(last, fit.start), layout.size());
        Some(at(last, fit.start))
    }

    fn add_chunk<S: BlockSource>(
        &self,
        supply: &Supply<S>,
        layout: Layout,
    ) -> Result<(), AllocError> {
        let too_large = AllocError::too_large(layout.size());
        let next = match self.in_place(self.newest.get()) {
            None => FIRST,
            Some(newest) => (2 * newest.layout.size()).clamp(FIRST, LARGEST),
        };
        // Room for the header, and for the alignment, wherever the block lies.
        let slack = if layout.align() > align_of::<Chunk>() { layout.align() } else { 0 };
        let slack = slack + debug::gap();
        let Some(need) = size::total(size_of::<Chunk>(), 1, layout.size(), window::MIN_ALIGN)
            .and_then(|sum| size::total(sum, 1, slack, align_of::<Chunk>()))
        else {
            return Err(too_large);
        };
        let Ok(wanted) = Layout::from_size_align(need.max(next), align_of::<Chunk>()) else {
            return Err(too_large);
        };
        let Ok(whole) = Layout::from_size_align(supply.fit(wanted), wanted.align()) else {
            return Err(too_large);
        };
        let memory = supply.take(whole)?;
        let chunk = memory.cast::<Chunk>();
        // SAFETY: it has room for a header, is aligned for it, and nobody else's.
        unsafe { chunk.write(Chunk { older: self.newest.get(), layout: whole }) };
        debug::block_made(memory, whole.size(), size_of::<Chunk>(), whole.size());
        self.newest.set(chunk.as_ptr());
        // SAFETY: the block is larger than its header.
        self.last.set(unsafe { memory.add(size_of::<Chunk>()) });
        // SAFETY: one past the block is in bounds.
        self.end.set(unsafe { memory.add(whole.size()) });
        Ok(())
    }

    /// Registers a cleanup.
    ///
    /// # Safety
    /// `cleanups` is the list of this pool, and `pool` is the pool.
    pub(super) unsafe fn register<'p, S: BlockSource, F: FnOnce(PoolPtr) + Send>(
        &self,
        supply: &Supply<S>,
        cleanups: &'p Cleanups,
        pool: PoolPtr,
        key: CleanupKey,
        action: F,
    ) -> Result<Cleanup<'p>, AllocError> {
        let seat = self.seat::<S, F>(supply)?;
        let entry = seat.as_ptr();
        // SAFETY: memory for a `Seat<F>`: only its entry's address is taken.
        let entry = unsafe { &raw mut (*entry).entry };
        // SAFETY: a part of that memory is not at null.
        let entry = unsafe { NonNull::new_unchecked(entry) };
        // SAFETY: memory for the entry, which nothing uses: it is fresh, or its cleanup spent.
        unsafe { entry.write(Entry::new(key, action)) };
        // SAFETY: its slot was written by `seat`.
        unsafe { seat.cast::<Slot>().as_ref() }.record.set(entry.cast());
        self.tickets.set(self.tickets.get() + 1);
        self.since.set(self.since.get() + 1);
        // SAFETY: just written, in memory that stays a record's until the pool's end; no
        // ticket is given twice. The rest is the caller's promise.
        Ok(unsafe { cleanups.push_as(self.tickets.get(), entry, pool) })
    }

    /// A slot for a cleanup with such an action, its entry not written: one that is spent, or
    /// a new one.
    fn seat<S: BlockSource, F>(&self, supply: &Supply<S>) -> Result<NonNull<Seat<F>>, AllocError> {
        let least = Layout::new::<Seat<F>>();
        let class = class_of(least.size());
        let size = match class < CLASSES - 1 {
            true => (SMALLEST_SLOT << class) - size_of::<Chunk>(),
            false => least.size(),
        };
        let layout = Layout::from_size_align(size, least.align())
            .map_err(|_| AllocError::too_large(size))?;
        let record_at = offset_of!(Seat<F>, entry);
        if let Some(slot) = self.spare(layout, record_at) {
            return Ok(slot.cast());
        }
        let start = match self.place_here(layout) {
            Some(start) => start,
            None => {
                // Looking through all slots is worth it only after as many registrations as
                // make it cheap for each of them, or for as many bytes.
                if self.since.get() >= self.made.get() / 2 || layout.size() >= 32 * self.made.get()
                {
                    self.collect_spares();
                    if let Some(slot) = self.spare(layout, record_at) {
                        return Ok(slot.cast());
                    }
                }
                self.place(supply, layout)?
            }
        };
        let slot = Slot {
            older: self.slots.get(),
            spare: Cell::new(ptr::null_mut()),
            bytes: layout.size(),
            record: Cell::new(NonNull::dangling()),
        };
        // SAFETY: fresh memory for a `Seat<F>`, which begins with its slot.
        unsafe { start.cast::<Slot>().write(slot) };
        self.slots.set(start.cast().as_ptr());
        self.made.set(self.made.get() + 1);
        Ok(start.cast())
    }

    /// A spent slot that is large enough, if there is one among the first. The record must come
    /// to lie where the old one was: handles of that one still look for its ticket there.
    fn spare(&self, layout: Layout, record_at: usize) -> Option<NonNull<Slot>> {
        let mut newer: Option<&Slot> = None;
        let spares = self.spares.get(class_of(layout.size()))?;
        let mut at = spares.get();
        for _ in 0..TRIES {
            let slot = self.in_place(at)?;
            let next = slot.spare.get();
            let same_place = slot.record.get().addr().get() - at.addr() == record_at;
            if same_place && layout.size() <= slot.bytes && at.addr() & (layout.align() - 1) == 0 {
                match newer {
                    None => spares.set(next),
                    Some(newer) => newer.spare.set(next),
                }
                return NonNull::new(at);
            }
            newer = Some(slot);
            at = next;
        }
        None
    }

    fn collect_spares(&self) {
        self.since.set(0);
        self.spares.iter().for_each(|spares| spares.set(ptr::null_mut()));
        let mut at = self.slots.get();
        while let Some(slot) = self.in_place(at) {
            // SAFETY: every slot has had a cleanup, whose record is still there.
            let spent = unsafe { slot.record.get().as_ref() }.is_spent();
            if spent && let Some(spares) = self.spares.get(class_of(slot.bytes)) {
                slot.spare.set(spares.replace(at));
            }
            at = slot.older;
        }
    }

    /// Gives all memory back, after the cleanups have run.
    pub(super) fn free_all<S: BlockSource>(&self, supply: &Supply<S>) {
        let mut at = self.newest.get();
        if at.is_null() {
            return;
        }
        self.newest.set(ptr::null_mut());
        self.last.set(NO_WINDOW);
        self.end.set(NO_WINDOW);
        self.slots.set(ptr::null_mut());
        self.spares.iter().for_each(|spares| spares.set(ptr::null_mut()));
        self.made.set(0);
        self.since.set(0);
        while let Some(chunk) = NonNull::new(at) {
            // SAFETY: a block of this list, still in place.
            let Chunk { older, layout } = unsafe { chunk.read() };
            // SAFETY: taken with this layout; nothing in it is used any more.
            unsafe { supply.give(chunk.cast(), layout) };
            at = older;
        }
    }

    fn in_place<T>(&self, at: *mut T) -> Option<&T> {
        // SAFETY: null, or a header or slot of this list, which stays in place until the end.
        unsafe { at.as_ref() }
    }
}

/// Which list a slot of so many bytes is on.
fn class_of(bytes: usize) -> usize {
    let above = bytes.saturating_add(size_of::<Chunk>()).div_ceil(SMALLEST_SLOT);
    let above = above.checked_next_power_of_two().unwrap_or(usize::MAX);
    (above.ilog2() as usize).min(CLASSES - 1)
}
