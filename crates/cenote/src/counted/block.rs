//! A block of a counted pool: its header with the count, the window behind it, and the lists
//! in which blocks wait to be used again.
//!
//! All blocks of a pool have one size, a power of two, and lie at multiples of it. So the
//! header that counts an object is found by masking the object's address.

use crate::placed::{Placed, behind};
use crate::window::MIN_ALIGN;
use crate::{debug, supply};
use core::alloc::Layout;
use core::cell::Cell;
use core::ptr::{self, NonNull};

/// Bytes of a block's header.
pub(crate) const HEADER: usize = size_of::<Block>();

/// After so many failures a block is not tried any more until it is empty, as in nginx.
const LAST_FAILURE: u8 = 6;

/// What is to be placed in a block.
#[derive(Clone, Copy)]
pub(super) enum Want {
    /// An object, at the bottom of the window.
    Aligned(Layout),
    /// Bytes without alignment, at the top.
    Packed(usize),
}

/// Where a block stands. On a list it is linked by `newer` and `older`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Its window is the pool's.
    Active,
    /// On the list of those with objects and some room: tried when the active one is full.
    Open,
    /// On the list of those without objects.
    Empty,
    /// On no list: no room to speak of, until all its objects are freed.
    Shut,
}

/// The header, in the first bytes of its block.
#[repr(C, align(16))]
pub(super) struct Block {
    /// Objects in the block that are not freed.
    live: Cell<u32>,
    /// How often it was tried in vain when a new block had to be taken.
    failed: Cell<u8>,
    place: Cell<Place>,
    /// Which block of its pool this is, counted from the first one ever taken.
    number: u64,
    /// The window, except for the active block, whose window is in the pool.
    last: Cell<NonNull<u8>>,
    end: Cell<NonNull<u8>>,
    newer: Cell<Option<Placed<Block>>>,
    older: Cell<Option<Placed<Block>>>,
}

#[cfg(target_pointer_width = "64")]
const _: () = assert!(HEADER == 48);
const _: () = assert!(HEADER.is_multiple_of(MIN_ALIGN));

/// Whether an object of this layout fits into an empty block of `page` bytes. What does not is
/// large; so whether an object is large can be told from its layout alone.
#[inline(always)]
pub(super) fn fits(page: usize, layout: Layout) -> bool {
    // A valid layout's size and alignment have a sum of at most 2^63, so nothing wraps.
    let start = HEADER.wrapping_add(layout.align() - 1) & layout.align().wrapping_neg();
    start.wrapping_add(debug::taken(layout.size())) <= page
}

impl Block {
    /// Makes fresh memory an empty block that is on no list.
    ///
    /// # Safety
    /// `memory` has `page` bytes, more than a header's, is aligned to as many, and is the
    /// caller's.
    pub(super) unsafe fn init(memory: NonNull<u8>, page: usize, number: u64) -> NonNull<Block> {
        let block = memory.cast::<Block>();
        let (last, end) = (behind(memory, HEADER), behind(memory, page));
        let header = Block {
            live: Cell::new(0),
            failed: Cell::new(0),
            place: Cell::new(Place::Shut),
            number,
            last: Cell::new(last),
            end: Cell::new(end),
            newer: Cell::new(None),
            older: Cell::new(None),
        };
        // SAFETY: the caller's promise: it is large enough, aligned, and the caller's.
        unsafe { block.write(header) };
        debug::block_made(memory, page, HEADER, page);
        block
    }

    #[inline(always)]
    pub(super) fn address(&self) -> usize {
        ptr::from_ref(self).addr()
    }

    #[inline(always)]
    pub(super) fn live(&self) -> u32 {
        self.live.get()
    }

    /// Counts an object in.
    #[inline(always)]
    pub(super) fn count_in(&self) {
        self.live.set(self.live.get() + 1);
    }

