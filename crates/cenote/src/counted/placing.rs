//! How objects are placed: in the window of the current block, else in another block, and
//! which that is; the blocks themselves, from when they are taken until they go back.

use super::block::{Block, Place, Want, at, fits};
use super::{CountedPool, dangling};
use crate::error::Mode;
use crate::window;
use crate::{AllocError, BlockSource, debug};
use core::alloc::Layout;
use core::ptr::NonNull;

/// How many blocks with room are tried before a new one is taken.
const TRIES: usize = 8;

impl<S: BlockSource> CountedPool<S> {
    /// Places an object at an alignment known when compiling.
    #[inline(always)]
    pub(super) fn bump<M: Mode>(&self, layout: Layout) -> Result<NonNull<u8>, M::Error> {
        let (last, end) = self.window();
        let (size, align) = (layout.size(), layout.align());
        if size == 0 {
            return Ok(dangling(align));
        }
        match debug::fit_up(last.addr().get(), end.addr().get(), size, align) {
            Some(fit) => Ok(self.accept(last, fit, size)),
            None => self.bump_cold::<M>(size, align),
        }
    }

    /// [`CountedPool::try_alloc_layout`] where the current block has room and what is free of it
    /// begins aligned so, and `None`, with nothing changed, where not, or for a layout without
    /// bytes; see [`Pool::alloc_in_window`](crate::Pool::alloc_in_window).
    #[doc(hidden)]
    #[inline(always)]
    pub fn alloc_in_window(&self, layout: Layout) -> Option<NonNull<u8>> {
        let (last, end) = self.window();
        let (from, to) = (last.addr().get(), end.addr().get());
        if from & (layout.align() - 1) != 0 || layout.size() == 0 {
            return None;
        }
        let fit = debug::fit_up(from, to, layout.size(), window::MIN_ALIGN)?;
        Some(self.accept(last, fit, layout.size()))
    }

    /// Places an object at an alignment known only now.
    #[inline(always)]
    pub(super) fn bump_any<M: Mode>(&self, layout: Layout) -> Result<NonNull<u8>, M::Error> {
        let (last, end) = self.window();
        let (size, align) = (layout.size(), layout.align());
        if size == 0 {
            return Ok(dangling(align));
        }
        match debug::fit_up_any(last.addr().get(), end.addr().get(), size, align) {
            Some(fit) => Ok(self.accept(last, fit, size)),
            None => self.bump_cold::<M>(size, align),
        }
    }

    /// Places bytes without alignment at the other end of the window: at most
    /// [`size::MAX`](crate::size::MAX).
    #[inline(always)]
    pub(super) fn bump_bytes<M: Mode>(&self, size: usize) -> Result<NonNull<u8>, M::Error> {
        let (last, end) = self.window();
        if size == 0 {
            return Ok(NonNull::dangling());
        }
        match debug::fit_down(last.addr().get(), end.addr().get(), size) {
            Some(start) => {
                self.end.set(at(end, start));
                self.newest.set(end.addr().get());
                self.count_in();
                debug::placed(at(end, start), size);
                Ok(at(end, start))
            }
            None => self.bump_bytes_cold::<M>(size),
        }
    }

    // Apart, so that the ways above need no stack frame for an error.
    #[cold]
    #[inline(never)]
    fn bump_cold<M: Mode>(&self, size: usize, align: usize) -> Result<NonNull<u8>, M::Error> {
        let _inside = self.supply.inside_of_source();
        let Ok(layout) = Layout::from_size_align(size, align) else {
            return M::fail(AllocError::too_large(size));
        };
        self.slow(layout, Want::Aligned(layout)).or_else(M::refuse)
    }

    #[cold]
    #[inline(never)]
    fn bump_bytes_cold<M: Mode>(&self, size: usize) -> Result<NonNull<u8>, M::Error> {
        let _inside = self.supply.inside_of_source();
        let Ok(layout) = Layout::from_size_align(size, 1) else {
            return M::fail(AllocError::too_large(size));
        };
        self.slow(layout, Want::Packed(size)).or_else(M::refuse)
    }

