//! A block: a header, and the window behind it.

use super::HEADER_ALIGN;
use crate::window::MIN_ALIGN;
use crate::{debug, supply};
use core::alloc::Layout;
use core::cell::Cell;
use core::ptr::NonNull;

/// Bytes of a block's header.
pub(crate) const HEADER: usize = size_of::<Block>();

/// After so many failures a block is not tried any more, as in nginx.
const LAST_FAILURE: u32 = 6;

/// What is to be placed in a block.
#[derive(Clone, Copy)]
pub(crate) enum Want {
    /// An object, at the bottom of the window.
    Aligned(Layout),
    /// Bytes without alignment, at the top.
    Packed(usize),
}

/// The header, in the first bytes of its block.
#[repr(C)]
pub(super) struct Block {
    older: Cell<*mut Block>,
    /// The window, except for the active block, whose window is in the pool.
    last: Cell<NonNull<u8>>,
    end: Cell<NonNull<u8>>,
    size: u32,
    /// How often it was tried in vain when a new block had to be taken.
    failed: Cell<u32>,
}

// What comes after a header is aligned as the block is, to 16 bytes at least.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(HEADER == 32);
const _: () = assert!(HEADER.is_multiple_of(MIN_ALIGN));

impl Block {
    /// Makes fresh memory a block.
    ///
    /// # Safety
    /// `memory` has `size` bytes, more than a header's, is aligned to 16, and is the caller's.
    pub(super) unsafe fn init(memory: NonNull<u8>, size: usize, older: *mut Block) -> *mut Block {
        let block = memory.cast::<Block>();
        // SAFETY: the caller's promise: `size` is more than a header's.
        let last = unsafe { memory.add(HEADER) };
        // SAFETY: one past the memory is in bounds.
        let end = unsafe { memory.add(size) };
        let header = Block {
            older: Cell::new(older),
            last: Cell::new(last),
            end: Cell::new(end),
            size: size as u32,
            failed: Cell::new(0),
        };
        // SAFETY: the caller's promise: it is large enough, aligned, and the caller's.
        unsafe { block.write(header) };
        debug::block_made(memory, size, HEADER, size);
        block.as_ptr()
    }

    #[inline(always)]
    pub(super) fn older(&self) -> *mut Block {
        self.older.get()
    }

    pub(super) fn set_older(&self, older: *mut Block) {
        self.older.set(older);
    }

    pub(super) fn address(&self) -> usize {
        core::ptr::from_ref(self).addr()
    }

    #[inline(always)]
    pub(super) fn size(&self) -> usize {
        self.size as usize
    }

    /// The layout that it was taken with.
    #[inline(always)]
    pub(super) fn layout(&self) -> Layout {
        // SAFETY: its size, which that layout had.
        unsafe { Layout::from_size_align_unchecked(self.size(), HEADER_ALIGN) }
    }

    pub(super) fn failed(&self) -> u32 {
        self.failed.get()
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
    pub(super) fn empty_window(&self) -> (NonNull<u8>, NonNull<u8>) {
        // The saved pointers point into the block and may be used for all of it; a reference
        // to the header may be used only for the header.
        let start = self.address();
        let base = self.last.get();
        (super::at(base, start + HEADER), super::at(base, start + self.size as usize))
    }

    /// Bytes of aligned objects.
    pub(super) fn used(&self) -> usize {
        self.last.get().addr().get() - self.empty_window().0.addr().get()
    }

    /// Bytes of unaligned objects.
    pub(super) fn packed(&self) -> usize {
        self.empty_window().1.addr().get() - self.end.get().addr().get()
    }

    /// Bytes between them.
    pub(super) fn room(&self) -> usize {
        self.end.get().addr().get() - self.last.get().addr().get()
    }

    /// Counts a failure; whether the block is still to be tried.
    pub(super) fn fail(&self) -> bool {
        self.failed.set(self.failed.get() + 1);
        self.failed.get() < LAST_FAILURE
    }

    /// Places something in the saved window.
    pub(super) fn place(&self, want: Want) -> Option<NonNull<u8>> {
        let (last, end) = self.window();
        let (from, to) = (last.addr().get(), end.addr().get());
        match want {
            Want::Aligned(layout) => {
                let fit = debug::fit_up_any(from, to, layout.size(), layout.align())?;
                self.last.set(super::at(last, fit.last));
                Some(super::at(last, fit.start))
            }
            Want::Packed(size) => {
                let start = super::at(end, debug::fit_down(from, to, size)?);
                self.end.set(start);
                Some(start)
            }
        }
    }

    /// Empties the block.
    pub(super) fn rewind(&self, wipe: bool) {
        let (last, end) = self.empty_window();
        let length = end.addr().get() - last.addr().get();
        if wipe {
            debug::unmark(last, length);
            // SAFETY: the block's memory behind its header, in which nothing is borrowed any
            // more: the pool is being reset.
            unsafe { supply::wipe(last, length) };
        }
        self.set_window(last, end);
        self.failed.set(0);
        debug::block_emptied(last, length);
    }
}