    /// Counts an object out; how many are left.
    #[inline(always)]
    pub(super) fn count_out(&self) -> u32 {
        debug_assert_ne!(self.live.get(), 0, "an object of a block without objects was freed");
        let left = self.live.get().wrapping_sub(1);
        self.live.set(left);
        left
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    #[inline(always)]
    pub(super) fn place(&self) -> Place {
        self.place.get()
    }

    pub(super) fn set_place(&self, place: Place) {
        self.place.set(place);
    }

    pub(super) fn failed(&self) -> u32 {
        u32::from(self.failed.get())
    }

    /// Counts a failure.
    pub(super) fn fail(&self) {
        self.failed.set(self.failed.get().saturating_add(1).min(LAST_FAILURE));
    }

    /// Forgets failures.
    #[inline(always)]
    pub(super) fn forgive(&self) {
        self.failed.set(0);
    }

    /// Whether it is worth trying: it has room, and has not failed too often.
    pub(super) fn is_open(&self) -> bool {
        self.room() >= MIN_ALIGN && self.failed.get() < LAST_FAILURE
    }

    #[inline(always)]
    pub(super) fn window(&self) -> (NonNull<u8>, NonNull<u8>) {
        (self.last.get(), self.end.get())
    }

    #[inline(always)]
    pub(super) fn set_window(&self, last: NonNull<u8>, end: NonNull<u8>) {
        self.last.set(last);
        self.end.set(end);
    }

    /// The window of the block with nothing in it.
    #[inline(always)]
    pub(super) fn empty_window(&self, page: usize) -> (NonNull<u8>, NonNull<u8>) {
        // The saved pointers point into the block and may be used for all of it; a reference
        // to the header may be used only for the header.
        let base = self.last.get();
        (at(base, self.address() + HEADER), at(base, self.address() + page))
    }

    /// Bytes of aligned objects, those included that are freed while the block is not empty.
    pub(super) fn used(&self) -> usize {
        self.last.get().addr().get() - self.address() - HEADER
    }

    /// Bytes of unaligned objects, likewise.
    pub(super) fn packed(&self, page: usize) -> usize {
        self.address() + page - self.end.get().addr().get()
    }

    /// Bytes between them.
    pub(super) fn room(&self) -> usize {
        self.end.get().addr().get() - self.last.get().addr().get()
    }

    /// Places and counts something in the saved window.
    pub(super) fn put(&self, want: Want) -> Option<NonNull<u8>> {
        let (last, end) = self.window();
        let (from, to) = (last.addr().get(), end.addr().get());
        let start = match want {
            Want::Aligned(layout) => {
                let fit = debug::fit_up_any(from, to, layout.size(), layout.align())?;
                self.last.set(at(last, fit.last));
                at(last, fit.start)
            }
            Want::Packed(size) => {
                let start = at(end, debug::fit_down(from, to, size)?);
                self.end.set(start);
                start
            }
        };
        self.count_in();
        Some(start)
    }

    /// Makes the block as good as new: nothing in it is in use any more. Its window is the
    /// header's.
    #[inline]
    pub(super) fn rewind(&self, page: usize, wipe: bool) {
        let (last, end) = self.empty_window(page);
        let size = page - HEADER;
        if wipe {
            debug::unmark(last, size);
            // SAFETY: the block's memory behind its header, in which nothing is in use.
            unsafe { supply::wipe(last, size) };
        }
        self.set_window(last, end);
        self.live.set(0);
        self.failed.set(0);
        debug::block_emptied(last, size);
    }
}

/// Blocks linked with one another, the newest first. All are of one pool, and stay in place
/// while they are on the list.
pub(super) struct List {
    newest: Cell<Option<Placed<Block>>>,
    len: Cell<usize>,
}

impl List {
    pub(super) const fn new() -> Self {
        Self { newest: Cell::new(None), len: Cell::new(0) }
    }

    pub(super) fn len(&self) -> usize {
        self.len.get()
    }

    /// Forgets all, without touching them.
    pub(super) fn clear(&self) {
        self.newest.set(None);
        self.len.set(0);
    }

    /// Puts a block that is on no list at the head of this one.
    ///
    /// # Safety
    /// The block stays in place until it is taken off.
    pub(super) unsafe fn push(&self, block: NonNull<Block>, place: Place) {
        // SAFETY: the caller's promise: it is a block in place, and the list's handles of it go
        // when it is taken off.
        let block = unsafe { Placed::new(block) };
        let older = self.newest.replace(Some(block));
        block.set_place(place);
        block.newer.set(None);
        block.older.set(older);
        if let Some(older) = older {
            older.newer.set(Some(block));
        }
        self.len.set(self.len.get() + 1);
    }

    /// Takes off a block that is on this list.
    pub(super) fn remove(&self, block: &Block) {
        let (newer, older) = (block.newer.get(), block.older.get());
        match newer {
            Some(newer) => newer.older.set(older),
            None => self.newest.set(older),
        }
        if let Some(older) = older {
            older.newer.set(newer);
        }
        block.set_place(Place::Shut);
        self.len.set(self.len.get() - 1);
    }

    /// Takes off the newest.
    pub(super) fn pop(&self) -> Option<NonNull<Block>> {
        let block = self.newest.get()?;
        self.remove(&block);
        Some(block.pointer())
    }

    /// The blocks, the newest first. The one that was given last may be taken off meanwhile.
    pub(super) fn iter(&self) -> impl Iterator<Item = NonNull<Block>> {
        let mut next = self.newest.get();
        core::iter::from_fn(move || {
            let block = next?;
            next = block.older.get();
            Some(block.pointer())
        })
    }
}

/// The address `addr` in the block that `base` points into.
#[inline(always)]
pub(super) fn at(base: NonNull<u8>, addr: usize) -> NonNull<u8> {
    // SAFETY: addresses inside a window are not 0: `last` of an empty one is not, and sums in
    // `window` do not wrap.
    unsafe { NonNull::new_unchecked(base.as_ptr().with_addr(addr)) }
}
