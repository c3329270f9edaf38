//! A pool's reset, and its end: cleanups run, and blocks stay or go back.

use super::block::{Block, HEADER};
use super::{HEADER_ALIGN, Pool, grown};
use crate::cleanup::{Panicked, PoolPtr};
use crate::empty::NO_WINDOW;
use crate::{BlockSource, debug};
use core::alloc::Layout;
use core::mem::ManuallyDrop;
use core::ptr::{self, NonNull};

impl<S: BlockSource> Pool<S> {
    /// Frees everything in the pool, and keeps blocks for what comes next.
    ///
    /// Cleanups run first, the newest first, and values given to [`Pool::own`] are dropped
    /// with them. Then large objects are freed, and the blocks emptied: as many are kept as
    /// were needed lately, and the rest goes back to the source. Nothing that was in the pool
    /// can be referred to any more, which the compiler checks.
    ///
    /// # Panics
    /// With the first panic of a cleanup, after everything is done.
    #[inline]
    pub fn reset(&mut self) {
        if self.has_more_than_blocks() {
            return self.reset_cold();
        }
        self.rewind();
    }

    /// Whether there were cleanups or large objects, told by one branch.
    #[inline(always)]
    fn has_more_than_blocks(&self) -> bool {
        self.cleanups.address() | self.large.address() != 0
    }

    #[cold]
    #[inline(never)]
    fn reset_cold(&mut self) {
        // Cleanups are no part of the operation: they find the pool whole.
        let panicked = self.run_cleanups();
        let inside = self.supply.inside();
        self.large.empty(&self.supply);
        self.rewind();
        drop(inside);
        panicked.resume();
    }

    /// Runs the pending cleanups now, the newest first, and those that they register: what a
    /// reset or the drop begins with, for bindings whose cleanups use the pool by other means
    /// than the reference that they are given. The pool can still be used meanwhile, and after.
    ///
    /// # Panics
    /// With the first panic of a cleanup, after all have run.
    ///
    /// # Safety
    /// Nothing that `own` gave is used any more.
    #[doc(hidden)]
    #[inline]
    pub unsafe fn run_cleanups_now(&self) {
        if !self.cleanups.is_empty() {
            self.run_cleanups().resume();
        }
    }

    /// Runs the cleanups as long as the pool can still be used by them.
    fn run_cleanups(&self) -> Panicked {
        // SAFETY: the pool of this list, whole and borrowed here.
        unsafe { self.cleanups.run_all(self.erased()) }
    }

    pub(super) fn erased(&self) -> PoolPtr {
        NonNull::from(self).cast()
    }

    /// Empties the blocks. Most pools have one, of the size that pools begin with.
    /// Then what was needed is not noted: it was less than that block.
    #[inline]
    fn rewind(&mut self) {
        self.links.clear();
        let Some(newest) = self.block(self.newest.get()) else { return };
        if !newest.older().is_null()
            || newest.size() != self.shape.get().first as usize
            || self.supply.wipes()
        {
            return self.rewind_cold();
        }
        let (last, end) = newest.empty_window();
        self.last.set(last);
        self.end.set(end);
        debug::block_emptied(last, end.addr().get() - last.addr().get());
    }

    /// Notes that as much was needed as is used of the active block, for the next reset.
    #[cold]
    #[inline(never)]
    pub(super) fn note_needed(&self) {
        self.save_window();
        let Some(block) = self.block(self.active.get()) else { return };
        let used = (block.used() + block.packed()).min(u32::MAX as usize / 2) as u32;
        self.keep.set(self.keep.get().max(used));
    }

