//! What lasts until the pool's end: records of cleanups, and values that the pool owns.
//!
//! They lie in blocks of their own, apart from the objects: they hold none of those blocks
//! back, and an object that is freed wrongly does not reach them. Values stay where they are
//! until the reset. The memory of a cleanup that was run or cancelled is used again for
//! another one, so that a pool which lives for days may register and cancel for days.

use crate::cleanup::{Cleanup, CleanupKey, Cleanups, Home, PoolPtr, Record};
use crate::empty::NO_WINDOW;
use crate::placed::{Placed, behind};
use crate::seats::Seats;
use crate::supply::Supply;
use crate::{AllocError, BlockSource, debug, size, window};
use core::alloc::Layout;
use core::cell::Cell;
use core::ptr::NonNull;

use super::block::at;

/// The first block's size; each next one is twice as large, up to the largest.
const FIRST: usize = 256;
const LARGEST: usize = 4096;
/// The header of a block.
#[repr(C, align(16))]
struct Chunk {
    older: Option<Placed<Chunk>>,
    layout: Layout,
}

/// A seat is so much less than a power of two that large ones fill a block.
const LESS: usize = size_of::<Chunk>();

pub(super) struct Lasting {
    newest: Cell<Option<Placed<Chunk>>>,
    /// The window of the block with most room.
    last: Cell<NonNull<u8>>,
    end: Cell<NonNull<u8>>,
    seats: Seats,
}

impl Lasting {
    pub(super) const fn new() -> Self {
        Self {
            newest: Cell::new(None),
            last: Cell::new(NO_WINDOW),
            end: Cell::new(NO_WINDOW),
            seats: Seats::new(),
        }
    }

    /// Bytes of the blocks.
    pub(super) fn held(&self) -> usize {
        let mut held = 0;
        let mut at = self.newest.get();
        while let Some(chunk) = at {
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
        let _inside = supply.inside_of_source();
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
        let next = match self.newest.get() {
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
        let header = Chunk { older: self.newest.get(), layout: whole };
        // SAFETY: it has room for a header, is aligned for it, and nobody else's; it is so until
        // `free_all`, which forgets it first.
        let chunk = unsafe { Placed::write(memory, header) };
        debug::block_made(memory, whole.size(), size_of::<Chunk>(), whole.size());
        self.newest.set(Some(chunk));
        self.last.set(behind(memory, size_of::<Chunk>()));
        self.end.set(behind(memory, whole.size()));
        Ok(())
    }

    /// Registers a cleanup.
    ///
    /// # Safety
    /// `cleanups` is the list of this pool, and `pool` is the pool, of the type that is `H`.
    pub(super) unsafe fn register<'p, S: BlockSource, H: Home, F: FnOnce(PoolPtr) + Send>(
        &self,
        supply: &Supply<S>,
        cleanups: &'p Cleanups,
        pool: PoolPtr,
        key: CleanupKey,
        action: F,
    ) -> Result<Cleanup<'p>, AllocError> {
        let fresh = |seat| self.place(supply, seat);
        // SAFETY: the caller's promise; what is placed here stays until the pool's end.
        unsafe { self.seats.register::<H, F>(cleanups, pool, key, action, LESS, fresh) }
    }

    /// Takes the record of a cleanup in that is spent.
    ///
    /// # Safety
    /// It is a record from [`Lasting::register`], for an entry of this layout, and off the list;
    /// its action was moved out.
    pub(super) unsafe fn spent(&self, record: NonNull<Record>, entry: Layout) {
        // SAFETY: the caller's promise, passed on.
        unsafe { self.seats.put(record, entry, LESS) }
    }

    /// Gives all memory back, after the cleanups have run.
    pub(super) fn free_all<S: BlockSource>(&self, supply: &Supply<S>) {
        let mut at = self.newest.take();
        if at.is_none() {
            return;
        }
        self.last.set(NO_WINDOW);
        self.end.set(NO_WINDOW);
        self.seats.forget();
        while let Some(chunk) = at {
            at = chunk.older;
            // SAFETY: taken with this layout; nothing in it is used any more.
            unsafe { supply.give(chunk.pointer().cast(), chunk.layout) };
        }
    }
}