    #[inline(always)]
    pub(super) fn window(&self) -> (NonNull<u8>, NonNull<u8>) {
        (self.last.get(), self.end.get())
    }

    #[inline(always)]
    fn accept(&self, base: NonNull<u8>, fit: window::Fit, size: usize) -> NonNull<u8> {
        self.last.set(at(base, fit.last));
        self.newest.set(fit.start);
        self.count_in();
        let start = at(base, fit.start);
        debug::placed(start, size);
        start
    }

    /// Counts an object of the active block in. There is one: what has bytes fits only into
    /// a block's window.
    #[inline(always)]
    fn count_in(&self) {
        debug_assert!(!self.active.get().is_null());
        // SAFETY: something with bytes fitted into the window, so it is a block's, which
        // stays in place as long as it is active.
        unsafe { &*self.active.get() }.count_in();
    }

    /// The window had no room: a large object, or another block.
    #[cold]
    #[inline(never)]
    fn slow(&self, layout: Layout, want: Want) -> Result<NonNull<u8>, AllocError> {
        if !fits(self.page(), layout) {
            return self.place_large(layout);
        }
        self.save_window();
        let start = match self.empty.pop() {
            Some(block) => self.place_in_fresh(block, want)?,
            None => match self.place_in_open(want) {
                Some(start) => start,
                None => self.place_in_new(want)?,
            },
        };
        debug::placed(start, layout.size());
        Ok(start)
    }

    fn place_large(&self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
        let _inside = self.supply.inside();
        self.large.alloc(&self.supply, layout).or_else(|error| {
            // What is only kept for later must not be what a limit is passed by.
            if error.account().is_none() || self.trim() == 0 {
                return Err(error);
            }
            self.large.alloc(&self.supply, layout)
        })
    }

    /// Looks for room in blocks that have some. The window is saved.
    fn place_in_open(&self, want: Want) -> Option<NonNull<u8>> {
        self.open.iter().take(TRIES).find_map(|block| self.place_in(block, want))
    }

    /// Places something in a block of the open list, or in one that is shut.
    fn place_in(&self, block: NonNull<Block>, want: Want) -> Option<NonNull<u8>> {
        let this = self.block(block.as_ptr())?;
        let start = this.put(want)?;
        if this.place() == Place::Open {
            self.open.remove(this);
        }
        self.activate_or_shelve(block);
        Some(start)
    }

    /// Takes a new block. Those that were tried in vain count a failure; from the sixth on
    /// they are not tried any more. The window is saved.
    fn place_in_new(&self, want: Want) -> Result<NonNull<u8>, AllocError> {
        let block = match self.try_take_block() {
            Some(block) => block,
            None => {
                // Nothing more to be had: now every block is worth a try, however small its
                // room.
                if let Some(start) = self.place_anywhere(want) {
                    return Ok(start);
                }
                self.supply.take(self.layout_of_block()).and_then(|memory| self.enter(memory))?
            }
        };
        for tried in self.open.iter().take(TRIES) {
            let Some(tried) = self.block(tried.as_ptr()) else { break };
            tried.fail();
            if !tried.is_open() {
                self.open.remove(tried);
            }
        }
        if let Some(active) = self.block(self.active.get()) {
            active.fail();
        }
        self.place_in_fresh(block, want)
    }

    /// Places something in a block without objects that is on no list. The window is saved.
    fn place_in_fresh(&self, block: NonNull<Block>, want: Want) -> Result<NonNull<u8>, AllocError> {
        let start = self.block(block.as_ptr()).and_then(|block| block.put(want));
        debug_assert!(start.is_some(), "what fits into an empty block");
        self.activate_or_shelve(block);
        start.ok_or(AllocError::out_of_memory(self.page()))
    }

    #[cold]
    fn place_anywhere(&self, want: Want) -> Option<NonNull<u8>> {
        let active = self.active.get();
        self.known
            .iter()
            .filter(|block| block.as_ptr() != active)
            .find_map(|block| self.place_in(block, want))
    }

    // ---- blocks --------------------------------------------------------------------------

