//! Raw memory by layout, and objects that are freed or change size: what collections need.

use super::{Pool, at, dangling};
use crate::error::{Hush, Mode, Must, Quiet, Try, must};
use crate::window::MIN_ALIGN;
use crate::{AllocError, BlockSource, Blocks, debug, size};
use core::alloc::Layout;
use core::ptr::NonNull;

/// The room of an object above this is noted as needed when it is freed: vectors are, before a
/// reset can see how far they went.
const NOTED: usize = 4096;

impl<S: BlockSource> Pool<S> {
    #[inline(always)]
    fn layout_in<M: Mode>(&self, layout: Layout) -> Result<NonNull<u8>, M::Error> {
        // Or the way to an address that is aligned so would be lost. The alignment comes first,
        // since that is usually known when compiling.
        if layout.align() > MIN_ALIGN && layout.size() == 0 {
            return Ok(dangling(layout));
        }
        self.bump::<M>(layout.size(), layout.align())
    }

    #[inline(always)]
    fn zeroed_layout_in<M: Mode>(&self, layout: Layout) -> Result<NonNull<u8>, M::Error> {
        let start = self.layout_in::<M>(layout)?;
        // SAFETY: fresh memory of that size.
        unsafe { start.write_bytes(0, layout.size()) };
        Ok(start)
    }

    /// Memory of this size and alignment, with whatever it held before; valid until the pool
    /// is reset or dropped. A layout without bytes gives an aligned address, which may also be
    /// that of something else.
    ///
    /// ```
    /// use std::alloc::Layout;
    /// let pool = cenote::Pool::new();
    /// let page = pool.alloc_layout(Layout::from_size_align(100, 4096)?);
    /// assert_eq!(page.addr().get() % 4096, 0);
    /// # Ok::<(), std::alloc::LayoutError>(())
    /// ```
    ///
    /// # Panics
    /// Where [`Pool::try_alloc_layout`] fails, but for want of system memory: then it aborts.
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

    /// [`Pool::try_alloc_layout`] for who has another way where it fails.
    #[inline(always)]
    pub(crate) fn hush_alloc(&self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
        self.layout_in::<Hush>(layout)
    }

