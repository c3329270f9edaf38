//! Raw memory by layout, and objects that change size: what collections need.

use super::block::{at, fits};
use super::{CountedPool, dangling};
use crate::error::{Hush, Mode, Must, Quiet, Try, must};
use crate::pool::grows;
use crate::{AllocError, BlockSource, debug, size};
use core::alloc::Layout;
use core::ptr::NonNull;

impl<S: BlockSource> CountedPool<S> {
    #[inline(always)]
    fn zeroed_layout_in<M: Mode>(&self, layout: Layout) -> Result<NonNull<u8>, M::Error> {
        let start = self.bump_any::<M>(layout)?;
        // SAFETY: fresh memory of that size.
        unsafe { start.write_bytes(0, layout.size()) };
        Ok(start)
    }

    /// Memory of this size and alignment, with whatever it held before; valid until it is
    /// freed, or the pool is reset or dropped. A layout without bytes gives an aligned address
    /// of none, which is not to be freed by [`CountedPool::free`].
    ///
    /// ```
    /// use std::alloc::Layout;
    /// let pool = cenote::CountedPool::new();
    /// let layout = Layout::from_size_align(100, 512)?;
    /// let object = pool.alloc_layout(layout);
    /// assert_eq!(object.addr().get() % 512, 0);
    /// // SAFETY: of this pool and layout, and not used any more.
    /// unsafe { pool.dealloc(object, layout) };
    /// # Ok::<(), std::alloc::LayoutError>(())
    /// ```
    ///
    /// # Panics
    /// Where [`CountedPool::try_alloc_layout`] fails, but for want of system memory: then it
    /// aborts.
    #[inline(always)]
    pub fn alloc_layout(&self, layout: Layout) -> NonNull<u8> {
        must(self.bump::<Must>(layout))
    }

    /// Memory of this size and alignment, with whatever it held before.
    ///
    /// # Errors
    /// Where the memory cannot be had.
    #[inline(always)]
    pub fn try_alloc_layout(&self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
        self.bump::<Try>(layout)
    }

    /// [`CountedPool::try_alloc_layout`] for who has another way where it fails.
    #[inline(always)]
    pub(crate) fn hush_alloc(&self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
        self.bump::<Hush>(layout)
    }

