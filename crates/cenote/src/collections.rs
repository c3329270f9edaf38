//! Pools as allocators for collections, by each of the allocator traits there are.
//!
//! Only a reference to a pool is an allocator, never an owned pool: an allocator must stay
//! valid while the collection is moved about, and no second owner may reset it. A handle of a
//! shared pool is one, too: its memory stays in place as long as there is a handle, wherever
//! that is moved, and there is no reset.
//!
//! A pool implements [`Objects`] once; the traits are derived from it here. They report only
//! that there is no memory, not why, so failures are plain `None`: that fits a register.

use core::alloc::Layout;
use core::ptr::NonNull;

/// What a collection needs of a pool.
#[cfg_attr(
    not(any(feature = "allocator-api2", feature = "allocator-api2-04", cenote_allocator)),
    allow(dead_code, reason = "without an allocator trait there are no collections")
)]
pub(crate) trait Objects {
    /// Memory of this layout.
    fn object(&self, layout: Layout) -> Option<NonNull<u8>>;

    /// Zeroed memory of this layout.
    #[inline(always)]
    fn zeroed_object(&self, layout: Layout) -> Option<NonNull<u8>> {
        let start = self.object(layout)?;
        // SAFETY: fresh memory of that size.
        unsafe { start.write_bytes(0, layout.size()) };
        Some(start)
    }

    /// Frees an object.
    ///
    /// # Safety
    /// `start` came from this pool with this layout, and is not used any more.
    unsafe fn free_object(&self, start: NonNull<u8>, layout: Layout);