    /// [`Pool::try_grow`] likewise.
    ///
    /// # Safety
    /// As for [`Pool::try_grow`].
    #[inline]
    pub(crate) unsafe fn hush_grow(
        &self,
        start: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<u8>, AllocError> {
        // SAFETY: the caller's promise, passed on.
        match unsafe { self.grow_newest(start, old, new) } {
            Some(same) => Ok(same),
            // SAFETY: likewise.
            None => unsafe { self.grow_cold::<Hush>(start, old, new) },
        }
    }

    /// [`Pool::try_alloc_layout`] for callers that neither know the alignment when compiling
    /// nor want to know why it failed, as collections do not.
    #[inline(always)]
    pub(crate) fn quiet_alloc(&self, layout: Layout) -> Option<NonNull<u8>> {
        if let Some(start) = self.place_any(layout) {
            return Some(start);
        }
        let mut start = NonNull::dangling();
        self.alloc_quietly(layout, &mut start).then_some(start)
    }

    /// [`Pool::quiet_alloc`] where the current block has no room. By way of memory, as
    /// [`Pool::grow_quietly`].
    #[cold]
    #[inline(never)]
    fn alloc_quietly(&self, layout: Layout, start: &mut NonNull<u8>) -> bool {
        let outcome = self.bump_any::<Quiet>(layout);
        if let Ok(found) = outcome {
            *start = found;
        }
        outcome.is_ok()
    }

    /// [`Pool::try_alloc_layout`] where the current block has room and what is free of it begins
    /// aligned so, and `None`, with nothing changed, where not: the part that a binding has among
    /// its own few instructions. Where all sizes are multiples of one alignment, that is the usual
    /// case, and the rounding is off the way from one object to the next.
    #[doc(hidden)]
    #[inline(always)]
    pub fn alloc_in_window(&self, layout: Layout) -> Option<NonNull<u8>> {
        let (last, end) = self.window();
        let (from, to) = (last.addr().get(), end.addr().get());
        if from & (layout.align() - 1) != 0 {
            return None;
        }
        let fit = debug::fit_up(from, to, layout.size(), MIN_ALIGN)?;
        Some(self.accept(last, fit, layout.size()))
    }

    /// Where the window's two ends are in a pool's value, in bytes: for bindings that place objects
    /// in it by themselves, as [`Pool::alloc_in_window`] does.
    #[doc(hidden)]
    pub const WINDOW: [usize; 2] =
        [core::mem::offset_of!(Self, last), core::mem::offset_of!(Self, end)];

    /// `size` bytes without alignment where the current block has room, and `None`, with nothing
    /// changed, where not, or where that is no size of an object, or 0: as
    /// [`Pool::alloc_in_window`].
    #[doc(hidden)]
    #[inline(always)]
    pub fn alloc_bytes_in_window(&self, size: usize) -> Option<NonNull<u8>> {
        if size.wrapping_sub(1) >= size::MAX {
            return None;
        }
        let (last, end) = self.window();
        let start = at(end, debug::fit_down(last.addr().get(), end.addr().get(), size)?);
        self.end.set(start);
        debug::placed(start, size);
        Some(start)
    }

    /// Zeroed memory of this size and alignment.
    ///
    /// # Panics
    /// Where [`Pool::try_alloc_zeroed`] fails, but for want of system memory: then it aborts.
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

    /// Frees one object early: a large one goes back to the source, the newest one to the
    /// block. Any other stays until the reset, and nothing happens.
    ///
    /// # Safety
    /// `start` came from this pool with this layout (`layout` being what it was last grown or
    /// shrunk to), and nothing uses it any more.
    #[inline]
    pub unsafe fn dealloc(&self, start: NonNull<u8>, layout: Layout) {
        let size = layout.size();
        if size == 0 {
            return;
        }
        if self.may_be_large(layout) && self.large.dealloc(&self.supply, start) {
            return;
        }
        debug::freeing(start, size);
        let (last, end) = self.window();
        if debug::resize_newest(last.addr().get(), end.addr().get(), start.addr().get(), size, 0)
            .is_some()
        {
            if size > NOTED {
                self.note_needed();
            }
            self.last.set(at(last, start.addr().get()));
        } else if start == end {
            // The newest of the packed bytes. Of what else can lie right at the window's end,
            // where the block's memory ends, a large object was seen to above, and another
            // block begins with its header.
            self.end.set(at(end, debug::top_after(start.addr().get(), size)));
        }
        debug::freed(start, size);
    }

    /// Frees a large object, by its address alone; `false` where there is none of this pool
    /// at that address (a small object, another pool's, one freed already), and nothing
    /// happens. The time it takes does not depend on how many are live.
    ///
    /// # Safety
    /// Nothing uses the object at `start` any more. It has bytes: the address of one that has none,
    /// such as an empty slice, may also be that of a large object, which would be freed.
    ///
    /// ```
    /// use std::alloc::Layout;
    /// let pool = cenote::Pool::new();
    /// let object = pool.alloc_layout(Layout::new::<[u8; 100_000]>());
    /// // SAFETY: nothing refers to it.
    /// assert!(unsafe { pool.free_large(object) });
    /// // SAFETY: likewise; it is not there any more.
    /// assert!(!unsafe { pool.free_large(object) });
    /// ```
    pub unsafe fn free_large(&self, start: NonNull<u8>) -> bool {
        self.large.free(&self.supply, start)
    }

    /// Makes an object larger: in place if it is the newest and the block has room, or large
    /// and its allocation has; otherwise it is moved.
    ///
    /// # Errors
    /// Where the memory cannot be had. The object is as it was.
    ///
    /// # Safety
    /// As for [`Pool::dealloc`], and `new.size() >= old.size()`. The object is at the returned
    /// address afterwards, its first `old.size()` bytes as they were.
    #[inline]
    pub unsafe fn try_grow(
        &self,
        start: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<u8>, AllocError> {
        // SAFETY: the caller's promise, passed on.
        if let Some(same) = unsafe { self.grow_newest(start, old, new) } {
            return Ok(same);
        }
        let mut outcome = Ok(start);
        // SAFETY: the caller's promise, passed on.
        unsafe { self.grow_telling(start, old, new, &mut outcome) };
        outcome
    }

    /// The rest of [`Pool::try_grow`]. By way of memory that comes last, or each growth would
    /// begin with its arguments moved up by one.
    ///
    /// # Safety
    /// As for [`Pool::try_grow`].
    #[cold]
    #[inline(never)]
    unsafe fn grow_telling(
        &self,
        start: NonNull<u8>,
        old: Layout,
        new: Layout,
        outcome: &mut Result<NonNull<u8>, AllocError>,
    ) {
        // SAFETY: the caller's promise, passed on.
        *outcome = unsafe { self.grow_cold::<Try>(start, old, new) };
    }

    /// [`Pool::try_grow`] without the reason for a failure.
    ///
    /// # Safety
    /// As for [`Pool::try_grow`].
    #[inline(always)]
    pub(crate) unsafe fn quiet_grow(
        &self,
        start: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Option<NonNull<u8>> {
        let mut grown = NonNull::dangling();
        // SAFETY: the caller's promise, passed on.
        let is_grown = unsafe { self.grow_quietly(start, old, new, &mut grown) };
        is_grown.then_some(grown)
    }

    /// [`Pool::quiet_grow`], apart from the loop that fills a vector: a vector grows once for as
    /// many elements as it has, and so all of the loop's values stay in registers.
    ///
    /// By way of memory (`false`: it failed), for the same reason: with the address in the
    /// register that a call returns, the loop would keep it twice, and copy it from one register
    /// to the other and back for each element.
    ///
    /// # Safety
    /// As for [`Pool::try_grow`].
    #[cold]
    #[inline(never)]
    unsafe fn grow_quietly(
        &self,
        start: NonNull<u8>,
        old: Layout,
        new: Layout,
        grown: &mut NonNull<u8>,
    ) -> bool {
        // SAFETY: the caller's promise, passed on.
        let outcome = match unsafe { self.grow_newest(start, old, new) } {
            Some(same) => Ok(same),
            // SAFETY: likewise.
            None => unsafe { self.grow_cold::<Quiet>(start, old, new) },
        };
        if let Ok(start) = outcome {
            *grown = start;
        }
        outcome.is_ok()
    }

    /// The part of [`Pool::try_grow`] that moves nothing: `None`, with nothing changed, where the
    /// object is not the newest, or there is no room.
    ///
    /// # Safety
    /// As for [`Pool::try_grow`].
    #[doc(hidden)]
    #[inline(always)]
    pub unsafe fn grow_newest(
        &self,
        start: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Option<NonNull<u8>> {
        let (last, end) = self.window();
        let address = start.addr().get();
        if address & (new.align() - 1) != 0 || old.size() == 0 {
            return None;
        }
        let (from, to) = (last.addr().get(), end.addr().get());
        let next = debug::resize_newest(from, to, address, old.size(), new.size())?;
        self.last.set(at(last, next));
        debug::grown(start, old.size(), new.size());
        // The pool's own pointer: the caller's may be good for the old size only.
        // SAFETY: the object is the newest, so that far below the window, in the same block.
        Some(unsafe { last.sub(debug::taken(old.size())) })
    }

    /// # Safety
    /// As for [`Pool::try_grow`].
    #[cold]
    #[inline(never)]
    unsafe fn grow_cold<M: Mode>(
        &self,
        start: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<u8>, M::Error> {
        // SAFETY: the caller's promise, passed on.
        unsafe { self.grow_cold_as::<M>(start, old, new, self.may_be_large(old)) }
    }

    /// [`Pool::grow_cold`] for an object that is looked for among the large ones, or not.
    ///
    /// # Safety
    /// As for [`Pool::try_grow`]; the object is large only where `large` says that it may be.
    #[inline(always)]
    pub(super) unsafe fn grow_cold_as<M: Mode>(
        &self,
        start: NonNull<u8>,
        old: Layout,
        new: Layout,
        large: bool,
    ) -> Result<NonNull<u8>, M::Error> {
        let _inside = self.supply.inside();
        let outgrown = self.needs_large(new).is_none();
        let room = if outgrown { self.grown.room_for(new.size()) } else { new.size() };
        if start.addr().get() & (new.align() - 1) == 0
            && large
            // Or it would be taken for a small one later, with its layout of then.
            && outgrown
            && let Some((whole, capacity)) = self.large.object(start)
            && new.size() <= capacity
        {
            // The pool's own pointer: the caller's may be good for the old size only.
            return Ok(whole);
        }
        if large
            && outgrown
            && self.grows_alone(new)
            && let Some(grown) = self.large.grow(&self.supply, start, new)
        {
            return Ok(grown);
        }
        let before = self.active.get();
        let roomy = if room > new.size() && self.supply.may_guess(room) {
            self.large.alloc_roomy(&self.supply, new, room)
        } else {
            None
        };
        let moved = match roomy {
            Some(moved) => moved,
            None => self.bump_any::<M>(new)?,
        };
        // SAFETY: `old.size()` bytes at both, the caller's promise; the new ones are fresh.
        unsafe { moved.copy_from_nonoverlapping(start, old.size()) };
        if large && self.large.free(&self.supply, start) {
            return Ok(moved);
        }
        if self.active.get() == before {
            // SAFETY: the caller's promise; it has been moved away.
            unsafe { self.dealloc(start, old) };
        } else if let Some(block) = self.block(before) {
            // The window has moved on to another block; what was the newest object of the one
            // before leaves its room to later ones.
            let (last, end) = block.window();
            if old.size() != 0 {
                if start.addr().get() + debug::taken(old.size()) == last.addr().get() {
                    block.set_window(at(last, start.addr().get()), end);
                }
                debug::freed(start, old.size());
            }
        }
        Ok(moved)
    }

    /// Makes an object smaller: in place, except that a large one may be moved to less memory.
    ///
    /// # Errors
    /// Where a large object has become small, or needs another alignment, and the memory to
    /// move it to cannot be had. The object is as it was.
    ///
    /// # Safety
    /// As for [`Pool::dealloc`], and `new.size() <= old.size()`. The object is at the returned
    /// address afterwards, its first `new.size()` bytes as they were.
    #[inline]
    pub unsafe fn try_shrink(
        &self,
        start: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<u8>, AllocError> {
        let aligned = start.addr().get() & (new.align() - 1) == 0;
        let large = if self.may_be_large(old) { self.large.object(start) } else { None };
        if aligned && large.is_none() {
            // SAFETY: the caller's promise, passed on.
            unsafe { self.trim_newest(start, old, new.size()) };
            return Ok(start);
        }
        if aligned
            && self.needs_large(new).is_none()
            && let Some((whole, capacity)) = large
            && new.size() > capacity / 2
        {
            return Ok(whole);
        }
        let _inside = self.supply.inside();
        let moved = match (self.layout_in::<Hush>(new), large) {
            (Ok(moved), _) => moved,
            // Giving memory back must not fail for want of it, as long as it stays large.
            (Err(_), Some((whole, _))) if aligned && self.needs_large(new).is_none() => {
                return Ok(whole);
            }
            (Err(error), _) => return Try::refuse(error),
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
    /// As for [`Pool::try_shrink`].
    #[inline]
    pub(crate) unsafe fn trim_newest(&self, start: NonNull<u8>, old: Layout, size: usize) -> bool {
        let (last, end) = self.window();
        let (from, to) = (last.addr().get(), end.addr().get());
        if old.size() != 0
            && let Some(next) = debug::resize_newest(from, to, start.addr().get(), old.size(), size)
        {
            self.last.set(at(last, next));
            debug::shrunk(start, old.size(), size);
            return true;
        }
        false
    }

    /// Whether an object that becomes so large is to grow without another one beside it, where
    /// that can be: caches have nothing as large, or a limit leaves no room for both.
    fn grows_alone(&self, new: Layout) -> bool {
        new.size() > Blocks::LARGEST || self.supply.headroom() < self.supply.fit(new)
    }

    /// Whether an object of this layout may be among the large ones; if not, it is not. One
    /// without bytes is not, whatever its address is also the address of.
    #[inline(always)]
    fn may_be_large(&self, layout: Layout) -> bool {
        layout.size() != 0 && !self.large.is_empty() && self.needs_large(layout).is_none()
    }
}
