//! Memory by layout, and objects that change size.

use super::ChunkPool;
use crate::error::{Hush, Mode, Must, Try, must};
use crate::{AllocError, BlockSource, debug};
use core::alloc::Layout;
use core::ptr::NonNull;

impl<S: BlockSource> ChunkPool<S> {
    /// Memory of this size and alignment, with whatever it held before; valid until it is
    /// freed, or the pool is reset or dropped. A layout without bytes gets a chunk as well.
    ///
    /// ```
    /// use cenote::ChunkPool;
    /// use std::alloc::Layout;
    /// let pool = ChunkPool::new();
    /// let layout = Layout::from_size_align(100, 64)?;
    /// let object = pool.alloc_layout(layout);
    /// assert_eq!(object.addr().get() % 64, 0);
    /// // SAFETY: from this pool with this layout, and not used any more.
    /// unsafe { pool.dealloc(object, layout) };
    /// # Ok::<(), std::alloc::LayoutError>(())
    /// ```
    ///
    /// # Panics
    /// Where [`ChunkPool::try_alloc_layout`] fails, but for want of system memory: then it
    /// aborts.
    #[inline(always)]
    pub fn alloc_layout(&self, layout: Layout) -> NonNull<u8> {
        must(self.take::<Must>(layout))
    }

    /// Memory of this size and alignment, with whatever it held before.
    ///
    /// # Errors
    /// Where the memory cannot be had, or the size is 2^32 - 1 bytes or more.
    #[inline(always)]
    pub fn try_alloc_layout(&self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
        self.take::<Try>(layout)
    }

    /// Zeroed memory of this size and alignment.
    ///
    /// # Panics
    /// Where [`ChunkPool::try_alloc_zeroed`] fails, but for want of system memory: then it
    /// aborts.
    #[inline]
    pub fn alloc_zeroed(&self, layout: Layout) -> NonNull<u8> {
        must(self.take_zeroed::<Must>(layout))
    }

    /// Zeroed memory of this size and alignment.
    ///
    /// # Errors
    /// Where the memory cannot be had, or the size is 2^32 - 1 bytes or more.
    #[inline]
    pub fn try_alloc_zeroed(&self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
        self.take_zeroed::<Try>(layout)
    }

    #[inline(always)]
    fn take_zeroed<M: Mode>(&self, layout: Layout) -> Result<NonNull<u8>, M::Error> {
        let start = self.take::<M>(layout)?;
        // SAFETY: fresh memory of that size.
        unsafe { start.write_bytes(0, layout.size()) };
        Ok(start)
    }

    /// Makes an object larger: in place if it is still one of its chunk's class, or large and
    /// its block has room; otherwise it is moved.
    ///
    /// # Errors
    /// Where the memory cannot be had. The object is as it was.
    ///
    /// # Safety
    /// As for [`ChunkPool::dealloc`], and `new.size() >= old.size()`. The object is at the
    /// returned address afterwards, its first `old.size()` bytes as they were.
    #[inline]
    pub unsafe fn try_grow(
        &self,
        start: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<u8>, AllocError> {
        if let Some(same) = self.same_chunk(start, old, new) {
            debug::grown(same, old.size().max(1), new.size().max(1));
            return Ok(same);
        }
        // SAFETY: the caller's promise, passed on.
        unsafe { self.move_or_stay(start, old, new) }
    }

    /// Makes an object smaller: in place if it is still one of its chunk's class, or large and
    /// not less than half of its block; otherwise it is moved.
    ///
    /// # Errors
    /// Where it is to be moved and the memory for it cannot be had. The object is as it was.
    ///
    /// # Safety
    /// As for [`ChunkPool::dealloc`], and `new.size() <= old.size()`. The object is at the
    /// returned address afterwards, its first `new.size()` bytes as they were.
    #[inline]
    pub unsafe fn try_shrink(
        &self,
        start: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<u8>, AllocError> {
        if let Some(same) = self.same_chunk(start, old, new) {
            debug::shrunk(same, old.size().max(1), new.size().max(1));
            return Ok(same);
        }
        // SAFETY: the caller's promise, passed on.
        unsafe { self.move_or_stay(start, old, new) }
    }

    /// The object's chunk, good for the whole of it, if both layouts are of its class.
    #[inline(always)]
    fn same_chunk(&self, start: NonNull<u8>, old: Layout, new: Layout) -> Option<NonNull<u8>> {
        let class = self.class_of(old)?;
        if class != self.class_of(new)? {
            return None;
        }
        let address = start.addr();
        let cluster = self.clusters.find(address.get() & self.geometry.mask)?;
        Some(cluster.start().with_addr(address))
    }

    /// # Safety
    /// As for [`ChunkPool::try_grow`], or [`ChunkPool::try_shrink`].
    #[inline(never)]
    unsafe fn move_or_stay(
        &self,
        start: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<u8>, AllocError> {
        let aligned = start.addr().get() & (new.align() - 1) == 0;
        let large = |layout: Layout| self.class_of(layout).is_none();
        let stays = if aligned && large(old) && large(new) {
            self.large.object(start).filter(|&(_, capacity)| new.size() <= capacity)
        } else {
            None
        };
        if let Some((same, capacity)) = stays
            && new.size() > capacity / 2
        {
            return Ok(same);
        }
        let _inside = self.supply.inside();
        let moved = match (self.take::<Hush>(new), stays) {
            (Ok(moved), _) => moved,
            // Giving memory back must not fail for want of it.
            (Err(_), Some((same, _))) => return Ok(same),
            (Err(error), None) => return Try::refuse(error),
        };
        // SAFETY: so many bytes at both, the caller's promise; the new ones are fresh.
        unsafe { moved.copy_from_nonoverlapping(start, old.size().min(new.size())) };
        // SAFETY: the caller's promise; it has been moved away.
        unsafe { self.dealloc(start, old) };
        Ok(moved)
    }
}