    /// [`CountedPool::try_grow`] likewise.
    ///
    /// # Safety
    /// As for [`CountedPool::try_grow`].
    #[inline]
    pub(crate) unsafe fn hush_grow(
        &self,
        start: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<u8>, AllocError> {
        // SAFETY: the caller's promise, passed on.
        unsafe { self.grow_in::<Hush>(start, old, new) }
    }

    /// [`CountedPool::try_alloc_layout`] for callers that neither know the alignment when
    /// compiling nor want to know why it failed, as collections do not.
    #[inline(always)]
    pub(crate) fn quiet_alloc(&self, layout: Layout) -> Option<NonNull<u8>> {
        self.bump_any::<Quiet>(layout).ok()
    }

    /// Zeroed memory of this size and alignment.
    ///
    /// # Panics
    /// Where [`CountedPool::try_alloc_zeroed`] fails, but for want of system memory: then it
    /// aborts.
    #[inline(always)]
    pub fn alloc_zeroed(&self, layout: Layout) -> NonNull<u8> {
        must(self.zeroed_layout_in::<Must>(layout))
    }

    /// Zeroed memory of this size and alignment.
    ///
    /// # Errors
    /// Where the memory cannot be had.
    #[inline(always)]
    pub fn try_alloc_zeroed(&self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
        self.zeroed_layout_in::<Try>(layout)
    }

    /// [`CountedPool::alloc_packed`]: any number of bytes may be asked for, and only one that a
    /// layout may have is looked for in the window.
    #[inline(always)]
    fn packed_in<M: Mode>(&self, size: usize) -> Result<NonNull<u8>, M::Error> {
        if size > size::MAX {
            return M::fail(AllocError::too_large(size));
        }
        self.bump_bytes::<M>(size)
    }

    /// `size` bytes of no alignment, packed without padding, with whatever they held before.
    /// Their layout is one of alignment 1.
    ///
    /// ```
    /// let pool = cenote::CountedPool::new();
    /// let (one, two) = (pool.alloc_packed(3), pool.alloc_packed(5));
    /// assert_eq!(two.addr().get() + 5, one.addr().get());
    /// for object in [one, two] {
    ///     // SAFETY: an object of this pool that nothing refers to.
    ///     assert!(unsafe { pool.free(object) }.is_ok());
    /// }
    /// ```
    ///
    /// # Panics
    /// Where [`CountedPool::try_alloc_packed`] fails, but for want of system memory: then it
    /// aborts.
    #[inline(always)]
    pub fn alloc_packed(&self, size: usize) -> NonNull<u8> {
        must(self.packed_in::<Must>(size))
    }

    /// `size` bytes of no alignment, packed without padding, with whatever they held before.
    ///
    /// # Errors
    /// Where the memory cannot be had.
    #[inline(always)]
    pub fn try_alloc_packed(&self, size: usize) -> Result<NonNull<u8>, AllocError> {
        self.packed_in::<Try>(size)
    }

    /// Makes an object larger: in place if it is the newest of the current block and that has
    /// room, or large and its allocation has; otherwise it is moved.
    ///
    /// # Errors
    /// Where the memory cannot be had. The object is as it was.
    ///
    /// # Safety
    /// As for [`CountedPool::dealloc`], and `new.size() >= old.size()`. The object is at the
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

    /// [`CountedPool::try_grow`] without the reason for a failure.
    ///
    /// # Safety
    /// As for [`CountedPool::try_grow`].
    #[inline(always)]
    pub(crate) unsafe fn quiet_grow(
        &self,
        start: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Option<NonNull<u8>> {
        // SAFETY: the caller's promise, passed on.
        unsafe { self.grow_in::<Quiet>(start, old, new) }.ok()
    }

    /// # Safety
    /// As for [`CountedPool::try_grow`].
    #[inline(always)]
    unsafe fn grow_in<M: Mode>(
        &self,
        start: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<u8>, M::Error> {
        if is_aligned(start, new) && old.size() != 0 && self.resize_newest(start, old, new.size()) {
            // The pool's own pointer: the caller's may be good for the old size only.
            let same = at(self.last.get(), start.addr().get());
            debug::grown(same, old.size(), new.size());
            return Ok(same);
        }
        // SAFETY: the caller's promise, passed on.
        unsafe { self.grow_cold::<M>(start, old, new) }
    }

    /// # Safety
    /// As for [`CountedPool::try_grow`].
    #[cold]
    #[inline(never)]
    unsafe fn grow_cold<M: Mode>(
        &self,
        start: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<u8>, M::Error> {
        // An object is large if its layout says so, so it must not become small, or large, in
        // place.
        let large = |layout| !fits(self.page(), layout);
        if is_aligned(start, new)
            && large(old)
            && large(new)
            && let Some((same, capacity)) = self.large.object(start)
            && new.size() <= capacity
        {
            return Ok(same);
        }
        let _inside = self.supply.inside();
        let moved = self.bump_any::<M>(new)?;
        // SAFETY: `old.size()` bytes at both, the caller's promise; the new ones are fresh.
        unsafe { moved.copy_from_nonoverlapping(start, old.size()) };
        // SAFETY: the caller's promise; it has been moved away.
        unsafe { self.dealloc(start, old) };
        Ok(moved)
    }

    /// Makes an object smaller: in place, unless a large one becomes much smaller or small, or
    /// the alignment asks for another place. Where it is the newest of the current block, the
    /// rest comes back.
    ///
    /// # Errors
    /// Where it has to be moved, and the memory to move it to cannot be had. The object is as
    /// it was.
    ///
    /// # Safety
    /// As for [`CountedPool::dealloc`], and `new.size() <= old.size()`. The object is at the
    /// returned address afterwards, its first `new.size()` bytes as they were.
    #[inline]
    pub unsafe fn try_shrink(
        &self,
        start: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<u8>, AllocError> {
        if new.size() == 0 {
            // SAFETY: the caller's promise.
            unsafe { self.dealloc(start, old) };
            return Ok(dangling(new.align()));
        }
        let large = |layout| !fits(self.page(), layout);
        if is_aligned(start, new) && large(old) == large(new) {
            if !large(new) {
                if self.resize_newest(start, old, new.size()) {
                    debug::shrunk(start, old.size(), new.size());
                }
                return Ok(start);
            }
            if new.size() > old.size() / 2 {
                return Ok(start);
            }
        }
        let _inside = self.supply.inside();
        let moved = match self.bump_any::<Hush>(new) {
            Ok(moved) => moved,
            // A large object may stay one: giving memory back must not fail for want of it.
            Err(_) if is_aligned(start, new) && large(old) && large(new) => return Ok(start),
            Err(error) => return Try::refuse(error),
        };
        // SAFETY: `new.size()` bytes at both, the caller's promise; the new ones are fresh.
        unsafe { moved.copy_from_nonoverlapping(start, new.size()) };
        // SAFETY: the caller's promise; it has been moved away.
        unsafe { self.dealloc(start, old) };
        Ok(moved)
    }

    /// Gives back the end of an object, if it is the newest; whether it was.
    ///
    /// # Safety
    /// As for [`CountedPool::try_shrink`], and `size` is not 0.
    unsafe fn trim_newest(&self, start: NonNull<u8>, old: Layout, size: usize) -> bool {
        let trimmed = size != 0 && self.resize_newest(start, old, size);
        if trimmed {
            debug::shrunk(start, old.size(), size);
        }
        trimmed
    }

    /// Moves the window behind the newest object to the size that it is to have; `false` where
    /// it is not the newest, or there is no room.
    #[inline(always)]
    fn resize_newest(&self, start: NonNull<u8>, old: Layout, size: usize) -> bool {
        let (last, end) = self.window();
        let (from, to) = (last.addr().get(), end.addr().get());
        match debug::resize_newest(from, to, start.addr().get(), old.size(), size) {
            Some(next) => {
                self.last.set(at(last, next));
                true
            }
            None => false,
        }
    }
}

grows!(&CountedPool<S>);

#[inline(always)]
fn is_aligned(start: NonNull<u8>, layout: Layout) -> bool {
    start.addr().get() & (layout.align() - 1) == 0
}