    #[cold]
    #[inline(never)]
    fn rewind_cold(&mut self) {
        let _inside = self.supply.inside_of_source();
        self.save_window();
        let used: usize = self.blocks().map(|block| block.used() + block.packed()).sum();
        let used = used + self.grown.next_round();
        let used = used.min(u32::MAX as usize / 2) as u32;
        // What was needed lately, forgotten by an eighth each time.
        let keep = self.keep.get();
        let keep = (keep - keep / 8).max(used);
        self.keep.set(keep);

        // The newest blocks are the largest: keep from there as many as are needed, unless
        // the first is far too large by now; or none, where what was needed was more than they
        // have, and one block could have it all.
        let room: usize = self.blocks().map(|block| block.size() - HEADER).sum();
        let together = room < keep as usize
            && self.one_block(keep) >= keep as usize + HEADER
            && self.supply.may_guess(self.one_block(keep));
        let mut at = self.newest.replace(ptr::null_mut());
        let mut kept = 0;
        let mut oldest_kept: *mut Block = ptr::null_mut();
        while let Some(block) = self.block(at) {
            let (this, older, size) = (at, block.older(), block.size());
            at = older;
            let too_large = size > self.shape.get().first as usize && (keep as usize) < size / 4;
            let wanted = kept < keep.max(1) as usize && !together;
            if wanted && !(kept == 0 && too_large) {
                kept += size - HEADER;
                block.rewind(self.supply.wipes());
                match self.block(oldest_kept) {
                    None => self.newest.set(this),
                    Some(newer) => newer.set_older(this),
                }
                block.set_older(ptr::null_mut());
                oldest_kept = this;
            } else {
                self.give_block(this);
            }
        }
        if kept == 0 {
            self.next.set(self.one_block(keep) as u32);
            self.last.set(NO_WINDOW);
            self.end.set(NO_WINDOW);
        }
        self.active.set(self.newest.get());
        self.current.set(oldest_kept);
        self.load_window();
    }

    /// The size of a block for so many bytes, or the largest that is taken at once.
    fn one_block(&self, bytes: u32) -> usize {
        let shape = self.shape.get();
        let (first, largest) = (shape.first as usize, shape.largest as usize);
        let least = bytes as usize + HEADER;
        if least <= largest {
            return least.next_power_of_two().clamp(first, largest);
        }
        let Ok(layout) = Layout::from_size_align(least, HEADER_ALIGN) else { return largest };
        let fits = self.supply.whole_block(layout).size();
        if fits <= grown::LARGEST.min(4 * largest) { fits } else { largest }
    }

    /// Gives a block back to the source. It is on no list any more.
    #[inline(always)]
    fn give_block(&self, block: *mut Block) {
        let Some(memory) = NonNull::new(block) else { return };
        // SAFETY: a block of this pool that the caller has taken off its list.
        let layout = unsafe { memory.as_ref() }.layout();
        // SAFETY: taken with this layout; off the list, and nothing in it is borrowed, since
        // callers have `&mut self`.
        unsafe { self.supply.give(memory.cast(), layout) };
    }

    /// Gives all blocks back, and ends the supply.
    ///
    /// # Safety
    /// The pool is not used after this.
    #[inline(always)]
    pub(super) unsafe fn end(&mut self) {
        let newest = self.newest.get();
        let (Some(block), Some(memory)) = (self.block(newest), NonNull::new(newest)) else {
            // SAFETY: the caller's promise: nobody uses it after this.
            return unsafe { ManuallyDrop::drop(&mut self.supply) };
        };
        if !block.older().is_null() {
            // SAFETY: likewise.
            return unsafe { self.end_with_many_blocks() };
        }
        let layout = block.layout();
        // SAFETY: likewise.
        let supply = unsafe { ManuallyDrop::take(&mut self.supply) };
        // SAFETY: taken with this layout; nothing in it is borrowed at the pool's end.
        unsafe { supply.give_last(memory.cast(), layout) };
    }

    /// # Safety
    /// As for [`Pool::end`].
    #[inline(never)]
    unsafe fn end_with_many_blocks(&mut self) {
        let mut at = self.newest.replace(ptr::null_mut());
        while let Some(block) = self.block(at) {
            let older = block.older();
            self.give_block(at);
            at = older;
        }
        // SAFETY: the caller's promise: nobody uses it after this.
        unsafe { ManuallyDrop::drop(&mut self.supply) };
    }

    /// [`Pool::end`], with what comes before it.
    ///
    /// # Safety
    /// Likewise.
    #[cold]
    #[inline(never)]
    unsafe fn end_cold(&mut self) {
        let panicked = self.run_cleanups();
        let inside = self.supply.inside();
        self.large.free_all(&self.supply);
        // SAFETY: the caller's promise.
        unsafe { self.end() };
        drop(inside);
        panicked.resume();
    }
}
impl<S: BlockSource> Drop for Pool<S> {
    #[inline]
    fn drop(&mut self) {
        if self.has_more_than_blocks() {
            // SAFETY: this is the pool's end.
            return unsafe { self.end_cold() };
        }
        let _inside = self.supply.inside_of_source();
        // SAFETY: likewise.
        unsafe { self.end() };
    }
}
