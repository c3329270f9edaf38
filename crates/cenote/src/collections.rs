//! `&Pool` as an allocator for collections, by each of the allocator traits there are.
//!
//! Only the reference is an allocator, never an owned pool: an allocator must stay valid while
//! the collection is moved about, and no second owner may reset it.

/// The three traits have the same methods under different paths.
#[cfg(any(feature = "allocator-api2", feature = "allocator-api2-04", feature = "nightly"))]
macro_rules! implement_allocator {
    ($($path:ident)::+) => {
        // SAFETY: memory stays where it is, and is nobody else's, until it is deallocated or
        // the pool is reset or dropped, which the borrow excludes; copies of the reference
        // are the same pool. Grown and shrunk objects keep their contents.
        unsafe impl<S: crate::BlockSource> $($path)::+::Allocator for &crate::Pool<S> {
            #[inline]
            fn allocate(
                &self,
                layout: core::alloc::Layout,
            ) -> Result<core::ptr::NonNull<[u8]>, $($path)::+::AllocError> {
                sized(self.try_alloc_any(layout), layout.size())
                    .map_err(|_| $($path)::+::AllocError)
            }

            #[inline]
            fn allocate_zeroed(
                &self,
                layout: core::alloc::Layout,
            ) -> Result<core::ptr::NonNull<[u8]>, $($path)::+::AllocError> {
                sized(self.try_alloc_zeroed(layout), layout.size())
                    .map_err(|_| $($path)::+::AllocError)
            }

            #[inline]
            unsafe fn deallocate(&self, start: core::ptr::NonNull<u8>, layout: core::alloc::Layout) {
                // SAFETY: the caller's promise is the same.
                unsafe { self.dealloc(start, layout) }
            }

            #[inline]
            unsafe fn grow(
                &self,
                start: core::ptr::NonNull<u8>,
                old: core::alloc::Layout,
                new: core::alloc::Layout,
            ) -> Result<core::ptr::NonNull<[u8]>, $($path)::+::AllocError> {
                // SAFETY: the caller's promise is the same.
                sized(unsafe { self.try_grow(start, old, new) }, new.size())
                    .map_err(|_| $($path)::+::AllocError)
            }

            #[inline]
            unsafe fn shrink(
                &self,
                start: core::ptr::NonNull<u8>,
                old: core::alloc::Layout,
                new: core::alloc::Layout,
            ) -> Result<core::ptr::NonNull<[u8]>, $($path)::+::AllocError> {
                // SAFETY: the caller's promise is the same.
                sized(unsafe { self.try_shrink(start, old, new) }, new.size())
                    .map_err(|_| $($path)::+::AllocError)
            }
        }
    };
}

#[cfg(any(feature = "allocator-api2", feature = "allocator-api2-04", feature = "nightly"))]
#[inline(always)]
fn sized(
    start: Result<core::ptr::NonNull<u8>, crate::AllocError>,
    size: usize,
) -> Result<core::ptr::NonNull<[u8]>, crate::AllocError> {
    start.map(|start| core::ptr::NonNull::slice_from_raw_parts(start, size))
}

#[cfg(feature = "allocator-api2")]
implement_allocator!(allocator_api2::alloc);

#[cfg(feature = "allocator-api2-04")]
implement_allocator!(allocator_api2_04::alloc);

#[cfg(feature = "nightly")]
implement_allocator!(alloc::alloc);

/// A pool's memory as another pool's source: its blocks are objects here. A block given back
/// joins what is free here at once if it is large or the newest, otherwise at the reset.
// SAFETY: objects stay in place while the pool is borrowed, as it is by the source.
unsafe impl<S: crate::BlockSource> crate::BlockSource for crate::Pool<S> {
    #[inline]
    fn acquire(
        &self,
        layout: core::alloc::Layout,
    ) -> Result<core::ptr::NonNull<u8>, crate::AllocError> {
        self.try_alloc_any(layout)
    }

    #[inline]
    unsafe fn release(&self, block: core::ptr::NonNull<u8>, layout: core::alloc::Layout) {
        // SAFETY: the caller's promise: it came from `acquire` with this layout.
        unsafe { self.dealloc(block, layout) }
    }
}