    #[inline(always)]
    pub(super) fn page(&self) -> usize {
        self.shape.page as usize
    }

    #[inline(always)]
    pub(super) fn block(&self, block: *mut Block) -> Option<&Block> {
        // SAFETY: null, or a block of this pool. It is given back only when it is empty, and
        // then by the pool itself, in calls that use no reference to it afterwards.
        unsafe { block.as_ref() }
    }

    /// The blocks. Their windows are as of the last [`CountedPool::save_window`].
    pub(super) fn blocks(&self) -> impl Iterator<Item = &Block> {
        self.known.iter().filter_map(|block| self.block(block.as_ptr()))
    }

    pub(super) fn layout_of_block(&self) -> Layout {
        // SAFETY: a page is a power of two of at most 1 MiB.
        unsafe { Layout::from_size_align_unchecked(self.page(), self.page()) }
    }

    /// A new block, on no list, if nothing is in the way.
    fn try_take_block(&self) -> Option<NonNull<Block>> {
        let memory = self.supply.try_take(self.layout_of_block())?;
        self.enter(memory).ok()
    }

    /// Makes memory that was taken for it a block, on no list; gives it back where that fails.
    fn enter(&self, memory: NonNull<u8>) -> Result<NonNull<Block>, AllocError> {
        // SAFETY: fresh memory of that layout.
        let block = unsafe { Block::init(memory, self.page(), self.taken.get()) };
        if let Err(error) = self.known.add(&self.supply, block) {
            // SAFETY: just taken with this layout; nothing refers to it.
            unsafe { self.supply.give(memory, self.layout_of_block()) };
            return Err(error);
        }
        self.taken.set(self.taken.get() + 1);
        Ok(block)
    }

    /// Gives a block back to the source.
    ///
    /// # Safety
    /// It is a known block without objects, on no list, not the active one, and not used
    /// afterwards.
    pub(super) unsafe fn give_block(&self, block: NonNull<Block>) {
        self.known.remove(&self.supply, block);
        // SAFETY: taken with this layout; nothing refers to it, by the caller's promise.
        unsafe { self.supply.give(block.cast(), self.layout_of_block()) };
    }

    /// Makes a block on no list the active one, if it has more room than that; else it waits
    /// on the list that it belongs on. The window is saved.
    fn activate_or_shelve(&self, block: NonNull<Block>) {
        let (Some(this), active) = (self.block(block.as_ptr()), self.block(self.active.get()))
        else {
            return;
        };
        if active.is_none_or(|active| active.room() < this.room()) {
            self.activate(block);
        } else {
            self.shelve(block);
        }
    }

    /// Makes a block on no list the active one. The window is saved.
    pub(super) fn activate(&self, block: NonNull<Block>) {
        let old = self.active.replace(block.as_ptr());
        if let Some(this) = self.block(block.as_ptr()) {
            this.set_place(Place::Active);
            let (last, end) = this.window();
            self.last.set(last);
            self.end.set(end);
        }
        self.newest.set(0);
        if let Some(old) = NonNull::new(old) {
            self.shelve(old);
        }
    }

    /// Puts a block that is on no list, and is not active, where it belongs: on a list, on
    /// none, or back at the source.
    pub(super) fn shelve(&self, block: NonNull<Block>) {
        let Some(this) = self.block(block.as_ptr()) else { return };
        if this.live() != 0 {
            if this.is_open() {
                // SAFETY: blocks are taken off their lists before they are given back.
                unsafe { self.open.push(block, Place::Open) };
            } else {
                this.set_place(Place::Shut);
            }
        } else if self.empty.len() < self.shape.keep as usize {
            // SAFETY: likewise.
            unsafe { self.empty.push(block, Place::Empty) };
        } else {
            // SAFETY: a known block without objects, on no list; not used below.
            unsafe { self.give_block(block) };
        }
    }

    /// Writes the window to its block's header.
    #[inline]
    pub(super) fn save_window(&self) {
        if let Some(block) = self.block(self.active.get()) {
            block.set_window(self.last.get(), self.end.get());
        }
    }
}
