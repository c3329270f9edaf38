//! Raw memory by layout, and objects that are freed or change size: what collections need.

use super::SharedPool;
use crate::collections::Objects;
use crate::error::{Hush, Mode, Must, Quiet, Try, must};
use crate::pool::{dangling, grows};
use crate::window::MIN_ALIGN;
use crate::{AllocError, BlockSource, Blocks};
use core::alloc::Layout;
use core::ptr::NonNull;

impl<S: BlockSource> SharedPool<S> {
    #[inline(always)]
    fn layout_in<M: Mode>(&self, layout: Layout) -> Result<NonNull<u8>, M::Error> {
        if layout.align() > MIN_ALIGN && layout.size() == 0 {
            return Ok(dangling(layout));
        }
        self.state().bump::<M>(layout.size(), layout.align())
    }

    /// Memory of this size and alignment, with whatever it held before; valid as long as there
    /// is a handle. A layout without bytes gives an aligned address of none.
    ///
    /// # Panics
    /// Where [`SharedPool::try_alloc_layout`] fails, but for want of system memory: then it
    /// aborts.
    #[inline(always)]
    pub fn alloc_layout(&self, layout: Layout) -> NonNull<u8> {
        must(self.layout_in::<Must>(layout))
    }

    /// Memory of this size and alignment, with whatever it held before.
    ///
    /// # Errors
    /// Where the memory cannot be had.
    #[inline(always)]
    pub fn try_alloc_layout(&self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
        self.layout_in::<Try>(layout)
    }

    /// Frees one object early: a large one goes back to the source, the newest one to its
    /// block. Any other stays until the pool's end, and nothing happens.
    ///
    /// # Safety
    /// `start` came from this pool with this layout (`layout` being what it was last grown or
    /// shrunk to), and nothing uses it any more.
    #[inline]
    pub unsafe fn dealloc(&self, start: NonNull<u8>, layout: Layout) {
        if layout.size() == 0 {
            return;
        }
        let state = self.state();
        if state.needs_large(layout).is_none() && state.free_large(start) {
            return;
        }
        state.current().free(start, layout.size());
    }

