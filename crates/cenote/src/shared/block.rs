//! A block of a shared pool: a header with the window, and the objects behind it.

use super::window::Window;
use crate::debug;
use crate::inspect::BlockSnapshot;
use crate::pool::Want;
use core::ptr::NonNull;

/// Bytes of a block's header.
pub(super) const HEADER: usize = size_of::<Block>();

/// The header, in the first bytes of its block. All but the window stays as it was made.
#[repr(C, align(16))]
pub(super) struct Block {
    window: Window,
    pub(super) older: *mut Block,
    pub(super) size: usize,
}

#[cfg(all(target_pointer_width = "64", not(loom)))]
const _: () = assert!(HEADER == 32);
const _: () = assert!(HEADER.is_multiple_of(crate::window::MIN_ALIGN));

/// A pointer to a block, that may be used for all of it.
#[derive(Clone, Copy)]
pub(super) struct BlockPtr(NonNull<Block>);

impl BlockPtr {
    /// Makes fresh memory a block.
    ///
    /// # Safety
    /// `memory` has `size` bytes, more than a header's and at most 1 GiB, is aligned to 16, and
    /// is the caller's.
    pub(super) unsafe fn init(memory: NonNull<u8>, size: usize, older: *mut Block) -> Self {
        let block = memory.cast::<Block>();
        let header = Block { window: Window::new(HEADER, size), older, size };
        // SAFETY: the caller's promise: it is large enough, aligned, and the caller's.
        unsafe { block.write(header) };
        debug::block_made(memory, size, HEADER, size);
        Self(block)
    }

    /// # Safety
    /// What [`BlockPtr::as_ptr`] gave, of a block that is not given back for as long as this
    /// is used; or null, for `None`.
    #[inline(always)]
    pub(super) unsafe fn new(block: *mut Block) -> Option<Self> {
        NonNull::new(block).map(Self)
    }

    #[inline(always)]
    pub(super) fn as_ptr(self) -> *mut Block {
        self.0.as_ptr()
    }

    pub(super) fn memory(self) -> NonNull<u8> {
        self.0.cast()
    }

    #[inline(always)]
    pub(super) fn header(&self) -> &Block {
        // SAFETY: the header of a block that is not given back while `self` is used: what
        // `init` and `new` were promised. Only its window changes, which is atomic.
        unsafe { self.0.as_ref() }
    }

    #[inline(always)]
    fn base(self) -> usize {
        self.0.addr().get()
    }

    /// Places an object at the bottom, at an alignment that may be known when compiling.
    #[inline(always)]
    pub(super) fn place_up(self, size: usize, align: usize) -> Option<NonNull<u8>> {
        let offset = self.header().window.place_up(self.base(), size, align)?;
        Some(self.found(offset, size))
    }

    /// Places bytes without alignment at the top.
    #[inline(always)]
    pub(super) fn place_down(self, size: usize) -> Option<NonNull<u8>> {
        let offset = self.header().window.place_down(size)?;
        Some(self.found(offset, size))
    }

    #[inline]
    pub(super) fn place(self, want: Want) -> Option<NonNull<u8>> {
        match want {
            Want::Aligned(layout) => self.place_up(layout.size(), layout.align()),
            Want::Packed(size) => self.place_down(size),
        }
    }

    #[inline(always)]
    fn found(self, offset: usize, size: usize) -> NonNull<u8> {
        // SAFETY: the window's offsets are inside the block, or at its end.
        let start = unsafe { self.0.cast::<u8>().add(offset) };
        debug::placed(start, size);
        start
    }

    /// Leaves no room in the window, before anyone else knows of the block.
    pub(super) fn shut(self) {
        self.header().window.shut();
    }

    /// The offset of an address, wherever that is: meaningless to the window, if outside.
    #[inline(always)]
    fn offset(self, start: NonNull<u8>) -> usize {
        start.addr().get().wrapping_sub(self.base())
    }

    /// Frees the newest object; `false`, and nothing happens, where it is not the newest, or
    /// in another block.
    #[inline]
    pub(super) fn free(self, start: NonNull<u8>, size: usize) -> bool {
        let block = self.header();
        let offset = self.offset(start);
        // While it is still the caller's: once it is free another thread may have it.
        debug::freeing(start, size);
        debug::freed(start, size);
        if block.window.is_newest(offset, size) {
            return block.window.resize(offset, size, 0);
        }
        block.window.free_down(offset, size, block.size)
    }

    /// Changes the size of the newest object in place; `false` where it is not the newest, in
    /// another block, or there is no room.
    #[inline]
    pub(super) fn resize(self, start: NonNull<u8>, old: usize, new: usize) -> bool {
        let offset = self.offset(start);
        let window = &self.header().window;
        // As above: what an object has too much may be another thread's after this.
        let less = new < old && window.is_newest(offset, old);
        if less {
            debug::shrunk(start, old, new);
        }
        let done = window.resize(offset, old, new);
        match (less, done) {
            (false, true) if new >= old => debug::grown(start, old, new),
            // It was the newest no more.
            (true, false) => debug::grown(start, new, old),
            _ => {}
        }
        done
    }

    /// Bytes that are free, at this moment.
    pub(super) fn room(self) -> usize {
        self.header().window.room()
    }

    /// Bytes of objects at both ends, padding included, at this moment.
    pub(super) fn used(self) -> usize {
        self.header().size - HEADER - self.room()
    }

    pub(super) fn snapshot(self, active: bool) -> BlockSnapshot {
        let block = self.header();
        let (last, end) = block.window.ends();
        BlockSnapshot {
            size: block.size,
            header: HEADER,
            used: last - HEADER,
            packed: block.size - end,
            free: end - last,
            failures: 0,
            current: active,
            active,
        }
    }
}