    /// Makes an object larger, keeping its contents; `None` leaves it as it is.
    ///
    /// # Safety
    /// As for [`Objects::free_object`], with `old`; `new.size() >= old.size()`.
    unsafe fn grow_object(
        &self,
        start: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Option<NonNull<u8>>;

    /// Makes an object smaller, keeping its contents; `None` leaves it as it is.
    ///
    /// # Safety
    /// As for [`Objects::free_object`], with `old`; `new.size() <= old.size()`.
    unsafe fn shrink_object(
        &self,
        start: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Option<NonNull<u8>>;
}

impl<S: crate::BlockSource> Objects for crate::Pool<S> {
    #[inline(always)]
    fn object(&self, layout: Layout) -> Option<NonNull<u8>> {
        self.quiet_alloc(layout)
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
        unsafe { self.quiet_grow(start, old, new) }
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

/// Objects without bytes take no chunk here: there are collections that free what they never
/// allocated, if it has none.
impl<S: crate::BlockSource> Objects for crate::ChunkPool<S> {
    #[inline(always)]
    fn object(&self, layout: Layout) -> Option<NonNull<u8>> {
        if layout.size() == 0 {
            return NonNull::new(core::ptr::without_provenance_mut(layout.align()));
        }
        self.quiet_alloc(layout)
    }

    #[inline(always)]
    unsafe fn free_object(&self, start: NonNull<u8>, layout: Layout) {
        if layout.size() != 0 {
            // SAFETY: the caller's promise is the same.
            unsafe { self.dealloc(start, layout) }
        }
    }

    #[inline]
    unsafe fn grow_object(
        &self,
        start: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Option<NonNull<u8>> {
        if old.size() == 0 {
            return self.object(new);
        }
        // SAFETY: the caller's promise is the same.
        unsafe { self.try_grow(start, old, new) }.ok()
    }

    #[inline]
    unsafe fn shrink_object(
        &self,
        start: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Option<NonNull<u8>> {
        if new.size() == 0 {
            // SAFETY: the caller's promise is the same.
            unsafe { self.free_object(start, old) };
            return self.object(new);
        }
        // SAFETY: the caller's promise is the same.
        unsafe { self.try_shrink(start, old, new) }.ok()
    }
}

impl<S: crate::BlockSource> Objects for crate::CountedPool<S> {
    #[inline(always)]
    fn object(&self, layout: Layout) -> Option<NonNull<u8>> {
        self.quiet_alloc(layout)
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
        unsafe { self.quiet_grow(start, old, new) }
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

/// The three traits have the same methods under different paths.
#[cfg(any(feature = "allocator-api2", feature = "allocator-api2-04", cenote_allocator))]
macro_rules! implement_allocator {
    ($($path:ident)::+ for $pool:ty) => {
        // SAFETY: memory stays where it is, and is nobody else's, until it is deallocated or
        // the pool is reset or dropped, which the borrow (or the handle) excludes; copies of
        // the reference (clones of the handle) are the same pool. Grown and shrunk objects keep their contents.
        unsafe impl<S: crate::BlockSource> $($path)::+::Allocator for $pool {
            #[inline]
            fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, $($path)::+::AllocError> {
                sized(self.object(layout), layout.size()).ok_or($($path)::+::AllocError)
            }

            #[inline]
            fn allocate_zeroed(
                &self,
                layout: Layout,
            ) -> Result<NonNull<[u8]>, $($path)::+::AllocError> {
                sized(self.zeroed_object(layout), layout.size()).ok_or($($path)::+::AllocError)
            }

            #[inline]
            unsafe fn deallocate(&self, start: NonNull<u8>, layout: Layout) {
                // SAFETY: the caller's promise is the same.
                unsafe { self.free_object(start, layout) }
            }

            #[inline]
            unsafe fn grow(
                &self,
                start: NonNull<u8>,
                old: Layout,
                new: Layout,
            ) -> Result<NonNull<[u8]>, $($path)::+::AllocError> {
                // SAFETY: the caller's promise is the same.
                let grown = unsafe { self.grow_object(start, old, new) };
                sized(grown, new.size()).ok_or($($path)::+::AllocError)
            }

            #[inline]
            unsafe fn shrink(
                &self,
                start: NonNull<u8>,
                old: Layout,
                new: Layout,
            ) -> Result<NonNull<[u8]>, $($path)::+::AllocError> {
                // SAFETY: the caller's promise is the same.
                let shrunk = unsafe { self.shrink_object(start, old, new) };
                sized(shrunk, new.size()).ok_or($($path)::+::AllocError)
            }
        }
    };
}

#[cfg(any(feature = "allocator-api2", feature = "allocator-api2-04", cenote_allocator))]
#[inline(always)]
fn sized(start: Option<NonNull<u8>>, size: usize) -> Option<NonNull<[u8]>> {
    start.map(|start| NonNull::slice_from_raw_parts(start, size))
}

#[cfg(feature = "allocator-api2")]
implement_allocator!(allocator_api2::alloc for &crate::Pool<S>);
#[cfg(feature = "allocator-api2")]
implement_allocator!(allocator_api2::alloc for &crate::CountedPool<S>);
#[cfg(feature = "allocator-api2")]
implement_allocator!(allocator_api2::alloc for &crate::ChunkPool<S>);
#[cfg(feature = "allocator-api2")]
implement_allocator!(allocator_api2::alloc for crate::SharedPool<S>);

#[cfg(feature = "allocator-api2-04")]
implement_allocator!(allocator_api2_04::alloc for &crate::Pool<S>);
#[cfg(feature = "allocator-api2-04")]
implement_allocator!(allocator_api2_04::alloc for &crate::CountedPool<S>);
#[cfg(feature = "allocator-api2-04")]
implement_allocator!(allocator_api2_04::alloc for &crate::ChunkPool<S>);
#[cfg(feature = "allocator-api2-04")]
implement_allocator!(allocator_api2_04::alloc for crate::SharedPool<S>);

#[cfg(cenote_allocator)]
implement_allocator!(alloc::alloc for &crate::Pool<S>);
#[cfg(cenote_allocator)]
implement_allocator!(alloc::alloc for &crate::CountedPool<S>);
#[cfg(cenote_allocator)]
implement_allocator!(alloc::alloc for &crate::ChunkPool<S>);
#[cfg(cenote_allocator)]
implement_allocator!(alloc::alloc for crate::SharedPool<S>);
// SAFETY: a clone is a handle of the same pool, whose objects stay in place as long as there is one;
// to make one does not unwind.
#[cfg(cenote_allocator_clone)]
unsafe impl<S: crate::BlockSource> alloc::alloc::AllocatorClone for crate::SharedPool<S> {}

/// A pool's memory as another pool's source: its blocks are objects here. A block given back
/// joins what is free here at once if it is large or the newest, otherwise at the reset.
// SAFETY: objects stay in place while the pool is borrowed, as it is by the source. Nothing is told
// before the operation of the pool that stands on this one is over.
unsafe impl<S: crate::BlockSource> crate::BlockSource for crate::Pool<S> {
    #[inline]
    fn acquire(&self, layout: Layout) -> Result<NonNull<u8>, crate::AllocError> {
        self.hush_alloc(layout)
    }

    #[inline]
    unsafe fn release(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise: it came from `acquire` with this layout.
        unsafe { self.dealloc(block, layout) }
    }
}

/// A counted pool's memory as another pool's source: its blocks are objects here. Those that
/// do not fit into a page here are large, and go back at once; the others when the page that
/// they are in is empty.
// SAFETY: objects stay in place while the pool is borrowed, as it is by the source. Nothing is told
// before the operation of the pool that stands on this one is over.
unsafe impl<S: crate::BlockSource> crate::BlockSource for crate::CountedPool<S> {
    #[inline]
    fn acquire(&self, layout: Layout) -> Result<NonNull<u8>, crate::AllocError> {
        self.hush_alloc(layout)
    }

    #[inline]
    unsafe fn release(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise: it came from `acquire` with this layout.
        unsafe { self.dealloc(block, layout) }
    }
}