    /// Makes an object larger: in place if it is the newest and the block has room, or large
    /// and its allocation has; otherwise it is moved.
    ///
    /// # Errors
    /// Where the memory cannot be had. The object is as it was.
    ///
    /// # Safety
    /// As for [`SharedPool::dealloc`], and `new.size() >= old.size()`. The object is at the
    /// returned address afterwards, its first `old.size()` bytes as they were.
    #[inline]
    pub unsafe fn try_grow(
        &self,
        start: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<u8>, AllocError> {
        // SAFETY: the caller's promise, passed on.
        unsafe { self.grow_in::<Try>(start, old, new) }
    }

    /// # Safety
    /// As for [`SharedPool::try_grow`].
    #[inline]
    unsafe fn grow_in<M: Mode>(
        &self,
        start: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<u8>, M::Error> {
        let state = self.state();
        let aligned = is_aligned(start, new);
        if aligned && old.size() != 0 {
            if state.current().resize(start, old.size(), new.size()) {
                return Ok(start);
            }
            if state.needs_large(old).is_none()
                // Or it would be taken for a small one later, with its layout of then.
                && state.needs_large(new).is_none()
                && let Some((whole, room)) = state.large_object(start)
                && room >= new.size()
            {
                return Ok(whole);
            }
        }
        let _inside = state.supply.inside();
        if aligned
            && old.size() != 0
            && state.needs_large(old).is_none()
            && state.needs_large(new).is_none()
            && (new.size() > Blocks::LARGEST || state.supply.headroom() < state.supply.fit(new))
            && let Some(grown) = state.grow_large(start, new)
        {
            return Ok(grown);
        }
        let moved = self.layout_in::<M>(new)?;
        // SAFETY: so many bytes at both, the caller's promise; the new ones are fresh.
        unsafe { moved.copy_from_nonoverlapping(start, old.size()) };
        // SAFETY: the caller's promise; it has been moved away.
        unsafe { self.dealloc(start, old) };
        Ok(moved)
    }

    /// Makes an object smaller: in place, except that a large one may be moved to less memory.
    ///
    /// # Errors
    /// Where a large object has become small, or needs another alignment, and the memory to
    /// move it to cannot be had. The object is as it was.
    ///
    /// # Safety
    /// As for [`SharedPool::dealloc`], and `new.size() <= old.size()`. The object is at the
    /// returned address afterwards, its first `new.size()` bytes as they were.
    #[inline]
    pub unsafe fn try_shrink(
        &self,
        start: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<u8>, AllocError> {
        let state = self.state();
        let large = if old.size() != 0 && state.needs_large(old).is_none() {
            state.large_object(start)
        } else {
            None
        };
        let aligned = is_aligned(start, new);
        if aligned && large.is_none() {
            if old.size() != 0 {
                state.current().resize(start, old.size(), new.size());
            }
            return Ok(start);
        }
        // One that stays large stays where it is, unless that would waste half of it.
        let stays = aligned && state.needs_large(new).is_none();
        if stays
            && new.size() > old.size() / 2
            && let Some((whole, _)) = large
        {
            return Ok(whole);
        }
        let _inside = state.supply.inside();
        let moved = match (self.layout_in::<Hush>(new), large) {
            (Ok(moved), _) => moved,
            // Giving memory back must not fail for want of it, as long as it stays large.
            (Err(_), Some((whole, _))) if stays => return Ok(whole),
            (Err(error), _) => return Try::refuse(error),
        };
        // SAFETY: `new.size()` bytes at both, the caller's promise; the new ones are fresh.
        unsafe { moved.copy_from_nonoverlapping(start, new.size()) };
        // SAFETY: the caller's promise; it has been moved away.
        unsafe { self.dealloc(start, old) };
        Ok(moved)
    }
}

#[inline(always)]
fn is_aligned(start: NonNull<u8>, layout: Layout) -> bool {
    start.addr().get() & (layout.align() - 1) == 0
}

impl<S: BlockSource> SharedPool<S> {
    /// [`SharedPool::try_alloc_layout`] for what is refused without being told yet.
    fn hush_alloc(&self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
        self.layout_in::<Hush>(layout)
    }

    /// Likewise.
    ///
    /// # Safety
    /// As for [`SharedPool::try_grow`].
    unsafe fn hush_grow(
        &self,
        start: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<u8>, AllocError> {
        // SAFETY: the caller's promise, passed on.
        unsafe { self.grow_in::<Hush>(start, old, new) }
    }

    /// Gives back the end of an object, if it is the newest; whether it was.
    ///
    /// # Safety
    /// As for [`SharedPool::try_shrink`].
    unsafe fn trim_newest(&self, start: NonNull<u8>, old: Layout, size: usize) -> bool {
        old.size() != 0 && self.state().current().resize(start, old.size(), size)
    }
}

impl<S: BlockSource> Objects for SharedPool<S> {
    #[inline(always)]
    fn object(&self, layout: Layout) -> Option<NonNull<u8>> {
        self.layout_in::<Quiet>(layout).ok()
    }

    #[inline(always)]
    unsafe fn free_object(&self, start: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise is the same.
        unsafe { self.dealloc(start, layout) }
    }

    #[inline(always)]
    unsafe fn grow_object(
        &self,
        start: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Option<NonNull<u8>> {
        // SAFETY: the caller's promise is the same.
        unsafe { self.grow_in::<Quiet>(start, old, new) }.ok()
    }

    #[inline(always)]
    unsafe fn shrink_object(
        &self,
        start: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Option<NonNull<u8>> {
        // SAFETY: the caller's promise is the same.
        unsafe { self.try_shrink(start, old, new) }.ok()
    }
}

grows!(&SharedPool<S>);
grows!(SharedPool<S>);

/// A shared pool's memory as another pool's source, by a handle or a reference to one: blocks
/// are objects here. See [`SharedPool::scratch`].
// SAFETY: objects stay in place while there is a handle, as there is in the source. Nothing is told
// before the operation of the pool that stands on this one is over.
unsafe impl<S: BlockSource> BlockSource for SharedPool<S> {
    #[inline]
    fn acquire(&self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
        self.layout_in::<Hush>(layout)
    }

    #[inline]
    unsafe fn release(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise: it came from `acquire` with this layout.
        unsafe { self.dealloc(block, layout) }
    }
}
