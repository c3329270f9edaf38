//! [`System`]: blocks straight from the process's global allocator.

#[cfg(feature = "std")]
use super::pages;
use crate::{AllocError, BlockSource};
use core::alloc::Layout;
use core::ptr::NonNull;

/// Takes every block from the global allocator, and gives it back there at once.
///
/// The bottom of every chain of sources. Use it alone where a cache would be in the way: in
/// a test that counts allocations, or for a pool that lives as long as the process.
///
/// ```
/// use cenote::{Pool, System};
/// let pool = Pool::builder().source(System).build()?;
/// assert_eq!(*pool.alloc(7), 7);
/// # Ok::<(), cenote::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

impl System {
    /// Asks the C library to give the operating system back what its `malloc` keeps of freed
    /// memory; returns whether it did.
    ///
    /// glibc's keeps it wherever a single object in use lies above it, so that a service that was
    /// busy once stays as large as it was then, although its pools, and whoever else, have given
    /// everything back. Worth calling when the whole process has gone idle: it takes milliseconds
    /// for some ten megabytes, and other threads that allocate wait meanwhile. Does nothing,
    /// and returns false, with other C libraries; and nothing of use where the global allocator
    /// is another than `malloc`.
    #[cfg(feature = "std")]
    pub fn trim() -> bool {
        #[cfg(all(target_os = "linux", target_env = "gnu", not(miri)))]
        {
            unsafe extern "C" {
                safe fn malloc_trim(pad: usize) -> core::ffi::c_int;
            }
            malloc_trim(0) != 0
        }
        #[cfg(not(all(target_os = "linux", target_env = "gnu", not(miri))))]
        false
    }
}

// SAFETY: the global allocator's own contract; sizes of 0, which it forbids, are refused.
unsafe impl BlockSource for System {
    #[inline]
    fn acquire(&self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
        if layout.size() == 0 {
            return Err(AllocError::out_of_memory(0));
        }
        // SAFETY: not for 0 bytes.
        let block = unsafe { alloc::alloc::alloc(layout) };
        NonNull::new(block).ok_or(AllocError::out_of_memory(layout.size()))
    }

    #[inline]
    unsafe fn release(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise: `block` came from `acquire` with this layout.
        unsafe { alloc::alloc::dealloc(block.as_ptr(), layout) }
    }

    #[cfg(feature = "std")]
    unsafe fn discard(&self, start: NonNull<u8>, size: usize) -> usize {
        // SAFETY: the caller's promise: bytes of a block, which nothing uses.
        unsafe { pages::give(start, size) }
    }

    #[inline(always)]
    fn is_plain(&self) -> bool {
        true
    }

    /// By the allocator's own way: glibc moves the pages of a large block, not what is in them.
    unsafe fn grow(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Option<NonNull<u8>> {
        // SAFETY: the caller's promise: it came from `acquire` with `old`; the new size is that of
        // a layout with the same alignment, and not 0, since the old one is not.
        NonNull::new(unsafe { alloc::alloc::realloc(block.as_ptr(), old, new.size()) })
    }
}
